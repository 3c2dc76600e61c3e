package failover_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/failover"
	"switchyard/controller/hooks"
	"switchyard/controller/safety"
	"switchyard/store/ledger"
)

// A cluster in which a is also the source of x and y; then a dies.
const (
	chained = `
		server m exec=0-1-100
		server a <m exec=0-1-100
		server b <m exec=0-1-100
		server x <a exec=0-1-100
		server y <a exec=0-1-100
		view c1 m=ok a=ok b=ok x=ok y=ok
		view c2 m=ok a=ok b=ok x=ok y=ok`
	chainBroken = `
		server m exec=0-1-100
		server a <m exec=0-1-100
		server b <m exec=0-1-100
		server x <a io=Connecting exec=0-1-100
		server y <a io=Connecting exec=0-1-100
	`
	deadSource = chainBroken + "view c1 m=ok a=refused b=ok x=ok y=ok\nview c2 m=ok a=refused b=ok x=ok y=ok\n"
	deadBoth   = `
		server m exec=0-1-100
		server a <m exec=0-1-100
		server b <m io=Connecting exec=0-1-100
		server x <a io=Connecting exec=0-1-100
		server y <a io=Connecting exec=0-1-100
	` + "view c1 m=refused a=refused b=ok x=ok y=ok\nview c2 m=refused a=refused b=ok x=ok y=ok\n"
	onlyOneSees = chainBroken + "view c1 m=ok a=refused b=ok x=ok y=ok\n"
)

func newChain(t *testing.T) *world {
	w := newWorld(t)
	w.must(ledger.RememberServers{
		Cluster: "shop", At: time.Now(), Servers: []ledger.ServerName{{Key: key("x")}, {Key: key("y")}},
	})
	w.rules.RecoverIntermediate = true
	w.draw(chained)
	return w
}

// relocations are those that the loop opened.
func (w *world) relocations() []ledger.OpenRelocation {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []ledger.OpenRelocation
	for _, p := range w.proposed {
		if c, ok := p.cmd.(ledger.OpenRelocation); ok {
			out = append(out, c)
		}
	}
	return out
}

func TestDeadIntermediateMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newChain(t)
		w.hook = fine
		w.relocate = func(ctx context.Context, r ledger.Recovery) error {
			w.draw(strings.ReplaceAll(chained, "<a", "<b"))
			return w.Propose(ctx, ledger.CloseRelocation{Recovery: r.ID, Winner: key("b"), Outcome: ledger.Completed, At: time.Now()})
		}
		_, stop := w.start()
		defer stop()
		pass(3500 * time.Millisecond)
		w.draw(deadSource)
		pass(3 * time.Second)
		opened := w.relocations()
		if len(opened) != 1 {
			t.Fatalf("%+v", opened)
		}
		o := opened[0]
		if o.Subject != key("a") || o.Finding != "DeadIntermediateMaster" || !o.Automatic || o.Leader != "c1" ||
			!strings.Contains(o.Evidence[0], "2 of 3 controllers (c1, c2) agree") {
			t.Errorf("%+v", o)
		}
		if len(w.claims()) != 0 || len(w.effects("relocate shop-r1")) != 1 {
			t.Errorf("claims %+v, effects %v", w.claims(), w.traced())
		}
		moments, facts := w.hooked()
		want := []string{"OnFailureDetection", "PreFailover", "PostIntermediateMasterFailover", "PostFailover"}
		if !slices.Equal(moments, want) {
			t.Fatalf("%v", moments)
		}
		f := facts[3]
		if f.InstanceType != "intermediate-master" || f.Failed != key("a") || f.Successor != key("b") || !f.Successful ||
			f.Recovery != "shop-r1" || !f.AutoIntermediate || len(f.Replicas) != 2 {
			t.Errorf("%+v", f)
		}
		pass(time.Minute)
		if len(w.relocations()) != 1 || !slices.Equal(w.reported(), []string{"shop-r1"}) {
			t.Errorf("%+v, ended %v", w.relocations(), w.reported())
		}
	})
}

func TestRelocationHolds(t *testing.T) {
	for _, c := range []struct {
		name, world string
		prepare     func(*world)
		want        safety.Code
	}{
		{"not opted in", deadSource, func(w *world) { w.rules.RecoverIntermediate = false }, safety.RecoveryDisabled},
		{"paused", deadSource, func(w *world) {
			w.must(ledger.PauseRecoveries{Cluster: "shop", By: "lee", Reason: "a move", At: time.Now()})
		}, safety.Paused},
		{"in downtime", deadSource, func(w *world) { w.downtime("a") }, safety.Downtimed},
		{"a command fails", deadSource, func(w *world) { w.hook = fails(hooks.PreFailover) }, safety.HookFailed},
		{"nothing", deadSource, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newChain(t)
				if c.prepare != nil {
					c.prepare(w)
				}
				loop, stop := w.start()
				defer stop()
				w.draw(c.world)
				pass(10 * time.Second)
				if c.want == "" {
					if len(w.relocations()) != 1 {
						t.Errorf("%+v", w.relocations())
					}
					return
				}
				if len(w.kinds()) != 0 {
					t.Errorf("it proposed %v", w.kinds())
				}
				a, err := loop.Explain(t.Context(), "shop")
				if err != nil || len(a.Relocations) != 1 {
					t.Fatalf("%v %+v", err, a.Relocations)
				}
				r := a.Relocations[0]
				if r.Verdict.Act || r.Verdict.Code != c.want || r.Finding.Subject != key("a") {
					t.Errorf("%+v", r.Verdict)
				}
				if best, ok := r.Sources[key("x")].Best(); !ok || best.Key != key("b") {
					t.Errorf("sources %+v", r.Sources)
				}
			})
		})
	}
}

// What failed is tried again, and not at every turn.
func TestRelocationThatFailedPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newChain(t)
		w.relocate = func(ctx context.Context, r ledger.Recovery) error {
			return w.Propose(ctx, ledger.CloseRelocation{Recovery: r.ID, Outcome: ledger.Failed, Message: "no source", At: time.Now()})
		}
		_, stop := w.start()
		defer stop()
		w.draw(deadSource)
		pass(29 * time.Second)
		if n := len(w.relocations()); n != 1 {
			t.Fatalf("%d in 29 s", n)
		}
		pass(5 * time.Second)
		if n := len(w.relocations()); n != 2 {
			t.Errorf("%d in 34 s", n)
		}
	})
}

// A failover of the master goes first, at once; the relocation is given up.
func TestRelocationGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newChain(t)
		w.relocate = func(ctx context.Context, _ ledger.Recovery) error {
			<-ctx.Done()
			w.set(func() { w.did("gave way") })
			return ctx.Err()
		}
		_, stop := w.start()
		defer stop()
		w.draw(deadSource)
		pass(3500 * time.Millisecond)
		if len(w.effects("relocate shop-r1")) != 1 {
			t.Fatalf("%v", w.traced())
		}
		noticed := time.Now()
		w.draw(deadBoth)
		w.suspect()
		w.set(func() { w.relocate = nil })
		if runs := w.effects("run shop-2"); len(runs) != 1 || !runs[0].Equal(noticed) || len(w.effects("gave way")) != 1 {
			t.Fatalf("noticed at %s: %v", noticed, w.traced())
		}
		pass(time.Second)
		if r := w.State().Recoveries["shop-r1"]; r.Outcome != ledger.Failed {
			t.Errorf("%+v", r)
		}
	})
}

// Whoever leads next carries an open relocation on.
func TestOpenRelocationIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newChain(t)
		w.must(ledger.OpenRelocation{
			Cluster: "shop", Finding: "DeadIntermediateMaster", Automatic: true, Subject: key("a"), Leader: "c2", At: time.Now(),
		})
		_, stop := w.start()
		defer stop()
		pass(2 * time.Second)
		if len(w.effects("relocate shop-r1")) != 1 || w.State().Recoveries["shop-r1"].Outcome != ledger.Completed ||
			len(w.relocations()) != 0 {
			t.Errorf("%v, opened %+v", w.traced(), w.relocations())
		}
	})
}

func TestRecoverAnIntermediateMaster(t *testing.T) {
	for _, c := range []struct {
		name, world, server string
		prepare             func(*world)
		want                string
	}{
		{"not opted in", deadSource, "a", func(w *world) { w.rules.RecoverIntermediate = false }, ""},
		{"paused", deadSource, "a", func(w *world) { w.must(ledger.PauseRecoveries{By: "lee", Reason: "x", At: time.Now()}) }, ""},
		{"in downtime", deadSource, "a", func(w *world) { w.downtime("a") }, ""},
		{"minority", onlyOneSees, "a", func(w *world) { w.rules.RecoverIntermediate = false }, ""},
		{"it lives", chained, "a", nil, "nothing was found that moving replicas would answer"},
		{"a leaf", deadSource, "b", func(w *world) { w.rules.RecoverIntermediate = false }, "nothing was found"},
		{"a command fails", deadSource, "a", func(w *world) {
			w.rules.RecoverIntermediate, w.hook = false, fails(hooks.PreFailover)
		}, "the DNS says no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newChain(t)
				if c.prepare != nil {
					c.prepare(w)
				}
				loop, stop := w.start()
				defer stop()
				w.draw(c.world)
				pass(3 * time.Second)
				rec, err := loop.Recover(t.Context(), key(c.server), "kim", "now")
				if c.name == "minority" {
					// What c2 sees, nobody knows.
					c.want = "only 1 of 3 controllers"
				}
				if c.want != "" {
					refused(t, err, c.want)
					return
				}
				if err != nil || rec.Outcome != ledger.Completed || rec.Automatic || rec.By != "kim" || rec.Kind != ledger.Relocate ||
					!strings.Contains(rec.Evidence[0], "asked for by kim: now") {
					t.Errorf("%v %+v", err, rec)
				}
			})
		})
	}
}

// A relocation that the ledger refuses is no relocation.
func TestRelocationRejectedByTheLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newChain(t)
		w.rules.RecoverIntermediate = false
		w.before = func(cmd ledger.Command) error {
			if cmd.Kind() == "open-relocation" {
				return &ledger.Rejection{Command: cmd.Kind(), Reason: "no"}
			}
			return nil
		}
		loop, stop := w.start()
		defer stop()
		w.draw(deadSource)
		_, err := loop.Recover(t.Context(), key("a"), "kim", "now")
		var rejection *ledger.Rejection
		var refusal *failover.Refusal
		if !errors.As(err, &rejection) || errors.As(err, &refusal) {
			t.Errorf("%v", err)
		}
	})
}
