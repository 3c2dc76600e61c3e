package ledger

import (
	"time"

	"switchyard/controller/topology"
)

// Downtime is a time in which nothing is done about a server unasked.
type Downtime struct {
	Server topology.Key `json:"server"`
	Owner  string       `json:"owner"`
	Reason string       `json:"reason"`
	Begun  time.Time    `json:"begun"`
	Until  time.Time    `json:"until"`
}

// LostInRecovery is the reason of the downtime of a replica that a recovery
// lost; such a downtime ends by itself once the replica follows the master. The
// reason of its being detached begins with it.
const LostInRecovery = "lost-in-recovery"

// Active reports whether d has not run out at now.
func (d Downtime) Active(now time.Time) bool { return now.Before(d.Until) }

// PromotionRule is an operator's word on the promotion of one server; it wins
// over the configuration.
type PromotionRule struct {
	Server topology.Key `json:"server"`
	// Rule is one of policy's: must, prefer, neutral, prefer_not, must_not.
	Rule string    `json:"rule"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	// Until is zero for a rule that does not run out.
	Until time.Time `json:"until,omitzero"`
}

// Active reports whether r has not run out at now.
func (r PromotionRule) Active(now time.Time) bool { return r.Until.IsZero() || now.Before(r.Until) }

// Pause keeps automatic recoveries of a cluster, or of all, from beginning.
type Pause struct {
	// Cluster is empty for all of them.
	Cluster string    `json:"cluster,omitempty"`
	By      string    `json:"by"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}

// Ack is an operator's acknowledgement of a recovery.
type Ack struct {
	By      string    `json:"by"`
	Comment string    `json:"comment"`
	At      time.Time `json:"at"`
}

// AuditKind is what an audit entry tells of.
type AuditKind string

// The kinds of audit entry.
const (
	AuditDetection AuditKind = "detection" // a finding began or ended
	AuditRecovery  AuditKind = "recovery"  // a recovery began or ended
	AuditOperator  AuditKind = "operator"  // somebody asked for something
	AuditRepair    AuditKind = "repair"    // something smaller was put right unasked
	AuditHook      AuditKind = "hook"      // an operator's command ran
)

// AuditEntry is one line of what happened, and by whom.
type AuditEntry struct {
	// ID rises with each entry.
	ID       uint64       `json:"id"`
	At       time.Time    `json:"at"`
	Kind     AuditKind    `json:"kind"`
	Cluster  string       `json:"cluster,omitempty"`
	Server   topology.Key `json:"server,omitzero"`
	Recovery string       `json:"recovery,omitempty"`
	// Action is a word for what was done or found: "begin-downtime", "DeadMaster".
	Action string `json:"action"`
	// By is who asked, or the controller that acted.
	By string `json:"by"`
	// Reason is why, in a sentence.
	Reason string `json:"reason,omitempty"`
	// Outcome is empty for what went well, or says what did not.
	Outcome string `json:"outcome,omitempty"`
	// Evidence says, a sentence each, what was seen; output of a hook, too.
	Evidence []string `json:"evidence,omitempty"`
}

// BeginDowntime puts a known server in downtime, or changes it. By is who asked
// for it, where that is not its owner. One for LostInRecovery changes nothing
// where somebody's own downtime is active.
type BeginDowntime struct {
	Server topology.Key `json:"server"`
	Owner  string       `json:"owner"`
	By     string       `json:"by,omitempty"`
	Reason string       `json:"reason"`
	Until  time.Time    `json:"until"`
	At     time.Time    `json:"at"`
}

// EndDowntime ends one; ending what is not there changes nothing.
type EndDowntime struct {
	Server topology.Key `json:"server"`
	By     string       `json:"by"`
	Reason string       `json:"reason,omitempty"`
	At     time.Time    `json:"at"`
}

// SetPromotionRule sets a server's promotion rule; an empty Rule takes it back,
// so that the configuration's counts again.
type SetPromotionRule struct {
	Server topology.Key `json:"server"`
	Rule   string       `json:"rule"`
	By     string       `json:"by"`
	Reason string       `json:"reason,omitempty"`
	Until  time.Time    `json:"until,omitzero"`
	At     time.Time    `json:"at"`
}

// PauseRecoveries pauses automatic recoveries of Cluster, or of all.
type PauseRecoveries struct {
	Cluster string    `json:"cluster,omitempty"`
	By      string    `json:"by"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}

// ResumeRecoveries ends such a pause; ending what is not there changes nothing.
type ResumeRecoveries struct {
	Cluster string    `json:"cluster,omitempty"`
	By      string    `json:"by"`
	Reason  string    `json:"reason,omitempty"`
	At      time.Time `json:"at"`
}

// AckRecovery acknowledges an ended recovery, once. Acknowledging an automatic
// failover ends the anti-flap window of the same or an earlier one, and a
// cascade's hold.
type AckRecovery struct {
	Recovery string    `json:"recovery"`
	By       string    `json:"by"`
	Comment  string    `json:"comment"`
	At       time.Time `json:"at"`
}

// OpenRelocation opens a recovery of a dead intermediate master: its replicas
// get another source. The cluster's epoch and routes stay as they are, and a
// failover may be claimed meanwhile, which closes the relocation as failed. Its
// id is CLUSTER-rNUMBER of the cluster's count of relocations.
type OpenRelocation struct {
	Cluster   string       `json:"cluster"`
	Finding   string       `json:"finding"`
	Evidence  []string     `json:"evidence,omitempty"`
	Automatic bool         `json:"automatic"`
	By        string       `json:"by,omitempty"`
	Subject   topology.Key `json:"subject"`
	Leader    string       `json:"leader"`
	At        time.Time    `json:"at"`
}

// CloseRelocation ends one. Winner is where most of the replicas went; zero
// where none did.
type CloseRelocation struct {
	Recovery string         `json:"recovery"`
	Winner   topology.Key   `json:"winner,omitzero"`
	Outcome  Outcome        `json:"outcome"`
	Message  string         `json:"message,omitempty"`
	Lost     []topology.Key `json:"lost,omitempty"`
	At       time.Time      `json:"at"`
}

// SetDetached records that a server was detached from From, so that it can be
// attached again; a zero From says that it was.
type SetDetached struct {
	Server topology.Key `json:"server"`
	From   topology.Key `json:"from,omitzero"`
	By     string       `json:"by"`
	Reason string       `json:"reason,omitempty"`
	At     time.Time    `json:"at"`
}

// AppendAudit adds entries to the audit; their IDs are given by the ledger, and
// evidence that is too long is cut. The oldest entries make room.
type AppendAudit struct {
	Entries []AuditEntry `json:"entries"`
}

// PruneAudit forgets audit entries older than Before.
type PruneAudit struct {
	Before time.Time `json:"before"`
}

// Kind implements Command.
func (BeginDowntime) Kind() string { return "begin-downtime" }

// Kind implements Command.
func (EndDowntime) Kind() string { return "end-downtime" }

// Kind implements Command.
func (SetPromotionRule) Kind() string { return "set-promotion-rule" }

// Kind implements Command.
func (PauseRecoveries) Kind() string { return "pause-recoveries" }

// Kind implements Command.
func (ResumeRecoveries) Kind() string { return "resume-recoveries" }

// Kind implements Command.
func (AckRecovery) Kind() string { return "ack-recovery" }

// Kind implements Command.
func (OpenRelocation) Kind() string { return "open-relocation" }

// Kind implements Command.
func (CloseRelocation) Kind() string { return "close-relocation" }

// Kind implements Command.
func (SetDetached) Kind() string { return "set-detached" }

// Kind implements Command.
func (AppendAudit) Kind() string { return "append-audit" }

// Kind implements Command.
func (PruneAudit) Kind() string { return "prune-audit" }
