package candidate_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"switchyard/controller/candidate"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/controller/topology/sketch"
)

func parse(t interface{ Fatal(...any) }, text string) topology.Snapshot {
	s, err := sketch.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func rules(pairs ...string) policy.Cluster {
	p := policy.Cluster{Rules: map[topology.Key]policy.Rule{}}
	for n := 0; n < len(pairs); n += 2 {
		p.Rules[sketch.Key(pairs[n])] = policy.Rule(pairs[n+1])
	}
	return p
}

func names(r candidate.Ranking) string {
	var out []string
	for _, c := range r.Order {
		out = append(out, c.Key.Host)
	}
	return strings.Join(out, " ")
}

func TestRank(t *testing.T) {
	const master = "server m exec=0-1-100 dc=east\n"
	for _, c := range []struct {
		name, servers, view string
		policy              policy.Cluster
		want                string // the order
		excluded            string // in a reason
	}{
		{"received counts, not applied",
			"server a <m exec=0-1-90 recv=0-1-99\nserver b <m exec=0-1-98 recv=0-1-98", "a=ok b=ok", rules(), "a", "b: it lacks"},
		{"equal: less to apply first",
			"server a <m exec=0-1-90 recv=0-1-99 dc=east\nserver b <m exec=0-1-99 recv=0-1-99 dc=east", "a=ok b=ok", rules(), "b a", ""},
		{"equal: same data center first",
			"server a <m exec=0-1-99 recv=0-1-99 dc=west\nserver b <m exec=0-1-99 dc=east", "a=ok b=ok", rules(), "b a", ""},
		{"rule before data center",
			"server a <m exec=0-1-99 dc=west\nserver b <m exec=0-1-99 dc=east", "a=ok b=ok", rules("a", "prefer"), "a b", ""},
		{"prefer does not outweigh data",
			"server a <m exec=0-1-98\nserver b <m exec=0-1-99", "a=ok b=ok", rules("a", "must"), "b", "a: it lacks"},
		{"must_not", "server a <m exec=0-1-99\nserver b <m exec=0-1-99", "a=ok b=ok", rules("a", "must_not"), "b", "must_not"},
		{"no binary log", "server a <m exec=0-1-99 nobinlog\nserver b <m exec=0-1-99", "a=ok b=ok", rules(), "b", "no binary log"},
		{"no log_replica_updates", "server a <m exec=0-1-99 nolog\nserver b <m exec=0-1-99", "a=ok b=ok", rules(), "b", "log_replica_updates"},
		{"file and position", "server a <m exec=0-1-99 nogtid\nserver b <m exec=0-1-99", "a=ok b=ok", rules(), "b", "file and position"},
		{"applier stopped", "server a <m exec=0-1-99 sqlerrno=1062\nserver b <m exec=0-1-99", "a=ok b=ok", rules(), "b", "1062"},
		{"does not answer", "server a <m exec=0-1-99\nserver b <m exec=0-1-99", "a=timeout b=ok", rules(), "b", "does not answer"},
		{"both MariaDB threads stopped: received is gone",
			"server a <m exec=0-1-90 recv=0-1-99 io=No sql=No\nserver b <m exec=0-1-95 recv=0-1-95", "a=ok b=ok", rules(), "b", "a: it lacks"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := parse(t, master+c.servers+"\nview c1 m=refused "+c.view)
			got := candidate.Rank(s, sketch.Key("m"), nil, c.policy)
			if names(got) != c.want {
				t.Fatalf("order %q, want %q: %+v", names(got), c.want, got)
			}
			var reasons strings.Builder
			for _, e := range got.Excluded {
				fmt.Fprintf(&reasons, "%s: %s\n", e.Key.Host, e.Reason)
			}
			if !strings.Contains(reasons.String(), c.excluded) {
				t.Fatalf("reasons %q lack %q", reasons.String(), c.excluded)
			}
		})
	}
}

// Two servers that each hold what the other lacks: nobody is best. With one
// fact changed, somebody is.
func TestAmbiguous(t *testing.T) {
	const view = "\nview c1 m=refused a=ok b=ok"
	s := parse(t, "server m exec=0-1-100\nserver a <m exec=0-1-100,0-2-101\nserver b <m exec=0-1-100,0-3-101"+view)
	got := candidate.Rank(s, sketch.Key("m"), nil, rules())
	if _, ok := got.Best(); ok || !strings.Contains(got.Ambiguous, "0-2-101") || !strings.Contains(got.Ambiguous, "0-3-101") {
		t.Fatalf("%+v", got)
	}
	s = parse(t, "server m exec=0-1-100\nserver a <m exec=0-1-100\nserver b <m exec=0-1-100,0-3-101"+view)
	if best, ok := candidate.Rank(s, sketch.Key("m"), nil, rules()).Best(); !ok || best.Key.Host != "b" {
		t.Fatalf("%+v", best)
	}
}

func TestAheadMayNotBePromoted(t *testing.T) {
	s := parse(t, "server m exec=0-1-100\nserver a <m exec=0-1-99\nserver b <m exec=0-1-98\nview c1 m=refused a=ok b=ok")
	got := candidate.Rank(s, sketch.Key("m"), nil, rules("a", "must_not"))
	if _, ok := got.Best(); ok || !strings.Contains(got.Ahead, "must_not") {
		t.Fatalf("%+v", got)
	}
}

func TestRankPlanned(t *testing.T) {
	s := parse(t, `
server m exec=0-1-100
server a <m exec=0-1-50 recv=0-1-60
server b <m exec=0-1-100,0-9-101
server c <m exec=0-1-100 lag=6s
server d <m exec=0-1-100 io=Connecting
view c1 m=ok a=ok b=ok c=ok d=ok`)
	written := s.Servers[sketch.Key("m")].Last.Executed
	got := candidate.RankPlanned(s, sketch.Key("m"), written, rules())
	if names(got) != "a" || len(got.Excluded) != 3 {
		t.Fatalf("%+v", got)
	}
}

// A replica that does not answer counts as it was last seen: nobody is promoted
// without what it had.
func TestSilentReplicaAhead(t *testing.T) {
	const servers = "server m exec=0-1-100\nserver a <m exec=0-1-99\nserver b <m exec=0-1-98\n"
	got := candidate.Rank(parse(t, servers+"view c1 m=refused a=timeout b=ok"), sketch.Key("m"), nil, rules())
	if _, ok := got.Best(); ok || !strings.Contains(got.Ahead, "does not answer") {
		t.Fatalf("%+v", got)
	}
	got = candidate.Rank(parse(t, servers+"view c1 m=refused a=ok b=timeout"), sketch.Key("m"), nil, rules())
	if best, ok := got.Best(); !ok || best.Key.Host != "a" {
		t.Fatalf("%+v", got)
	}
}

// A former winner was detached, and still holds what it holds; an outcast is no
// candidate, unless it is one.
func TestFormerWinnersAndOutcasts(t *testing.T) {
	s := parse(t, "server m exec=0-1-100\nserver a exec=0-1-99\nserver b <m exec=0-1-98\nserver c <m exec=0-1-99,0-7-200\nview c1 m=refused a=ok b=ok c=ok")
	s.Outcasts = map[topology.Key]string{sketch.Key("a"): "it was deposed", sketch.Key("c"): "it is quarantined"}
	if got := candidate.Rank(s, sketch.Key("m"), []topology.Key{sketch.Key("a")}, rules()); names(got) != "a" {
		t.Fatalf("%+v", got)
	}
	if got := candidate.Rank(s, sketch.Key("m"), nil, rules()); names(got) != "b" {
		t.Fatalf("%+v", got)
	}
}

// Whatever is drawn: the best holds all that anybody answering received, no
// excluded server stands in the order, and the answer does not depend on how
// the servers are named beyond ties.
func TestBestHoldsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "replicas")
		text, view := "server m exec=0-1-1000 dc=d0\n", "view c1 m=refused"
		for i := range n {
			received := rapid.IntRange(1, 6).Draw(t, "received")
			applied := rapid.IntRange(1, received).Draw(t, "applied")
			text += fmt.Sprintf("server r%d <m exec=0-1-%d recv=0-1-%d dc=d%d", i, applied, received, rapid.IntRange(0, 1).Draw(t, "dc"))
			if rapid.IntRange(0, 4).Draw(t, "errant") == 0 {
				text += fmt.Sprintf(" exec=0-1-%d,0-%d-%d", applied, 50+i, 2000+i)
			}
			if rapid.IntRange(0, 4).Draw(t, "unfit") == 0 {
				text += " nobinlog"
			}
			text += "\n"
			view += fmt.Sprintf(" r%d=%s", i, rapid.SampledFrom([]string{"ok", "ok", "ok", "timeout"}).Draw(t, "reach"))
		}
		s := parse(t, text+view)
		got := candidate.Rank(s, sketch.Key("m"), nil, rules())
		if best, ok := got.Best(); ok {
			holds := s.Servers[best.Key].Last.Received()
			for _, o := range s.Views[0].Observations {
				if o.Instance != nil && o.Key != s.Master && !holds.Contains(o.Instance.Received()) {
					t.Fatalf("%s lacks what %s received\n%s", best.Key, o.Key, text)
				}
			}
		}
		for _, c := range got.Order {
			for _, e := range got.Excluded {
				if c.Key == e.Key {
					t.Fatalf("%s stands in the order and is excluded", c.Key)
				}
			}
		}
	})
}

// The order is the same for every order of the input.
func TestOrderIsTotal(t *testing.T) {
	s := parse(t, "server m exec=0-1-9\nserver a <m exec=0-1-9\nserver b <m exec=0-1-9\nserver c <m exec=0-1-9\nview c1 m=refused a=ok b=ok c=ok")
	for range 20 {
		if got := names(candidate.Rank(s, sketch.Key("m"), nil, rules())); got != "a b c" {
			t.Fatal(got)
		}
	}
}
