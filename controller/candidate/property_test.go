package candidate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"switchyard/controller/candidate"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/controller/topology/sketch"
)

// drawn is a random field of replicas of m.
func drawn(t *rapid.T) (text string, s topology.Snapshot, p policy.Cluster) {
	n := rapid.IntRange(1, 6).Draw(t, "replicas")
	text, view := "server m exec=0-1-1000 dc=d0 region=g0\n", "view c1 m=refused"
	p = rules()
	some := func(name string, words ...string) string {
		return rapid.SampledFrom(append(words, "", "", "", "", "")).Draw(t, name)
	}
	for i := range n {
		received := rapid.IntRange(1, 5).Draw(t, "received")
		applied := rapid.IntRange(1, received).Draw(t, "applied")
		text += fmt.Sprintf("server r%d <m exec=0-1-%d recv=0-1-%d dc=d%d region=g%d %s %s %s %s %s\n", i, applied, received,
			rapid.IntRange(0, 1).Draw(t, "dc"), rapid.IntRange(0, 1).Draw(t, "region"),
			some("unfit", "nobinlog", "nolog", "nogtid", "sqlerrno=1062", "unsupported=x", "filters=f"),
			some("errant", fmt.Sprintf("exec=0-1-%d,0-%d-%d", applied, 50+i, 2000+i)),
			some("version", "version=10.6.1", "version=11.4.1"), some("format", "format=STATEMENT", "format=MIXED"),
			some("applier", "delay=1h", "workers=4", "noorder", "lag=1h"))
		view += fmt.Sprintf(" r%d=%s", i, rapid.SampledFrom([]string{"ok", "ok", "ok", "ok", "timeout"}).Draw(t, "reach"))
		p.Rules[sketch.Key(fmt.Sprintf("r%d", i))] = policy.Rule(some("rule", "must", "prefer", "prefer_not", "must_not"))
		if some("downtime", "x") != "" {
			view += fmt.Sprintf("\ndowntime r%d x", i)
		}
	}
	lines := strings.Split(view, "\n")
	slices.Reverse(lines) // a downtime is drawn before the view
	text += strings.Join(lines, "\n")
	p.PreventCrossDataCenter = some("dc rule", "x") != ""
	p.PreventCrossRegion = some("region rule", "x") != ""
	return text, parse(t, text), p
}

// Whatever is drawn: whoever is chosen holds, by itself or by way of its
// source, all that anybody answering or silent received, and every server is
// either in the order or excluded, once.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, s, p := drawn(t)
		got := candidate.Rank(s, sketch.Key("m"), nil, p)
		for _, c := range got.Order {
			holder := c.Key
			if !c.Via.IsZero() {
				holder = c.Via
			}
			if o, _ := s.Sight(holder); o.Instance == nil || o.Instance.Key == s.Master {
				t.Fatalf("%s is to be had from %s, which does not answer\n%s", c.Key, holder, text)
			}
			for k, o := range s.Servers {
				if k != s.Master && !s.Servers[holder].Last.Received().Contains(o.Last.Received()) {
					t.Fatalf("%s lacks what %s received\n%s", c.Key, k, text)
				}
			}
		}
		count := map[topology.Key]int{}
		for _, c := range got.Order {
			count[c.Key]++
		}
		for _, e := range got.Excluded {
			count[e.Key]++
			if e.Reason == "" {
				t.Fatalf("%s is excluded without a reason\n%s", e.Key, text)
			}
		}
		for _, k := range s.Replicas(s.Master) {
			if count[k] != 1 {
				t.Fatalf("%s is listed %d times\n%s", k, count[k], text)
			}
		}
		if _, ok := got.Best(); !ok && (got.Why() == "" || len(got.Order) > 0) {
			t.Fatalf("nobody, and not said why: %+v\n%s", got, text)
		}
	})
}

// The order is a strict one: taking any servers away leaves the others in the
// order in which they were, as long as what was received stays the same; so no
// choice is better than another in one company and worse in another.
func TestOrderIsStrict(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, s, p := drawn(t)
		// Alike in what the field as a whole decides.
		for _, server := range s.Servers {
			server.Last.Version, server.Last.BinlogFormat = "10.11.6-MariaDB", "ROW"
		}
		all := candidate.Rank(s, sketch.Key("m"), nil, p)
		keep := map[topology.Key]bool{}
		for _, c := range all.Order {
			if c.Via.IsZero() && rapid.Bool().Draw(t, "keep") {
				keep[c.Key] = true
			}
		}
		var want, got []topology.Key
		for _, c := range all.Order {
			if keep[c.Key] {
				want = append(want, c.Key)
			}
		}
		for k := range s.Servers {
			if k != s.Master && !keep[k] {
				delete(s.Servers, k)
			}
		}
		for _, c := range candidate.Rank(s, sketch.Key("m"), nil, p).Order {
			got = append(got, c.Key)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v became %v\n%s", want, got, text)
		}
	})
}
