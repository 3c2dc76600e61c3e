package failover_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/failover"
	"switchyard/controller/hooks"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

func fine(context.Context, hooks.Moment, hooks.Facts) (string, error) { return "done", nil }

// fails is a command that fails at one moment.
func fails(at hooks.Moment) func(context.Context, hooks.Moment, hooks.Facts) (string, error) {
	return func(_ context.Context, m hooks.Moment, _ hooks.Facts) (string, error) {
		if m == at {
			return "the DNS says no", errors.New("exit status 1")
		}
		return "done", nil
	}
}

func TestHooksOfAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.hook = fine
		w.recover = func(ctx context.Context, r ledger.Recovery) error {
			return errors.Join(
				w.Propose(ctx, ledger.ChooseWinner{Recovery: r.ID, Winner: key("a"), Via: key("b"), At: time.Now()}),
				w.Propose(ctx, ledger.Announce{Recovery: r.ID, At: time.Now()}),
				w.Propose(ctx, ledger.CloseRecovery{
					Recovery: r.ID, Outcome: ledger.Completed, Lost: []topology.Key{key("b")}, At: time.Now(),
				}),
			)
		}
		_, stop := w.start()
		defer stop()
		w.draw(dead)
		w.suspect()
		w.draw(strings.ReplaceAll(healthy, "m=ok", "m=refused"))
		pass(time.Second)
		moments, facts := w.hooked()
		want := []string{
			"OnFailureDetection", "PreFailover", "PostTakeMaster", "PostMasterFailover", "PostFailover",
		}
		if !slices.Equal(moments, want) {
			t.Fatalf("%v", moments)
		}
		before, after := facts[1], facts[4]
		if before.FailureType != "DeadMaster" || before.InstanceType != "master" || before.Failed != key("m") ||
			before.Cluster != "shop" || before.Controller != "c1" || !before.AutoMaster || before.Command != "" ||
			!slices.Equal(before.Replicas, []topology.Key{key("a"), key("b")}) || before.Successful || before.Recovery != "" {
			t.Errorf("before: %+v", before)
		}
		if after.Recovery != "shop-2" || !after.Successful || after.Successor != key("a") || after.FailureType != "DeadMaster" ||
			!slices.Equal(after.Lost, []topology.Key{key("b")}) || !slices.Equal(after.Replicas, before.Replicas) {
			t.Errorf("after: %+v", after)
		}
		var steps []string
		for _, s := range w.State().Recoveries["shop-2"].Steps {
			if s.Note != "" {
				steps = append(steps, s.Name+": "+s.Note)
			}
		}
		if len(steps) != 4 || steps[0] != "PreFailover: run PreFailover: done" || steps[3] != "PostFailover: run PostFailover: done" {
			t.Errorf("journal %q", steps)
		}
		audit := w.audited(ledger.AuditHook)
		if len(audit) != 5 || audit[0].Action != "OnFailureDetection" || audit[4].Recovery != "shop-2" || audit[4].Outcome != "" {
			t.Errorf("audit %+v", audit)
		}
	})
}

// A command that fails before a failover leaves the cluster exactly as it was,
// and is run again later, when the failover goes on.
func TestHookThatFailsHoldsTheFailover(t *testing.T) {
	for _, at := range []hooks.Moment{hooks.PreFailover, hooks.OnFailureDetection} {
		t.Run(string(at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.hook = fails(at)
				loop, stop := w.start()
				defer stop()
				before := w.State().Clusters["shop"]
				w.draw(dead)
				w.suspect()
				pass(29 * time.Second)
				a, _ := loop.Last("shop")
				if a.Verdict.Code != safety.HookFailed || !strings.Contains(a.Verdict.Reason, "the DNS says no") {
					t.Errorf("verdict %+v", a.Verdict)
				}
				e, err := loop.Explain(t.Context(), "shop")
				if err != nil || e.Verdict.Code != safety.HookFailed {
					t.Errorf("explained: %v %+v", err, e.Verdict)
				}
				if n := len(w.effects("hook " + string(at))); n != 1 || len(w.kinds()) != 0 || !reflect.DeepEqual(w.State().Clusters["shop"], before) {
					t.Errorf("it ran %d times, and %v was proposed", n, w.kinds())
				}
				if audit := w.audited(ledger.AuditHook); audit[len(audit)-1].Outcome != "exit status 1" ||
					!slices.Equal(audit[len(audit)-1].Evidence, []string{"the DNS says no"}) {
					t.Errorf("audit %+v", audit)
				}
				w.set(func() { w.hook = fine })
				pass(3 * time.Second)
				if n := len(w.effects("hook " + string(at))); n != 2 || w.State().Clusters["shop"].Master != key("a") {
					t.Errorf("it ran %d times, cluster %+v", n, w.State().Clusters["shop"])
				}
			})
		})
	}
}

// What comes back while the commands run is not failed over.
func TestMasterIsBackAfterTheHooks(t *testing.T) {
	for _, at := range []hooks.Moment{hooks.OnFailureDetection, hooks.PreFailover} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.hook = func(_ context.Context, m hooks.Moment, _ hooks.Facts) (string, error) {
				if m == at {
					time.Sleep(5 * time.Second)
					w.draw(healthy)
					return "", nil
				}
				return "none", nil
			}
			_, stop := w.start()
			defer stop()
			w.draw(dead)
			w.suspect()
			pass(20 * time.Second)
			if len(w.claims()) != 0 || len(w.effects("hook "+string(at))) != 1 {
				t.Errorf("%s: claims %+v, effects %v", at, w.claims(), w.traced())
			}
		})
	}
}

// Commands of other moments cost no look.
func TestNoHookForTheMomentCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.hook = func(context.Context, hooks.Moment, hooks.Facts) (string, error) { return "none", nil }
		_, stop := w.start()
		defer stop()
		looks := w.looked()
		w.draw(dead)
		w.suspect()
		if len(w.claims()) != 1 || w.looked() != looks+2 { // one for the verdict, one for where the winner's log ends
			t.Errorf("%d looks, claims %+v", w.looked()-looks, w.claims())
		}
	})
}

// Commands after a recovery delay nothing, come in order, and end with the loop.
func TestHooksAfterARecoveryAreAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.recover = w.fail
		w.hook = func(ctx context.Context, m hooks.Moment, _ hooks.Facts) (string, error) {
			if m == hooks.PostUnsuccessfulFailover {
				select {
				case <-time.After(20 * time.Second):
				case <-ctx.Done():
				}
			}
			return "", ctx.Err()
		}
		_, stop := w.start()
		w.draw(dead)
		w.suspect()
		pass(15 * time.Second)
		if n := len(w.claims()); n < 2 {
			t.Errorf("%d attempts in 15 s", n)
		}
		if n := len(w.effects("hook PostUnsuccessfulFailover")); n != 1 {
			t.Errorf("%d commands side by side", n)
		}
		stop()
	})
}

// Findings that nobody acts on are told once, too.
func TestDetectionIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.hook = fine
		w.rules.Recover = false
		_, stop := w.start()
		defer stop()
		w.draw(dead)
		w.suspect()
		pass(time.Minute)
		moments, _ := w.hooked()
		if !slices.Equal(moments, []string{"OnFailureDetection"}) {
			t.Errorf("%v", moments)
		}
	})
}

func TestHooksOfASwitchover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.hook = fine
		loop, stop := w.start()
		defer stop()
		if _, err := loop.Switchover(t.Context(), "shop", key("b"), "kim", "a new rack"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		moments, facts := w.hooked()
		want := []string{"PreGracefulTakeover", "PreFailover", "PostMasterFailover", "PostFailover", "PostGracefulTakeover"}
		if !slices.Equal(moments, want) || facts[0].Successor != key("b") || facts[4].Command != "graceful-master-takeover" ||
			facts[4].Successor != key("b") {
			t.Errorf("%v %+v", moments, facts)
		}
	})
}

func TestHookThatFailsRefusesASwitchover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.hook = fails(hooks.PreGracefulTakeover)
		loop, stop := w.start()
		defer stop()
		_, err := loop.Switchover(t.Context(), "shop", key("b"), "kim", "a new rack")
		var refusal *failover.Refusal
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, "the DNS says no") || len(w.claims()) != 0 {
			t.Errorf("%v, claims %+v", err, w.claims())
		}
		audit := w.audited(ledger.AuditOperator)
		if len(audit) != 1 || audit[0].By != "kim" || !strings.HasPrefix(audit[0].Outcome, "refused: ") {
			t.Errorf("audit %+v", audit)
		}
	})
}

// A forced failover says that a command failed, and goes on.
func TestHookThatFailsDoesNotStopAForcedFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.hook = fails(hooks.PreFailover)
		loop, stop := w.start()
		defer stop()
		rec, err := loop.Force(t.Context(), "shop", topology.Key{}, "kim", "panic")
		if err != nil || rec.Outcome != ledger.Completed {
			t.Fatalf("%v %+v", err, rec)
		}
		claim := w.claims()[0]
		if !strings.Contains(strings.Join(claim.Evidence, "\n"), "in spite of PreFailover") {
			t.Errorf("evidence %q", claim.Evidence)
		}
		found := slices.ContainsFunc(rec.Steps, func(s ledger.Step) bool {
			return s.Name == "PreFailover" && s.Outcome == ledger.StepFailed
		})
		if !found {
			t.Errorf("steps %+v", rec.Steps)
		}
	})
}

// A leader that dies after a recovery leaves its commands to the next one, which
// runs what the journal does not have; what is long over is left alone.
func TestHooksAreCaughtUpByTheNextLeader(t *testing.T) {
	for _, c := range []struct {
		name string
		ago  time.Duration
		ran  []string
		want []string
	}{
		{"none ran", time.Minute, nil, []string{"PostMasterFailover", "PostFailover"}},
		{"one ran", time.Minute, []string{"PostMasterFailover"}, []string{"PostFailover"}},
		{"all ran", time.Minute, []string{"PostMasterFailover", "PostFailover"}, nil},
		{"long over", time.Hour, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.hook = fine
				id := w.claim(ledger.Failover, true)
				w.must(ledger.ChooseWinner{Recovery: id, Winner: key("a"), At: time.Now()})
				w.must(ledger.Announce{Recovery: id, At: time.Now()})
				w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Completed, At: time.Now()})
				for _, name := range c.ran {
					w.must(ledger.RecordSteps{Recovery: id, Steps: []ledger.Step{{
						Name: name, Leader: "c2", StartedAt: time.Now(), EndedAt: time.Now(), Outcome: ledger.StepDone,
					}}})
				}
				w.draw(strings.NewReplacer("m=ok", "m=refused", "server a <m", "server a", "<m", "<a").Replace(healthy))
				time.Sleep(c.ago)
				_, stop := w.start()
				defer stop()
				pass(10 * time.Second)
				moments, facts := w.hooked()
				if !slices.Equal(moments, c.want) {
					t.Fatalf("%v", moments)
				}
				for _, f := range facts {
					if f.Recovery != id || f.Successor != key("a") || !f.Successful || !slices.Equal(f.Replicas, []topology.Key{key("b")}) {
						t.Errorf("%+v", f)
					}
				}
			})
		})
	}
}
