//go:build servers

package proxysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"switchyard/e2e/stack"
	adapter "switchyard/integrations/proxysql"
	"switchyard/router/fleet"
	"switchyard/router/routes"
)

// world is one ProxySQL (the stand-in, or what PROXYSQL_BIN names) before two servers without replication.
type world struct {
	t     *testing.T
	ctx   context.Context
	real  *stack.ProxySQL
	proxy *adapter.Proxy
	a, b  *stack.Server
	// revision orders the tables.
	revision uint64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	s, err := stack.New(ctx, stack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, ctx: ctx}
	for id, into := range []**stack.Server{&w.a, &w.b} {
		*into, err = s.StartServer(ctx, stack.ServerSpec{Flavor: stack.MariaDB, ServerID: uint32(id + 1)})
		w.must(err)
		w.must((*into).Exec(ctx, "SET GLOBAL read_only = 0", "CREATE DATABASE IF NOT EXISTS "+stack.AppSchema,
			"CREATE TABLE "+stack.AppSchema+".t (id INT PRIMARY KEY, n INT NOT NULL DEFAULT 0) ENGINE = InnoDB",
			"INSERT INTO "+stack.AppSchema+".t (id) VALUES (1), (2)"))
	}
	w.real, err = s.StartProxySQL(ctx, "proxysql", stack.ProxySQLOptions{
		Users: []stack.ProxySQLUser{{Account: stack.AppAccount(), Schema: stack.AppSchema, Hostgroup: slot.Hostgroup},
			{Account: stack.ControllerAccount(), Hostgroup: readerHostgroup}},
		Variables: map[string]string{"mysql-query_retries_on_failure": "0"},
	})
	w.must(err)
	account := stack.ProxySQLAccount()
	w.proxy, err = adapter.New(adapter.Config{Name: "ps1", Cluster: "shop", Admin: w.real.AdminAddress(), User: account.User,
		Password: account.Password, Slot: slot, Drain: drain, Timeout: 5 * time.Second}, time.Now, slog.New(slog.DiscardHandler))
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func server(s *stack.Server) *routes.Server {
	if s == nil {
		return nil
	}
	return &routes.Server{Host: s.Host(), Port: uint16(s.Port())}
}

func (w *world) table(to *stack.Server) routes.Table {
	w.revision++
	return tableOf(w.revision, server(to))
}

// apply sends the proxy to a server, nil for nobody, and wants it confirmed.
func (w *world) apply(to *stack.Server) routes.Proof {
	w.t.Helper()
	began := time.Now()
	proof, err := w.proxy.Apply(w.ctx, w.table(to))
	if err != nil || !proof.Holds || proof.Serving != (to != nil) {
		w.t.Fatalf("Apply() = %+v, %v", proof, err)
	}
	w.t.Logf("%s after %s", proof, time.Since(began))
	return proof
}

func (w *world) admin(statements ...string) {
	w.t.Helper()
	w.must(w.real.Admin(w.ctx, statements...))
}

// layer shows a layer's rows in short.
func (w *world) layer(table string) string {
	w.t.Helper()
	rows, err := w.real.AdminRows(w.ctx, "SELECT hostgroup_id, hostname, status, weight FROM "+table+
		" WHERE status <> 'OFFLINE_HARD' ORDER BY hostgroup_id, hostname")
	w.must(err)
	return fmt.Sprint(rows)
}

func (w *world) layers(want string) {
	w.t.Helper()
	for _, table := range []string{"mysql_servers", "runtime_mysql_servers", "disk.mysql_servers"} {
		if got := w.layer(table); got != want {
			w.t.Errorf("%s has %s, want %s", table, got, want)
		}
	}
}

func (w *world) rowOf(s *stack.Server) string { return fmt.Sprintf("[[10 %s ONLINE 1]]", s.Host()) }

func (w *world) connect() *sql.Conn {
	w.t.Helper()
	db, err := w.real.Open(stack.AppAccount(), stack.AppSchema)
	w.must(err)
	w.t.Cleanup(func() { _ = db.Close() })
	conn, err := db.Conn(w.ctx)
	w.must(err)
	return conn
}

func (w *world) do(conn *sql.Conn, statements ...string) {
	w.t.Helper()
	for _, statement := range statements {
		_, err := conn.ExecContext(w.ctx, statement)
		w.must(err)
	}
}

func (w *world) on(conn *sql.Conn) (id string) {
	w.t.Helper()
	w.must(conn.QueryRowContext(w.ctx, "SELECT @@server_id").Scan(&id))
	return id
}

func (w *world) until(what string, check func() error) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain until %s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestEveryLayerFollows: what is confirmed is in memory, runtime and on disk, so that a crash right after comes back with it.
func TestEveryLayerFollows(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		w.apply(w.a)
		w.layers(w.rowOf(w.a))
		w.apply(nil)
		w.layers("[]")
		w.must(w.real.Restart(w.ctx))
		w.layers("[]")
		w.apply(w.b)
		w.must(w.real.Restart(w.ctx))
		w.layers(w.rowOf(w.b))
		// A move without a withdrawal before it.
		w.apply(w.a)
		w.layers(w.rowOf(w.a))
	}
}

// TestNobodyIsLeft: whatever a client is in the middle of, its session on the old server is gone when the proxy has
// confirmed; and who holds nothing there waits, and goes on at the new one.
func TestNobodyIsLeft(t *testing.T) {
	w := newWorld(t)
	w.apply(w.a)
	idle, transaction, variable, long := w.connect(), w.connect(), w.connect(), w.connect()
	w.do(idle, "SELECT 1")
	w.do(transaction, "BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1")
	w.do(variable, "SET @v := 1")
	ended := make(chan error, 1)
	go func() {
		_, err := long.ExecContext(w.ctx, "SELECT SLEEP(120)")
		ended <- err
	}()
	w.until("the long statement runs", func() error {
		if n, err := w.a.Value(w.ctx, "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(120)%'"); err != nil || n != "1" {
			return fmt.Errorf("%s, %v", n, err)
		}
		return nil
	})
	if proof := w.apply(nil); proof.Sessions != 0 {
		t.Errorf("%d sessions are left", proof.Sessions)
	}
	w.until("the server has lost the transaction", func() error {
		n, err := w.a.Value(w.ctx, "SELECT COUNT(*) FROM information_schema.innodb_trx")
		if err == nil && n != "0" {
			err = errors.New(n + " are open")
		}
		return err
	})
	if err := <-ended; err == nil {
		t.Error("the long statement succeeded")
	}
	if _, err := transaction.ExecContext(w.ctx, "COMMIT"); err == nil {
		t.Error("a COMMIT succeeded after the withdrawal")
	}
	if n, err := w.a.Value(w.ctx, "SELECT n FROM "+stack.AppSchema+".t WHERE id = 1"); err != nil || n != "0" {
		t.Errorf("the transaction is there: %s, %v", n, err)
	}
	if _, err := variable.ExecContext(w.ctx, "SELECT 1"); err == nil {
		t.Error("a session that was pinned to the old server goes on")
	}
	waits := make(chan error, 1)
	go func() {
		_, err := idle.ExecContext(w.ctx, "UPDATE t SET n = n + 1 WHERE id = 2")
		waits <- err
	}()
	w.until("the statement waits", func() error {
		rows, err := w.real.AdminRows(w.ctx, "SELECT SessionID FROM stats_mysql_processlist WHERE command <> 'Sleep'")
		if err == nil && len(rows) == 0 {
			err = errors.New("no session is busy")
		}
		return err
	})
	w.apply(w.b)
	if err := <-waits; err != nil {
		t.Errorf("the statement that waited: %v", err)
	}
	if n, err := w.b.Value(w.ctx, "SELECT n FROM "+stack.AppSchema+".t WHERE id = 2"); err != nil || n != "1" {
		t.Errorf("it was executed %s times on the new server, %v", n, err)
	}
	// Who was served is not disturbed by being told the same once more.
	id := w.on(idle)
	w.do(idle, "SET @v := 1")
	w.apply(w.b)
	if w.on(idle) != id || id != "2" {
		t.Error("the session was moved")
	}
}

// drain is how long a planned withdrawal waits here.
const drain = 2 * time.Second

// TestPlannedDrains: what ends within the bound sees no error, the rest exactly one, and nothing new gets to the old server.
func TestPlannedDrains(t *testing.T) {
	w := newWorld(t)
	w.apply(w.a)
	idle, short, long, quick, stuck := w.connect(), w.connect(), w.connect(), w.connect(), w.connect()
	w.do(idle, "SELECT 1")
	w.do(quick, "BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1")
	w.do(stuck, "BEGIN", "UPDATE t SET n = n + 1 WHERE id = 2")
	run := func(conn *sql.Conn, statement string) chan error {
		ended := make(chan error, 1)
		go func() {
			_, err := conn.ExecContext(w.ctx, statement)
			ended <- err
		}()
		return ended
	}
	brief, endless := run(short, "SELECT SLEEP(0.7)"), run(long, "SELECT SLEEP(60)")
	w.until("both statements run", func() error {
		if n, err := w.a.Value(w.ctx, "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'"); err != nil || n != "2" {
			return fmt.Errorf("%s, %v", n, err)
		}
		return nil
	})
	table := w.table(nil)
	table.Planned = true
	began, withdrawn := time.Now(), make(chan error, 1)
	go func() {
		proof, err := w.proxy.Apply(w.ctx, table)
		if err == nil && (!proof.Holds || proof.Serving || proof.Sessions != 0) {
			err = fmt.Errorf("%+v", proof)
		}
		withdrawn <- err
	}()
	w.until("it is soft", func() error {
		if got := w.layer("runtime_mysql_servers"); got != fmt.Sprintf("[[10 %s OFFLINE_SOFT 1]]", w.a.Host()) {
			return errors.New(got)
		}
		return nil
	})
	waits := run(idle, "UPDATE t SET n = n + 10 WHERE id = 1")
	w.do(quick, "UPDATE t SET n = n + 1 WHERE id = 1", "COMMIT")
	if err := <-brief; err != nil {
		t.Errorf("a statement that ended within the bound: %v", err)
	}
	w.must(<-withdrawn)
	t.Logf("withdrawn after %s", time.Since(began))
	if err := <-endless; err == nil {
		t.Error("a statement beyond the bound succeeded")
	}
	if _, err := stuck.ExecContext(w.ctx, "COMMIT"); err == nil {
		t.Error("a COMMIT beyond the bound succeeded")
	}
	w.layers("[]")
	if n, err := w.a.Value(w.ctx, "SELECT GROUP_CONCAT(n ORDER BY id) FROM "+stack.AppSchema+".t"); err != nil || n != "2,0" {
		t.Errorf("the old server has %s, %v", n, err)
	}
	w.apply(w.b)
	if err := <-waits; err != nil {
		t.Errorf("the statement that was held: %v", err)
	}
	if n, err := w.b.Value(w.ctx, "SELECT GROUP_CONCAT(n ORDER BY id) FROM "+stack.AppSchema+".t"); err != nil || n != "10,0" {
		t.Errorf("the new server has %s, %v", n, err)
	}
}

// TestOthersAreLeftAlone: other hostgroups' rows, sessions and edits that are not loaded yet.
func TestOthersAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.apply(w.a)
	row := func(hostgroup int, s *stack.Server, weight int) string {
		return fmt.Sprintf("REPLACE INTO mysql_servers (hostgroup_id, hostname, port, weight, comment) VALUES (%d, '%s', %d, %d, 'it''s theirs')",
			hostgroup, s.Host(), s.Port(), weight)
	}
	w.admin(row(20, w.a, 5), row(30, w.a, 5), "LOAD MYSQL SERVERS TO RUNTIME", "SAVE MYSQL SERVERS TO DISK",
		"REPLACE INTO mysql_users (username, password, default_schema, default_hostgroup) VALUES ('"+stack.AppAccount().User+"', '"+
			stack.AppAccount().Password+"', '"+stack.AppSchema+"', 20)", "LOAD MYSQL USERS TO RUNTIME")
	theirs := w.connect()
	w.do(theirs, "BEGIN", "UPDATE t SET n = n + 1 WHERE id = 2")
	w.admin(row(20, w.b, 7), row(20, w.a, 0), "DELETE FROM mysql_servers WHERE hostgroup_id = 30") // and no LOAD
	memory, runtime, disk := w.layer("mysql_servers"), w.layer("runtime_mysql_servers"), w.layer("disk.mysql_servers")
	for _, to := range []*stack.Server{nil, w.b, w.a} {
		w.apply(to)
	}
	for table, want := range map[string]string{"mysql_servers": memory, "runtime_mysql_servers": runtime, "disk.mysql_servers": disk} {
		if got := w.layer(table); got != want {
			t.Errorf("%s has %s, and had %s", table, got, want)
		}
	}
	w.do(theirs, "COMMIT")
	if n, err := w.a.Value(w.ctx, "SELECT n FROM "+stack.AppSchema+".t WHERE id = 2"); err != nil || n != "1" {
		t.Errorf("their transaction was lost: %s, %v", n, err)
	}
}

// TestDownIsHarmlessOnlyWithItsDisk: a proxy that does not run comes back with what it has saved.
func TestDownIsHarmlessOnlyWithItsDisk(t *testing.T) {
	w := newWorld(t)
	w.apply(w.a)
	w.must(w.real.Kill())
	w.must(w.real.Wait(w.ctx))
	down := func(to *stack.Server) error {
		_, err := w.proxy.Apply(w.ctx, w.table(to))
		return err
	}
	if err := down(w.a); !errors.Is(err, routes.ErrNotRunning) {
		t.Errorf("it comes back with the very master: %v", err)
	}
	for _, to := range []*stack.Server{nil, w.b} {
		if err := down(to); err == nil || errors.Is(err, routes.ErrNotRunning) || !strings.Contains(err.Error(), "older master") {
			t.Errorf("it comes back with the old master: %v", err)
		}
	}
	w.must(w.real.Start(w.ctx))
	w.apply(nil)
	w.must(w.real.Kill())
	w.must(w.real.Wait(w.ctx))
	for _, to := range []*stack.Server{nil, w.b} {
		if err := down(to); !errors.Is(err, routes.ErrNotRunning) {
			t.Errorf("it comes back withdrawn: %v", err)
		}
	}
	w.must(w.real.Start(w.ctx))
	w.layers("[]")
}

// TestWrongPasswordIsNotDeath: a proxy that refuses us serves on.
func TestWrongPasswordIsNotDeath(t *testing.T) {
	w := newWorld(t)
	proxy := newProxy(t, func(c *adapter.Config) { c.Admin, c.User = w.real.AdminAddress(), stack.ProxySQLAccount().User })
	_, err := proxy.Apply(w.ctx, w.table(nil))
	if err == nil || errors.Is(err, routes.ErrNotRunning) || strings.Contains(err.Error(), "hush") {
		t.Errorf("Apply() = %v", err)
	}
	w.must(w.real.Freeze())
	_, err = w.proxy.Apply(w.ctx, w.table(nil))
	w.must(w.real.Thaw())
	if err == nil || errors.Is(err, routes.ErrNotRunning) {
		t.Errorf("frozen: %v", err)
	}
}

// TestConflictIsNotConfirmed: it moves, and is not counted on.
func TestConflictIsNotConfirmed(t *testing.T) {
	w := newWorld(t)
	w.admin("INSERT INTO mysql_replication_hostgroups (writer_hostgroup, reader_hostgroup) VALUES (10, 11)", "LOAD MYSQL SERVERS TO RUNTIME")
	table := w.table(w.a)
	proof, err := w.proxy.Apply(w.ctx, table)
	if err == nil || proof.Holds || !proof.Serving || !strings.Contains(err.Error(), "delete that row") {
		t.Errorf("Apply() = %+v, %v", proof, err)
	}
	if proof, err := w.proxy.Read(w.ctx, table); err != nil || proof.Holds {
		t.Errorf("Read() = %+v, %v", proof, err)
	}
	w.admin("DELETE FROM mysql_replication_hostgroups", "LOAD MYSQL SERVERS TO RUNTIME")
	w.apply(w.a)
	w.admin("SET mysql-query_retries_on_failure=1", "LOAD MYSQL VARIABLES TO RUNTIME")
	if proof := w.apply(w.a); !strings.Contains(proof.Warning, "executed twice") {
		t.Errorf("no warning: %+v", proof)
	}
}

// following is a ledger with one table.
type following struct{ table routes.Table }

func (f following) Tables() []routes.Table                              { return []routes.Table{f.table} }
func (f following) Leads(context.Context) error                         { return nil }
func (f following) Confirm(context.Context, string, routes.Table) error { return nil }

func (f following) Repaired(context.Context, string, routes.Table, string) error { return nil }

// TestDriftIsRepaired: a changed row, a peer's overwrite, an old disk: the keeper puts it back within two seconds.
func TestDriftIsRepaired(t *testing.T) {
	w := newWorld(t)
	w.apply(w.a)
	keeper, err := fleet.New(fleet.Config{}, []fleet.Proxy{w.proxy}, following{w.table(w.a)}, time.Now, slog.New(slog.DiscardHandler))
	w.must(err)
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan error, 1)
	go func() { done <- keeper.Run(ctx) }()
	defer func() {
		cancel()
		w.must(<-done)
	}()
	other := fmt.Sprintf("(hostgroup_id, hostname, port) VALUES (10, '%s', %d)", w.b.Host(), w.b.Port())
	const load = "LOAD MYSQL SERVERS TO RUNTIME"
	for name, drift := range map[string]func(){
		"another row":   func() { w.admin("INSERT INTO mysql_servers "+other, load) },
		"a changed row": func() { w.admin("UPDATE mysql_servers SET weight = 0", load) },
		"a status":      func() { w.admin("UPDATE mysql_servers SET status = 'OFFLINE_SOFT'", load) },
		"an overwrite": func() {
			w.admin("DELETE FROM mysql_servers", "INSERT INTO mysql_servers "+other, load, "SAVE MYSQL SERVERS TO DISK")
		},
		"memory alone":   func() { w.admin("INSERT INTO mysql_servers " + other) },
		"the disk alone": func() { w.admin("INSERT INTO disk.mysql_servers " + other) },
		"an old disk": func() {
			w.admin("DELETE FROM mysql_servers", "INSERT INTO mysql_servers "+other, "SAVE MYSQL SERVERS TO DISK")
			w.must(w.real.Restart(w.ctx))
		},
	} {
		drift()
		began := time.Now()
		w.until(name+" is repaired", func() error {
			for _, table := range []string{"mysql_servers", "runtime_mysql_servers", "disk.mysql_servers"} {
				if got := w.layer(table); got != w.rowOf(w.a) {
					return fmt.Errorf("%s has %s", table, got)
				}
			}
			return nil
		})
		t.Logf("%s: repaired %s later", name, time.Since(began))
	}
}

var _ fleet.Proxy = (*adapter.Proxy)(nil)
