package executor_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"switchyard/controller/executor"
	"switchyard/controller/gtid"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// world is a pretend cluster with a real ledger, in which each test breaks one
// thing. Real servers are the subject of the end-to-end tests.
type world struct {
	t       *testing.T
	mu      sync.Mutex
	state   ledger.State
	deposed bool
	servers map[topology.Key]*server
	// seen is how each server looked when it was last looked at.
	seen    map[topology.Key]*topology.Instance
	proxies []routes.Receipt // what the proxies answer; nil: all confirm
	pushed  []routes.Table
	// trace has every effect, in order.
	trace  []string
	policy policy.Cluster
	// unseen are the servers of which there is no picture before they are looked
	// at; sights are how those were seen that anybody has looked at.
	unseen map[topology.Key]bool
	sights map[topology.Key]topology.Reach
	// push is what else a table comes to.
	push func()
	// before is called with each effect, and may break the world.
	before func(effect string) error
	// leases are the database sidecars'; nil for none.
	leases executor.Leases
	// tails are what crashed servers wrote last, and torn how much of it the winner gets.
	tails map[topology.Key]executor.Tail
	torn  bool
}

type server struct {
	topology.Instance
	// down: nothing listens there; hung: it is frozen.
	down, hung bool
	// cut: not even its host answers, and it lives on.
	cut bool
}

func (s *server) copy() *topology.Instance {
	i := s.Instance
	if i.Replication != nil {
		r := *i.Replication
		i.Replication = &r
	}
	return &i
}

func key(name string) topology.Key { return topology.Key{Host: name, Port: 3306} }

func set(t *testing.T, text string) gtid.Set {
	t.Helper()
	s, err := gtid.ParseMariaDB(0, text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, servers: map[topology.Key]*server{}, seen: map[topology.Key]*topology.Instance{}}
	w.policy = policy.Cluster{Controllers: 1, SemiSync: policy.SemiSyncAuto, LostDowntime: time.Hour}
	w.add("m", "0-1-100", "")
	w.add("a", "0-1-100", "m")
	w.add("b", "0-1-90", "m")
	w.must(ledger.Bootstrap{ID: "test", Generation: 1})
	w.must(ledger.AdoptMaster{Cluster: "shop", Master: key("m"), At: time.Now()})
	w.must(ledger.RememberServers{Cluster: "shop", At: time.Now(), Servers: []ledger.ServerName{{Key: key("a")}, {Key: key("b")}}})
	return w
}

func (w *world) add(name, executed, source string) {
	s := &server{Instance: topology.Instance{
		Key: key(name), Address: key(name), Flavor: gtid.MariaDB, LogBin: true, LogReplicaUpdates: true, GTIDMode: true,
		Executed: set(w.t, executed),
	}}
	if source != "" {
		s.ReadOnly = true
		s.Replication = &topology.Replication{
			Source: key(source), IO: topology.ThreadRunning, SQL: topology.ThreadRunning, UsesGTID: true, Received: set(w.t, executed),
		}
	}
	w.servers[key(name)] = s
}

func (w *world) must(cmd ledger.Command) {
	w.t.Helper()
	if err := w.Propose(context.Background(), cmd); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) claim(kind ledger.Kind, change func(*ledger.ClaimRecovery)) string {
	w.t.Helper()
	c := w.State().Clusters["shop"]
	cmd := ledger.ClaimRecovery{
		Cluster: "shop", RecoveryKind: kind, Finding: "DeadMaster", Old: c.Master, ExpectEpoch: c.Epoch, Leader: "c1", At: time.Now(),
	}
	if change != nil {
		change(&cmd)
	}
	w.must(cmd)
	return w.State().Clusters["shop"].Recovery
}

func (w *world) executor(self string) *executor.Executor {
	return executor.New(executor.Config{
		Self: self, Policy: func(string) policy.Cluster { return w.policy },
		Tails:        tails{w},
		ApplyTimeout: time.Second, CatchUpTimeout: 200 * time.Millisecond, RouteTimeout: 250 * time.Millisecond, Now: time.Now,
		Leases: w.leases, LeaseTimeout: 100 * time.Millisecond,
	}, w, w, w, receivers(func(t routes.Table) []routes.Receipt {
		if w.push != nil {
			w.push()
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.pushed = append(w.pushed, t)
		if w.proxies != nil {
			return w.proxies
		}
		return []routes.Receipt{{Receiver: "ha1", Answer: routes.Confirmed}}
	}), receivers(func(routes.Table) []routes.Receipt {
		return []routes.Receipt{{Receiver: "dc1", Answer: routes.Confirmed}}
	}),
		slog.New(slog.DiscardHandler))
}

type receivers func(routes.Table) []routes.Receipt

func (r receivers) Push(_ context.Context, t routes.Table) []routes.Receipt { return r(t) }

func (w *world) State() ledger.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

var errDeposed = errors.New("not the leader")

func (w *world) Propose(_ context.Context, cmd ledger.Command) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deposed {
		return errDeposed
	}
	next, _, err := ledger.Apply(w.state, cmd)
	if err == nil {
		w.state = next
	}
	return err
}

func (w *world) ProposeAsync(ctx context.Context, cmd ledger.Command) <-chan error {
	done := make(chan error, 1)
	done <- w.Propose(ctx, cmd)
	return done
}

func (w *world) VerifyLeader(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deposed {
		return errDeposed
	}
	return nil
}

func (w *world) Look(_ context.Context, keys []topology.Key, _ map[topology.Key]bool) topology.View {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := topology.View{Observer: "c1", At: time.Now(), Observations: map[topology.Key]topology.Observation{}}
	for _, k := range keys {
		delete(w.unseen, k)
		s := w.servers[k]
		o := topology.Observation{Key: k, Reach: topology.ReachRefused}
		switch {
		case s.cut:
			o.Reach = topology.ReachTimeout
		case s.hung:
			o.Reach = topology.ReachHung
		case !s.down:
			o.Reach, o.Instance = topology.ReachOK, s.copy()
			w.seen[k] = o.Instance
		}
		v.Observations[k] = o
	}
	return v
}

func (w *world) Snapshot(cluster string, master topology.Key) topology.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := topology.Snapshot{Cluster: cluster, Master: master, Taker: "c1", Servers: map[topology.Key]topology.Server{}}
	for k, srv := range w.servers {
		out := topology.Server{Key: k, Last: srv.copy()}
		if w.unseen[k] {
			s.Servers[k] = topology.Server{Key: k}
			continue
		}
		if srv.Replication != nil {
			out.Source = srv.Replication.Source
		}
		s.Servers[k] = out
	}
	view := topology.View{Observer: "c1", Observations: map[topology.Key]topology.Observation{}}
	for k, reach := range w.sights {
		view.Observations[k] = topology.Observation{Key: k, Reach: reach}
	}
	s.Views = []topology.View{view}
	return s
}

func (w *world) Open(_ context.Context, k topology.Key) (executor.Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.servers[k].down || w.servers[k].hung || w.servers[k].cut {
		return nil, errors.New("no connection")
	}
	return &session{w, k}, nil
}

type session struct {
	w *world
	k topology.Key
}

// do applies one effect to the session's server, unless the test breaks it.
func (s *session) do(effect string, change func(*server)) error {
	s.w.mu.Lock()
	before := s.w.before
	s.w.mu.Unlock()
	effect = effect + " " + s.k.Host
	if before != nil {
		if err := before(effect); err != nil {
			return err
		}
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.w.servers[s.k].down || s.w.servers[s.k].hung {
		return errors.New("connection lost")
	}
	s.w.trace = append(s.w.trace, effect)
	change(s.w.servers[s.k])
	return nil
}

func (s *session) StopReceiver(context.Context) error {
	return s.do("stop-receiver", func(i *server) {
		if i.Replication != nil {
			i.Replication.IO = topology.ThreadStopped
		}
	})
}

func (s *session) StartReplica(context.Context) error {
	return s.do("start-replica", func(i *server) {
		if i.Replication != nil {
			i.Replication.IO = topology.ThreadRunning
		}
	})
}

// WaitApplied ends when the server has all of set: it was received, or its
// receiver gets it. The applier of a delayed one does not get on.
func (s *session) WaitApplied(ctx context.Context, set gtid.Set) error {
	for {
		s.w.mu.Lock()
		i := s.w.servers[s.k]
		has := i.Executed
		if r := i.Replication; r != nil && r.Delay == 0 {
			has = has.Union(r.Received)
			if source := s.w.servers[r.Source]; r.IO == topology.ThreadRunning && !source.down && !source.hung {
				has = has.Union(source.Executed)
			}
		}
		s.w.mu.Unlock()
		if has.Contains(set) {
			return s.do("wait-applied", func(i *server) { i.Executed = i.Executed.Union(set) })
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// Undelay does as MariaDB does: the receiver stays stopped, and replication is by
// position from then on.
func (s *session) Undelay(context.Context) error {
	return s.do("undelay", func(i *server) {
		if i.Replication != nil {
			i.Replication.Delay, i.Replication.IO, i.Replication.UsesGTID = 0, topology.ThreadStopped, false
		}
	})
}

func (s *session) RestartReceiver(context.Context) error {
	return s.do("restart-receiver", func(*server) {})
}

// Detach refuses, as the real one does, what would lose transactions.
func (s *session) Detach(context.Context) error {
	s.w.mu.Lock()
	i := s.w.servers[s.k]
	left := i.Replication != nil && !i.Executed.Contains(i.Received())
	s.w.mu.Unlock()
	if left {
		return errors.New("received transactions are not applied yet")
	}
	return s.do("detach", func(i *server) { i.Replication = nil })
}

func (s *session) SetWritable(context.Context) error {
	return s.do("set-writable", func(i *server) { i.ReadOnly = false })
}

func (s *session) SetReadOnly(context.Context) error {
	return s.do("set-read-only", func(i *server) { i.ReadOnly = true })
}

func (s *session) SetSemiSync(context.Context, executor.SemiSync) error {
	return s.do("semi-sync", func(*server) {})
}

// Repoint refuses, as the real one does, a server with more than its source has.
func (s *session) Repoint(_ context.Context, source topology.Key, holds gtid.Set) error {
	s.w.mu.Lock()
	i := s.w.servers[s.k]
	extra, writable := i.Executed.Subtract(holds), !i.ReadOnly
	s.w.mu.Unlock()
	if writable {
		s.w.t.Errorf("%s is repointed while it is writable", s.k)
	}
	if !holds.IsEmpty() && !extra.IsEmpty() {
		return errors.New("repoint: the server holds " + extra.String())
	}
	return s.do("repoint", func(i *server) {
		i.Replication = &topology.Replication{Source: source, IO: topology.ThreadRunning, SQL: topology.ThreadRunning, UsesGTID: true}
	})
}

// tails are the world's, as the executor sees them.
type tails struct{ *world }

// Has implements executor.Tails.
func (t tails) Has(k topology.Key) bool { _, ok := t.tails[k]; return ok }

// Open implements executor.Tails.
func (t tails) Open(_ context.Context, _ string, k topology.Key, holds gtid.Set) (executor.Tail, error) {
	if t.before != nil {
		if err := t.before("tail " + k.Host); err != nil {
			return executor.Tail{}, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.servers[k]; !s.down && !t.tails[k].Restarted {
		return executor.Tail{}, errors.New("it runs")
	}
	tail := t.tails[k]
	tail.Port = 3308
	tail.Set = tail.Set.Subtract(holds)
	return tail, nil
}

// Take gets all of the tail at once, or the first of it.
func (s *session) Take(_ context.Context, source topology.Key, _, _ string) error {
	s.w.mu.Lock()
	i := s.w.servers[s.k]
	left, tail := i.Replication != nil && !i.Executed.Contains(i.Received()), s.w.tails[key(source.Host)]
	s.w.mu.Unlock()
	if left {
		s.w.t.Errorf("%s takes a tail before it has applied what it received", s.k)
	}
	return s.do("take", func(i *server) {
		i.Replication = &topology.Replication{Source: key(source.Host), IO: topology.ThreadRunning, SQL: topology.ThreadRunning, UsesGTID: true}
		if !s.w.torn {
			i.Replication.Received = i.Executed.Union(tail.Set)
		}
	})
}

func (s *session) EndClients(context.Context) (ended, left int, err error) {
	return 0, 0, s.do("end-clients", func(*server) {})
}

func (s *session) EndWaiters(context.Context) error {
	return s.do("end-waiters", func(i *server) { i.SemiSync.Waiting = 0 })
}

func (s *session) Close() error { return nil }

func (w *world) writable() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for k, s := range w.servers {
		if !s.down && !s.ReadOnly {
			out = append(out, k.Host)
		}
	}
	slices.Sort(out)
	return out
}
