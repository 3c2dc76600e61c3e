package failover_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/failover"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

func found(writable ...string) failover.Picture {
	p := failover.Picture{
		Name: "shop", Servers: []topology.Key{key("b"), key("m"), key("a")}, Roots: []topology.Key{key("m"), key("a")},
		UUIDs: map[topology.Key]string{key("m"): "uuid-m", key("a"): "uuid-a"},
	}
	for _, name := range writable {
		p.Writable = append(p.Writable, key(name))
	}
	return p
}

func TestAdoption(t *testing.T) {
	for _, c := range []struct {
		name     string
		writable []string
		problem  string
	}{
		{"one", []string{"m"}, ""},
		{"none", nil, "0 writable servers that replicate from nobody ([]), 2 in all ([m:3306 a:3306])"},
		{"two", []string{"m", "a"}, "2 writable servers that replicate from nobody ([m:3306 a:3306])"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := emptyWorld(t)
				w.draw(healthy)
				w.pictures = []failover.Picture{found(c.writable...)}
				loop, stop := w.start()
				defer stop()
				pass(10 * time.Second)
				if problem := loop.Problems()["shop"]; (problem == "") != (c.problem == "") || !strings.Contains(problem, c.problem) {
					t.Errorf("problem %q", problem)
				}
				if c.problem != "" {
					if len(w.kinds()) != 0 {
						t.Errorf("it proposed %v", w.kinds())
					}
					return
				}
				if got := strings.Join(w.kinds(), " "); got != "adopt-master remember-servers" {
					t.Errorf("in 10 s it proposed %s", got)
				}
				state := w.State()
				if k := state.Clusters["shop"]; k.Master != key("m") || k.MasterUUID != "uuid-m" || k.Epoch.Number != 1 || k.Withdrawn {
					t.Errorf("adopted %+v", k)
				}
				if len(state.Servers) != 3 || state.Servers[key("a")].UUID != "uuid-a" || state.Servers[key("b")].Standing != ledger.Member {
					t.Errorf("servers %+v", state.Servers)
				}
				if w.watched("shop") != key("m") || len(w.servers()) != 3 {
					t.Errorf("watched: master %v, servers %v", w.watched("shop"), w.servers())
				}
				if len(w.effects("deposed")) == 0 {
					t.Error("nobody tends the new cluster")
				}
			})
		})
	}
}

// Two co-masters are a cluster like any other while one of them takes writes.
func TestAdoptionOfCoMasters(t *testing.T) {
	for _, c := range []struct {
		name           string
		ring, writable []string
		roots          []string
		want, problem  string
	}{
		{"one takes writes", []string{"m", "a"}, []string{"a"}, nil, "a", ""},
		{"both take writes", []string{"m", "a"}, []string{"m", "a"}, nil, "", "both co-masters ([m:3306 a:3306]) are writable"},
		{"none takes writes", []string{"m", "a"}, nil, nil, "", "none of the co-masters ([m:3306 a:3306]) is writable"},
		{"three in a ring", []string{"m", "a", "b"}, []string{"a"}, nil, "", "no more than two co-masters are supported"},
		{"a root beside them", []string{"m", "a"}, []string{"a"}, []string{"b"}, "",
			"1 in all ([b:3306]), beside the co-masters [m:3306 a:3306]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := emptyWorld(t)
				w.draw(strings.Replace(healthy, "server m exec", "server m <a exec", 1))
				p := found()
				p.Roots, p.Ring, p.RingWritable = keys(c.roots), keys(c.ring), keys(c.writable)
				w.pictures = []failover.Picture{p}
				loop, stop := w.start()
				defer stop()
				pass(3 * time.Second)
				if problem := loop.Problems()["shop"]; (problem == "") != (c.problem == "") || !strings.Contains(problem, c.problem) {
					t.Errorf("problem %q", problem)
				}
				if master := w.State().Clusters["shop"].Master; master.Host != c.want {
					t.Errorf("adopted %q", master.Host)
				}
			})
		})
	}
}

func keys(names []string) []topology.Key {
	var out []topology.Key
	for _, name := range names {
		out = append(out, key(name))
	}
	return out
}

// What becomes known later is remembered, once; the master stays whom the
// ledger names, whoever is writable.
func TestServersAreRememberedAsTheyAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.start()
		defer stop()
		p := found("a")
		p.Servers = append(p.Servers, key("c"))
		w.set(func() { w.pictures = []failover.Picture{p} })
		pass(5 * time.Second)
		state := w.State()
		if got := strings.Join(w.kinds(), " "); got != "remember-servers" {
			t.Errorf("it proposed %s", got)
		}
		if state.Servers[key("c")].Cluster != "shop" || state.Servers[key("a")].UUID != "uuid-a" {
			t.Errorf("servers %+v", state.Servers)
		}
		if state.Clusters["shop"].Master != key("m") {
			t.Errorf("the master changed without a recovery: %+v", state.Clusters["shop"])
		}
		if w.servers()[key("c")] != "shop" {
			t.Errorf("the new server is not watched: %v", w.servers())
		}
	})
}

func TestNothingIsAdoptedIntoALedgerThatIsNotBootstrapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld(t)
		w.state = ledger.State{}
		w.pictures = []failover.Picture{found("m")}
		loop, stop := w.start()
		defer stop()
		pass(3 * time.Second)
		if len(w.kinds()) != 0 || len(loop.Problems()) != 0 {
			t.Errorf("proposed %v, problems %v", w.kinds(), loop.Problems())
		}
	})
}

// A problem is told for as long as there is one.
func TestAdoptionProblemsClear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld(t)
		w.draw(healthy)
		w.pictures = []failover.Picture{found("m")}
		w.before = func(ledger.Command) error { return errors.New("no majority") }
		loop, stop := w.start()
		defer stop()
		pass(2500 * time.Millisecond)
		if got := loop.Problems()["shop"]; got != "cluster shop is not adopted: no majority" {
			t.Errorf("problem %q", got)
		}
		w.set(func() { w.before = nil })
		pass(time.Second)
		if got := loop.Problems(); len(got) != 0 || w.State().Clusters["shop"].Master != key("m") {
			t.Errorf("problems %v, clusters %v", got, w.State().Clusters)
		}
	})
}
