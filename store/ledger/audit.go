package ledger

import (
	"fmt"
	"slices"
	"strconv"
)

func (d *draft) appendAudit(c AppendAudit) string {
	if len(c.Entries) == 0 || len(c.Entries) > maxItems {
		return fmt.Sprintf("entries: there are %d, want 1 to %d", len(c.Entries), maxItems)
	}
	for i, e := range c.Entries {
		if reason := badEntry(e); reason != "" {
			return fmt.Sprintf("entries[%d].%s", i, reason)
		}
	}
	d.audit(slices.Clone(c.Entries)...)
	return ""
}

func badEntry(e AuditEntry) string {
	switch e.Kind {
	case AuditDetection, AuditRecovery, AuditOperator, AuditRepair, AuditHook:
	default:
		return fmt.Sprintf("kind %q: want detection, recovery, operator, repair or hook", cut(string(e.Kind), maxName))
	}
	if e.ID != 0 {
		return fmt.Sprintf("id is %d: the ledger gives it", e.ID)
	}
	if e.Cluster != "" {
		if reason := badCluster(e.Cluster); reason != "" {
			return reason
		}
	}
	if !e.Server.IsZero() {
		if reason := badKey("server", e.Server); reason != "" {
			return reason
		}
	}
	if len(e.Recovery) > maxName {
		return fmt.Sprintf("recovery has %d bytes, at most %d are allowed", len(e.Recovery), maxName)
	}
	return firstOf(badName("action", e.Action), badName("by", e.By), badTime("at", e.At))
}

func (d *draft) pruneAudit(c PruneAudit) string {
	if reason := badTime("before", c.Before); reason != "" {
		return reason
	}
	kept := make([]AuditEntry, 0, len(d.state.Audit))
	for _, e := range d.state.Audit {
		if e.At.Before(c.Before) {
			d.note(FamilyAudit, auditKey(e.ID), nil)
			continue
		}
		kept = append(kept, e)
	}
	if len(kept) == 0 {
		kept = nil // As it is where there never was an entry.
	}
	d.state.Audit = kept
	return ""
}

// audit appends entries, gives them their IDs, and forgets the oldest ones.
func (d *draft) audit(entries ...AuditEntry) {
	for i, e := range entries {
		d.state.LastAudit++
		e.ID, e.At = d.state.LastAudit, instant(e.At)
		e.Reason, e.Outcome, e.Evidence = cut(e.Reason, maxText), cut(e.Outcome, maxText), proof(e.Evidence)
		entries[i] = e
		d.note(FamilyAudit, auditKey(e.ID), e)
	}
	d.noteHeader()
	over := max(len(d.state.Audit)+len(entries)-maxAudit, 0)
	for _, e := range d.state.Audit[:over] {
		d.note(FamilyAudit, auditKey(e.ID), nil)
	}
	d.state.Audit = concat(d.state.Audit[over:], entries...)
}

func auditKey(id uint64) string { return strconv.FormatUint(id, 10) }

// proof is what an entry keeps of its evidence, in a slice of its own.
func proof(lines []string) []string {
	var kept []string
	left := maxProof
	for _, line := range lines {
		if left <= 0 || len(kept) == maxItems {
			return kept
		}
		line = cut(line, left)
		kept = append(kept, line)
		left -= len(line)
	}
	return kept
}

// auditBegin records that a recovery began; one that a person asked for is what
// an operator did.
func (d *draft) auditBegin(r Recovery, action string) {
	kind, by := AuditRecovery, r.Leader
	if r.By != "" {
		kind, by = AuditOperator, r.By
	}
	reason := string(r.Kind) + ": " + r.Finding
	if r.Forced {
		reason = "forced " + reason
	}
	d.audit(AuditEntry{
		At: r.StartedAt, Kind: kind, Cluster: r.Cluster, Server: r.Old, Recovery: r.ID,
		Action: action, By: by, Reason: reason, Evidence: r.Evidence,
	})
}

// auditEnd records that a recovery ended.
func (d *draft) auditEnd(r Recovery, action, by string) {
	e := AuditEntry{
		At: r.EndedAt, Kind: AuditRecovery, Cluster: r.Cluster, Server: r.Old, Recovery: r.ID,
		Action: action, By: by, Reason: r.Message,
	}
	if r.Outcome != Completed {
		e.Outcome = string(r.Outcome)
	}
	if !r.Winner.IsZero() {
		e.Evidence = append(e.Evidence, "to "+r.Winner.String())
	}
	for _, k := range r.Lost {
		e.Evidence = append(e.Evidence, "lost "+k.String())
	}
	d.audit(e)
}

// askedUnless is the kind of what an operator does, and of what a recovery does
// in the same way.
func askedUnless(unasked bool) AuditKind {
	if unasked {
		return AuditRepair
	}
	return AuditOperator
}
