package failover

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"switchyard/controller/executor"
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

// restarted reports whether the master is read-only because it restarted since
// it was last seen writable: servers boot read-only, and the one that the
// ledger names is to be writable. A master that somebody made read-only on
// purpose has not restarted, and is left alone.
func (w *worker) restarted(c ledger.Cluster) bool {
	snapshot := w.observer.Snapshot(c.Name, c.Master)
	o, ok := snapshot.Sight(c.Master)
	if !ok || o.Instance == nil {
		return false
	}
	// By the time of the probe, which may be some seconds ago by now.
	if !o.Instance.ReadOnly {
		w.writable = sighting{c.Master, o.Ended}
		return false
	}
	up := o.Ended.Add(-o.Instance.Uptime)
	return w.writable.master == c.Master && up.After(w.writable.at) && o.Instance.Replication == nil
}

// reinstate serves the same master again: after a recovery that withdrew it
// ended without a winner, or after it restarted. It looks anew before it claims.
func (w *worker) reinstate(ctx context.Context, c ledger.Cluster, a Assessment, restarted bool) (bool, error) {
	if c.Recovery != "" || w.cfg.Now().Before(w.reinstateAfter) || (restarted && !w.cfg.Policy(w.name).Recover) {
		return false, nil
	}
	// The replicas first, so that all they have from it is in the master's set.
	replicas := a.Snapshot.Replicas(c.Master)
	theirs := w.observer.Look(ctx, replicas, nil)
	o := w.observer.Look(ctx, []topology.Key{c.Master}, map[topology.Key]bool{c.Master: true}).Observations[c.Master]
	if o.Instance == nil || o.Instance.Replication != nil || (!c.Withdrawn && !o.Instance.ReadOnly) {
		return false, nil
	}
	for _, k := range replicas {
		i := theirs.Observations[k].Instance
		if i == nil {
			continue
		}
		if ahead := i.Received().Subtract(o.Instance.Executed); !ahead.IsEmpty() {
			return false, fmt.Errorf("not reinstated: the master %s lacks what its replica %s received from it: %s",
				c.Master, k, ahead)
		}
	}
	if err := w.loose(ctx, c); err != nil {
		return false, err
	}
	claim := w.claim(a, ledger.Reinstate)
	claim.Automatic = true
	claim.Evidence = []string{fmt.Sprintf("%s was withdrawn, nobody was promoted, and it answers again", c.Master)}
	if restarted {
		claim.Evidence = []string{fmt.Sprintf("%s restarted %s ago, read-only, and it is the master of epoch %s",
			c.Master, o.Instance.Uptime, c.Epoch)}
	}
	w.reinstateAfter = w.cfg.Now().Add(reinstatePause)
	return true, w.carryOut(ctx, claim, nil)
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
