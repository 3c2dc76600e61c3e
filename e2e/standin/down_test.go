//go:build servers

package main

import (
	"fmt"
	"testing"
	"time"
)

// kill ends A with its row untouched; revive brings it back.
func (w *world) kill() {
	w.t.Helper()
	must(w.t, w.a.Kill())
	must(w.t, w.a.Wait(w.ctx))
}

func (w *world) revive() {
	w.t.Helper()
	must(w.t, w.a.Start(w.ctx))
	must(w.t, w.a.Exec(w.ctx, "SET GLOBAL read_only = 0"))
}

// toB changes the row of A to B.
func (w *world) toB() {
	w.t.Helper()
	w.admin(fmt.Sprintf("UPDATE mysql_servers SET hostname = '%s'", w.b.Host()), load)
}

func retries(count, delay int) []string {
	return []string{set("connect_retries_on_failure", fmt.Sprint(count)), set("connect_retries_delay", fmt.Sprint(delay))}
}

// TestRefusedPort: retries and their delay decide between error 2002 and the end of the wait.
func TestRefusedPort(t *testing.T) {
	w := newWorld(t)
	w.kill()
	w.proxyOnly = true
	for _, line := range []struct {
		count, delay, want int
		atOnce             bool
	}{
		{10, 1, 2002, false}, {0, 1, 2002, true}, {1, 1, 2002, false}, {100, 1, 9001, false}, {1000, 1, 9001, false},
		{10, 100, 2002, false}, {10, 500, 2002, false}, {10, 1000, 9001, false},
	} {
		w.reset(retries(line.count, line.delay)...)
		time.Sleep(1100 * time.Millisecond) // the failures of the line before are not counted any more
		c := w.connect()
		what := fmt.Sprintf("%d retries, %d ms apart", line.count, line.delay)
		o := w.end(what, c.backgroundExec("DO 1"))
		w.wantCode(what, o.err, line.want)
		switch {
		case line.want == 9001:
			wantTimeout(w, what, o, 10*time.Second)
		case line.atOnce && o.took > 5*time.Second:
			t.Errorf("%s: took %v, want at once", what, o.took)
		case o.took > 9500*time.Millisecond:
			t.Errorf("%s: took %v, want less than the whole wait", what, o.took)
		}
		w.toB()
		c.wantOn("B") // the client has survived
	}
}

// TestRefusedPortThenAnotherServer: the waiting statement goes there.
func TestRefusedPortThenAnotherServer(t *testing.T) {
	w := newWorld(t)
	w.kill()
	w.proxyOnly = true
	for _, line := range [][2]int{{10, 500}, {1000, 1}} {
		w.reset(retries(line[0], line[1])...)
		c := w.connect()
		read := c.background("SELECT name FROM me")
		time.Sleep(2 * time.Second)
		w.pending("the statement", read)
		w.toB()
		if o := w.end("the statement", read); o.err != nil || o.value != "B" {
			t.Errorf("%v: the statement ended with %q, %v, want B", line, o.value, o.err)
		}
	}
}

// TestNoGreeting: A accepts connections and says nothing.
func TestNoGreeting(t *testing.T) {
	w := newWorld(t)
	must(t, w.a.Freeze())
	w.proxyOnly = true
	for _, timeout := range []string{"1000", "3000"} {
		w.reset(set("connect_timeout_server", timeout))
		c := w.connect()
		wantTimeout(w, "connect_timeout_server "+timeout, w.end("the statement", c.backgroundExec("DO 1")), 10*time.Second)
		w.toB()
		c.wantOn("B")
	}
	for _, after := range []time.Duration{500 * time.Millisecond, 3 * time.Second, 8 * time.Second} {
		w.reset()
		c := w.connect()
		read := c.background("SELECT name FROM me")
		time.Sleep(after)
		w.pending("the statement", read)
		w.toB()
		// An attempt under way first runs out its second.
		if o := w.end("the statement", read); o.err != nil || o.value != "B" || o.took < time.Second-50*time.Millisecond {
			t.Errorf("row changed after %v: the statement ended with %q, %v after %v, want B", after, o.value, o.err, o.took)
		}
	}
}

// crowd is a client in every state at the moment of the kill.
type crowd struct {
	idle, pinned, working         *client
	selected, updated, afterwards <-chan outcome
}

func (w *world) crowd(statements ...string) *crowd {
	w.t.Helper()
	w.proxyOnly = false
	w.reset(statements...)
	others := w.clients()
	c := &crowd{idle: w.connect(), pinned: w.connect(), working: w.connect()}
	c.idle.wantOn("A")
	c.pinned.do("SET @v := 41")
	c.working.do("BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1")
	selecting, updating := w.connect(), w.connect()
	w.lock(w.a, 2) // it ends with A
	c.selected = selecting.background("SELECT name FROM me WHERE SLEEP(2) = 0")
	c.updated = updating.backgroundExec("UPDATE t SET n = n + 1 WHERE id = 2")
	w.until("the statements run on A", func() bool { return w.running(w.a, "SELECT name") == 1 && w.running(w.a, "UPDATE") == 1 })
	w.kill()
	w.proxyOnly = true
	// Those that are tied to A are closed without having spoken.
	w.until("the tied clients are closed", func() bool { return w.clients() == others+3 })
	time.Sleep(500 * time.Millisecond)
	c.afterwards = c.idle.background("SELECT name FROM me")
	return c
}

func (w *world) clients() int {
	w.t.Helper()
	return len(w.rows("SELECT SessionID FROM stats_mysql_processlist"))
}

// TestKilledServer is the table of a server that dies with its row untouched.
func TestKilledServer(t *testing.T) {
	w := newWorld(t)
	for _, line := range []struct {
		after    time.Duration
		settings []string
	}{
		{2 * time.Second, nil}, {3 * time.Second, nil},
		{7 * time.Second, []string{set("connect_retries_on_failure", "1000")}},
	} {
		c := w.crowd(line.settings...)
		time.Sleep(line.after - 500*time.Millisecond)
		for what, done := range map[string]<-chan outcome{"SELECT": c.selected, "UPDATE": c.updated, "later statement": c.afterwards} {
			w.pending("the "+what, done)
		}
		w.toB()
		if o := w.end("the idle client's statement", c.afterwards); o.err != nil || o.value != "B" {
			t.Errorf("row changed after %v: the idle client's statement ended with %q, %v, want B", line.after, o.value, o.err)
		}
		w.wantCode("the UPDATE in flight", w.end("the UPDATE", c.updated).err, 0)
		if o := w.end("the SELECT", c.selected); o.err != nil || o.value != "B" {
			t.Errorf("row changed after %v: the SELECT in flight ended with %q, %v, want B", line.after, o.value, o.err)
		}
		w.wantCode("the client with session state", c.pinned.exec("DO 1"), 2013)
		w.wantCode("the client in a transaction", c.working.exec("DO 1"), 2013)
		w.revive()
		if a, b := w.n(w.a, 2), w.n(w.b, 2); a != "0" || b != "1" {
			t.Errorf("the UPDATE was executed %s times on A and %s times on B, want 0 and 1", a, b)
		}
	}
}

// TestKilledServerForGood: the clients compete for the attempts, so which of the two errors each gets is open.
func TestKilledServerForGood(t *testing.T) {
	w := newWorld(t)
	c := w.crowd()
	for what, done := range map[string]<-chan outcome{"SELECT": c.selected, "UPDATE": c.updated, "later statement": c.afterwards} {
		if o := w.end("the "+what, done); code(o.err) != 2002 && code(o.err) != 9001 {
			t.Errorf("the %s ended with %v, want 2002 or 9001", what, o.err)
		}
	}
	w.toB()
	c.idle.wantOn("B") // it has survived
}
