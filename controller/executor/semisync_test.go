package executor_test

import (
	"strings"
	"testing"

	"switchyard/controller/executor"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// How many acknowledgements a commit is to wait for outlives the leader that saw
// it, and a winner that has to do with fewer.
func TestAcksAreRemembered(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"m", "a", "b"} {
		w.servers[key(name)].SemiSync.Available = true
	}
	w.servers[key("m")].SemiSync = topology.SemiSync{Available: true, SourceEnabled: true, WaitCount: 2}
	w.servers[key("m")].down = true
	rec, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
	if err != nil || rec.Outcome != ledger.Completed || rec.Acks != 2 {
		t.Fatalf("%v %s acks %d: %s", err, rec.Outcome, rec.Acks, rec.Message)
	}
	promote := ""
	for _, s := range rec.Steps {
		if s.Name == "promote" {
			promote = s.Note
		}
	}
	if !strings.Contains(promote, "1 acknowledgements instead of 2") {
		t.Error(promote)
	}
	if id, acks := executor.Owed(w.State(), "shop"); id != rec.ID || acks != 2 {
		t.Errorf("%s owes %d", id, acks)
	}
	// The winner waits for one only; the next one is to wait for two all the same.
	w.servers[key("a")].SemiSync = topology.SemiSync{Available: true, SourceEnabled: true, WaitCount: 1}
	w.servers[key("a")].down = true
	next, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
	if err != nil || next.Winner != key("b") || next.Acks != 2 {
		t.Fatalf("%v %s: %s acks %d: %s", err, next.Outcome, next.Winner, next.Acks, next.Message)
	}
	// Once it was settled, what the master is set to counts.
	at := next.EndedAt
	w.must(ledger.RecordSteps{Recovery: next.ID, Steps: []ledger.Step{{
		Name: executor.StepRestored, Leader: "c1", StartedAt: at, EndedAt: at, Outcome: ledger.StepDone,
	}}})
	if _, acks := executor.Owed(w.State(), "shop"); acks != 0 {
		t.Errorf("still owes %d", acks)
	}
}

func TestNothingIsOwedWithoutSemiSync(t *testing.T) {
	w := newWorld(t)
	w.servers[key("m")].down = true
	rec, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
	if _, acks := executor.Owed(w.State(), "shop"); err != nil || rec.Acks != 0 || acks != 0 {
		t.Errorf("%v %d %d", err, rec.Acks, acks)
	}
}
