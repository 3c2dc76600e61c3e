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
	// NoLease: the master may live, cut off, and the lease by which its database
	// sidecar would have stopped it cannot be counted on.
	NoLease Code = "no-lease"
	// NoProxies: the master is not proven dead, and there is no managed proxy to
	// withdraw it from.
	NoProxies Code = "no-proxies"
	// ProxiesUnreachable: proxies that may lead to the master do not answer, and
	// the policy is to wait for them.
	ProxiesUnreachable Code = "proxies-unreachable"
	// IncomparableGTID: two replicas each hold what the other lacks.
	IncomparableGTID Code = "incomparable-gtid"
	// AheadNotPromotable: who holds the most may not be promoted.
	AheadNotPromotable Code = "ahead-not-promotable"
	// Paused: somebody paused automatic recoveries.
	Paused Code = "paused"
	// Downtimed: the master is in downtime.
	Downtimed Code = "downtimed"
	// Cascade: masters crash one after the other; somebody has to look first.
	Cascade Code = "cascade"
	// HookFailed: a command that the operator wants to run before has failed.
	HookFailed Code = "hook-failed"
	// TooFewAcknowledgers: semi_sync is on, and the new master would have fewer
	// acknowledging replicas than a commit waits for.
	TooFewAcknowledgers Code = "too-few-acknowledgers"
	// SickReported: the master answers and takes no writes, and the policy for
	// that is to report it, or its time has not come.
	SickReported Code = "sick-reported"
	// ReportedOnly: something is wrong, and no recovery answers it.
	ReportedOnly Code = "reported-only"
	// NoCandidate: no replica may be promoted.
	NoCandidate Code = "no-candidate"
	// NoSource: no server may take the replicas of a dead intermediate master.
	NoSource Code = "no-source"
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
	// Crashes are when the automatic failovers of this cluster ended, since
	// somebody last acknowledged one.
	Crashes []time.Time
	// Former are the winners that an unfinished recovery gave up.
	Former []topology.Key
	// HookFailed says which command failed before the recovery, and how; empty
	// for none.
	HookFailed string
	// Lease is what is known of the lease of a master that seems cut off; nil where
	// nobody asked, or no server of the cluster has a database sidecar.
	Lease *Lease
	// Unknown are the proxies that may lead to the master and do not answer.
	Unknown []string
	Now     time.Time
}

// Lease is whether the lease of a master's database sidecar can be outlasted.
type Lease struct {
	// Promise says what is counted on; Missing why nothing can be, and the remedy.
	Promise, Missing string
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

// Judge decides whether in.Finding may be answered by a failover.
func Judge(in Input) Verdict {
	for _, check := range []func(Input) (Verdict, bool){
		byFinding, byOperator, byHistory, byWitnesses, byRanking, byAcknowledgers, byHooks,
	} {
		if v, held := check(in); held {
			return v
		}
	}
	best, _ := in.Ranking.Best()
	agree := deadOf(in.Snapshot, in.Snapshot.Master)
	if t := in.Finding.Trouble(); t != "" {
		agree = sightsOf(in.Snapshot, t).see
	}
	reason := fmt.Sprintf("%s, and %d of %d controllers (%s) agree: promote %s, which %s",
		in.Finding.Sentence, len(agree), in.Policy.Controllers, strings.Join(agree, ", "), best.Key, best.Reason)
	if in.Lease != nil && in.Finding.Dead && !hostAnswers(in.Snapshot) {
		reason += "; " + in.Lease.Promise
	}
	return Verdict{Act: true, Reason: reason}
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
	case analysis.UnreachableMaster, analysis.UnreachableCoMaster, analysis.UnreachableMasterWithLaggingReplicas:
		if dead, alive := analysis.Witnesses(in.Snapshot); len(alive) > 0 {
			return hold(ObserversDisagree, "%s answers %s, and not %s",
				in.Snapshot.Master, strings.Join(alive, ", "), strings.Join(dead, ", "))
		}
		return hold(ReplicasReplicating, "%s, so it lives and nothing is moved", f.Sentence)
	case analysis.DeadMasterWithoutReplicas:
		return hold(NoReplicas, "%s: there is nobody to promote", f.Sentence)
	case analysis.DeadMasterAndReplicas:
		return hold(AllReplicasDead, "%s: there is nobody to promote", f.Sentence)
	}
	switch {
	case f.Answer == analysis.AnswerFailover:
		return Verdict{}, false
	case f.Dead:
		return hold(NoCandidate, "%s: no recovery is known for it", f.Sentence)
	case !f.Sick():
		return hold(ReportedOnly, "%s: it is reported, and no failover answers it", f.Sentence)
	}
	trouble := in.Finding.Trouble()
	if after := in.Policy.FailoverAfter[trouble]; trouble != "" && after > 0 {
		return hold(SickReported, "%s: it is failed over once %d controllers have seen %s for %s, and none sees writes succeed",
			f.Sentence, in.Policy.Majority(), trouble, after)
	}
	return hold(SickReported, "%s: it is reported, and nothing is promoted over it (recovery.failover_after does not name it)", f.Sentence)
}

func byOperator(in Input) (Verdict, bool) {
	if !in.Policy.Recover {
		return hold(RecoveryDisabled, "automatic recovery is off for %s: recovery.clusters does not match it",
			in.Finding.Cluster)
	}
	return byPause(in.Policy, in.Snapshot, in.Snapshot.Master)
}

// byPause holds what a person asked to leave alone.
func byPause(p policy.Cluster, s topology.Snapshot, subject topology.Key) (Verdict, bool) {
	if p.Paused != "" {
		return hold(Paused, "automatic recoveries are paused: %s", p.Paused)
	}
	if why, downtimed := s.Downtimed[subject]; downtimed {
		return hold(Downtimed, "%s is in downtime: %s", subject, why)
	}
	return Verdict{}, false
}

func byHistory(in Input) (Verdict, bool) {
	if in.OpenRecovery != "" {
		return hold(RecoveryOpen, "recovery %s has not ended", in.OpenRecovery)
	}
	if n := recent(in.Crashes, in.Now, in.Policy.CascadeWindow); in.Policy.CascadeLimit > 0 && n >= in.Policy.CascadeLimit {
		return hold(Cascade, "%d masters were replaced unasked within %s: what brings them down may follow the mastership; "+
			"acknowledge the last recovery to go on", n, in.Policy.CascadeWindow)
	}
	if in.LastAutomatic.IsZero() || in.Policy.AntiFlap <= 0 {
		return Verdict{}, false
	}
	if recent([]time.Time{in.LastAutomatic}, in.Now, in.Policy.AntiFlap) > 0 {
		return hold(AntiFlap, "the last automatic recovery ended at %s; the next one may begin at %s",
			in.LastAutomatic.UTC().Format(time.RFC3339), in.LastAutomatic.Add(in.Policy.AntiFlap).UTC().Format(time.RFC3339))
	}
	return Verdict{}, false
}

// recent counts the moments less than a window away from now. A distance of
// more than that, either way, is the past, or a clock that jumped.
func recent(moments []time.Time, now time.Time, window time.Duration) int {
	n := 0
	for _, m := range moments {
		if d := now.Sub(m); -window < d && d < window {
			n++
		}
	}
	return n
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

// byAcknowledgers holds where the new master would wait for acknowledgements
// that cannot come.
func byAcknowledgers(in Input) (Verdict, bool) {
	best, ok := in.Ranking.Best()
	if !ok || in.Policy.SemiSync != policy.SemiSyncOn {
		return Verdict{}, false
	}
	can, _ := candidate.Followers(in.Snapshot, in.Snapshot.Master, in.Former, best, in.Policy)
	able := make([]string, 0, len(can))
	for _, k := range can {
		o, _ := in.Snapshot.Sight(k)
		if _, downtimed := in.Snapshot.Downtimed[k]; !downtimed && o.Instance != nil && o.Instance.SemiSync.Available {
			able = append(able, k.String())
		}
	}
	want := 1
	if old := in.Snapshot.Servers[in.Snapshot.Master].Last; old != nil && old.SemiSync.SourceEnabled {
		want = max(want, old.SemiSync.WaitCount) // which the new one takes over
	}
	if len(able) < want {
		who := "nobody"
		if len(able) > 0 {
			who = "only " + strings.Join(able, ", ")
		}
		return hold(TooFewAcknowledgers, "semi_sync is on, a commit on %s waits for %d to acknowledge, and %s could", best.Key, want, who)
	}
	return Verdict{}, false
}

func byHooks(in Input) (Verdict, bool) {
	if in.HookFailed != "" {
		return hold(HookFailed, "a command that has to succeed before failed: %s", in.HookFailed)
	}
	return Verdict{}, false
}
