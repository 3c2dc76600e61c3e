// Package ledger is the replicated state, and the pure function that applies a
// command to it: no clock (the proposer puts the time in), no network, no disk.
package ledger

import (
	"time"

	"switchyard/controller/topology"
	"switchyard/router/routes"
)

// State is all that the controllers remember together. A State is never
// changed once made; Apply returns a new one.
type State struct {
	// ID names the set of controllers that owns this ledger.
	ID string `json:"id"`
	// Generation is the first half of every epoch issued by this ledger.
	Generation    uint64                           `json:"generation"`
	Clusters      map[string]Cluster               `json:"clusters"`
	Servers       map[topology.Key]Server          `json:"servers"`
	Recoveries    map[string]Recovery              `json:"recoveries"`
	Confirmations map[ConfirmationKey]Confirmation `json:"confirmations"`
}

// Cluster is one replication topology: who is its master, and since which epoch.
type Cluster struct {
	Name       string       `json:"name"`
	Master     topology.Key `json:"master"`
	MasterUUID string       `json:"master_uuid,omitempty"`
	Epoch      routes.Epoch `json:"epoch"`
	// Revision orders what is said within the epoch.
	Revision uint64 `json:"revision"`
	// Withdrawn is true while nobody is to be served.
	Withdrawn bool `json:"withdrawn"`
	// Recovery is the id of the one open recovery; empty for none.
	Recovery string `json:"recovery,omitempty"`
	// LastAutomatic is when the last automatic master recovery that announced a
	// master ended.
	LastAutomatic time.Time `json:"last_automatic,omitzero"`
	AdoptedAt     time.Time `json:"adopted_at"`
}

// Routes is the table that proxies and consumers are to follow now.
func (c Cluster) Routes() routes.Table {
	t := routes.Table{Cluster: c.Name, Epoch: c.Epoch, Revision: c.Revision}
	if !c.Withdrawn && !c.Master.IsZero() {
		t.Writer = &routes.Server{Host: c.Master.Host, Port: c.Master.Port}
	}
	return t
}

// Standing is what a server is in its cluster.
type Standing string

// The standings of a server.
const (
	// Member: master or replica, in good standing.
	Member Standing = "member"
	// Deposed: it was the master of an earlier epoch, or a winner that was given
	// up before it was announced, and was not yet fenced and rejoined.
	Deposed Standing = "deposed"
	// Quarantined: a deposed master that holds transactions the cluster lacks.
	Quarantined Standing = "quarantined"
)

// Server is one known database server.
type Server struct {
	Key      topology.Key `json:"key"`
	Cluster  string       `json:"cluster"`
	UUID     string       `json:"uuid,omitempty"`
	Standing Standing     `json:"standing"`
	// Extra lists the transactions for which the server is quarantined.
	Extra string `json:"extra,omitempty"`
	// Since is when the standing began.
	Since time.Time `json:"since"`
}

// Kind is what a recovery is for.
type Kind string

// The kinds of recovery.
const (
	// Failover replaces a dead master.
	Failover Kind = "failover"
	// Switchover replaces a living master, as planned.
	Switchover Kind = "switchover"
	// Reinstate serves the same master again: after a recovery that withdrew it
	// ended without a winner, or after it restarted, as servers boot read-only.
	Reinstate Kind = "reinstate"
)

// Outcome is how a recovery ended; empty while it is open.
type Outcome string

// The outcomes of a recovery.
const (
	Completed Outcome = "completed"
	// Incomplete: the winner was announced, and some receiver had not confirmed
	// by the end; it is retried for ever.
	Incomplete Outcome = "incomplete"
	Failed     Outcome = "failed"
	Undone     Outcome = "undone"
)

// Recovery is one claimed change of a cluster's master, with its journal.
type Recovery struct {
	ID      string `json:"id"`
	Cluster string `json:"cluster"`
	Kind    Kind   `json:"kind"`
	// Finding names the analysis that led to it, and Evidence says, a sentence
	// each, what was seen.
	Finding  string   `json:"finding"`
	Evidence []string `json:"evidence,omitempty"`
	// Automatic is false when a person asked for it; By says who.
	Automatic bool   `json:"automatic"`
	By        string `json:"by,omitempty"`

	// Target is whom a person asked to promote; zero for the best candidate.
	Target topology.Key `json:"target,omitzero"`

	Old     topology.Key `json:"old"`
	OldUUID string       `json:"old_uuid,omitempty"`
	// OldProvenDead is true where the evidence at the claim proves that the old
	// master's process was gone.
	OldProvenDead bool         `json:"old_proven_dead"`
	EpochBefore   routes.Epoch `json:"epoch_before"`
	Epoch         routes.Epoch `json:"epoch"`
	// Winner is zero until chosen. It is committed before the first
	// irreversible step on it.
	Winner       topology.Key `json:"winner,omitzero"`
	WinnerReason string       `json:"winner_reason,omitempty"`
	// Former are the winners other than Old that rewinds gave up, oldest first.
	// One of them may be the Winner again.
	Former []topology.Key `json:"former,omitempty"`
	// Announced is true once the winner was proven writable and may be named.
	Announced bool `json:"announced"`
	// Undoing is true once a switchover is on its way back to the old master.
	Undoing bool `json:"undoing,omitempty"`

	// Leader is the controller that carries it out now.
	Leader    string         `json:"leader"`
	StartedAt time.Time      `json:"started_at"`
	EndedAt   time.Time      `json:"ended_at,omitzero"`
	Outcome   Outcome        `json:"outcome,omitempty"`
	Message   string         `json:"message,omitempty"`
	Steps     []Step         `json:"steps,omitempty"`
	Lost      []topology.Key `json:"lost,omitempty"`
}

// Open reports whether r has not ended.
func (r Recovery) Open() bool { return r.Outcome == "" }

// StepOutcome is how one attempt of a step ended.
type StepOutcome string

// The outcomes of a step.
const (
	StepDone    StepOutcome = "done"
	StepAlready StepOutcome = "already done"
	StepFailed  StepOutcome = "failed"
)

// Step is one attempt of one step of a plan.
type Step struct {
	Name      string       `json:"name"`
	Subject   topology.Key `json:"subject,omitzero"`
	Leader    string       `json:"leader"`
	StartedAt time.Time    `json:"started_at"`
	EndedAt   time.Time    `json:"ended_at"`
	Outcome   StepOutcome  `json:"outcome"`
	// Note is the evidence, or the reason of a failure, in a sentence.
	Note string `json:"note,omitempty"`
}

// Receiver is the kind of party that confirms a routing table.
type Receiver string

// The kinds of receiver.
const (
	Proxy  Receiver = "proxy"
	Consul Receiver = "consul"
)

// ConfirmationKey names one receiver's confirmation for one cluster.
type ConfirmationKey struct {
	Receiver Receiver
	Name     string
	Cluster  string
}

// Confirmation is the newest table that a receiver was read back to hold.
type Confirmation struct {
	Receiver Receiver     `json:"receiver"`
	Name     string       `json:"name"`
	Cluster  string       `json:"cluster"`
	Epoch    routes.Epoch `json:"epoch"`
	Revision uint64       `json:"revision"`
	At       time.Time    `json:"at"`
}
