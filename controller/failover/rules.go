package failover

import (
	"cmp"
	"fmt"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Rules are the rules of a cluster at now: the configuration's, with what
// operators told the ledger.
func Rules(configured policy.Cluster, s ledger.State, cluster string, now time.Time) policy.Cluster {
	promotion := map[topology.Key]policy.Rule{}
	for k, r := range s.ActiveRules(cluster, now) {
		promotion[k] = policy.Rule(r.Rule)
	}
	if s.Controllers.Number != 0 {
		configured = configured.Of(s.Controllers.Councils())
	}
	out := configured.With(promotion, paused(s, cluster))
	out.DownDataCenters = down(s, now)
	return out
}

// paused says who paused the recoveries of a cluster, or of all, and why.
func paused(s ledger.State, cluster string) string {
	p, ok := s.PausedFor(cluster)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s paused %s at %s: %s", p.By, cmp.Or(p.Cluster, "all clusters"), p.At.UTC().Format(time.RFC3339), p.Reason)
}

// down are the datacenters that are marked down at now, and why.
func down(s ledger.State, now time.Time) map[string]string {
	var out map[string]string
	for name, d := range s.Down(now) {
		if out == nil {
			out = map[string]string{}
		}
		out[name] = fmt.Sprintf("%s marked it down until %s: %s", d.By, d.Until.UTC().Format(time.RFC3339), d.Reason)
	}
	return out
}

// downtimed are the servers of a cluster that are in downtime at now, and why.
func downtimed(s ledger.State, cluster string, now time.Time) map[topology.Key]string {
	out := map[topology.Key]string{}
	for k, d := range s.Downtimed(cluster, now) {
		out[k] = fmt.Sprintf("%s put it in downtime until %s: %s", d.Owner, d.Until.UTC().Format(time.RFC3339), d.Reason)
	}
	return out
}

// rules are those of the worker's cluster now.
func (w *worker) rules() policy.Cluster {
	return Rules(w.cfg.Policy(w.name), w.ledger.State(), w.name, w.cfg.Now())
}
