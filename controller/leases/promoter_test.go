package leases_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/topology"
	"switchyard/sidecar/protocol"
	"switchyard/store/ledger"
)

// outlast has c1 outlast the master's lease in a claimed failover, and returns for
// how long that took.
func (w *world) outlast(still func(context.Context) error) (string, time.Duration, error) {
	w.t.Helper()
	epoch, begun := w.claim(ledger.Failover), w.clock()
	note, err := w.promoter().Outlast(context.Background(), "shop", key("m"), begun, epoch, still)
	return note, w.clock().Sub(begun), err
}

func held(w *world) {
	for _, server := range []string{"m", "a", "b"} {
		w.all(server, nil)
	}
}

func TestOutlastWaitsForLeaseAndFence(t *testing.T) {
	w := newWorld(t)
	held(w)
	note, took, err := w.outlast(lead)
	if err != nil || took < lease+1500*time.Millisecond || took > lease+2*time.Second {
		t.Errorf("%q after %s: %v", note, took, err)
	}
	for _, part := range []string{"c1, c2, c3 gave their word", "a:3306, b:3306 have parted", "6.5s"} {
		if !strings.Contains(note, part) {
			t.Errorf("%q has no %q", note, part)
		}
	}
	for id := range w.registers {
		wantRefusal(t, w.renew(id, renewal("m", nil)), protocol.Deposed, "")
	}
	slices.SortFunc(w.parted, topology.Key.Compare)
	if w.parted = slices.Compact(w.parted); len(w.parted) != 2 {
		t.Errorf("parted: %v", w.parted)
	}
}

// TestOutlastCountsFromTheLastWord: c2 is cut off from the promoter for a while.
func TestOutlastCountsFromTheLastWord(t *testing.T) {
	w := newWorld(t)
	held(w)
	w.cut["c2"], w.cut["c3"] = true, true
	end := w.now.Add(4 * time.Second)
	w.passes = func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.cut["c2"] = w.now.Before(end)
	}
	note, took, err := w.outlast(lead)
	if err != nil || took < 4*time.Second+lease+1500*time.Millisecond || !strings.Contains(note, "c1, c2 gave") {
		t.Errorf("%q after %s: %v", note, took, err)
	}
}

func TestOutlastNeedsAMajorityOfWords(t *testing.T) {
	w := newWorld(t)
	held(w)
	w.cut["c2"], w.cut["c3"] = true, true
	_, _, err := w.outlast(lead)
	if err == nil || !strings.Contains(err.Error(), "1 of 3 controllers") || !strings.Contains(err.Error(), "c2: no route to host") {
		t.Errorf("%v", err)
	}
}

// TestOutlastNeedsThePeersToPart: with two of three sidecars left the old master's
// would hold on.
func TestOutlastNeedsThePeersToPart(t *testing.T) {
	for name, spoil := range map[string]func(*world){
		"cut off":     func(w *world) { w.cut["b"] = true },
		"newer epoch": func(w *world) { w.newer["b"] = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			held(w)
			spoil(w)
			_, _, err := w.outlast(lead)
			if err == nil || !strings.Contains(err.Error(), "1 of the 2 other database sidecars") || !strings.Contains(err.Error(), "b:3306") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestOutlastNeedsAPromise(t *testing.T) {
	for name, c := range map[string]struct {
		say   func(*world)
		words string
	}{
		"never heard": {func(*world) {}, "heard the database sidecar"},
		"not tied":    {func(w *world) { w.all("m", func(q *protocol.Renew) { q.Tied = false }) }, "tie mysqld"},
		"fewer controllers": {func(w *world) { w.all("m", func(q *protocol.Renew) { q.Controllers = []string{"c1"} }) },
			"counts a majority of the controllers [c1], and these are [c1 c2 c3]"},
		"more controllers": {func(w *world) {
			w.all("m", func(q *protocol.Renew) { q.Controllers = append(q.Controllers, "c4", "c5") })
		},
			"name the same in its file"},
		"nobody":     {func(w *world) { w.all("m", func(q *protocol.Renew) { q.Controllers = nil }) }, "these are"},
		"more peers": {func(w *world) { w.all("m", func(q *protocol.Renew) { q.Peers = append(q.Peers, "side-x", "side-y") }) }, "(side-x, side-y)"},
		"other peers": {func(w *world) { w.all("m", func(q *protocol.Renew) { q.Peers = []string{"side-x"} }) },
			"may keep its lease by peers that are asked by nobody"},
		"unleased": {func(w *world) { w.all("m", func(q *protocol.Renew) { q.Holding = protocol.Unleased }) }, "held no lease"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.all("a", nil)
			w.all("b", nil)
			c.say(w)
			p := w.promoter()
			if l := p.Promise(context.Background(), "shop", key("m"), time.Time{}); l == nil || !strings.Contains(l.Missing, c.words) {
				t.Errorf("before the claim: %+v", l)
			}
			if _, _, err := w.outlast(lead); err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("after it: %v", err)
			}
		})
	}
}

// TestPeersThatNeedNotPart: so few are left that they are no majority with the
// old master's own.
func TestPeersThatNeedNotPart(t *testing.T) {
	for _, peers := range [][]string{nil, {"side-a"}, {"side-a", "side-b", "side-x"}} {
		w := newWorld(t)
		held(w)
		w.all("m", func(q *protocol.Renew) { q.Peers = peers })
		if l := w.promoter().Promise(context.Background(), "shop", key("m"), w.now); l == nil || l.Promise == "" {
			t.Errorf("%v: %+v", peers, l)
		}
		if _, _, err := w.outlast(lead); err != nil {
			t.Errorf("%v: %v", peers, err)
		}
	}
}

// TestOutlastNeedsWhoHeldItLast: the sidecar ended long ago and its server with it;
// what was started after that, and has hung now, nobody holds.
func TestOutlastNeedsWhoHeldItLast(t *testing.T) {
	w := newWorld(t)
	held(w)
	w.pass(time.Hour)
	w.all("a", nil)
	w.all("b", nil)
	if _, _, err := w.outlast(lead); err == nil || !strings.Contains(err.Error(), "was not held by it") {
		t.Errorf("%v", err)
	}
	// It was cut off an hour ago, and nobody has seen it since.
	epoch := w.state.Clusters["shop"].Epoch
	if _, err := w.promoter().Outlast(context.Background(), "shop", key("m"), w.now.Add(-time.Hour), epoch, lead); err != nil {
		t.Errorf("who ended together with its server: %v", err)
	}
}

// TestFencedIsAsGoodAsHeld: it ends only by grants of a majority.
func TestFencedIsAsGoodAsHeld(t *testing.T) {
	w := newWorld(t)
	held(w)
	w.renew("c3", renewal("m", func(q *protocol.Renew) { q.Holding = protocol.Fenced }))
	if _, _, err := w.outlast(lead); err != nil {
		t.Error(err)
	}
}

func TestPromise(t *testing.T) {
	w := newWorld(t)
	held(w)
	p := w.promoter()
	promise := func(seen time.Time) string {
		l := p.Promise(context.Background(), "shop", key("m"), seen)
		if l == nil || (l.Promise == "") == (l.Missing == "") {
			t.Fatalf("%+v", l)
		}
		return l.Promise + l.Missing
	}
	if got := promise(w.now); !strings.Contains(got, "outlasted before") {
		t.Error(got)
	}
	// It answered long after its sidecar was last heard.
	w.pass(time.Hour)
	w.all("a", nil)
	w.all("b", nil)
	if got := promise(w.now); !strings.Contains(got, "was not held by it") {
		t.Error(got)
	}
	if got := promise(w.now.Add(-time.Hour)); !strings.Contains(got, "outlasted before") {
		t.Error(got)
	}
	// Too few sidecars are left that could part.
	w.pass(lease/2 + 1)
	w.all("a", nil)
	if got := promise(w.now.Add(-time.Hour)); !strings.Contains(got, "b:3306 are not heard") {
		t.Error(got)
	}
	if l := p.Promise(context.Background(), "other", key("m"), time.Time{}); l != nil || p.Kept("other") || !p.Kept("shop") {
		t.Errorf("a cluster without sidecars: %+v", l)
	}
}

func TestOutlastEndsWithTheLeadership(t *testing.T) {
	w := newWorld(t)
	held(w)
	deposed := errors.New("deposed")
	begun := w.now
	_, took, err := w.outlast(func(context.Context) error {
		if w.clock().Sub(begun) > time.Second {
			return deposed
		}
		return nil
	})
	if !errors.Is(err, deposed) || took > 2*time.Second {
		t.Errorf("%v after %s", err, took)
	}
}

// TestNextLeaderWaitsAnew: what its predecessor waited does not count.
func TestNextLeaderWaitsAnew(t *testing.T) {
	w := newWorld(t)
	held(w)
	if _, _, err := w.outlast(lead); err != nil {
		t.Fatal(err)
	}
	begun := w.now
	_, err := w.promoter().Outlast(context.Background(), "shop", key("m"), w.now, w.state.Clusters["shop"].Epoch, lead)
	if took := w.now.Sub(begun); err != nil || took < lease+1500*time.Millisecond {
		t.Errorf("%s: %v", took, err)
	}
}

func TestAwait(t *testing.T) {
	say := func(holding protocol.Holding) func(*protocol.Renew) {
		return func(q *protocol.Renew) { q.Holding = holding }
	}
	for name, c := range map[string]struct {
		first, then func(*protocol.Renew)
		least, most time.Duration
		note, err   string
	}{
		"held before":  {first: nil, then: say(protocol.Held), least: time.Second, most: 1500 * time.Millisecond, note: "holds the lease"},
		"never leased": {first: say(protocol.Unleased), most: 0, note: "never held"},
		"in time":      {first: say(protocol.Fenced), then: say(protocol.Held), least: time.Second, most: 1500 * time.Millisecond, note: "holds"},
		"too late":     {first: say(protocol.Fenced), least: 3 * time.Second, most: 4 * time.Second, err: "stands by its fence"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.all("a", c.first)
			begun := w.now
			w.passes = func() {
				if c.then != nil && w.clock().Sub(begun) >= time.Second {
					w.all("a", c.then)
				}
			}
			note, err := w.promoter().Await(context.Background(), key("a"), 3*time.Second)
			if took := w.now.Sub(begun); took < c.least || took > c.most {
				t.Errorf("took %s", took)
			}
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) || !strings.Contains(note, c.note) {
				t.Errorf("%q, %v", note, err)
			}
		})
	}
	w := newWorld(t)
	if note, err := w.promoter().Await(context.Background(), key("b"), time.Second); err != nil || !strings.Contains(note, "silent") {
		t.Errorf("silent: %q %v", note, err)
	}
	if note, err := w.promoter().Await(context.Background(), key("x"), time.Second); err != nil || note != "" {
		t.Errorf("none: %q %v", note, err)
	}
}

// TestEnding: a sidecar that lives is given the time to say how it ended.
func TestEnding(t *testing.T) {
	w := newWorld(t)
	p := w.promoter()
	if p.Ending(key("m"), w.now) {
		t.Error("a sidecar that was never heard is waited for")
	}
	w.all("m", nil)
	if !p.Ending(key("m"), w.now) {
		t.Error("it is not waited for")
	}
	e := protocol.Exit{Who: renewal("m", nil).Who, Kind: protocol.Clean, PID: 42}
	if _, err := w.registers["c1"].Exit(context.Background(), e); err != nil || p.Ending(key("m"), w.now) {
		t.Errorf("it has said so, and is waited for: %v", err)
	}
	w.pass(lease)
	if p.Ending(key("m"), w.now) {
		t.Error("a silent one is waited for")
	}
}

// TestUnfenced: a master that its sidecar fenced while it took writes, and only
// once the lease is held again; whoever of the controllers has heard of it.
func TestUnfenced(t *testing.T) {
	fenced := func(q *protocol.Renew) { q.Holding, q.State = protocol.Fenced, protocol.ReadOnly }
	back := func(q *protocol.Renew) { q.State = protocol.ReadOnly }
	w := newWorld(t)
	p := w.promoter()
	is := func(since time.Time) bool { return p.Unfenced(context.Background(), "shop", key("m"), since) }
	w.all("m", nil)
	w.pass(time.Second)
	before := w.now.Add(-time.Millisecond)
	if is(before) {
		t.Error("it was never fenced")
	}
	for _, id := range []string{"c2", "c3"} {
		w.renew(id, renewal("m", fenced))
	}
	if is(before) {
		t.Error("it is fenced still")
	}
	w.pass(time.Second)
	w.all("m", back)
	if !is(before) {
		t.Error("it holds the lease again")
	}
	if is(w.now) {
		t.Error("it has taken writes since")
	}
	// It was made writable before its fence had ended, and fenced again.
	again := w.now.Add(time.Millisecond)
	w.pass(time.Second)
	w.all("m", func(q *protocol.Renew) { q.Holding = protocol.Fenced })
	w.all("m", fenced)
	w.pass(time.Second)
	w.all("m", back)
	if !is(again) {
		t.Error("it was promoted behind its fence, and stays read-only")
	}
	// Somebody had made it read-only before.
	w.all("m", fenced)
	w.pass(time.Second)
	w.all("m", back)
	if is(again.Add(2 * time.Second)) {
		t.Error("it took no writes before it was fenced")
	}
}

// It was cut off right after it was promoted, before anybody heard it take writes.
func TestUnfencedSinceItsPromotion(t *testing.T) {
	w := newWorld(t)
	is := func(since time.Time) bool {
		return w.promoter().Unfenced(context.Background(), "shop", key("m"), since)
	}
	state := func(h protocol.Holding) func(*protocol.Renew) {
		return func(q *protocol.Renew) { q.Holding, q.State = h, protocol.ReadOnly }
	}
	promoted := w.now
	w.all("m", state(protocol.Unleased))
	w.pass(time.Second)
	w.all("m", state(protocol.Fenced))
	w.pass(time.Second)
	w.all("m", state(protocol.Held))
	if !is(promoted) {
		t.Error("it was fenced after its promotion, and stays read-only")
	}
}
