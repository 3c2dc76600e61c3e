package failover_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/policy"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// lagging is a master that cannot be reached and may only be too busy.
const lagging = `
	server m exec=0-1-100
	server a <m exec=0-1-100 lag=60s
	server b <m exec=0-1-90 lag=60s
	view c1 m=hung a=ok b=ok
	view c2 m=hung a=ok b=ok`

// What is in doubt is probed again, not more often than makes sense.
func TestDoubtfulFindingsAreProbedAgain(t *testing.T) {
	for name, world := range map[string]string{
		"unreachable":        unreachable,
		"nobody replicates":  strings.ReplaceAll(healthy, "<m", "<m io=Connecting"),
		"replicas are dead":  strings.ReplaceAll(strings.Replace(healthy, "a <m", "a <m io=Connecting", 1), "b=ok", "b=refused"),
		"one cannot connect": strings.Replace(healthy, "a <m", "a <m io=Connecting ioerrno=2003", 1),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				loop, stop := w.start()
				defer stop()
				pass(5500 * time.Millisecond)
				if n := len(w.effects("reprobe shop")); n != 0 {
					t.Fatalf("a healthy cluster was probed again %d times", n)
				}
				w.draw(world)
				w.suspect()
				pass(10 * time.Second)
				a, _ := loop.Last("shop")
				if n := len(w.effects("reprobe shop")); n < 4 || n > 12 {
					t.Errorf("in 10 s of %s and %v: %d times", a.Finding.Kind, a.Report.Others, n)
				}
			})
		})
	}
}

func TestReceiversAreRestarted(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*world)
		want    int
	}{
		{"lagging", nil, 2},
		{"paused", func(w *world) { w.must(ledger.PauseRecoveries{By: "lee", Reason: "a move", At: time.Now()}) }, 0},
		{"in downtime", func(w *world) { w.downtime("m") }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.rules.ReasonableLag = 10 * time.Second
				if c.prepare != nil {
					c.prepare(w)
				}
				_, stop := w.start()
				defer stop()
				w.draw(lagging)
				w.suspect()
				pass(45 * time.Second)
				if n := len(w.effects("restart receivers")); n != c.want {
					t.Errorf("%d times", n)
				}
				if audit := w.audited(ledger.AuditRepair); len(audit) != min(1, c.want) {
					t.Errorf("audit %+v", audit)
				}
			})
		})
	}
}

// A repair that hangs holds up no failover.
func TestRepairGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.rules.ReasonableLag = 10 * time.Second
		w.repair = func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}
		_, stop := w.start()
		defer stop()
		w.draw(lagging)
		w.suspect()
		pass(3 * time.Second)
		if len(w.effects("restart receivers")) != 1 {
			t.Fatalf("%v", w.traced())
		}
		noticed := time.Now()
		w.draw(dead)
		w.suspect()
		pass(50 * time.Millisecond) // it may be between two looks
		if runs := w.effects("run shop-2"); len(runs) != 1 || runs[0].Sub(noticed) > 10*time.Millisecond {
			t.Errorf("noticed at %s: %v", noticed, w.traced())
		}
		if audit := w.audited(ledger.AuditRepair); len(audit) != 0 {
			t.Errorf("what gave way was audited: %+v", audit)
		}
	})
}

// The number of acknowledging replicas is put right while the master has not
// enough of them.
func TestSemiSyncIsPutRight(t *testing.T) {
	locked := func(s topology.Snapshot) {
		i := s.Servers[key("m")].Last
		i.SemiSync = topology.SemiSync{
			Available: true, SourceEnabled: true, SourceOn: true, WaitCount: 1, Waiting: 3, WaitNoReplica: true, Timeout: time.Hour,
		}
		for _, v := range s.Views {
			o := v.Observations[key("m")]
			o.Still = time.Minute
			v.Observations[key("m")] = o
		}
	}
	for repair, want := range map[policy.SemiSyncRepair]int{policy.SemiSyncEnough: 3, policy.SemiSyncLeave: 0} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.rules.SemiSyncRepair, w.rules.LockedAfter = repair, 10*time.Second
			loop, stop := w.start()
			defer stop()
			w.draw(healthy, locked)
			pass(25 * time.Second)
			a, _ := loop.Last("shop")
			if a.Finding.Kind != "LockedSemiSyncMaster" {
				t.Fatalf("found %s", a.Finding.Kind)
			}
			if n := len(w.effects("semi-sync")); n != want {
				t.Errorf("%s: %d times", repair, n)
			}
			if slices.Contains(w.kinds(), "claim-recovery") {
				t.Error("it was failed over")
			}
		})
	}
}

// Receivers that were restarted connect anew: that they do not receive then is
// no evidence for a while. On MariaDB they are not restarted, and nothing waits.
func TestRestartedReceiversAreNoEvidence(t *testing.T) {
	mysql := func(s topology.Snapshot) {
		for _, srv := range s.Servers {
			srv.Last.Flavor = gtid.MySQL
		}
	}
	for name, edits := range map[string][]func(topology.Snapshot){"mariadb": nil, "mysql": {mysql}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.rules.ReasonableLag = 10 * time.Second
				loop, stop := w.start()
				defer stop()
				w.draw(lagging, edits...)
				w.suspect()
				pass(time.Second)
				if len(w.effects("restart receivers")) != 1 {
					t.Fatalf("%v", w.traced())
				}
				w.draw(dead, edits...)
				pass(4 * time.Second)
				if len(edits) == 0 {
					if len(w.claims()) != 1 {
						t.Errorf("claims %+v", w.claims())
					}
					return
				}
				if a, _ := loop.Last("shop"); len(w.claims()) != 0 || a.Verdict.Code != safety.RestartGrace {
					t.Fatalf("%+v, claims %+v", a.Verdict, w.claims())
				}
				_, err := loop.Recover(t.Context(), key("m"), "kim", "now")
				refused(t, err, "were restarted")
				pass(5 * time.Second)
				if len(w.claims()) != 1 {
					t.Errorf("claims %+v", w.claims())
				}
			})
		})
	}
}
