package failover_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/failover"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// restoredWorld is led by a ledger that was restored from a backup of newWorld's, to
// which then happened whatever before says.
func restoredWorld(t *testing.T, before ...ledger.Command) *world {
	w := newWorld(t)
	for _, cmd := range before {
		w.must(cmd)
	}
	s, err := ledger.Restored(w.State(), 1_800_000_000, "kim", "from a backup", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w.state = s
	return w
}

// TestRestoredLedgerHoldsRatherThanFlips: by a backup that may not know the last
// failover nothing is done, and nobody is named, until it is certain who the master is.
func TestRestoredLedgerHoldsRatherThanFlips(t *testing.T) {
	claim := func(w routes.Epoch) ledger.Command {
		return ledger.ClaimRecovery{Cluster: "shop", RecoveryKind: ledger.Failover, Finding: "DeadMaster", Old: key("m"),
			ExpectEpoch: w, Leader: "c1", At: time.Now()}
	}
	later := func(_ context.Context, cluster string, epoch routes.Epoch) error {
		if cluster != "shop" || epoch.Number != 1 {
			return errors.New("asked of another")
		}
		return &routes.HigherEpochError{Cluster: cluster, Held: routes.Epoch{Generation: 1, Number: 2}, Offered: epoch}
	}
	for _, c := range []struct {
		name     string
		before   []ledger.Command
		writable []string
		higher   func(context.Context, string, routes.Epoch) error
		problem  string
	}{
		{name: "the master of the backup", writable: []string{"m"}},
		{name: "the master of the backup, and nobody knows better", writable: []string{"m"},
			higher: func(context.Context, string, routes.Epoch) error { return nil }},
		{name: "another master", writable: []string{"a"}, problem: "its master was m:3306, not a:3306"},
		{name: "both take writes", writable: []string{"m", "a"}, problem: "2 writable servers"},
		{name: "somebody knows a higher epoch", writable: []string{"m"}, higher: later, problem: "epoch 1.2 is held already"},
		{name: "somebody does not answer", writable: []string{"m"}, problem: "hung",
			higher: func(context.Context, string, routes.Epoch) error { return errors.New("it is hung") }},
		{name: "in the midst of a failover", writable: []string{"m"}, problem: "nobody was served",
			before: []ledger.Command{claim(routes.Epoch{Generation: 1, Number: 1})}},
		{name: "not found", problem: "its servers were not found yet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := restoredWorld(t, c.before...)
				w.higher = c.higher
				if len(c.writable) > 0 {
					w.pictures = []failover.Picture{found(c.writable...)}
				}
				// The master of the backup looks dead: nothing comes of it while it is held.
				if c.problem != "" {
					w.draw(dead)
				}
				loop, stop := w.start()
				defer stop()
				pass(10 * time.Second)
				state := w.State()
				if c.problem == "" {
					if got := state.Clusters["shop"]; got.Epoch != (routes.Epoch{Generation: 1_800_000_000, Number: 2}) || len(state.Held) != 0 {
						t.Errorf("adopted %+v, problems %v", got, loop.Problems())
					}
					return
				}
				if problem := loop.Problems()["shop"]; !strings.Contains(problem, c.problem) {
					t.Errorf("problem %q", problem)
				}
				if len(state.Clusters) != 0 || len(state.Held) != 1 || len(w.kinds()) != 0 || len(w.traced()) != 0 {
					t.Errorf("it did not hold: proposed %v, did %v, clusters %v", w.kinds(), w.traced(), state.Clusters)
				}
			})
		})
	}
}
