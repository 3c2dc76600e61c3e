package wire

import (
	"time"

	"switchyard/controller/topology"
	"switchyard/router/routes"
)

// Status is one controller's account of the whole: who the controllers are,
// who leads, and what the receivers of routes have confirmed.
type Status struct {
	// Controller is who answers, and State its raft state.
	Controller string `json:"controller"`
	Version    string `json:"version,omitempty"`
	State      string `json:"state"`
	// Ledger is the id of the ledger that the controllers share.
	Ledger string `json:"ledger,omitempty"`
	// Leader is the controller that leads; empty while none is known.
	Leader      string       `json:"leader"`
	Term        uint64       `json:"term"`
	Controllers []Controller `json:"controllers"`
	Clusters    []Cluster    `json:"clusters"`
	Proxies     []Receiver   `json:"proxies"`
	Consul      []Receiver   `json:"consul"`
	Pauses      []Pause      `json:"pauses,omitempty"`
	// Down are the datacenters that are marked down.
	Down []DataCenterDown `json:"down,omitempty"`
	// Problems are remarks that concern no single cluster, a sentence each.
	Problems []string `json:"problems,omitempty"`
}

// Controller is one member of the set of controllers.
type Controller struct {
	ID   string `json:"id"`
	Raft string `json:"raft,omitempty"`
	API  string `json:"api,omitempty"`
	// State is leader, follower, candidate, unreachable or unknown.
	State string `json:"state"`
	// DataCenter is where the controller stands.
	DataCenter string `json:"dc,omitempty"`
}

// Cluster is the ledger's account of one replication topology, with what is
// seen of it now.
type Cluster struct {
	Name     string       `json:"name"`
	Master   topology.Key `json:"master"`
	Epoch    routes.Epoch `json:"epoch"`
	Revision uint64       `json:"revision"`
	// Withdrawn is true while nobody is to be served.
	Withdrawn bool `json:"withdrawn"`
	// Automatic is whether the operator's policy allows automatic recoveries.
	Automatic bool `json:"automatic"`
	// Recovery is the id of the open recovery; empty for none.
	Recovery string `json:"recovery,omitempty"`
	// Relocation is the id of the open relocation; empty for none.
	Relocation string `json:"relocation,omitempty"`
	// LastAutomatic is when the last automatic failover that announced a master ended.
	LastAutomatic time.Time `json:"last_automatic,omitzero"`
	Servers       int       `json:"servers"`
	Reachable     int       `json:"reachable"`
	Writable      int       `json:"writable"`
	// Finding names what analysis finds now; empty for nothing. Trouble is what
	// keeps a master that answers from taking writes.
	Finding string           `json:"finding,omitempty"`
	Trouble topology.Trouble `json:"trouble,omitempty"`
	// Others counts the findings beside the master's, and Warnings the
	// structure's; Urgent is the most urgent of the warnings.
	Others   int      `json:"others,omitempty"`
	Warnings int      `json:"warnings,omitempty"`
	Urgent   *Warning `json:"urgent,omitempty"`
	// Paused is whether automatic recoveries are paused, of this cluster or of all.
	Paused bool `json:"paused,omitempty"`
	// Downtimes counts the servers in downtime, and Lost those of them that a
	// recovery lost.
	Downtimes int `json:"downtimes,omitempty"`
	Lost      int `json:"lost,omitempty"`
	// Readers are the servers that proxies send readers to, as HOST:PORT.
	Readers  []string `json:"readers,omitempty"`
	Problems []string `json:"problems,omitempty"`
}

// Receiver is a party that follows a cluster's routes: a proxy, or Consul in
// one datacenter.
type Receiver struct {
	Name string `json:"name"`
	// Kind is what a proxy is: haproxy or proxysql.
	Kind    string `json:"kind,omitempty"`
	Cluster string `json:"cluster"`
	// Epoch and Revision are of the newest table that it was read back to hold.
	Epoch    routes.Epoch `json:"epoch"`
	Revision uint64       `json:"revision"`
	// Confirmed is whether that is the table it is to hold.
	Confirmed bool      `json:"confirmed"`
	At        time.Time `json:"at,omitzero"`
	Problem   string    `json:"problem,omitempty"`
}
