package ledger

import (
	"time"

	"switchyard/controller/topology"
	"switchyard/router/routes"
)

// Command is one change to the ledger. Every time in it is the proposer's.
type Command interface {
	// Kind is the name that the codec writes.
	Kind() string
}

// Bootstrap gives a fresh ledger its name and generation. Repeating it with
// the same ID changes nothing.
type Bootstrap struct {
	ID         string `json:"id"`
	Generation uint64 `json:"generation"`
}

// AdoptMaster names the first master of a cluster that the ledger does not
// know yet, and issues its first epoch. By is a person who says so of a cluster
// that a restored ledger holds aside; such a one has a generation's next epoch.
type AdoptMaster struct {
	Cluster string       `json:"cluster"`
	Master  topology.Key `json:"master"`
	UUID    string       `json:"uuid,omitempty"`
	By      string       `json:"by,omitempty"`
	Reason  string       `json:"reason,omitempty"`
	At      time.Time    `json:"at"`
}

// RememberServers adds servers to a cluster; a server that is known keeps its
// standing, and gets the UUID given.
type RememberServers struct {
	Cluster string       `json:"cluster"`
	Servers []ServerName `json:"servers"`
	At      time.Time    `json:"at"`
}

// ServerName is a server to be remembered.
type ServerName struct {
	Key  topology.Key `json:"key"`
	UUID string       `json:"uuid,omitempty"`
}

// ClaimRecovery opens a recovery: the cluster's epoch rises, and nobody is
// served until it announces. It is rejected unless the cluster is at
// ExpectEpoch with Old as its master and no open recovery, and, when
// Automatic and a failover, unless AntiFlap has passed since the last
// automatic one that announced a master ended. An open relocation of the cluster
// ends as failed. The recovery's id is CLUSTER-NUMBER of the new epoch.
//
// This command, CloseRecovery, and all that an operator asks for write their
// audit entry themselves.
type ClaimRecovery struct {
	Cluster       string        `json:"cluster"`
	RecoveryKind  Kind          `json:"recovery_kind"`
	Finding       string        `json:"finding"`
	Evidence      []string      `json:"evidence,omitempty"`
	Automatic     bool          `json:"automatic"`
	By            string        `json:"by,omitempty"`
	Target        topology.Key  `json:"target,omitzero"`
	Old           topology.Key  `json:"old"`
	OldProvenDead bool          `json:"old_proven_dead"`
	Forced        bool          `json:"forced,omitempty"`
	ExpectEpoch   routes.Epoch  `json:"expect_epoch"`
	AntiFlap      time.Duration `json:"anti_flap"`
	Leader        string        `json:"leader"`
	At            time.Time     `json:"at"`
}

// ResumeRecovery records that another leader carries an open recovery on.
type ResumeRecovery struct {
	Recovery string    `json:"recovery"`
	Leader   string    `json:"leader"`
	At       time.Time `json:"at"`
}

// ChooseWinner commits whom an open recovery will promote. It is rejected once
// another winner is chosen in the same epoch, and for a quarantined server. A
// deposed one is accepted: it may be the only one left. Neither it nor Rewind,
// Announce and CloseRecovery take a relocation.
type ChooseWinner struct {
	Recovery string       `json:"recovery"`
	Winner   topology.Key `json:"winner"`
	Reason   string       `json:"reason"`
	// Via, Durability and Acks become the recovery's.
	Via        topology.Key `json:"via,omitzero"`
	Durability string       `json:"durability,omitempty"`
	Acks       int          `json:"acks,omitempty"`
	At         time.Time    `json:"at"`
}

// JudgeDurability says anew what is known of the writes that the old master
// acknowledged, for a winner that has not been announced.
type JudgeDurability struct {
	Recovery   string       `json:"recovery"`
	Winner     topology.Key `json:"winner"`
	Durability string       `json:"durability"`
	At         time.Time    `json:"at"`
}

// Rewind takes a new epoch within an open recovery that has not announced, so
// that another winner can be chosen; Undoing marks a switchover on its way
// back to the old master. A winner other than Old joins Former and becomes
// deposed, since it may have been made writable.
type Rewind struct {
	Recovery string    `json:"recovery"`
	Undoing  bool      `json:"undoing"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
}

// Announce makes the winner of an open recovery the cluster's master: it was
// proven writable. The revision rises and the routes name it.
type Announce struct {
	Recovery   string    `json:"recovery"`
	MasterUUID string    `json:"master_uuid,omitempty"`
	At         time.Time `json:"at"`
}

// RecordSteps appends to a recovery's journal; also to one that has ended.
type RecordSteps struct {
	Recovery string `json:"recovery"`
	Steps    []Step `json:"steps"`
}

// CloseRecovery ends an open recovery. When it announced a winner other than
// Old, Old becomes deposed; when it announced none, the winner chosen last does,
// unless it is Old. Completed requires that it was announced.
type CloseRecovery struct {
	Recovery string         `json:"recovery"`
	Outcome  Outcome        `json:"outcome"`
	Message  string         `json:"message,omitempty"`
	Lost     []topology.Key `json:"lost,omitempty"`
	At       time.Time      `json:"at"`
}

// SetStanding changes what a known server is in its cluster.
type SetStanding struct {
	Server   topology.Key `json:"server"`
	Standing Standing     `json:"standing"`
	Extra    string       `json:"extra,omitempty"`
	At       time.Time    `json:"at"`
}

// Confirm records that a receiver was read back to hold a table; an older one
// than is recorded is rejected.
type Confirm struct {
	Confirmation Confirmation `json:"confirmation"`
}

// SetReaders gives a cluster its readers, under a new revision of its epoch. It is
// rejected while a recovery is open, at another epoch than ExpectEpoch, and unless
// every reader is a member of the cluster that was not detached. The writer may be
// the only one, where Fallback says so.
type SetReaders struct {
	Cluster string          `json:"cluster"`
	Readers []routes.Reader `json:"readers,omitempty"`
	// Fallback becomes the cluster's ReaderFallback.
	Fallback    bool         `json:"fallback,omitempty"`
	ExpectEpoch routes.Epoch `json:"expect_epoch"`
	By          string       `json:"by"`
	// Reasons say, a sentence each, who came and who left, and why.
	Reasons []string  `json:"reasons,omitempty"`
	At      time.Time `json:"at"`
}

// Kind implements Command.
func (SetReaders) Kind() string { return "set-readers" }

// Kind implements Command.
func (Bootstrap) Kind() string { return "bootstrap" }

// Kind implements Command.
func (AdoptMaster) Kind() string { return "adopt-master" }

// Kind implements Command.
func (RememberServers) Kind() string { return "remember-servers" }

// Kind implements Command.
func (ClaimRecovery) Kind() string { return "claim-recovery" }

// Kind implements Command.
func (ResumeRecovery) Kind() string { return "resume-recovery" }

// Kind implements Command.
func (ChooseWinner) Kind() string { return "choose-winner" }

// Kind implements Command.
func (JudgeDurability) Kind() string { return "judge-durability" }

// Kind implements Command.
func (Rewind) Kind() string { return "rewind" }

// Kind implements Command.
func (Announce) Kind() string { return "announce" }

// Kind implements Command.
func (RecordSteps) Kind() string { return "record-steps" }

// Kind implements Command.
func (CloseRecovery) Kind() string { return "close-recovery" }

// Kind implements Command.
func (SetStanding) Kind() string { return "set-standing" }

// Kind implements Command.
func (Confirm) Kind() string { return "confirm" }
