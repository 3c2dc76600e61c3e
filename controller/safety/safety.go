// Package safety decides whether a finding may be acted on now: act, or hold
// with a named reason. Everything that could refuse is asked here, before
// anything is moved. It is pure.
package safety

import (
	"fmt"
	"strings"
	"time"

	"switchyard/controller/analysis"
	"switchyard/controller/candidate"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// Code names why nothing is done. Codes are part of the API and do not change.
type Code string

// The reasons to hold.
const (
	// NoProblem: there is nothing to do.
	NoProblem Code = "no-problem"
	// MasterReadOnly: the master answers, and was not seen to restart since it
	// was writable: somebody made it read-only, and has to say when that ends.
	MasterReadOnly Code = "master-read-only"
	// RestartGrace: the master was shut down in order and is waited for.
	RestartGrace Code = "restart-grace"
	// ReplicasReplicating: replicas receive from the master, so it lives.
	ReplicasReplicating Code = "replicas-replicating"
	// NoReplicas: there is nobody to promote.
	NoReplicas Code = "no-replicas"
	// AllReplicasDead: no replica answers.
	AllReplicasDead Code = "all-replicas-dead"
	// RecoveryDisabled: the operator has not opted in.
	RecoveryDisabled Code = "recovery-disabled"
	// RecoveryOpen: a recovery of the cluster has not ended.
	RecoveryOpen Code = "recovery-open"
	// AntiFlap: the last automatic recovery ended too short a time ago.
	AntiFlap Code = "anti-flap"
	// NoWitnessMajority: too few controllers see the master dead.
	NoWitnessMajority Code = "no-witness-majority"
	// ObserversDisagree: a controller reaches the master that others cannot.
	ObserversDisagree Code = "observers-disagree"
	// MasterCutOff: not even the master's host answers; it may live, cut off.
	MasterCutOff Code = "master-cut-off"
	// NoProxies: the master is not proven dead, and there is no managed proxy to
	// withdraw it from.
	NoProxies Code = "no-proxies"
	// IncomparableGTID: two replicas each hold what the other lacks.
	IncomparableGTID Code = "incomparable-gtid"
	// AheadNotPromotable: who holds the most may not be promoted.
	AheadNotPromotable Code = "ahead-not-promotable"
	// NoCandidate: no replica may be promoted.
	NoCandidate Code = "no-candidate"
)

// Verdict is the judgement, with its reason in one sentence.
type Verdict struct {
	Act    bool
	Code   Code
	Reason string
}

// Input is all that a judgement is made from.
type Input struct {
	Finding  analysis.Finding
	Snapshot topology.Snapshot
	Ranking  candidate.Ranking
	Policy   policy.Cluster
	// OpenRecovery is the id of the cluster's open recovery, if any.
	OpenRecovery string
	// LastAutomatic is when the last automatic failover that announced a master ended.
	LastAutomatic time.Time
	Now           time.Time
}

// Transient reports whether a hold for this reason may pass within
// milliseconds, as the replicas and the other controllers notice.
func (c Code) Transient() bool {
	switch c {
	case ReplicasReplicating, NoWitnessMajority, ObserversDisagree, AllReplicasDead:
		return true
	}
	return false
}

// Judge decides whether in.Finding may be acted on.
func Judge(in Input) Verdict {
	for _, check := range []func(Input) (Verdict, bool){
		byFinding, byOperator, byHistory, byWitnesses, byRanking,
	} {
		if v, held := check(in); held {
			return v
		}
	}
	best, _ := in.Ranking.Best()
	dead, _ := analysis.Witnesses(in.Snapshot)
	return Verdict{Act: true, Reason: fmt.Sprintf("%s, and %d of %d controllers (%s) agree: promote %s, which %s",
		in.Finding.Sentence, len(dead), in.Policy.Controllers, strings.Join(dead, ", "), best.Key, best.Reason)}
}

func hold(code Code, format string, args ...any) (Verdict, bool) {
	return Verdict{Code: code, Reason: fmt.Sprintf(format, args...)}, true
}

func byFinding(in Input) (Verdict, bool) {
	f := in.Finding
	switch f.Kind {
	case analysis.NoProblem:
		return hold(NoProblem, "%s", f.Sentence)
	case analysis.NoWriteableMaster:
		return hold(MasterReadOnly, "%s: nothing is promoted over it", f.Sentence)
	case analysis.MasterRestarting:
		return hold(RestartGrace, "%s; it is given %s", f.Sentence, in.Policy.RestartGrace)
	case analysis.UnreachableMaster:
		return hold(ReplicasReplicating, "%s, so it lives and nothing is moved", f.Sentence)
	case analysis.DeadMasterWithoutReplicas:
		return hold(NoReplicas, "%s: there is nobody to promote", f.Sentence)
	case analysis.DeadMasterAndReplicas:
		return hold(AllReplicasDead, "%s: there is nobody to promote", f.Sentence)
	}
	if !f.Recoverable {
		return hold(NoCandidate, "%s: no recovery is known for it", f.Sentence)
	}
	return Verdict{}, false
}

func byOperator(in Input) (Verdict, bool) {
	if !in.Policy.Recover {
		return hold(RecoveryDisabled, "automatic recovery is off for %s: recovery.clusters does not match it",
			in.Finding.Cluster)
	}
	return Verdict{}, false
}

func byHistory(in Input) (Verdict, bool) {
	if in.OpenRecovery != "" {
		return hold(RecoveryOpen, "recovery %s has not ended", in.OpenRecovery)
	}
	if in.LastAutomatic.IsZero() || in.Policy.AntiFlap <= 0 {
		return Verdict{}, false
	}
	// A distance of more than the window, either way, is a clock that jumped.
	until := in.LastAutomatic.Add(in.Policy.AntiFlap)
	if in.Now.Before(until) && in.LastAutomatic.Sub(in.Now) < in.Policy.AntiFlap {
		return hold(AntiFlap, "the last automatic recovery ended at %s; the next one may begin at %s",
			in.LastAutomatic.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339))
	}
	return Verdict{}, false
}

func byWitnesses(in Input) (Verdict, bool) {
	dead, alive := analysis.Witnesses(in.Snapshot)
	switch {
	case len(alive) > 0:
		return hold(ObserversDisagree, "%s answers %s, and not %s",
			in.Snapshot.Master, strings.Join(alive, ", "), strings.Join(dead, ", "))
	case len(dead) < in.Policy.Majority():
		return hold(NoWitnessMajority, "only %d of %d controllers see it dead (%s); %d must",
			len(dead), in.Policy.Controllers, strings.Join(dead, ", "), in.Policy.Majority())
	case in.Policy.CutOff != policy.CutOffFailover && !hostAnswers(in.Snapshot):
		return hold(MasterCutOff, "not even the host of %s answers: it may live, cut off, and serve who is cut off with it "+
			"(recovery.cut_off is hold)", in.Snapshot.Master)
	case in.Policy.CutOff != policy.CutOffFailover && in.Policy.Proxies == 0 && !analysis.ProvenDead(in.Snapshot):
		return hold(NoProxies, "%s is not proven dead, and no managed proxy leads to it that could be withdrawn: "+
			"its clients would go on there if it came back (recovery.cut_off is hold)", in.Snapshot.Master)
	}
	return Verdict{}, false
}

// hostAnswers reports whether anybody saw that the master's host itself lives.
func hostAnswers(s topology.Snapshot) bool {
	for _, v := range s.Views {
		if v.Observations[s.Master].Reach.HostAnswered() {
			return true
		}
	}
	return false
}

func byRanking(in Input) (Verdict, bool) {
	r := in.Ranking
	switch {
	case r.Ambiguous != "":
		return hold(IncomparableGTID, "%s", r.Why())
	case r.Ahead != "":
		return hold(AheadNotPromotable, "%s", r.Why())
	case len(r.Order) == 0:
		return hold(NoCandidate, "%s", r.Why())
	}
	return Verdict{}, false
}
