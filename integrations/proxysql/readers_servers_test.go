//go:build servers

package proxysql_test

import (
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/e2e/stack"
	adapter "switchyard/integrations/proxysql"
	"switchyard/router/routes"
)

const readerHostgroup = 11

// reading makes the world's adapter carry readers, too.
func (w *world) reading(datacenter string) {
	w.t.Helper()
	with, account := slot, stack.ProxySQLAccount()
	with.Reader = readerHostgroup
	var err error
	w.proxy, err = adapter.New(adapter.Config{Name: "ps1", Cluster: "shop", Admin: w.real.AdminAddress(), User: account.User,
		Password: account.Password, Slot: with, Drain: drain, Timeout: 5 * time.Second, Datacenter: datacenter}, time.Now,
		slog.New(slog.DiscardHandler))
	w.must(err)
}

func (w *world) reads(to *stack.Server, readers ...*stack.Server) routes.Table {
	table := w.table(to)
	for n, s := range readers {
		table.Readers = append(table.Readers, routes.Reader{Server: *server(s), Datacenter: fmt.Sprintf("dc%d", n+1), Weight: 3})
	}
	slices.SortFunc(table.Readers, func(a, b routes.Reader) int { return routes.CompareServers(a.Server, b.Server) })
	return table
}

func (w *world) applyReaders(table routes.Table) routes.Proof {
	w.t.Helper()
	proof, err := w.proxy.Apply(w.ctx, table)
	if err != nil || !proof.Holds || !proof.ReadersHold() {
		w.t.Fatalf("Apply() = %+v, %+v, %v", proof, proof.Readers, err)
	}
	if read, err := w.proxy.Read(w.ctx, table); err != nil || !read.Holds || !read.ReadersHold() {
		w.t.Fatalf("Read() = %+v, %+v, %v", read, read.Readers, err)
	}
	return proof
}

func (w *world) connectReader() *sql.Conn {
	w.t.Helper()
	db, err := w.real.Open(stack.ControllerAccount(), "")
	w.must(err)
	w.t.Cleanup(func() { _ = db.Close() })
	conn, err := db.Conn(w.ctx)
	w.must(err)
	return conn
}

// TestReadersFollowTheTable: in every layer, and without a touch to the writer's hostgroup and to those of others.
func TestReadersFollowTheTable(t *testing.T) {
	w := newWorld(t)
	w.reading("")
	w.admin("INSERT INTO mysql_servers (hostgroup_id, hostname) VALUES (20, 'else.where')", "LOAD MYSQL SERVERS TO RUNTIME",
		"SAVE MYSQL SERVERS TO DISK")
	row := func(hostgroup int, s *stack.Server, weight int) string {
		return fmt.Sprintf("[%d %s ONLINE %d]", hostgroup, s.Host(), weight)
	}
	rows := func(list ...string) string {
		slices.Sort(list)
		return "[" + strings.Join(append(list, "[20 else.where ONLINE 1]"), " ") + "]"
	}
	// Withdrawn, and readers are served all the same.
	w.applyReaders(w.reads(nil, w.a, w.b))
	w.layers(rows(row(11, w.a, 3), row(11, w.b, 3)))
	var onA *sql.Conn
	w.until("a reader reaches a", func() error {
		onA = w.connectReader()
		w.do(onA, "BEGIN")
		if id := w.on(onA); id != "1" {
			return fmt.Errorf("it is on %s", id)
		}
		return nil
	})
	// The new writer is no reader, and who read there is out.
	proof := w.applyReaders(w.reads(w.a, w.b))
	w.layers(rows(row(10, w.a, 1), row(11, w.b, 3)))
	if _, err := onA.ExecContext(w.ctx, "SELECT 1"); err == nil || proof.Readers.Left != 0 {
		t.Errorf("a reader's transaction on the new writer goes on: %+v", proof.Readers)
	}
	if id := w.on(w.connectReader()); id != "2" {
		t.Errorf("a reader reached %s", id)
	}
	// A revision that changes readers only leaves a writer's transaction alone.
	writer := w.connect()
	w.do(writer, "BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1")
	w.applyReaders(w.reads(w.a))
	w.layers(rows(row(10, w.a, 1)))
	w.do(writer, "COMMIT")
	// What somebody changes is put back, and a restart comes back with it.
	table := w.reads(w.a, w.b)
	w.applyReaders(table)
	w.admin("UPDATE mysql_servers SET weight = 9 WHERE hostgroup_id = 11", "LOAD MYSQL SERVERS TO RUNTIME")
	if read, err := w.proxy.Read(w.ctx, table); err != nil || !read.Holds || read.ReadersHold() || !strings.Contains(read.Readers.Problem, "weight 9") {
		t.Errorf("Read() = %+v, %+v, %v", read, read.Readers, err)
	}
	w.applyReaders(table)
	w.must(w.real.Restart(w.ctx))
	w.layers(rows(row(10, w.a, 1), row(11, w.b, 3)))
}

func TestReadersOfTheOwnDatacenterAreFirst(t *testing.T) {
	w := newWorld(t)
	w.reading("dc2")
	w.applyReaders(w.reads(nil, w.a, w.b))
	w.layers(fmt.Sprintf("[[11 %s ONLINE 3]]", w.b.Host()))
	w.applyReaders(w.reads(nil, w.a))
	w.layers(fmt.Sprintf("[[11 %s ONLINE 3]]", w.a.Host()))
}
