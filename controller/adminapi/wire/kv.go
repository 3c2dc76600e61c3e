package wire

import (
	"fmt"
	"time"

	"switchyard/router/routes"
)

// The paths of what is said about directories.
const (
	PathKV = "/api/v1/kv"
	// PathKeeping is where a controller is asked what it knows of the directories
	// that it writes, and PathNotice where it tells the leader what it found there.
	PathKeeping = "/internal/v1/keeping"
	PathNotice  = "/internal/v1/notice"
)

// KV is what every datacenter's Consul holds, as one controller read it just now.
type KV struct {
	// Controller is who read, and Leader who leads; empty while nobody does.
	Controller string    `json:"controller"`
	Leader     string    `json:"leader"`
	Entries    []KVEntry `json:"entries"`
}

// KVState is how what a directory holds compares with the ledger.
type KVState string

// The states of a cluster's keys.
const (
	// KVRight: they say what the ledger says.
	KVRight KVState = "right"
	// KVKept: the ledger says that nobody is to be served now, and they keep the
	// last master, as they are to.
	KVKept KVState = "kept"
	// KVMissing: there are none.
	KVMissing KVState = "missing"
	// KVBehind: they are of an older epoch.
	KVBehind KVState = "behind"
	// KVWrong: they are of this epoch, or cannot be read, and were not written so.
	KVWrong KVState = "wrong"
	// KVHigher: they are of a higher epoch than the ledger's; nothing is written.
	KVHigher KVState = "higher"
	// KVUnread: the directory did not answer the controller that asked.
	KVUnread KVState = "unread"
)

// Right reports whether the state is one that stays.
func (s KVState) Right() bool { return s == KVRight || s == KVKept }

// KVEntry is one cluster's keys in one datacenter.
type KVEntry struct {
	DataCenter string  `json:"dc"`
	Cluster    string  `json:"cluster"`
	State      KVState `json:"state"`
	// Master, Epoch, Revision and the addresses are what was read; Faults what is
	// wrong with it by itself, a phrase each.
	Master   string       `json:"master,omitempty"`
	IPv4     string       `json:"ipv4,omitempty"`
	IPv6     string       `json:"ipv6,omitempty"`
	Epoch    routes.Epoch `json:"epoch"`
	Revision uint64       `json:"revision"`
	Faults   []string     `json:"faults,omitempty"`
	// Wanted is what the ledger of the controller that answers says; no master
	// where nobody is to be served.
	WantedMaster   string       `json:"wanted_master,omitempty"`
	WantedEpoch    routes.Epoch `json:"wanted_epoch"`
	WantedRevision uint64       `json:"wanted_revision"`
	// Error is why it could not be read.
	Error string `json:"error,omitempty"`
	// Writers are those that keep the keys right; there is none while the leader
	// is to, and nobody leads.
	Writers []KVWriter `json:"writers"`
}

// KVWriter is what one controller says of the keys that it keeps.
type KVWriter struct {
	Controller string `json:"controller"`
	// AsLeader is true where no controller stands in the datacenter.
	AsLeader bool `json:"as_leader"`
	// ConfirmedAt is when it last knew them to be right, and Repairs how often it
	// put them right since it was started.
	ConfirmedAt time.Time `json:"confirmed_at,omitzero"`
	Repairs     int       `json:"repairs"`
	// Error is why they were not right when it last looked, or why it did not say.
	Error string `json:"error,omitempty"`
}

// Keeping is what one controller knows of the directories that it writes.
type Keeping struct {
	Controller string `json:"controller"`
	// DataCenter is where it stands, by its own configuration.
	DataCenter string          `json:"dc"`
	Records    []KeepingRecord `json:"records"`
}

// KeepingRecord is one cluster in one datacenter.
type KeepingRecord struct {
	DataCenter  string    `json:"dc"`
	Cluster     string    `json:"cluster"`
	ConfirmedAt time.Time `json:"confirmed_at,omitzero"`
	Repairs     int       `json:"repairs"`
	Error       string    `json:"error,omitempty"`
}

// Notice is what a controller tells the leader for the audit: somebody else
// changed a cluster's keys.
type Notice struct {
	// Controller is who found it.
	Controller string       `json:"controller"`
	DataCenter string       `json:"dc"`
	Cluster    string       `json:"cluster"`
	Epoch      routes.Epoch `json:"epoch"`
	// Master is what the keys say again, and Was what they said.
	Master string `json:"master"`
	Was    string `json:"was"`
	// Held is true where that is of a higher epoch and was left.
	Held  bool `json:"held"`
	Times int  `json:"times"`
}

// maxWas is the longest description that is taken, in bytes.
const maxWas = 2000

// Check says what is wrong with a notice.
func (n Notice) Check() error {
	switch {
	case n.Controller == "" || len(n.Controller) > MaxName:
		return fmt.Errorf("controller has %d bytes: want the id of the controller that tells", len(n.Controller))
	case n.DataCenter == "" || len(n.DataCenter) > MaxName:
		return fmt.Errorf("dc has %d bytes: want the name of a datacenter", len(n.DataCenter))
	case n.Was == "" || len(n.Was) > maxWas || len(n.Master) > maxWas:
		return fmt.Errorf("was and master have %d and %d bytes: want what was found, and at most %d", len(n.Was), len(n.Master), maxWas)
	case n.Times < 1:
		return fmt.Errorf("times is %d: want 1 or more", n.Times)
	}
	return CheckName("cluster", n.Cluster)
}
