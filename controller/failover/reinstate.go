package failover

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"switchyard/controller/executor"
	"switchyard/controller/plan"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// reinstatePause is the least time between two attempts to reinstate a master.
const reinstatePause = 30 * time.Second

// sighting is when one master was last seen to accept writes.
type sighting struct {
	master topology.Key
	at     time.Time
}

// proven is what the recovery that began the present epoch tells of its winner,
// which may restart before any probe of ours sees it: it was read to be writable
// right before it was announced, perhaps by a leader that is gone.
func proven(s ledger.State, c ledger.Cluster) sighting {
	for _, rec := range s.Recoveries {
		if rec.Cluster != c.Name || rec.Epoch != c.Epoch || !rec.Announced || rec.Open() {
			continue
		}
		// A leader that was deposed in between may have left no word of it: then it
		// was writable at some time since the recovery began.
		at := rec.StartedAt
		for _, step := range rec.Steps {
			switch {
			case step.Outcome != ledger.StepDone:
			case step.Name == string(plan.Promote):
				at = step.EndedAt
			case step.Name == string(plan.Announce):
				at = step.StartedAt
			}
		}
		return sighting{rec.Winner, at}
	}
	return sighting{}
}

// restarted says why the master is read-only and is to be made writable again:
// it restarted since it was last known to be writable (servers boot read-only, and
// the one that the ledger names is to be writable), or its sidecar fenced it since
// and holds the lease again. A master that somebody made read-only on purpose is
// left alone.
func (w *worker) restarted(ctx context.Context, c ledger.Cluster) string {
	snapshot := w.observer.Snapshot(c.Name, c.Master)
	o, ok := snapshot.Sight(c.Master)
	if !ok || o.Instance == nil {
		return ""
	}
	// By the time of the probe, which may be some seconds ago by now.
	if !o.Instance.ReadOnly {
		w.writable = sighting{c.Master, o.Ended}
		return ""
	}
	if p := proven(w.ledger.State(), c); p.master == c.Master && (w.writable.master != c.Master || p.at.After(w.writable.at)) {
		w.writable = p
	}
	up := o.Ended.Add(-o.Instance.Uptime)
	switch {
	case w.writable.master != c.Master || !leads(snapshot, o.Instance):
		return ""
	case up.After(w.writable.at):
		return fmt.Sprintf("restarted %s ago, read-only", o.Instance.Uptime)
	case w.cfg.Leases != nil && w.ledger.IsLeader() && w.cfg.Leases.Unfenced(ctx, c.Name, c.Master, w.writable.at):
		return "was fenced by its sidecar, which holds the lease again"
	}
	return ""
}

// leads reports whether a server replicates from nobody, or from its co-master.
func leads(s topology.Snapshot, i *topology.Instance) bool {
	return i.Replication == nil || coMasters(s, i.Key, s.Servers[i.Key].Source)
}

// reinstate serves the same master again: after a recovery that withdrew it
// ended without a winner, or after it restarted. It looks anew before it claims.
func (w *worker) reinstate(ctx context.Context, c ledger.Cluster, a Assessment, restarted string) (bool, error) {
	if c.Recovery != "" || w.cfg.Now().Before(w.reinstateAfter) || restarted != "" && !c.Withdrawn && w.leftAlone(a) {
		return false, nil
	}
	// The replicas first, so that all they have from it is in the master's set.
	replicas := a.Snapshot.Replicas(c.Master)
	theirs := w.observer.Look(ctx, replicas, nil)
	o := w.observer.Look(ctx, []topology.Key{c.Master}, map[topology.Key]bool{c.Master: true}).Observations[c.Master]
	if o.Instance == nil || !leads(a.Snapshot, o.Instance) || (!c.Withdrawn && !o.Instance.ReadOnly) {
		return false, nil
	}
	for _, k := range replicas {
		i := theirs.Observations[k].Instance
		if i == nil {
			continue
		}
		if !i.ReadOnly && coMasters(a.Snapshot, c.Master, k) {
			return false, fmt.Errorf("not reinstated: %s, the co-master of %s, takes writes", k, c.Master)
		}
		if ahead := i.Received().Subtract(o.Instance.Executed); !ahead.IsEmpty() {
			return false, fmt.Errorf("not reinstated: the master %s lacks what its replica %s received from it: %s",
				c.Master, k, ahead)
		}
	}
	// One that merely restarted was served beside the same outcasts before.
	if c.Withdrawn {
		if err := w.loose(ctx, c); err != nil {
			return false, err
		}
	}
	claim := w.claim(a, ledger.Reinstate)
	claim.Automatic = true
	claim.Evidence = []string{fmt.Sprintf("%s was withdrawn, nobody was promoted, and it answers again", c.Master)}
	if restarted != "" {
		claim.Evidence = []string{fmt.Sprintf("%s %s, and it is the master of epoch %s", c.Master, restarted, c.Epoch)}
	}
	w.reinstateAfter = w.cfg.Now().Add(reinstatePause)
	_, err := w.carryOut(ctx, claim, nil)
	return true, err
}

// leftAlone reports whether nothing is done unasked about a master that restarted:
// automatic recoveries are off or paused, or somebody has it in downtime and may
// have booted it to work on it. What a recovery of ours withdrew is served again
// all the same.
func (w *worker) leftAlone(a Assessment) bool {
	p := w.rules()
	_, downtimed := a.Snapshot.Downtimed[a.Cluster.Master]
	return !p.Recover || p.Paused != "" || downtimed
}

// loose names an outcast that may be writable: it was to be promoted, and is
// neither fenced yet nor known to be gone.
func (w *worker) loose(ctx context.Context, c ledger.Cluster) error {
	outcasts := slices.SortedFunc(maps.Keys(executor.Outcasts(w.ledger.State(), c.Name)), topology.Key.Compare)
	view := w.observer.Look(ctx, outcasts, nil)
	for _, k := range outcasts {
		o := view.Observations[k]
		fenced := o.Instance != nil && o.Instance.ReadOnly
		if k != c.Master && !fenced && o.Reach != topology.ReachRefused {
			return fmt.Errorf("not reinstated: %s may be writable: it is %s now, and was to be promoted", k, o.Reach)
		}
	}
	return nil
}
