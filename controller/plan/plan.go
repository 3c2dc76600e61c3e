// Package plan writes the steps of a recovery, as data: what to do, in which
// order, and what may run side by side. It is pure.
package plan

import (
	"slices"

	"switchyard/store/ledger"
)

// Name is a step. Names are part of the API and of the journal.
type Name string

// The steps. Each is idempotent and asks "already done?" by observation.
const (
	// Pick observes the candidates and commits the winner to the ledger.
	Pick Name = "pick"
	// Withdraw takes the old master out of every proxy and ends its sessions there.
	Withdraw Name = "withdraw"
	// Fence makes the old master read-only and ends its clients, if it can be reached.
	Fence Name = "fence"
	// Demote does the same on a living master; it must succeed.
	Demote Name = "demote"
	// StopReceiving stops every replica's receiver, so that what was received is final.
	StopReceiving Name = "stop-receiving"
	// WaitApplied waits until the winner has applied all that it received.
	WaitApplied Name = "wait-applied"
	// Converge has the winner take what it lacks from the server that has it.
	Converge Name = "converge"
	// Salvage has the winner take what only the crashed old master's binary log has.
	Salvage Name = "salvage"
	// CatchUp waits until the winner has applied all that the old master wrote.
	CatchUp Name = "catch-up"
	// Acknowledgers repoints as many replicas as a commit on the winner waits for.
	Acknowledgers Name = "acknowledgers"
	// Promote makes the winner writable.
	Promote Name = "promote"
	// Announce commits the winner as the cluster's master.
	Announce Name = "announce"
	// Route moves every proxy to the winner.
	Route Name = "route"
	// Publish writes the winner to every Consul.
	Publish Name = "publish"
	// Repoint makes the other servers replicate from the winner.
	Repoint Name = "repoint"
	// DetachLost detaches the servers that cannot follow the winner, and puts
	// them in downtime.
	DetachLost Name = "detach-lost"
	// ChooseSource finds, for each replica of a dead intermediate master, the
	// server that it is to replicate from.
	ChooseSource Name = "choose-source"
	// Relocate points each of them to that server, or to the next best.
	Relocate Name = "relocate"
	// Verify looks once more at what the recovery promised.
	Verify Name = "verify"
)

// Stage is a set of steps that run side by side; the next stage begins when
// all of them have ended well.
type Stage []Name

// Plan is the ordered stages of one recovery.
type Plan struct {
	Stages []Stage
}

// Steps returns all steps in order.
func (p Plan) Steps() []Name {
	return slices.Concat(stagesOf(p)...)
}

func stagesOf(p Plan) [][]Name {
	out := make([][]Name, len(p.Stages))
	for i, s := range p.Stages {
		out[i] = s
	}
	return out
}

// Build writes the plan of a recovery. undoing is true for a switchover on its
// way back to the old master; announced is true once the winner is the
// cluster's master, so that only the telling is left.
func Build(kind ledger.Kind, undoing, announced bool) Plan {
	var head []Stage
	tail := []Stage{{Route, Publish, Repoint}, {Verify}, {DetachLost}}
	switch {
	case kind == ledger.Relocate:
		// The master stays as it is, and with it epoch and routes.
		return Plan{Stages: []Stage{{ChooseSource}, {Relocate}, {Verify}}}
	case announced:
		return Plan{Stages: tail}
	case undoing || kind == ledger.Reinstate:
		// The same server serves again, so nobody has to be kept from it.
		head = []Stage{{Pick}, {Acknowledgers}, {Promote}}
	case kind == ledger.Switchover:
		head = []Stage{{Pick}, {Withdraw}, {Demote}, {CatchUp}, {Acknowledgers}, {Promote}}
	default:
		// The fence comes after the proxies: ending a client's connection can make
		// a commit visible that waits for its acknowledgement.
		head = []Stage{{Withdraw, StopReceiving}, {Fence}, {Pick}, {Converge}, {Salvage}, {WaitApplied}, {Acknowledgers}, {Promote}}
	}
	return Plan{Stages: slices.Concat(head, []Stage{{Announce}}, tail)}
}

// Phase says which part of the time budget a step counts to.
func (n Name) Phase() string {
	switch n {
	case Withdraw, Fence, Demote, StopReceiving:
		return "withdraw"
	case Pick, ChooseSource:
		return "pick"
	case Converge, Salvage, WaitApplied, CatchUp:
		return "apply"
	case Acknowledgers, Promote:
		return "promote"
	case Announce, Route, Publish:
		return "announce"
	default:
		return "follow-up"
	}
}
