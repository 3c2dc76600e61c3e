package rejoin_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"switchyard/controller/executor"
	"switchyard/controller/gtid"
	"switchyard/controller/rejoin"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// world is a pretend cluster with a real ledger: m was deposed, a is the master
// of epoch 2, and b replicates from a.
type world struct {
	t       *testing.T
	mu      sync.Mutex
	state   ledger.State
	now     time.Time
	deposed bool // this controller no longer leads
	semi    bool
	servers map[topology.Key]*server
	// trace has every effect on a server, in order.
	trace []string
	// before is called with each effect, and may fail it.
	before func(effect string) error
	// after is called once a server was looked at.
	after func(name string)
}

type server struct {
	topology.Instance
	down    bool
	clients int
}

func key(name string) topology.Key { return topology.Key{Host: name, Port: 3306} }

// start is the moment at which every world begins.
var start = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: start, servers: map[topology.Key]*server{}}
	w.add("m", 1, "0-1-100", "")
	w.add("a", 2, "0-1-100,0-2-110", "")
	w.add("b", 3, "0-1-100,0-2-110", "a")
	w.must(ledger.Bootstrap{ID: "test", Generation: 1})
	w.must(ledger.AdoptMaster{Cluster: "shop", Master: key("m"), At: w.now})
	w.must(ledger.RememberServers{Cluster: "shop", At: w.now, Servers: []ledger.ServerName{{Key: key("a")}, {Key: key("b")}}})
	w.must(ledger.ClaimRecovery{
		Cluster: "shop", RecoveryKind: ledger.Failover, Finding: "DeadMaster", Old: key("m"), Leader: "c1", At: w.now,
		ExpectEpoch: w.State().Clusters["shop"].Epoch,
	})
	w.must(ledger.ChooseWinner{Recovery: "shop-2", Winner: key("a"), At: w.now})
	w.must(ledger.Announce{Recovery: "shop-2", At: w.now})
	w.must(ledger.CloseRecovery{Recovery: "shop-2", Outcome: ledger.Completed, At: w.now})
	return w
}

func (w *world) add(name string, id uint32, executed, source string) {
	s := &server{Instance: topology.Instance{
		Key: key(name), Address: key(name), Flavor: gtid.MariaDB, ServerID: id, ReadOnly: source != "",
	}}
	w.servers[key(name)] = s
	w.holds(name, executed)
	if source != "" {
		s.Replication = &topology.Replication{Source: key(source), IO: topology.ThreadRunning, SQL: topology.ThreadRunning}
	}
}

// holds sets what a server has executed.
func (w *world) holds(name, executed string) {
	w.t.Helper()
	s := w.servers[key(name)]
	set, err := gtid.ParseMariaDB(s.ServerID, executed)
	if err != nil {
		w.t.Fatal(err)
	}
	s.Executed = set
}

func (w *world) must(cmd ledger.Command) {
	w.t.Helper()
	if err := w.Propose(context.Background(), cmd); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) rejoiner() *rejoin.Rejoiner {
	return rejoin.New(rejoin.Config{
		SemiSync: func(string) bool { return w.semi },
		Address:  func(k topology.Key) topology.Key { return topology.Key{Host: "addr-" + k.Host, Port: k.Port} },
		Now: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.now
		},
	}, w, w, w, slog.New(slog.DiscardHandler))
}

func (w *world) cluster() ledger.Cluster { return w.State().Clusters["shop"] }

func (w *world) standing(name string) ledger.Server { return w.State().Servers[key(name)] }

// snapshot is the picture that the loop hands over: b is seen, as are all that
// are not down.
func (w *world) snapshot() topology.Snapshot {
	s := topology.Snapshot{Cluster: "shop", Master: key("a"), Taker: "c1", Servers: map[topology.Key]topology.Server{}}
	var keys []topology.Key
	for k, srv := range w.servers {
		i := srv.Instance
		out := topology.Server{Key: k, Last: &i}
		if i.Replication != nil {
			out.Source = i.Replication.Source
		}
		s.Servers[k] = out
		keys = append(keys, k)
	}
	s.Views = []topology.View{w.Look(context.Background(), keys, nil)}
	return s
}

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
	v := topology.View{Observer: "c1", At: w.now, Observations: map[topology.Key]topology.Observation{}}
	for _, k := range keys {
		o := topology.Observation{Key: k, Reach: topology.ReachRefused}
		if s := w.servers[k]; s != nil && !s.down {
			i := s.Instance
			o.Reach, o.Instance = topology.ReachOK, &i
		}
		v.Observations[k] = o
		if w.after != nil {
			w.after(k.Host)
		}
	}
	return v
}

func (w *world) Open(_ context.Context, address topology.Key) (executor.Session, error) {
	name, ok := strings.CutPrefix(address.Host, "addr-")
	if !ok {
		w.t.Errorf("%s is a name and not an address", address)
	}
	s := &session{w, key(name)}
	return s, s.do("open", func(*server) {})
}

type session struct {
	w *world
	k topology.Key
}

// do applies one effect to the session's server, unless the test fails it.
func (s *session) do(effect string, change func(*server)) error {
	effect += " " + s.k.Host
	if s.w.before != nil {
		if err := s.w.before(effect); err != nil {
			return err
		}
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
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

func (s *session) SetReadOnly(context.Context) error {
	return s.do("set-read-only", func(i *server) { i.ReadOnly = true })
}

func (s *session) EndClients(context.Context) (ended, left int, err error) {
	err = s.do("end-clients", func(i *server) { ended, left, i.clients = i.clients, 0, 0 })
	return ended, left, err
}

func (s *session) SetSemiSync(_ context.Context, want executor.SemiSync) error {
	master := s.k == s.w.cluster().Master
	if want.Source != master || want.Replica == master {
		s.w.t.Errorf("semi-sync of %s: %+v", s.k, want)
	}
	return s.do("semi-sync", func(i *server) {
		i.SemiSync.SourceEnabled, i.SemiSync.ReplicaEnabled, i.SemiSync.WaitCount = want.Source, want.Replica, want.WaitCount
	})
}

// Repoint refuses, as the real one does, what would lose transactions.
func (s *session) Repoint(_ context.Context, source topology.Key, holds gtid.Set) error {
	s.w.mu.Lock()
	extra := s.w.servers[s.k].Executed.Subtract(holds)
	s.w.mu.Unlock()
	if holds.IsEmpty() || !extra.IsEmpty() {
		return errors.New("repoint: the server holds " + extra.String())
	}
	return s.do("repoint", func(i *server) {
		i.Replication = &topology.Replication{Source: source, IO: topology.ThreadRunning, SQL: topology.ThreadRunning}
	})
}

func (s *session) unexpected(verb string) error {
	s.w.t.Errorf("%s on %s", verb, s.k)
	return errors.New("unexpected")
}

func (s *session) StartReplica(context.Context) error          { return s.unexpected("start-replica") }
func (s *session) WaitApplied(context.Context, gtid.Set) error { return s.unexpected("wait-applied") }
func (s *session) Undelay(context.Context) error               { return s.unexpected("undelay") }
func (s *session) RestartReceiver(context.Context) error       { return s.unexpected("restart-receiver") }
func (s *session) Detach(context.Context) error                { return s.unexpected("detach") }
func (s *session) SetWritable(context.Context) error           { return s.unexpected("set-writable") }
func (s *session) Take(context.Context, topology.Key, string, string) error {
	return s.do("take", func(*server) {})
}

func (s *session) EndWaiters(context.Context) error {
	return s.do("end-waiters", func(i *server) { i.SemiSync.Waiting = 0 })
}

func (s *session) Close() error { return s.do("close", func(*server) {}) }

// check compares the effects since the last check.
func (w *world) check(want ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.trace, want) {
		w.t.Errorf("effects:\n got %v\nwant %v", w.trace, want)
	}
	w.trace = nil
}
