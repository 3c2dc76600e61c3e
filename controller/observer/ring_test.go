package observer_test

import (
	"testing"
	"time"

	"switchyard/controller/discovery"
	"switchyard/controller/observer"
	"switchyard/controller/topology"
)

// coMasters are two servers that replicate from each other, with a replica below
// the first.
func coMasters() *world {
	w := newWorld()
	w.add("db2", "db1")
	w.add("db1", "db2").instance.ReadOnly = false
	w.servers[k("db1")].instance.Replicas = []topology.Key{k("db2"), k("db3")}
	w.add("db3", "db1")
	return w
}

func TestCoMastersAreOneCluster(t *testing.T) {
	watch(t, coMasters(), observer.Config{Seeds: []topology.Key{k("db3")}}, discovery.Config{}, func(t *testing.T, v *watching) {
		pass(3 * time.Second)
		clusters := v.Clusters()
		if len(clusters) != 1 || clusters[0].Name != "db1-3306" || hosts(clusters[0].Servers) != "db1 db2 db3" {
			t.Fatalf("got %+v", clusters)
		}
		if c := clusters[0]; len(c.Roots) != 0 || hosts(c.Ring) != "db1 db2" || hosts(c.RingWritable) != "db1" {
			t.Errorf("roots %v, ring %v, writable %v", c.Roots, c.Ring, c.RingWritable)
		}
		v.change("db2", func(s *pretend) { s.instance.ReadOnly = false })
		pass(2 * time.Second)
		if c := v.Clusters()[0]; hosts(c.RingWritable) != "db1 db2" {
			t.Errorf("both are writable, got %v", c.RingWritable)
		}
		v.change("db1", func(s *pretend) { s.down = topology.ReachRefused })
		pass(2 * time.Second)
		if c := v.Clusters()[0]; hosts(c.Ring) != "db1 db2" || hosts(c.RingWritable) != "db2" {
			t.Errorf("one is gone: ring %v, writable %v", c.Ring, c.RingWritable)
		}
	})
}

func TestRingOfThree(t *testing.T) {
	w := newWorld()
	w.add("db1", "db3")
	w.add("db2", "db1")
	w.add("db3", "db2")
	w.add("db4", "db2")
	watch(t, w, observer.Config{Seeds: []topology.Key{k("db4")}}, discovery.Config{}, func(t *testing.T, v *watching) {
		pass(4 * time.Second)
		clusters := v.Clusters()
		if len(clusters) != 1 || len(clusters[0].Roots) != 0 || hosts(clusters[0].Ring) != "db1 db3 db2" {
			t.Errorf("got %+v", clusters)
		}
	})
}

// TestTripwireOnACoMaster: that it replicates makes it no less of a master.
func TestTripwireOnACoMaster(t *testing.T) {
	watch(t, coMasters(), observer.Config{Seeds: []topology.Key{k("db1")}}, discovery.Config{}, func(t *testing.T, v *watching) {
		pass(2 * time.Second)
		v.SetMaster("db1-3306", k("db1"))
		pass(time.Second)
		if held := v.held(); len(held) != 1 || held[0] != "db1" {
			t.Fatalf("held on %v", held)
		}
		v.change("db1", func(s *pretend) { s.down = topology.ReachRefused })
		if s := v.suspicion(t, 2*time.Second, "refused"); s.Key != k("db1") || s.Cluster != "db1-3306" {
			t.Errorf("got %+v", s)
		}
	})
}

func TestReprobe(t *testing.T) {
	watch(t, trio(), observer.Config{Seeds: []topology.Key{k("db1")}, ProbeInterval: time.Minute}, discovery.Config{},
		func(t *testing.T, v *watching) {
			pass(3 * time.Minute)
			count := func() [3]int {
				return [3]int{len(v.callsTo("db1")), len(v.callsTo("db2")), len(v.callsTo("db3"))}
			}
			before := count()
			for range 5 { // asked again and again, it is done once
				v.Reprobe("db1-3306", k("db2"))
				pass(10 * time.Millisecond)
			}
			if got := count(); got != [3]int{before[0], before[1] + 1, before[2]} {
				t.Errorf("probes %v, then %v: want one more of db2", before, got)
			}
			pass(time.Second)
			before = count()
			v.Reprobe("db1-3306")
			pass(10 * time.Millisecond)
			if got := count(); got != [3]int{before[0] + 1, before[1] + 1, before[2] + 1} {
				t.Errorf("probes %v, then %v: want one more of each", before, got)
			}
			v.Reprobe("other")
			v.Reprobe("db1-3306", k("nobody"))
			pass(10 * time.Millisecond)
			if got := count(); got != [3]int{before[0] + 1, before[1] + 1, before[2] + 1} {
				t.Errorf("probes %v, then %v: want no more", before, got)
			}
		})
}

func TestStillMaster(t *testing.T) {
	w := trio()
	w.servers[k("db1")].instance.BinlogPosition = "binlog.1:4"
	w.servers[k("db2")].instance.BinlogPosition = "binlog.1:4"
	watch(t, w, observer.Config{Seeds: []topology.Key{k("db1")}}, discovery.Config{}, func(t *testing.T, v *watching) {
		still := func(host string) time.Duration {
			return v.Look(t.Context(), []topology.Key{k(host)}, nil).Observations[k(host)].Still
		}
		pass(4 * time.Second)
		if got := still("db1"); got < 2*time.Second || got > 4*time.Second {
			t.Errorf("the master is still for %v, want some 3 s", got)
		}
		if got := still("db2"); got != 0 {
			t.Errorf("a replica is said to be still for %v", got)
		}
		v.change("db1", func(s *pretend) { s.instance.BinlogPosition = "binlog.1:5" })
		if got := still("db1"); got != 0 {
			t.Errorf("it moved, and is still for %v", got)
		}
	})
}
