package ledger

import (
	"fmt"
	"slices"
	"strconv"
)

func (d *draft) openRelocation(c OpenRelocation) string {
	cluster, reason := d.relocatable(c)
	if reason != "" {
		return reason
	}
	cluster.Relocations++
	r := Recovery{
		ID:          c.Cluster + "-r" + strconv.FormatUint(cluster.Relocations, 10),
		Cluster:     c.Cluster,
		Kind:        Relocate,
		Finding:     c.Finding,
		Evidence:    cutAll(c.Evidence),
		Automatic:   c.Automatic,
		By:          c.By,
		Old:         c.Subject,
		OldUUID:     d.state.Servers[c.Subject].UUID,
		EpochBefore: cluster.Epoch,
		Epoch:       cluster.Epoch,
		Leader:      c.Leader,
		StartedAt:   instant(c.At),
	}
	d.putRecovery(r)
	cluster.Relocation = r.ID
	d.putCluster(cluster)
	d.auditBegin(r, c.Kind())
	return ""
}

// relocatable returns the cluster that c is about, or what is off.
func (d *draft) relocatable(c OpenRelocation) (Cluster, string) {
	reason := firstOf(badCluster(c.Cluster), badName("finding", c.Finding), badKey("subject", c.Subject),
		badName("leader", c.Leader), badTime("at", c.At))
	if reason != "" {
		return Cluster{}, reason
	}
	if c.By == "" && !c.Automatic {
		return Cluster{}, "by is empty: a relocation that is not automatic was asked for by somebody"
	}
	if len(c.By) > maxName || len(c.Evidence) > maxItems {
		return Cluster{}, fmt.Sprintf("by or evidence is too long: at most %d bytes and %d sentences", maxName, maxItems)
	}
	cluster, ok := d.state.Clusters[c.Cluster]
	if !ok {
		return Cluster{}, fmt.Sprintf("cluster %s is unknown", c.Cluster)
	}
	server, known := d.state.Servers[c.Subject]
	switch {
	case !known || server.Cluster != c.Cluster:
		return Cluster{}, fmt.Sprintf("subject %s is no known server of cluster %s", c.Subject, c.Cluster)
	case cluster.Master == c.Subject:
		return Cluster{}, fmt.Sprintf("subject %s is the master of cluster %s", c.Subject, c.Cluster)
	case cluster.Recovery != "":
		return Cluster{}, fmt.Sprintf("recovery %s of cluster %s is open", cluster.Recovery, c.Cluster)
	case cluster.Relocation != "":
		return Cluster{}, fmt.Sprintf("relocation %s of cluster %s is open", cluster.Relocation, c.Cluster)
	}
	return cluster, ""
}

func (d *draft) closeRelocation(c CloseRelocation) string {
	if reason := badTime("at", c.At); reason != "" {
		return reason
	}
	if known, ok := d.state.Recoveries[c.Recovery]; ok && !known.OfMaster() && c.Outcome != "" && known.Outcome == c.Outcome {
		// A leader that did not learn the fate of its command sends it again.
		return ""
	}
	r, reason := d.openRecovery(c.Recovery)
	if reason != "" {
		return reason
	}
	if r.OfMaster() {
		return fmt.Sprintf("recovery %s is a %s: it ends by close-recovery", r.ID, r.Kind)
	}
	switch c.Outcome {
	case Completed, Incomplete, Failed:
	default:
		return fmt.Sprintf("outcome %q: want completed, incomplete or failed", cut(string(c.Outcome), maxName))
	}
	if reason := badKeys("lost", c.Lost); reason != "" {
		return reason
	}
	if !c.Winner.IsZero() {
		server, ok := d.state.Servers[c.Winner]
		switch {
		case !ok || server.Cluster != r.Cluster:
			return fmt.Sprintf("winner %s is no known server of cluster %s", c.Winner, r.Cluster)
		case c.Winner == r.Old:
			return fmt.Sprintf("winner %s is the server whose replicas had to go", c.Winner)
		}
	}
	d.endRelocation(r, c, r.Leader)
	return ""
}

// endRelocation ends r as c says, and returns its cluster as it is then.
func (d *draft) endRelocation(r Recovery, c CloseRelocation, by string) Cluster {
	r.Outcome, r.Message, r.EndedAt = c.Outcome, cut(c.Message, maxText), instant(c.At)
	r.Winner, r.Lost = c.Winner, slices.Clone(c.Lost)
	d.putRecovery(r)
	cluster := d.state.Clusters[r.Cluster]
	cluster.Relocation = ""
	d.putCluster(cluster)
	d.auditEnd(r, c.Kind(), by)
	d.prune(r.Cluster)
	return cluster
}
