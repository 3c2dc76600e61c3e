//go:build servers

package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAdminLayers(t *testing.T) {
	w := newWorld(t)
	status := func(table string) string {
		w.t.Helper()
		var list []string
		for _, row := range w.rows("SELECT hostname, status FROM " + table + " ORDER BY hostname") {
			list = append(list, map[string]string{w.a.Host(): "A", w.b.Host(): "B"}[row[0]]+" "+row[1])
		}
		return strings.Join(list, ", ")
	}
	want := func(memory, runtime, disk string) {
		t.Helper()
		for table, want := range map[string]string{"mysql_servers": memory, "runtime_mysql_servers": runtime, "disk.mysql_servers": disk} {
			if got := status(table); got != want {
				t.Errorf("%s has %q, want %q", table, got, want)
			}
		}
	}
	want("A ONLINE", "A ONLINE", "")
	w.admin("SAVE MYSQL SERVERS TO DISK")
	want("A ONLINE", "A ONLINE", "A ONLINE")
	w.admin("UPDATE mysql_servers SET status = 'OFFLINE_SOFT'")
	want("A OFFLINE_SOFT", "A ONLINE", "A ONLINE")
	w.admin("SAVE MYSQL SERVERS FROM RUNTIME") // to memory
	want("A ONLINE", "A ONLINE", "A ONLINE")
	w.admin(w.row(w.b, "OFFLINE_HARD"), "LOAD MYSQL SERVERS FROM MEMORY")
	want("A ONLINE, B OFFLINE_HARD", "A ONLINE, B OFFLINE_HARD", "A ONLINE")
	w.admin("LOAD MYSQL SERVERS FROM DISK")
	want("A ONLINE", "A ONLINE, B OFFLINE_HARD", "A ONLINE")
	w.admin("LOAD MYSQL SERVERS TO RUNTIME", "SAVE MYSQL SERVERS TO DISK")
	w.admin("UPDATE mysql_servers SET status = 'SHUNNED'", "LOAD MYSQL SERVERS TO RUNTIME")
	want("A SHUNNED", "A SHUNNED", "A ONLINE")
	w.admin("SAVE MYSQL SERVERS TO MEMORY") // section 1: it writes the server back as ONLINE
	want("A ONLINE", "A SHUNNED", "A ONLINE")

	must(t, w.proxy.Restart(w.ctx))
	want("A ONLINE", "A ONLINE", "A ONLINE")
	w.connect().wantOn("A") // the users were saved too
	w.admin("DELETE FROM mysql_servers", "LOAD MYSQL SERVERS TO RUNTIME", "SAVE MYSQL SERVERS TO DISK")
	must(t, w.proxy.Restart(w.ctx))
	want("", "", "")
}

func TestAdminVariablesAndTables(t *testing.T) {
	w := newWorld(t)
	value := func(table string) string {
		return w.rows("SELECT variable_value FROM " + table + " WHERE variable_name = 'mysql-connect_timeout_server_max'")[0][0]
	}
	w.admin("SET mysql-connect_timeout_server_max = 3000")
	if m, r := value("global_variables"), value("runtime_global_variables"); m != "3000" || r != "10000" {
		t.Errorf("before LOAD memory has %s and runtime %s, want 3000 and 10000", m, r)
	}
	w.admin("LOAD MYSQL VARIABLES TO RUNTIME", "SAVE MYSQL VARIABLES TO DISK")
	must(t, w.proxy.Restart(w.ctx))
	if m, r := value("global_variables"), value("runtime_global_variables"); m != "3000" || r != "3000" {
		t.Errorf("after a restart memory has %s and runtime %s, want 3000 in both", m, r)
	}
	w.admin("INSERT INTO mysql_replication_hostgroups (writer_hostgroup, reader_hostgroup) VALUES (10, 20)",
		"INSERT INTO proxysql_servers (hostname, port) VALUES ('127.0.0.9', 6032)",
		"LOAD MYSQL SERVERS TO RUNTIME", "LOAD PROXYSQL SERVERS TO RUNTIME")
	if rows := w.rows("SELECT writer_hostgroup, reader_hostgroup FROM runtime_mysql_replication_hostgroups"); fmt.Sprint(rows) != "[[10 20]]" {
		t.Errorf("runtime_mysql_replication_hostgroups has %v", rows)
	}
	if rows := w.rows("SELECT hostname, port FROM runtime_proxysql_servers"); fmt.Sprint(rows) != "[[127.0.0.9 6032]]" {
		t.Errorf("runtime_proxysql_servers has %v", rows)
	}
	for _, wrong := range []string{"INSERT INTO mysql_servers (hostname, status) VALUES ('x', 'ASLEEP')", "SELEC 1",
		"UPDATE no_such_table SET a = 1", "LOAD MYSQL SERVERS TO NOWHERE"} {
		if err := w.proxy.Admin(w.ctx, wrong); code(err) <= 0 {
			t.Errorf("%q ended with %v, want an error of the server's", wrong, err)
		}
	}
}

func TestKillAndProcessList(t *testing.T) {
	w := newWorld(t)
	idle, busy := w.connect(), w.connect()
	id, err := idle.value("SELECT CONNECTION_ID()")
	must(t, err)
	busy.do("BEGIN")
	busy.wantOn("A")
	other, err := busy.value("SELECT CONNECTION_ID()")
	must(t, err)
	rows := w.rows("SELECT user, hostgroup, command, srv_host FROM stats_mysql_processlist WHERE SessionID = " + other)
	if fmt.Sprint(rows) != fmt.Sprintf("[[app 0 Sleep %s]]", w.a.Host()) {
		t.Errorf("the process list says %v of a client in a transaction", rows)
	}
	w.admin("KILL CONNECTION "+id, "KILL CONNECTION "+other)
	w.wantCode("the statement of a killed client", idle.exec("SELECT 1"), 2013)
	w.wantCode("the statement of a killed client in a transaction", busy.exec("SELECT 1"), 2013)
	w.until("the killed clients are gone from the list", func() bool {
		return len(w.rows("SELECT SessionID FROM stats_mysql_processlist WHERE SessionID IN ("+id+", "+other+")")) == 0
	})
}

// A client in the middle of a statement can be killed, and can leave.
func TestLeavingInTheMiddle(t *testing.T) {
	w := newWorld(t)
	killed, leaving, waiting := w.connect(), w.connect(), w.connect()
	id, err := killed.value("SELECT CONNECTION_ID()")
	must(t, err)
	slept := killed.background("SELECT SLEEP(30)")
	left := leaving.background("SELECT SLEEP(31)")
	w.until("the statements run on A", func() bool { return w.running(w.a, "SELECT SLEEP") == 2 })
	w.admin("KILL CONNECTION " + id)
	w.wantCode("the statement of a killed client", w.end("the statement", slept).err, 2013)
	w.admin("DELETE FROM mysql_servers", load)
	kept := waiting.background("SELECT 1")
	w.until("a statement waits for a server", func() bool {
		return len(w.rows("SELECT SessionID FROM stats_mysql_processlist WHERE info = 'SELECT 1'")) == 1
	})
	for _, c := range []*client{leaving, waiting} {
		must(t, c.conn.Close())
	}
	w.until("the list is empty", func() bool { return w.clients() == 0 })
	w.end("the statement of the client that left", left)
	w.end("the waiting statement of the client that left", kept)
}

// A frozen proxy answers nobody, and goes on as it was when it is thawed.
func TestFrozen(t *testing.T) {
	w := newWorld(t)
	c := w.connect()
	c.do("BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1")
	must(t, w.proxy.Freeze())
	done := c.backgroundExec("COMMIT")
	ctx, cancel := context.WithTimeout(w.ctx, time.Second)
	defer cancel()
	if err := w.proxy.Admin(ctx, "SELECT 1"); err == nil {
		t.Error("a frozen proxy answered")
	}
	w.pending("the COMMIT", done)
	must(t, w.proxy.Thaw())
	w.wantCode("the COMMIT", w.end("the COMMIT", done).err, 0)
	if n := w.n(w.a, 1); n != "1" {
		t.Errorf("A stored the transaction %s times, want 1", n)
	}
}

func TestSignIn(t *testing.T) {
	w := newWorld(t)
	w.admin("UPDATE mysql_users SET password = 'another'", "LOAD MYSQL USERS TO RUNTIME")
	_, err := w.tryConnect()
	w.wantCode("a sign-in with a wrong password", err, 1045)
	w.admin("DELETE FROM mysql_users", "LOAD MYSQL USERS TO RUNTIME")
	_, err = w.tryConnect()
	w.wantCode("a sign-in of nobody", err, 1045)
}
