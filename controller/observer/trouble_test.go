package observer_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/discovery"
	"switchyard/controller/observer"
	"switchyard/controller/topology"
)

// mastered watches a trio whose master the ledger knows.
func mastered(t *testing.T, w *world, test func(*testing.T, *watching)) {
	t.Helper()
	watch(t, w, seeds("db1"), discovery.Config{}, func(t *testing.T, v *watching) {
		v.Learn("main", k("db1"), k("db2"), k("db3"))
		v.SetMaster("main", k("db1"))
		pass(3 * time.Second)
		test(t, v)
	})
}

func TestTripwire(t *testing.T) {
	mastered(t, trio(), func(t *testing.T, v *watching) {
		if got := v.held(); len(got) != 1 || got[0] != "db1" {
			t.Fatalf("tripwires on %v, want one on db1", got)
		}
		v.calm(t, 5*time.Second)
		if o := v.Look(t.Context(), []topology.Key{k("db1")}, nil).Observations[k("db1")]; !o.Fresh {
			t.Errorf("the master was seen on the kept connection: %+v", o)
		}
		v.change("db1", func(s *pretend) { s.down = topology.ReachRefused })
		before := len(v.callsTo("db1"))
		tripped := time.Now()
		v.servers[k("db1")].trip <- topology.TripEnd{Kind: topology.TripBroken, Error: "reset"}
		s := v.suspicion(t, 5*time.Millisecond, "the tripwire ended (broken): reset")
		if s.Cluster != "main" || s.Key != k("db1") || s.At.Sub(tripped) > time.Millisecond {
			t.Errorf("suspicion %+v, %s after the trip", s, s.At.Sub(tripped))
		}
		pass(5 * time.Millisecond)
		calls := v.callsTo("db1")[before:]
		if len(calls) != 1 || !calls[0].fresh || calls[0].begun.Sub(tripped) > time.Millisecond {
			t.Errorf("after the trip: %+v, want one fresh probe at once", calls)
		}
		o, _ := v.Snapshot("main", k("db1")).Sight(k("db1"))
		if o.Reach != topology.ReachRefused || o.Tripwire.Kind != topology.TripBroken || o.Tripwire.At.IsZero() {
			t.Errorf("sight of the master: %+v", o)
		}
		look := v.Look(t.Context(), []topology.Key{k("db1"), k("db2")}, nil)
		if look.Observations[k("db1")].Tripwire.Kind != topology.TripBroken ||
			look.Observations[k("db2")].Tripwire != (topology.TripEnd{}) {
			t.Errorf("look: %+v", look)
		}
		for range 3 {
			v.suspicion(t, 2*time.Second, "a probe of the master failed: refused")
		}
		// It comes back: armed again, and the end is forgotten.
		v.change("db1", func(s *pretend) { s.down = "" })
		pass(4 * time.Second)
		if got := v.held(); len(got) != 1 {
			t.Errorf("tripwires on %v after the return", got)
		}
		if o, _ := v.Snapshot("main", k("db1")).Sight(k("db1")); o.Tripwire != (topology.TripEnd{}) {
			t.Errorf("the old end is still there: %+v", o.Tripwire)
		}
	})
}

func TestTripwireFollowsTheMaster(t *testing.T) {
	mastered(t, trio(), func(t *testing.T, v *watching) {
		v.SetMaster("main", k("db2"))
		pass(time.Second)
		if got := v.held(); len(got) != 1 || got[0] != "db2" {
			t.Errorf("tripwires on %v, want db2", got)
		}
		v.change("db1", func(s *pretend) { s.down = topology.ReachRefused })
		v.calm(t, 3*time.Second) // an old master may do as it likes
		v.SetMaster("main", topology.Key{})
		pass(time.Second)
		if got := v.held(); len(got) != 0 {
			t.Errorf("tripwires on %v, want none", got)
		}
	})
}

func TestATripwireThatEndsAtOnceIsNotArmedTooOften(t *testing.T) {
	mastered(t, trio(), func(t *testing.T, v *watching) {
		ends := 0
		for start := time.Now(); time.Since(start) < 20*time.Second; {
			select {
			case v.servers[k("db1")].trip <- topology.TripEnd{Kind: topology.TripOrderly}:
				ends++
			case <-v.Suspicions():
			case <-time.After(time.Second):
			}
		}
		if ends < 5 || ends > 20 {
			t.Errorf("it was armed %d times in 20 s", ends)
		}
	})
}

func TestAFrozenMasterIsSuspectedEarly(t *testing.T) {
	mastered(t, trio(), func(t *testing.T, v *watching) {
		v.change("db1", func(s *pretend) { s.frozen = true })
		frozen := time.Now()
		s := v.suspicion(t, 1500*time.Millisecond, "not answered within 400ms")
		if calls := v.callsTo("db1"); s.At.Sub(calls[len(calls)-1].begun) != 400*time.Millisecond {
			t.Errorf("suspected %s after the probe began", s.At.Sub(calls[len(calls)-1].begun))
		}
		begun := time.Now()
		view := v.Look(t.Context(), []topology.Key{k("db1"), k("db2"), k("db3")}, nil)
		if took := time.Since(begun); took > 520*time.Millisecond {
			t.Errorf("a look at a frozen master took %s", took)
		}
		o := view.Observations[k("db1")]
		if o.Reach != topology.ReachTimeout || !o.Fresh || o.Begun.Before(begun) || !o.Begun.After(frozen) {
			t.Errorf("look: %+v", o)
		}
	})
}

func TestReplicasThatStopReceivingAreReported(t *testing.T) {
	mastered(t, trio(), func(t *testing.T, v *watching) {
		v.change("db2", func(s *pretend) { s.instance.Replication.IO = topology.ThreadConnecting })
		s := v.suspicion(t, 1100*time.Millisecond, `the receiver of replica db2:3306 is "Connecting"`)
		if s.Key != k("db1") {
			t.Errorf("suspected is %s", s.Key)
		}
		v.calm(t, 5*time.Second) // once is enough
		v.change("db3", func(s *pretend) { s.ticking = false })
		s = v.suspicion(t, 3500*time.Millisecond, "replica db3:3306 has received nothing for")
		if s.Cluster != "main" || s.Key != k("db1") {
			t.Errorf("suspicion %+v", s)
		}
		v.change("db2", func(s *pretend) { s.instance.Replication.IO = topology.ThreadRunning })
		pass(2 * time.Second)
		v.change("db2", func(s *pretend) { s.instance.Replication.IO = topology.ThreadStopped })
		v.suspicion(t, 1100*time.Millisecond, `the receiver of replica db2:3306 is "No"`)
	})
}

func TestStalledGrowsAndMovementEndsIt(t *testing.T) {
	mastered(t, trio(), func(t *testing.T, v *watching) {
		both := []topology.Key{k("db2"), k("db3")}
		if o := v.Look(t.Context(), both, nil).Observations[k("db2")]; o.Stalled != 0 {
			t.Errorf("stalled for %s while it moves", o.Stalled)
		}
		v.change("db2", func(s *pretend) { s.ticking = false })
		moved := time.Now()
		pass(3500 * time.Millisecond)
		look := v.Look(t.Context(), both, nil)
		if d := look.Observations[k("db2")].Stalled; d < 3400*time.Millisecond || d > 3600*time.Millisecond {
			t.Errorf("stalled for %s, %s after the last movement", d, time.Since(moved))
		}
		if d := look.Observations[k("db3")].Stalled; d != 0 {
			t.Errorf("db3 is stalled for %s", d)
		}
		v.change("db2", func(s *pretend) { s.instance.Replication.ReceivedTo = "binlog.1:99" })
		if d := v.Look(t.Context(), both, nil).Observations[k("db2")].Stalled; d != 0 {
			t.Errorf("stalled for %s after its position moved", d)
		}
	})
}

func TestAClockThatJumpsMakesNothingStill(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		w := trio()
		w.servers[k("db2")].ticking = false
		mastered(t, w, func(t *testing.T, v *watching) {
			for len(v.Suspicions()) > 0 {
				<-v.Suspicions()
			}
			v.jump(jump)
			look := v.Look(t.Context(), []topology.Key{k("db1"), k("db2"), k("db3")}, nil)
			for key, o := range look.Observations {
				if o.Stalled != 0 || o.Reach != topology.ReachOK {
					t.Errorf("after a jump of %s %s is %s, stalled for %s", jump, key, o.Reach, o.Stalled)
				}
			}
			pass(2500 * time.Millisecond)
			d := v.Look(t.Context(), []topology.Key{k("db2")}, nil).Observations[k("db2")].Stalled
			if d < 2400*time.Millisecond || d > 2600*time.Millisecond {
				t.Errorf("2.5 s after a jump of %s: stalled for %s", jump, d)
			}
			for _, i := range v.Instances() {
				if i.Age < 0 || i.Age > 2*time.Second {
					t.Errorf("%s: age %s", i.Key, i.Age)
				}
			}
		})
	}
}

func TestLook(t *testing.T) {
	for _, tc := range []struct {
		what  string
		setup func(*pretend)
		fresh bool
		reach topology.Reach
		// most bounds how long it takes, and newConnection says how it was seen.
		most          time.Duration
		newConnection bool
	}{
		{"kept", func(*pretend) {}, false, topology.ReachOK, 2 * time.Millisecond, false},
		{"fresh on demand", func(*pretend) {}, true, topology.ReachOK, 2 * time.Millisecond, true},
		{"a kept connection that is stuck in a probe", func(s *pretend) { s.stuck = true }, false, topology.ReachOK,
			130 * time.Millisecond, true},
		{"refused", func(s *pretend) { s.down = topology.ReachRefused }, false, topology.ReachRefused, 2 * time.Millisecond, false},
		{"denied is an answer", func(s *pretend) { s.down = topology.ReachDenied }, false, topology.ReachDenied,
			2 * time.Millisecond, false},
		{"broken is tried again", func(s *pretend) { s.down = topology.ReachBroken }, false, topology.ReachBroken,
			3 * time.Millisecond, true},
		{"frozen", func(s *pretend) { s.frozen = true }, false, topology.ReachTimeout, 501 * time.Millisecond, true},
	} {
		t.Run(tc.what, func(t *testing.T) {
			mastered(t, trio(), func(t *testing.T, v *watching) {
				v.change("db2", tc.setup)
				begun := time.Now()
				view := v.Look(t.Context(), []topology.Key{k("db2"), k("db2")}, map[topology.Key]bool{k("db2"): tc.fresh})
				took := time.Since(begun)
				o := view.Observations[k("db2")]
				if len(view.Observations) != 1 || view.Observer != "c1" || !view.At.Equal(time.Now()) {
					t.Errorf("view %+v", view)
				}
				if o.Key != k("db2") || o.Reach != tc.reach || o.Fresh != tc.newConnection || o.Begun.Before(begun) ||
					(o.Instance != nil) != (tc.reach == topology.ReachOK) {
					t.Errorf("observation %+v", o)
				}
				if took > tc.most {
					t.Errorf("it took %s", took)
				}
				if now, _ := v.Snapshot("main", k("db1")).Sight(k("db2")); now.Reach != o.Reach || !now.Begun.Equal(o.Begun) {
					t.Errorf("memory has %+v, want what was just seen", now)
				}
			})
		})
	}
}

func TestALookNeverReturnsAProbeThatBeganBefore(t *testing.T) {
	w := trio()
	w.servers[k("db3")].took = 300 * time.Millisecond
	mastered(t, w, func(t *testing.T, v *watching) {
		n := len(v.callsTo("db3"))
		for len(v.callsTo("db3")) == n {
			pass(time.Millisecond)
		}
		begun := time.Now() // a periodic probe has just begun
		o := v.Look(t.Context(), []topology.Key{k("db3")}, nil).Observations[k("db3")]
		if o.Reach != topology.ReachOK || !o.Fresh || o.Begun.Before(begun) || time.Since(begun) > 310*time.Millisecond {
			t.Errorf("%s after the call: %+v", time.Since(begun), o)
		}
	})
}

func TestALookWhoseCallerLeavesIsForgotten(t *testing.T) {
	mastered(t, trio(), func(t *testing.T, v *watching) {
		v.change("db2", func(s *pretend) { s.frozen = true })
		before, _ := v.Snapshot("main", k("db1")).Sight(k("db2"))
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		o := v.Look(ctx, []topology.Key{k("db2")}, map[topology.Key]bool{k("db2"): true}).Observations[k("db2")]
		if o.Reach.Dead() || !strings.Contains(o.Error, "cut short") {
			t.Errorf("a look that was cut short says %+v", o)
		}
		if after, _ := v.Snapshot("main", k("db1")).Sight(k("db2")); after.Reach != before.Reach {
			t.Errorf("it was remembered: %+v", after)
		}
	})
}

func TestSuspicionsNeverHoldUpTheObserver(t *testing.T) {
	mastered(t, trio(), func(t *testing.T, v *watching) {
		v.change("db1", func(s *pretend) { s.down = topology.ReachRefused })
		before := len(v.callsTo("db2"))
		pass(20 * time.Second) // nobody listens
		if n := len(v.callsTo("db2")) - before; n < 19 {
			t.Errorf("db2 was probed %d times in 20 s", n)
		}
		// One is waiting, however many there were: the next comes with the next failure.
		v.suspicion(t, time.Nanosecond, "")
		v.calm(t, time.Nanosecond)
		v.suspicion(t, 1100*time.Millisecond, "failed: refused")
	})
}

func TestProbesAreCounted(t *testing.T) {
	w := trio()
	w.add("locked", "").down = topology.ReachDenied
	good, bad := 0, 0
	cfg := seeds("db1", "locked")
	cfg.OnProbe = func(took time.Duration, ok bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if took != time.Millisecond {
			t.Errorf("a probe took %s", took)
		}
		if ok {
			good++
		} else {
			bad++
		}
	}
	watch(t, w, cfg, discovery.Config{}, func(t *testing.T, _ *watching) {
		time.Sleep(10*time.Second + 500*time.Millisecond)
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if good < 27 || good > 36 || bad < 9 || bad > 12 {
			t.Errorf("%d good and %d bad probes of 3 and 1 servers in 10 s", good, bad)
		}
	})
}

var _ observer.Prober = (*world)(nil)

func TestAMasterWithoutATripwireIsReportedWhileItLasts(t *testing.T) {
	mastered(t, trio(), func(t *testing.T, v *watching) {
		reported := func() string {
			for _, p := range v.Problems() {
				if strings.Contains(p, "no tripwire") {
					return p
				}
			}
			return ""
		}
		v.change("db1", func(s *pretend) { s.refuseHold = true })
		v.servers[k("db1")].trip <- topology.TripEnd{Kind: topology.TripBroken}
		for start := time.Now(); time.Since(start) < 3*time.Second; pass(100 * time.Millisecond) {
			if p := reported(); p != "" {
				t.Fatalf("after %s: %q", time.Since(start), p)
			}
		}
		pass(500 * time.Millisecond)
		if p := reported(); p != "db1:3306: no tripwire on this master: cannot be armed" {
			t.Errorf("problem %q", p)
		}
		v.change("db1", func(s *pretend) { s.refuseHold = false })
		pass(5 * time.Second) // a pause, and what arming may take
		if p := reported(); p != "" || len(v.held()) != 1 {
			t.Errorf("tripwires on %v, and yet %q", v.held(), p)
		}
		// One that is wanted no more ended by our own will.
		v.SetMaster("main", k("db2"))
		pass(time.Second)
		v.SetMaster("main", k("db1"))
		for range 50 {
			pass(100 * time.Millisecond)
			if p := reported(); p != "" {
				t.Fatalf("problem %q", p)
			}
		}
	})
}

func TestPicturesAreRenewedWhenTheMasterChanges(t *testing.T) {
	mastered(t, trio(), func(t *testing.T, v *watching) {
		names := []string{"db1", "db2", "db3"}
		counts := func() (n []int) {
			for _, name := range names {
				n = append(n, len(v.callsTo(name)))
			}
			return n
		}
		v.change("db1", func(s *pretend) { s.instance.ReadOnly = true })
		v.change("db2", func(s *pretend) { s.instance.ReadOnly = false })
		v.change("db3", func(s *pretend) { s.instance.ServerID = 33 })
		before := counts()
		v.SetMaster("main", k("db2"))
		pass(5 * time.Millisecond)
		now := counts()
		for n, name := range names {
			if now[n] == before[n] || now[n] > before[n]+2 {
				t.Errorf("%s was probed %d times, want once, or twice by chance", name, now[n]-before[n])
			}
		}
		snapshot := v.Snapshot("main", k("db2"))
		old, _ := snapshot.Sight(k("db1"))
		master, _ := snapshot.Sight(k("db2"))
		other, _ := snapshot.Sight(k("db3"))
		if !old.Instance.ReadOnly || master.Instance.ReadOnly || other.Instance.ServerID != 33 {
			t.Errorf("old pictures: %+v, %+v, %+v", old.Instance, master.Instance, other.Instance)
		}
		for range 50 { // the same master is no change
			v.SetMaster("main", k("db2"))
			pass(time.Millisecond)
		}
		for n, again := range counts() {
			if again > now[n]+1 {
				t.Errorf("%s was probed %d times in 50 ms", names[n], again-now[n])
			}
		}
	})
}
