package console

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/analysis"
	"switchyard/controller/candidate"
	"switchyard/controller/executor"
	"switchyard/controller/failover"
	"switchyard/controller/plan"
	"switchyard/controller/policy"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Explain implements adminapi.Operator.
func (c *Console) Explain(ctx context.Context, cluster string) (wire.Explanation, error) {
	if _, ok := c.ledger.State().Clusters[cluster]; !ok {
		return wire.Explanation{}, c.noCluster(cluster)
	}
	a, err := c.loop.Explain(ctx, cluster)
	if err != nil {
		return wire.Explanation{}, c.failed(cluster, err)
	}
	out := wire.Explanation{
		Cluster: cluster, Finding: finding(a), Sentence: a.Finding.Sentence, Subject: a.Finding.Subject,
		Evidence: slices.Clone(a.Finding.Evidence), Reason: string(a.Verdict.Code), ReasonSentence: a.Verdict.Reason,
		Blocks: c.blocks(a),
	}
	for _, silent := range a.Silent {
		out.Evidence = append(out.Evidence, "no view: "+silent)
	}
	for _, f := range a.Report.Others {
		out.Others = append(out.Others, c.found(a, f))
	}
	for _, w := range a.Report.Warnings {
		out.Warnings = append(out.Warnings, warning(w))
	}
	out.Candidates = candidates(a.Ranking)
	if out.Finding != "" {
		out.Verdict = wire.Hold
	} else {
		out.Candidates = c.successors(ctx, a)
	}
	if a.Verdict.Act {
		out.Verdict = wire.Act
	}
	if best, ok := a.Ranking.Best(); ok && a.Finding.Answer == analysis.AnswerFailover {
		out.Plan = planned(a, best)
		former := executor.Runners(c.ledger.State(), a.Snapshot)
		out.Proven, out.Durability = candidate.Durability(a.Snapshot, a.Cluster.Master, former, best, c.rules(cluster))
	}
	out.Summary = summary(out)
	return out, nil
}

// finding is what was found, as the door names it: nothing for no problem.
func finding(a failover.Assessment) string {
	if a.Finding.Kind == analysis.NoProblem {
		return ""
	}
	return string(a.Finding.Kind)
}

func candidates(r candidate.Ranking) []wire.Candidate {
	var out []wire.Candidate
	for n, choice := range r.Order {
		out = append(out, wire.Candidate{Key: choice.Key, Place: n + 1, Reason: choice.Reason, Via: choice.Via})
	}
	for _, e := range r.Excluded {
		out = append(out, wire.Candidate{Key: e.Key, Reason: e.Reason})
	}
	return out
}

// successors are who could take over from a master that lives, as a switchover
// would rank them; nobody where the master has just gone.
func (c *Console) successors(ctx context.Context, a failover.Assessment) []wire.Candidate {
	master := a.Cluster.Master
	// After the replicas' pictures, so that all they have is in it.
	last := c.observer.Look(ctx, []topology.Key{master}, nil).Observations[master].Instance
	if last == nil {
		return nil
	}
	return candidates(candidate.RankPlanned(a.Snapshot, master, topology.Key{}, last.Executed, c.rules(a.Cluster.Name)))
}

// planned are the steps of a failover to the best candidate.
func planned(a failover.Assessment, best candidate.Choice) []wire.PlannedStep {
	var out []wire.PlannedStep
	for _, step := range plan.Build(ledger.Failover, false, false).Steps() {
		p := wire.PlannedStep{Name: string(step)}
		switch step {
		case plan.Withdraw, plan.Fence:
			p.Subject = a.Cluster.Master
		case plan.StopReceiving, plan.Repoint, plan.Verify:
			p.Detail = "all replicas"
		case plan.DetachLost:
			p.Detail = "replicas that cannot follow, if any"
		case plan.Converge:
			if best.Via.IsZero() {
				continue
			}
			p.Subject, p.Detail = best.Key, fmt.Sprintf("from %s, which holds what it lacks", best.Via)
		default:
			p.Subject = best.Key
		}
		out = append(out, p)
	}
	return out
}

// found is one finding beside the master's, with what would be done about it.
func (c *Console) found(a failover.Assessment, f analysis.Finding) wire.Found {
	out := wire.Found{
		Finding: string(f.Kind), Subject: f.Subject, Sentence: f.Sentence, Evidence: f.Evidence,
		Answer: string(cmp.Or(f.Answer, f.Wants)), Verdict: wire.Hold,
	}
	v := c.judged(a, f)
	for _, r := range a.Relocations {
		if r.Finding.Subject == f.Subject && r.Finding.Kind == f.Kind {
			// By the views of the others on this very server.
			v, out.Moves = r.Verdict, moves(r)
			out.Answer, out.Evidence = string(cmp.Or(r.Finding.Answer, r.Finding.Wants)), r.Finding.Evidence
		}
	}
	if v.Act {
		out.Verdict = wire.Act
	}
	out.Reason, out.ReasonSentence = string(v.Code), v.Reason
	return out
}

// moves are where the replicas would go, by their names.
func moves(r failover.Relocation) []wire.PlannedMove {
	var out []wire.PlannedMove
	for _, k := range slices.SortedFunc(maps.Keys(r.Sources), topology.Key.Compare) {
		ranking := r.Sources[k]
		move := wire.PlannedMove{Server: k}
		if best, ok := ranking.Best(); ok {
			move.To, move.Reason = best.Key, best.Reason
		} else {
			move.Reason = ranking.Why()
		}
		out = append(out, move)
	}
	return out
}

// judged is the verdict on a finding beside the master's, by the pictures of a.
func (c *Console) judged(a failover.Assessment, f analysis.Finding) safety.Verdict {
	rules := c.rules(a.Cluster.Name)
	switch {
	case f.Answer == "" && f.Wants != "":
		return safety.Verdict{Code: safety.NoWitnessMajority, Reason: fmt.Sprintf(
			"the other controllers are asked first: a majority of them must see the same before the answer is to %s", verb(f.Wants))}
	case f.Answer == analysis.AnswerSemiSync && rules.SemiSyncRepair == policy.SemiSyncLeave:
		return safety.Verdict{Code: safety.ReportedOnly, Reason: "recovery.semi_sync_repair is none: it is reported"}
	case f.Answer == analysis.AnswerSemiSync && rules.Paused != "":
		return safety.Verdict{Code: safety.Paused, Reason: rules.Paused}
	case f.Answer == analysis.AnswerSemiSync:
		return safety.Verdict{Act: true, Reason: "the number of acknowledging replicas is put right"}
	}
	return safety.JudgeRelocation(safety.RelocationInput{
		Finding: f, Snapshot: a.Snapshot, Policy: rules, OpenRecovery: a.Cluster.Recovery, OpenRelocation: a.Cluster.Relocation,
	})
}

// verb says an answer as what is done.
func verb(a analysis.Answer) string {
	switch a {
	case analysis.AnswerFailover:
		return "promote a replica"
	case analysis.AnswerRelocate:
		return "give its replicas another source"
	case analysis.AnswerSemiSync:
		return "put the number of acknowledging replicas right"
	}
	return string(a)
}

// summary is why the leader would act, or why not, in one sentence.
func summary(e wire.Explanation) string {
	var text string
	switch {
	case e.Verdict == wire.Act:
		text = "the leader acts: " + e.ReasonSentence
	case e.Verdict == wire.Hold:
		text = fmt.Sprintf("the leader holds (%s): %s", e.Reason, e.ReasonSentence)
	default:
		text = "nothing is done about the master: " + e.Sentence
		if len(e.Blocks) > 0 {
			kinds := make([]string, len(e.Blocks))
			for i, b := range e.Blocks {
				kinds[i] = b.Kind
			}
			text += fmt.Sprintf("; if it failed, its recovery would be held back (%s)", strings.Join(kinds, ", "))
		}
	}
	if n := len(e.Others); n > 0 {
		text += fmt.Sprintf("; beside it %s: %s", e.Others[0].Finding, e.Others[0].Subject)
		if n > 1 {
			text += fmt.Sprintf(", and %d more", n-1)
		}
	}
	return text
}

// blocks are what would hold an automatic recovery of the master back, whatever
// is found.
func (c *Console) blocks(a failover.Assessment) []wire.Block {
	var out []wire.Block
	add := func(code safety.Code, until time.Time, format string, args ...any) {
		out = append(out, wire.Block{Kind: string(code), Until: until, Sentence: fmt.Sprintf(format, args...)})
	}
	state, now := c.ledger.State(), c.cfg.Now()
	cluster, rules := a.Cluster, c.cfg.Policy(a.Cluster.Name)
	if !rules.Recover {
		add(safety.RecoveryDisabled, time.Time{}, "recovery.clusters does not match this cluster: nothing is done unasked")
	}
	for _, p := range pauses(state, cluster.Name) {
		add(safety.Paused, time.Time{}, "%s", pauseText(ledger.Pause(p)))
	}
	if d, ok := state.Downtimes[cluster.Master]; ok && d.Active(now) {
		add(safety.Downtimed, d.Until, "the master %s is in downtime, owned by %s: %s", cluster.Master, d.Owner, d.Reason)
	}
	if id := cluster.Recovery; id != "" {
		add(safety.RecoveryOpen, time.Time{}, "recovery %s has not ended", id)
	}
	if last := cluster.LastAutomatic; !last.IsZero() && rules.AntiFlap > 0 {
		if until := last.Add(rules.AntiFlap); now.Before(until) {
			add(safety.AntiFlap, until, "the last automatic recovery ended at %s; `switchyard ack --cluster %s` ends the waiting",
				stamp(last), cluster.Name)
		}
	}
	if until := cascade(state.Crashes(cluster.Name), rules.CascadeLimit, rules.CascadeWindow, now); !until.IsZero() {
		add(safety.Cascade, until, "%d masters have crashed within %s: look for what they have in common, then "+
			"`switchyard ack --cluster %s`", rules.CascadeLimit, rules.CascadeWindow, cluster.Name)
	}
	if a.Verdict.Code == safety.HookFailed {
		add(safety.HookFailed, time.Time{}, "%s", a.Verdict.Reason)
	}
	return out
}

// cascade says until when crashes, the newest first, are too many; zero where
// they are not.
func cascade(crashes []time.Time, limit int, window time.Duration, now time.Time) time.Time {
	if limit <= 0 || len(crashes) < limit {
		return time.Time{}
	}
	if until := crashes[limit-1].Add(window); now.Before(until) {
		return until
	}
	return time.Time{}
}
