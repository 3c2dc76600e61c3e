package relocate_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// run runs a relocation by a clock that goes on only while all wait: what has a
// deadline is not missed because the machine is busy.
func run(t *testing.T, w *world, self, id string) (rec ledger.Recovery, err error) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		rec, err = w.relocator(self).Run(ctx, id)
	})
	return rec, err
}

func TestOrphansGoToTheFirstSourceThatWorks(t *testing.T) {
	w := newWorld(t)
	w.sources = []string{"s", "m"}
	w.servers[key("s")].purged = true
	w.kill("i")
	rec, err := run(t, w, "c1", w.open(nil))
	if err != nil || rec.Outcome != ledger.Completed || rec.Winner != key("m") {
		t.Fatalf("%v %s: %s %s", err, rec.Outcome, rec.Winner, rec.Message)
	}
	if got := w.below("r1", "r2", "r3", "s"); got != "r1<m r2<m r3<m s<m" {
		t.Error(got)
	}
	for _, step := range []string{"choose-source", "relocate", "verify"} {
		if !slices.ContainsFunc(rec.Steps, func(s ledger.Step) bool { return s.Name == step && s.Outcome == ledger.StepDone }) {
			t.Errorf("%s is not in the journal: %+v", step, rec.Steps)
		}
	}
	if w.cluster().Relocation != "" {
		t.Error("the relocation is still open")
	}
}

// One that is ahead of the first source is not put below it, and is itself the
// source of those that only it can serve.
func TestRegroup(t *testing.T) {
	w := newWorld(t)
	w.sources = []string{"s", "r1", "m"}
	w.servers[key("s")].Executed = w.set("0-1-80")
	w.kill("i")
	rec, err := run(t, w, "c1", w.open(nil))
	if err != nil || rec.Outcome != ledger.Completed || rec.Winner != key("r1") {
		t.Fatalf("%v %s: %s %s", err, rec.Outcome, rec.Winner, rec.Message)
	}
	if got := w.below("r1", "r2", "r3"); got != "r1<m r2<r1 r3<r1" {
		t.Error(got)
	}
}

// One that receives for a moment each time, and then no more, does not keep the
// relocation from ending.
func TestRelocationEnds(t *testing.T) {
	w := newWorld(t)
	w.sources = []string{"s", "m"}
	w.flaps = map[topology.Key]bool{key("r1"): true}
	w.kill("i")
	rec, err := run(t, w, "c1", w.open(nil))
	if err != nil || rec.Outcome != ledger.Incomplete || !slices.Equal(rec.Lost, []topology.Key{key("r1")}) ||
		!strings.Contains(rec.Message, "stopped receiving each time") {
		t.Fatalf("%v %s: %v %s", err, rec.Outcome, rec.Lost, rec.Message)
	}
	if got := w.below("r2", "r3"); got != "r2<s r3<s" {
		t.Error(got)
	}
}

func TestLostWithReasons(t *testing.T) {
	w := newWorld(t)
	w.sources = []string{"s", "m"}
	w.servers[key("r1")].Executed = w.set("0-1-100,0-9-101")
	w.servers[key("r3")].down = true
	w.kill("i")
	rec, err := run(t, w, "c1", w.open(nil))
	if err != nil || rec.Outcome != ledger.Incomplete || rec.Winner != key("s") {
		t.Fatalf("%v %s: %s %s", err, rec.Outcome, rec.Winner, rec.Message)
	}
	if !slices.Equal(rec.Lost, []topology.Key{key("r1"), key("r3")}) ||
		!strings.Contains(rec.Message, "0-9-101") || !strings.Contains(rec.Message, "does not answer") {
		t.Errorf("%+v", rec)
	}
	// It waits for its source as before, with its receiver running.
	if got := w.below("r1"); got != "r1<i?" || w.servers[key("r1")].Replication.IO == topology.ThreadStopped {
		t.Errorf("%s %s", got, w.servers[key("r1")].Replication.IO)
	}
}

// A replica that receives from the subject is left alone, as is one in downtime;
// one whose receiver runs and hears nothing is not.
func TestLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.sources = []string{"s"}
	w.servers[key("r2")].Replication.IO = topology.ThreadConnecting
	w.servers[key("r3")].stalled = time.Minute
	w.must(ledger.BeginDowntime{Server: key("r2"), Owner: "ann", Reason: "backup", Until: w.now.Add(time.Hour), At: w.now})
	rec, err := run(t, w, "c1", w.open(nil))
	if err != nil || rec.Outcome != ledger.Incomplete || !strings.Contains(rec.Message, "backup") {
		t.Fatalf("%v %s: %s %s", err, rec.Outcome, rec.Winner, rec.Message)
	}
	if got := w.below("r1", "r2", "r3"); got != "r1<i r2<i? r3<s" {
		t.Error(got)
	}
}

func TestSubjectCameBack(t *testing.T) {
	w := newWorld(t)
	w.sources = []string{"s"}
	rec, err := run(t, w, "c1", w.open(nil))
	if err != nil || rec.Outcome != ledger.Completed || !rec.Winner.IsZero() || len(w.effects()) != 0 {
		t.Fatalf("%v %s: %s %s", err, rec.Outcome, rec.Winner, rec.Message)
	}
}

// Everybody offers themselves to everybody: no ring comes of it.
func TestNoRings(t *testing.T) {
	w := newWorld(t)
	w.sources = []string{"r1", "r2", "r3", "i", "s", "m"}
	for _, name := range []string{"r1", "r2", "r3"} {
		w.servers[key(name)].Executed = w.set("0-1-100")
	}
	w.kill("i")
	rec, err := run(t, w, "c1", w.open(nil))
	if err != nil || rec.Outcome != ledger.Completed {
		t.Fatalf("%v %s: %s %s", err, rec.Outcome, rec.Winner, rec.Message)
	}
	if got := w.below("r1", "r2", "r3"); got != "r1<s r2<s r3<s" {
		t.Error(got)
	}
}

// The leader loses its office before any one of its effects; the next one
// finishes what it began.
func TestResumedAtEveryEffect(t *testing.T) {
	prepare := func() (*world, string) {
		w := newWorld(t)
		w.sources = []string{"s", "m"}
		w.kill("i")
		return w, w.open(nil)
	}
	w, id := prepare()
	if _, err := run(t, w, "c1", id); err != nil {
		t.Fatal(err)
	}
	for n := range len(w.effects()) {
		w, id := prepare()
		left := n
		w.before = func(string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if left--; left < 0 {
				w.deposed = true
				return errDeposed
			}
			return nil
		}
		if rec, err := run(t, w, "c1", id); err == nil || !rec.Open() {
			t.Fatalf("effect %d: the deposed leader did not notice: %+v", n, rec)
		}
		w.before, w.deposed = nil, false
		rec, err := run(t, w, "c2", id)
		if err != nil || rec.Outcome != ledger.Completed || rec.Leader != "c2" || rec.Winner != key("s") {
			t.Fatalf("effect %d: %v %s: %s %s", n, err, rec.Outcome, rec.Winner, rec.Message)
		}
		if got := w.below("r1", "r2", "r3"); got != "r1<s r2<s r3<s" {
			t.Errorf("effect %d: %s", n, got)
		}
	}
}

// A source that fails at any effect is passed over for the next.
func TestFailsAtEachEffect(t *testing.T) {
	for _, broken := range []string{"stop-receiver r1", "repoint r1"} {
		w := newWorld(t)
		w.sources = []string{"s", "m"}
		w.kill("i")
		failed := false
		w.before = func(effect string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if effect == broken && !failed {
				failed = true
				return errors.New("broken by the test")
			}
			return nil
		}
		rec, err := run(t, w, "c1", w.open(nil))
		if err != nil || rec.Outcome != ledger.Completed || rec.Winner != key("s") {
			t.Fatalf("%s: %v %s: %s %s", broken, err, rec.Outcome, rec.Winner, rec.Message)
		}
		if got := w.below("r1", "r2", "r3"); got != "r1<m r2<s r3<s" {
			t.Errorf("%s: %s", broken, got)
		}
	}
}

// A failover goes first: the relocation stops at once, and is closed by the
// failover's claim.
func TestGivesWay(t *testing.T) {
	w := newWorld(t)
	w.sources = []string{"s"}
	w.kill("i")
	id := w.open(nil)
	ctx, cancel := context.WithCancel(context.Background())
	w.before = func(string) error { cancel(); return ctx.Err() }
	rec, err := w.relocator("c1").Run(ctx, id)
	if err == nil || !rec.Open() {
		t.Fatalf("%v %s: %s %s", err, rec.Outcome, rec.Winner, rec.Message)
	}
	w.must(ledger.ClaimRecovery{
		Cluster: "shop", RecoveryKind: ledger.Failover, Finding: "DeadMaster", Automatic: true, Old: key("m"),
		ExpectEpoch: w.cluster().Epoch, Leader: "c1", At: w.now,
	})
	w.before = nil
	if rec, err := run(t, w, "c1", id); err != nil || rec.Outcome != ledger.Failed || len(w.effects()) != 0 {
		t.Fatalf("%v %s: %s %s", err, rec.Outcome, rec.Winner, rec.Message)
	}
}
