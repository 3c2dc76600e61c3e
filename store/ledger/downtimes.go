package ledger

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"switchyard/controller/topology"
)

func (d *draft) beginDowntime(c BeginDowntime) string {
	reason := firstOf(badKey("server", c.Server), badName("owner", c.Owner), badText("reason", c.Reason),
		badTime("at", c.At), badUntil(c.Until, c.At))
	if reason != "" {
		return reason
	}
	if len(c.By) > maxName {
		return fmt.Sprintf("by has %d bytes, at most %d are allowed", len(c.By), maxName)
	}
	server, ok := d.state.Servers[c.Server]
	if !ok {
		return fmt.Sprintf("server %s is unknown", c.Server)
	}
	next := Downtime{
		Server: c.Server, Owner: c.Owner, Reason: c.Reason, Begun: instant(c.At), Until: instant(c.Until),
	}
	if known, ok := d.state.Downtimes[c.Server]; ok && known.Active(c.At) {
		if c.Reason == LostInRecovery && known.Reason != LostInRecovery {
			// It would end by itself, and the operator's with it.
			return ""
		}
		next.Begun = known.Begun
		if next == known {
			return ""
		}
	}
	d.state.Downtimes = own(d, downtimesMap, d.state.Downtimes)
	d.state.Downtimes[c.Server] = next
	d.note(FamilyDowntimes, c.Server.String(), next)
	d.audit(AuditEntry{
		At: c.At, Kind: askedUnless(c.Reason == LostInRecovery), Cluster: server.Cluster, Server: c.Server,
		Action: c.Kind(), By: cmp.Or(c.By, c.Owner), Reason: c.Reason,
		Evidence: []string{fmt.Sprintf("owner %s, until %s", c.Owner, next.Until.Format(time.RFC3339))},
	})
	return ""
}

func (d *draft) endDowntime(c EndDowntime) string {
	reason := firstOf(badKey("server", c.Server), badName("by", c.By), tooLong("reason", c.Reason), badTime("at", c.At))
	if reason != "" {
		return reason
	}
	known, ok := d.state.Downtimes[c.Server]
	if !ok {
		return ""
	}
	d.state.Downtimes = without(d, downtimesMap, d.state.Downtimes, c.Server)
	d.note(FamilyDowntimes, c.Server.String(), nil)
	d.audit(AuditEntry{
		At: c.At, Kind: askedUnless(known.Reason == LostInRecovery), Cluster: d.state.Servers[c.Server].Cluster,
		Server: c.Server, Action: c.Kind(), By: c.By, Reason: c.Reason,
		Evidence: []string{
			fmt.Sprintf("owner %s, until %s: %s", known.Owner, known.Until.Format(time.RFC3339), known.Reason),
		},
	})
	return ""
}

// setDetached keeps where a server was detached from beside its standing.
func (d *draft) setDetached(c SetDetached) string {
	reason := firstOf(badKey("server", c.Server), badName("by", c.By), tooLong("reason", c.Reason), badTime("at", c.At))
	if reason != "" {
		return reason
	}
	if !c.From.IsZero() {
		if reason := badKey("from", c.From); reason != "" {
			return reason
		}
	}
	server, ok := d.state.Servers[c.Server]
	switch {
	case !ok:
		return fmt.Sprintf("server %s is unknown", c.Server)
	case c.From == c.Server:
		return fmt.Sprintf("from: %s cannot be detached from itself", c.Server)
	}
	from, why := c.From, c.Reason
	if from.IsZero() {
		why = "" // The reason of the attachment is in the audit.
	}
	if server.DetachedFrom == from && server.DetachedReason == why {
		return ""
	}
	evidence := "detached from " + from.String()
	if from.IsZero() {
		evidence = "attached again, was detached from " + server.DetachedFrom.String()
	}
	server.DetachedFrom, server.DetachedReason = from, why
	d.putServer(server)
	d.audit(AuditEntry{
		At: c.At, Kind: askedUnless(strings.HasPrefix(c.Reason, LostInRecovery)), Cluster: server.Cluster, Server: c.Server,
		Action: c.Kind(), By: c.By, Reason: c.Reason, Evidence: []string{evidence},
	})
	return ""
}

// Downtimed are the downtimes of a cluster's servers that are active at now.
func (s State) Downtimed(cluster string, now time.Time) map[topology.Key]Downtime {
	out := map[topology.Key]Downtime{}
	for k, down := range s.Downtimes {
		if down.Active(now) && s.Servers[k].Cluster == cluster {
			out[k] = down
		}
	}
	return out
}
