package executor_test

import (
	"testing"
	"time"

	"switchyard/controller/executor"
	"switchyard/store/ledger"
)

// Who was given up counts until a recovery has moved the master, also one that
// some receiver never confirmed.
func TestFormer(t *testing.T) {
	w := newWorld(t)
	former := func(want ...string) {
		t.Helper()
		got := executor.Former(w.State(), "shop")
		if len(got) != len(want) {
			t.Fatalf("former %v, want %v", got, want)
		}
		for n, name := range want {
			if got[n] != key(name) {
				t.Fatalf("former %v, want %v", got, want)
			}
		}
	}
	former()
	id := w.claim(ledger.Failover, nil)
	w.must(ledger.ChooseWinner{Recovery: id, Winner: key("a"), At: time.Now()})
	w.must(ledger.Rewind{Recovery: id, Reason: "lost", At: time.Now()})
	former("a")
	w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Failed, At: time.Now()})
	former("a")
	id = w.claim(ledger.Failover, nil)
	w.must(ledger.ChooseWinner{Recovery: id, Winner: key("b"), At: time.Now()})
	w.must(ledger.Announce{Recovery: id, At: time.Now()})
	w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Incomplete, At: time.Now()})
	former()
}
