package console

import (
	"context"
	"errors"
	"fmt"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/analysis"
	"switchyard/controller/executor"
	"switchyard/controller/failover"
	"switchyard/controller/plan"
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
		Evidence: a.Finding.Evidence, Reason: string(a.Verdict.Code), ReasonSentence: a.Verdict.Reason,
		Blocks: c.blocks(a),
	}
	for _, silent := range a.Silent {
		out.Evidence = append(out.Evidence, "no view: "+silent)
	}
	best, ok := a.Ranking.Best()
	if out.Finding != "" {
		out.Verdict = wire.Hold
		for n, choice := range a.Ranking.Order {
			out.Candidates = append(out.Candidates, wire.Candidate{Key: choice.Key, Place: n + 1, Reason: choice.Reason})
		}
		for _, e := range a.Ranking.Excluded {
			out.Candidates = append(out.Candidates, wire.Candidate{Key: e.Key, Reason: e.Reason})
		}
	}
	if a.Verdict.Act {
		out.Verdict = wire.Act
	}
	if a.Finding.Recoverable && ok {
		for _, step := range plan.Build(ledger.Failover, false, false).Steps() {
			out.Plan = append(out.Plan, planned(step, a, best.Key))
		}
	}
	return out, nil
}

// finding is what was found, as the door names it: nothing for no problem.
func finding(a failover.Assessment) string {
	if a.Finding.Kind == analysis.NoProblem {
		return ""
	}
	return string(a.Finding.Kind)
}

func planned(step plan.Name, a failover.Assessment, winner topology.Key) wire.PlannedStep {
	p := wire.PlannedStep{Name: string(step)}
	switch step {
	case plan.Withdraw, plan.Fence:
		p.Subject = a.Cluster.Master
	case plan.StopReceiving, plan.Repoint, plan.Verify:
		p.Detail = "all replicas"
	default:
		p.Subject = winner
	}
	return p
}

func (c *Console) blocks(a failover.Assessment) []wire.Block {
	var out []wire.Block
	rules := c.cfg.Policy(a.Cluster.Name)
	if !rules.Recover {
		out = append(out, wire.Block{
			Kind:     string(safety.RecoveryDisabled),
			Sentence: "recovery.clusters does not match this cluster: nothing is done unasked",
		})
	}
	if id := a.Cluster.Recovery; id != "" {
		out = append(out, wire.Block{Kind: string(safety.RecoveryOpen), Sentence: fmt.Sprintf("recovery %s has not ended", id)})
	}
	if last := a.Cluster.LastAutomatic; !last.IsZero() && rules.AntiFlap > 0 {
		if until := last.Add(rules.AntiFlap); c.cfg.Now().Before(until) {
			out = append(out, wire.Block{
				Kind: string(safety.AntiFlap), Until: until,
				Sentence: "the last automatic recovery ended at " + last.UTC().Format(time.RFC3339),
			})
		}
	}
	return out
}

// Switchover implements adminapi.Operator.
func (c *Console) Switchover(ctx context.Context, req wire.SwitchoverRequest) (wire.Recovery, error) {
	state := c.ledger.State()
	if _, ok := state.Clusters[req.Cluster]; !ok {
		return wire.Recovery{}, c.noCluster(req.Cluster)
	}
	if srv, known := state.Servers[req.To]; !req.To.IsZero() && (!known || srv.Cluster != req.Cluster) {
		return wire.Recovery{}, wire.NewError(wire.NotFound,
			fmt.Sprintf("cluster %q has no server %s", req.Cluster, req.To), "see `switchyard topology` for its servers")
	}
	by := req.By
	if by == "" {
		by = "an operator"
	}
	rec, err := c.loop.Switchover(ctx, req.Cluster, req.To, by)
	if err != nil {
		return wire.Recovery{}, c.failed(req.Cluster, err)
	}
	return wire.NewRecovery(rec, Phases(rec)), nil
}

// failed turns the loop's errors into the door's.
func (c *Console) failed(cluster string, err error) error {
	var refusal *failover.Refusal
	var rejection *ledger.Rejection
	switch {
	case errors.Is(err, failover.ErrNoCluster):
		return c.noCluster(cluster)
	case errors.As(err, &refusal):
		return wire.NewError(wire.Refused, refusal.Reason, "nothing was moved")
	case errors.As(err, &rejection):
		return wire.NewError(wire.Conflict, rejection.Error(), "nothing was moved")
	case errors.Is(err, executor.ErrDeposed):
		return wire.NewError(wire.NotLeader, "this controller lost its leadership meanwhile; the next leader finishes or undoes it",
			"see `switchyard recoveries`")
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		return wire.NewError(wire.Timeout, err.Error(), "see `switchyard recoveries`")
	}
	return err
}
