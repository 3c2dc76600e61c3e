package ledger

import (
	"fmt"
	"strconv"
	"time"
)

func (d *draft) claimRecovery(c ClaimRecovery) string {
	cluster, reason := d.claimable(c)
	if reason != "" {
		return reason
	}
	if c.Automatic && c.RecoveryKind == Failover {
		if held := heldByAntiFlap(cluster.LastAutomatic, c.At, c.AntiFlap); held != "" {
			return held
		}
	}
	if cluster.Relocation != "" {
		cluster = d.endRelocation(d.state.Recoveries[cluster.Relocation], CloseRelocation{
			Outcome: Failed, Message: "a " + string(c.RecoveryKind) + " took precedence", At: c.At,
		}, c.Leader)
	}
	recovery := Recovery{
		Cluster:       c.Cluster,
		Kind:          c.RecoveryKind,
		Finding:       c.Finding,
		Evidence:      cutAll(c.Evidence),
		Automatic:     c.Automatic,
		By:            c.By,
		Target:        c.Target,
		Old:           c.Old,
		OldUUID:       cluster.MasterUUID,
		OldProvenDead: c.OldProvenDead,
		Forced:        c.Forced,
		EpochBefore:   cluster.Epoch,
		Epoch:         cluster.Epoch.Next(),
		Leader:        c.Leader,
		StartedAt:     instant(c.At),
	}
	recovery.ID = c.Cluster + "-" + strconv.FormatUint(recovery.Epoch.Number, 10)
	d.putRecovery(recovery)
	d.auditBegin(recovery, c.Kind())

	cluster = cluster.withdrawn(recovery.Epoch, c.Old)
	cluster.Recovery = recovery.ID
	d.putCluster(cluster)
	return ""
}

// claimable returns the cluster that c is about, or what is off.
func (d *draft) claimable(c ClaimRecovery) (Cluster, string) {
	reason := firstOf(badCluster(c.Cluster), badKey("old", c.Old), badName("finding", c.Finding),
		badName("leader", c.Leader), badTime("at", c.At))
	if reason != "" {
		return Cluster{}, reason
	}
	switch c.RecoveryKind {
	case Failover, Switchover, Reinstate:
	default:
		return Cluster{}, fmt.Sprintf("recovery_kind %q: want failover, switchover or reinstate", string(c.RecoveryKind))
	}
	if c.AntiFlap < 0 {
		return Cluster{}, fmt.Sprintf("anti_flap is negative: %s", c.AntiFlap)
	}
	if len(c.By) > maxName || len(c.Evidence) > maxItems {
		return Cluster{}, fmt.Sprintf("by or evidence is too long: at most %d bytes and %d sentences", maxName, maxItems)
	}
	if c.Forced && c.Automatic {
		return Cluster{}, "forced: only a person can force a recovery, this one is automatic"
	}
	cluster, ok := d.state.Clusters[c.Cluster]
	switch {
	case !ok:
		return Cluster{}, fmt.Sprintf("cluster %s is unknown", c.Cluster)
	case cluster.Recovery != "":
		return Cluster{}, fmt.Sprintf("recovery %s of cluster %s is open", cluster.Recovery, c.Cluster)
	case cluster.Epoch != c.ExpectEpoch:
		return Cluster{}, fmt.Sprintf("cluster %s is at epoch %s, not %s", c.Cluster, cluster.Epoch, c.ExpectEpoch)
	case cluster.Master != c.Old:
		return Cluster{}, fmt.Sprintf("the master of cluster %s is %s, not %s", c.Cluster, cluster.Master, c.Old)
	}
	return cluster, ""
}

// heldByAntiFlap says why an automatic failover has to wait; last is when the
// last one ended.
//
// A claim is inside the window while it is less than the window away from the
// end of the last one, in either direction. Thus a clock that jumped back a
// little still holds (at most for the jump and one window), and one that jumped
// back by more than the window, which no longer says how long ago that was,
// does not lock the cluster until it has caught up.
func heldByAntiFlap(last, at time.Time, window time.Duration) string {
	if last.IsZero() {
		return ""
	}
	if distance := at.Sub(last).Abs(); distance >= window {
		return ""
	}
	return fmt.Sprintf("anti-flap: the last automatic failover ended at %s, the next may start at %s",
		last.UTC().Format(time.RFC3339), last.Add(window).UTC().Format(time.RFC3339))
}

func (d *draft) resumeRecovery(c ResumeRecovery) string {
	if reason := firstOf(badName("leader", c.Leader), badTime("at", c.At)); reason != "" {
		return reason
	}
	r, reason := d.openRecovery(c.Recovery)
	if reason != "" {
		return reason
	}
	if r.Leader != c.Leader {
		r.Leader = c.Leader
		d.putRecovery(r)
	}
	return ""
}

// openRecovery returns the recovery if it can still be worked on.
func (d *draft) openRecovery(id string) (Recovery, string) {
	if id == "" {
		return Recovery{}, "recovery is empty"
	}
	r, ok := d.state.Recoveries[id]
	if !ok {
		return Recovery{}, fmt.Sprintf("recovery %q is unknown", cut(id, maxName))
	}
	if !r.Open() {
		return Recovery{}, fmt.Sprintf("recovery %s ended at %s: %s", id, r.EndedAt.Format(time.RFC3339), r.Outcome)
	}
	return r, ""
}

// openOfMaster is openRecovery for what a relocation has not.
func (d *draft) openOfMaster(id string) (Recovery, string) {
	r, reason := d.openRecovery(id)
	if reason == "" && !r.OfMaster() {
		return Recovery{}, fmt.Sprintf("recovery %s is a relocation: it has no winner to promote, and ends by close-relocation", id)
	}
	return r, reason
}
