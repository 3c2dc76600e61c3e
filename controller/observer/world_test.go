package observer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/discovery"
	"switchyard/controller/gtid"
	"switchyard/controller/observer"
	"switchyard/controller/topology"
)

// reachError is what the real prober's errors are to the observer.
type reachError struct{ reach topology.Reach }

func (e reachError) Error() string         { return "it is " + string(e.reach) }
func (e reachError) Reach() topology.Reach { return e.reach }

// world is a Prober over pretend servers, for the timing alone.
type world struct {
	mu      sync.Mutex
	servers map[topology.Key]*pretend
	calls   []call
	holds   map[topology.Key]int
}

type call struct {
	address topology.Key
	fresh   bool
	begun   time.Time
}

type pretend struct {
	instance topology.Instance
	// down fails every attempt at once; frozen makes every attempt wait for the
	// end of its context, and stuck only those on the kept connection.
	down          topology.Reach
	frozen, stuck bool
	took          time.Duration
	beats         int // with ticking, one more for each probe
	ticking       bool
	trip          chan topology.TripEnd
	refuseHold    bool
}

func (w *world) Probe(ctx context.Context, a topology.Key) (*topology.Instance, error) {
	return w.probe(ctx, a, false)
}

func (w *world) ProbeFresh(ctx context.Context, a topology.Key) (*topology.Instance, error) {
	return w.probe(ctx, a, true)
}

func (w *world) probe(ctx context.Context, a topology.Key, fresh bool) (*topology.Instance, error) {
	w.mu.Lock()
	w.calls = append(w.calls, call{a, fresh, time.Now()})
	s := w.servers[a]
	if s == nil {
		w.mu.Unlock()
		return nil, fmt.Errorf("probe: %w", reachError{topology.ReachUnresolved})
	}
	down, hang, took := s.down, s.frozen || s.stuck && !fresh, s.took
	w.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, fmt.Errorf("probe: %w", reachError{topology.ReachTimeout})
	}
	select {
	case <-time.After(took):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if down != "" {
		return nil, fmt.Errorf("probe: %w", reachError{down})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	out := s.instance
	if out.Replication != nil {
		r := *out.Replication
		if s.ticking {
			s.beats++
		}
		r.Heartbeat = fmt.Sprint(s.beats)
		out.Replication = &r
	}
	return &out, nil
}

func (w *world) Hold(ctx context.Context, a topology.Key) (topology.TripEnd, error) {
	w.mu.Lock()
	s := w.servers[a]
	if s == nil || s.down != "" || s.refuseHold {
		w.mu.Unlock()
		return topology.TripEnd{}, errors.New("cannot be armed")
	}
	w.holds[a]++
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.holds[a]--
	}()
	select {
	case end := <-s.trip:
		return end, nil
	case <-ctx.Done():
		return topology.TripEnd{}, ctx.Err()
	}
}

func (w *world) Forget(topology.Key) {}

func (w *world) change(name string, do func(*pretend)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do(w.servers[k(name)])
}

func (w *world) held() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for a, n := range w.holds {
		for range n {
			out = append(out, a.Host)
		}
	}
	slices.Sort(out)
	return out
}

func (w *world) callsTo(name string) []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.calls), func(c call) bool { return c.address != k(name) })
}

func k(host string) topology.Key { return topology.Key{Host: host, Port: 3306} }

// add puts a server into the world, a replica of source unless that is empty.
func (w *world) add(host, source string) *pretend {
	id := uint32(len(w.servers) + 1)
	s := &pretend{trip: make(chan topology.TripEnd), took: time.Millisecond, ticking: true}
	s.instance = topology.Instance{
		Flavor: gtid.MySQL, UUID: fmt.Sprint("uuid-", id), ServerID: id, Hostname: host, ReportHost: host, ReportPort: 3306,
		ReadOnly: source != "",
	}
	if source != "" {
		s.instance.Replication = &topology.Replication{
			Source: k(source), IO: topology.ThreadRunning, SQL: topology.ThreadRunning, HeartbeatPeriod: 500 * time.Millisecond,
		}
		if master := w.servers[k(source)]; master != nil {
			master.instance.Replicas = append(master.instance.Replicas, k(host))
		}
	}
	w.servers[k(host)] = s
	return s
}

func newWorld() *world {
	return &world{servers: map[topology.Key]*pretend{}, holds: map[topology.Key]int{}}
}

// trio is a master with two replicas.
func trio() *world {
	w := newWorld()
	w.add("db1", "")
	w.add("db2", "db1")
	w.add("db3", "db1")
	return w
}

// noDNS is a resolver that knows nothing.
type noDNS struct{}

var errNoDNS = errors.New("no DNS here")

func (noDNS) LookupHost(context.Context, string) ([]string, error) { return nil, errNoDNS }
func (noDNS) LookupCNAME(context.Context, string) (string, error)  { return "", errNoDNS }
func (noDNS) LookupAddr(context.Context, string) ([]string, error) { return nil, errNoDNS }

// watching is an observer that runs in a bubble of its own, where time passes
// only while everybody waits.
type watching struct {
	*observer.Observer
	*world
	// skew is added to the clock that the observer is given.
	skew time.Duration
}

func watch(t *testing.T, w *world, cfg observer.Config, names discovery.Config, test func(*testing.T, *watching)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		names.Seeds = cfg.Seeds
		for _, s := range w.servers {
			s.trip = make(chan topology.TripEnd) // a channel belongs to its bubble
		}
		n, err := discovery.New(names, noDNS{})
		if err != nil {
			t.Fatal(err)
		}
		v := &watching{world: w}
		now := func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return time.Now().Add(v.skew)
		}
		cfg.ID = "c1"
		cfg.Seeds = n.Seeds()
		v.Observer = observer.New(cfg, w, n, now, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- v.Run(ctx) }()
		test(t, v)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the run ended with %v", err)
		}
	})
}

func (v *watching) jump(d time.Duration) {
	v.world.mu.Lock()
	defer v.world.mu.Unlock()
	v.skew += d
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d) // the bubble's own time
	synctest.Wait()
}

// suspicion waits for the next one.
func (v *watching) suspicion(t *testing.T, within time.Duration, why string) observer.Suspicion {
	t.Helper()
	select {
	case s := <-v.Suspicions():
		if !strings.Contains(s.Why, why) {
			t.Errorf("suspicion %q, want one of %q", s.Why, why)
		}
		return s
	case <-time.After(within):
		t.Fatalf("no suspicion within %s, want one of %q", within, why)
		return observer.Suspicion{}
	}
}

func (v *watching) calm(t *testing.T, during time.Duration) {
	t.Helper()
	select {
	case s := <-v.Suspicions():
		t.Errorf("unexpected suspicion %+v", s)
	case <-time.After(during):
	}
}

func hosts(keys []topology.Key) string {
	var out []string
	for _, key := range keys {
		out = append(out, key.Host)
	}
	return strings.Join(out, " ")
}
