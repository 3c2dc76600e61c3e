package failover

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"switchyard/controller/analysis"
	"switchyard/controller/candidate"
	"switchyard/controller/executor"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

func (w *worker) unknown() []string {
	if w.cfg.Unknown == nil {
		return nil
	}
	return w.cfg.Unknown(w.name)
}

// target chooses whom to switch to, or refuses, before anything is moved, what
// could not finish.
func (w *worker) target(ctx context.Context, c ledger.Cluster, a Assessment, to topology.Key) (candidate.Choice, error) {
	var none candidate.Choice
	if _, err := w.begin(); err != nil {
		return none, err
	}
	switch {
	case len(w.unknown()) > 0:
		return none, &Refusal{Reason: fmt.Sprintf("these proxies do not answer: %s; everybody would wait for them with nobody served",
			strings.Join(w.unknown(), ", "))}
	case to == c.Master:
		return none, &Refusal{Reason: fmt.Sprintf("%s is the master already", to)}
	}
	// After the replicas' pictures, so that all they have is in it.
	master := w.observer.Look(ctx, []topology.Key{c.Master}, nil).Observations[c.Master].Instance
	if a.Finding.Answer == analysis.AnswerFailover || master == nil || master.ReadOnly {
		return none, &Refusal{Reason: fmt.Sprintf("the master %s does not answer (%s): a switchover needs it", c.Master, a.Finding.Kind)}
	}
	ranking := candidate.RankPlanned(a.Snapshot, c.Master, to, master.Executed, w.rules())
	for _, choice := range ranking.Order {
		if to.IsZero() || choice.Key == to {
			return choice, nil
		}
	}
	var reasons []string
	for _, e := range ranking.Excluded {
		if to.IsZero() || e.Key == to {
			reasons = append(reasons, fmt.Sprintf("%s: %s", e.Key, e.Reason))
		}
	}
	switch {
	case len(reasons) > 0:
		return none, &Refusal{Reason: "it may not be promoted: " + strings.Join(reasons, "; ")}
	case to.IsZero():
		return none, &Refusal{Reason: fmt.Sprintf("%s has no replicas", c.Master)}
	}
	return none, &Refusal{Reason: fmt.Sprintf("%s is not a direct replica of the master %s", to, c.Master)}
}

// anybody chooses whom a forced failover promotes: whom the operator named, or
// nobody yet where the recovery is to pick the best there is once nothing is
// received any more. It says who that is now, and what will be missing.
func (w *worker) anybody(a Assessment, to topology.Key) (target topology.Key, why string, err error) {
	former := executor.Runners(w.ledger.State(), a.Snapshot)
	forced := candidate.Forced(a.Snapshot, a.Cluster.Master, former, w.rules())
	if best, ranked := a.Ranking.Best(); to.IsZero() && ranked {
		return to, fmt.Sprintf("the best candidate: %s %s", best.Key, best.Reason), nil
	}
	if best, ok := forced.Best(); to.IsZero() && ok {
		return to, fmt.Sprintf("%s received most, and %s, in spite of this: %s", best.Key, best.Reason, a.Ranking.Why()), nil
	}
	if to.IsZero() {
		return to, "", &Refusal{Reason: fmt.Sprintf("nobody is left to promote: %s", forced.Why())}
	}
	o, ok := a.Snapshot.Sight(to)
	known := slices.Contains(append(a.Snapshot.Replicas(a.Cluster.Master), former...), to)
	if !known || !ok || o.Instance == nil || to == a.Cluster.Master || w.ledger.State().Servers[to].Standing == ledger.Quarantined {
		return to, "", &Refusal{Reason: fmt.Sprintf("%s cannot be promoted: it is no replica of %s that answers and is not quarantined",
			to, a.Cluster.Master)}
	}
	why = fmt.Sprintf("%s was named", to)
	for _, c := range forced.Order {
		if c.Key == to {
			why += ", and " + c.Reason
		}
	}
	for _, e := range forced.Excluded {
		if e.Key == to {
			why += ", in spite of this: " + e.Reason
		}
	}
	return to, why, nil
}
