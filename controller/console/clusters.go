package console

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/analysis"
	"switchyard/controller/failover"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Clusters implements adminapi.Pictures.
func (c *Console) Clusters(context.Context) ([]wire.Cluster, error) {
	state := c.ledger.State()
	out := make([]wire.Cluster, 0, len(state.Clusters))
	for _, name := range slices.Sorted(maps.Keys(state.Clusters)) {
		out = append(out, c.cluster(state, state.Clusters[name]))
	}
	return out, nil
}

func (c *Console) cluster(state ledger.State, k ledger.Cluster) wire.Cluster {
	v := wire.Cluster{
		Name: k.Name, Master: k.Master, Epoch: k.Epoch, Revision: k.Revision, Withdrawn: k.Withdrawn,
		Automatic: c.cfg.Policy(k.Name).Recover, Recovery: k.Recovery, Relocation: k.Relocation, LastAutomatic: k.LastAutomatic,
	}
	for _, r := range k.Readers {
		v.Readers = append(v.Readers, r.Server.String())
	}
	_, v.Paused = state.PausedFor(k.Name)
	for _, d := range state.Downtimed(k.Name, c.cfg.Now()) {
		v.Downtimes++
		if d.Reason == ledger.LostInRecovery {
			v.Lost++
		}
	}
	report := c.Report(k)
	if report.Master.Kind != analysis.NoProblem {
		v.Finding = string(report.Master.Kind)
	}
	v.Trouble = report.Master.Trouble()
	v.Others, v.Warnings = len(report.Others), len(report.Warnings)
	if v.Warnings > 0 {
		urgent := warning(report.Warnings[0])
		v.Urgent = &urgent
	}
	for _, i := range c.observer.Instances() {
		if i.Cluster != k.Name {
			continue
		}
		v.Servers++
		if w := i.Seen.Write; w != nil && i.Key == k.Master && v.Trouble == "" {
			v.Trouble = w.Trouble
		}
		if o := i.Seen; o.Reach == topology.ReachOK && o.Instance != nil {
			v.Reachable++
			if !o.Instance.ReadOnly {
				v.Writable++
			}
		}
	}
	if why := c.promise(state, k); why != "" {
		v.Problems = append(v.Problems, why)
	}
	if v.Writable > 1 {
		v.Problems = append(v.Problems, fmt.Sprintf("%d servers are writable", v.Writable))
	}
	return v
}

// Report is what the loop last found of a cluster. Who does not lead has none,
// and what was found of a former master says nothing of this one.
func (c *Console) Report(k ledger.Cluster) analysis.Report {
	a, ok := c.loop.Last(k.Name)
	if !ok || !c.ledger.IsLeader() || a.Cluster.Master != k.Master {
		return analysis.Report{Master: analysis.Finding{Kind: analysis.NoProblem}}
	}
	a.Report.Master = a.Finding
	return a.Report
}

// rules are those of a cluster now: the configuration's, and what operators set.
func (c *Console) rules(cluster string) policy.Cluster {
	return failover.Rules(c.cfg.Policy(cluster), c.ledger.State(), cluster, c.cfg.Now())
}

func pauseText(p ledger.Pause) string {
	return fmt.Sprintf("automatic recoveries of %s were paused by %s at %s: %s", which(p.Cluster), p.By, stamp(p.At), p.Reason)
}

// pauses are those that hold for the clusters, or all where none is named; the
// one of all clusters comes first.
func pauses(state ledger.State, clusters ...string) []wire.Pause {
	var out []wire.Pause
	for _, name := range slices.Sorted(maps.Keys(state.Pauses)) {
		if p := state.Pauses[name]; len(clusters) == 0 || name == "" || slices.Contains(clusters, name) {
			out = append(out, wire.Pause{Cluster: p.Cluster, By: p.By, Reason: p.Reason, At: p.At})
		}
	}
	return out
}

func warning(w analysis.Warning) wire.Warning {
	return wire.Warning{Code: string(w.Code), Subject: w.Subject, Sentence: w.Sentence, Evidence: w.Evidence}
}
