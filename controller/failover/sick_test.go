package failover_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// A sick master goes the way of a dead one once it was sick for as long as the
// policy says, and is never taken for gone.
func TestSickMasterIsFailedOver(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy map[topology.Trouble]time.Duration
		held   safety.Code
	}{
		{"to be answered", map[topology.Trouble]time.Duration{topology.TroubleDiskFull: 10 * time.Second}, ""},
		{"to be reported", nil, safety.SickReported},
		{"another is to be answered", map[topology.Trouble]time.Duration{topology.TroubleStalled: time.Second}, safety.SickReported},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.rules.FailoverAfter = c.policy
				loop, stop := w.start()
				defer stop()
				w.draw(healthy, sick(5*time.Second))
				pass(3 * time.Second)
				if len(w.claims()) != 0 {
					t.Fatalf("too early: %+v", w.claims())
				}
				w.draw(healthy, sick(11*time.Second))
				pass(1500 * time.Millisecond)
				if c.held != "" {
					if a, _ := loop.Last("shop"); a.Verdict.Code != c.held || len(w.claims()) != 0 {
						t.Errorf("%+v, claims %+v", a.Verdict, w.claims())
					}
					return
				}
				claims := w.claims()
				if len(claims) != 1 || claims[0].Finding != "MasterFullDisk" || claims[0].OldProvenDead || !claims[0].Automatic {
					t.Errorf("%+v", claims)
				}
			})
		})
	}
}

// sick is a master whose disk has been full for d.
func sick(d time.Duration) func(topology.Snapshot) {
	return func(s topology.Snapshot) {
		for _, v := range s.Views {
			o := v.Observations[key("m")]
			o.Write = &topology.WriteSight{Trouble: topology.TroubleDiskFull, Error: "no space left", For: d}
			v.Observations[key("m")] = o
		}
	}
}

// A failover of a sick master that fails has cut off its clients for nothing: the
// next one waits as long as after one that succeeded, unless it dies.
func TestFailedFailoverOfASickMasterWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.rules.FailoverAfter = map[topology.Trouble]time.Duration{topology.TroubleDiskFull: 10 * time.Second}
		w.recover = func(ctx context.Context, r ledger.Recovery) error {
			if r.Kind == ledger.Failover {
				return w.fail(ctx, r)
			}
			return w.promote(ctx, r)
		}
		_, stop := w.start()
		defer stop()
		w.draw(healthy, sick(time.Minute))
		failovers := func() (n int) {
			for _, c := range w.claims() {
				if c.RecoveryKind == ledger.Failover {
					n++
				}
			}
			return n
		}
		pass(9 * time.Minute)
		if n := failovers(); n != 1 {
			t.Errorf("%d failovers in 9 minutes", n)
		}
		pass(2 * time.Minute)
		if n := failovers(); n != 2 {
			t.Errorf("%d failovers in 11 minutes", n)
		}
		w.draw(dead)
		pass(2 * time.Second)
		if n := failovers(); n != 3 {
			t.Errorf("%d failovers when it had died", n)
		}
	})
}
