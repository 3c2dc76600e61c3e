package ledger

import (
	"fmt"
	"slices"
	"time"

	"switchyard/router/routes"
)

func (d *draft) ackRecovery(c AckRecovery) string {
	if c.Recovery == "" {
		return "recovery is empty"
	}
	reason := firstOf(badName("by", c.By), badText("comment", c.Comment), badTime("at", c.At))
	if reason != "" {
		return reason
	}
	r, ok := d.state.Recoveries[c.Recovery]
	switch {
	case !ok:
		return fmt.Sprintf("recovery %q is unknown", cut(c.Recovery, maxName))
	case r.Open():
		return fmt.Sprintf("recovery %s has not ended yet", r.ID)
	case r.Ack != nil && r.Ack.By == c.By && r.Ack.Comment == c.Comment:
		return ""
	case r.Ack != nil:
		return fmt.Sprintf("recovery %s was acknowledged by %s at %s", r.ID, r.Ack.By, r.Ack.At.Format(time.RFC3339))
	}
	r.Ack = &Ack{By: c.By, Comment: c.Comment, At: instant(c.At)}
	d.putRecovery(r)
	d.audit(AuditEntry{
		At: c.At, Kind: AuditOperator, Cluster: r.Cluster, Server: r.Old, Recovery: r.ID,
		Action: c.Kind(), By: c.By, Reason: c.Comment,
	})
	cluster := d.state.Clusters[r.Cluster]
	if r.byItself() && !cluster.LastAutomatic.IsZero() && r.Epoch.Compare(d.state.windowOf(r.Cluster)) >= 0 {
		cluster.LastAutomatic = time.Time{}
		d.putCluster(cluster)
	}
	return ""
}

// byItself reports whether r is an automatic failover.
func (r Recovery) byItself() bool { return r.Automatic && r.Kind == Failover }

// moved reports whether r ended with another master than before.
func (r Recovery) moved() bool { return !r.Open() && r.Announced && r.Outcome != Undone }

// windowOf is the epoch of the failover that set the cluster's LastAutomatic. It
// is zero where that one is forgotten, and so older than all that are kept.
func (s State) windowOf(cluster string) (newest routes.Epoch) {
	for _, r := range s.Recoveries {
		if r.Cluster == cluster && r.byItself() && r.moved() && r.Epoch.Compare(newest) > 0 {
			newest = r.Epoch
		}
	}
	return newest
}

// Crashes says when the automatic failovers of a cluster ended, the newest
// first. What an operator acknowledged, and what is older than that, is not
// counted, nor is one that moved nothing. Whether a death was proven is not
// asked: that depends on who looked at the dying process when.
func (s State) Crashes(cluster string) []time.Time {
	var acknowledged routes.Epoch
	var crashes []Recovery
	for _, r := range s.Recoveries {
		if r.Cluster != cluster || !r.byItself() {
			continue
		}
		if r.Ack != nil && r.Epoch.Compare(acknowledged) > 0 {
			acknowledged = r.Epoch
		}
		if r.moved() {
			crashes = append(crashes, r)
		}
	}
	slices.SortFunc(crashes, func(a, b Recovery) int { return b.Epoch.Compare(a.Epoch) })
	var ended []time.Time
	for _, r := range crashes {
		if r.Epoch.Compare(acknowledged) > 0 {
			ended = append(ended, r.EndedAt)
		}
	}
	return ended
}
