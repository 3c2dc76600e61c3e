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
	proxies []routes.Receipt // what the proxies answer; nil: all confirm
	pushed  []routes.Table
	// trace has every effect, in order.
	trace []string
	// before is called with each effect, and may break the world.
	before func(effect string) error
}

type server struct {
	topology.Instance
	// down: nothing listens there; hung: it is frozen.
	down, hung bool
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
	w := &world{t: t, servers: map[topology.Key]*server{}}
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
		Self: self, Policy: func(string) policy.Cluster { return policy.Cluster{Controllers: 1, SemiSync: policy.SemiSyncAuto} },
		ApplyTimeout: time.Second, CatchUpTimeout: 200 * time.Millisecond, RouteTimeout: 250 * time.Millisecond, Now: time.Now,
	}, w, w, w, receivers(func(t routes.Table) []routes.Receipt {
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
		s := w.servers[k]
		o := topology.Observation{Key: k, Reach: topology.ReachRefused}
		switch {
		case s.hung:
			o.Reach = topology.ReachHung
		case !s.down:
			i := s.Instance
			o.Reach, o.Instance = topology.ReachOK, &i
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
		i := srv.Instance
		out := topology.Server{Key: k, Last: &i}
		if i.Replication != nil {
			out.Source = i.Replication.Source
		}
		s.Servers[k] = out
	}
	return s
}

func (w *world) Open(_ context.Context, k topology.Key) (executor.Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.servers[k].down || w.servers[k].hung {
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

func (s *session) WaitApplied(_ context.Context, set gtid.Set) error {
	return s.do("wait-applied", func(i *server) { i.Executed = i.Executed.Union(set) })
}

func (s *session) Detach(context.Context) error {
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

func (s *session) Repoint(_ context.Context, source topology.Key, _ gtid.Set) error {
	return s.do("repoint", func(i *server) {
		i.Replication = &topology.Replication{Source: source, IO: topology.ThreadRunning, SQL: topology.ThreadRunning, UsesGTID: true}
	})
}

func (s *session) EndClients(context.Context) (ended, left int, err error) {
	return 0, 0, s.do("end-clients", func(*server) {})
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
