package executor_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// What is known of the writes that the old master acknowledged is kept with the
// winner.
func TestPickSaysWhatIsLost(t *testing.T) {
	w := newWorld(t)
	w.servers[key("m")].down = true
	rec, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
	if err != nil || !strings.Contains(rec.Durability, "no replica had received is lost") {
		t.Errorf("%v %q", err, rec.Durability)
	}
	w = newWorld(t)
	rec, err = run(t, w, "c1", w.claim(ledger.Switchover, func(c *ledger.ClaimRecovery) { c.Target = key("a") }))
	if err != nil || rec.Durability != "" {
		t.Errorf("a switchover loses nothing: %v %q", err, rec.Durability)
	}
}

// Who is in downtime is not picked, and hands over.
func TestPickLeavesADowntimeAlone(t *testing.T) {
	w := newWorld(t)
	w.servers[key("m")].down = true
	w.must(ledger.BeginDowntime{Server: key("a"), Owner: "kim", Reason: "a backup", At: time.Now(), Until: time.Now().Add(time.Hour)})
	rec, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
	if err != nil || rec.Winner != key("b") || rec.Via != key("a") {
		t.Errorf("%v %s via %s: %s", err, rec.Winner, rec.Via, rec.Message)
	}
}

// How far behind a candidate is was asked before the claim; the cluster is not
// left without a master for what waiting overcomes.
func TestPickDoesNotRefuseWhatWaitingOvercomes(t *testing.T) {
	w := newWorld(t)
	w.servers[key("m")].down = true
	w.policy.MaxLag, w.policy.Backlog = time.Second, policy.BacklogFail
	lag := time.Minute
	for _, name := range []string{"a", "b"} {
		w.servers[key(name)].Replication.Lag = &lag
	}
	w.servers[key("a")].Executed = set(t, "0-1-95")
	rec, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
	if err != nil || rec.Outcome != ledger.Completed || rec.Winner != key("a") {
		t.Errorf("%v %s %s: %s", err, rec.Winner, rec.Outcome, rec.Message)
	}
}

// Two that each hold what the other lacks end a failover, unless a person
// forces it; then it is said what is missing.
func TestPickByForce(t *testing.T) {
	for _, forced := range []bool{false, true} {
		w := newWorld(t)
		w.servers[key("m")].down = true
		for name, text := range map[string]string{"a": "0-1-90,0-2-101", "b": "0-1-90,0-3-101"} {
			i := w.servers[key(name)]
			i.Executed, i.Replication.Received = set(t, text), set(t, text)
		}
		rec, err := run(t, w, "c1", w.claim(ledger.Failover, func(c *ledger.ClaimRecovery) {
			c.Forced, c.OldProvenDead = forced, true
			if forced {
				c.By = "kim"
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case !forced && (rec.Outcome != ledger.Failed || !strings.Contains(rec.Message, "any choice would lose transactions")):
			t.Errorf("%s: %s", rec.Outcome, rec.Message)
		case forced && (rec.Winner != key("a") || !strings.Contains(rec.WinnerReason, "will lack 0-3-101 of b:3306")):
			t.Errorf("%s %s: %s: %s", rec.Winner, rec.Outcome, rec.WinnerReason, rec.Message)
		}
	}
}

// A controller that has just started carries on what it claimed before: it looks
// at whom it has not seen yet, since that one may have the most.
func TestPickCountsWhomNobodyHasSeenYet(t *testing.T) {
	w := newWorld(t)
	w.servers[key("m")].down = true
	b := w.servers[key("b")]
	b.Executed, b.Replication.Received = set(t, "0-1-103"), set(t, "0-1-103")
	w.unseen = map[topology.Key]bool{key("b"): true}
	rec, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
	if err != nil || rec.Winner != key("b") {
		t.Errorf("%v, %+v", err, rec)
	}
}

// A master that is sick and lives goes on acknowledging writes until no proxy leads
// to it: its replicas receive until then, and what it wrote last.
func TestLivingMasterIsWithdrawnBeforeReceivingStops(t *testing.T) {
	w := newWorld(t)
	w.sights = map[topology.Key]topology.Reach{key("m"): topology.ReachOK}
	w.push = sync.OnceFunc(func() {
		time.Sleep(30 * time.Millisecond)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.servers[key("m")].Executed = set(t, "0-1-105")
		time.AfterFunc(30*time.Millisecond, func() { // on its way
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, name := range []string{"a", "b"} {
				if r := w.servers[key(name)].Replication; r != nil && r.IO == topology.ThreadRunning && r.Source == key("m") {
					r.Received = set(t, "0-1-105")
				}
			}
		})
	})
	rec, err := run(t, w, "c1", w.claim(ledger.Failover, func(c *ledger.ClaimRecovery) { c.Finding = "MasterTooManyConnections" }))
	if err != nil || rec.Outcome != ledger.Completed {
		t.Fatalf("%v, %+v", err, rec)
	}
	if winner := w.servers[rec.Winner]; !winner.Executed.Contains(set(t, "0-1-105")) {
		t.Errorf("%s has %s only", rec.Winner, winner.Executed)
	}
}

// One that lives and cannot be withdrawn keeps its replicas.
func TestLivingMasterThatIsNotWithdrawnKeepsItsReplicas(t *testing.T) {
	w := newWorld(t)
	w.sights = map[topology.Key]topology.Reach{key("m"): topology.ReachOK}
	w.proxies = []routes.Receipt{{Receiver: "ha1", Answer: routes.Unknown, Err: errors.New("timeout")}}
	rec, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
	if err != nil || rec.Outcome != ledger.Failed {
		t.Fatalf("%v, %+v", err, rec)
	}
	for _, effect := range w.trace {
		if strings.HasPrefix(effect, "stop-receiver") {
			t.Errorf("%v", w.trace)
		}
	}
}
