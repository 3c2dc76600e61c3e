//go:build servers

package stack_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"switchyard/e2e/stack"
)

func newStack(t *testing.T) (*stack.Stack, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	s, err := stack.New(ctx, stack.Options{Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the stack: %v", err)
		}
	})
	return s, ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func value(t *testing.T, ctx context.Context, server *stack.Server, query string) string {
	t.Helper()
	answer, err := server.Value(ctx, query)
	must(t, err)
	return answer
}

func TestEachFlavorReplicatesAndRestarts(t *testing.T) {
	for _, flavor := range stack.Flavors() {
		t.Run(string(flavor), func(t *testing.T) {
			s, ctx := newStack(t)
			cluster, err := s.Topology(ctx, flavor, 2, stack.TopologyOptions{})
			must(t, err)
			master, replica := cluster.Master, cluster.Replicas[1]
			if got := value(t, ctx, master, "SELECT @@read_only"); got != "0" {
				t.Errorf("master's read_only is %s, want 0", got)
			}
			if got := value(t, ctx, replica, "SELECT @@read_only"); got != "1" {
				t.Errorf("replica's read_only is %s, want 1", got)
			}
			if got := value(t, ctx, replica, "SELECT CONCAT(@@report_host, ':', @@report_port)"); got != replica.Key() {
				t.Errorf("replica reports %s, want %s", got, replica.Key())
			}
			if got := value(t, ctx, master, "SELECT COUNT(*) FROM mysql.user WHERE User = ''"); got != "0" {
				t.Errorf("%s anonymous accounts", got)
			}
			must(t, master.Exec(ctx, "CREATE TABLE app.t (id INT PRIMARY KEY)", "INSERT INTO app.t VALUES (1)"))
			must(t, stack.WaitCaughtUp(ctx, replica, master))
			must(t, replica.Kill())
			must(t, replica.Start(ctx))
			must(t, master.Exec(ctx, "INSERT INTO app.t VALUES (2)"))
			must(t, replica.WaitFor(ctx, "replication after a crash", func(ctx context.Context) error {
				return stack.WaitCaughtUp(ctx, replica, master)
			}))
			if got := value(t, ctx, replica, "SELECT COUNT(*) FROM app.t"); got != "2" {
				t.Errorf("the replica has %s rows after its restart, want 2", got)
			}
			must(t, master.Restart(ctx))
			if got := value(t, ctx, master, "SELECT @@read_only"); got != "1" {
				t.Errorf("a restarted master's read_only is %s, want 1: servers boot read-only", got)
			}
		})
	}
}

func TestApplicationDoesNotPassReadOnly(t *testing.T) {
	for _, flavor := range stack.Flavors() {
		t.Run(string(flavor), func(t *testing.T) {
			s, ctx := newStack(t)
			cluster, err := s.Topology(ctx, flavor, 1, stack.TopologyOptions{})
			must(t, err)
			for _, server := range cluster.Servers() {
				db, err := server.Open(stack.AppAccount(), stack.AppSchema)
				must(t, err)
				_, err = db.ExecContext(ctx, "CREATE TABLE written_by_"+server.Name()+" (id INT PRIMARY KEY)")
				must(t, db.Close())
				if server == cluster.Master && err != nil {
					t.Errorf("the application cannot write to the master: %v", err)
				}
				if server != cluster.Master && (err == nil || !strings.Contains(err.Error(), "read-only")) {
					t.Errorf("the application's write to a replica ended with %v, want a read-only error", err)
				}
			}
		})
	}
}

func TestSemiSyncMasterWaits(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			s, ctx := newStack(t)
			cluster, err := s.Topology(ctx, flavor, 1, stack.TopologyOptions{SemiSync: true})
			must(t, err)
			must(t, cluster.Master.Exec(ctx, "CREATE TABLE app.t (id INT PRIMARY KEY)"))
			must(t, cluster.Replicas[0].Freeze())
			short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			err = cluster.Master.Exec(short, "INSERT INTO app.t VALUES (1)")
			cancel()
			if err == nil {
				t.Error("a commit was acknowledged while the only replica was frozen")
			}
			must(t, cluster.Replicas[0].Thaw())
			must(t, cluster.Master.Exec(ctx, "INSERT INTO app.t VALUES (2)"))
		})
	}
}

func TestControllerAccountCanDoItsWork(t *testing.T) {
	work := map[stack.Flavor][]string{
		stack.MariaDB: {
			"SHOW SLAVE STATUS", "SHOW SLAVE HOSTS", "SHOW MASTER STATUS", "SHOW PROCESSLIST", "SHOW BINARY LOGS",
			"STOP SLAVE IO_THREAD", "STOP SLAVE", "SET GLOBAL rpl_semi_sync_slave_enabled = OFF",
			"SET GLOBAL rpl_semi_sync_master_enabled = OFF", "RESET SLAVE ALL", "SET GLOBAL read_only = 0",
			"SET GLOBAL read_only = 1", "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_USER='repl', MASTER_USE_GTID=slave_pos",
			"SELECT @@gtid_binlog_state, @@gtid_slave_pos, @@gtid_current_pos",
			"SELECT COUNT(*) FROM mysql.user", "SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_slave_pos",
		},
		stack.MySQL: {
			"SHOW REPLICA STATUS", "SHOW REPLICAS", "SHOW BINARY LOG STATUS", "SHOW PROCESSLIST",
			"SELECT COUNT(*) FROM performance_schema.replication_connection_status",
			"SELECT COUNT(*) FROM performance_schema.processlist",
			"STOP REPLICA IO_THREAD", "STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL super_read_only = 0",
			"SET GLOBAL read_only = 0", "SET GLOBAL super_read_only = 1", "SET GLOBAL offline_mode = 0",
			"CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_USER='repl', SOURCE_AUTO_POSITION=1",
			"SELECT @@gtid_executed", "SELECT COUNT(*) FROM mysql.user",
		},
		stack.MySQL56: {
			"SHOW SLAVE STATUS", "SHOW SLAVE HOSTS", "SHOW MASTER STATUS", "SHOW PROCESSLIST", "STOP SLAVE IO_THREAD",
			"STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0", "SET GLOBAL read_only = 1",
			"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_USER='repl', MASTER_AUTO_POSITION=1",
			"SELECT @@GLOBAL.gtid_executed", "SELECT COUNT(*) FROM mysql.user",
		},
	}
	for _, flavor := range stack.Flavors() {
		t.Run(string(flavor), func(t *testing.T) {
			s, ctx := newStack(t)
			cluster, err := s.Topology(ctx, flavor, 1, stack.TopologyOptions{})
			must(t, err)
			db, err := cluster.Replicas[0].Open(stack.ControllerAccount(), "")
			must(t, err)
			defer func() { must(t, db.Close()) }()
			for _, statement := range work[flavor] {
				rows, err := db.QueryContext(ctx, statement)
				if err != nil {
					t.Errorf("%s: %v", statement, err)
					continue
				}
				must(t, rows.Close())
			}
			app, err := cluster.Replicas[0].Open(stack.AppAccount(), stack.AppSchema)
			must(t, err)
			defer func() { must(t, app.Close()) }()
			conn, err := app.Conn(ctx)
			must(t, err)
			var id int64
			must(t, conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id))
			if _, err := db.ExecContext(ctx, "KILL CONNECTION ?", id); err != nil {
				t.Errorf("kill an application's connection: %v", err)
			}
			if err := conn.PingContext(ctx); err == nil {
				t.Error("the application's connection lives on after KILL")
			}
		})
	}
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	s, err := stack.New(ctx, stack.Options{Log: t.Logf})
	must(t, err)
	server, err := s.StartServer(ctx, stack.ServerSpec{Flavor: stack.MariaDB, ServerID: 1})
	must(t, err)
	frozen, err := s.StartServer(ctx, stack.ServerSpec{Flavor: stack.MySQL, ServerID: 2})
	must(t, err)
	must(t, frozen.Freeze())
	must(t, s.Close())
	for _, pid := range []int{server.Pid(), frozen.Pid()} {
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("process %d outlived the stack", pid)
		}
	}
	if _, err := os.Stat(s.Dir()); !os.IsNotExist(err) {
		t.Errorf("the directory outlived the stack: %v", err)
	}
	must(t, s.Close())
	if _, err := s.StartServer(ctx, stack.ServerSpec{Flavor: stack.MariaDB, ServerID: 3}); err == nil {
		t.Error("a closed stack started a server")
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), filepath.Base(s.Dir())+"*"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestConsulKeepsItsKeysOverARestart(t *testing.T) {
	s, ctx := newStack(t)
	consul, err := s.StartConsul(ctx, "dc1")
	must(t, err)
	put, err := http.NewRequestWithContext(ctx, http.MethodPut, consul.Address()+"/v1/kv/some/key", strings.NewReader("kept"))
	must(t, err)
	response, err := http.DefaultClient.Do(put)
	must(t, err)
	must(t, response.Body.Close())
	must(t, consul.Restart(ctx))
	got, err := consul.Get(ctx, "some/key")
	must(t, err)
	if got != "kept" {
		t.Errorf("after a restart the key is %q, want kept", got)
	}
	if _, err := consul.Get(ctx, "no/such/key"); err == nil {
		t.Error("a missing key was read without an error")
	}
}

func TestHAProxyComesBackWithItsFile(t *testing.T) {
	s, ctx := newStack(t)
	ip, err := s.IP(3306, 9999)
	must(t, err)
	config := fmt.Sprintf(`global
  stats socket ipv4@%s:9999 level admin
defaults
  mode tcp
  timeout connect 1s
  timeout client 1m
  timeout server 1m
frontend app
  bind %s:3306
  default_backend writer
backend writer
  server master 127.0.0.1:1 disabled
`, ip, ip)
	proxy, err := s.StartHAProxy(ctx, "haproxy", config)
	must(t, err)
	first := proxy.Pid()
	must(t, proxy.Restart(ctx))
	if proxy.Pid() == first || !proxy.Running() {
		t.Errorf("pid %d after the restart, was %d", proxy.Pid(), first)
	}
	if _, err := s.StartHAProxy(ctx, "broken", "frontend app\n  bind 127.0.0.1:1\n  nonsense\n"); err == nil ||
		!strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a broken configuration ended with %v, want HAProxy's own words", err)
	}
}

// A chain below the first replica, and a ring with it.
func TestShapes(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			s, ctx := newStack(t)
			cluster, err := s.Topology(ctx, flavor, 2, stack.TopologyOptions{
				Below: map[int]int{2: 1}, CoMaster: true, Each: map[int]map[string]string{2: {"max_connections": "77"}},
			})
			must(t, err)
			master, first, leaf := cluster.Master, cluster.Replicas[0], cluster.Replicas[1]
			for replica, source := range map[*stack.Server]*stack.Server{leaf: first, first: master, master: first} {
				status, err := replica.ReplicaStatus(ctx)
				must(t, err)
				if !status.Running() || status.SourceHost != source.Host() {
					t.Errorf("%s: %+v, want it to follow %s", replica.Key(), status, source.Key())
				}
			}
			must(t, master.Exec(ctx, "CREATE TABLE app.t (id INT PRIMARY KEY)", "INSERT INTO app.t VALUES (1)"))
			must(t, stack.WaitCaughtUp(ctx, leaf, master))
			if got := value(t, ctx, leaf, "SELECT @@max_connections"); got != "77" {
				t.Errorf("max_connections is %s", got)
			}
		})
	}
}
