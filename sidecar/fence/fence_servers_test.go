//go:build servers && linux

package fence_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchyard/controller/topology"
	"switchyard/e2e/stack"
	"switchyard/integrations/mysql/verbs"
	"switchyard/sidecar/fence"
)

// The sidecar has an account of its own, with the least that a fence needs.
const sidecarUser, sidecarPassword = "sidecar", "stack-sidecar"

func sidecarGrants(flavor stack.Flavor) []string {
	create, to := fmt.Sprintf("CREATE USER '%s'@'localhost' IDENTIFIED BY '%s'", sidecarUser, sidecarPassword), " TO 'sidecar'@'localhost'"
	switch flavor {
	case stack.MariaDB:
		return []string{create, "GRANT PROCESS, CONNECTION ADMIN, READ_ONLY ADMIN ON *.*" + to}
	case stack.MySQL:
		return []string{
			create, "GRANT PROCESS ON *.*" + to, "GRANT SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN ON *.*" + to,
			"GRANT SELECT ON performance_schema.processlist" + to,
		}
	default:
		return []string{create, "GRANT SUPER, PROCESS ON *.*" + to}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// site is a master with its replica and the hands beside it.
type site struct {
	t       *testing.T
	ctx     context.Context
	master  *stack.Server
	replica *stack.Server
	process *fence.Process
	fencer  *fence.Fencer
}

type opener struct {
	verbs *verbs.Opener
	name  topology.Key
}

func (o opener) Open(ctx context.Context) (fence.Session, error) {
	local, err := o.verbs.OpenLocal(ctx, o.name)
	if err != nil {
		return nil, err // not a *Local that is nil
	}
	return local, nil
}

func newSite(t *testing.T, flavor stack.Flavor, semiSync bool) *site {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	s, err := stack.New(ctx, stack.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	cluster, err := s.Topology(ctx, flavor, 1, stack.TopologyOptions{SemiSync: semiSync})
	must(t, err)
	master := cluster.Master
	must(t, master.Exec(ctx, "CREATE TABLE app.t (id INT PRIMARY KEY, v INT)", "INSERT INTO app.t VALUES (1, 0), (2, 0)"))
	must(t, master.Exec(ctx, sidecarGrants(flavor)...))
	must(t, stack.WaitCaughtUp(ctx, cluster.Replicas[0], master))

	name, err := topology.ParseKey(master.Key())
	must(t, err)
	hands := verbs.New(verbs.Config{
		User: sidecarUser, Password: func() string { return sidecarPassword }, Socket: master.Socket(),
		Replication: verbs.Replication{User: stack.ReplicationAccount().User},
		KeepUsers:   []string{stack.ControllerAccount().User},
	}, nil)
	process, err := fence.Find(ctx, fence.Place{
		Socket: master.Socket(), PIDFile: filepath.Join(master.Dir(), "data", "server.pid"),
	})
	must(t, err)
	t.Cleanup(process.Close)
	return &site{
		t: t, ctx: ctx, master: master, replica: cluster.Replicas[0], process: process,
		fencer: fence.New(fence.Config{}, opener{hands, name}, nil),
	}
}

func flavors(t *testing.T, all []stack.Flavor, test func(*testing.T, stack.Flavor)) {
	for _, flavor := range all {
		t.Run(string(flavor), func(t *testing.T) { test(t, flavor) })
	}
}

func (s *site) client() *sql.Conn {
	s.t.Helper()
	db, err := s.master.Open(stack.AppAccount(), stack.AppSchema)
	must(s.t, err)
	s.t.Cleanup(func() { _ = db.Close() })
	conn, err := db.Conn(s.ctx)
	must(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (s *site) fence(by time.Duration) fence.Result {
	s.t.Helper()
	begun := time.Now()
	result, err := s.fencer.Fence(s.ctx, s.process, begun.Add(by))
	must(s.t, err)
	s.t.Logf("after %s: %+v", time.Since(begun).Round(time.Millisecond), result)
	return result
}

func (s *site) wait(query, want string) {
	s.t.Helper()
	must(s.t, s.master.WaitFor(s.ctx, query, func(ctx context.Context) error {
		got, err := s.master.Value(ctx, query)
		if err == nil && got != want {
			err = fmt.Errorf("%q, want %q", got, want)
		}
		return err
	}))
}

// writers reconnect in a tight loop, and count what was acknowledged.
func (s *site) writers(n int) (acknowledged *atomic.Int64, stop func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	acknowledged = &atomic.Int64{}
	var all sync.WaitGroup
	for i := range n {
		db, err := s.master.Open(stack.AppAccount(), stack.AppSchema)
		must(s.t, err)
		db.SetMaxIdleConns(0) // a new connection each time
		all.Go(func() {
			defer db.Close() //nolint:errcheck // its connections are closed
			for j := 0; ctx.Err() == nil; j++ {
				if _, err := db.ExecContext(ctx, "INSERT INTO t VALUES (?, 0)", 1000+i*1_000_000+j); err == nil {
					acknowledged.Add(1)
				}
			}
		})
	}
	return acknowledged, func() { cancel(); all.Wait() }
}

func TestFenceOfAServerThatAnswers(t *testing.T) {
	flavors(t, stack.Flavors(), func(t *testing.T, flavor stack.Flavor) {
		s := newSite(t, flavor, false)
		idle, locking, open := s.client(), s.client(), s.client()
		tx, err := open.BeginTx(s.ctx, nil)
		must(t, err)
		_, err = tx.ExecContext(s.ctx, "UPDATE t SET v = 7 WHERE id = 1")
		must(t, err)
		asleep := make(chan error, 1)
		go func() {
			_, err := locking.ExecContext(s.ctx, "INSERT INTO t SELECT 7, SLEEP(60)")
			asleep <- err
		}()
		s.wait("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'INSERT INTO t SELECT 7%'", "1")
		acknowledged, stop := s.writers(8)
		defer stop()
		must(t, s.master.WaitFor(s.ctx, "writes", func(context.Context) error {
			if n := acknowledged.Load(); n < 20 {
				return fmt.Errorf("%d writes", n)
			}
			return nil
		}))

		result := s.fence(time.Minute)
		before := acknowledged.Load()
		if result.Outcome != fence.ReadOnly || result.Ended < 3 {
			t.Fatalf("%+v", result)
		}
		if err := <-asleep; err == nil {
			t.Error("the long write succeeded")
		}
		if err := tx.Commit(); err == nil {
			t.Error("the open transaction was committed")
		}
		if err := idle.PingContext(s.ctx); err == nil {
			t.Error("the idle client was not cut")
		}
		rows := s.rows()
		// They go on trying, for many times as long as they needed before.
		time.Sleep(300 * time.Millisecond)
		stop()
		// A reply could have been under way when the fence returned, one each.
		if after := acknowledged.Load(); after > before+8 {
			t.Errorf("%d writes were acknowledged before the fence, %d with what came after", before, after)
		}
		// A client that is cut in the midst of its commit does not hear of it.
		if after := s.rows(); after != rows || int64(rows) < acknowledged.Load() {
			t.Errorf("%d rows at the fence and %d later, %d acknowledged", rows, after, acknowledged.Load())
		}
		must(t, stack.WaitCaughtUp(s.ctx, s.replica, s.master)) // replication was spared
		if again := s.fence(time.Minute); again.Outcome != fence.ReadOnly {
			t.Errorf("again: %+v", again)
		}
	})
}

func (s *site) rows() int {
	s.t.Helper()
	text, err := s.master.Value(s.ctx, "SELECT COUNT(*) - 2 FROM app.t")
	must(s.t, err)
	n, err := strconv.Atoi(text)
	must(s.t, err)
	return n
}

func TestFenceOfAFrozenServer(t *testing.T) {
	flavors(t, stack.Flavors(), func(t *testing.T, flavor stack.Flavor) {
		s := newSite(t, flavor, false)
		must(t, s.master.Freeze())
		result := s.fence(300 * time.Millisecond)
		if result.Outcome != fence.Ended || !result.Killed || s.running() {
			t.Errorf("%+v, running: %v", result, s.running())
		}
	})
}

// running is whether the process is still there, zombies not counted.
func (s *site) running() bool {
	ctx, cancel := context.WithTimeout(s.ctx, time.Millisecond)
	defer cancel()
	_, err := s.process.Wait(ctx)
	return err != nil
}

// TestFenceOverACommitThatWaits: it becomes neither acknowledged nor readable.
func TestFenceOverACommitThatWaits(t *testing.T) {
	flavors(t, []stack.Flavor{stack.MariaDB, stack.MySQL}, func(t *testing.T, flavor stack.Flavor) {
		s := newSite(t, flavor, true)
		must(t, s.replica.Freeze())
		writer, reader := s.client(), s.client()
		written := make(chan error, 1)
		go func() {
			_, err := writer.ExecContext(s.ctx, "INSERT INTO t VALUES (7, 0)")
			written <- err
		}()
		s.wait("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE '%semi-sync ACK%'", "1")
		seen, reads, done := 0, 0, make(chan struct{})
		db, err := s.master.Open(stack.AppAccount(), stack.AppSchema)
		must(t, err)
		defer db.Close() //nolint:errcheck // the server is gone
		var n int
		must(t, reader.QueryRowContext(s.ctx, "SELECT COUNT(*) FROM t WHERE id = 7").Scan(&n))
		if n != 0 {
			t.Fatal("readable before the fence: there is nothing to see")
		}
		go func() { // reads on, over new connections, until the server is gone
			defer close(done)
			for s.running() {
				var n int
				if db.QueryRowContext(s.ctx, "SELECT COUNT(*) FROM t WHERE id = 7").Scan(&n) == nil {
					reads++
					seen += n
				}
			}
		}()
		result := s.fence(4 * time.Second)
		<-done
		if result.Outcome != fence.Ended || !result.Killed || seen != 0 || reads == 0 {
			t.Errorf("%+v; read %d times, seen %d times", result, reads, seen)
		}
		if err := <-written; err == nil {
			t.Error("the commit was acknowledged")
		}
	})
}

// TestFenceWithSemiSyncAndNobodyWaiting is the twin: nothing is in the way.
func TestFenceWithSemiSyncAndNobodyWaiting(t *testing.T) {
	flavors(t, []stack.Flavor{stack.MariaDB, stack.MySQL}, func(t *testing.T, flavor stack.Flavor) {
		s := newSite(t, flavor, true)
		open := s.client()
		tx, err := open.BeginTx(s.ctx, nil)
		must(t, err)
		_, err = tx.ExecContext(s.ctx, "UPDATE t SET v = 7 WHERE id = 1")
		must(t, err)
		if result := s.fence(time.Minute); result.Outcome != fence.ReadOnly {
			t.Errorf("%+v", result)
		}
		if err := tx.Commit(); err == nil {
			t.Error("the open transaction was committed")
		}
	})
}

func TestExitsOfServers(t *testing.T) {
	flavors(t, stack.Flavors(), func(t *testing.T, flavor stack.Flavor) {
		for name, test := range map[string]struct {
			end  func(*site) error
			kind fence.Kind
			file bool // whether the pid file stays
		}{
			"shutdown": {func(s *site) error { return s.master.Stop(s.ctx) }, fence.Clean, false},
			"crash":    {func(s *site) error { return s.master.Kill() }, fence.Killed, true},
		} {
			t.Run(name, func(t *testing.T) {
				s := newSite(t, flavor, false)
				got := make(chan fence.Exit, 1)
				go func() {
					exit, err := s.process.Wait(s.ctx)
					if err != nil {
						t.Error(err)
					}
					got <- exit
				}()
				must(t, test.end(s))
				if exit := <-got; exit.Kind != test.kind {
					t.Errorf("%s, want %s", exit.Kind, test.kind)
				}
				// What tells it where the kernel does not.
				files, err := filepath.Glob(filepath.Join(s.master.Dir(), "data", "server.pid"))
				must(t, err)
				if (len(files) == 1) != test.file {
					t.Errorf("pid files: %v", files)
				}
			})
		}
	})
}
