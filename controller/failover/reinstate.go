package failover

import (
	"context"
	"fmt"
	"time"

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
	if !o.Instance.ReadOnly {
		w.writable = sighting{c.Master, w.cfg.Now()}
		return false
	}
	up := w.cfg.Now().Add(-o.Instance.Uptime)
	return w.writable.master == c.Master && up.After(w.writable.at) && o.Instance.Replication == nil
}

// reinstate serves the same master again: after a recovery that withdrew it
// ended without a winner, or after it restarted. It looks anew before it claims.
func (w *worker) reinstate(ctx context.Context, c ledger.Cluster, a Assessment, restarted bool) (bool, error) {
	if c.Recovery != "" || !w.cfg.Policy(w.name).Recover || w.cfg.Now().Before(w.reinstateAfter) {
		return false, nil
	}
	o := w.observer.Look(ctx, []topology.Key{c.Master}, map[topology.Key]bool{c.Master: true}).Observations[c.Master]
	if o.Instance == nil || o.Instance.Replication != nil || (!c.Withdrawn && !o.Instance.ReadOnly) {
		return false, nil
	}
	claim := w.claim(a, ledger.Reinstate)
	claim.Evidence = []string{fmt.Sprintf("%s was withdrawn, nobody was promoted, and it answers again", c.Master)}
	if restarted {
		claim.Evidence = []string{fmt.Sprintf("%s restarted %s ago, read-only, and it is the master of epoch %s",
			c.Master, o.Instance.Uptime, c.Epoch)}
	}
	w.reinstateAfter = w.cfg.Now().Add(reinstatePause)
	return true, w.carryOut(ctx, claim, nil)
}
