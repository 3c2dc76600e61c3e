//go:build servers

package verbs_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/e2e/stack"
	"switchyard/integrations/mysql/probe"
	"switchyard/integrations/mysql/verbs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantIs(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got %v, want %v", err, target)
	}
}

func newCluster(
	t *testing.T, flavor stack.Flavor, replicas int, options stack.TopologyOptions,
) (context.Context, *stack.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	s, err := stack.New(ctx, stack.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	cluster, err := s.Topology(ctx, flavor, replicas, options)
	must(t, err)
	must(t, cluster.Master.Exec(ctx, "CREATE TABLE app.t (id INT PRIMARY KEY, v INT)", "INSERT INTO app.t VALUES (1, 0)"))
	for _, replica := range cluster.Replicas {
		must(t, stack.WaitCaughtUp(ctx, replica, cluster.Master))
	}
	return ctx, cluster
}

func config() verbs.Config {
	account, repl := stack.ControllerAccount(), stack.ReplicationAccount()
	return verbs.Config{
		User: account.User, Password: func() string { return account.Password },
		Replication: verbs.Replication{
			User: repl.User, Password: func() string { return repl.Password }, HeartbeatPeriod: 500 * time.Millisecond,
		},
	}
}

func key(t *testing.T, server *stack.Server) topology.Key {
	t.Helper()
	k, err := topology.ParseKey(server.Key())
	must(t, err)
	return k
}

func open(t *testing.T, ctx context.Context, server *stack.Server) *verbs.Session {
	t.Helper()
	s, err := verbs.New(config(), nil).Open(ctx, key(t, server))
	must(t, err)
	t.Cleanup(func() { _ = s.Close() }) // some tests lose it on purpose
	return s
}

func look(t *testing.T, ctx context.Context, server *stack.Server) *topology.Instance {
	t.Helper()
	account := stack.ControllerAccount()
	p := probe.New(probe.Config{User: account.User, Password: func() string { return account.Password }}, nil)
	defer p.Close()
	i, err := p.Probe(ctx, key(t, server))
	must(t, err)
	return i
}

func flavors(t *testing.T, test func(*testing.T, stack.Flavor)) {
	for _, flavor := range stack.Flavors() {
		t.Run(string(flavor), func(t *testing.T) { test(t, flavor) })
	}
}

func eventually(t *testing.T, ctx context.Context, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func value(t *testing.T, ctx context.Context, server *stack.Server, query string) string {
	t.Helper()
	v, err := server.Value(ctx, query)
	must(t, err)
	return v
}

func waitValue(t *testing.T, ctx context.Context, server *stack.Server, query, want string) {
	t.Helper()
	eventually(t, ctx, func() error {
		got, err := server.Value(ctx, query)
		if err == nil && got != want {
			err = fmt.Errorf("%s: got %q, want %q", query, got, want)
		}
		return err
	})
}

// twice runs a verb, and again: each verb is idempotent.
func twice(t *testing.T, what string, verb func() error) {
	t.Helper()
	for range 2 {
		if err := verb(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// dumps counts the connections that receive from server, by id.
func dumps(t *testing.T, ctx context.Context, server *stack.Server) string {
	t.Helper()
	return value(t, ctx, server, "SELECT GROUP_CONCAT(ID ORDER BY ID) FROM information_schema.PROCESSLIST "+
		"WHERE COMMAND LIKE 'Binlog Dump%'")
}

// TestTakeover takes a topology through a switchover by verbs alone.
func TestTakeover(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 2, stack.TopologyOptions{})
		old, winner, other := cluster.Master, cluster.Replicas[0], cluster.Replicas[1]
		sOld, sWinner, sOther := open(t, ctx, old), open(t, ctx, winner), open(t, ctx, other)

		twice(t, "read-only", func() error { return sOld.SetReadOnly(ctx) })
		if i := look(t, ctx, old); !i.ReadOnly || i.SuperReadOnly != (flavor == stack.MySQL) {
			t.Errorf("the old master: %+v", i)
		}
		all := look(t, ctx, old).Executed
		twice(t, "wait", func() error { return sWinner.WaitApplied(ctx, all) })
		twice(t, "stop receiver", func() error { return sWinner.StopReceiver(ctx) })
		r := look(t, ctx, winner).Replication
		if r.IO != topology.ThreadStopped || r.SQL != topology.ThreadRunning {
			t.Errorf("after the receiver was stopped: %+v", r)
		}
		twice(t, "detach", func() error { return sWinner.Detach(ctx) })
		twice(t, "writable", func() error { return sWinner.SetWritable(ctx) })
		i := look(t, ctx, winner)
		if i.Replication != nil || i.ReadOnly || i.SuperReadOnly || !i.Executed.Contains(all) {
			t.Errorf("the winner: %+v", i)
		}
		must(t, winner.Exec(ctx, "INSERT INTO app.t VALUES (2, 0)"))

		for _, s := range []*verbs.Session{sOther, sOld} {
			must(t, s.Repoint(ctx, key(t, winner), look(t, ctx, winner).Executed))
		}
		newest := look(t, ctx, winner).Executed
		for _, server := range []*stack.Server{other, old} {
			must(t, open(t, ctx, server).WaitApplied(ctx, newest))
			checkPointer(t, ctx, flavor, server, winner)
		}
		eventually(t, ctx, func() error {
			if n := len(look(t, ctx, winner).Replicas); n != 2 {
				return fmt.Errorf("the winner has %d replicas", n)
			}
			return nil
		})
		// Done already: nobody reconnects.
		before := dumps(t, ctx, winner)
		must(t, open(t, ctx, other).Repoint(ctx, key(t, winner), gtid.Set{}))
		if after := dumps(t, ctx, winner); after != before {
			t.Errorf("a second repoint reconnected: dump threads %s, then %s", before, after)
		}
		// Other options are reason enough to do it again.
		cfg := config()
		cfg.Replication.HeartbeatPeriod = 2 * time.Second
		s, err := verbs.New(cfg, nil).Open(ctx, key(t, other))
		must(t, err)
		must(t, s.Repoint(ctx, key(t, winner), gtid.Set{}))
		if got := look(t, ctx, other).Replication.HeartbeatPeriod; got != 2*time.Second {
			t.Errorf("heartbeat period %v, want 2 s", got)
		}
		must(t, s.Close())
	})
}

func checkPointer(t *testing.T, ctx context.Context, flavor stack.Flavor, server, source *stack.Server) {
	t.Helper()
	i := look(t, ctx, server)
	r := i.Replication
	if r == nil || r.Source != key(t, source) || !r.UsesGTID || r.SQL != topology.ThreadRunning ||
		r.HeartbeatPeriod != 500*time.Millisecond || !i.ReadOnly {
		t.Errorf("%s: %+v, replication %+v", server.Name(), i, r)
	}
	if got := value(t, ctx, server, "SELECT COUNT(*) FROM app.t"); got != "2" {
		t.Errorf("%s has %s rows, want 2", server.Name(), got)
	}
	if flavor == stack.MySQL {
		got := value(t, ctx, server,
			"SELECT CONCAT_WS('/', CONNECTION_RETRY_INTERVAL, CONNECTION_RETRY_COUNT, GET_PUBLIC_KEY) "+
				"FROM performance_schema.replication_connection_configuration")
		if got != "1/86400/YES" {
			t.Errorf("%s: retry and public key are %s", server.Name(), got)
		}
	}
}

func TestRepointRefusesWhatDiverged(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 2, stack.TopologyOptions{})
		odd, other := cluster.Replicas[0], cluster.Replicas[1]
		holds := look(t, ctx, other).Executed
		must(t, odd.Exec(ctx, "CREATE TABLE app.errant (id INT)"))
		err := open(t, ctx, odd).Repoint(ctx, key(t, other), holds)
		wantIs(t, err, verbs.ErrDiverged)
		if r := look(t, ctx, odd).Replication; r.Source != key(t, cluster.Master) || r.SQL != topology.ThreadRunning {
			t.Errorf("the refusal changed the replica: %+v", r)
		}
	})
}

func TestPredecessorIsEnded(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{})
		replica := cluster.Replicas[0]
		first := open(t, ctx, replica)
		second := open(t, ctx, replica)
		if err := first.SetWritable(ctx); err == nil {
			t.Error("the predecessor still acts")
		}
		must(t, second.SetReadOnly(ctx))
		must(t, second.Close())
		third := open(t, ctx, replica)
		must(t, third.Close())
		if got := value(t, ctx, replica, "SELECT IS_FREE_LOCK('switchyard.executor')"); got != "1" {
			t.Errorf("after Close the lock is held: IS_FREE_LOCK is %s", got)
		}
		if err := third.SetWritable(ctx); err == nil {
			t.Error("a closed session acts")
		}
	})
}

// TestFrozen holds that no verb outlives its context.
func TestFrozen(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{})
		replica := cluster.Replicas[0]
		all := look(t, ctx, replica).Executed
		all = all.Union(look(t, ctx, cluster.Master).Executed)
		list := map[string]func(context.Context, *verbs.Session) error{
			"StopReceiver": func(ctx context.Context, s *verbs.Session) error { return s.StopReceiver(ctx) },
			"WaitApplied":  func(ctx context.Context, s *verbs.Session) error { return s.WaitApplied(ctx, all) },
			"Detach":       func(ctx context.Context, s *verbs.Session) error { return s.Detach(ctx) },
			"SetWritable":  func(ctx context.Context, s *verbs.Session) error { return s.SetWritable(ctx) },
			"SetReadOnly":  func(ctx context.Context, s *verbs.Session) error { return s.SetReadOnly(ctx) },
			"SetSemiSync": func(ctx context.Context, s *verbs.Session) error {
				return s.SetSemiSync(ctx, verbs.SemiSync{})
			},
			"Repoint": func(ctx context.Context, s *verbs.Session) error {
				return s.Repoint(ctx, topology.Key{Host: "127.0.0.1", Port: 1}, gtid.Set{})
			},
			"StartReplica": func(ctx context.Context, s *verbs.Session) error { return s.StartReplica(ctx) },
			"EndClients": func(ctx context.Context, s *verbs.Session) error {
				_, _, err := s.EndClients(ctx)
				return err
			},
			"Close": func(_ context.Context, s *verbs.Session) error {
				_ = s.Close() // the server gives the lock back when it sees the end of the connection
				return context.DeadlineExceeded
			},
			"Open": func(ctx context.Context, _ *verbs.Session) error {
				_, err := verbs.New(config(), nil).Open(ctx, key(t, replica))
				return err
			},
		}
		for name, verb := range list {
			s := open(t, ctx, replica)
			freeze(t, ctx, replica)
			short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			begun := time.Now()
			err := verb(short, s)
			cancel()
			if took := time.Since(begun); took > time.Minute {
				t.Errorf("%s took %v with 200 ms", name, took)
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v", name, err)
			}
			must(t, replica.Thaw())
		}
	})
}

// freeze returns when the server does not answer any more: the signal takes a
// moment to reach all of its threads.
func freeze(t *testing.T, ctx context.Context, server *stack.Server) {
	t.Helper()
	must(t, server.Freeze())
	eventually(t, ctx, func() error {
		short, cancel := context.WithTimeout(ctx, time.Second) // a busy server takes some of it
		defer cancel()
		account := stack.ControllerAccount()
		p := probe.New(probe.Config{User: account.User, Password: func() string { return account.Password }}, nil)
		defer p.Close()
		if _, err := p.Probe(short, key(t, server)); err != nil {
			return nil
		}
		return errors.New("the server still answers")
	})
}
