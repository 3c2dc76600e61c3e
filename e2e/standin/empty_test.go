//go:build servers

package main

import (
	"fmt"
	"testing"
	"time"
)

// TestWithoutAServer: what the proxy answers by itself, and what it needs a server for.
func TestWithoutAServer(t *testing.T) {
	w := newWorld(t)
	w.reset(set("connect_timeout_server_max", "1000"))
	w.admin("DELETE FROM mysql_servers", load)
	begin := time.Now()
	c := w.connect() // a new client signs in all the same
	for _, statement := range []string{"COMMIT", "SET NAMES utf8mb4", "SET autocommit=0", "SET autocommit=1", "USE app"} {
		w.wantCode(statement, c.exec(statement), 0)
	}
	if id, err := c.value("SELECT CONNECTION_ID()"); err != nil || id == "" {
		t.Errorf("SELECT CONNECTION_ID() ended with %q, %v", id, err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("what the proxy answers by itself took %v, as if it waited for a server", took)
	}
	for _, query := range []string{"BEGIN", "SELECT 1", "SELECT @@version", "SHOW TABLES", "SET @a=1"} {
		wantTimeout(w, query, w.end(query, c.backgroundExec(query)), time.Second)
	}
	// Retries are for servers that fail, not for servers that are not there.
	for _, retries := range []string{"0", "1", "10", "1000"} {
		w.admin(set("connect_retries_on_failure", retries), "LOAD MYSQL VARIABLES TO RUNTIME")
		wantTimeout(w, retries+" retries", w.end("the statement", c.backgroundExec("DO 1")), time.Second)
	}
	w.admin(w.row(w.a, "ONLINE"), load)
	c.wantOn("A") // the client has survived all of it
}

// TestTheWait is the variable's, as it was when the statement came; later changes alter it in neither direction.
func TestTheWait(t *testing.T) {
	w := newWorld(t)
	w.admin("DELETE FROM mysql_servers", load)
	waits := []int{20000, 1000, 10000, 3000}
	var ends []<-chan outcome
	for _, ms := range waits {
		c := w.connect()
		w.admin(set("connect_timeout_server_max", fmt.Sprint(ms)), "LOAD MYSQL VARIABLES TO RUNTIME")
		ends = append(ends, c.backgroundExec("DO 1"))
		w.until("the statement waits", func() bool {
			return len(w.rows("SELECT SessionID FROM stats_mysql_processlist WHERE info = 'DO 1'")) == len(ends)
		})
	}
	for _, i := range []int{1, 3, 2, 0} {
		wait := time.Duration(waits[i]) * time.Millisecond
		wantTimeout(w, fmt.Sprint("the statement that waits ", wait), w.end("the statement", ends[i]), wait)
	}
}

// TestAServerAppears: the waiting statement goes to it, however late.
func TestAServerAppears(t *testing.T) {
	w := newWorld(t)
	appears := func(what string, after time.Duration, begin, change []string) {
		w.t.Helper()
		w.reset()
		w.admin(append(begin, load)...)
		c := w.connect()
		read := c.background("SELECT name FROM me")
		time.Sleep(after)
		w.pending(what, read)
		w.admin(append(change, load)...)
		want := "B"
		if len(change) == 1 && len(begin) == 1 && change[0] == online {
			want = "A"
		}
		if o := w.end(what, read); o.err != nil || o.value != want || o.took < after {
			w.t.Errorf("%s: the statement ended with %q, %v after %v, want %s", what, o.value, o.err, o.took, want)
		}
	}
	for _, after := range []time.Duration{time.Second, 3 * time.Second, 7 * time.Second, 9 * time.Second} {
		appears(fmt.Sprint("B is added after ", after), after, []string{"DELETE FROM mysql_servers"}, []string{w.row(w.b, "ONLINE")})
	}
	for _, status := range []string{"OFFLINE_HARD", "OFFLINE_SOFT", "SHUNNED"} {
		begin := []string{"UPDATE mysql_servers SET status = '" + status + "'"}
		appears(status+" is set ONLINE", time.Second, begin, []string{online})
		appears(status+" and its hostname is changed", time.Second, begin, []string{
			fmt.Sprintf("UPDATE mysql_servers SET status = 'ONLINE', hostname = '%s'", w.b.Host())})
	}
}

const online = "UPDATE mysql_servers SET status = 'ONLINE'"
