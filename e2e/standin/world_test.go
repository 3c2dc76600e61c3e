//go:build servers

package main

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"switchyard/e2e/stack"
)

// world is one ProxySQL (real or stand-in) before two MariaDB servers without replication, A and B.
type world struct {
	t     *testing.T
	ctx   context.Context
	stack *stack.Stack
	proxy *stack.ProxySQL
	a, b  *stack.Server
	// proxyOnly: A is down, so reset leaves it alone.
	proxyOnly bool
}

// newWorld starts everything. Only A has a row, ONLINE in hostgroup 0.
func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel() // these tests wait more than they work
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	s, err := stack.New(ctx, stack.Options{})
	must(t, err)
	w := &world{t: t, ctx: ctx, stack: s}
	t.Cleanup(func() {
		if w.proxy != nil {
			said := w.proxy.Output()
			if strings.Contains(said, "panic:") || strings.Contains(said, "DATA RACE") {
				t.Error("the proxy is broken")
			}
			if t.Failed() {
				t.Logf("the proxy said:\n%s", said)
			}
		}
		must(t, s.Close())
	})
	start := func(id uint32) *stack.Server {
		server, err := s.StartServer(ctx, stack.ServerSpec{Flavor: stack.MariaDB, ServerID: id})
		must(t, err)
		must(t, server.Exec(ctx, "SET GLOBAL read_only = 0", "CREATE DATABASE IF NOT EXISTS app",
			"CREATE TABLE app.t (id INT PRIMARY KEY, n INT NOT NULL DEFAULT 0) ENGINE = InnoDB",
			"CREATE TABLE app.auto (id INT AUTO_INCREMENT PRIMARY KEY, n INT) ENGINE = InnoDB",
			"INSERT INTO app.t (id) VALUES (1), (2), (3)",
			"CREATE TABLE app.me (name CHAR(1) PRIMARY KEY)", "INSERT INTO app.me VALUES ('"+string(rune('A'+id-1))+"')"))
		return server
	}
	w.a, w.b = start(1), start(2)
	w.proxy, err = s.StartProxySQL(ctx, "proxysql", stack.ProxySQLOptions{})
	must(t, err)
	w.reset()
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reset makes A the one server of hostgroup 0, with the variables' defaults, and rows as they were.
func (w *world) reset(variables ...string) {
	w.t.Helper()
	statements := []string{"DELETE FROM mysql_servers"}
	statements = append(statements, w.row(w.a, "ONLINE"), load)
	for name, value := range map[string]string{"connect_timeout_server": "1000", "connect_timeout_server_max": "10000",
		"connect_retries_on_failure": "10", "connect_retries_delay": "1", "query_retries_on_failure": "1",
		"auto_increment_delay_multiplex": "5", "shun_recovery_time_sec": "10"} {
		statements = append(statements, set(name, value))
	}
	statements = append(append(statements, variables...), "LOAD MYSQL VARIABLES TO RUNTIME")
	w.admin(statements...)
	for _, server := range []*stack.Server{w.a, w.b} {
		if server == w.a && w.proxyOnly {
			continue
		}
		must(w.t, server.Exec(w.ctx, "UPDATE app.t SET n = 0"))
	}
}

const load = "LOAD MYSQL SERVERS TO RUNTIME"

func set(name, value string) string {
	return fmt.Sprintf("UPDATE global_variables SET variable_value = '%s' WHERE variable_name = 'mysql-%s'", value, name)
}

func (w *world) row(server *stack.Server, status string) string {
	return fmt.Sprintf("REPLACE INTO mysql_servers (hostgroup_id, hostname, port, status) VALUES (0, '%s', %d, '%s')",
		server.Host(), server.Port(), status)
}

func (w *world) admin(statements ...string) {
	w.t.Helper()
	must(w.t, w.proxy.Admin(w.ctx, statements...))
}

func (w *world) rows(query string) [][]string {
	w.t.Helper()
	rows, err := w.proxy.AdminRows(w.ctx, query)
	must(w.t, err)
	return rows
}

// client is one connection through the proxy, without a pool that would try again.
type client struct {
	w    *world
	conn driver.Conn
}

func (w *world) connect() *client {
	w.t.Helper()
	c, err := w.tryConnect()
	must(w.t, err)
	return c
}

func (w *world) tryConnect() (*client, error) {
	config := mysql.NewConfig()
	account := stack.AppAccount()
	config.Net, config.Addr, config.User, config.Passwd, config.DBName = "tcp", w.proxy.Address(), account.User, account.Password, stack.AppSchema
	config.InterpolateParams, config.CheckConnLiveness, config.Timeout = true, false, 5*time.Second
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	conn, err := connector.Connect(w.ctx)
	if err != nil {
		return nil, err
	}
	c := &client{w: w, conn: conn}
	w.t.Cleanup(func() { _ = conn.Close() }) // it may have been closed by the proxy
	return c, nil
}

// exec runs a statement without rows.
func (c *client) exec(statement string) error {
	_, err := c.conn.(driver.ExecerContext).ExecContext(c.w.ctx, statement, nil)
	return err
}

// value reads the first value of a query.
func (c *client) value(query string) (text string, err error) {
	rows, err := c.conn.(driver.QueryerContext).QueryContext(c.w.ctx, query, nil)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(row); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	switch v := row[0].(type) {
	case []byte:
		return string(v), nil
	case nil:
		return "NULL", nil
	default:
		return fmt.Sprint(v), nil
	}
}

func (c *client) do(statements ...string) {
	c.w.t.Helper()
	for _, statement := range statements {
		if err := c.exec(statement); err != nil {
			c.w.t.Fatalf("%q: %v", statement, err)
		}
	}
}

// on is the server that a query through the client is answered by.
func (c *client) on() string {
	c.w.t.Helper()
	name, err := c.value("SELECT name FROM me")
	if err != nil {
		c.w.t.Fatalf("ask which server answers: %v", err)
	}
	return name
}

func (c *client) wantOn(server string) {
	c.w.t.Helper()
	if got := c.on(); got != server {
		c.w.t.Errorf("the statement went to %s, want %s", got, server)
	}
}

// threads counts the application's connections on a server.
func (w *world) threads(server *stack.Server) int {
	w.t.Helper()
	text, err := server.Value(w.ctx, "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app'")
	must(w.t, err)
	count, err := strconv.Atoi(text)
	must(w.t, err)
	return count
}

// n reads the counter of a row, past the proxy.
func (w *world) n(server *stack.Server, id int) string {
	w.t.Helper()
	text, err := server.Value(w.ctx, "SELECT n FROM app.t WHERE id = ?", id)
	must(w.t, err)
	return text
}

// code is the error code that a client sees; 2013 stands for a connection that is closed.
func code(err error) int {
	var refused *mysql.MySQLError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &refused):
		return int(refused.Number)
	case errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || strings.Contains(err.Error(), "reset by peer"):
		return 2013
	default:
		return -1
	}
}

func (w *world) wantCode(what string, err error, want int) {
	w.t.Helper()
	if got := code(err); got != want {
		w.t.Errorf("%s ended with %d (%v), want %d", what, got, err, want)
	}
}

// until waits for a condition.
func (w *world) until(what string, check func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !check() {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// running counts the application's statements on a server whose text begins so.
func (w *world) running(server *stack.Server, statement string) int {
	w.t.Helper()
	text, err := server.Value(w.ctx, "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app' AND info LIKE CONCAT(?, '%')", statement)
	must(w.t, err)
	count, err := strconv.Atoi(text)
	must(w.t, err)
	return count
}

// transactions counts the open transactions of the application on a server.
func (w *world) transactions(server *stack.Server) string {
	w.t.Helper()
	time.Sleep(150 * time.Millisecond) // the table is a copy that is not renewed while somebody reads it every 0.1 s
	text, err := server.Value(w.ctx, "SELECT COUNT(*) FROM information_schema.innodb_trx x JOIN information_schema.processlist p "+
		"ON p.id = x.trx_mysql_thread_id WHERE p.user = 'app'")
	must(w.t, err)
	return text
}

// lock holds a row of a server until the returned function is called.
func (w *world) lock(server *stack.Server, id int) (release func()) {
	w.t.Helper()
	tx, err := server.Root().BeginTx(w.ctx, nil)
	must(w.t, err)
	var n int
	must(w.t, tx.QueryRowContext(w.ctx, "SELECT n FROM app.t WHERE id = ? FOR UPDATE", id).Scan(&n))
	var once sync.Once
	release = func() { once.Do(func() { must(w.t, tx.Rollback()) }) }
	w.t.Cleanup(func() { once.Do(func() { _ = tx.Rollback() }) }) // the server may be gone by now
	return release
}

// outcome is how a statement ended that ran beside the test.
type outcome struct {
	value string
	err   error
	took  time.Duration
}

// background runs a query beside the test.
func (c *client) background(query string) <-chan outcome {
	done, begin := make(chan outcome, 1), time.Now()
	go func() {
		value, err := c.value(query)
		done <- outcome{value, err, time.Since(begin)}
	}()
	return done
}

// backgroundExec runs a statement without rows beside the test.
func (c *client) backgroundExec(statement string) <-chan outcome {
	done, begin := make(chan outcome, 1), time.Now()
	go func() {
		err := c.exec(statement)
		done <- outcome{"", err, time.Since(begin)}
	}()
	return done
}

// end waits for the outcome of a statement.
func (w *world) end(what string, done <-chan outcome) outcome {
	w.t.Helper()
	select {
	case o := <-done:
		return o
	case <-time.After(45 * time.Second):
		w.t.Fatalf("%s does not end", what)
		return outcome{}
	}
}

// pending fails the test when a statement has ended already.
func (w *world) pending(what string, done <-chan outcome) {
	w.t.Helper()
	select {
	case o := <-done:
		w.t.Errorf("%s ended already: %q %v after %v", what, o.value, o.err, o.took)
	default:
	}
}
