//go:build servers

package probe_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"switchyard/controller/topology"
	"switchyard/e2e/stack"
	"switchyard/integrations/mysql/probe"
)

func newWriter(t *testing.T, id string) *probe.Writer {
	t.Helper()
	w := probe.NewWriter(probe.WriterConfig{Config: config(), Schema: "switchyard", Writer: id}, nil)
	t.Cleanup(w.Close)
	return w
}

func attempt(ctx context.Context, w *probe.Writer, k topology.Key) (topology.WriteSight, error) {
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return w.Write(short, k)
}

// becomes waits until the writer names this trouble, or none.
func becomes(t *testing.T, ctx context.Context, w *probe.Writer, k topology.Key, want topology.Trouble) topology.WriteSight {
	t.Helper()
	var sight topology.WriteSight
	eventually(t, ctx, func() (err error) {
		sight, err = attempt(ctx, w, k)
		if err == nil && sight.Trouble != want {
			err = fmt.Errorf("it names %q (%s), want %q", sight.Trouble, sight.Error, want)
		}
		return err
	})
	t.Logf("%q: %s", sight.Trouble, sight.Error)
	return sight
}

// TestWriteLeavesNoTransaction: the row is written, nothing is logged, and a
// server that is read-only is not touched though our account could.
func TestWriteLeavesNoTransaction(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{})
		master, replica := cluster.Master, cluster.Replicas[0]
		p := newProber(t, config())
		before, err := p.Probe(ctx, key(t, master))
		must(t, err)
		w, other := newWriter(t, "c1"), newWriter(t, "c'2")
		for range 3 {
			for _, w := range []*probe.Writer{w, other} {
				if sight, err := attempt(ctx, w, key(t, master)); err != nil || sight != (topology.WriteSight{}) {
					t.Fatalf("got %+v, %v", sight, err)
				}
			}
		}
		if n, err := master.Value(ctx, "SELECT COUNT(*) FROM switchyard.heartbeat WHERE written > NOW(6) - INTERVAL 1 MINUTE"); err != nil || n != "2" {
			t.Errorf("%s rows, %v", n, err)
		}
		after, err := p.Probe(ctx, key(t, master))
		must(t, err)
		if !before.Executed.Contains(after.Executed) || after.BinlogPosition != before.BinlogPosition {
			t.Errorf("it was logged: %s, then %s", before.Executed, after.Executed)
		}
		if sight, err := attempt(ctx, w, key(t, replica)); !errors.Is(err, probe.ErrNotWritable) {
			t.Errorf("on the replica: %+v, %v", sight, err)
		}
		must(t, master.SetReadOnly(ctx, true))
		if sight, err := attempt(ctx, w, key(t, master)); !errors.Is(err, probe.ErrNotWritable) {
			t.Errorf("read-only: %+v, %v", sight, err)
		}
		if n, err := replica.Value(ctx, "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'switchyard'"); err != nil || n != "0" {
			t.Errorf("the replica has the schema: %s, %v", n, err)
		}
	})
}

func TestWriteWithoutGrants(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 0, stack.TopologyOptions{})
		must(t, cluster.Master.Exec(ctx, "REVOKE INSERT ON `switchyard`.* FROM 'switchyard'@'%'"))
		if sight, err := attempt(ctx, newWriter(t, "c1"), key(t, cluster.Master)); err == nil || sight.Trouble != "" {
			t.Errorf("got %+v, %v", sight, err)
		}
	})
}

// TestFrozenIsNotSick: a server that does not answer at all has no trouble with
// writes in particular.
func TestFrozenIsNotSick(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 0, stack.TopologyOptions{})
		w := newWriter(t, "c1")
		becomes(t, ctx, w, key(t, cluster.Master), "")
		must(t, cluster.Master.Freeze())
		eventually(t, ctx, func() error {
			sight, err := attempt(ctx, w, key(t, cluster.Master))
			if sight.Trouble != "" {
				t.Errorf("it names %+v", sight)
			}
			if err == nil {
				return errors.New("it still answers")
			}
			return nil
		})
		if sight, err := attempt(ctx, w, key(t, cluster.Master)); err == nil || sight.Trouble != "" {
			t.Errorf("got %+v, %v", sight, err)
		}
		must(t, cluster.Master.Thaw())
		becomes(t, ctx, w, key(t, cluster.Master), "")
	})
}

func sickDisk(t *testing.T, test func(*testing.T, context.Context, stack.Flavor, *stack.Server, *stack.Disk, *probe.Writer)) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
			t.Cleanup(cancel)
			s, err := stack.New(ctx, stack.Options{})
			must(t, err)
			t.Cleanup(func() { must(t, s.Close()) })
			disk, err := s.NewDisk(ctx, "disk", 400)
			must(t, err)
			cluster, err := s.Topology(ctx, flavor, 0, stack.TopologyOptions{Disks: map[int]*stack.Disk{0: disk}})
			must(t, err)
			w := newWriter(t, "c1")
			becomes(t, ctx, w, key(t, cluster.Master), "")
			test(t, ctx, flavor, cluster.Master, disk, w)
		})
	}
}

// TestStalledWrites: and however long they are, there is one session of ours
// that waits.
func TestStalledWrites(t *testing.T) {
	sickDisk(t, func(t *testing.T, ctx context.Context, _ stack.Flavor, server *stack.Server, disk *stack.Disk, w *probe.Writer) {
		before := connected(t, ctx, server)
		must(t, disk.Stall())
		becomes(t, ctx, w, key(t, server), topology.TroubleStalled)
		for range 5 {
			if sight, err := attempt(ctx, w, key(t, server)); err != nil || sight.Trouble != topology.TroubleStalled {
				t.Errorf("got %+v, %v", sight, err)
			}
		}
		if after := connected(t, ctx, server); after > before+2 {
			t.Errorf("%d connections before, and %d after: attempts pile up", before, after)
		}
		must(t, disk.Resume())
		becomes(t, ctx, w, key(t, server), "")
	})
}

func TestFullDisk(t *testing.T) {
	sickDisk(t, func(t *testing.T, ctx context.Context, _ stack.Flavor, server *stack.Server, disk *stack.Disk, w *probe.Writer) {
		must(t, disk.Fill())
		becomes(t, ctx, w, key(t, server), topology.TroubleDiskFull)
		if !server.Running() {
			t.Error("the server has ended")
		}
		must(t, disk.Free())
		becomes(t, ctx, w, key(t, server), "")
	})
}

func TestTooManyConnections(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 0, stack.TopologyOptions{Options: map[string]string{"max_connections": "12"}})
		master := cluster.Master
		w := newWriter(t, "c1")
		becomes(t, ctx, w, key(t, master), "")
		db, err := master.Open(stack.AppAccount(), "")
		must(t, err)
		t.Cleanup(func() { _ = db.Close() })
		var conns []*sql.Conn
		for {
			conn, err := db.Conn(ctx)
			if err != nil {
				t.Logf("after %d connections: %v", len(conns), err)
				break
			}
			conns = append(conns, conn)
		}
		becomes(t, ctx, w, key(t, master), topology.TroubleConnections)
		// One less, and the application is let in again.
		for range 3 {
			must(t, conns[0].Raw(func(c any) error { return c.(interface{ Close() error }).Close() }))
			_ = conns[0].Close() // its connection is closed already
			conns = conns[1:]
		}
		becomes(t, ctx, w, key(t, master), "")
	})
}

func TestStuckSemiSync(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		for _, how := range []string{"killed", "frozen"} {
			t.Run(string(flavor)+" "+how, func(t *testing.T) {
				ctx, cluster := newCluster(t, flavor, 1, stack.TopologyOptions{SemiSync: true})
				master, replica := cluster.Master, cluster.Replicas[0]
				must(t, master.Exec(ctx, "CREATE TABLE app.p (id INT PRIMARY KEY)"))
				w := newWriter(t, "c1")
				becomes(t, ctx, w, key(t, master), "")
				if how == "killed" {
					must(t, replica.Kill())
				} else {
					must(t, replica.Freeze())
				}
				// Nobody writes: nobody waits.
				if sight, err := attempt(ctx, w, key(t, master)); err != nil || sight.Trouble != "" {
					t.Errorf("without a commit that waits: %+v, %v", sight, err)
				}
				go func() { _ = master.Exec(ctx, "INSERT INTO app.p VALUES (1)") }()
				becomes(t, ctx, w, key(t, master), topology.TroubleSemiSync)
				if how == "killed" {
					must(t, replica.Start(ctx))
				} else {
					must(t, replica.Thaw())
				}
				must(t, replica.Exec(ctx, map[stack.Flavor]string{stack.MariaDB: "START SLAVE", stack.MySQL: "START REPLICA"}[flavor]))
				becomes(t, ctx, w, key(t, master), "")
			})
		}
	}
}

func connected(t *testing.T, ctx context.Context, server *stack.Server) int {
	t.Helper()
	var name string
	var n int
	must(t, server.Root().QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE 'Threads_connected'").Scan(&name, &n))
	return n
}

// TestReadOnlyDisk: InnoDB ends the server whose file system turns read-only, on
// both flavors; until then it is called that, or nothing.
func TestReadOnlyDisk(t *testing.T) {
	sickDisk(t, func(t *testing.T, ctx context.Context, _ stack.Flavor, server *stack.Server, disk *stack.Disk, w *probe.Writer) {
		must(t, disk.Abort(ctx))
		eventually(t, ctx, func() error {
			sight, err := attempt(ctx, w, key(t, server))
			if sight.Trouble != "" && sight.Trouble != topology.TroubleReadOnlyDisk {
				t.Errorf("it names %+v", sight)
			}
			if server.Running() {
				return fmt.Errorf("it still runs: %+v, %w", sight, err)
			}
			return nil
		})
	})
}
