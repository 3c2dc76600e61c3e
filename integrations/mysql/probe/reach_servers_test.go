//go:build servers

package probe_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"switchyard/controller/topology"
	"switchyard/e2e/stack"
	"switchyard/integrations/mysql/probe"
)

// within runs a probe that has to be over soon after its deadline.
func within(t *testing.T, deadline time.Duration, look func(context.Context) (*topology.Instance, error)) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	begun := time.Now()
	_, err := look(ctx)
	if took := time.Since(begun); took > deadline+time.Minute {
		t.Errorf("a probe with %v took %v", deadline, took)
	}
	return err
}

func TestReach(t *testing.T) {
	flavors(t, func(t *testing.T, flavor stack.Flavor) {
		ctx, cluster := newCluster(t, flavor, 0, stack.TopologyOptions{})
		server, address := cluster.Master, key(t, cluster.Master)
		p := newProber(t, config())
		probes := map[string]func(context.Context) (*topology.Instance, error){
			"kept":  func(ctx context.Context) (*topology.Instance, error) { return p.Probe(ctx, address) },
			"fresh": func(ctx context.Context) (*topology.Instance, error) { return p.ProbeFresh(ctx, address) },
		}
		all := func(state string, want topology.Reach, deadline time.Duration) {
			t.Helper()
			for name, look := range probes {
				for range 2 {
					switch err := within(t, deadline, look); {
					case want == topology.ReachOK:
						must(t, err)
					case err == nil:
						t.Errorf("%s, %s: the probe succeeded", state, name)
					default:
						if got := reach(t, err); got != want {
							t.Errorf("%s, %s: got %s, %v; want %s", state, name, got, err, want)
						}
					}
				}
			}
		}
		all("running", topology.ReachOK, time.Minute)
		must(t, server.Freeze())
		eventually(t, ctx, func() error { // the signal takes a moment to reach all threads
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if _, err := p.ProbeFresh(short, address); err == nil {
				return errors.New("the server still answers")
			}
			return nil
		})
		all("frozen", topology.ReachHung, 2*time.Second)
		must(t, server.Thaw())
		all("thawed", topology.ReachOK, time.Minute)

		// A kept connection that was killed proves nothing.
		killAll(t, ctx, server)
		all("connections killed", topology.ReachOK, time.Minute)

		wrong := newProber(t, probe.Config{User: "switchyard", Password: func() string { return "no-such-secret" }})
		_, err := wrong.Probe(ctx, address)
		if got := reach(t, err); got != topology.ReachDenied || strings.Contains(err.Error(), "no-such-secret") {
			t.Errorf("wrong password: %s, %v", got, err)
		}

		must(t, server.Kill())
		must(t, server.Wait(ctx))
		all("killed", topology.ReachRefused, time.Minute)
		must(t, server.Start(ctx))
		all("started again", topology.ReachOK, time.Minute)
	})
}

// killAll ends every connection of the controllers' account.
func killAll(t *testing.T, ctx context.Context, server *stack.Server) {
	t.Helper()
	for _, id := range connections(t, ctx, server, "USER = 'switchyard'") {
		must(t, server.Exec(ctx, "KILL CONNECTION "+id))
	}
}

func connections(t *testing.T, ctx context.Context, server *stack.Server, where string) []string {
	t.Helper()
	rows, err := server.Root().QueryContext(ctx, "SELECT ID FROM information_schema.PROCESSLIST WHERE "+where)
	must(t, err)
	defer func(rows *sql.Rows) { must(t, rows.Close()) }(rows)
	var ids []string
	for rows.Next() {
		var id string
		must(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	must(t, rows.Err())
	return ids
}

func TestTooManyConnectionsIsAnAnswer(t *testing.T) {
	few := map[string]string{"max_connections": "10"}
	ctx, cluster := newCluster(t, stack.MariaDB, 0, stack.TopologyOptions{Options: few})
	var held []*sql.Conn
	app, err := cluster.Master.Open(stack.AppAccount(), stack.AppSchema)
	must(t, err)
	defer func() { must(t, app.Close()) }()
	for range 10 {
		eventually(t, ctx, func() error { // connections that were just closed may still count
			conn, err := app.Conn(ctx)
			if err == nil {
				held = append(held, conn)
			}
			return err
		})
	}
	user := stack.AppAccount() // without the extra connection for administrators
	p := newProber(t, probe.Config{User: user.User, Password: func() string { return user.Password }})
	_, err = p.Probe(ctx, key(t, cluster.Master))
	if got := reach(t, err); got != topology.ReachError || !strings.Contains(err.Error(), "Too many connections") {
		t.Errorf("got %s, %v", got, err)
	}
	for _, conn := range held {
		must(t, conn.Close())
	}
}

func TestTLS(t *testing.T) {
	ctx, cluster := newCluster(t, stack.MySQL, 0, stack.TopologyOptions{})
	address := key(t, cluster.Master)
	cfg := config()
	cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12} // the server's certificate is its own
	_, err := newProber(t, cfg).Probe(ctx, address)
	if got := reach(t, err); got != topology.ReachError || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate from nowhere: %s, %v", got, err)
	}
	cfg.TLS = &tls.Config{InsecureSkipVerify: true} // the test has no authority to verify with
	_, err = newProber(t, cfg).Probe(ctx, address)
	must(t, err)

	ctx, cluster = newCluster(t, stack.MariaDB, 0, stack.TopologyOptions{})
	address = key(t, cluster.Master)
	_, err = newProber(t, cfg).Probe(ctx, address)
	if got := reach(t, err); got != topology.ReachError || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("a server without TLS: %s, %v", got, err)
	}
	cfg.TLSPreferred = true
	_, err = newProber(t, cfg).Probe(ctx, address)
	must(t, err)
}

func TestProbesAtOnce(t *testing.T) {
	ctx, cluster := newCluster(t, stack.MariaDB, 0, stack.TopologyOptions{})
	address := key(t, cluster.Master)
	p := newProber(t, config())
	var group sync.WaitGroup
	for n := range 20 {
		group.Go(func() {
			look := p.Probe
			if n%4 == 0 {
				look = p.ProbeFresh
			}
			if _, err := look(ctx, address); err != nil {
				t.Error(err)
			}
			if n == 10 {
				p.Forget(address)
			}
		})
	}
	group.Wait()
	p.Forget(address)
	eventually(t, ctx, func() error { return noneLeft(t, ctx, cluster.Master) })
	if _, err := p.Probe(ctx, address); err != nil {
		t.Error(err)
	}
	p.Close()
	eventually(t, ctx, func() error { return noneLeft(t, ctx, cluster.Master) })
	if _, err := p.Probe(ctx, address); err == nil {
		t.Error("a closed prober probes")
	}
}

type leftError []string

func (e leftError) Error() string { return "connections are left: " + strings.Join(e, ", ") }

func noneLeft(t *testing.T, ctx context.Context, server *stack.Server) error {
	t.Helper()
	if ids := connections(t, ctx, server, "USER = 'switchyard'"); len(ids) > 0 {
		return leftError(ids)
	}
	return nil
}
