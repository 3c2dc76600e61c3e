//go:build servers

package scenarios_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"switchyard/e2e/session"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
)

// reader is a site's entrance for readers.
type reader struct {
	*site.Site
	t      *testing.T
	ctx    context.Context //nolint:containedctx // it is the test's
	dialer *session.Dialer
}

func dialer(t *testing.T, address string) *session.Dialer {
	t.Helper()
	app := stack.AppAccount()
	d, err := session.NewDialer(session.Config{Address: address, User: app.User, Password: app.Password, Schema: stack.AppSchema,
		Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// trickle writes a row now and then, until the test ends: enough for a lag to be seen, and too little to cause one.
func trickle(t *testing.T, ctx context.Context, to *session.Dialer) {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	t.Cleanup(func() { stop(); <-done })
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			s, err := to.Dial(ctx)
			for err == nil && ctx.Err() == nil {
				err = s.Exec(ctx, "INSERT INTO trickle () VALUES ()")
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
			if s != nil {
				_ = s.Close() // it is given up
			}
		}
	}()
}

// sessions connects so often, and returns the last session on each server that was reached, by the server's number.
func (r reader) sessions(ctx context.Context, times int) (map[uint32]*session.Session, error) {
	reached := map[uint32]*session.Session{}
	for range times {
		s, err := r.dialer.Dial(ctx)
		if err != nil {
			return reached, err
		}
		id, err := s.Integers(ctx, "SELECT @@server_id")
		if err != nil {
			return reached, err
		}
		if before := reached[uint32(id[0])]; before != nil {
			_ = before.Close() // it has served
		}
		reached[uint32(id[0])] = s
	}
	return reached, nil
}

// reach waits until readers are sent to exactly these servers, by HAProxy and by ProxySQL, and returns a session on each.
func (r reader) reach(within time.Duration, want ...*stack.Server) map[uint32]*session.Session {
	r.t.Helper()
	var reached map[uint32]*session.Session
	var ids []uint32
	var hosts []string
	for _, s := range want {
		ids, hosts = append(ids, s.ServerID()), append(hosts, s.Host())
	}
	slices.Sort(ids)
	slices.Sort(hosts)
	began := time.Now()
	until(r.t, r.ctx, within, fmt.Sprintf("readers reach %v", ids), func(ctx context.Context) error {
		for _, proxy := range r.ProxySQLs {
			for _, table := range []string{"runtime_mysql_servers", "disk.mysql_servers"} {
				rows, err := proxy.AdminRows(ctx, fmt.Sprintf("SELECT hostname FROM %s WHERE hostgroup_id = %d AND status = 'ONLINE' ORDER BY hostname",
					table, site.ReaderHostgroup))
				if err != nil || fmt.Sprint(rows) != fmt.Sprint(inRows(hosts)) {
					return fmt.Errorf("%s has the readers %v in %s: %v", proxy.Name, rows, table, err)
				}
			}
		}
		for _, s := range reached {
			_ = s.Close() // from the last attempt
		}
		var err error
		if reached, err = r.sessions(ctx, 2*len(want)); err != nil {
			return err
		}
		var got []uint32
		for id := range reached {
			got = append(got, id)
		}
		if slices.Sort(got); !slices.Equal(got, ids) {
			return fmt.Errorf("they reach %v", got)
		}
		return nil
	})
	r.t.Logf("readers reach %v after %v", ids, time.Since(began).Round(time.Millisecond))
	r.t.Cleanup(func() {
		for _, s := range reached {
			_ = s.Close() // the test is over
		}
	})
	return reached
}

func inRows(list []string) (rows [][]string) {
	for _, text := range list {
		rows = append(rows, []string{text})
	}
	return rows
}

func lives(ctx context.Context, s *session.Session) bool {
	_, err := s.Integers(ctx, "SELECT 1")
	return err == nil
}

// Readers are sent to the replicas that are fit, by an HAProxy and by a ProxySQL (the stand-in, unless PROXYSQL_BIN names a real one): one that
// lags or stops leaves, and comes back; one that becomes the master is none, and its readers' sessions are gone.
func TestReaders(t *testing.T) {
	ctx, s := newSite(t, site.Options{ProxySQLs: 1, Readers: true, Recovery: "{clusters: ['*'], anti_flap: 1s}",
		Rules: "readers: {max_lag: 4s, leave_after: 1s, join_after: 1s}"})
	r := reader{s, t, ctx, dialer(t, s.Proxies[0].Reads)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	master, one, two := s.DB.Master, s.DB.Replicas[0], s.DB.Replicas[1]
	must(master.Exec(ctx, "CREATE TABLE "+stack.AppSchema+".trickle (id INT AUTO_INCREMENT PRIMARY KEY)"))
	trickle(t, ctx, dialer(t, s.Proxies[0].Listen))
	r.reach(20*time.Second, one, two)

	// A lock holds the applier up, while the application goes on writing.
	conn, err := one.Root().Conn(ctx)
	must(err)
	defer func() { _ = conn.Close() }()
	_, err = conn.ExecContext(ctx, "LOCK TABLES "+stack.AppSchema+".trickle READ")
	must(err)
	left := r.reach(30*time.Second, two)
	_, err = conn.ExecContext(ctx, "UNLOCK TABLES")
	must(err)
	r.reach(30*time.Second, one, two)
	if !lives(ctx, left[two.ServerID()]) {
		t.Error("the readers of a replica that stays were cut off when another one came")
	}

	must(two.Kill())
	r.reach(20*time.Second, one)
	must(two.Start(ctx))
	follows(t, ctx, two, master)
	both := r.reach(30*time.Second, one, two)

	must(master.Kill())
	rec := acts(t, ctx, s)
	winner, err := s.Server(rec.Winner.String())
	must(err)
	other := map[*stack.Server]*stack.Server{one: two, two: one}[winner]
	r.reach(10*time.Second, other)
	if lives(ctx, both[winner.ServerID()]) {
		t.Error("a reader's session is left on the new master")
	}
	if !lives(ctx, both[other.ServerID()]) {
		t.Error("a reader's session on a replica was ended by the failover")
	}

	// The old master comes back as a replica, and is the master once more.
	must(master.Start(ctx))
	follows(t, ctx, master, winner)
	both = r.reach(40*time.Second, other, master)
	_, err = switchover(ctx, s, master)
	must(err)
	if lives(ctx, both[master.ServerID()]) {
		t.Error("a reader's session is left on the new master after the switchover")
	}
	r.reach(40*time.Second, other, winner)
	// What somebody changes is put back, and written down; a proxy that restarts begins without readers, and is told.
	again := func() { r.reach(20*time.Second, other, winner) }
	putBack(t, ctx, s, s.ProxySQLs[0].Name, func() {
		must(s.ProxySQLs[0].Admin(ctx, fmt.Sprintf("DELETE FROM mysql_servers WHERE hostgroup_id = %d", site.ReaderHostgroup),
			"LOAD MYSQL SERVERS TO RUNTIME"))
	}, again)
	putBack(t, ctx, s, s.Proxies[0].Name, func() { must(s.Proxies[0].Restart(ctx)) }, again)
	// What was said of readers since leaves every proxy confirmed.
	until(t, ctx, 10*time.Second, "all proxies are confirmed", func(ctx context.Context) error {
		status, err := s.Status(ctx)
		if err != nil {
			return err
		}
		for _, p := range status.Proxies {
			if !p.Confirmed || p.Problem != "" {
				return fmt.Errorf("%+v", p)
			}
		}
		if got := status.Clusters[0].Readers; len(got) != 2 || slices.Contains(got, master.Key()) {
			return fmt.Errorf("readers %v", got)
		}
		return nil
	})
}
