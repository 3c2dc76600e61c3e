//go:build servers

package tail_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/e2e/stack"
	"switchyard/integrations/mysql/dialect"
	"switchyard/integrations/mysql/probe"
	"switchyard/integrations/mysql/tail"
	"switchyard/integrations/mysql/verbs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type world struct {
	*stack.Cluster
	t   *testing.T
	ctx context.Context
}

func newWorld(t *testing.T, flavor stack.Flavor, options map[string]string) world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	s, err := stack.New(ctx, stack.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	cluster, err := s.Topology(ctx, flavor, 1, stack.TopologyOptions{Options: options})
	must(t, err)
	return world{cluster, t, ctx}
}

func key(t *testing.T, s *stack.Server) topology.Key {
	t.Helper()
	k, err := topology.ParseKey(s.Key())
	must(t, err)
	return k
}

func (w world) session(s *stack.Server, mode dialect.TLSMode) *verbs.Session {
	w.t.Helper()
	account, repl := stack.ControllerAccount(), stack.ReplicationAccount()
	session, err := verbs.New(verbs.Config{
		User: account.User, Password: func() string { return account.Password },
		Replication: verbs.Replication{
			User: repl.User, Password: func() string { return repl.Password }, HeartbeatPeriod: 500 * time.Millisecond,
			TLS: mode,
		},
	}, nil).Open(w.ctx, key(w.t, s))
	must(w.t, err)
	w.t.Cleanup(func() { _ = session.Close() })
	return session
}

func (w world) look(s *stack.Server) *topology.Instance {
	w.t.Helper()
	account := stack.ControllerAccount()
	p := probe.New(probe.Config{User: account.User, Password: func() string { return account.Password }}, nil)
	defer p.Close()
	i, err := p.Probe(w.ctx, key(w.t, s))
	must(w.t, err)
	return i
}

// index finds a stopped server's index.
func index(t *testing.T, s *stack.Server) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.Dir(), "data", "*.index"))
	must(t, err)
	for _, f := range found {
		if !strings.Contains(f, "relay") {
			return f
		}
	}
	t.Fatalf("no index in %s", s.Dir())
	return ""
}

func open(t *testing.T, s *stack.Server) *tail.Log {
	t.Helper()
	l, err := tail.Open(index(t, s), filepath.Join(s.Dir(), "data"))
	must(t, err)
	t.Cleanup(l.Close)
	return l
}

func (w world) flush(s *stack.Server) {
	w.t.Helper()
	must(w.t, s.Exec(w.ctx, "FLUSH BINARY LOGS"))
}

// serve opens a source for one tail.
func (w world) serve(address string, g tail.Grant) topology.Key {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.ctx)
	source, err := tail.Listen(ctx, address, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	must(w.t, err)
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); must(w.t, <-done) })
	source.Give(g, time.Now())
	k, err := topology.ParseKey(source.Addr().String())
	must(w.t, err)
	return k
}

// writes is all kinds of transactions, one statement each.
func writes(flavor stack.Flavor) []string {
	all := []string{
		"CREATE TABLE app.kinds (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(100), b LONGBLOB, at TIMESTAMP(6) NULL, r DOUBLE) CHARACTER SET utf8mb4",
		"INSERT INTO app.kinds (v) VALUES ('a row'), ('and another')",
		"SET SESSION binlog_format = 'STATEMENT'",
		"SET NAMES latin1",
		"INSERT INTO app.kinds (v) VALUES ('caf\xe9')",
		"SET NAMES utf8mb4",
		"SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'",
		`INSERT INTO app.kinds (v) VALUES ('back\slash')`,
		"SET SESSION sql_mode = ''",
		"SET SESSION time_zone = '+05:00'",
		"SET @v = 'a variable', TIMESTAMP = 1700000000.5",
		"INSERT INTO app.kinds (v, at, r) VALUES (@v, NOW(6), RAND())",
		"SET SESSION binlog_format = 'MIXED', TIMESTAMP = DEFAULT",
		"INSERT INTO app.kinds (v, at) VALUES (UUID(), SYSDATE(6))",
		"SET SESSION binlog_format = 'ROW'",
		"START TRANSACTION", "UPDATE app.kinds SET v = CONCAT(v, '!')", "SAVEPOINT s", "DELETE FROM app.kinds", "ROLLBACK TO SAVEPOINT s",
		"INSERT INTO app.kinds (v) VALUES ('kept')", "COMMIT",
		"INSERT INTO app.kinds (b) VALUES (REPEAT(x'00ff27', 2000000))",
		"CREATE TABLE app.copy AS SELECT id, v FROM app.kinds",
		"ALTER TABLE app.kinds ADD COLUMN more JSON",
		`UPDATE app.kinds SET more = '{"a": [1, null]}'`,
		"CREATE TABLE app.old (id INT PRIMARY KEY) ENGINE = MyISAM", "INSERT INTO app.old VALUES (1), (2)",
		"CREATE PROCEDURE app.p() BEGIN INSERT INTO app.kinds (v) VALUES ('by a procedure'); COMMIT; END", "CALL app.p()",
		"XA START 'x'", "INSERT INTO app.kinds (v) VALUES ('xa')", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'",
		"CREATE DATABASE other", "CREATE TABLE other.t (id INT PRIMARY KEY)", "DROP TABLE app.old",
		"TRUNCATE TABLE other.t",
	}
	if flavor == stack.MySQL {
		all = append(all, "SET SESSION binlog_transaction_compression = ON", "INSERT INTO app.kinds (v) SELECT v FROM app.copy",
			"SET SESSION binlog_transaction_compression = OFF", "SET gtid_next = 'AUTOMATIC:backup'", "INSERT INTO app.kinds (v) VALUES ('tagged')",
			"SET gtid_next = 'AUTOMATIC'")
	}
	return append(all, "INSERT INTO app.kinds (v) VALUES ('the last')")
}

// What no replica received comes to it, of every kind, and the same as it was.
func TestTheTailIsTaken(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		for _, checksum := range []string{"CRC32", "NONE"} {
			t.Run(fmt.Sprint(flavor, checksum), func(t *testing.T) {
				w := newWorld(t, flavor, map[string]string{"binlog_checksum": checksum})
				master, replica := w.Master, w.Replicas[0]
				must(t, master.Exec(w.ctx, "CREATE TABLE app.t (id INT PRIMARY KEY)", "INSERT INTO app.t VALUES (1)"))
				must(t, stack.WaitCaughtUp(w.ctx, replica, master))
				must(t, w.session(replica, dialect.TLSKeep).StopReceiver(w.ctx))
				mode := dialect.TLSKeep
				if checksum == "NONE" { // and, in the same run, what else a replica may ask for
					mode = dialect.TLSVerify
					must(t, replica.Exec(w.ctx, acknowledge(flavor)...))
				}
				conn, err := master.Root().Conn(w.ctx)
				must(t, err)
				half := writes(flavor)
				for n, statement := range half {
					if n == len(half)/2 {
						w.flush(master)
					}
					if _, err := conn.ExecContext(w.ctx, statement); err != nil {
						t.Fatalf("%.80s: %v", statement, err)
					}
				}
				_ = conn.Close()
				wrote := w.look(master).Executed
				must(t, master.Kill())
				must(t, master.Wait(w.ctx))

				holds := w.look(replica).Received()
				found, err := open(t, master).Read(w.ctx, holds)
				must(t, err)
				if found.Problem != "" || !holds.Union(found.Set).Contains(wrote) || !wrote.Contains(found.Set) {
					t.Fatalf("found %s of %s, held %s, problem %q", found.Set, wrote, holds, found.Problem)
				}
				g := tail.Grant{User: "switchyard-tail-3306-ABCDEFGHIJ", Password: "0123456789abcdef0123456789abcdef", Until: time.Now().Add(time.Minute), Tail: found}
				at := w.serve(net.JoinHostPort(master.Host(), "0"), g)
				session := w.session(replica, mode)
				must(t, session.Take(w.ctx, at, g.User, g.Password))
				waiting, cancel := context.WithTimeout(w.ctx, 30*time.Second)
				defer cancel()
				if err := session.WaitApplied(waiting, found.Set); err != nil {
					status, _ := replica.ReplicaStatus(w.ctx)
					t.Fatalf("%v: %+v\n%s", err, status, replica.Output())
				}
				if i := w.look(replica); i.Replication == nil || i.Replication.Source != key(t, master) || mode == dialect.TLSVerify && !i.Replication.TLS {
					t.Errorf("it is not shown as the crashed master's own: %+v", i.Replication)
				}
				if has := w.look(replica).Executed; !has.Contains(wrote) {
					t.Fatalf("it has %s, and lacks %s", has, wrote.Subtract(has))
				}
				must(t, session.StopReceiver(w.ctx))
				must(t, session.Detach(w.ctx))

				must(t, master.Restart(w.ctx))
				for _, table := range []string{"app.t", "app.kinds", "app.copy", "other.t"} {
					if mine, theirs := checksumOf(w, replica, table), checksumOf(w, master, table); mine != theirs {
						t.Errorf("%s differs: %s, on the old master %s", table, mine, theirs)
					}
				}
			})
		}
	}
}

// acknowledge makes a replica ask its source for semi-sync.
func acknowledge(flavor stack.Flavor) []string {
	if flavor == stack.MariaDB {
		return []string{"SET GLOBAL rpl_semi_sync_slave_enabled = ON"}
	}
	return []string{"INSTALL PLUGIN rpl_semi_sync_replica SONAME 'semisync_replica.so'", "SET GLOBAL rpl_semi_sync_replica_enabled = ON"}
}

func checksumOf(w world, s *stack.Server, table string) string {
	w.t.Helper()
	var name, sum string
	must(w.t, s.Root().QueryRowContext(w.ctx, "CHECKSUM TABLE "+table+" EXTENDED").Scan(&name, &sum))
	return sum
}

// record writes the fixtures of the tests that need no server anew: a small binary log of each flavor, left by a crash.
var record = flag.Bool("record", false, "write testdata anew")

// What the fixtures are made of is read out of a server's own files.
func TestASmallLogIsRead(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		w := newWorld(t, flavor, nil)
		must(t, w.Master.Exec(w.ctx, "CREATE TABLE app.t (id INT PRIMARY KEY, v VARCHAR(20))"))
		w.flush(w.Master)
		conn, err := w.Master.Root().Conn(w.ctx)
		must(t, err)
		for _, statement := range []string{
			"INSERT INTO app.t VALUES (1, 'row')", "SET SESSION binlog_format = 'STATEMENT'",
			"SET @v = 'variable'", "INSERT INTO app.t VALUES (2, @v)", "SET SESSION binlog_format = 'ROW'",
			"ALTER TABLE app.t ADD COLUMN w INT", "START TRANSACTION", "UPDATE app.t SET w = id", "SAVEPOINT s", "DELETE FROM app.t WHERE id = 2",
			"COMMIT", "XA START 'x'", "INSERT INTO app.t VALUES (3, 'xa', 3)", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'",
			"TRUNCATE TABLE app.t",
		} {
			_, err := conn.ExecContext(w.ctx, statement)
			must(t, err)
		}
		if flavor == stack.MySQL {
			for _, statement := range []string{
				"SET SESSION binlog_transaction_compression = ON", "INSERT INTO app.t VALUES (4, 'packed', 4)",
				"SET gtid_next = 'AUTOMATIC:tag'", "INSERT INTO app.t VALUES (5, 'tagged', 5)", "SET gtid_next = 'AUTOMATIC'",
			} {
				_, err := conn.ExecContext(w.ctx, statement)
				must(t, err)
			}
		}
		_ = conn.Close()
		must(t, w.Master.Kill())
		must(t, w.Master.Wait(w.ctx))
		wrote := w.look(w.Replicas[0]).Received()
		found, err := open(t, w.Master).Read(w.ctx, gtid.Set{})
		must(t, err)
		if want := map[stack.Flavor]int{stack.MariaDB: 8, stack.MySQL: 10}[flavor]; found.Count < want || !found.Set.Contains(wrote) {
			t.Errorf("%s: found %d, want at least %d: %s of %s", flavor, found.Count, want, found.Set, wrote)
		}
		if !*record {
			continue
		}
		text, err := os.ReadFile(index(t, w.Master))
		must(t, err)
		names := strings.Fields(string(text))
		data, err := os.ReadFile(filepath.Join(w.Master.Dir(), "data", names[len(names)-1]))
		must(t, err)
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(filepath.Join("testdata", string(flavor)+".binlog"), data, 0o644))
	}
}
