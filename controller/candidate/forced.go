package candidate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// Forced orders who may take over when a person says so in spite of every
// doubt. Lag, places, downtimes, servers that do not answer, and sets of which
// neither contains the other keep nobody out; the most advanced comes first,
// and each reason says what will be missing.
func Forced(s topology.Snapshot, old topology.Key, former []topology.Key, p policy.Cluster) Ranking {
	var out Ranking
	f := survey(s, old, former, p, &out)
	type forced struct {
		merits
		// missing is how much it lacks of what the others have. Of two, the one that
		// has all that the other has, and more, always lacks less.
		missing uint64
		lacks   []string
	}
	var choices []forced
	for _, i := range f.pool {
		if reason := f.unable(i); reason != "" {
			out.exclude(i.Key, "%s", reason)
			continue
		}
		c := forced{merits: f.merits(i, nil)}
		mine := i.Received()
		for _, o := range f.all() {
			lack := o.Received().Subtract(mine)
			if lack.IsEmpty() {
				continue
			}
			c.missing += lack.Count()
			c.lacks = append(c.lacks, fmt.Sprintf("%s of %s", excerpt(lack), o.Key))
		}
		choices = append(choices, c)
	}
	slices.SortFunc(choices, func(a, b forced) int {
		return cmp.Or(cmp.Compare(a.missing, b.missing), a.merits.compare(b.merits))
	})
	for _, c := range choices {
		merit := "holds all that any replica received, as far as is known"
		if len(c.lacks) > 0 {
			merit = "will lack " + strings.Join(c.lacks, ", and ")
		}
		choice := c.merits.choice(merit, p)
		spite := slices.DeleteFunc([]string{f.refused(c.instance), f.elsewhere(c.instance), f.late(c.instance)},
			func(reason string) bool { return reason == "" })
		if len(spite) > 0 {
			choice.Reason += ", in spite of this: " + strings.Join(spite, ", and ")
		}
		out.Order = append(out.Order, choice)
	}
	return out
}
