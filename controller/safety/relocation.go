package safety

import (
	"fmt"
	"slices"
	"strings"

	"switchyard/controller/analysis"
	"switchyard/controller/candidate"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// RelocationInput is all that a judgement on a dead intermediate master is made
// from. The anti-flap window and cascades are the masters' alone: giving
// replicas another source takes nothing from anybody.
type RelocationInput struct {
	// Finding is about the intermediate master.
	Finding  analysis.Finding
	Snapshot topology.Snapshot
	Policy   policy.Cluster
	// OpenRecovery is the id of the cluster's open recovery of its master, if
	// any; OpenRelocation that of its open relocation.
	OpenRecovery, OpenRelocation string
	// HookFailed says which command failed before, and how; empty for none.
	HookFailed string
}

// JudgeRelocation decides whether the replicas of in.Finding.Subject may be
// given another source.
func JudgeRelocation(in RelocationInput) Verdict {
	for _, check := range []func(RelocationInput) (Verdict, bool){
		relocationByFinding, relocationByOperator, relocationByHistory, relocationByWitnesses, relocationBySources,
		relocationByHooks,
	} {
		if v, held := check(in); held {
			return v
		}
	}
	agree := failingOf(in.Snapshot, in.Finding.Subject)
	return Verdict{Act: true, Reason: fmt.Sprintf("%s, and %d of %d controllers (%s) agree: its replicas get another source",
		in.Finding.Sentence, len(agree), in.Policy.Controllers, strings.Join(agree, ", "))}
}

func relocationByFinding(in RelocationInput) (Verdict, bool) {
	f := in.Finding
	switch {
	case f.Kind == analysis.NoProblem:
		return hold(NoProblem, "%s", f.Sentence)
	case f.Answer != analysis.AnswerRelocate && f.Replicas > 0 && f.Valid == 0:
		return hold(AllReplicasDead, "%s: there is nobody to move", f.Sentence)
	case f.Answer != analysis.AnswerRelocate:
		return hold(ReportedOnly, "%s: it is reported, and no relocation answers it", f.Sentence)
	}
	return Verdict{}, false
}

func relocationByOperator(in RelocationInput) (Verdict, bool) {
	if !in.Policy.RecoverIntermediate {
		return hold(RecoveryDisabled, "automatic recovery of intermediate masters is off for %s: "+
			"recovery.intermediate_clusters does not match it", in.Finding.Cluster)
	}
	return byPause(in.Policy, in.Snapshot, in.Finding.Subject)
}

func relocationByHistory(in RelocationInput) (Verdict, bool) {
	switch {
	case in.OpenRecovery != "":
		return hold(RecoveryOpen, "recovery %s of the master has not ended", in.OpenRecovery)
	case in.OpenRelocation != "":
		return hold(RecoveryOpen, "relocation %s has not ended", in.OpenRelocation)
	}
	return Verdict{}, false
}

func relocationByWitnesses(in RelocationInput) (Verdict, bool) {
	if agree := failingOf(in.Snapshot, in.Finding.Subject); !in.Policy.Agreed(agree) {
		return hold(NoWitnessMajority, "only %d of %d controllers see it dead, or its replicas fail to connect (%s); %d must",
			len(agree), in.Policy.Controllers, strings.Join(agree, ", "), in.Policy.Majority())
	}
	return Verdict{}, false
}

// failingOf are the observers that see a server dead, or that see its replicas
// and none that receives from it.
func failingOf(s topology.Snapshot, k topology.Key) []string {
	out := deadOf(s, k)
	for _, v := range s.Views {
		answer, receive := 0, 0
		for _, r := range s.Replicas(k) {
			o, ok := v.Observations[r]
			if !ok || o.Instance == nil || r == s.Master {
				continue
			}
			answer++
			if o.Instance.Replication != nil && o.Instance.Replication.IO == topology.ThreadRunning {
				receive++
			}
		}
		if answer > 0 && receive == 0 && !slices.Contains(out, v.Observer) {
			out = append(out, v.Observer)
		}
	}
	slices.Sort(out)
	return out
}

// relocationBySources holds where not one replica that answers has anywhere to go.
func relocationBySources(in RelocationInput) (Verdict, bool) {
	var reasons []string
	for _, k := range in.Snapshot.Replicas(in.Finding.Subject) {
		_, downtimed := in.Snapshot.Downtimed[k]
		if o, ok := in.Snapshot.Sight(k); !ok || o.Instance == nil || downtimed || k == in.Snapshot.Master {
			continue
		}
		r := candidate.Sources(in.Snapshot, in.Finding.Subject, k, in.Policy)
		if _, ok := r.Best(); ok {
			return Verdict{}, false
		}
		for _, e := range r.Excluded {
			reasons = append(reasons, fmt.Sprintf("%s below %s: %s", k, e.Key, e.Reason))
		}
	}
	if len(reasons) == 0 {
		return hold(NoSource, "none of its replicas is to be moved: they do not answer, or are in downtime")
	}
	return hold(NoSource, "no server may take any of its replicas: %s", strings.Join(reasons, "; "))
}

func relocationByHooks(in RelocationInput) (Verdict, bool) {
	return byHooks(Input{HookFailed: in.HookFailed})
}
