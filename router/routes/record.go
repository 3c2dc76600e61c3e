package routes

import "fmt"

// Record is the master of a cluster as consumers of a key-value directory
// read it.
type Record struct {
	Cluster string `json:"cluster"`
	Epoch   Epoch  `json:"epoch"`
	// Revision is one of the epoch in which Master is the writer: who holds a
	// withdrawn table of the epoch knows by it whether the record is the newer.
	Revision uint64 `json:"revision,omitempty"`
	Master   Server `json:"master"`
	// IPv4 and IPv6 are the addresses of the master's host; empty where it has
	// none or none is known.
	IPv4 string `json:"ipv4"`
	IPv6 string `json:"ipv6"`
}

// Table is what the record says of the cluster's traffic: the writer only.
func (r Record) Table() Table {
	return Table{Cluster: r.Cluster, Epoch: r.Epoch, Revision: r.Revision, Writer: &Server{Host: r.Master.Host, Port: r.Master.Port}}
}

// Validate names the first field that no directory should accept.
func (r Record) Validate() error {
	return r.Table().Validate()
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
