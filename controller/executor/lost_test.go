package executor_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// newLosing is a world in which b writes something of its own when the winner is
// chosen already, so that it cannot follow.
func newLosing(t *testing.T) (*world, string) {
	w := newWorld(t)
	w.servers[key("m")].down = true
	w.before = func(effect string) error {
		if effect == "detach a" {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.servers[key("b")].Executed = set(t, "0-1-90,0-9-5")
		}
		return nil
	}
	return w, w.claim(ledger.Failover, nil)
}

func (w *world) checkLost(rec ledger.Recovery) {
	w.t.Helper()
	if rec.Outcome != ledger.Completed || rec.Winner != key("a") || !slices.Equal(rec.Lost, []topology.Key{key("b")}) {
		w.t.Errorf("%s: %s, lost %v: %s", rec.Outcome, rec.Winner, rec.Lost, rec.Message)
	}
	if d := w.State().Downtimes[key("b")]; d.Reason != ledger.LostInRecovery || !d.Until.After(d.Begun) {
		w.t.Errorf("downtime: %+v", d)
	}
	if got := w.writable(); !slices.Equal(got, []string{"a"}) {
		w.t.Errorf("writable: %v", got)
	}
}

func TestLostReplicaIsDetached(t *testing.T) {
	w, id := newLosing(t)
	rec, err := run(t, w, "c1", id)
	if err != nil {
		t.Fatal(err)
	}
	w.checkLost(rec)
	if srv := w.State().Servers[key("b")]; srv.DetachedFrom != key("m") || !strings.Contains(srv.DetachedReason, "0-9-5") {
		t.Errorf("%+v", srv)
	}
	if w.servers[key("b")].Replication != nil || !strings.Contains(rec.Message, "0-9-5") {
		t.Errorf("%+v: %s", w.servers[key("b")].Replication, rec.Message)
	}
	if slices.Index(w.trace, "detach b") < slices.Index(w.trace, "set-writable a") {
		t.Errorf("dealt with before the winner was writable: %v", w.trace)
	}
}

// One that only does not answer is not detached: it is brought back.
func TestSilentReplicaIsLost(t *testing.T) {
	w := newWorld(t)
	w.servers[key("m")].down = true
	id := w.claim(ledger.Failover, nil)
	w.before = func(effect string) error {
		if effect == "detach a" {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.servers[key("b")].down = true
		}
		return nil
	}
	rec, err := run(t, w, "c1", id)
	if err != nil {
		t.Fatal(err)
	}
	w.checkLost(rec)
	if srv := w.State().Servers[key("b")]; !srv.DetachedFrom.IsZero() || !strings.Contains(rec.Message, "did not answer") {
		t.Errorf("%+v: %s", srv, rec.Message)
	}
}

// What fails once is tried again before anybody is detached; what cannot be
// detached is not called so; an operator's downtime stays his.
func TestLostOnceFailsOnce(t *testing.T) {
	t.Run("follows after all", func(t *testing.T) {
		w := newWorld(t)
		w.servers[key("m")].down = true
		failed := false
		w.before = func(effect string) error {
			if effect == "repoint b" && !failed {
				failed = true
				return errors.New("broken by the test")
			}
			return nil
		}
		rec, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
		if err != nil || rec.Outcome != ledger.Completed || len(rec.Lost) != 0 || len(w.State().Downtimes) != 0 {
			t.Fatalf("%v %s lost %v: %s", err, rec.Outcome, rec.Lost, rec.Message)
		}
	})
	t.Run("cannot be detached", func(t *testing.T) {
		w, id := newLosing(t)
		before := w.before
		w.before = func(effect string) error {
			if effect == "detach b" {
				return errors.New("broken by the test")
			}
			return before(effect)
		}
		rec, err := run(t, w, "c1", id)
		if err != nil {
			t.Fatal(err)
		}
		w.checkLost(rec)
		if srv := w.State().Servers[key("b")]; !srv.DetachedFrom.IsZero() {
			t.Errorf("%+v", srv)
		}
	})
	t.Run("in downtime", func(t *testing.T) {
		w, id := newLosing(t)
		now := w.State().Recoveries[id].StartedAt
		w.must(ledger.BeginDowntime{Server: key("b"), Owner: "ann", Reason: "backup", At: now, Until: now.AddDate(0, 0, 1)})
		rec, err := run(t, w, "c1", id)
		if err != nil || !slices.Equal(rec.Lost, []topology.Key{key("b")}) {
			t.Fatalf("%v %+v", err, rec.Lost)
		}
		if d := w.State().Downtimes[key("b")]; d.Owner != "ann" {
			t.Errorf("%+v", d)
		}
	})
}

func TestLostResumedAtEveryEffect(t *testing.T) {
	w, id := newLosing(t)
	if _, err := run(t, w, "c1", id); err != nil {
		t.Fatal(err)
	}
	for n := range len(w.trace) {
		w, id := newLosing(t)
		left, before := n, w.before
		w.before = func(effect string) error {
			w.mu.Lock()
			left--
			w.deposed = left < 0
			w.mu.Unlock()
			if left < 0 {
				return errDeposed
			}
			return before(effect)
		}
		if _, err := run(t, w, "c1", id); err == nil {
			t.Fatalf("effect %d: the deposed leader did not notice", n)
		}
		w.before, w.deposed = before, false
		rec, err := run(t, w, "c2", id)
		if err != nil {
			t.Fatalf("effect %d: %v", n, err)
		}
		w.checkLost(rec)
	}
}
