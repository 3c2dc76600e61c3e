// Package ledger is the replicated state, and the pure function that applies a
// command to it: no clock (the proposer puts the time in), no network, no disk.
package ledger

import (
	"slices"
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
	// Downtimes and Rules may have run out; whoever reads them compares.
	Downtimes map[topology.Key]Downtime      `json:"downtimes,omitempty"`
	Rules     map[topology.Key]PromotionRule `json:"rules,omitempty"`
	// Pauses are by cluster; the empty one is for all.
	Pauses map[string]Pause `json:"pauses,omitempty"`
	// Datacenters are those marked down, by name; they may have run out, too.
	Datacenters map[string]DatacenterDown `json:"datacenters,omitempty"`
	// Audit is ordered by ID; LastAudit is the newest ID ever given.
	Audit     []AuditEntry `json:"audit,omitempty"`
	LastAudit uint64       `json:"last_audit,omitempty"`
	// Held are the clusters of a ledger that was restored, as the backup had them,
	// until they are adopted anew. Nothing is said or done by them.
	Held map[string]Cluster `json:"held,omitempty"`
	// Controllers are who keeps this ledger.
	Controllers Controllers `json:"controllers,omitzero"`
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
	// Relocation is the id of the one open relocation; empty for none.
	Relocation string `json:"relocation,omitempty"`
	// Relocations counts those that were ever opened.
	Relocations uint64 `json:"relocations,omitempty"`
	// Readers are the replicas that proxies send readers to, in order of host and
	// port. ReaderFallback is true where the writer may be the one of them while no
	// replica is fit.
	Readers        []routes.Reader `json:"readers,omitempty"`
	ReaderFallback bool            `json:"reader_fallback,omitempty"`
	// WriterRevision is the first revision of this epoch that says of the writer
	// what is said now, where readers have raised Revision since; else 0.
	WriterRevision uint64 `json:"writer_revision,omitempty"`
}

// WriterSince is the first revision of the epoch that says of the writer what is
// said now: a receiver that holds it, or a later one, has confirmed the writer.
func (c Cluster) WriterSince() uint64 {
	if c.WriterRevision != 0 {
		return c.WriterRevision
	}
	return c.Revision
}

// Routes is the table that proxies and consumers are to follow now.
func (c Cluster) Routes() routes.Table {
	t := routes.Table{Cluster: c.Name, Epoch: c.Epoch, Revision: c.Revision, Readers: slices.Clone(c.Readers)}
	if !c.Withdrawn && !c.Master.IsZero() {
		t.Writer = &routes.Server{Host: c.Master.Host, Port: c.Master.Port}
	}
	return t
}

// Routes is a cluster's table. It is planned while a switchover has withdrawn it.
func (s State) Routes(c Cluster) routes.Table {
	t := c.Routes()
	if r, ok := s.Recoveries[c.Recovery]; ok && t.Writer == nil {
		t.Planned = r.Kind == Switchover && !r.Undoing
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
	// DetachedFrom is the source that it was detached from on purpose; zero for
	// a server that was not.
	DetachedFrom   topology.Key `json:"detached_from,omitzero"`
	DetachedReason string       `json:"detached_reason,omitempty"`
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
	// Relocate gives the replicas of a dead intermediate master another source.
	Relocate Kind = "relocate"
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

// Recovery is one claimed change of a cluster's master, or one relocation of an
// intermediate master's replicas, with its journal. In a relocation, Old is the
// intermediate master, the epochs are that of its cluster, and Winner is where
// most of the replicas went.
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
	// Via is the server from which the winner first takes what it lacks; zero
	// where it holds everything itself.
	Via topology.Key `json:"via,omitzero"`
	// Durability says whether it is proven that nothing acknowledged is lost, and by what.
	Durability string `json:"durability,omitempty"`
	// Acks is how many acknowledgements a commit on the winner is to wait for, also
	// where at first there are too few who could give them; 0 is none.
	Acks int `json:"acks,omitempty"`
	// Forced is true where a person said to go on in spite of every doubt.
	Forced bool `json:"forced,omitempty"`
	// Ack is the operator's acknowledgement; nil before.
	Ack *Ack `json:"ack,omitempty"`
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

// OfMaster reports whether r is about the cluster's master, and so has an epoch
// of its own; a relocation has not.
func (r Recovery) OfMaster() bool { return r.Kind != Relocate }

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
