//go:build servers

package scenarios_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/session"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/store/ledger"
)

// crowd is an application through a ProxySQL: clients that write as fast as they can, some on one connection for as long as it
// lives, some on a new one each time.
type crowd struct {
	dialer *session.Dialer
	stop   context.CancelFunc
	group  sync.WaitGroup

	mu     sync.Mutex
	acked  map[[2]int64]bool
	last   time.Time
	gap    time.Duration
	errors map[int64]int
}

// crowdOf is the first number of a crowd's writers, far above those of a trial's own.
const crowdOf = 1000

func newCrowd(t *testing.T, ctx context.Context, address string) *crowd {
	t.Helper()
	app := stack.AppAccount()
	dialer, err := session.NewDialer(session.Config{Address: address, User: app.User, Password: app.Password, Schema: stack.AppSchema,
		Timeout: 15 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(ctx)
	c := &crowd{dialer: dialer, stop: stop, acked: map[[2]int64]bool{}, errors: map[int64]int{}, last: time.Now()}
	for n := range int64(16) {
		c.group.Go(func() { c.run(ctx, crowdOf+n, n%4 == 0) })
	}
	t.Cleanup(c.end)
	return c
}

func (c *crowd) end() {
	c.stop()
	c.group.Wait()
}

func (c *crowd) run(ctx context.Context, worker int64, reconnects bool) {
	var conn *session.Session
	defer func() {
		if conn != nil {
			_ = conn.Close() // it is given up in any case
		}
	}()
	for seq := int64(1); ctx.Err() == nil; seq++ {
		var err error
		if conn == nil {
			conn, err = c.dialer.Dial(ctx)
		}
		if err == nil {
			err = conn.Exec(ctx, c.statement(worker), worker, seq)
		}
		if ctx.Err() != nil {
			return
		}
		c.note(worker, seq, err)
		if conn != nil && (err != nil || reconnects) {
			_ = conn.Close() // it is given up
			conn = nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// pinned tells which writers name a system variable, by which ProxySQL ties their session to its server for good.
func pinned(worker int64) bool { return worker%2 == 1 }

func (c *crowd) statement(worker int64) string {
	server := "0"
	if pinned(worker) {
		server = "@@server_id"
	}
	return "INSERT INTO writes (worker, seq, server_id) VALUES (?, ?, " + server + ")"
}

func (c *crowd) note(worker, seq int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.errors[worker]++
		return
	}
	c.acked[[2]int64{worker, seq}] = true
	c.gap, c.last = max(c.gap, time.Since(c.last)), time.Now()
}

func (c *crowd) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acked)
}

// writing waits for so many more acknowledged writes.
func (c *crowd) writing(ctx context.Context, t *testing.T, more int) {
	t.Helper()
	want := c.count() + more
	until(t, ctx, 30*time.Second, "applications write through ProxySQL", func(context.Context) error {
		if n := c.count(); n < want {
			return fmt.Errorf("%d of %d; errors %v", n, want, c.errors)
		}
		return nil
	})
}

// missing counts what was acknowledged and is not on a server.
func (c *crowd) missing(t *testing.T, ctx context.Context, server *stack.Server) (lost int) {
	t.Helper()
	rows, err := server.Root().QueryContext(ctx, "SELECT worker, seq FROM "+stack.AppSchema+".writes WHERE worker >= ?", crowdOf)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }() // Err is asked below
	there := map[[2]int64]bool{}
	for rows.Next() {
		var key [2]int64
		if err := rows.Scan(&key[0], &key[1]); err != nil {
			t.Fatal(err)
		}
		there[key] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for key := range c.acked {
		if !there[key] {
			lost++
		}
	}
	return lost
}

func logSteps(t *testing.T, rec wire.Recovery) {
	t.Helper()
	for _, step := range rec.Steps {
		t.Logf("%8.1f ms %8.1f ms %s: %s", step.OffsetMS, step.DurationMS, step.Name, step.Note)
	}
}

// noClients fails while a session of the ProxySQL holds a connection to the server.
func noClients(ctx context.Context, proxy *site.ProxySQL, server *stack.Server) error {
	rows, err := proxy.AdminRows(ctx, fmt.Sprintf("SELECT ConnUsed FROM stats_mysql_connection_pool WHERE srv_host = '%s' AND ConnUsed <> '0'",
		server.Host()))
	if err == nil && len(rows) > 0 {
		err = fmt.Errorf("connections in use: %v", rows)
	}
	return err
}

// An HAProxy and a ProxySQL (the stand-in, unless PROXYSQL_BIN names a real one) in front of one topology: it crashes, and what is left of it
// is switched over.
func TestProxySQLFollows(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			w := newWorld(t, site.Options{Flavor: flavor, ProxySQLs: 1, SemiSync: true,
				Recovery: "{clusters: ['*'], anti_flap: 1s}"})
			proxy := w.Site.ProxySQLs[0]
			apps := newCrowd(t, w.ctx, proxy.Address())
			apps.writing(w.ctx, t, 200)
			old := w.Site.DB.Master
			w.must(w.Before(w.ctx))
			w.must(old.Kill())
			rec, winner := w.recovered(ledger.Completed)
			logSteps(t, rec)
			apps.writing(w.ctx, t, 200)
			crash, failed := apps.gap, fmt.Sprint(apps.errors)
			t.Logf("the longest pause through ProxySQL at the crash: %v; errors %s", crash, failed)
			w.must(noClients(w.ctx, proxy, old))
			target := w.Site.DB.Replicas[0]
			if target == winner {
				target = w.Site.DB.Replicas[1]
			}
			follows(t, w.ctx, target, winner)

			apps.mu.Lock()
			apps.gap, apps.errors = 0, map[int64]int{}
			apps.mu.Unlock()
			back, err := switchover(w.ctx, w.Site, target)
			w.must(err)
			logSteps(t, back)
			apps.writing(w.ctx, t, 200)
			w.must(noClients(w.ctx, proxy, winner))
			follows(t, w.ctx, winner, target)
			t.Logf("the longest pause through ProxySQL at the switchover: %v; errors %v", apps.gap, apps.errors)
			// Short statements outside of transactions ended in time, or were held; who was tied to the old master was cut, once.
			for worker := range int64(crowdOf + 16) {
				want := 0
				if pinned(worker) && worker >= crowdOf {
					want = 1
				}
				if got := apps.errors[worker]; got != want {
					t.Errorf("application %d saw %d errors in a planned switchover, want %d", worker-crowdOf, got, want)
				}
			}

			// It comes back from its disk with the current master, and nothing is to be repaired.
			w.must(proxy.Restart(w.ctx))
			rows, err := proxy.AdminRows(w.ctx, "SELECT hostname FROM runtime_mysql_servers WHERE hostgroup_id = 10")
			if err != nil || len(rows) != 1 || rows[0][0] != target.Host() {
				t.Errorf("after a restart it leads to %v, %v", rows, err)
			}
			apps.writing(w.ctx, t, 100)
			// What somebody else changes is put back, and written down.
			putBack(t, w.ctx, w.Site, proxy.Name, func() {
				w.must(proxy.Admin(w.ctx, "UPDATE mysql_servers SET weight = 0 WHERE hostgroup_id = 10", "LOAD MYSQL SERVERS TO RUNTIME"))
			}, func() {
				until(t, w.ctx, 20*time.Second, "the changed row is put back", func(ctx context.Context) error {
					rows, err := proxy.AdminRows(ctx, "SELECT weight FROM runtime_mysql_servers WHERE hostgroup_id = 10")
					if err != nil || fmt.Sprint(rows) != "[[1]]" {
						return fmt.Errorf("weight %v, %v", rows, err)
					}
					return nil
				})
			})
			apps.end()
			if lost := apps.missing(t, w.ctx, target); lost > 0 {
				t.Errorf("%d writes that were acknowledged through ProxySQL are lost", lost)
			}
			w.end(true, winner, target)
		})
	}
}

// A ProxySQL that does not run while the master crashes would come back with the dead one, which it has saved: it does not hold the
// failover of a dead master up, is named as a straggler, and is told as soon as it is back.
func TestProxySQLDownDuringFailover(t *testing.T) {
	w := newWorld(t, site.Options{ProxySQLs: 1})
	proxy := w.Site.ProxySQLs[0]
	w.must(proxy.Kill())
	w.must(w.Site.DB.Master.Kill())
	rec, winner := w.recovered(ledger.Incomplete)
	if !strings.Contains(fmt.Sprint(rec), proxy.Name) {
		t.Errorf("the straggler is not named: %+v", rec)
	}
	w.must(proxy.Start(w.ctx))
	back := time.Now()
	until(t, w.ctx, 10*time.Second, "it leads to the new master", func(ctx context.Context) error {
		for _, table := range []string{"mysql_servers", "runtime_mysql_servers", "disk.mysql_servers"} {
			rows, err := proxy.AdminRows(ctx, "SELECT hostname FROM "+table+" WHERE hostgroup_id = 10 AND status = 'ONLINE'")
			if err != nil || len(rows) != 1 || rows[0][0] != winner.Host() {
				return fmt.Errorf("%s has %v, %v", table, rows, err)
			}
		}
		return nil
	})
	t.Logf("told %v after it was back", time.Since(back))
	until(t, w.ctx, 10*time.Second, "the status says so", func(ctx context.Context) error {
		status, err := w.Site.Status(ctx)
		if err != nil {
			return err
		}
		for _, p := range status.Proxies {
			if !p.Confirmed || p.Name == proxy.Name && p.Kind != "proxysql" {
				err = errors.Join(err, fmt.Errorf("%+v", p))
			}
		}
		return err
	})
	w.end(false, winner)
}

// A frozen master may live on: the ProxySQL has withdrawn it, with every session, before another is made writable. When it thaws, nobody
// is led to it, and what was under way there ends nowhere else.
func TestProxySQLFreezeAndThaw(t *testing.T) {
	w := newWorld(t, site.Options{ProxySQLs: 2})
	apps := newCrowd(t, w.ctx, w.Site.ProxySQLs[0].Address())
	apps.writing(w.ctx, t, 100)
	old := w.Site.DB.Master
	w.must(w.Before(w.ctx))
	w.must(old.Freeze())
	rec, winner := w.recovered(ledger.Completed)
	logSteps(t, rec)
	if rec.OldDead {
		t.Error("a frozen master was called proven dead")
	}
	for _, proxy := range w.Site.ProxySQLs {
		w.must(noClients(w.ctx, proxy, old))
	}
	apps.writing(w.ctx, t, 100)
	w.must(old.Thaw())
	until(t, w.ctx, 30*time.Second, "the thawed master is rejoined or quarantined", func(ctx context.Context) error {
		return standing(ctx, w.Site, old, "replica", "quarantined")
	})
	apps.end()
	for _, proxy := range w.Site.ProxySQLs {
		w.must(noClients(w.ctx, proxy, old))
	}
	w.end(false, winner)
}
