package failover_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/failover"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

func TestSwitchover(t *testing.T) {
	for _, c := range []struct{ to, want topology.Key }{{key("b"), key("b")}, {topology.Key{}, key("a")}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.rules.Recover = false // an operator may ask all the same
			loop, stop := w.start()
			defer stop()
			pass(1500 * time.Millisecond)
			rec, err := loop.Switchover(t.Context(), "shop", c.to, "kim", "a new rack")
			if err != nil || rec.Outcome != ledger.Completed || rec.Winner != c.want || rec.Kind != ledger.Switchover {
				t.Fatalf("%v %+v", err, rec)
			}
			claims := w.claims()
			if len(claims) != 1 || claims[0].Target != c.want || claims[0].By != "kim" || claims[0].Automatic ||
				claims[0].Old != key("m") || claims[0].OldProvenDead ||
				!strings.Contains(claims[0].Evidence[0], "asked for by kim: "+c.want.String()) ||
				claims[0].Evidence[1] != "because: a new rack" {
				t.Errorf("claims %+v", claims)
			}
			if master := w.State().Clusters["shop"].Master; master != c.want {
				t.Errorf("the master is %s", master)
			}
		})
	}
}

// The anti-flap window is for recoveries that nobody asked for.
func TestSwitchoverWithinTheAntiFlapWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.claim(ledger.Failover, true)
		w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Failed, At: time.Now()})
		loop, stop := w.start() // it reinstates m first
		defer stop()
		pass(time.Second)
		if rec, err := loop.Switchover(t.Context(), "shop", key("a"), "kim", "a new rack"); err != nil || rec.Winner != key("a") {
			t.Errorf("%v %+v", err, rec)
		}
	})
}

// The clocks of two leaders differ; the operator gets the recovery asked for.
func TestSwitchoverReturnsItsOwnRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.State().Clusters["shop"]
		ahead := time.Now().Add(time.Hour)
		w.must(ledger.ClaimRecovery{
			Cluster: "shop", RecoveryKind: ledger.Reinstate, Finding: "NoProblem", Old: c.Master, ExpectEpoch: c.Epoch,
			Leader: "c2", At: ahead,
		})
		w.must(ledger.ChooseWinner{Recovery: "shop-2", Winner: c.Master, At: ahead})
		w.must(ledger.Announce{Recovery: "shop-2", At: ahead})
		w.must(ledger.CloseRecovery{Recovery: "shop-2", Outcome: ledger.Completed, At: ahead})
		loop, stop := w.start()
		defer stop()
		if rec, err := loop.Switchover(t.Context(), "shop", key("a"), "kim", "a new rack"); err != nil || rec.ID != "shop-3" {
			t.Errorf("%v %+v", err, rec)
		}
	})
}

func TestSwitchoverRefusals(t *testing.T) {
	const chain = `
		server m exec=0-1-100
		server a <m exec=0-1-100 lag=20s
		server b <m exec=0-1-90,0-3-91
		server c <a exec=0-1-90
		view c1 m=ok a=ok b=ok c=ok
		view c2 m=ok a=ok b=ok c=ok`
	for _, c := range []struct {
		name  string
		to    string
		world func(*world)
		want  string
	}{
		{"follower", "a", func(w *world) { w.leads = false }, "this controller does not lead"},
		{"recovery open", "a", func(w *world) {
			w.recover = func(context.Context, ledger.Recovery) error { return errors.New("not now") }
			w.claim(ledger.Failover, false)
		}, "recovery shop-2 has not ended"},
		{"master already", "m", nil, "m:3306 is the master already"},
		{"nobody", "x", nil, "x:3306 is not a direct replica of the master m:3306"},
		{"replica of a replica", "c", func(w *world) { w.draw(chain) }, "c:3306 is not a direct replica of the master m:3306"},
		{"lagging", "a", func(w *world) { w.draw(chain) }, "it lags 20s, more than 5s"},
		{"errant", "b", func(w *world) { w.draw(chain) }, "it holds transactions that the master lacks: 0-3-91"},
		{"nobody fits", "", func(w *world) { w.draw(chain) }, "a:3306: it lags"},
		{"no replicas", "", func(w *world) { w.draw("server m exec=0-1-100\nview c1 m=ok") }, "m:3306 has no replicas"},
		{"must not", "a", func(w *world) { w.rules.Rules = map[topology.Key]policy.Rule{key("a"): policy.MustNot} }, "must_not"},
		{"stopped", "a", func(w *world) { w.draw(strings.Replace(healthy, "<m", "<m sql=No", 1)) }, "applier No"},
		{"dead master", "a", func(w *world) { w.draw(dead) }, "the master m:3306 does not answer (DeadMaster)"},
		{"read-only master", "a", func(w *world) { w.draw(healthy, readOnly(time.Hour)) }, "(NoWriteableMasterStructureWarning)"},
		{"down", "a", func(w *world) { w.draw(strings.ReplaceAll(healthy, "a=ok", "a=refused")) }, "it does not answer: refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.rules.Recover = false // the loop itself stays out of it
				if c.world != nil {
					c.world(w)
				}
				loop, stop := w.start()
				defer stop()
				to := topology.Key{}
				if c.to != "" {
					to = key(c.to)
				}
				_, err := loop.Switchover(t.Context(), "shop", to, "kim", "a new rack")
				var refusal *failover.Refusal
				if !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
				if len(w.claims()) != 0 || w.State().Clusters["shop"].Master != key("m") {
					t.Errorf("it moved: %+v", w.claims())
				}
			})
		})
	}
}

func TestUnknownClusters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		loop, stop := w.start()
		defer stop()
		if _, err := loop.Switchover(t.Context(), "other", key("a"), "kim", "a new rack"); !errors.Is(err, failover.ErrNoCluster) {
			t.Errorf("switchover: %v", err)
		}
		if _, err := loop.Explain(t.Context(), "other"); !errors.Is(err, failover.ErrNoCluster) {
			t.Errorf("explain: %v", err)
		}
		if _, ok := loop.Last("other"); ok {
			t.Error("there is an assessment")
		}
	})
}

// An operator who does not wait does not end what has begun, and one who comes
// meanwhile is told that the cluster is busy.
func TestImpatientOperators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.recover = func(ctx context.Context, r ledger.Recovery) error {
			time.Sleep(10 * time.Second)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return w.promote(ctx, r)
		}
		loop, stop := w.start()
		defer stop()
		ask := func(to string) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := loop.Switchover(ctx, "shop", key(to), "kim", "a new rack")
			return err
		}
		if err := ask("a"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the switchover goes on") {
			t.Errorf("%v", err)
		}
		var refusal *failover.Refusal
		if err := ask("b"); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "busy with a recovery") {
			t.Errorf("%v", err)
		}
		pass(10 * time.Second)
		if c := w.State().Clusters["shop"]; c.Master != key("a") || len(w.claims()) != 1 {
			t.Errorf("%+v, claims %+v", c, w.claims())
		}
	})
}

// The ledger has the last word on a switchover, too.
func TestSwitchoverRejectedByTheLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.before = func(cmd ledger.Command) error {
			if cmd.Kind() == "claim-recovery" {
				w.withdrawn()
			}
			return nil
		}
		loop, stop := w.start()
		defer stop()
		_, err := loop.Switchover(t.Context(), "shop", key("a"), "kim", "a new rack")
		var rejection *ledger.Rejection
		if !errors.As(err, &rejection) || len(w.effects("run shop-2")) != 0 {
			t.Errorf("%v, effects %v", err, w.traced())
		}
	})
}

func TestExplainDoesNotAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.leads = false // so that the loop itself stays out of it
		loop, stop := w.start()
		defer stop()
		w.draw(dead)
		w.set(func() { w.silent = []error{errors.New("c3: no answer")} })
		a, err := loop.Explain(t.Context(), "shop")
		if err != nil || !a.Verdict.Act || a.Finding.Kind != "DeadMaster" || len(a.Snapshot.Views) != 2 || len(a.Silent) != 1 {
			t.Errorf("%v %+v", err, a)
		}
		if best, ok := a.Ranking.Best(); !ok || best.Key != key("a") {
			t.Errorf("ranking %+v", a.Ranking)
		}
		pass(5 * time.Second)
		if len(w.kinds()) != 0 || len(w.traced()) != 0 {
			t.Errorf("it acted: %v %v", w.kinds(), w.traced())
		}
		if _, ok := loop.Last("shop"); ok {
			t.Error("the loop took it for a judgement of its own")
		}
	})
}
