package candidate_test

import (
	"fmt"
	"strings"
	"testing"

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

// names are the choices in order, those that first take what they lack as
// "name<source".
func names(r candidate.Ranking) string {
	var out []string
	for _, c := range r.Order {
		name := c.Key.Host
		if !c.Via.IsZero() {
			name += "<" + c.Via.Host
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

func reasons(r candidate.Ranking) string {
	var out strings.Builder
	for _, e := range r.Excluded {
		fmt.Fprintf(&out, "%s: %s\n", e.Key.Host, e.Reason)
	}
	return out.String()
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
			"server a <m exec=0-1-90 recv=0-1-99\nserver b <m exec=0-1-98 recv=0-1-98", "a=ok b=ok", rules(), "a b<a", ""},
		{"equal: less to apply first",
			"server a <m exec=0-1-90 recv=0-1-99 dc=east\nserver b <m exec=0-1-99 recv=0-1-99 dc=east", "a=ok b=ok", rules(), "b a", ""},
		{"equal: same data center first",
			"server a <m exec=0-1-99 recv=0-1-99 dc=west\nserver b <m exec=0-1-99 dc=east", "a=ok b=ok", rules(), "b a", ""},
		{"rule before data center",
			"server a <m exec=0-1-99 dc=west\nserver b <m exec=0-1-99 dc=east", "a=ok b=ok", rules("a", "prefer"), "a b", ""},
		{"whom the operator prefers takes what it lacks first",
			"server a <m exec=0-1-98\nserver b <m exec=0-1-99", "a=ok b=ok", rules("a", "must"), "a<b b", ""},
		{"must_not", "server a <m exec=0-1-99\nserver b <m exec=0-1-99", "a=ok b=ok", rules("a", "must_not"), "b", "must_not"},
		{"no binary log", "server a <m exec=0-1-99 nobinlog\nserver b <m exec=0-1-99", "a=ok b=ok", rules(), "b", "no binary log"},
		{"no log_replica_updates", "server a <m exec=0-1-99 nolog\nserver b <m exec=0-1-99", "a=ok b=ok", rules(), "b", "log_replica_updates"},
		{"file and position", "server a <m exec=0-1-99 nogtid\nserver b <m exec=0-1-99", "a=ok b=ok", rules(), "b", "file and position"},
		{"applier stopped", "server a <m exec=0-1-99 sqlerrno=1062\nserver b <m exec=0-1-99", "a=ok b=ok", rules(), "b", "1062"},
		{"does not answer", "server a <m exec=0-1-99\nserver b <m exec=0-1-99", "a=timeout b=ok", rules(), "b", "does not answer"},
		{"both MariaDB threads stopped: received is gone",
			"server a <m exec=0-1-90 recv=0-1-99 io=No sql=No\nserver b <m exec=0-1-95 recv=0-1-95", "a=ok b=ok", rules(), "b a<b", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := parse(t, master+c.servers+"\nview c1 m=refused "+c.view)
			got := candidate.Rank(s, sketch.Key("m"), nil, c.policy)
			if names(got) != c.want {
				t.Fatalf("order %q, want %q: %+v", names(got), c.want, got)
			}
			if !strings.Contains(reasons(got), c.excluded) {
				t.Fatalf("reasons %q lack %q", reasons(got), c.excluded)
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

// One that holds what both lack is the way out.
func TestNotAmbiguousWhereOneHoldsAll(t *testing.T) {
	s := parse(t, `server m exec=0-1-100
		server a <m exec=0-1-100,0-2-101
		server b <m exec=0-1-100,0-3-101
		server c <m exec=0-1-100,0-2-101,0-3-101
		view c1 m=refused a=ok b=ok c=ok`)
	if got := candidate.Rank(s, sketch.Key("m"), nil, rules()); names(got) != "c a<c b<c" || got.Ambiguous != "" {
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
	got := candidate.RankPlanned(s, sketch.Key("m"), topology.Key{}, written, rules())
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
	if got := candidate.Rank(s, sketch.Key("m"), []topology.Key{sketch.Key("a")}, rules()); names(got) != "a b<a" {
		t.Fatalf("%+v", got)
	}
	if got := candidate.Rank(s, sketch.Key("m"), nil, rules()); names(got) != "b" {
		t.Fatalf("%+v", got)
	}
}

// Who replicates by position since a recovery took its delay is still whom that
// recovery chose; for any other one it is a reason.
func TestFormerWinnerByPosition(t *testing.T) {
	s := parse(t, "server m exec=0-1-100\nserver a <m exec=0-1-99 nogtid\nserver b <m exec=0-1-99 nogtid\nview c1 m=refused a=ok b=ok")
	if got := candidate.Rank(s, sketch.Key("m"), []topology.Key{sketch.Key("a")}, rules()); names(got) != "a" {
		t.Fatalf("%+v", got)
	}
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
