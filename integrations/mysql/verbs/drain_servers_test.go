//go:build servers

package verbs_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"switchyard/controller/topology"
	"switchyard/e2e/stack"
	"switchyard/integrations/mysql/verbs"
)

// lag keeps the replica from applying what it receives, until the returned
// function is called, and lets the master write something.
func lag(t *testing.T, ctx context.Context, cluster *stack.Cluster) (release func()) {
	t.Helper()
	replica := cluster.Replicas[0]
	conn, err := replica.Root().Conn(ctx)
	must(t, err)
	tx, err := conn.BeginTx(ctx, nil)
	must(t, err)
	var v int
	must(t, tx.QueryRowContext(ctx, "SELECT v FROM app.t WHERE id = 1 FOR UPDATE").Scan(&v))
	must(t, cluster.Master.Exec(ctx, "UPDATE app.t SET v = 5 WHERE id = 1", "INSERT INTO app.t VALUES (2, 0)"))
	written := look(t, ctx, cluster.Master).Executed
	eventually(t, ctx, func() error {
		i := look(t, ctx, replica)
		if !i.Received().Contains(written) {
			return verbs.ErrNotApplied
		}
		return nil
	})
	return func() {
		must(t, tx.Rollback())
		must(t, conn.Close())
	}
}

// TestDrain: what a lagging replica has received survives the end of its
// receiver, and nothing lets go of it before it is applied.
func TestDrain(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{})
		replica := cluster.Replicas[0]
		release := lag(t, ctx, cluster)
		received := look(t, ctx, cluster.Master).Executed
		must(t, cluster.Master.Kill()) // nobody can send it again
		s := open(t, ctx, replica)
		twice(t, "stop receiver", func() error { return s.StopReceiver(ctx) })
		wantIs(t, s.Detach(ctx), verbs.ErrNotApplied)
		if i := look(t, ctx, replica); i.Executed.Contains(received) || !i.Received().Contains(received) {
			t.Fatalf("not lagging: has %s of %s", i.Executed, received)
		}
		waited := make(chan error, 1)
		go func() { waited <- s.WaitApplied(ctx, received) }()
		select {
		case err := <-waited:
			t.Fatalf("the wait ended with the row still locked: %v", err)
		case <-time.After(300 * time.Millisecond):
		}
		release()
		begun := time.Now()
		must(t, <-waited)
		t.Logf("applied, and noticed after %v", time.Since(begun))
		must(t, s.Detach(ctx))
		if got := value(t, ctx, replica, "SELECT SUM(v) + COUNT(*) FROM app.t"); got != "7" {
			t.Errorf("received transactions are lost: checksum %s, want 7", got)
		}
	})
}

// TestReceiverIsNotStoppedBehindADeadApplier: on MariaDB both threads stopped
// would lose what was received; on MySQL an applier that cannot run is told too.
func TestReceiverIsNotStoppedBehindADeadApplier(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{})
		replica := cluster.Replicas[0]
		off, on := "SET SESSION sql_log_bin = 0", "SET SESSION sql_log_bin = 1"
		must(t, replica.Exec(ctx, off, "INSERT INTO app.t VALUES (9, 9)", on))
		must(t, cluster.Master.Exec(ctx, "INSERT INTO app.t VALUES (9, 0)"))
		eventually(t, ctx, func() error {
			if r := look(t, ctx, replica).Replication; r.SQL != topology.ThreadStopped {
				return verbs.ErrNotApplied
			}
			return nil
		})
		received := look(t, ctx, replica).Received()
		s := open(t, ctx, replica)
		for name, verb := range map[string]func() error{
			"StopReceiver": func() error { return s.StopReceiver(ctx) },
			"WaitApplied":  func() error { return s.WaitApplied(ctx, received) },
		} {
			err := verb()
			wantIs(t, err, verbs.ErrApplierStopped)
			if !strings.Contains(err.Error(), "1062") {
				t.Errorf("%s does not name the error: %v", name, err)
			}
			if r := look(t, ctx, replica).Replication; r.IO != topology.ThreadRunning {
				t.Errorf("%s: the receiver was stopped behind an applier that does not run: %+v", name, r)
			}
		}
		wantIs(t, s.Detach(ctx), verbs.ErrNotApplied)
		must(t, replica.Exec(ctx, off, "DELETE FROM app.t WHERE id = 9", on))
		must(t, s.StopReceiver(ctx))
		must(t, s.WaitApplied(ctx, received))
		if got := value(t, ctx, replica, "SELECT v FROM app.t WHERE id = 9"); got != "0" {
			t.Errorf("row 9 has %s, want 0", got)
		}
	})
}

func TestStoppedReplicaIsStartedAgain(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{})
		replica := cluster.Replicas[0]
		s := open(t, ctx, replica)
		must(t, s.StopReceiver(ctx))
		must(t, cluster.Master.Exec(ctx, "INSERT INTO app.t VALUES (3, 0)"))
		twice(t, "start", func() error { return s.StartReplica(ctx) })
		must(t, s.WaitApplied(ctx, look(t, ctx, cluster.Master).Executed))
		must(t, s.Detach(ctx))
		wantIs(t, s.StartReplica(ctx), verbs.ErrNotReplica)
		// It has all: nothing to wait for. What it lacks never comes.
		must(t, s.WaitApplied(ctx, look(t, ctx, cluster.Master).Executed))
		must(t, cluster.Master.Exec(ctx, "INSERT INTO app.t VALUES (4, 0)"))
		wantIs(t, s.WaitApplied(ctx, look(t, ctx, cluster.Master).Executed), verbs.ErrNotReplica)
	})
}

// client is one connection of the application.
func client(t *testing.T, ctx context.Context, server *stack.Server, account stack.Account) *sql.Conn {
	t.Helper()
	db, err := server.Open(account, "")
	must(t, err)
	t.Cleanup(func() { _ = db.Close() }) // its connections are killed on purpose
	conn, err := db.Conn(ctx)
	must(t, err)
	return conn
}

// TestWaitAppliedGivesUpOnAFrozenServer: it must not keep a recovery that could
// choose another server until the recovery's own time is over.
func TestWaitAppliedGivesUpOnAFrozenServer(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{})
		replica := cluster.Replicas[0]
		release := lag(t, ctx, cluster)
		received := look(t, ctx, cluster.Master).Executed
		s := open(t, ctx, replica)
		waited := make(chan error, 1)
		go func() { waited <- s.WaitApplied(ctx, received) }()
		waitValue(t, ctx, replica, "SELECT COUNT(*) > 0 FROM information_schema.PROCESSLIST "+
			"WHERE INFO LIKE 'SELECT %WAIT%AS waited'", "1")
		must(t, replica.Freeze())
		frozen := time.Now()
		err := <-waited
		took := time.Since(frozen)
		must(t, replica.Thaw())
		wantIs(t, err, verbs.ErrNoAnswer)
		if ctx.Err() != nil || took > time.Minute {
			t.Errorf("it took %v to give up", took)
		}
		t.Logf("gave up after %v: %v", took, err)
		release()
		must(t, open(t, ctx, replica).WaitApplied(ctx, received)) // another session can go on
	})
}
