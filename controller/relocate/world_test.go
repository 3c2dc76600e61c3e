package relocate_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"switchyard/controller/candidate"
	"switchyard/controller/executor"
	"switchyard/controller/gtid"
	"switchyard/controller/policy"
	"switchyard/controller/relocate"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// world is a pretend cluster with a real ledger: below the master m are the
// intermediate master i and the replica s, and below i are r1, r2 and r3.
type world struct {
	t       *testing.T
	mu      sync.Mutex
	state   ledger.State
	now     time.Time
	deposed bool
	policy  policy.Cluster
	servers map[topology.Key]*server
	// sources is the order in which orphans are offered sources; nil is to judge
	// by the real rules.
	sources []string
	// flaps are the servers that stop receiving once they were looked at.
	flaps map[topology.Key]bool
	trace []string
	// before is called with each effect, and may break it.
	before func(effect string) error
}

type server struct {
	topology.Instance
	down bool
	// purged: it no longer has what others need.
	purged bool
	// stalled is for how long it has heard nothing, whatever it says.
	stalled time.Duration
	// still is for how long its binary log has not moved.
	still time.Duration
}

func key(name string) topology.Key { return topology.Key{Host: name, Port: 3306} }

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), servers: map[topology.Key]*server{}}
	w.policy = policy.Cluster{Controllers: 1, MinStall: time.Second}
	w.add("m", "0-1-100", "")
	w.add("i", "0-1-100", "m")
	w.add("s", "0-1-100", "m")
	w.add("r1", "0-1-100", "i")
	w.add("r2", "0-1-90", "i")
	w.add("r3", "0-1-95", "i")
	w.must(ledger.Bootstrap{ID: "test", Generation: 1})
	w.must(ledger.AdoptMaster{Cluster: "shop", Master: key("m"), At: w.now})
	for _, name := range []string{"i", "s", "r1", "r2", "r3"} {
		w.must(ledger.RememberServers{Cluster: "shop", At: w.now, Servers: []ledger.ServerName{{Key: key(name)}}})
	}
	return w
}

func (w *world) add(name, executed, source string) {
	s := &server{Instance: topology.Instance{
		Key: key(name), Address: key(name), Flavor: gtid.MariaDB, ServerID: uint32(len(w.servers) + 1), LogBin: true,
		LogReplicaUpdates: true, GTIDMode: true, BinlogFormat: "ROW", Version: "10.11.6-MariaDB", Executed: w.set(executed),
	}}
	s.SemiSync.Available = true
	if source != "" {
		s.ReadOnly = true
		s.Replication = &topology.Replication{
			Source: key(source), IO: topology.ThreadRunning, SQL: topology.ThreadRunning, UsesGTID: true,
			Received: w.set(executed), HeartbeatPeriod: 100 * time.Millisecond,
		}
	}
	w.servers[key(name)] = s
}

func (w *world) set(text string) gtid.Set {
	w.t.Helper()
	s, err := gtid.ParseMariaDB(0, text)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) must(cmd ledger.Command) {
	w.t.Helper()
	if err := w.Propose(context.Background(), cmd); err != nil {
		w.t.Fatal(err)
	}
}

// kill ends a server, and the connections that its replicas have to it.
func (w *world) kill(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers[key(name)].down = true
	for _, s := range w.servers {
		if s.Replication != nil && s.Replication.Source == key(name) {
			s.Replication.IO = topology.ThreadConnecting
		}
	}
}

func (w *world) open(change func(*ledger.OpenRelocation)) string {
	w.t.Helper()
	cmd := ledger.OpenRelocation{
		Cluster: "shop", Finding: "DeadIntermediateMaster", Automatic: true, Subject: key("i"), Leader: "c1", At: w.now,
	}
	if change != nil {
		change(&cmd)
	}
	w.must(cmd)
	return w.cluster().Relocation
}

func (w *world) cluster() ledger.Cluster { return w.State().Clusters["shop"] }

func (w *world) relocator(self string) *relocate.Relocator {
	return relocate.New(relocate.Config{
		Self: self, Policy: func(string) policy.Cluster { return w.policy }, Sources: w.order,
		Settle: 20 * time.Millisecond, ApplyTimeout: time.Second, Now: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.now = w.now.Add(time.Millisecond)
			return w.now
		},
	}, w, w, w, slog.New(slog.DiscardHandler))
}

func (w *world) order(topology.Snapshot, topology.Key, topology.Key, policy.Cluster) candidate.Ranking {
	var out candidate.Ranking
	for _, name := range w.sources {
		out.Order = append(out.Order, candidate.Choice{Key: key(name), Reason: "the test says so"})
	}
	return out
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
	v := topology.View{Observer: "c1", At: w.now, Observations: map[topology.Key]topology.Observation{}}
	for _, k := range keys {
		o := topology.Observation{Key: k, Reach: topology.ReachRefused}
		if s := w.servers[k]; !s.down {
			o.Reach, o.Instance, o.Stalled = topology.ReachOK, s.copy(), s.stalled
			if w.flaps[k] && s.Replication != nil {
				s.Replication.IO = topology.ThreadConnecting
			}
			o.Still = s.still
		}
		v.Observations[k] = o
	}
	return v
}

func (s *server) copy() *topology.Instance {
	i := s.Instance
	if i.Replication != nil {
		r := *i.Replication
		i.Replication = &r
	}
	return &i
}

func (w *world) Snapshot(cluster string, master topology.Key) topology.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := topology.Snapshot{Cluster: cluster, Master: master, Taker: "c1", Servers: map[topology.Key]topology.Server{}}
	for k, srv := range w.servers {
		out := topology.Server{Key: k, Last: srv.copy(), LastSeen: w.now}
		if srv.Replication != nil {
			out.Source = srv.Replication.Source
		}
		s.Servers[k] = out
	}
	return s
}

// pictured is the snapshot that the loop hands over.
func (w *world) pictured() topology.Snapshot {
	s := w.Snapshot("shop", w.cluster().Master)
	s.Downtimed = executor.Downtimed(w.State(), "shop", w.now)
	s.Views = []topology.View{w.Look(context.Background(), s.Keys(), nil)}
	return s
}

func (w *world) Open(_ context.Context, k topology.Key) (executor.Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.servers[k].down {
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
	if s.w.servers[s.k].down {
		return errors.New("connection lost")
	}
	s.w.trace = append(s.w.trace, effect)
	change(s.w.servers[s.k])
	return nil
}

// connect is what a receiver meets at its source.
func (w *world) connect(i *server) {
	source := w.servers[i.Replication.Source]
	r := i.Replication
	r.IO, r.IOErrno, r.IOError = topology.ThreadRunning, 0, ""
	switch {
	case source.down:
		r.IO, r.IOErrno, r.IOError = topology.ThreadConnecting, 2003, "cannot connect"
	case source.purged:
		r.IO, r.IOErrno, r.IOError = topology.ThreadStopped, 1236, "the source has purged what is needed"
	}
	i.stalled = 0
}

func (s *session) StopReceiver(context.Context) error {
	return s.do("stop-receiver", func(i *server) {
		if i.Replication != nil {
			i.Replication.IO = topology.ThreadStopped
		}
	})
}

func (s *session) StartReplica(context.Context) error {
	return s.do("start-replica", func(i *server) { s.w.connect(i) })
}

func (s *session) WaitApplied(_ context.Context, set gtid.Set) error {
	return s.do("wait-applied", func(i *server) { i.Executed = i.Executed.Union(set) })
}

// Detach refuses, as the real one does, what would lose transactions.
func (s *session) Detach(context.Context) error {
	s.w.mu.Lock()
	i := s.w.servers[s.k]
	left := i.Replication != nil && !i.Executed.Contains(i.Replication.Received)
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

func (s *session) SetSemiSync(_ context.Context, want executor.SemiSync) error {
	effect := "semi-sync-off"
	if want.Replica {
		effect = "semi-sync-on"
	}
	return s.do(effect, func(i *server) {
		i.SemiSync.ReplicaEnabled, i.SemiSync.SourceEnabled = want.Replica, want.Source
	})
}

func (s *session) Undelay(context.Context) error {
	return s.do("undelay", func(i *server) { i.Replication.Delay = 0 })
}

func (s *session) RestartReceiver(context.Context) error {
	return s.do("restart-receiver", func(*server) {})
}

// Repoint refuses, as the real one does, what would lose transactions.
func (s *session) Repoint(_ context.Context, source topology.Key, holds gtid.Set) error {
	s.w.mu.Lock()
	extra := s.w.servers[s.k].Executed.Subtract(holds)
	s.w.mu.Unlock()
	if !holds.IsEmpty() && !extra.IsEmpty() {
		return errors.New("repoint: the server holds " + extra.String())
	}
	return s.do("repoint", func(i *server) {
		if i.Replication == nil {
			i.Replication = &topology.Replication{UsesGTID: true}
		}
		i.Replication.Source, i.Replication.SQL = source, topology.ThreadRunning
		s.w.connect(i)
		s.w.ringless(s.k)
	})
}

// ringless fails the test where a server gets its data from itself.
func (w *world) ringless(k topology.Key) {
	at := k
	for range len(w.servers) {
		r := w.servers[at].Replication
		if r == nil {
			return
		}
		if at = r.Source; at == k {
			w.t.Errorf("%s replicates in a ring", k)
			return
		}
	}
}

func (s *session) EndClients(context.Context) (ended, left int, err error) {
	return 0, 0, s.do("end-clients", func(*server) {})
}

func (s *session) Take(context.Context, topology.Key, string, string) error {
	return s.do("take", func(*server) {})
}

func (s *session) EndWaiters(context.Context) error {
	return s.do("end-waiters", func(i *server) { i.SemiSync.Waiting = 0 })
}

func (s *session) Close() error { return nil }

// below says whom each of the servers replicates from, in order.
func (w *world) below(names ...string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, name := range names {
		to := "nobody"
		if r := w.servers[key(name)].Replication; r != nil {
			to = r.Source.Host
			if r.IO != topology.ThreadRunning {
				to += "?"
			}
		}
		out = append(out, name+"<"+to)
	}
	return strings.Join(out, " ")
}

// effects returns the effects since it was asked last, in order of their names.
func (w *world) effects() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.trace
	w.trace = nil
	slices.Sort(out)
	return out
}
