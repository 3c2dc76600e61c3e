package candidate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// merits is what a choice is measured by, the weightiest first. Two choices are
// compared number by number, and last by name, so that the order is a strict
// one: whoever is first is beaten by nobody.
type merits struct {
	instance, via *topology.Instance
	numbers       []uint64
	// remarks say in words where it falls short.
	remarks []string
}

// merits measures a server that takes what it lacks from via, or nothing.
func (f field) merits(i, via *topology.Instance) merits {
	m := merits{instance: i, via: via}
	m.numbers = []uint64{uint64(f.policy.Rule(i.Key).Rank())}
	// Who was set up as a co-master was meant to take over.
	m.demerit(!f.partner.IsZero() && i.Key != f.partner, "not the other co-master")
	m.demerit(f.old != nil && i.DataCenter != f.old.DataCenter, "in data center %q, not the old master's", i.DataCenter)
	m.demerit(f.old != nil && i.Region != f.old.Region, "in region %q, not the old master's", i.Region)
	m.demerit(versionOf(i).compare(f.version) > 0,
		"of version %s, newer than most replicas' %s, which may not follow it", versionOf(i), f.version)
	m.demerit(formatOf(i) > f.format,
		"logging in the format %s, where most replicas log in a lesser one and may not follow it", i.BinlogFormat)
	m.demerit(delayed(i), "a delayed replica")
	m.demerit(i.Workers > 1 && !i.KeepsOrder,
		"applying with %d workers that do not keep the source's order, which leaves gaps where it is interrupted", i.Workers)
	holds := i
	if via != nil {
		holds = via
		m.numbers = append(m.numbers, 1)
	} else {
		m.numbers = append(m.numbers, 0)
	}
	m.numbers = append(m.numbers, holds.Received().Subtract(i.Executed).Count())
	return m
}

func (m *merits) demerit(applies bool, format string, args ...any) {
	if !applies {
		m.numbers = append(m.numbers, 0)
		return
	}
	m.numbers = append(m.numbers, 1)
	m.remarks = append(m.remarks, fmt.Sprintf(format, args...))
}

func (m merits) compare(o merits) int {
	return cmp.Or(slices.Compare(m.numbers, o.numbers), m.instance.Key.Compare(o.instance.Key))
}

// choice says why a server stands where it stands; merit is what all have.
func (m merits) choice(merit string, p policy.Cluster) Choice {
	c := Choice{Key: m.instance.Key}
	if m.via != nil {
		c.Via = m.via.Key
		merit = fmt.Sprintf("takes from %s what it lacks (%s)", c.Via,
			excerpt(m.via.Received().Subtract(m.instance.Received())))
	}
	c.Reason = fmt.Sprintf("%s, has rule %s, and is ", merit, p.Rule(c.Key))
	if len(m.remarks) == 0 {
		c.Reason += "in the old master's data center"
	} else {
		c.Reason += strings.Join(m.remarks, ", and ")
	}
	return c
}

func (f field) order(choices []merits, merit string) []Choice {
	slices.SortFunc(choices, merits.compare)
	out := make([]Choice, 0, len(choices))
	for _, m := range choices {
		out = append(out, m.choice(merit, f.policy))
	}
	return out
}

func delayed(i *topology.Instance) bool { return i.Replication != nil && i.Replication.Delay > 0 }
