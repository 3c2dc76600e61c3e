package failover_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/failover"
	"switchyard/controller/policy"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

func TestFollowerNeverActs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.leads = false
		w.pictures = []failover.Picture{{
			Name: "new", Servers: []topology.Key{key("n")}, Roots: []topology.Key{key("n")}, Writable: []topology.Key{key("n")},
		}}
		_, stop := w.start()
		defer stop()
		w.draw(dead)
		w.suspect()
		pass(5 * time.Second)
		w.draw(healthy)
		id := w.claim(ledger.Failover, true)
		pass(5 * time.Second)
		w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Failed, At: time.Now()})
		pass(5 * time.Second)
		if len(w.kinds()) > 0 || len(w.traced()) > 0 || w.looked() > 0 {
			t.Errorf("it acted: %v, %v, %d looks", w.kinds(), w.traced(), w.looked())
		}
		if w.watched("shop") != key("m") || w.servers()[key("b")] != "shop" {
			t.Errorf("it does not watch: master %v, servers %v", w.watched("shop"), w.servers())
		}
	})
}

func TestDeadMasterIsFailedOverOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.start()
		defer stop()
		pass(3300 * time.Millisecond)
		if n := w.looked(); n != 1 {
			t.Errorf("a healthy cluster was looked at %d times besides the probes: want once, by its new leader", n)
		}
		noticed := time.Now()
		w.change(dead) // the periodic probes have not noticed
		w.suspect()
		claims := w.claims()
		if len(claims) != 1 {
			t.Fatalf("claims: %+v", claims)
		}
		c := claims[0]
		if c.Cluster != "shop" || c.RecoveryKind != ledger.Failover || c.Finding != "DeadMaster" || !c.Automatic ||
			c.AntiFlap != 10*time.Minute || c.Old != key("m") || !c.OldProvenDead || c.Leader != "c1" ||
			c.ExpectEpoch.Number != 1 || !c.At.Equal(noticed) || !c.Target.IsZero() {
			t.Errorf("claim %+v", c)
		}
		evidence := strings.Join(c.Evidence, "\n")
		for _, part := range []string{
			"2 of 3 controllers (c1, c2) agree: promote a:3306", "c1: master m:3306: refused", "c2: master m:3306: refused",
			"c1: replica b:3306 does not receive",
		} {
			if !strings.Contains(evidence, part) {
				t.Errorf("the evidence does not say %q:\n%s", part, evidence)
			}
		}
		rec := w.State().Recoveries["shop-2"]
		var steps []string
		for _, s := range rec.Steps {
			if steps = append(steps, s.Name); s.Leader != "c1" || s.Subject != key("m") || s.Outcome != ledger.StepDone {
				t.Errorf("step %+v", s)
			}
		}
		if want := []string{"notice", "see", "agree", "claim"}; !slices.Equal(steps, want) ||
			!slices.Equal(w.reported(), []string{"shop-2"}) {
			t.Errorf("steps %v, ended %v", steps, w.reported())
		}
		if rec.Outcome != ledger.Completed || w.State().Clusters["shop"].Master != key("a") {
			t.Errorf("recovery %+v", rec)
		}
		pass(30 * time.Second)
		if runs := w.effects("run shop-2"); len(w.claims()) != 1 || len(runs) != 1 || !runs[0].Equal(noticed) {
			t.Errorf("runs at %v, claims %+v", runs, w.claims())
		}
		if w.watched("shop") != key("a") {
			t.Errorf("the tripwire is on %v", w.watched("shop"))
		}
	})
}

// A leader that has just started has not seen all replicas yet: it looks at them
// before it judges, since the one that it does not know may have the most.
func TestReplicasThatWereNeverSeenCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.draw(strings.Replace(dead, "server b <m io=Connecting exec=0-1-90", "server b <m io=Connecting exec=0-1-103", 1))
		w.set(func() {
			w.memory.Servers = maps.Clone(w.memory.Servers)
			w.memory.Servers[key("b")] = topology.Server{Key: key("b")}
		})
		_, stop := w.start()
		defer stop()
		w.suspect()
		claims := w.claims()
		if len(claims) != 1 || !strings.Contains(claims[0].Evidence[0], "promote b:3306") {
			t.Errorf("%+v", claims)
		}
	})
}

// Operators who ask again and again put off no turn.
func TestRequestsPutOffNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mover = func(context.Context, string) error { return nil }
		loop, stop := w.start()
		defer stop()
		pass(1500 * time.Millisecond)
		w.draw(dead)
		for range 10 {
			_ = loop.SetReadOnly(t.Context(), key("b"), true, "ann", "a loop in a script")
			pass(300 * time.Millisecond)
		}
		if len(w.claims()) != 1 {
			t.Errorf("claims %+v", w.claims())
		}
	})
}

// Without any hint, the periodic probes are enough.
func TestDeadMasterIsNoticedByTheProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.start()
		defer stop()
		pass(2500 * time.Millisecond)
		w.draw(dead)
		pass(time.Second)
		if c := w.claims(); len(c) != 1 || c[0].RecoveryKind != ledger.Failover {
			t.Errorf("claims %+v", c)
		}
	})
}

// Only a refusal by the master's living host, to everybody, is proof of death.
func TestProofOfDeath(t *testing.T) {
	for views, want := range map[string]bool{
		"view c1 m=refused a=ok b=ok\nview c2 m=refused a=ok b=ok": true,
		"view c1 m=refused a=ok b=ok\nview c2 m=hung a=ok b=ok":    false,
		"view c1 m=hung a=ok b=ok\nview c2 m=hung a=ok b=ok":       false,
		"view c1 m=timeout a=ok b=ok\nview c2 m=refused a=ok b=ok": false,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			_, stop := w.start()
			defer stop()
			w.draw(replicas + views)
			w.suspect()
			if c := w.claims(); len(c) != 1 || c[0].OldProvenDead != want {
				t.Errorf("%s: %+v", views, c)
			}
		})
	}
}

// Every hold moves nothing; the twin with a majority acts.
func TestHolds(t *testing.T) {
	for _, c := range []struct {
		name, world string
		rules       func(*policy.Cluster)
		want        safety.Code
	}{
		{"minority", onlyWeSee, nil, safety.NoWitnessMajority},
		{"another reaches it", replicas + "view c1 m=refused a=ok b=ok\nview c2 m=ok a=ok b=ok", nil, safety.ObserversDisagree},
		{"cut off", cutOff, nil, safety.MasterCutOff},
		{"replicas receive", unreachable, nil, safety.ReplicasReplicating},
		{"not asked for", dead, func(p *policy.Cluster) { p.Recover = false }, safety.RecoveryDisabled},
		{"majority", dead, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if c.rules != nil {
					c.rules(&w.rules)
				}
				w.silent = []error{errors.New("c3: no answer")}
				loop, stop := w.start()
				defer stop()
				w.draw(c.world)
				w.suspect()
				pass(10 * time.Second)
				if c.want == "" {
					if len(w.claims()) != 1 {
						t.Errorf("claims %+v", w.claims())
					}
					return
				}
				a, ok := loop.Last("shop")
				if !ok || a.Verdict.Act || a.Verdict.Code != c.want || !slices.Equal(a.Silent, []string{"c3: no answer"}) {
					t.Errorf("%v %+v, silent %v", ok, a.Verdict, a.Silent)
				}
				if len(w.kinds()) > 0 || len(w.effects("strays")) > 1 {
					t.Errorf("it acted: %v %v", w.kinds(), w.traced())
				}
			})
		})
	}
}

// The reasons that pass within milliseconds are looked into every few
// milliseconds for a while, and acted on as soon as they are gone.
func TestTransientHoldsAreRetried(t *testing.T) {
	for name, before := range map[string]string{"replicas": unreachable, "controllers": onlyWeSee} {
		for _, after := range []time.Duration{0, 100 * time.Millisecond, 600 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				_, stop := w.start()
				defer stop()
				pass(2500 * time.Millisecond)
				noticed := time.Now()
				w.change(before)
				w.suspect()
				pass(after)
				if len(w.claims()) != 0 || w.looked() < int(after/(10*time.Millisecond)) {
					t.Fatalf("%s: %d looks in %s, claims %+v", name, w.looked(), after, w.claims())
				}
				w.draw(dead)
				pass(5 * time.Millisecond)
				c := w.claims()
				if len(c) != 1 {
					t.Fatalf("%s: claims after %s: %+v", name, after, c)
				}
				steps := w.State().Recoveries["shop-2"].Steps
				if len(steps) != 4 || !steps[0].StartedAt.Equal(noticed) || !steps[1].StartedAt.Equal(noticed) ||
					!steps[2].EndedAt.Equal(c[0].At) {
					t.Errorf("%s: the time spent insisting is not in the journal: %+v", name, steps)
				}
			})
		}
	}
}

// Insisting ends, so that operators are served in between; and a reason that
// does not pass by itself is not insisted on.
func TestInsistingHasAnEnd(t *testing.T) {
	for world, most := range map[string]int{unreachable: 700, cutOff: 35} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			loop, stop := w.start()
			defer stop()
			w.draw(world)
			w.suspect()
			for range 4 {
				pass(900 * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), 800*time.Millisecond)
				_, err := loop.Switchover(ctx, "shop", key("a"), "kim", "a new rack")
				cancel()
				var refusal *failover.Refusal
				if !errors.As(err, &refusal) || !strings.Contains(err.Error(), "does not answer") {
					t.Errorf("the worker is not free: %v", err)
				}
			}
			if n := w.looked(); n > most {
				t.Errorf("%d looks in less than 7 s", n)
			}
			w.draw(dead)
			pass(time.Second)
			if len(w.claims()) != 1 {
				t.Errorf("claims %+v", w.claims())
			}
		})
	}
}

// Two leaders saw the same; the one that was too late goes on by what is so now.
func TestRejectedClaimIsNotFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		rival := false
		w.before = func(cmd ledger.Command) error {
			if cmd.Kind() == "claim-recovery" && !rival {
				rival = true
				id := w.claim(ledger.Failover, false)
				w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Failed, At: time.Now()})
			}
			return nil
		}
		_, stop := w.start()
		defer stop()
		w.draw(dead)
		w.suspect()
		if claims := w.claims(); len(claims) != 1 || len(w.effects("run shop-2")) != 0 {
			t.Fatalf("claims %+v, effects %v", claims, w.traced())
		}
		pass(2 * time.Second)
		claims := w.claims()
		if len(claims) != 2 || claims[1].ExpectEpoch.Number != 2 {
			t.Fatalf("claims %+v", claims)
		}
		if got := w.State().Clusters["shop"]; len(w.effects("run shop-3")) != 1 || got.Master != key("a") {
			t.Errorf("effects %v, cluster %+v", w.traced(), got)
		}
	})
}

func TestAntiFlapHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.rules.AntiFlap = time.Minute
		w.draw(dead)
		id := w.claim(ledger.Failover, true)
		w.must(ledger.ChooseWinner{Recovery: id, Winner: key("m"), At: time.Now()})
		w.must(ledger.Announce{Recovery: id, At: time.Now()})
		w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Completed, At: time.Now()})
		ended := time.Now()
		loop, stop := w.start()
		defer stop()
		pass(59 * time.Second)
		if a, _ := loop.Last("shop"); a.Verdict.Code != safety.AntiFlap || len(w.kinds()) > 0 {
			t.Errorf("%+v, %v", a.Verdict, w.kinds())
		}
		pass(2 * time.Second)
		claims := w.claims()
		if len(claims) != 1 || claims[0].At.Sub(ended) < time.Minute || claims[0].AntiFlap != time.Minute {
			t.Errorf("claims %+v", claims)
		}
	})
}

// Servers that were deposed are looked for often, strays each second; not while
// a recovery is open, when the executor has the servers.
func TestTending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.recover = func(context.Context, ledger.Recovery) error { return errors.New("not now") }
		_, stop := w.start()
		defer stop()
		pass(50 * time.Millisecond)
		w.suspect() // so that the turns and the tending are not due together
		pass(4 * time.Second)
		if d, s := len(w.effects("deposed")), len(w.effects("strays")); d != 20 || s < 3 || s > 5 {
			t.Errorf("in 4 s: deposed %d times, strays %d times", d, s)
		}
		w.claim(ledger.Failover, false)
		d, s := len(w.effects("deposed")), len(w.effects("strays"))
		pass(4 * time.Second)
		if len(w.effects("deposed")) != d || len(w.effects("strays")) != s {
			t.Error("servers were tended during a recovery")
		}
		if n := len(w.effects("run shop-2")); n < 10 {
			t.Errorf("a recovery that failed was resumed %d times in 4 s", n)
		}
	})
}

// Hints about clusters that nobody knows are left alone.
func TestStrangeHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		loop, stop := w.start()
		defer stop()
		for range 100 {
			w.hints <- failover.Suspicion{Cluster: "nobody's", At: time.Now()}
		}
		synctest.Wait()
		if _, ok := loop.Last("nobody's"); ok || w.looked() != 1 {
			t.Errorf("%d looks", w.looked())
		}
	})
}

// Run returns only when all that it started has ended; the bubble sees to it
// that no goroutine is left behind.
func TestRunWaitsForItsWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ended := time.Time{}
		w.recover = func(ctx context.Context, _ ledger.Recovery) error {
			<-ctx.Done()
			time.Sleep(3 * time.Second) // the last effect is under way
			ended = time.Now()
			return ctx.Err()
		}
		loop, stop := w.start()
		w.draw(dead)
		w.suspect()
		stopped := time.Now()
		stop()
		if ended.Sub(stopped) != 3*time.Second || time.Now().Before(ended) {
			t.Errorf("asked to stop at %s, the recovery ended at %s, and Run at %s", stopped, ended, time.Now())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := loop.Switchover(ctx, "shop", key("a"), "kim", "a new rack"); err == nil {
			t.Error("a switchover was taken after the end")
		}
	})
}

// A loop that insists ends at once, too.
func TestRunEndsWhileItInsists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.start()
		w.draw(unreachable)
		w.suspect()
		pass(50 * time.Millisecond)
		began := time.Now()
		stop()
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
	})
}
