package failover_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Whoever begins to lead carries an open recovery on at that very moment, once
// it has all that its predecessor committed.
func TestOpenRecoveryIsResumedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.leads = false
		_, stop := w.start()
		defer stop()
		pass(1300 * time.Millisecond)
		w.draw(dead)
		w.claim(ledger.Failover, true)
		pass(1370 * time.Millisecond)
		if len(w.traced()) != 0 {
			t.Fatalf("a follower resumed: %v", w.traced())
		}
		w.set(func() { w.leads = true })
		began := time.Now()
		w.leading <- true
		synctest.Wait()
		did := w.traced()
		if len(did) != 2 || did[0].what != "barrier" || did[1].what != "run shop-2" || !did[1].at.Equal(began) {
			t.Fatalf("it led from %s on: %v", began, did)
		}
		if w.State().Clusters["shop"].Master != key("a") || len(w.claims()) != 0 {
			t.Errorf("%+v, claims %+v", w.State().Clusters["shop"], w.claims())
		}
	})
}

// A controller that starts as the leader does the same.
func TestOpenRecoveryIsResumedAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.claim(ledger.Switchover, false)
		_, stop := w.start()
		defer stop()
		if did := w.traced(); len(did) < 2 || did[0].what != "barrier" || did[1].what != "run shop-2" {
			t.Errorf("%v", did)
		}
	})
}

// Losing the office is no reason to look.
func TestLosingTheOfficeIsNoHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.start()
		defer stop()
		pass(1500 * time.Millisecond)
		looks := w.looked()
		w.leading <- false
		synctest.Wait()
		if w.looked() != looks {
			t.Error("it looked")
		}
	})
}

func TestResumeNeedsTheBarrier(t *testing.T) {
	t.Run("it fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.barrier = func() error { return errors.New("no majority") }
			w.claim(ledger.Failover, true)
			_, stop := w.start()
			defer stop()
			pass(3 * time.Second)
			if n := len(w.effects("barrier")); n < 10 || n > 20 || len(w.effects("run shop-2")) != 0 {
				t.Fatalf("%d barriers, %d runs", n, len(w.effects("run shop-2")))
			}
			w.set(func() { w.barrier = nil })
			pass(time.Second)
			if len(w.effects("run shop-2")) != 1 {
				t.Errorf("effects %v", w.traced())
			}
		})
	})
	t.Run("it shows that the recovery has ended", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			id := w.claim(ledger.Switchover, false)
			w.barrier = func() error {
				w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Failed, At: time.Now()})
				return nil
			}
			_, stop := w.start()
			defer stop()
			if len(w.effects("barrier")) != 1 || len(w.effects("run "+id)) != 0 {
				t.Errorf("effects %v", w.traced())
			}
		})
	})
}

// edit changes the drawn picture of the master.
func edit(change func(*topology.Instance)) func(topology.Snapshot) {
	return func(s topology.Snapshot) { change(s.Servers[key("m")].Last) }
}

func up(d time.Duration) func(topology.Snapshot) {
	return edit(func(i *topology.Instance) { i.Uptime = d })
}

func readOnly(d time.Duration) func(topology.Snapshot) {
	return edit(func(i *topology.Instance) { i.ReadOnly, i.Uptime = true, d })
}

// withdrawn leaves the cluster as a recovery without a winner does.
func (w *world) withdrawn() {
	id := w.claim(ledger.Failover, false)
	w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Failed, At: time.Now()})
}

func TestWithdrawnMasterIsReinstated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withdrawn()
		w.draw(cutOff)
		_, stop := w.start()
		defer stop()
		pass(5 * time.Second)
		if len(w.claims()) != 0 {
			t.Fatalf("a master that does not answer was reinstated: %+v", w.claims())
		}
		w.draw(healthy)
		pass(time.Second)
		claims := w.claims()
		if len(claims) != 1 || claims[0].RecoveryKind != ledger.Reinstate || claims[0].Old != key("m") || !claims[0].Automatic ||
			claims[0].ExpectEpoch.Number != 2 || !strings.Contains(strings.Join(claims[0].Evidence, ""), "it answers again") {
			t.Fatalf("claims %+v", claims)
		}
		if c := w.State().Clusters["shop"]; c.Withdrawn || c.Master != key("m") || c.Epoch.Number != 3 {
			t.Errorf("%+v", c)
		}
		pass(time.Minute)
		if len(w.claims()) != 1 {
			t.Errorf("it was reinstated again: %+v", w.claims())
		}
	})
}

func TestRestartedMasterIsReinstated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.draw(healthy, up(time.Hour))
		_, stop := w.start()
		defer stop()
		pass(2500 * time.Millisecond)
		w.draw(healthy, readOnly(0))
		pass(time.Second)
		claims := w.claims()
		if len(claims) != 1 || claims[0].RecoveryKind != ledger.Reinstate ||
			!strings.Contains(strings.Join(claims[0].Evidence, ""), "restarted") {
			t.Errorf("claims %+v", claims)
		}
	})
}

// The outcasts of a master that merely restarted were there while it was served.
func TestRestartedMasterIsReinstatedBesideAnOutcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.must(ledger.SetStanding{Server: key("b"), Standing: ledger.Deposed, At: time.Now()})
		w.draw(healthy, up(time.Hour))
		_, stop := w.start()
		defer stop()
		pass(2500 * time.Millisecond)
		w.draw(healthy, readOnly(0), func(s topology.Snapshot) { s.Servers[key("b")].Last.ReadOnly = false })
		pass(time.Second)
		if claims := w.claims(); len(claims) != 1 || claims[0].RecoveryKind != ledger.Reinstate {
			t.Errorf("claims %+v", claims)
		}
	})
}

// Whoever leads now need not have seen the new master writable itself.
func TestNewMasterThatAnotherLeaderAnnouncedIsReinstated(t *testing.T) {
	for _, uptime := range []time.Duration{time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			time.Sleep(time.Minute)
			id := w.claim(ledger.Failover, false)
			if err := w.promote(t.Context(), w.State().Recoveries[id]); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
			w.draw("server m <a exec=0-1-100\nserver a exec=0-1-100\nview c1 m=ok a=ok\nview c2 m=ok a=ok",
				func(s topology.Snapshot) {
					a := s.Servers[key("a")].Last
					a.ReadOnly, a.Uptime = true, uptime
				})
			_, stop := w.start()
			defer stop()
			pass(2 * time.Second)
			if claims := w.claims(); len(claims) != map[time.Duration]int{time.Second: 1}[uptime] {
				t.Errorf("up for %s: %+v", uptime, claims)
			}
		})
	}
}

// What a probe saw was so when the probe saw it, however late that is judged.
func TestRestartBetweenTwoSlowProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.draw(healthy, up(time.Hour))
		_, stop := w.start()
		defer stop()
		pass(9500 * time.Millisecond)
		w.draw(healthy, readOnly(5*time.Second)) // it booted 4.5 s after the probe before
		pass(time.Second)
		if claims := w.claims(); len(claims) != 1 || claims[0].RecoveryKind != ledger.Reinstate {
			t.Errorf("claims %+v", claims)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.draw(healthy, up(2*time.Second))
		w.leads = false
		_, stop := w.start()
		defer stop()
		pass(100 * time.Millisecond)
		w.draw(healthy, readOnly(2*time.Second)) // by hand
		pass(8 * time.Second)                    // no probe meanwhile
		w.set(func() { w.leads = true })
		pass(5 * time.Second)
		if claims := w.claims(); len(claims) != 0 {
			t.Errorf("a master that was made read-only by hand was reinstated: %+v", claims)
		}
	})
}

func TestNotReinstated(t *testing.T) {
	replicates := func(i *topology.Instance) { i.Replication = &topology.Replication{Source: key("x")} }
	for _, c := range []struct {
		name string
		rest func(*world)
		want safety.Code
	}{
		{"made read-only by hand", func(w *world) { w.draw(healthy, readOnly(time.Hour)) }, safety.MasterReadOnly},
		{"restarted, and replicates", func(w *world) { w.draw(healthy, readOnly(0), edit(replicates)) }, safety.MasterReadOnly},
		{"writable again before it was claimed", func(w *world) {
			w.draw(healthy, readOnly(0))
			w.change(healthy)
		}, safety.NoProblem},
		{"withdrawn, and replicates", func(w *world) {
			w.draw(healthy, edit(replicates))
			w.withdrawn()
		}, safety.NoProblem},
		{"restarted, and not ours to recover", func(w *world) {
			w.rules.Recover = false
			w.draw(healthy, readOnly(0))
		}, safety.MasterReadOnly},
		{"restarted, and recoveries are paused", func(w *world) {
			w.must(ledger.PauseRecoveries{By: "ann", Reason: "an upgrade", At: time.Now()})
			w.draw(healthy, readOnly(0))
		}, safety.MasterReadOnly},
		{"restarted, and in downtime", func(w *world) {
			w.downtime("m")
			w.draw(healthy, readOnly(0))
		}, safety.MasterReadOnly},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.draw(healthy, up(time.Hour))
				loop, stop := w.start()
				defer stop()
				pass(2500 * time.Millisecond)
				c.rest(w)
				pass(5 * time.Second)
				if a, _ := loop.Last("shop"); len(w.claims()) != 0 || a.Verdict.Code != c.want {
					t.Errorf("%+v, claims %+v", a.Verdict, w.claims())
				}
			})
		})
	}
}

// A master that was never seen writable by this controller may have been made
// read-only by anybody, at any time.
func TestReadOnlyMasterThatWasNeverSeenWritable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.draw(healthy, readOnly(0))
		_, stop := w.start()
		defer stop()
		pass(5 * time.Second)
		if len(w.claims()) != 0 {
			t.Errorf("claims %+v", w.claims())
		}
	})
}

// A new master that crashes before a probe saw it writable was proven writable
// by the recovery that announced it.
func TestNewMasterThatRestartsAtOnceIsReinstated(t *testing.T) {
	// The step that the journal has; a leader that was deposed leaves none.
	for _, step := range []string{"announce", "promote", ""} {
		newMasterRestarts(t, step)
	}
}

func newMasterRestarts(t *testing.T, step string) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.start()
		defer stop()
		pass(2500 * time.Millisecond)
		w.recover = func(ctx context.Context, r ledger.Recovery) error {
			if r.Kind == ledger.Failover {
				now := time.Now()
				time.Sleep(3 * time.Second)
				w.draw(`
					server m exec=0-1-100
					server a exec=0-1-100
					server b <a exec=0-1-100
					view c1 m=refused a=ok b=ok
					view c2 m=refused a=ok b=ok`,
					func(s topology.Snapshot) {
						a := s.Servers[key("a")].Last
						a.ReadOnly, a.Uptime = true, time.Second
					})
				done := ledger.Step{Name: step, Outcome: ledger.StepDone, StartedAt: now, EndedAt: now, Leader: "c1"}
				if step != "" {
					if err := w.Propose(ctx, ledger.RecordSteps{Recovery: r.ID, Steps: []ledger.Step{done}}); err != nil {
						return err
					}
				}
			}
			return w.promote(ctx, r)
		}
		w.draw(dead)
		w.suspect()
		pass(8 * time.Second)
		claims := w.claims()
		if len(claims) != 2 || claims[1].RecoveryKind != ledger.Reinstate || claims[1].Old != key("a") {
			t.Errorf("%q: claims %+v", step, claims)
		}
	})
}

// Each attempt takes an epoch, so one that failed is not tried at every turn.
func TestFailedReinstatementPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withdrawn()
		w.recover = func(ctx context.Context, r ledger.Recovery) error { return w.fail(ctx, r) }
		_, stop := w.start()
		defer stop()
		pass(29 * time.Second)
		if n := len(w.claims()); n != 1 {
			t.Fatalf("%d attempts in 29 s", n)
		}
		w.set(func() { w.recover = w.promote })
		pass(3 * time.Second)
		if c := w.State().Clusters["shop"]; len(w.claims()) != 2 || c.Withdrawn {
			t.Errorf("claims %+v, %+v", w.claims(), c)
		}
	})
}

// The same for one that had restarted: it is tried again after the pause.
func TestFailedReinstatementOfARestartedMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.draw(healthy, up(time.Hour))
		w.before = func(cmd ledger.Command) error {
			if cmd.Kind() == "claim-recovery" {
				return errors.New("no majority")
			}
			return nil
		}
		_, stop := w.start()
		defer stop()
		pass(2500 * time.Millisecond)
		booted := time.Now()
		for range 33 {
			w.draw(healthy, readOnly(time.Since(booted).Truncate(time.Second)))
			pass(1050 * time.Millisecond)
		}
		if n := len(w.claims()); n != 2 {
			t.Errorf("%d attempts in 34 s", n)
		}
	})
}
