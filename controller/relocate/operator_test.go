package relocate_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/executor"
	"switchyard/controller/relocate"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// act is one thing that an operator asks for.
type act func(*relocate.Relocator, context.Context, ledger.Cluster) error

func move(instance, below string) act {
	return func(r *relocate.Relocator, ctx context.Context, c ledger.Cluster) error {
		return r.Move(ctx, c, key(instance), key(below))
	}
}

func detach(instance string) act {
	return func(r *relocate.Relocator, ctx context.Context, c ledger.Cluster) error {
		return r.Detach(ctx, c, key(instance), "ann", "to look at it")
	}
}

func reattach(instance string) act {
	return func(r *relocate.Relocator, ctx context.Context, c ledger.Cluster) error {
		return r.Reattach(ctx, c, key(instance), "ann", "looked at")
	}
}

func readOnly(instance string, on bool) act {
	return func(r *relocate.Relocator, ctx context.Context, c ledger.Cluster) error {
		return r.SetReadOnly(ctx, c, key(instance), on)
	}
}

func TestRefusalsTouchNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*world)
		do     act
		why    string
	}{
		{"move the master", nil, move("m", "s"), "is the master"},
		{"move below itself", nil, move("s", "s"), "itself"},
		{"move below its replica", nil, move("i", "r1"), "through i"},
		{"move below a stranger", nil, move("s", "x"), "no known server"},
		{"move a stranger", nil, move("x", "s"), "no known server"},
		{"move with more than the source has", func(w *world) { w.servers[key("r1")].Executed = w.set("0-1-100,0-9-1") },
			move("r1", "s"), "0-9-1"},
		{"move below one without a binary log", func(w *world) { w.servers[key("s")].LogBin = false }, move("r1", "s"), "binary log"},
		{"move below one that does not log what it applies", func(w *world) { w.servers[key("s")].LogReplicaUpdates = false },
			move("r1", "s"), "log_replica_updates"},
		{"move below a dead one", func(w *world) { w.kill("s") }, move("r1", "s"), "does not answer"},
		{"move an outcast", func(w *world) {
			w.must(ledger.SetStanding{Server: key("s"), Standing: ledger.Deposed, At: w.now})
		}, move("s", "i"), "deposed"},
		{"move below an outcast", func(w *world) {
			w.must(ledger.SetStanding{Server: key("s"), Standing: ledger.Deposed, At: w.now})
		}, move("r1", "s"), "deposed"},
		{"move one that does not answer", func(w *world) { w.kill("r1") }, move("r1", "s"), "does not answer"},
		{"move during a relocation", func(w *world) { w.open(nil) }, move("r1", "s"), "has not ended"},
		{"detach the master", nil, detach("m"), "is the master"},
		{"detach one that replicates from nobody", func(w *world) { w.servers[key("s")].Replication = nil }, detach("s"), "from nobody"},
		{"attach one that was not detached", nil, reattach("s"), "was not detached"},
		{"attach one that holds more", func(w *world) {
			w.must(ledger.SetDetached{Server: key("s"), From: key("m"), By: "ann", At: w.now})
			w.servers[key("s")].Replication, w.servers[key("s")].Executed = nil, w.set("0-1-100,0-9-1")
		}, reattach("s"), "0-9-1"},
		{"a replica writable", nil, readOnly("s", false), "nobody else may be writable"},
		{"the master writable while it replicates", func(w *world) {
			w.servers[key("m")].Replication = &topology.Replication{Source: key("r1"), IO: topology.ThreadRunning}
		}, readOnly("m", false), "replicates from"},
		{"a stranger read-only", nil, readOnly("x", true), "no known server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			if c.change != nil {
				c.change(w)
			}
			before := w.State()
			err := c.do(w.relocator("c1"), t.Context(), w.cluster())
			var refusal *executor.Refusal
			if !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, c.why) {
				t.Errorf("%v, want a refusal with %q", err, c.why)
			}
			if got := w.effects(); len(got) != 0 {
				t.Errorf("touched: %v", got)
			}
			if after := w.State(); after.LastAudit != before.LastAudit || len(after.Servers) != len(before.Servers) {
				t.Error("the ledger was changed")
			}
		})
	}
}

func TestMove(t *testing.T) {
	w := newWorld(t)
	for range 2 { // the second time there is nothing left to do
		if err := move("r1", "s")(w.relocator("c1"), t.Context(), w.cluster()); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.below("r1"); got != "r1<s" {
		t.Error(got)
	}
	if got := w.effects(); !slices.Equal(got, []string{"repoint r1", "stop-receiver r1"}) {
		t.Error(got)
	}
}

// A replica that does not receive from where it was moved goes back.
func TestMoveThatFailsIsUndone(t *testing.T) {
	w := newWorld(t)
	w.servers[key("s")].purged = true
	err := move("r1", "s")(w.relocator("c1"), t.Context(), w.cluster())
	if err == nil || !strings.Contains(err.Error(), "1236") || !strings.Contains(err.Error(), "below i:3306 again") {
		t.Errorf("%v", err)
	}
	if got := w.below("r1"); got != "r1<i" {
		t.Error(got)
	}
}

func TestDetachAndReattach(t *testing.T) {
	w := newWorld(t)
	s := w.servers[key("s")]
	s.Executed = w.set("0-1-90") // the rest is received, and applied first
	r := w.relocator("c1")
	for range 2 {
		if err := detach("s")(r, t.Context(), w.cluster()); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.effects(); !slices.Equal(got, []string{"detach s", "stop-receiver s", "wait-applied s"}) {
		t.Error(got)
	}
	known := w.State().Servers[key("s")]
	if s.Replication != nil || known.DetachedFrom != key("m") || known.DetachedReason != "to look at it" {
		t.Errorf("%+v %+v", s.Replication, known)
	}
	s.ReadOnly = false // somebody tried something
	w.must(ledger.BeginDowntime{
		Server: key("s"), Owner: executor.Owner, Reason: ledger.LostInRecovery, At: w.now, Until: w.now.Add(time.Hour),
	})
	if err := reattach("s")(r, t.Context(), w.cluster()); err != nil {
		t.Fatal(err)
	}
	if got := w.below("s"); got != "s<m" || !s.ReadOnly {
		t.Errorf("%s, read-only %v", got, s.ReadOnly)
	}
	if known := w.State().Servers[key("s")]; !known.DetachedFrom.IsZero() || len(w.State().Downtimes) != 0 {
		t.Errorf("%+v", known)
	}
	if !slices.ContainsFunc(w.State().Audit, func(e ledger.AuditEntry) bool {
		return e.Server == key("s") && e.By == "ann" && e.Reason == "looked at"
	}) {
		t.Errorf("nobody will know why it was attached again: %+v", w.State().Audit)
	}
}

// One whose source is gone meanwhile is attached to the master.
func TestReattachElsewhere(t *testing.T) {
	w := newWorld(t)
	r := w.relocator("c1")
	if err := detach("r1")(r, t.Context(), w.cluster()); err != nil {
		t.Fatal(err)
	}
	w.kill("i")
	if err := reattach("r1")(r, t.Context(), w.cluster()); err != nil || w.below("r1") != "r1<m" {
		t.Errorf("%v %s", err, w.below("r1"))
	}
}

// A server that could not be detached is not called so, and replicates on.
func TestDetachFailsAtEachEffect(t *testing.T) {
	for _, effect := range []string{"stop-receiver s", "wait-applied s", "detach s"} {
		w := newWorld(t)
		w.servers[key("s")].Executed = w.set("0-1-90")
		w.before = func(e string) error {
			if e == effect {
				return errors.New("broken by the test")
			}
			return nil
		}
		if err := detach("s")(w.relocator("c1"), t.Context(), w.cluster()); err == nil {
			t.Errorf("%s: no error", effect)
		}
		if known := w.State().Servers[key("s")]; !known.DetachedFrom.IsZero() || w.below("s") != "s<m" {
			t.Errorf("%s: %+v %s", effect, known, w.below("s"))
		}
	}
}

func TestSetReadOnly(t *testing.T) {
	w := newWorld(t)
	r := w.relocator("c1")
	w.servers[key("s")].ReadOnly = false
	for _, do := range []act{readOnly("s", true), readOnly("m", true), readOnly("m", false)} {
		if err := do(r, t.Context(), w.cluster()); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.effects(); !slices.Equal(got, []string{"set-read-only m", "set-read-only s", "set-writable m"}) {
		t.Error(got)
	}
}

// Who does not lead touches nothing, from whichever effect on that is.
func TestOperatorsNeedALeader(t *testing.T) {
	for name, do := range map[string]act{"move": move("r1", "s"), "detach": detach("s"), "read-only": readOnly("s", true)} {
		for n := range 3 {
			w := newWorld(t)
			left := n
			w.before = func(string) error {
				w.mu.Lock()
				defer w.mu.Unlock()
				if left--; left <= 0 {
					w.deposed = true
				}
				return nil
			}
			if n == 0 {
				w.deposed = true
			}
			err := do(w.relocator("c1"), t.Context(), w.cluster())
			if n == 0 && !errors.Is(err, executor.ErrDeposed) {
				t.Errorf("%s: %v", name, err)
			}
			if got := w.effects(); len(got) > n {
				t.Errorf("%s: deposed after %d effects, and made %v", name, n, got)
			}
		}
	}
}
