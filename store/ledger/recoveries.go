package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"switchyard/controller/topology"
)

func (d *draft) chooseWinner(c ChooseWinner) string {
	if reason := firstOf(badKey("winner", c.Winner), tooLong("durability", c.Durability), badTime("at", c.At)); reason != "" {
		return reason
	}
	r, reason := d.openOfMaster(c.Recovery)
	if reason != "" {
		return reason
	}
	if r.Winner == c.Winner {
		return ""
	}
	if !r.Winner.IsZero() {
		return fmt.Sprintf("epoch %s has the winner %s already", r.Epoch, r.Winner)
	}
	server, ok := d.state.Servers[c.Winner]
	switch {
	case !ok:
		return fmt.Sprintf("winner %s is unknown", c.Winner)
	case server.Cluster != r.Cluster:
		return fmt.Sprintf("winner %s belongs to cluster %s", c.Winner, server.Cluster)
	case server.Standing == Quarantined:
		return fmt.Sprintf("winner %s is quarantined: it has transactions that cluster %s lacks", c.Winner, r.Cluster)
	case r.Kind == Reinstate && c.Winner != r.Old:
		return fmt.Sprintf("recovery %s reinstates %s and nobody else", r.ID, r.Old)
	}
	if reason := d.badVia(c, r.Cluster); reason != "" {
		return reason
	}
	if c.Acks < 0 {
		return fmt.Sprintf("acks is negative: %d", c.Acks)
	}
	r.Winner, r.WinnerReason = c.Winner, cut(c.Reason, maxText)
	r.Via, r.Durability, r.Acks = c.Via, c.Durability, c.Acks
	d.putRecovery(r)
	return ""
}

func (d *draft) judgeDurability(c JudgeDurability) string {
	if reason := firstOf(badKey("winner", c.Winner), tooLong("durability", c.Durability), badTime("at", c.At)); reason != "" {
		return reason
	}
	r, reason := d.openOfMaster(c.Recovery)
	switch {
	case reason != "":
		return reason
	case r.Winner != c.Winner:
		return fmt.Sprintf("the winner of epoch %s is not %s", r.Epoch, c.Winner)
	case r.Announced:
		return fmt.Sprintf("recovery %s announced %s already", r.ID, r.Winner)
	case r.Durability == c.Durability:
		return ""
	}
	r.Durability = c.Durability
	d.putRecovery(r)
	return ""
}

// badVia says why the winner of c cannot take what it lacks from its Via.
func (d *draft) badVia(c ChooseWinner, cluster string) string {
	if c.Via.IsZero() {
		return ""
	}
	if reason := badKey("via", c.Via); reason != "" {
		return reason
	}
	server, ok := d.state.Servers[c.Via]
	switch {
	case c.Via == c.Winner:
		return fmt.Sprintf("via %s is the winner itself", c.Via)
	case !ok:
		return fmt.Sprintf("via %s is unknown", c.Via)
	case server.Cluster != cluster:
		return fmt.Sprintf("via %s belongs to cluster %s", c.Via, server.Cluster)
	case server.Standing == Quarantined:
		return fmt.Sprintf("via %s is quarantined: it has transactions that cluster %s lacks", c.Via, cluster)
	}
	return ""
}

func (d *draft) rewind(c Rewind) string {
	if reason := badTime("at", c.At); reason != "" {
		return reason
	}
	r, reason := d.openOfMaster(c.Recovery)
	if reason != "" {
		return reason
	}
	if r.Announced {
		return fmt.Sprintf("recovery %s announced %s already", r.ID, r.Winner)
	}
	if c.Undoing && r.Kind != Switchover {
		return fmt.Sprintf("recovery %s is a %s, only a switchover can be undone", r.ID, r.Kind)
	}
	cluster := d.state.Clusters[r.Cluster]
	cluster = cluster.withdrawn(cluster.Epoch.Next(), r.Old, r.Winner)
	if !r.Winner.IsZero() && r.Winner != r.Old && !slices.Contains(r.Former, r.Winner) {
		r.Former = concat(r.Former, r.Winner)
	}
	d.deposeWinner(r, c.At)
	r.Epoch, r.Undoing = cluster.Epoch, c.Undoing
	r.Winner, r.WinnerReason = topology.Key{}, ""
	r.Via, r.Durability, r.Acks = topology.Key{}, "", 0
	if len(r.Steps) < maxSteps {
		// The journal is where an operator will look for why the epoch rose twice.
		r.Steps = concat(r.Steps, Step{
			Name: "rewind", Leader: r.Leader, StartedAt: instant(c.At), EndedAt: instant(c.At),
			Outcome: StepDone, Note: cut(c.Reason, maxText),
		})
	}
	d.putRecovery(r)
	d.putCluster(cluster)
	return ""
}

// deposeWinner gives up a winner that was not announced: steps on it may have
// made it writable, so it must be fenced and rejoined like an old master. A
// quarantined one stays so, which is fenced as well and not rejoined.
func (d *draft) deposeWinner(r Recovery, at time.Time) {
	if r.Winner.IsZero() || r.Winner == r.Old || d.state.Servers[r.Winner].Standing == Quarantined {
		return
	}
	d.standKey(r.Winner, Deposed, at)
}

func (d *draft) announce(c Announce) string {
	if reason := badTime("at", c.At); reason != "" {
		return reason
	}
	if len(c.MasterUUID) > maxName {
		return fmt.Sprintf("master_uuid has %d bytes, at most %d are allowed", len(c.MasterUUID), maxName)
	}
	r, reason := d.openOfMaster(c.Recovery)
	if reason != "" {
		return reason
	}
	if r.Announced {
		return ""
	}
	if r.Winner.IsZero() {
		return fmt.Sprintf("recovery %s has no winner yet", r.ID)
	}
	r.Announced = true
	d.putRecovery(r)

	cluster := d.state.Clusters[r.Cluster].announced(r.Winner)
	cluster.MasterUUID = c.MasterUUID
	if cluster.MasterUUID == "" {
		cluster.MasterUUID = d.state.Servers[r.Winner].UUID
	}
	d.putCluster(cluster)
	// A server that was deposed once may be the one that is left.
	d.standKey(r.Winner, Member, c.At)
	return ""
}

func (d *draft) closeRecovery(c CloseRecovery) string {
	if reason := badTime("at", c.At); reason != "" {
		return reason
	}
	if known, ok := d.state.Recoveries[c.Recovery]; ok && known.OfMaster() && c.Outcome != "" && known.Outcome == c.Outcome {
		// A leader that did not learn the fate of its command sends it again.
		return ""
	}
	r, reason := d.openOfMaster(c.Recovery)
	if reason != "" {
		return reason
	}
	if reason := badClose(r, c); reason != "" {
		return reason
	}
	r.Outcome, r.Message, r.EndedAt = c.Outcome, cut(c.Message, maxText), instant(c.At)
	r.Lost = slices.Clone(c.Lost)
	d.putRecovery(r)
	d.auditEnd(r, c.Kind(), r.Leader)

	cluster := d.state.Clusters[r.Cluster]
	cluster.Recovery = ""
	if r.Automatic && r.Kind == Failover && r.Announced && r.Outcome != Undone {
		// One that failed before has moved nothing that a wait would let settle.
		cluster.LastAutomatic = instant(c.At)
	}
	d.putCluster(cluster)
	if r.Announced && r.Winner != r.Old {
		// Also when it failed afterwards: the routes have moved, and the old
		// master must not pass for a member in good standing when it returns.
		d.standKey(r.Old, Deposed, c.At)
	}
	if !r.Announced {
		d.deposeWinner(r, c.At)
	}
	d.prune(r.Cluster)
	return ""
}

// badClose says why r cannot end as c wants.
func badClose(r Recovery, c CloseRecovery) string {
	switch c.Outcome {
	case Completed, Incomplete:
		if !r.Announced {
			return fmt.Sprintf("recovery %s cannot be %s: no master was announced", r.ID, c.Outcome)
		}
	case Undone:
		if !r.Announced || r.Winner != r.Old {
			return fmt.Sprintf("recovery %s cannot be undone: %s was not announced again", r.ID, r.Old)
		}
	case Failed:
	default:
		return fmt.Sprintf("outcome %q: want completed, incomplete, failed or undone", string(c.Outcome))
	}
	return badKeys("lost", c.Lost)
}

// prune forgets all but the newest ended recoveries of a cluster. Relocations
// are counted by themselves, so that many of them do not push failovers out.
func (d *draft) prune(cluster string) {
	var ofMaster, relocations []Recovery
	for _, r := range d.state.Recoveries {
		switch {
		case r.Cluster != cluster || r.Open():
		case r.OfMaster():
			ofMaster = append(ofMaster, r)
		default:
			relocations = append(relocations, r)
		}
	}
	d.keepNewest(ofMaster)
	d.keepNewest(relocations)
}

func (d *draft) keepNewest(ended []Recovery) {
	if len(ended) <= maxHistory {
		return
	}
	slices.SortFunc(ended, func(a, b Recovery) int {
		// The ids of relocations at one epoch differ by their number only, and of two
		// such the longer has the higher.
		return cmp.Or(b.Epoch.Compare(a.Epoch), cmp.Compare(len(b.ID), len(a.ID)), strings.Compare(b.ID, a.ID))
	})
	for _, r := range ended[maxHistory:] {
		d.dropRecovery(r.ID)
	}
}
