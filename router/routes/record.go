package routes

import "fmt"

// Record is the master of a cluster as consumers of a key-value directory
// read it.
type Record struct {
	Cluster string `json:"cluster"`
	Epoch   Epoch  `json:"epoch"`
	Master  Server `json:"master"`
	// IPv4 and IPv6 are the addresses of the master's host; empty where it has
	// none or none is known.
	IPv4 string `json:"ipv4"`
	IPv6 string `json:"ipv6"`
}

// Validate names the first field that no directory should accept.
func (r Record) Validate() error {
	return Table{Cluster: r.Cluster, Epoch: r.Epoch, Writer: &r.Master}.Validate()
}

// HigherEpochError is returned for what is older than what its receiver holds
// already: the ledger that said it has lost its past, or is not the only one.
type HigherEpochError struct {
	Cluster string
	Held    Epoch
	Offered Epoch
}

// Error implements error.
func (e *HigherEpochError) Error() string {
	return fmt.Sprintf("cluster %s: epoch %s is held already, which is higher than the %s offered: held; "+
		"find out which ledger issued it before anything is overwritten", e.Cluster, e.Held, e.Offered)
}
