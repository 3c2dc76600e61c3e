package candidate_test

import (
	"strings"
	"testing"
	"time"

	"switchyard/controller/candidate"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/controller/topology/sketch"
)

// Each constraint has the world in which it counts, and its nearest miss, in
// which one fact is different.
func TestConstraints(t *testing.T) {
	set := func(change func(*policy.Cluster)) policy.Cluster {
		p := rules()
		change(&p)
		return p
	}
	crossDC := set(func(p *policy.Cluster) { p.PreventCrossDataCenter = true })
	crossRegion := set(func(p *policy.Cluster) { p.PreventCrossRegion = true })
	down := set(func(p *policy.Cluster) { p.DownDataCenters = map[string]string{"west": "kim marked it down: power"} })
	lag := set(func(p *policy.Cluster) { p.MaxLag = 10 * time.Second })
	backlog := set(func(p *policy.Cluster) { p.Backlog = policy.BacklogFail })
	semisync := set(func(p *policy.Cluster) { p.SemiSync = policy.SemiSyncOn })
	only := set(func(p *policy.Cluster) { p.CoMasterOnly = true })
	const b = "\nserver b <m exec=0-1-9 dc=east region=eu semisync"
	for _, c := range []struct {
		name, world, miss string // the miss replaces the first word that it begins with
		policy            policy.Cluster
		want, wantMiss    string
		excluded          string
	}{
		{"another data center", "server a <m exec=0-1-9 dc=west region=eu" + b, "dc=east", crossDC, "b", "a b", "a: it is in data center \"west\""},
		{"another region", "server a <m exec=0-1-9 dc=east region=us" + b, "region=eu", crossRegion, "b", "a b", "a: it is in region \"us\""},
		{"a data center that is down", "server a <m exec=0-1-9 dc=west region=eu" + b, "dc=east", down, "b", "a b", "a: its data center \"west\" is marked down: kim marked it down: power"},
		{"a data center that is down hands over", "server a <m exec=0-1-9 dc=west\nserver b <m exec=0-1-8", "nobinlog", down, "b<a", "", ""},
		{"lag limit", "server a <m exec=0-1-9 dc=east region=eu lag=11s" + b, "lag=10s", lag, "b", "a b", "a: it lags 11s, more than max_lag 10s"},
		{"backlog fails", "server a <m exec=0-1-8 recv=0-1-9 dc=east region=eu" + b, "exec=0-1-9", backlog, "b", "a b", "(backlog is fail)"},
		{"no semi-sync plugins", "server a <m exec=0-1-9 dc=east region=eu nothing" + b, "semisync", semisync, "b", "a b", "no semi-sync plugins"},
		{"unsupported", "server a <m exec=0-1-9 dc=east region=eu unsupported=it_has_two_channels" + b, "stalled=1s", rules(), "b", "a b", "it has two channels"},
		{"filters", "server a <m exec=0-1-9 dc=east region=eu filters=ignore-db=x" + b, "stalled=1s", rules(), "b", "a b", "its replication filters (ignore-db=x)"},
		{"newer than most",
			"server a <m exec=0-1-9 dc=east region=eu version=11.4.2" + b + "\nserver c <m exec=0-1-9 dc=east region=eu", "version=10.11.9",
			rules(), "b c a", "a b c", ""},
		{"rows over statements",
			"server a <m exec=0-1-9 dc=east region=eu" + b + " format=STATEMENT\nserver c <m exec=0-1-9 dc=east region=eu format=STATEMENT", "format=STATEMENT",
			rules(), "b c a", "a b c", ""},
		{"delayed", "server a <m exec=0-1-9 dc=east region=eu delay=1h" + b, "delay=0s", rules(), "b a", "a b", ""},
		{"parallel out of order", "server a <m exec=0-1-9 dc=east region=eu workers=4 noorder" + b, "workers=1", rules(), "b a", "a b", ""},
		{"its own region first", "server a <m exec=0-1-9 dc=east region=us" + b, "region=eu", rules(), "b a", "a b", ""},
		{"no log_replica_updates hands nothing over", "server a <m exec=0-1-9 nolog\nserver b <m exec=0-1-8", "x", rules(), "", "a b<a", "cannot hand it over to b:3306: what it applied is not in its binary log"},
		{"must_not hands over", "server a <m exec=0-1-9\nserver b <m exec=0-1-8", "nobinlog", rules("a", "must_not"), "b<a", "", ""},
		{"newer does not hand over to older", "server a <m exec=0-1-9 version=11.4.1\nserver b <m exec=0-1-8", "version=10.6.1", rules(), "a", "a b<a", "b: it lacks what a:3306 received: 0-1-9; a:3306 cannot hand it over to b:3306: its version 11.4 is newer than 10.11"},
		{"rows are not handed over to statements", "server a <m exec=0-1-9 format=ROW\nserver b <m exec=0-1-8 format=STATEMENT", "format=STATEMENT", rules(), "a", "a b<a", "a server with binlog_format STATEMENT refuses"},
		{"mixed takes rows", "server a <m exec=0-1-9 format=ROW\nserver b <m exec=0-1-8 format=MIXED", "format=STATEMENT", rules(), "b<a a", "a b<a", ""},
		{"a broken applier hands over what it has applied", "server a <m exec=0-1-9 sqlerrno=1\nserver b <m exec=0-1-8", "sqlerrno=0", rules(), "b<a", "a b<a", "a: its applier stopped"},
		{"a broken applier does not hand over the rest", "server a <m exec=0-1-8 recv=0-1-9 sqlerrno=1\nserver b <m exec=0-1-8", "sqlerrno=0", rules(), "", "a b<a", "not all it received is in its binary log"},
		{"same server id", "server a <m exec=0-1-9 id=3\nserver b <m exec=0-1-8", "id=7", rules(), "a", "a b<a", "both have the server id 3"},
		{"preferred before its source", "server a <m exec=0-1-9\nserver b <m exec=0-1-8", "nogtid", rules("b", "prefer"), "b<a a", "b<a", ""},
		{"its own data center before holding it all", "server a <m exec=0-1-9 dc=west\nserver b <m exec=0-1-8 dc=east", "dc=east", rules(), "b<a a", "a b<a", ""},
		{"not through a delayed source if another has it", "server a <m exec=0-1-9 delay=1h\nserver b <m exec=0-1-9\nserver c <m exec=0-1-8", "delay=0s", rules("a", "must_not", "b", "must_not"), "c<b", "c<a", ""},
		{"no GTIDs to hand over", "server a <m exec=0-1-9 nogtidmode\nserver b <m exec=0-1-8", "id=2", rules(), "", "", "cannot hand it over to b:3306: it does not use GTIDs"},
		{"an unsupported server hands nothing over", "server a <m exec=0-1-9 unsupported=x\nserver b <m exec=0-1-8", "stalled=1s", rules(), "", "a b<a", "cannot hand it over to b:3306: Switchyard does not recover"},
		{"a filtering server hands nothing over", "server a <m exec=0-1-9 filters=f\nserver b <m exec=0-1-8", "stalled=1s", rules(), "", "a b<a", "cannot hand it over to b:3306: its replication filters (f)"},
		{"another flavor hands nothing over", "server a <m exec=u1:1-9\nserver b <m", "nogtid", rules(), "a", "", "it is mysql, and the other is mariadb"},
		{"the same UUID", "server a <m exec=u1:1-9 uuid=x\nserver b <m exec=u1:1-8 uuid=x", "uuid=y", rules(), "a", "a b<a", "both have the server UUID x"},
		{"from beside the one that takes", "server a <m exec=0-1-9 dc=west\nserver b <m exec=0-1-9 dc=east\nserver c <m exec=0-1-8 dc=east", "dc=east", rules("a", "must_not", "b", "must_not"), "c<b", "c<a", ""},
		{"direct before by way of another", "server a <m exec=0-1-8\nserver b <m exec=0-1-8 recv=0-1-9", "exec=0-1-9", rules(), "b a<b", "a b", ""},
		{"parallel in order", "server a <m exec=0-1-9 workers=4\nserver b <m exec=0-1-9", "noorder", rules(), "a b", "b a", ""},
		{"co-master only", "server a <m exec=0-1-9\nserver z <m exec=0-1-8", "z", only, "z<a", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			rank := func(world string) candidate.Ranking {
				master := "server m exec=0-1-9 dc=east region=eu\n"
				if strings.Contains(world, "server z") {
					master = strings.Replace(master, "server m", "server m <z", 1)
				}
				view := "\nview c1 m=refused"
				for _, name := range []string{"a", "b", "c", "z"} {
					if strings.Contains(world, "server "+name) {
						view += " " + name + "=ok"
					}
				}
				return candidate.Rank(parse(t, master+strings.ReplaceAll(world, " nothing", "")+view), sketch.Key("m"), nil, c.policy)
			}
			got := rank(c.world)
			if names(got) != c.want || !strings.Contains(reasons(got), c.excluded) {
				t.Errorf("order %q, want %q; reasons %q, want %q", names(got), c.want, reasons(got), c.excluded)
			}
			if miss := nearest(t, c.world, c.miss); miss != "" {
				if got := rank(miss); names(got) != c.wantMiss {
					t.Errorf("the nearest miss: order %q, want %q; %s\n%s", names(got), c.wantMiss, reasons(got), miss)
				}
			}
		})
	}
}

// nearest changes the word of server a that has the same name as word, or adds it.
func nearest(t *testing.T, world, word string) string {
	t.Helper()
	switch word {
	case "x": // it logs what it applies
		return strings.Replace(world, " nolog", "", 1)
	case "z":
		return ""
	case "stalled=1s": // without the word that matters
		first, rest, _ := strings.Cut(world, "\n")
		words := strings.Fields(first)
		return strings.Join(words[:len(words)-1], " ") + "\n" + rest
	}
	name, _, _ := strings.Cut(word, "=")
	first, rest, _ := strings.Cut(world, "\n")
	words := strings.Fields(first)
	for n, w := range words {
		if own, _, _ := strings.Cut(w, "="); own == name {
			words[n] = word
			return strings.Join(words, " ") + "\n" + rest
		}
	}
	return first + " " + word + "\n" + rest
}

// A co-master that accepts writes must win, and where it does not answer,
// nobody does.
func TestWritableCoMaster(t *testing.T) {
	const world = `server m <z exec=0-1-9
		server a <m exec=0-1-9
		server z <m exec=0-1-8 %s
		view c1 m=refused a=ok z=%r`
	for _, c := range []struct{ word, reach, want, excluded string }{
		{"writable", "ok", "z<a", "a: the other co-master z:3306 accepts writes, so nobody else may take over"},
		{"", "ok", "z<a a", ""}, // and one that is read-only is preferred
		{"writable", "timeout", "", "a: the other co-master z:3306 accepts writes"},
		{"", "timeout", "a", ""},
	} {
		s := parse(t, strings.NewReplacer("%s", c.word, "%r", c.reach).Replace(world))
		got := candidate.Rank(s, sketch.Key("m"), nil, rules())
		if names(got) != c.want || !strings.Contains(reasons(got), c.excluded) {
			t.Errorf("%+v: order %q; reasons %q", c, names(got), reasons(got))
		}
	}
}

// A server that the master follows and that does not follow it is no co-master.
func TestNoRing(t *testing.T) {
	p := rules()
	p.CoMasterOnly = true
	s := parse(t, "server z exec=0-1-9\nserver m <z exec=0-1-9\nserver a <m exec=0-1-9\nview c1 m=refused a=ok z=ok")
	if got := candidate.Rank(s, sketch.Key("m"), nil, p); names(got) != "a" {
		t.Errorf("%q %q", names(got), reasons(got))
	}
}

// Neither force nor a person's word makes two masters of a ring.
func TestWritableCoMasterByForceAndByName(t *testing.T) {
	s := parse(t, "server m <z exec=0-1-9\nserver a <m exec=0-1-9\nserver z <m exec=0-1-8 writable\nview c1 m=ok a=ok z=ok")
	got := candidate.Forced(s, sketch.Key("m"), nil, rules())
	if names(got) != "z" || !strings.Contains(reasons(got), "a: the other co-master z:3306 accepts writes") {
		t.Errorf("%q %q", names(got), reasons(got))
	}
	written := s.Servers[sketch.Key("m")].Last.Executed
	got = candidate.RankPlanned(s, sketch.Key("m"), sketch.Key("a"), written, rules())
	if names(got) != "z" || !strings.Contains(reasons(got), "a: the other co-master z:3306 accepts writes") {
		t.Errorf("%q %q", names(got), reasons(got))
	}
}

func TestPlannedLagLimit(t *testing.T) {
	s := parse(t, "server m exec=0-1-9\nserver a <m exec=0-1-9 lag=3s\nview c1 m=ok a=ok")
	p := rules()
	for _, c := range []struct {
		limit time.Duration
		want  string
	}{{0, "a"}, {3 * time.Second, "a"}, {2 * time.Second, ""}, {time.Minute, "a"}} {
		p.MaxLag = c.limit
		got := candidate.RankPlanned(s, sketch.Key("m"), topology.Key{}, s.Servers[sketch.Key("m")].Last.Executed, p)
		if names(got) != c.want {
			t.Errorf("max_lag %s: %q %q", c.limit, names(got), reasons(got))
		}
	}
}

// A winner that lacks what was acknowledged, and an acknowledger that dropped
// it, prove nothing.
func TestDurabilityOfWhatIsThere(t *testing.T) {
	const world = `server m exec=0-1-9 source clients=2
		server a <m exec=0-1-8 recv=0-1-9 acks
		server b <m exec=0-1-8 recv=0-1-9 acks %s
		view c1 m=refused a=ok b=ok`
	for _, c := range []struct {
		word, winner, via string
		proven            bool
		want              string
	}{
		{"", "a", "", true, "no acknowledged write is lost"},
		{"io=No", "a", "", true, "no acknowledged write is lost"},
		{"io=No sql=No", "a", "", false, "1 of them answer with all they received (a:3306), where 2 must"},
		{"recv=0-1-8", "b", "", false, "b:3306 lacks what a:3306 acknowledged: 0-1-9"},
		{"recv=0-1-8", "b", "a", true, "b:3306 holds all that a:3306, b:3306 received"},
	} {
		s := parse(t, strings.Replace(world, "%s", c.word, 1))
		choice := candidate.Choice{Key: sketch.Key(c.winner)}
		if c.via != "" {
			choice.Via = sketch.Key(c.via)
		}
		proven, said := candidate.Durability(s, sketch.Key("m"), nil, choice, rules())
		if proven != c.proven || !strings.Contains(said, c.want) {
			t.Errorf("%+v: %v %s", c, proven, said)
		}
	}
	// What an earlier master's replicas acknowledged may be on this one alone.
	earlier := parse(t, strings.Replace(strings.Replace(world, "%s", "", 1), "server m exec=0-1-9", "server m exec=0-1-9,0-7-12", 1))
	if proven, said := candidate.Durability(earlier, sketch.Key("m"), nil, candidate.Choice{Key: sketch.Key("a")}, rules()); proven ||
		!strings.Contains(said, "a:3306 lacks what the old master was last seen to hold: 0-7-12") {
		t.Errorf("%v %s", proven, said)
	}
	s := parse(t, strings.Replace(world, "%s", "", 1))
	s.Servers[sketch.Key("m")] = topology.Server{Key: sketch.Key("m")}
	if proven, said := candidate.Durability(s, sketch.Key("m"), nil, candidate.Choice{Key: sketch.Key("a")}, rules()); proven ||
		!strings.Contains(said, "nothing is known") {
		t.Errorf("%v %s", proven, said)
	}
}

func TestDowntimedIsNotPromotedAndHandsOver(t *testing.T) {
	s := parse(t, "server m exec=0-1-9\nserver a <m exec=0-1-9\nserver b <m exec=0-1-8\ndowntime a a backup runs\nview c1 m=refused a=ok b=ok")
	got := candidate.Rank(s, sketch.Key("m"), nil, rules())
	if names(got) != "b<a" || !strings.Contains(reasons(got), "a: it is in downtime: a backup runs") {
		t.Errorf("%q %q", names(got), reasons(got))
	}
}

// Where nobody knows where the old master was, the mastership stays where it
// may stay, which is nowhere known.
// Who is asked for by name, or by force, may be in a data center that is marked
// down, where nobody is chosen unasked.
func TestDownDataCentersByNameAndByForce(t *testing.T) {
	s := parse(t, "server m exec=0-1-9 dc=east\nserver a <m exec=0-1-9 dc=west\nserver b <m exec=0-1-9 dc=north\nview c1 m=ok a=ok b=ok")
	p := rules()
	p.DownDataCenters = map[string]string{"west": "power"}
	written := s.Servers[sketch.Key("m")].Last.Executed
	for named, want := range map[string]string{"": "b", "a": "a b"} {
		key := topology.Key{}
		if named != "" {
			key = sketch.Key(named)
		}
		if got := candidate.RankPlanned(s, sketch.Key("m"), key, written, p); names(got) != want {
			t.Errorf("named %q: %q %q", named, names(got), reasons(got))
		}
	}
	got := candidate.Forced(s, sketch.Key("m"), nil, p)
	if names(got) != "a b" || !strings.Contains(got.Order[0].Reason, `in spite of this: its data center "west" is marked down: power`) {
		t.Errorf("forced: %+v", got.Order)
	}
	p.DownDataCenters["north"] = "flood"
	if _, ok := candidate.Rank(s, sketch.Key("m"), nil, p).Best(); ok {
		t.Error("nobody else is there, and one is chosen unasked")
	}
}

func TestPlaceOfTheOldMasterUnknown(t *testing.T) {
	s := parse(t, "server m dc=east\nserver a <m exec=0-1-9 dc=east\nview c1 m=refused a=ok")
	s.Servers[sketch.Key("m")] = topology.Server{Key: sketch.Key("m")}
	p := rules()
	if got := candidate.Rank(s, sketch.Key("m"), nil, p); names(got) != "a" {
		t.Errorf("%+v", got)
	}
	p.PreventCrossDataCenter = true
	if got := candidate.Rank(s, sketch.Key("m"), nil, p); names(got) != "" || !strings.Contains(got.Why(), "not known where the old master was") {
		t.Errorf("%+v", got)
	}
}

// A switchover asks the same, but of a server that a person named.
func TestPlannedConstraints(t *testing.T) {
	const world = `server m exec=0-1-9 dc=east
		server a <m exec=0-1-9 dc=west
		server b <m exec=0-1-9 dc=east
		server c <m exec=0-1-9 dc=east filters=x
		server d <m exec=0-1-9 dc=east delay=1h
		downtime b a backup runs
		view c1 m=ok a=ok b=ok c=ok d=ok`
	p := rules()
	p.PreventCrossDataCenter = true
	for _, c := range []struct{ named, want, excluded string }{
		{"", "", "b: it is in downtime: a backup runs"},
		{"", "", "a: it is in data center"},
		{"a", "a", "b: it is in downtime"},
		{"b", "b", "a: it is in data center"},
		{"c", "", "c: its replication filters"},
		{"d", "", "d: its applier is delayed by 1h0m0s, more than 5s"},
	} {
		named := topology.Key{}
		if c.named != "" {
			named = sketch.Key(c.named)
		}
		s := parse(t, world)
		got := candidate.RankPlanned(s, sketch.Key("m"), named, s.Servers[sketch.Key("m")].Last.Executed, p)
		if names(got) != c.want || !strings.Contains(reasons(got), c.excluded) {
			t.Errorf("%+v: order %q; reasons %q", c, names(got), reasons(got))
		}
	}
}
