package scenario

import (
	"fmt"
	"strings"

	"switchyard/controller/analysis"
	"switchyard/controller/candidate"
	"switchyard/controller/plan"
	"switchyard/controller/safety"
	"switchyard/controller/topology/sketch"
	"switchyard/store/ledger"
)

// judge says what the judging packages make of a world, a line each.
func judge(w world) string {
	var out strings.Builder
	report := analysis.Analyze(w.snapshot, w.policy)
	tell(&out, "finding", report.Master)
	for _, f := range report.Others {
		tell(&out, "other", f)
	}
	for _, warning := range report.Warnings {
		fmt.Fprintf(&out, "warning %s %s: %s\n", warning.Code, warning.Subject.Host, warning.Sentence)
		for _, e := range warning.Evidence {
			fmt.Fprintf(&out, "  %s\n", e)
		}
	}
	if w.switchover {
		written := w.snapshot.Servers[w.snapshot.Master].Last.Executed
		tellRanking(&out, candidate.RankPlanned(w.snapshot, w.snapshot.Master, w.named, written, w.policy))
		tellPlan(&out, ledger.Switchover)
		return out.String()
	}
	if w.force {
		tellRanking(&out, candidate.Forced(w.snapshot, w.snapshot.Master, w.former, w.policy))
		return out.String()
	}
	for _, f := range report.Others {
		tellRelocation(&out, w, f)
	}
	in := w.input
	in.Finding, in.Snapshot, in.Policy, in.Now = report.Master, w.snapshot, w.policy, sketch.Start
	in.Former = w.former
	in.Ranking = candidate.Rank(w.snapshot, w.snapshot.Master, w.former, w.policy)
	if report.Master.Dead || report.Master.Answer == analysis.AnswerFailover {
		tellRanking(&out, in.Ranking)
	}
	verdict := safety.Judge(in)
	if !verdict.Act {
		fmt.Fprintf(&out, "hold %s: %s\n", verdict.Code, verdict.Reason)
		return out.String()
	}
	fmt.Fprintf(&out, "act: %s\n", verdict.Reason)
	best, _ := in.Ranking.Best()
	tellWinner(&out, w, best)
	tellPlan(&out, ledger.Failover)
	return out.String()
}

// tellWinner says what a winner's promotion loses, and who cannot follow it.
func tellWinner(out *strings.Builder, w world, best candidate.Choice) {
	label := "not proven"
	proven, sentence := candidate.Durability(w.snapshot, w.snapshot.Master, w.former, best, w.policy)
	if proven {
		label = "proven"
	}
	fmt.Fprintf(out, "%s: %s\n", label, sentence)
	_, cannot := candidate.Followers(w.snapshot, w.snapshot.Master, w.former, best, w.policy)
	for _, e := range cannot {
		fmt.Fprintf(out, "lost %s: %s\n", e.Key.Host, e.Reason)
	}
}

// tellRelocation says what is done about a finding that a relocation answers:
// where each replica may go, and the verdict.
func tellRelocation(out *strings.Builder, w world, f analysis.Finding) {
	if f.Answer != analysis.AnswerRelocate {
		return
	}
	for _, k := range w.snapshot.Replicas(f.Subject) {
		if k == w.snapshot.Master {
			continue
		}
		r := candidate.Sources(w.snapshot, f.Subject, k, w.policy)
		for n, c := range r.Order {
			fmt.Fprintf(out, "source %d of %s: %s: %s\n", n+1, k.Host, c.Key.Host, c.Reason)
		}
		for _, e := range r.Excluded {
			fmt.Fprintf(out, "no source of %s: %s: %s\n", k.Host, e.Key.Host, e.Reason)
		}
	}
	verdict := safety.JudgeRelocation(safety.RelocationInput{
		Finding: f, Snapshot: w.snapshot, Policy: w.policy, OpenRecovery: w.input.OpenRecovery,
		OpenRelocation: w.openRelocation, HookFailed: w.input.HookFailed,
	})
	if !verdict.Act {
		fmt.Fprintf(out, "hold %s: %s\n", verdict.Code, verdict.Reason)
		return
	}
	fmt.Fprintf(out, "act: %s\n", verdict.Reason)
	tellPlan(out, ledger.Relocate)
}

func tell(out *strings.Builder, label string, f analysis.Finding) {
	fmt.Fprintf(out, "%s %s %s", label, f.Kind, f.Subject.Host)
	if f.Answer != "" {
		fmt.Fprintf(out, " -> %s", f.Answer)
	}
	fmt.Fprintf(out, ": %s\n", f.Sentence)
	for _, e := range f.Evidence {
		fmt.Fprintf(out, "  %s\n", e)
	}
}

func tellRanking(out *strings.Builder, r candidate.Ranking) {
	for n, c := range r.Order {
		via := ""
		if !c.Via.IsZero() {
			via = " via " + c.Via.Host
		}
		fmt.Fprintf(out, "rank %d %s%s: %s\n", n+1, c.Key.Host, via, c.Reason)
	}
	for _, e := range r.Excluded {
		fmt.Fprintf(out, "excluded %s: %s\n", e.Key.Host, e.Reason)
	}
	if _, ok := r.Best(); !ok {
		fmt.Fprintf(out, "nobody: %s\n", r.Why())
	}
}

func tellPlan(out *strings.Builder, kind ledger.Kind) {
	for _, stage := range plan.Build(kind, false, false).Stages {
		names := make([]string, 0, len(stage))
		for _, name := range stage {
			names = append(names, string(name))
		}
		fmt.Fprintf(out, "step %s\n", strings.Join(names, ", "))
	}
}
