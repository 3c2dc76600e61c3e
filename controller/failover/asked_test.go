package failover_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/executor"
	"switchyard/controller/failover"
	"switchyard/controller/policy"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

func refused(t *testing.T, err error, want string) {
	t.Helper()
	var refusal *failover.Refusal
	if !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, want) {
		t.Errorf("%v, want a refusal: %q", err, want)
	}
}

// A forced failover goes on in spite of what holds the loop.
func TestForce(t *testing.T) {
	diverged := strings.Replace(cutOff, "a <m io=Connecting exec=0-1-100", "a <m io=Connecting exec=0-1-100,0-2-105", 1)
	diverged = strings.Replace(diverged, "b <m io=Connecting exec=0-1-90", "b <m io=Connecting exec=0-1-90,0-3-101", 1)
	for _, c := range []struct {
		name, to, world string
		prepare         func(*world)
		target, said    string
	}{
		{"cut off", "", cutOff, nil, "", "the best candidate: a:3306"},
		{"to whom is named", "b", cutOff, nil, "b", "b:3306 was named, and will lack 0-1-100 of a:3306"},
		{"healthy", "", healthy, nil, "", "the best candidate"},
		{"any choice loses something", "", diverged, nil, "", "a:3306 received most, and will lack 0-3-101 of b:3306"},
		{"paused", "", dead, func(w *world) {
			w.must(ledger.PauseRecoveries{By: "lee", Reason: "a move", At: time.Now()})
		}, "", "the best candidate"},
		{"in downtime", "", dead, func(w *world) { w.downtime("m") }, "", "the best candidate"},
		{"not opted in, and named in spite of its rule", "a", dead, func(w *world) {
			w.rules.Recover, w.rules.Rules = false, map[topology.Key]policy.Rule{key("a"): policy.MustNot}
		}, "a", "a:3306 was named, in spite of this: its promotion rule is must_not"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.rules.Recover = false // the loop itself stays out of it
				if c.prepare != nil {
					c.prepare(w)
				}
				w.draw(c.world)
				loop, stop := w.start()
				defer stop()
				to := topology.Key{}
				if c.to != "" {
					to = key(c.to)
				}
				rec, err := loop.Force(t.Context(), "shop", to, "kim", "the building burns")
				if err != nil || rec.Outcome != ledger.Completed || !rec.Forced || rec.Automatic || rec.By != "kim" {
					t.Fatalf("%v %+v", err, rec)
				}
				claim, said := w.claims()[0], strings.Join(rec.Evidence, "\n")
				if (c.target != "" && claim.Target != key(c.target)) || (c.target == "" && !claim.Target.IsZero()) {
					t.Errorf("target %v", claim.Target)
				}
				if !strings.Contains(said, "forced by kim: the building burns") || !strings.Contains(said, c.said) {
					t.Errorf("evidence %s", said)
				}
				if !w.State().Clusters["shop"].LastAutomatic.IsZero() {
					t.Error("what a person asked for begins the anti-flap window")
				}
			})
		})
	}
}

func TestForceRefusals(t *testing.T) {
	nobody := "server m exec=0-1-1\nserver a <m exec=0-1-1\nserver b <m exec=0-1-1\nview c1 m=refused a=refused b=timeout"
	for _, c := range []struct {
		name, to, world string
		prepare         func(*world)
		want            string
	}{
		{"follower", "", dead, func(w *world) { w.leads = false }, "does not lead"},
		{"recovery open", "", dead, func(w *world) {
			w.recover = func(context.Context, ledger.Recovery) error { return errors.New("not now") }
			w.claim(ledger.Failover, false)
		}, "recovery shop-2 has not ended"},
		{"nobody left", "", nobody, nil, "nobody is left to promote"},
		{"the one named is no replica", "x", dead, nil, "x:3306 cannot be promoted"},
		{"the one named does not answer", "b", strings.ReplaceAll(dead, "b=ok", "b=refused"), nil, "b:3306 cannot be promoted"},
		{"the one named is quarantined", "b", dead, func(w *world) {
			w.must(ledger.SetStanding{Server: key("b"), Standing: ledger.Quarantined, Extra: "0-9-9", At: time.Now()})
		}, "b:3306 cannot be promoted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.rules.Recover = false
				if c.prepare != nil {
					c.prepare(w)
				}
				w.draw(c.world)
				loop, stop := w.start()
				defer stop()
				to := topology.Key{}
				if c.to != "" {
					to = key(c.to)
				}
				_, err := loop.Force(t.Context(), "shop", to, "kim", "panic")
				refused(t, err, c.want)
				if len(w.claims()) != 0 {
					t.Errorf("claims %+v", w.claims())
				}
			})
		})
	}
}

// What a person asks for is not held by what keeps the loop from acting
// unasked, and is held by what protects the data.
func TestRecoverTheMaster(t *testing.T) {
	for _, c := range []struct {
		name, world string
		prepare     func(*world)
		held        safety.Code // what holds the loop
		want        string      // why the operator is refused
	}{
		{"not opted in", dead, func(w *world) { w.rules.Recover = false }, safety.RecoveryDisabled, ""},
		{"anti-flap", dead, (*world).recentFailover, safety.AntiFlap, ""},
		{"cut off", cutOff, nil, safety.MasterCutOff, "not even the host"},
		{"minority", onlyWeSee, nil, safety.NoWitnessMajority, "only 1 of 3 controllers"},
		{"healthy", healthy, nil, safety.NoProblem, "answers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if c.prepare != nil {
					c.prepare(w)
				}
				w.draw(c.world)
				loop, stop := w.start()
				defer stop()
				pass(3 * time.Second)
				if a, _ := loop.Last("shop"); a.Verdict.Code != c.held {
					t.Fatalf("the loop is held by %+v", a.Verdict)
				}
				rec, err := loop.Recover(t.Context(), key("m"), "kim", "now")
				if c.want != "" {
					refused(t, err, c.want)
					return
				}
				if err != nil || rec.Winner != key("a") || rec.Automatic || rec.By != "kim" || rec.Forced || !rec.OldProvenDead {
					t.Errorf("%v %+v", err, rec)
				}
			})
		})
	}
}

// recentFailover leaves the cluster within its anti-flap window.
func (w *world) recentFailover() {
	id := w.claim(ledger.Failover, true)
	w.must(ledger.ChooseWinner{Recovery: id, Winner: key("m"), At: time.Now()})
	w.must(ledger.Announce{Recovery: id, At: time.Now()})
	w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Completed, At: time.Now()})
}

func (w *world) downtime(server string) {
	w.must(ledger.BeginDowntime{
		Server: key(server), Owner: "lee", Reason: "a new disk", Until: time.Now().Add(time.Hour), At: time.Now(),
	})
}

func TestChangesOfSingleServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		loop, stop := w.start()
		defer stop()
		pass(time.Second)
		began := len(w.traced())
		if err := errors.Join(
			loop.Move(t.Context(), key("b"), key("a"), "kim", "closer"),
			loop.Detach(t.Context(), key("b"), "kim", "a look"),
			loop.Reattach(t.Context(), key("b"), "kim", "done"),
			loop.SetReadOnly(t.Context(), key("m"), true, "kim", "a freeze"),
			loop.SetReadOnly(t.Context(), key("m"), false, "kim", "over"),
		); err != nil {
			t.Fatal(err)
		}
		var did []string
		for _, e := range w.traced()[began:] {
			did = append(did, e.what)
		}
		if want := []string{"move b below a", "detach b", "reattach b", "read-only m true", "read-only m false"}; !slices.Equal(did, want) {
			t.Errorf("%v", did)
		}
		var told []string
		for _, e := range w.State().Audit {
			if e.Kind == ledger.AuditOperator {
				told = append(told, e.By+" "+e.Action+" "+e.Server.Host+" "+e.Outcome)
			}
		}
		want := []string{
			"kim move b ", "kim set-detached b ", "kim set-detached b ", "kim set-read-only on m ", "kim set-read-only off m ",
		}
		if !slices.Equal(told, want) {
			t.Errorf("%q", told)
		}
	})
}

func TestChangesOfSingleServersThatAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mover = func(context.Context, string) error { return &executor.Refusal{Reason: "it would be a ring"} }
		loop, stop := w.start()
		defer stop()
		refused(t, loop.Move(t.Context(), key("x"), key("a"), "kim", ""), "x:3306 is no server that is known here")
		refused(t, loop.Move(t.Context(), key("a"), key("a"), "kim", "why not"), "it would be a ring")
		refused(t, loop.Detach(t.Context(), key("a"), "kim", "why not"), "it would be a ring")
		audit := w.audited(ledger.AuditOperator)
		if len(audit) != 2 || audit[0].Outcome != "refused: it would be a ring" || audit[1].Action != "detach" {
			t.Errorf("%+v", audit)
		}
		w.set(func() { w.mover = func(context.Context, string) error { return errors.New("the reply was lost") } })
		if err := loop.SetReadOnly(t.Context(), key("a"), true, "kim", "x"); err == nil || err.Error() != "the reply was lost" {
			t.Errorf("%v", err)
		}
		if audit := w.audited(ledger.AuditOperator); audit[2].Outcome != "failed: the reply was lost" {
			t.Errorf("%+v", audit[2])
		}
		w.set(func() { w.leads = false })
		refused(t, loop.Detach(t.Context(), key("a"), "kim", "why not"), "does not lead")
	})
}

// A failover never waits for what an operator does with one server.
func TestChangeGivesWayToAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mover = func(ctx context.Context, _ string) error {
			<-ctx.Done()
			w.set(func() { w.did("gave way") })
			return ctx.Err()
		}
		loop, stop := w.start()
		defer stop()
		pass(time.Second)
		done := make(chan error, 1)
		go func() { done <- loop.Move(t.Context(), key("b"), key("a"), "kim", "closer") }()
		pass(100 * time.Millisecond)
		noticed := time.Now()
		w.draw(dead)
		w.suspect()
		if runs := w.effects("run shop-2"); len(runs) != 1 || !runs[0].Equal(noticed) || !runs[0].Equal(w.effects("gave way")[0]) {
			t.Errorf("noticed at %s: %v", noticed, w.traced())
		}
		if err := <-done; err == nil || !strings.Contains(err.Error(), "context canceled") {
			t.Errorf("the move ended with %v", err)
		}
	})
}

// Nobody changes a server beside a recovery.
func TestChangeDuringARecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.recover = func(context.Context, ledger.Recovery) error { return errors.New("not now") }
		w.claim(ledger.Failover, false)
		loop, stop := w.start()
		defer stop()
		pass(time.Second)
		refused(t, loop.Move(t.Context(), key("b"), key("a"), "kim", ""), "recovery shop-2 has not ended")
		if len(w.effects("move b below a")) != 0 {
			t.Error("it moved")
		}
	})
}
