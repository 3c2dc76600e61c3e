package executor_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"switchyard/controller/executor"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// A server lets a leader wait; meanwhile another leads, and then the first one
// leads again. What it was about to do is not its own any more.
func TestLeaderAgainDoesNotGoOn(t *testing.T) {
	for name, meanwhile := range map[string]func(w *world, id string){
		"another carries it on": func(w *world, id string) {
			w.must(ledger.ResumeRecovery{Recovery: id, Leader: "c2", At: time.Now()})
		},
		"another has ended it": func(w *world, id string) {
			w.must(ledger.ResumeRecovery{Recovery: id, Leader: "c2", At: time.Now()})
			w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Failed, At: time.Now()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.servers[key("m")].down = true
			id := w.claim(ledger.Failover, nil)
			w.before = func(effect string) error {
				if effect == "detach a" && w.State().Recoveries[id].Leader == "c1" {
					meanwhile(w, id)
				}
				return nil
			}
			if _, err := run(t, w, "c1", id); !errors.Is(err, executor.ErrDeposed) {
				t.Errorf("it ended with %v", err)
			}
			if slices.Contains(w.trace, "set-writable a") {
				t.Errorf("%q", w.trace)
			}
			if rec := w.State().Recoveries[id]; rec.Announced || rec.Epoch.Number != 2 {
				t.Errorf("%+v", rec)
			}
		})
	}
}

// What was begun at one epoch is not gone on with at another.
func TestLeadAt(t *testing.T) {
	w := newWorld(t)
	epoch := w.State().Clusters["shop"].Epoch
	if err := executor.LeadAt(context.Background(), w, "shop", epoch); err != nil {
		t.Error(err)
	}
	w.claim(ledger.Failover, nil)
	if err := executor.LeadAt(context.Background(), w, "shop", epoch); !errors.Is(err, executor.ErrDeposed) {
		t.Errorf("%v", err)
	}
	if err := executor.LeadAt(context.Background(), w, "shop", routes.Epoch{Generation: 1, Number: 2}); err != nil {
		t.Error(err)
	}
	w.deposed = true
	if err := executor.LeadAt(context.Background(), w, "shop", routes.Epoch{Generation: 1, Number: 2}); !errors.Is(err, executor.ErrDeposed) {
		t.Errorf("%v", err)
	}
}

// A server that follows the winner at the second attempt is seen to do so: the
// next recovery may begin at once.
func TestLostServerThatFollowsAfterAllIsSeenTo(t *testing.T) {
	w := newWorld(t)
	w.servers[key("m")].down = true
	id := w.claim(ledger.Failover, nil)
	failed := false
	w.before = func(effect string) error {
		if effect == "repoint b" && !failed {
			failed = true
			return errors.New("the connection was lost")
		}
		return nil
	}
	rec, err := run(t, w, "c1", id)
	if err != nil || len(rec.Lost) > 0 || !failed {
		t.Fatalf("%v, %+v", err, rec)
	}
	if r := w.seen[key("b")].Replication; r == nil || r.Source != key("a") {
		t.Errorf("b was last seen as %+v", r)
	}
}
