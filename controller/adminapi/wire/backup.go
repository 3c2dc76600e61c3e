package wire

import "switchyard/controller/topology"

// The paths of backups, and of what a restored ledger asks for.
const (
	PathBackup = "/api/v1/backup"
	PathAdopt  = "/api/v1/adopt"
)

// MaxBackup is the size of the longest backup that crosses the door.
const MaxBackup = 256 << 20

// AdoptRequest is the body of POST /api/v1/adopt: who is the master of a cluster
// that a restored ledger holds.
type AdoptRequest struct {
	Cluster string       `json:"cluster"`
	Master  topology.Key `json:"master"`
	Asker
}

// Check says what is wrong with r.
func (r AdoptRequest) Check() *Error {
	return first(checkCluster(r.Cluster, false), checkServer("master", r.Master), r.because(true))
}
