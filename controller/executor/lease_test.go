package executor_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// sidecars are the leases of a pretend cluster's database sidecars.
type sidecars struct {
	w *world
	// missing is why a lease cannot be outlasted, and refuses why the winner's own
	// sidecar would fence it again.
	missing, refuses error
	took             time.Duration

	mu      sync.Mutex
	asked   []routes.Epoch
	awaited []topology.Key
}

func (s *sidecars) Kept(cluster string) bool { return cluster == "shop" }

func (s *sidecars) Outlast(
	ctx context.Context, _ string, server topology.Key, _ time.Time, epoch routes.Epoch, still func(context.Context) error,
) (string, error) {
	s.mu.Lock()
	s.asked = append(s.asked, epoch)
	s.mu.Unlock()
	if server != key("m") {
		return "", errors.New("it is not about the old master")
	}
	if err := still(ctx); err != nil {
		return "", err
	}
	select {
	case <-time.After(s.took):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if s.missing != nil {
		return "", s.missing
	}
	if got := s.w.writable(); slices.Contains(got, "a") || slices.Contains(got, "b") {
		s.w.t.Errorf("writable before the lease has ended: %v", got)
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.trace = append(s.w.trace, "lease-ended")
	return "its lease has ended: c1, c2 gave their word", nil
}

func (s *sidecars) Await(_ context.Context, server topology.Key, _ time.Duration) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaited = append(s.awaited, server)
	return "sidecar side-a holds the lease", s.refuses
}

// cutOff is a world whose master is cut off, and has a database sidecar.
func cutOff(t *testing.T) (*world, *sidecars) {
	w := newWorld(t)
	w.servers[key("m")].cut = true
	w.policy.Partition = policy.PartitionFailover
	s := &sidecars{w: w, took: 50 * time.Millisecond}
	w.leases = s
	return w, s
}

// TestMasterThatIsCutOffIsOutlasted before anybody else is made writable, although
// all proxies have withdrawn it.
func TestMasterThatIsCutOffIsOutlasted(t *testing.T) {
	w, s := cutOff(t)
	id := w.claim(ledger.Failover, nil)
	rec, err := run(t, w, "c1", id)
	if err != nil || !rec.Announced || rec.Winner != key("a") {
		t.Fatalf("%v %+v", err, rec)
	}
	ended, promoted := slices.Index(w.trace, "lease-ended"), slices.Index(w.trace, "set-writable a")
	if ended < 0 || promoted < ended {
		t.Errorf("order: %v", w.trace)
	}
	if len(s.asked) != 1 || s.asked[0] != rec.Epoch || !slices.Contains(s.awaited, key("a")) {
		t.Errorf("asked for %v, awaited %v", s.asked, s.awaited)
	}
	notes := map[string]string{}
	for _, step := range rec.Steps {
		notes[step.Name] = step.Note
	}
	if !strings.Contains(notes["fence"], "its lease has ended") || !strings.Contains(notes["promote"], "side-a holds") {
		t.Errorf("the journal does not say so: %q", notes)
	}
}

func TestMasterWhoseLeaseMayBeInForceIsNotReplaced(t *testing.T) {
	w, s := cutOff(t)
	s.missing = errors.New("1 of 3 controllers gave their word")
	id := w.claim(ledger.Failover, nil)
	rec, err := run(t, w, "c1", id)
	if err != nil || rec.Outcome != ledger.Failed || !strings.Contains(rec.Message, "1 of 3 controllers") {
		t.Fatalf("%v %+v", err, rec)
	}
	if slices.ContainsFunc(w.trace, func(s string) bool { return strings.HasPrefix(s, "set-writable") }) {
		t.Errorf("promoted: %v", w.trace)
	}
}

// TestForcedGoesOnWithoutTheLease, and says so.
func TestForcedGoesOnWithoutTheLease(t *testing.T) {
	w, s := cutOff(t)
	s.missing = errors.New("1 of 3 controllers gave their word")
	rec, err := run(t, w, "c1", w.claim(ledger.Failover, forced))
	if err != nil || !rec.Announced || !strings.Contains(rec.Message, "FORCED: 1 of 3 controllers") {
		t.Fatalf("%v %+v", err, rec)
	}
}

// TestNoLeaseIsWaitedFor where nothing depends on it.
func TestNoLeaseIsWaitedFor(t *testing.T) {
	for name, change := range map[string]func(*server, *world){
		"the process is gone":   func(m *server, _ *world) { m.cut, m.down = false, true },
		"it answers, and obeys": func(m *server, _ *world) { m.cut = false },
		"it hangs":              func(m *server, _ *world) { m.cut, m.hung = false, true },
		"the policy is to hold": func(_ *server, w *world) { w.policy.Partition = policy.PartitionHold },
	} {
		t.Run(name, func(t *testing.T) {
			w, s := cutOff(t)
			s.missing = errors.New("not to be asked for")
			change(w.servers[key("m")], w)
			rec, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
			if err != nil || !rec.Announced || len(s.asked) > 0 {
				t.Errorf("%v, asked %v: %+v", err, s.asked, rec)
			}
		})
	}
}

// TestNextLeaderOutlastsTheLeaseAnew, wherever the first one stopped after it.
func TestNextLeaderOutlastsTheLeaseAnew(t *testing.T) {
	w, s := cutOff(t)
	w.before = func(effect string) error {
		if effect == "detach a" {
			w.mu.Lock()
			w.deposed = true
			w.mu.Unlock()
		}
		return nil
	}
	id := w.claim(ledger.Failover, nil)
	if _, err := run(t, w, "c1", id); err == nil {
		t.Fatal("the first leader was not deposed")
	}
	w.mu.Lock()
	w.before, w.deposed, w.trace = nil, false, nil
	w.mu.Unlock()
	rec, err := run(t, w, "c2", id)
	ended, promoted := slices.Index(w.trace, "lease-ended"), slices.Index(w.trace, "set-writable a")
	if err != nil || !rec.Announced || len(s.asked) != 2 || ended < 0 || promoted < ended {
		t.Errorf("%v, asked %v, %v: %+v", err, s.asked, w.trace, rec)
	}
}

// TestUnreachableProxies: what a proxy that does not answer holds up.
func TestUnreachableProxies(t *testing.T) {
	unknown := []routes.Receipt{{Receiver: "ha1", Answer: routes.Confirmed}, {Receiver: "ha2", Answer: routes.Unknown, Err: errors.New("timeout")}}
	dead := func(m *server) { m.cut, m.down = false, true }
	hung := func(m *server) { m.cut, m.hung = false, true }
	for _, c := range []struct {
		name     string
		policy   policy.Proxies
		old      func(*server)
		lease    bool
		promoted bool
		ended    bool
	}{
		{"fast, dead", policy.ProxiesFast, dead, false, true, false},
		{"fast, hung", policy.ProxiesFast, hung, false, false, false},
		{"fast, hung, with a lease", policy.ProxiesFast, hung, true, true, true},
		{"strict, dead", policy.ProxiesStrict, dead, false, false, false},
		{"strict, dead, with a lease", policy.ProxiesStrict, dead, true, true, true},
		{"strict, cut off, with a lease", policy.ProxiesStrict, func(*server) {}, true, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, s := cutOff(t)
			// Longer than proxies are waited for otherwise.
			s.took = 600 * time.Millisecond
			if !c.lease {
				w.leases = nil
			}
			c.old(w.servers[key("m")])
			w.policy.UnreachableProxies, w.proxies = c.policy, unknown
			rec, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
			if err != nil || rec.Announced != c.promoted || slices.Contains(w.trace, "lease-ended") != c.ended {
				t.Fatalf("%v, %v: %s %s", err, w.trace, rec.Outcome, rec.Message)
			}
		})
	}
}

// TestWinnerThatItsSidecarWouldFenceIsNotPromoted.
func TestWinnerThatItsSidecarWouldFenceIsNotPromoted(t *testing.T) {
	w, s := cutOff(t)
	s.refuses = errors.New("sidecar side-a stands by its fence")
	rec, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
	if err != nil || rec.Announced || !strings.Contains(rec.Message, "stands by its fence") || len(w.writable()) > 1 {
		t.Errorf("%v, writable %v: %+v", err, w.writable(), rec)
	}
}
