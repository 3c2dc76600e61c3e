package observer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/discovery"
	"switchyard/controller/gtid"
	"switchyard/controller/observer"
	"switchyard/controller/topology"
)

func seeds(names ...string) observer.Config {
	var cfg observer.Config
	for _, name := range names {
		cfg.Seeds = append(cfg.Seeds, k(name))
	}
	return cfg
}

func TestTheTopologyIsFoundFromOneReplica(t *testing.T) {
	w := trio()
	w.add("db4", "db3")
	watch(t, w, seeds("db2"), discovery.Config{}, func(t *testing.T, v *watching) {
		pass(20 * time.Millisecond)
		clusters := v.Clusters()
		if len(clusters) != 1 || clusters[0].Name != "db1-3306" || hosts(clusters[0].Servers) != "db1 db2 db3 db4" {
			t.Fatalf("found %+v", clusters)
		}
		roots := clusters[0].Roots
		if len(roots) != 1 || roots[0] != (observer.Root{Key: k("db1"), Reachable: true, Writable: true}) {
			t.Errorf("roots %+v", roots)
		}
		if clusters[0].UUIDs[k("db4")] != "uuid-4" {
			t.Errorf("uuids %v", clusters[0].UUIDs)
		}
		s := v.Snapshot("db1-3306", k("db1"))
		if s.Taker != "c1" || hosts(s.Replicas(k("db1"))) != "db2 db3" || hosts(s.Replicas(k("db3"))) != "db4" {
			t.Errorf("snapshot %+v", s)
		}
		if o, ok := s.Sight(k("db4")); !ok || o.Reach != topology.ReachOK || o.Instance == nil || o.Key != k("db4") {
			t.Errorf("sight of db4: %+v", o)
		}
		if p := v.Problems(); len(p) != 0 {
			t.Errorf("problems %q", p)
		}
	})
}

func TestEveryServerIsProbedEachSecondWhateverOthersDo(t *testing.T) {
	w := trio()
	cfg := seeds("db1")
	for i := range 10 {
		name := fmt.Sprint("hung", i)
		w.add(name, "").frozen = true
		cfg.Seeds = append(cfg.Seeds, k(name))
	}
	cfg.MaxProbes = 2 // fewer than there are servers that hang
	watch(t, w, cfg, discovery.Config{}, func(t *testing.T, v *watching) {
		pass(30 * time.Second) // all have been tried
		settled := time.Now()
		before := map[string]int{}
		for _, name := range []string{"db1", "db2", "db3", "hung1"} {
			before[name] = len(v.callsTo(name))
		}
		pass(20 * time.Second)
		for _, name := range []string{"db1", "db2", "db3"} {
			calls := v.callsTo(name)
			if n := len(calls) - before[name]; n < 19 || n > 21 {
				t.Errorf("%s was probed %d times in 20 s", name, n)
			}
			for i := 1; i < len(calls); i++ {
				if gap := calls[i].begun.Sub(calls[i-1].begun); calls[i-1].begun.After(settled) &&
					gap > 1100*time.Millisecond {
					t.Errorf("%s was not probed for %s", name, gap)
				}
			}
		}
		if n := len(v.callsTo("hung1")) - before["hung1"]; n < 3 || n > 5 {
			t.Errorf("one of ten that hang in two places was tried %d times in 20 s", n)
		}
	})
}

func TestProbesAreSpreadOverTheInterval(t *testing.T) {
	w := newWorld()
	w.add("db0", "")
	var cfg observer.Config
	for i := range 100 {
		name := "db" + string(rune('a'+i/26)) + string(rune('a'+i%26))
		w.add(name, "db0")
	}
	cfg.Seeds = []topology.Key{k("db0")}
	watch(t, w, cfg, discovery.Config{}, func(t *testing.T, v *watching) {
		pass(10 * time.Second)
		tenths := map[int64]int{}
		for _, c := range v.calls {
			if age := c.begun.Sub(v.calls[0].begun); age >= 5*time.Second && age < 6*time.Second {
				tenths[age.Milliseconds()/100]++
			}
		}
		total := 0
		for tenth, n := range tenths {
			total += n
			if n > 40 {
				t.Errorf("%d of 101 probes within tenth %d of a second", n, tenth)
			}
		}
		if total < 99 || total > 103 {
			t.Errorf("%d probes of 101 servers in a second", total)
		}
	})
}

func TestServersOfTheLedgerAreThereUnseen(t *testing.T) {
	w := newWorld()
	w.add("db2", "db1") // its master is gone
	watch(t, w, observer.Config{}, discovery.Config{}, func(t *testing.T, v *watching) {
		v.Learn("main", k("db1"), k("db2"))
		v.SetMaster("main", k("db1"))
		pass(3 * time.Second)
		s := v.Snapshot("main", k("db1"))
		if hosts(s.Keys()) != "db1 db2" || s.Servers[k("db1")].Last != nil || s.Servers[k("db2")].Source != k("db1") {
			t.Errorf("snapshot %+v", s)
		}
		if o, _ := s.Sight(k("db1")); o.Reach != topology.ReachUnresolved || o.Error == "" {
			t.Errorf("sight of the master: %+v", o)
		}
		pass(3 * time.Second)
		if p := strings.Join(v.Problems(), "\n"); !strings.Contains(p, "no tripwire on this master: cannot be armed") {
			t.Errorf("problems %q", p)
		}
	})
}

func TestUnknownMaster(t *testing.T) {
	w := newWorld()
	w.add("db2", "gone")
	w.add("db3", "gone")
	denied := w.add("locked", "")
	denied.down = topology.ReachDenied
	web := w.add("web", "")
	web.down = topology.ReachError
	watch(t, w, seeds("db2", "db3", "locked", "web"), discovery.Config{}, func(t *testing.T, v *watching) {
		pass(3 * time.Second)
		clusters := v.Clusters()
		if len(clusters) != 1 || hosts(clusters[0].Servers) != "db2 db3" || len(clusters[0].Roots) != 2 {
			t.Fatalf("found %+v: want the two replicas in one cluster, and no ghost", clusters)
		}
		if r := clusters[0].Roots[0]; r.Source != k("gone") || r.Writable {
			t.Errorf("root %+v", r)
		}
		s := v.Snapshot(clusters[0].Name, topology.Key{})
		if hosts(s.Keys()) != "db2 db3" || !s.Servers[k("db2")].Source.IsZero() {
			t.Errorf("snapshot %+v", s)
		}
		want := []string{
			"db2:3306 and db3:3306 replicates from gone:3306, which is unknown and cannot be seen: unresolved",
			"locked:3306: denied", "web:3306: error",
		}
		p := v.Problems()
		for _, text := range want {
			if !slices.ContainsFunc(p, func(p string) bool { return strings.Contains(p, text) }) {
				t.Errorf("problems %q: want %q", p, text)
			}
		}
		// The master comes up: it joins.
		v.world.mu.Lock()
		w.add("gone", "")
		v.world.mu.Unlock()
		pass(2 * time.Second)
		if c := v.Clusters(); len(c) != 1 || hosts(c[0].Servers) != "db2 db3 gone" || !c[0].Roots[0].Writable {
			t.Errorf("found %+v", c)
		}
	})
}

func TestOneServerUnderTwoAddressesIsWatchedOnce(t *testing.T) {
	w := trio()
	w.servers[k("10.0.0.1")] = w.servers[k("db1")] // the same server
	w.servers[k("db3")].instance.Replication.Source = k("10.0.0.1")
	watch(t, w, seeds("10.0.0.1", "db2"), discovery.Config{}, func(t *testing.T, v *watching) {
		pass(time.Second)
		if c := v.Clusters(); len(c) != 1 || hosts(c[0].Servers) != "db1 db2 db3" {
			t.Fatalf("found %+v", c)
		}
		if s := v.Snapshot("db1-3306", k("db1")); hosts(s.Replicas(k("db1"))) != "db2 db3" {
			t.Errorf("replicas of db1: %v", s.Replicas(k("db1")))
		}
		before := len(v.callsTo("db1")) + len(v.callsTo("10.0.0.1"))
		pass(10 * time.Second)
		if n := len(v.callsTo("db1")) + len(v.callsTo("10.0.0.1")) - before; n < 9 || n > 11 {
			t.Errorf("it was probed %d times in 10 s", n)
		}
	})
}

func TestAVirtualAddressMoves(t *testing.T) {
	w := trio()
	w.servers[k("vip")] = w.servers[k("db1")]
	watch(t, w, seeds("vip"), discovery.Config{}, func(t *testing.T, v *watching) {
		pass(2 * time.Second)
		v.world.mu.Lock()
		w.servers[k("vip")] = w.servers[k("db2")]
		v.world.mu.Unlock()
		pass(3 * time.Second)
		if c := v.Clusters(); len(c) != 1 || hosts(c[0].Servers) != "db1 db2 db3" {
			t.Fatalf("found %+v", c)
		}
		for _, i := range v.Instances() {
			if i.Seen.Reach != topology.ReachOK || i.Last.UUID != w.servers[i.Key].instance.UUID {
				t.Errorf("%s is pictured as %+v", i.Key, i.Last)
			}
		}
	})
}

func TestIgnoredServersAreLeftAlone(t *testing.T) {
	w := trio()
	w.add("backup1", "db1")
	hidden := w.add("10.0.0.9", "db1")
	hidden.instance.ReportHost = "backup2"
	watch(t, w, seeds("db1"), discovery.Config{Ignore: []string{"^backup"}}, func(t *testing.T, v *watching) {
		pass(5 * time.Second)
		if c := v.Clusters(); len(c) != 1 || hosts(c[0].Servers) != "db1 db2 db3" {
			t.Errorf("found %+v", c)
		}
		if n := len(v.callsTo("backup1")); n != 0 {
			t.Errorf("an ignored server was probed %d times", n)
		}
		if n := len(v.callsTo("10.0.0.9")); n != 1 {
			t.Errorf("a server that turned out to be ignored was probed %d times", n)
		}
	})
}

func TestAServerThatNobodyNamesIsForgotten(t *testing.T) {
	w := trio()
	w.servers[k("db1")].instance.Replicas = append(w.servers[k("db1")].instance.Replicas, k("typo"))
	watch(t, w, seeds("db1"), discovery.Config{}, func(t *testing.T, v *watching) {
		pass(time.Second)
		if len(v.Instances()) != 4 {
			t.Fatalf("%d servers are watched", len(v.Instances()))
		}
		v.change("db1", func(s *pretend) { s.instance.Replicas = s.instance.Replicas[:2] })
		v.change("db3", func(s *pretend) { s.down = topology.ReachRefused })
		pass(20 * time.Minute)
		var left []topology.Key
		for _, i := range v.Instances() {
			left = append(left, i.Key)
			if i.Last == nil {
				t.Errorf("the picture of %s was lost", i.Key)
			}
		}
		if hosts(left) != "db1 db2 db3" {
			t.Errorf("watched are %v: want typo forgotten, and db3, which db1 names, not", left)
		}
	})
}

func TestAReplicaThatNamesItsMasterByUUIDOnly(t *testing.T) {
	w := trio()
	r := w.servers[k("db3")].instance.Replication
	r.Source, r.SourceUUID = k("alias-that-nobody-resolves"), "uuid-1"
	watch(t, w, seeds("db1"), discovery.Config{}, func(t *testing.T, v *watching) {
		pass(3 * time.Second)
		if s := v.Snapshot("db1-3306", k("db1")); hosts(s.Replicas(k("db1"))) != "db2 db3" {
			t.Errorf("replicas of db1: %v", s.Replicas(k("db1")))
		}
	})
}

func TestPicturesAreNotChangedLater(t *testing.T) {
	w := trio()
	watch(t, w, seeds("db1"), discovery.Config{}, func(t *testing.T, v *watching) {
		pass(time.Second)
		s := v.Snapshot("db1-3306", k("db1"))
		was, at := *s.Servers[k("db2")].Last, s.Servers[k("db2")].LastSeen
		v.change("db2", func(p *pretend) { p.instance.ServerID, p.instance.Flavor = 99, gtid.MariaDB })
		pass(3 * time.Second)
		if now := s.Servers[k("db2")]; now.Last.ServerID != was.ServerID || !now.LastSeen.Equal(at) {
			t.Errorf("the snapshot changed under its owner: %+v", now)
		}
		delete(s.Servers, k("db2"))
		if again := v.Snapshot("db1-3306", k("db1")); again.Servers[k("db2")].Last.ServerID != 99 {
			t.Errorf("the next snapshot has %+v", again.Servers[k("db2")].Last)
		}
	})
}

func TestRunRunsOnce(t *testing.T) {
	watch(t, trio(), seeds("db1"), discovery.Config{}, func(t *testing.T, v *watching) {
		pass(time.Millisecond)
		if err := v.Run(t.Context()); err == nil {
			t.Error("a second run was allowed")
		}
	})
}
