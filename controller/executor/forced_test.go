package executor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"switchyard/router/routes"
	"switchyard/store/ledger"
)

func forced(c *ledger.ClaimRecovery) { c.Forced, c.By = true, "ann" }

// In a forced recovery a proxy that does not answer is left behind, and that is
// said; one that answers and leads to the old master is not, whoever asked.
func TestForcedGoesOnWithoutSilentProxies(t *testing.T) {
	confirmed := routes.Receipt{Receiver: "ha1", Answer: routes.Confirmed}
	silent := routes.Receipt{Receiver: "ha2", Answer: routes.Unknown, Err: fmt.Errorf("connect: %w", context.DeadlineExceeded)}
	for _, c := range []struct {
		name     string
		second   routes.Receipt
		force    bool
		promoted bool
	}{
		{"silent", silent, true, true},
		{"silent, not forced", silent, false, false},
		{"answers otherwise", routes.Receipt{Receiver: "ha2", Answer: routes.Unknown, Proof: "serving m with 2 sessions",
			Err: errors.New("it was not read back to follow the table")}, true, false},
		{"has sessions left", routes.Receipt{Receiver: "ha2", Answer: routes.Unknown,
			Err: fmt.Errorf("2 sessions: %w: %w", routes.ErrNotYet, context.DeadlineExceeded)}, true, false},
		{"answers with an error", routes.Receipt{Receiver: "ha2", Answer: routes.Unknown, Err: errors.New("no such backend")}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.servers[key("m")].hung = true
			w.proxies = []routes.Receipt{confirmed, c.second}
			id := w.claim(ledger.Failover, func(cl *ledger.ClaimRecovery) {
				if c.force {
					forced(cl)
				}
			})
			rec, err := run(t, w, "c1", id)
			if err != nil {
				t.Fatal(err)
			}
			if promoted := slices.Contains(w.trace, "set-writable a"); promoted != c.promoted || rec.Announced != c.promoted {
				t.Fatalf("promoted %v: %s %s", promoted, rec.Outcome, rec.Message)
			}
			if len(w.pushed) == 0 || w.pushed[0].Writer != nil {
				t.Error("nobody was withdrawn")
			}
			if c.promoted && !strings.Contains(rec.Message, "FORCED") {
				t.Errorf("the risk is not told: %s", rec.Message)
			}
		})
	}
}

// Where each of two holds what the other lacks, a person may say that one of them
// is promoted all the same; what is missing is in the record.
func TestForcedChoosesInSpiteOfDoubt(t *testing.T) {
	for _, target := range []string{"", "a", "b"} {
		w := newWorld(t)
		w.servers[key("m")].down = true
		for name, executed := range map[string]string{"a": "0-1-100", "b": "0-1-90,0-9-5"} {
			w.servers[key(name)].Executed, w.servers[key(name)].Replication.Received = set(t, executed), set(t, executed)
		}
		rec, err := run(t, w, "c1", w.claim(ledger.Failover, func(c *ledger.ClaimRecovery) {
			forced(c)
			if target != "" {
				c.Target = key(target)
			}
		}))
		if err != nil || rec.Outcome != ledger.Completed || target != "" && rec.Winner != key(target) {
			t.Fatalf("%q: %v %s %s: %s", target, err, rec.Outcome, rec.Winner, rec.Message)
		}
		if !strings.Contains(rec.WinnerReason, "will lack") || !strings.Contains(rec.Durability, "not proven") {
			t.Errorf("%q: %s; %s", target, rec.WinnerReason, rec.Durability)
		}
	}
}

// Without a person's word the same is a failure.
func TestDoubtWithoutForce(t *testing.T) {
	w := newWorld(t)
	w.servers[key("m")].down = true
	w.servers[key("b")].Executed = set(t, "0-1-90,0-9-5")
	rec, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
	if err != nil || rec.Outcome != ledger.Failed || len(w.writable()) != 0 {
		t.Fatalf("%v %s %s", err, rec.Outcome, rec.Message)
	}
}

// A forced winner that is lost is given up for the next one, fenced first.
func TestForcedWinnerLost(t *testing.T) {
	w := newWorld(t)
	w.servers[key("m")].down = true
	id := w.claim(ledger.Failover, func(c *ledger.ClaimRecovery) { forced(c); c.Target = key("a") })
	w.before = func(effect string) error {
		if effect == "set-writable a" {
			return errors.New("broken by the test")
		}
		return nil
	}
	rec, err := run(t, w, "c1", id)
	if err != nil || rec.Outcome != ledger.Completed || rec.Winner != key("b") {
		t.Fatalf("%v %s %s: %s", err, rec.Outcome, rec.Winner, rec.Message)
	}
	if got := w.writable(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("writable: %v", got)
	}
}
