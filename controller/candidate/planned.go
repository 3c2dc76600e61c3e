package candidate

import (
	"cmp"
	"fmt"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// RankPlanned orders the direct replicas of a living master for a switchover:
// who is a little behind will catch up, so being behind excludes nobody, and
// holding what the master lacks does. The pictures of the replicas must be
// older than written, the set of what the master has.
//
// A server that a person named (zero for none) may be in downtime or in another
// place: that is what the person asked for.
func RankPlanned(
	s topology.Snapshot, old, named topology.Key, written gtid.Set, p policy.Cluster,
) Ranking {
	var out Ranking
	f := survey(s, old, nil, p, &out)
	var choices []merits
	for _, i := range f.pool {
		reason := f.unable(i)
		if i.Key != named {
			reason = cmp.Or(reason, f.refused(i), f.elsewhere(i))
		} else if p.SemiSync == policy.SemiSyncOn && !i.SemiSync.Available {
			reason = cmp.Or(reason, "it has no semi-sync plugins, and semi_sync is on")
		}
		if reason = cmp.Or(reason, unready(i, written, p)); reason != "" {
			out.exclude(i.Key, "%s", reason)
			continue
		}
		choices = append(choices, f.merits(i, nil))
	}
	out.Order = f.order(choices, "replicates without an error")
	return out
}

// plannedLag is how far behind the target of a switchover may be: nobody
// writes until it has caught up.
const plannedLag = 5 * time.Second

// unready names what would keep a replica from catching up soon, or "".
func unready(i *topology.Instance, written gtid.Set, p policy.Cluster) string {
	r := i.Replication
	if r == nil {
		return "it replicates from nobody"
	}
	if extra := i.Executed.Subtract(written); !extra.IsEmpty() {
		return "it holds transactions that the master lacks: " + excerpt(extra)
	}
	limit, name := plannedLag, ""
	if p.MaxLag > 0 && p.MaxLag < limit {
		limit, name = p.MaxLag, "max_lag "
	}
	switch {
	case r.IO != topology.ThreadRunning || r.SQL != topology.ThreadRunning:
		return fmt.Sprintf("it does not replicate: receiver %s, applier %s", r.IO, r.SQL)
	case r.Delay > limit:
		return fmt.Sprintf("its applier is delayed by %s, more than %s%s", r.Delay, name, limit)
	case r.Lag != nil && *r.Lag > limit:
		return fmt.Sprintf("it lags %s, more than %s%s", *r.Lag, name, limit)
	}
	return ""
}
