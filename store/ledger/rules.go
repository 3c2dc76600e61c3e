package ledger

import (
	"fmt"
	"time"

	"switchyard/controller/topology"
)

func (d *draft) setPromotionRule(c SetPromotionRule) string {
	reason := firstOf(badKey("server", c.Server), badName("by", c.By), tooLong("reason", c.Reason), badTime("at", c.At))
	if reason != "" {
		return reason
	}
	switch c.Rule {
	case "", "must", "prefer", "neutral", "prefer_not", "must_not":
	default:
		return fmt.Sprintf("rule %q: want must, prefer, neutral, prefer_not, must_not, or nothing to take it back",
			cut(c.Rule, maxName))
	}
	if !c.Until.IsZero() {
		if c.Rule == "" {
			return "until: a rule that is taken back does not run out"
		}
		if reason := badUntil(c.Until, c.At); reason != "" {
			return reason
		}
	}
	server, ok := d.state.Servers[c.Server]
	if !ok {
		return fmt.Sprintf("server %s is unknown", c.Server)
	}
	known, had := d.state.Rules[c.Server]
	if c.Rule == "" && !had {
		return ""
	}
	entry := AuditEntry{
		At: c.At, Kind: AuditOperator, Cluster: server.Cluster, Server: c.Server, Action: c.Kind(),
		By: c.By, Reason: c.Reason,
	}
	if c.Rule == "" {
		d.state.Rules = without(d, rulesMap, d.state.Rules, c.Server)
		d.note(FamilyRules, c.Server.String(), nil)
		entry.Evidence = []string{known.Rule + " was taken back"}
		d.audit(entry)
		return ""
	}
	next := PromotionRule{Server: c.Server, Rule: c.Rule, By: c.By, At: instant(c.At)}
	entry.Evidence = []string{c.Rule}
	if !c.Until.IsZero() {
		next.Until = instant(c.Until)
		entry.Evidence = []string{c.Rule + " until " + next.Until.Format(time.RFC3339)}
	}
	if had && known.Rule == next.Rule && known.By == next.By && known.Until.Equal(next.Until) {
		return ""
	}
	d.state.Rules = own(d, rulesMap, d.state.Rules)
	d.state.Rules[c.Server] = next
	d.note(FamilyRules, c.Server.String(), next)
	d.audit(entry)
	return ""
}

// ActiveRules are the promotion rules of a cluster's servers that operators set
// and that have not run out at now.
func (s State) ActiveRules(cluster string, now time.Time) map[topology.Key]PromotionRule {
	out := map[topology.Key]PromotionRule{}
	for k, rule := range s.Rules {
		if rule.Active(now) && s.Servers[k].Cluster == cluster {
			out[k] = rule
		}
	}
	return out
}
