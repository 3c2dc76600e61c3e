package candidate_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"switchyard/controller/candidate"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/controller/topology/sketch"
)

// tree is a dead intermediate master i with two orphans o and q; s and t are
// its siblings, g is its own source.
const tree = `
server m exec=0-1-100 dc=east
server g <m exec=0-1-100 dc=east
server i <g exec=0-1-90 dc=east
server s <g exec=0-1-100 dc=east
server t <g exec=0-1-100 dc=west
server o <i exec=0-1-90 io=Connecting dc=east
server q <i exec=0-1-80 recv=0-1-90 io=Connecting dc=east
view c1 m=ok g=ok i=refused s=ok t=ok o=ok q=ok`

func TestSourcesInOrder(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   []string // pairs: old, new
		rules    policy.Cluster
		want     string
		excluded string
	}{
		{"the sibling near by, then the far one, then up", nil, rules(), "s t g m", "q: it is an orphan itself, and not ahead"},
		{"a preferred one near by", nil, rules("s", "prefer"), "s t g m", ""},
		{"a preferred one far away stays behind one near by", nil, rules("t", "must"), "s t g m", ""},
		{"an orphan that is ahead comes before another data center",
			[]string{"server q <i exec=0-1-80 recv=0-1-90", "server q <i exec=0-1-80 recv=0-1-91"}, rules(), "s q t g m", ""},
		{"an orphan that is as far does not", []string{"server q <i exec=0-1-80", "server q <i exec=0-1-90"}, rules(), "s t g m", "q: it is an orphan itself"},
		{"must_not", nil, rules("s", "must_not"), "t g m", "s: its promotion rule is must_not"},
		{"must_not up the tree says nothing", nil, rules("g", "must_not"), "s t g m", ""},
		{"no binary log", []string{"server s <g exec=0-1-100", "server s <g exec=0-1-100 nobinlog"}, rules(), "t g m", "s: it has no binary log"},
		{"no log_replica_updates", []string{"server s <g exec=0-1-100", "server s <g exec=0-1-100 nolog"}, rules(), "t g m", "s: what it applied is not"},
		{"the master needs no log_replica_updates", []string{"server m exec=0-1-100", "server m exec=0-1-100 nolog"}, rules(), "s t g m", ""},
		{"newer", []string{"server s <g exec=0-1-100", "server s <g exec=0-1-100 version=11.4.1"}, rules(), "t g m", "s: its version 11.4 is newer"},
		{"older", []string{"server s <g exec=0-1-100", "server s <g exec=0-1-100 version=10.6.1"}, rules(), "s t g m", ""},
		{"rows to statements", []string{"server o <i exec=0-1-90", "server o <i exec=0-1-90 format=STATEMENT"}, rules(), "", "s: it may log rows"},
		{"does not answer", []string{" s=ok", " s=timeout"}, rules(), "t g m", "s: it does not answer: timeout"},
		{"does not receive", []string{"server s <g exec=0-1-100", "server s <g exec=0-1-100 io=Connecting"}, rules(), "t g m", "s: it does not receive anything itself"},
		{"does not apply", []string{"server s <g exec=0-1-100", "server s <g exec=0-1-100 sql=No"}, rules(), "t g m", "s: its applier is No"},
		{"delayed", []string{"server s <g exec=0-1-100", "server s <g exec=0-1-100 delay=1h"}, rules(), "t g m", "s: its applier is delayed by 1h"},
		{"no more delayed than the orphan", []string{"server s <g exec=0-1-100", "server s <g exec=0-1-100 delay=1h",
			"server o <i exec=0-1-90", "server o <i exec=0-1-90 delay=1h"}, rules(), "s t g m", ""},
		{"filters", []string{"server s <g exec=0-1-100", "server s <g exec=0-1-100 filters=f"}, rules(), "t g m", "s: its replication filters (f)"},
		{"the dead one's filters", []string{"server i <g exec=0-1-90", "server i <g exec=0-1-90 filters=f",
			"server s <g exec=0-1-100", "server s <g exec=0-1-100 filters=f"}, rules(), "s", "g: it sends what the replication filters below it (f)"},
		{"the grandparent's filters keep the master out", []string{"server g <m exec=0-1-100", "server g <m exec=0-1-100 filters=f"}, rules(), "s t g", "m: it sends what"},
		{"a sibling that is behind, on MariaDB", []string{"server s <g exec=0-1-100", "server s <g exec=0-1-89"}, rules(), "t g m", "MariaDB refuses a replica that is ahead"},
		{"errant", []string{"server o <i exec=0-1-90", "server o <i exec=0-1-90,0-6-91"}, rules(), "", "m: it lacks what o:3306 holds: 0-6-91"},
		{"by file and position", []string{"server o <i exec=0-1-90", "server o <i exec=0-1-90 nogtid"}, rules(), "", "file and position"},
		{"a ring", []string{"server s <g", "server s <o"}, rules(), "t g m", ""},
		{"the loop", []string{"server g <m", "server g <o"}, rules(), "m", "g: it gets its own data through o:3306"},
		{"downtime", []string{"view c1", "downtime s a backup\nview c1"}, rules(), "t g m", "s: it is in downtime: a backup"},
		{"downtime up the tree says nothing", []string{"view c1", "downtime g a backup\nview c1"}, rules(), "s t g m", ""},
		{"outcast", []string{"view c1", "outcast s it was deposed\nview c1"}, rules(), "t g m", "s: it was deposed"},
		{"the same server id", []string{"server s <g", "server s <g id=6"}, rules(), "t g m", "s: both have the server id 6"},
		{"the dead one was never seen", []string{"view c1", "view c1"}, rules(), "s t g m", ""},
		{"nobody above", []string{" g=ok", " g=refused", " m=ok", " m=refused", " s=ok t=ok", " s=hung t=hung"}, rules(), "", "g: it does not answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := parse(t, strings.NewReplacer(c.change...).Replace(tree))
			got := candidate.Sources(s, sketch.Key("i"), sketch.Key("o"), c.rules)
			if names(got) != c.want || !strings.Contains(reasons(got), c.excluded) {
				t.Errorf("order %q, want %q; reasons %s", names(got), c.want, reasons(got))
			}
		})
	}
}

// On MySQL a replica may be ahead of its source for a while, if that gets what
// it lacks; it stands behind those that need not wait.
func TestLateSource(t *testing.T) {
	const world = `
server m exec=u1:1-100
server i <m exec=u1:1-90
server a <m exec=u1:1-80
server b <m exec=u1:1-100
server o <i exec=u1:1-90 io=Connecting
view c1 m=ok i=refused a=ok b=ok o=ok`
	got := candidate.Sources(parse(t, world), sketch.Key("i"), sketch.Key("o"), rules())
	if names(got) != "b a m" || !strings.Contains(got.Order[1].Reason, "has yet to get") {
		t.Errorf("%+v", got)
	}
	got = candidate.Sources(parse(t, strings.Replace(world, "m=ok", "m=timeout", 1)), sketch.Key("i"), sketch.Key("o"), rules())
	if names(got) != "b" {
		t.Errorf("where nobody says that the master has it: %+v", got)
	}
}

func TestSourcesWithoutAPictureOfTheDead(t *testing.T) {
	s := parse(t, tree)
	s.Servers[sketch.Key("i")] = topology.Server{Key: sketch.Key("i")}
	if got := candidate.Sources(s, sketch.Key("i"), sketch.Key("o"), rules()); names(got) != "m" {
		t.Errorf("%+v", got)
	}
	if got := candidate.Sources(s, sketch.Key("i"), sketch.Key("x"), rules()); len(got.Order) != 0 || len(got.Excluded) != 1 {
		t.Errorf("an orphan that nobody knows: %+v", got)
	}
}

// Whatever the tree: nobody comes below a descendant of its own, nor, when all
// orphans move at once, do two of them come to replicate from each other.
func TestSourcesMakeNoLoop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, view := "server m exec=0-1-100\n", "view c1 m=ok"
		names := []string{"m"}
		for n := range rapid.IntRange(2, 7).Draw(t, "servers") {
			name := "abcdefg"[n : n+1]
			text += "server " + name + " <" + rapid.SampledFrom(names).Draw(t, "source") + " exec=0-1-" +
				rapid.SampledFrom([]string{"70", "80", "90"}).Draw(t, "executed") + "\n"
			view += " " + name + "=" + rapid.SampledFrom([]string{"ok", "ok", "refused"}).Draw(t, "reach")
			names = append(names, name)
		}
		s := parse(t, text+view)
		dead := sketch.Key(rapid.SampledFrom(names[1:]).Draw(t, "dead"))
		source := map[topology.Key]topology.Key{}
		for k, server := range s.Servers {
			source[k] = server.Source
		}
		for _, o := range s.Replicas(dead) {
			order := candidate.Sources(s, dead, o, policy.Cluster{ReasonableLag: time.Second}).Order
			if len(order) > 0 {
				source[o] = order[rapid.IntRange(0, len(order)-1).Draw(t, "choice")].Key
			}
		}
		for k := range source {
			at := k
			for range len(source) + 1 {
				at = source[at]
			}
			if !at.IsZero() {
				t.Fatalf("%s replicates in a ring: %v\n%s", k, source, text)
			}
		}
	})
}
