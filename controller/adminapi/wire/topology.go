package wire

import (
	"time"

	"switchyard/controller/topology"
	"switchyard/router/routes"
)

// Topology is one cluster as a picture for people: a node for each server.
type Topology struct {
	Cluster   string       `json:"cluster"`
	Master    topology.Key `json:"master"`
	Epoch     routes.Epoch `json:"epoch"`
	Revision  uint64       `json:"revision"`
	Withdrawn bool         `json:"withdrawn"`
	// Writable is how many of the servers accept writes now.
	Writable int    `json:"writable"`
	Nodes    []Node `json:"nodes"`
	// Paused says who paused automatic recoveries; empty where nobody did.
	Paused []Pause `json:"paused,omitempty"`
	// Problems are remarks on the cluster as a whole, a sentence each.
	Problems []string `json:"problems,omitempty"`
	// Warnings are those that concern no single known server.
	Warnings []Warning `json:"warnings,omitempty"`
}

// Role is what a server is in its cluster.
type Role string

// The roles of a server.
const (
	RoleMaster      Role = "master"
	RoleReplica     Role = "replica"
	RoleDeposed     Role = "deposed"
	RoleQuarantined Role = "quarantined"
)

// NodeStatus is how a server does, in a word.
type NodeStatus string

// The statuses of a server.
const (
	NodeOK             NodeStatus = "ok"
	NodeLag            NodeStatus = "lag"
	NodeNonReplicating NodeStatus = "nonreplicating"
	NodeUnreachable    NodeStatus = "unreachable"
	// NodeUnchecked: it was not looked at yet.
	NodeUnchecked NodeStatus = "unchecked"
)

// SemiSyncRole is the live part that a server has in semi-synchronous
// replication.
type SemiSyncRole string

// The parts in semi-synchronous replication.
const (
	SemiSyncNone    SemiSyncRole = ""
	SemiSyncSource  SemiSyncRole = "source"
	SemiSyncReplica SemiSyncRole = "replica"
)

// Node is one server. What was read from it is of its last good picture,
// LastSeenMS ago.
type Node struct {
	Key topology.Key `json:"key"`
	// Parent is whom it replicates from; empty for none or for an unknown one.
	Parent topology.Key `json:"parent,omitzero"`
	Role   Role         `json:"role"`
	// Reader is whether proxies send readers to it.
	Reader     bool       `json:"reader,omitempty"`
	DataCenter string     `json:"dc,omitempty"`
	Region     string     `json:"region,omitempty"`
	Status     NodeStatus `json:"status"`
	// Reason is a word or a sentence on a status that is not ok.
	Reason string `json:"reason,omitempty"`
	// LagMS is absent while the server does not know it, and on a master.
	LagMS         *int64       `json:"lag_ms,omitempty"`
	Version       string       `json:"version,omitempty"`
	ReadOnly      bool         `json:"read_only"`
	SuperReadOnly bool         `json:"super_read_only,omitempty"`
	LogBin        bool         `json:"log_bin"`
	BinlogFormat  string       `json:"binlog_format,omitempty"`
	GTID          bool         `json:"gtid"`
	Errant        string       `json:"errant,omitempty"`
	SemiSync      SemiSyncRole `json:"semi_sync,omitempty"`
	// Rule is the promotion rule, where it is not neutral. RuleBy set it by hand,
	// and RuleUntil is when it ends; both are absent for the configuration's.
	Rule      string    `json:"rule,omitempty"`
	RuleBy    string    `json:"rule_by,omitempty"`
	RuleUntil time.Time `json:"rule_until,omitzero"`
	// Downtime is absent where there is none now.
	Downtime *Downtime `json:"downtime,omitempty"`
	// Lost is whether a recovery lost it, and it does not follow the master yet.
	Lost bool `json:"lost,omitempty"`
	// DetachedFrom is whom it replicated from when it was detached on purpose.
	DetachedFrom   topology.Key `json:"detached_from,omitzero"`
	DetachedReason string       `json:"detached_reason,omitempty"`
	// Finding and Trouble name what is wrong with it; empty for nothing.
	Finding  string           `json:"finding,omitempty"`
	Trouble  topology.Trouble `json:"trouble,omitempty"`
	Warnings []Warning        `json:"warnings,omitempty"`
	Problems []string         `json:"problems,omitempty"`
	// Sidecar is the one beside it; absent where none is configured.
	Sidecar *DatabaseSidecar `json:"sidecar,omitempty"`
	// LastSeenMS is how long ago the last good picture was read; absent if
	// there never was one.
	LastSeenMS *int64 `json:"last_seen_ms,omitempty"`
}

// Downtime is a time in which nothing is done about a server unasked.
type Downtime struct {
	Owner  string    `json:"owner"`
	Reason string    `json:"reason"`
	Begun  time.Time `json:"begun"`
	Until  time.Time `json:"until"`
}

// Pause keeps automatic recoveries of a cluster, or of all, from beginning.
type Pause struct {
	// Cluster is empty for all.
	Cluster string    `json:"cluster,omitempty"`
	By      string    `json:"by"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}
