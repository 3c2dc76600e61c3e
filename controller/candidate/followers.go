package candidate

import (
	"slices"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// Followers says which of the other contenders for the mastership of old can
// replicate from winner, and of each other one, why not. It asks the pictures of
// now: who is ahead of the winner holds what it lacks.
func Followers(
	s topology.Snapshot, old topology.Key, former []topology.Key, winner Choice, p policy.Cluster,
) (can []topology.Key, cannot []Exclusion) {
	var out Ranking
	f := survey(s, old, former, p, &out)
	n := slices.IndexFunc(f.pool, func(i *topology.Instance) bool { return i.Key == winner.Key })
	if n < 0 {
		return nil, out.Excluded
	}
	holds := f.holds(winner)
	for _, i := range f.pool {
		extra := i.Executed.Subtract(holds)
		reason := cannotServe(f.pool[n], i, true)
		switch {
		case i.Key == winner.Key:
			continue
		case i.Replication != nil && !i.Replication.UsesGTID:
			out.exclude(i.Key, "it replicates by file and position, not by GTID")
		case !extra.IsEmpty():
			out.exclude(i.Key, "it holds what the winner lacks: %s", excerpt(extra))
		case reason != "":
			out.exclude(i.Key, "it cannot follow %s: %s", winner.Key, reason)
		default:
			can = append(can, i.Key)
		}
	}
	slices.SortFunc(out.Excluded, func(a, b Exclusion) int { return a.Key.Compare(b.Key) })
	return can, out.Excluded
}
