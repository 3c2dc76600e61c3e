//go:build servers

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	protocol "github.com/go-mysql-org/go-mysql/client"

	"switchyard/e2e/stack"
)

// event is a way in which the row of A goes.
type event struct {
	name string
	hard bool
	// withB: the event is one only with B present.
	withB      bool
	statements func(w *world) []string
}

func events() []event {
	status := func(name string) func(*world) []string {
		return func(*world) []string { return []string{"UPDATE mysql_servers SET status = '" + name + "'"} }
	}
	return []event{
		{"OFFLINE_SOFT", false, false, status("OFFLINE_SOFT")},
		{"SHUNNED", false, false, status("SHUNNED")},
		{"OFFLINE_HARD", true, false, status("OFFLINE_HARD")},
		{"row deleted", true, false, func(*world) []string { return []string{"DELETE FROM mysql_servers"} }},
		{"hostgroup changed", true, false, func(*world) []string { return []string{"UPDATE mysql_servers SET hostgroup_id = 1"} }},
		{"hostname changed", true, true, func(w *world) []string {
			return []string{fmt.Sprintf("UPDATE mysql_servers SET hostname = '%s'", w.b.Host())}
		}},
	}
}

// happen makes the event true of the runtime.
func (e event) happen(w *world, withB bool) {
	w.t.Helper()
	statements := e.statements(w)
	if withB && !e.withB {
		statements = append(statements, w.row(w.b, "ONLINE"))
	}
	w.admin(append(statements, load)...)
}

// TestRowOfAChanges is the main table of section 1: six kinds of clients, six events, B present or nobody.
func TestRowOfAChanges(t *testing.T) {
	w := newWorld(t)
	for _, e := range events() {
		for _, withB := range []bool{true, false} {
			if e.withB && !withB {
				continue
			}
			name := e.name + ", empty"
			if withB {
				name = e.name + ", B present"
			}
			t.Run(name, func(t *testing.T) {
				outer := w.t
				w.t = t
				defer func() { w.t = outer }()
				rowChanges(w, e, withB)
			})
		}
	}
}

// A hostgroup without servers keeps statements waiting so long in these tests.
const shortWait = 2 * time.Second

func rowChanges(w *world, e event, withB bool) {
	w.reset(set("connect_timeout_server_max", fmt.Sprint(shortWait.Milliseconds())))
	idle, pinned, working, selecting, updating, inside := w.connect(), w.connect(), w.connect(), w.connect(), w.connect(), w.connect()
	idle.wantOn("A")
	pinned.do("SET @v := 41")
	working.do("BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1")
	inside.do("BEGIN", "UPDATE t SET n = n + 1 WHERE id = 3")
	release := w.lock(w.a, 2)
	selected := selecting.background("SELECT name FROM me WHERE SLEEP(2) = 0")
	updated := updating.backgroundExec("UPDATE t SET n = n + 1 WHERE id = 2")
	read := inside.background("SELECT SLEEP(2.001)")
	w.until("the statements run on A", func() bool {
		return w.running(w.a, "SELECT name") == 1 && w.running(w.a, "UPDATE") == 1 && w.running(w.a, "SELECT SLEEP") == 1
	})

	e.happen(w, withB)

	if e.hard {
		hardInFlight(w, withB, selected, updated, read, release)
		hardIdle(w, pinned, working)
	} else {
		softInFlight(w, inside, selected, updated, read, release)
		softIdle(w, withB, pinned, working)
	}
	wantNext(w, withB, "an idle client", idle)
	if e.hard {
		wantNext(w, withB, "a client whose statement was run again", updating)
		wantNext(w, withB, "a client whose query was run again", selecting)
	}
	w.until("A has nobody's transaction", func() bool { return w.transactions(w.a) == "0" })
}

// wantNext: the client lives, and its next statement goes to B, or waits in vain.
func wantNext(w *world, withB bool, what string, c *client) {
	w.t.Helper()
	if withB {
		c.wantOn("B")
		return
	}
	for range 2 { // the client survives the error
		wantTimeout(w, what, w.end(what, c.background("SELECT name FROM me")), shortWait)
	}
}

func wantTimeout(w *world, what string, o outcome, wait time.Duration) {
	w.t.Helper()
	w.wantCode(what, o.err, 9001)
	if o.err != nil && !strings.Contains(o.err.Error(), "Max connect timeout reached while reaching hostgroup 0 after ") {
		w.t.Errorf("%s is told %q", what, o.err)
	}
	if o.took < wait-50*time.Millisecond || o.took > wait+10*time.Second {
		w.t.Errorf("%s waited %v, want %v", what, o.took, wait)
	}
}

func softInFlight(w *world, inside *client, selected, updated, read <-chan outcome, release func()) {
	w.t.Helper()
	if o := w.end("the SELECT", selected); o.err != nil || o.value != "A" {
		w.t.Errorf("the SELECT in flight ended with %q, %v, want A", o.value, o.err)
	}
	if o := w.end("the SELECT inside a transaction", read); o.err != nil || o.value != "0" {
		w.t.Errorf("the SELECT in flight inside a transaction ended with %q, %v", o.value, o.err)
	}
	inside.wantOn("A")
	inside.do("COMMIT")
	w.pending("the UPDATE behind a lock", updated)
	release()
	w.wantCode("the UPDATE in flight", w.end("the UPDATE", updated).err, 0)
	if a, b, c := w.n(w.a, 2), w.n(w.b, 2), w.n(w.a, 3); a != "1" || b != "0" || c != "1" {
		w.t.Errorf("the UPDATE was executed %s times on A and %s times on B, the transaction %s times, want 1, 0 and 1", a, b, c)
	}
}

func softIdle(w *world, withB bool, pinned, working *client) {
	w.t.Helper()
	if v, err := pinned.value("SELECT @v"); err != nil || v != "41" {
		w.t.Errorf("the session's variable is %q, %v, want 41", v, err)
	}
	pinned.wantOn("A")
	working.wantOn("A")
	working.do("COMMIT")
	if a, b := w.n(w.a, 1), w.n(w.b, 1); a != "1" || b != "0" {
		w.t.Errorf("the transaction was stored %s times on A and %s times on B, want 1 and 0", a, b)
	}
	wantNext(w, withB, "a client after its COMMIT", working)
}

func hardInFlight(w *world, withB bool, selected, updated, read <-chan outcome, release func()) {
	w.t.Helper()
	w.wantCode("the SELECT in flight inside a transaction", w.end("the SELECT inside a transaction", read).err, 2013)
	update := w.end("the UPDATE", updated) // A's lock is still held
	if w.running(w.a, "UPDATE") != 1 {
		w.t.Error("the abandoned UPDATE does not run on A any more: somebody sent a KILL")
	}
	if withB {
		w.wantCode("the UPDATE in flight", update.err, 0)
		if n := w.n(w.b, 2); n != "1" {
			w.t.Errorf("B executed the UPDATE %s times, want 1", n)
		}
		if o := w.end("the SELECT", selected); o.err != nil || o.value != "B" || o.took < 2*time.Second {
			w.t.Errorf("the SELECT in flight ended with %q, %v after %v, want B after the whole of its time", o.value, o.err, o.took)
		}
	} else {
		wantTimeout(w, "the UPDATE in flight", update, shortWait)
		wantTimeout(w, "the SELECT in flight", w.end("the SELECT", selected), shortWait)
	}
	if n := w.n(w.a, 2); n != "0" {
		w.t.Errorf("A executed the UPDATE behind a lock %s times already", n)
	}
	release()
	w.until("A has executed the abandoned UPDATE all the same", func() bool { return w.n(w.a, 2) == "1" })
}

func hardIdle(w *world, pinned, working *client) {
	w.t.Helper()
	// The abandoned SLEEPs end when A looks at their sockets; the idle client's transaction stays.
	w.until("A has the idle client's transaction only", func() bool { return w.transactions(w.a) == "1" })
	rows := w.rows(fmt.Sprintf("SELECT status FROM stats_mysql_connection_pool WHERE hostgroup = 0 AND srv_host = '%s'", w.a.Host()))
	if fmt.Sprint(rows) != "[[OFFLINE_HARD]]" {
		w.t.Errorf("the pool's statistics say %v of A, want OFFLINE_HARD", rows)
	}
	w.wantCode("the next statement of a client with session state", pinned.exec("DO 1"), 2013)
	w.wantCode("the next statement of a client in a transaction", working.exec("DO 1"), 2013)
	w.until("A has rolled back", func() bool { return w.transactions(w.a) == "0" })
	if n := w.n(w.a, 1); n != "0" {
		w.t.Errorf("the transaction was stored on A %s times, want 0", n)
	}
}

// TestEndOfWorkOnAServerThatIsGone: COMMIT and ROLLBACK are no better than another statement.
func TestEndOfWorkOnAServerThatIsGone(t *testing.T) {
	w := newWorld(t)
	for _, e := range events() {
		for _, statement := range []string{"COMMIT", "ROLLBACK"} {
			if !e.hard {
				continue
			}
			w.reset()
			c := w.connect()
			c.do("BEGIN", "UPDATE t SET n = 5 WHERE id = 1")
			e.happen(w, true)
			w.wantCode(statement+" after "+e.name, c.exec(statement), 2013)
			w.until("A has rolled back", func() bool { return w.transactions(w.a) == "0" })
			if n := w.n(w.a, 1); n != "0" {
				t.Errorf("%s after %s: A stored it", statement, e.name)
			}
		}
	}
}

// TestServerComesBack: a transaction goes on as if nothing had happened.
func TestServerComesBack(t *testing.T) {
	w := newWorld(t)
	for _, e := range events() {
		if e.name != "OFFLINE_SOFT" && e.name != "OFFLINE_HARD" && e.name != "row deleted" {
			continue
		}
		w.reset()
		c := w.connect()
		c.do("BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1")
		e.happen(w, true)
		time.Sleep(300 * time.Millisecond) // nothing may happen meanwhile
		w.admin(w.row(w.a, "ONLINE"), load)
		c.wantOn("A")
		c.do("UPDATE t SET n = n + 1 WHERE id = 1", "COMMIT")
		if n := w.n(w.a, 1); n != "2" {
			t.Errorf("%s and back: A stored %s of 2 updates", e.name, n)
		}
	}
}

// TestPingSaysNothing: the proxy answers by itself while the server of the transaction is gone.
func TestPingSaysNothing(t *testing.T) {
	w := newWorld(t)
	for _, e := range events() {
		if !e.hard {
			continue
		}
		w.reset()
		account := stack.AppAccount()
		c, err := protocol.Connect(w.proxy.Address(), account.User, account.Password, stack.AppSchema)
		must(t, err)
		t.Cleanup(func() { _ = c.Close() }) // the proxy has closed it
		_, err = c.Execute("BEGIN")
		must(t, err)
		_, err = c.Execute("UPDATE t SET n = 5 WHERE id = 1")
		must(t, err)
		e.happen(w, true)
		for range 2 {
			must(t, c.Ping())
			_, err = c.Execute("SET NAMES utf8mb4")
			must(t, err)
			must(t, c.UseDB("information_schema"))
			must(t, c.UseDB("app"))
		}
		w.until(e.name+": A has the transaction open", func() bool { return w.transactions(w.a) == "1" })
		if _, err = c.Execute("SELECT 1"); err == nil {
			t.Errorf("%s: a statement of the transaction succeeded", e.name)
		}
		if err := c.Ping(); err == nil {
			t.Errorf("%s: the connection is still open after it", e.name)
		}
	}
}

// TestAutoIncrement: after a generated value a session keeps its server for some statements.
func TestAutoIncrement(t *testing.T) {
	w := newWorld(t)
	const insert = "INSERT INTO auto (n) VALUES (1)"
	for _, e := range events() {
		w.reset()
		c := w.connect()
		c.do(insert)
		e.happen(w, true)
		if e.hard {
			w.wantCode(e.name+": the next statement", c.exec("DO 1"), 2013)
		} else {
			for range 5 {
				c.wantOn("A")
			}
			c.wantOn("B")
		}

		w.reset(set("auto_increment_delay_multiplex", "0"))
		c = w.connect()
		c.do(insert)
		e.happen(w, true)
		c.wantOn("B")

		w.reset()
		c = w.connect()
		c.do("UPDATE t SET n = 1 WHERE id = 1")
		e.happen(w, true)
		c.wantOn("B")
	}
}

// TestNoRerun: with query_retries_on_failure = 0 the client is told, though only by the end of its connection.
func TestNoRerun(t *testing.T) {
	w := newWorld(t)
	for _, e := range events() {
		if !e.hard {
			continue
		}
		w.reset(set("query_retries_on_failure", "0"))
		c := w.connect()
		release := w.lock(w.a, 2)
		updated := c.backgroundExec("UPDATE t SET n = n + 1 WHERE id = 2")
		w.until("the UPDATE waits on A", func() bool { return w.running(w.a, "UPDATE") == 1 })
		e.happen(w, true)
		w.wantCode(e.name+": the UPDATE", w.end("the UPDATE", updated).err, 2013)
		release()
		w.until("A has executed it all the same", func() bool { return w.n(w.a, 2) == "1" })
		if n := w.n(w.b, 2); n != "0" {
			t.Errorf("%s: B executed it %s times, want 0", e.name, n)
		}
	}
}

// TestFreeConnections: they go, at the latest when the statistics are read.
func TestFreeConnections(t *testing.T) {
	w := newWorld(t)
	for _, e := range events() {
		for _, look := range []bool{false, true} {
			w.reset()
			var clients []*client
			for range 3 {
				c := w.connect()
				c.do("BEGIN")
				clients = append(clients, c)
			}
			for _, c := range clients {
				c.do("COMMIT")
			}
			if n := w.threads(w.a); n < 3 {
				t.Fatalf("A has %d connections of the application, want 3 free ones", n)
			}
			e.happen(w, true)
			if look {
				w.rows("SELECT * FROM stats_mysql_connection_pool")
			}
			w.until(e.name+": A's free connections are closed", func() bool { return w.threads(w.a) == 0 })
			clients[0].wantOn("B")
		}
	}
}

// TestShunnedByHandStays: recovery is for servers that were shunned by their failures.
func TestShunnedByHandStays(t *testing.T) {
	w := newWorld(t)
	w.reset(set("shun_recovery_time_sec", "1"), set("connect_timeout_server_max", "500"))
	w.admin("UPDATE mysql_servers SET status = 'SHUNNED'", load)
	c := w.connect()
	for begin := time.Now(); time.Since(begin) < 4*time.Second; {
		w.wantCode("a statement", c.exec("DO 1"), 9001)
	}
}
