package protocol

import "switchyard/router/routes"

// Who names the sidecar that speaks, and the server that it stands beside.
type Who struct {
	// Sidecar is its configured name, and Run the random id of this run of it.
	Sidecar string `json:"sidecar"`
	Run     string `json:"run"`
	// Boot is the id of the boot of its host.
	Boot    string `json:"boot"`
	Cluster string `json:"cluster"`
	// Server is host:port as the controllers know it. UUID is @@server_uuid,
	// empty on MariaDB and before the server was first asked.
	Server string `json:"server"`
	UUID   string `json:"uuid,omitempty"`
}

// State is what the server was last seen to be.
type State string

// The states of a server.
const (
	Silent   State = "silent"
	Writable State = "writable"
	ReadOnly State = "read_only"
	Starting State = "starting"
	Gone     State = "gone"
)

// Holding is what the sidecar holds.
type Holding string

// What a sidecar may hold.
const (
	// Unleased: no lease was ever held, and none is promised to be kept.
	Unleased Holding = "unleased"
	// Held: the lease is held, and the server will be fenced before it ends.
	Held Holding = "held"
	// Fenced: the server is fenced, or being fenced, until a majority grants again.
	Fenced Holding = "fenced"
)

// Renew asks a controller for a grant.
type Renew struct {
	Who
	State   State   `json:"state"`
	Holding Holding `json:"holding"`
	// Epoch is the newest that the sidecar knows.
	Epoch routes.Epoch `json:"epoch"`
	// FenceMS is the sidecar's longest fence, with the kill: a promoter waits at
	// least for that beyond the lease.
	FenceMS int `json:"fence_ms"`
	// Tied is set where mysqld does not outlive its sidecar and does not run while
	// that is frozen: only then is the lease a promise that the controllers may
	// count on.
	Tied bool `json:"tied"`
	// Controllers are all controllers, and Peers the other database sidecars of the
	// cluster, as its configuration names them: by their majorities it keeps the
	// lease, and a promoter that counts others would not outlast it.
	Controllers []string `json:"controllers,omitempty"`
	Peers       []string `json:"peers,omitempty"`
}

// Reason is why a controller grants nothing.
type Reason string

// The reasons of a refusal.
const (
	// Deposed: another server is the master in the reply's epoch, or is about to be.
	Deposed Reason = "deposed"
	// Standby: the server is not its cluster's master.
	Standby Reason = "standby"
	// Unknown: the controller knows no such cluster, or no such server in it.
	Unknown Reason = "unknown"
	// NotReady: the controller has not read the ledger yet.
	NotReady Reason = "not_ready"
	// Conflict: another sidecar renews for the same server, or this one for another
	// server than the ledger has under the name.
	Conflict Reason = "conflict"
)

// RenewReply is a grant, or a refusal.
type RenewReply struct {
	// Controller is the id of the controller that speaks for itself, and Run the
	// id of this run of it.
	Controller string `json:"controller"`
	Run        string `json:"run"`
	// Leader is the controller that leads, as far as this one knows; empty if it
	// knows none.
	Leader string `json:"leader,omitempty"`
	// Epoch is the cluster's, as this controller has it; zero with some refusals.
	Epoch routes.Epoch `json:"epoch"`
	// GrantMS is for how long, from when the renewal was sent, the controller takes
	// no part in promoting another server; 0 is a refusal.
	GrantMS int `json:"grant_ms,omitempty"`
	// Refusal is why it grants nothing, and Detail says it in words.
	Refusal Reason `json:"refusal,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// ExitKind is how a process ended.
type ExitKind string

// The ways in which a process ends.
const (
	// Clean: it ended by itself, after a shutdown that it had been asked for.
	Clean ExitKind = "clean"
	// Failed: it ended by itself, with an error.
	Failed ExitKind = "failed"
	// Killed: a signal ended it.
	Killed ExitKind = "killed"
	// Vanished: it is gone, and nobody could say how.
	Vanished ExitKind = "vanished"
)

// Exit tells a controller that the server's process is gone. It is a hint:
// whoever is told looks for himself.
type Exit struct {
	Who
	Kind ExitKind `json:"kind"`
	// Status is the exit status of Failed, or the number of the signal of Killed.
	Status int `json:"status,omitempty"`
	PID    int `json:"pid"`
	// AgoMS is how long before the report was sent it was noticed.
	AgoMS int `json:"ago_ms"`
}

// ExitNoted is the answer to Exit.
type ExitNoted struct {
	Controller string `json:"controller"`
}

// Follow asks another database sidecar of the cluster whether its server still
// follows the asker's.
type Follow struct {
	Who
	// Epoch is the newest in which the asker was granted a lease: of a newer one
	// that deposes it, it may know too.
	Epoch routes.Epoch `json:"epoch"`
}

// NoReason is why a sidecar does not follow.
type NoReason string

// The reasons of a no.
const (
	// Parted: it gave the controllers its word (Part), in the reply's epoch.
	Parted NoReason = "parted"
	// NewerEpoch: it knows of a newer epoch than the asker.
	NewerEpoch NoReason = "newer_epoch"
	// NotReceiving: its server does not receive from the asker's.
	NotReceiving NoReason = "not_receiving"
	// Elsewhere: it is a sidecar of another cluster, or of the asker's own server.
	Elsewhere NoReason = "elsewhere"
)

// FollowReply answers Follow.
type FollowReply struct {
	Who
	Follows bool         `json:"follows"`
	Epoch   routes.Epoch `json:"epoch"`
	No      NoReason     `json:"no,omitempty"`
}

// Part asks a database sidecar to follow Server no more, in any epoch before
// Epoch, and to remember it over its own restart.
type Part struct {
	Controller string       `json:"controller"`
	Cluster    string       `json:"cluster"`
	Server     string       `json:"server"`
	Epoch      routes.Epoch `json:"epoch"`
}

// PartReply gives that word, or says which newer epoch stands against it.
type PartReply struct {
	Who
	Parted bool         `json:"parted"`
	Epoch  routes.Epoch `json:"epoch"`
}
