package ledger

import "fmt"

func (d *draft) pauseRecoveries(c PauseRecoveries) string {
	reason := firstOf(d.badScope(c.Cluster), badName("by", c.By), badText("reason", c.Reason), badTime("at", c.At))
	if reason != "" {
		return reason
	}
	known, had := d.state.Pauses[c.Cluster]
	if had && known.By == c.By && known.Reason == c.Reason {
		return ""
	}
	next := Pause{Cluster: c.Cluster, By: c.By, Reason: c.Reason, At: instant(c.At)}
	d.state.Pauses = own(d, pausesMap, d.state.Pauses)
	d.state.Pauses[c.Cluster] = next
	d.note(FamilyPauses, c.Cluster, next)
	d.audit(AuditEntry{
		At: c.At, Kind: AuditOperator, Cluster: c.Cluster, Action: c.Kind(), By: c.By, Reason: c.Reason,
	})
	return ""
}

func (d *draft) resumeRecoveries(c ResumeRecoveries) string {
	reason := firstOf(d.badScope(c.Cluster), badName("by", c.By), tooLong("reason", c.Reason), badTime("at", c.At))
	if reason != "" {
		return reason
	}
	known, ok := d.state.Pauses[c.Cluster]
	if !ok {
		return ""
	}
	d.state.Pauses = without(d, pausesMap, d.state.Pauses, c.Cluster)
	d.note(FamilyPauses, c.Cluster, nil)
	d.audit(AuditEntry{
		At: c.At, Kind: AuditOperator, Cluster: c.Cluster, Action: c.Kind(), By: c.By, Reason: c.Reason,
		Evidence: []string{fmt.Sprintf("paused by %s: %s", known.By, known.Reason)},
	})
	return ""
}

// badScope takes a known cluster, or none for all of them.
func (d *draft) badScope(cluster string) string {
	if cluster == "" {
		return ""
	}
	if reason := badCluster(cluster); reason != "" {
		return reason
	}
	if _, ok := d.state.Clusters[cluster]; !ok {
		return fmt.Sprintf("cluster %s is unknown", cluster)
	}
	return ""
}

// PausedFor is what pauses automatic recoveries of a cluster: its own pause, or
// else the one for all.
func (s State) PausedFor(cluster string) (Pause, bool) {
	if p, ok := s.Pauses[cluster]; ok {
		return p, true
	}
	p, ok := s.Pauses[""]
	return p, ok
}
