package console_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/console"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// hall is a controller that watches where it is, in the time of a bubble.
type hall struct {
	*world
	council *council
	changed chan struct{}
	leading chan bool
	log     bytes.Buffer
	mu      sync.Mutex
}

func (h *hall) Watch() (<-chan struct{}, func()) { return h.changed, func() {} }

func (h *hall) LeaderChanges() (<-chan bool, func()) { return h.leading, func() {} }

// Write implements io.Writer.
func (h *hall) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.Write(p)
}

func (h *hall) lines() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.String()
}

// mark changes what the ledger says while nobody looks.
func (h *hall) mark(name string, length time.Duration) {
	synctest.Wait()
	now := time.Now()
	h.must(ledger.MarkDatacenterDown{Datacenter: name, By: "kim", Reason: "power", Until: now.Add(length), At: now})
	h.changed <- struct{}{}
	synctest.Wait()
}

// pass lets time go by. What the test did before is told first.
func (h *hall) pass(d time.Duration) {
	synctest.Wait()
	h.changed <- struct{}{}
	time.Sleep(d)
	synctest.Wait()
}

func (h *hall) unmark(name string) {
	synctest.Wait()
	h.must(ledger.MarkDatacenterUp{Datacenter: name, By: "kim", At: time.Now()})
	h.changed <- struct{}{}
	synctest.Wait()
}

// yields runs a story in which c1 leads and watches where it is.
func yields(t *testing.T, story func(h *hall)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, c := sitting(t)
		h := &hall{world: w, council: c, changed: make(chan struct{}), leading: make(chan bool)}
		cfg := console.Config{
			Self: "c1", Now: time.Now, Members: c, Voice: c.ask,
			Controllers: func() []wire.Controller {
				return []wire.Controller{{ID: "c1", DataCenter: "dc1"}, {ID: "c2", DataCenter: "dc2"}, {ID: "c3", DataCenter: "dc3"}}
			},
			Policy: func(string) policy.Cluster { return policy.Cluster{} },
		}
		none := func() []console.Receiver { return nil }
		y := console.NewYielder(console.New(cfg, w, w, loop{w}, rejoiner{w}, none, none), h, slog.New(slog.NewTextHandler(h, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- y.Run(ctx) }()
		story(h)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A leader whose datacenter is marked down hands over at once, to the voter
// elsewhere that is furthest; one elsewhere stays.
func TestALeaderLeavesADatacenterThatIsDown(t *testing.T) {
	yields(t, func(h *hall) {
		h.mark("dc2", time.Hour)
		h.pass(time.Minute)
		if len(h.council.handed) != 0 {
			t.Fatalf("c1 is not there, and hands over to %q", h.council.handed)
		}
		h.mark("dc1", time.Hour)
		// c3 is furthest, and c2 is where it should not be either.
		if !slices.Equal(h.council.handed, []string{"c3"}) {
			t.Fatalf("handed to %q: %s", h.council.handed, h.lines())
		}
		e := h.state.Audit[len(h.state.Audit)-1]
		if e.Action != "transfer-leader" || e.Kind != ledger.AuditRepair || e.By != "c1" || !slices.Equal(e.Evidence, []string{"from c1 to c3"}) ||
			!strings.HasPrefix(e.Reason, "its datacenter dc1 is marked down by kim until ") || !strings.HasSuffix(e.Reason, ": power") {
			t.Errorf("%+v", e)
		}
		if !strings.Contains(h.lines(), "leadership was handed over: this datacenter is marked down") {
			t.Errorf("%s", h.lines())
		}
	})
}

// One that is elected there again hands over again, with longer and longer
// pauses, until the mark is taken back.
func TestALeaderThatIsElectedAgainLeavesAgain(t *testing.T) {
	yields(t, func(h *hall) {
		h.mark("dc1", 24*time.Hour)
		if len(h.council.handed) != 1 {
			t.Fatalf("handed to %q", h.council.handed)
		}
		h.pass(4 * time.Second)
		if n := len(h.council.handed); n != 3 {
			t.Errorf("in four seconds it handed over %d times, want at 0 s, 1 s and 3 s", n)
		}
		h.pass(time.Hour)
		if n := len(h.council.handed); n < 60 || n > 70 {
			t.Errorf("in an hour it handed over %d times, want once a minute", n)
		}
		h.unmark("dc1")
		n := len(h.council.handed)
		h.pass(time.Hour)
		h.mark("dc1", time.Hour)
		if len(h.council.handed) != n+1 {
			t.Errorf("after the mark was taken back it handed over %d times", len(h.council.handed)-n)
		}
	})
}

func TestALeaderStaysWhereNobodyElsewhereCanLead(t *testing.T) {
	yields(t, func(h *hall) {
		h.council.silent["c3"] = errors.New("connection refused")
		h.mark("dc2", time.Hour)
		h.mark("dc1", time.Hour)
		h.pass(10 * time.Second)
		if len(h.council.handed) != 0 {
			t.Fatalf("handed to %q", h.council.handed)
		}
		const said = "this controller leads still"
		if strings.Count(h.lines(), said) != 1 || !strings.Contains(h.lines(), "c2: its datacenter dc2 is marked down by kim") ||
			!strings.Contains(h.lines(), "c3: connection refused") {
			t.Errorf("%s", h.lines())
		}
		delete(h.council.silent, "c3")
		h.pass(time.Minute)
		if !slices.Contains(h.council.handed, "c3") {
			t.Errorf("handed to %q", h.council.handed)
		}
	})
}

// A recovery that is under way may end first, but not for long; and a controller
// that does not lead has nothing to hand over.
func TestALeaderMayEndItsRecoveryFirst(t *testing.T) {
	yields(t, func(h *hall) {
		synctest.Wait()
		h.must(ledger.ClaimRecovery{
			Cluster: "shop", RecoveryKind: ledger.Failover, Finding: "DeadMaster", Old: key("m"), ExpectEpoch: h.state.Clusters["shop"].Epoch,
			Leader: "c1", At: time.Now(), Target: topology.Key{},
		})
		h.mark("dc1", time.Hour)
		h.pass(8 * time.Second)
		if len(h.council.handed) != 0 {
			t.Fatalf("handed to %q in the midst of a recovery", h.council.handed)
		}
		h.pass(4 * time.Second)
		if !slices.Contains(h.council.handed, "c3") {
			t.Errorf("a recovery that does not end keeps the leader where it is")
		}
		h.leads = false
		n := len(h.council.handed)
		h.leading <- false
		h.pass(time.Hour / 2)
		if len(h.council.handed) != n {
			t.Errorf("who does not lead hands over to %q", h.council.handed[n:])
		}
	})
}
