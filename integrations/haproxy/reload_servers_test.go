//go:build servers

package haproxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	adapter "switchyard/integrations/haproxy"
	"switchyard/router/haproxy"
	"switchyard/router/routes"
)

// reloaded is a site whose HAProxy has a master process.
type reloaded struct {
	*site
	master string
}

// newReloaded starts one whose old workers are stopped after a while that the
// test chooses; "" for that of the generated configuration.
func newReloaded(t *testing.T, stopAfter string) (*reloaded, context.Context) {
	t.Helper()
	return newReloadedAs(t, stopAfter, unchanged)
}

func newReloadedAs(t *testing.T, stopAfter string, change func(*haproxy.WriterConfig)) (*reloaded, context.Context) {
	t.Helper()
	one, ctx, text := prepare(t, change)
	if stopAfter != "" {
		changed := strings.Replace(text, "hard-stop-after 1s", "hard-stop-after "+stopAfter, 1)
		if changed == text {
			t.Fatal("the generated configuration does not stop old workers after 1 s")
		}
		text = changed
	}
	ip, _, err := net.SplitHostPort(one.config.Runtime.Address)
	must(t, err)
	r := &reloaded{site: one, master: ip + ":9998"}
	r.proxy, err = one.stack.StartHAProxyMaster(ctx, "haproxy", text, r.master)
	must(t, err)
	return r, ctx
}

func (r *reloaded) withMaster(c *adapter.Config) { c.Master = "tcp://" + r.master }

// workers returns the current worker, and the old ones; "" and one without a
// number while the master does not answer.
func (r *reloaded) workers(t *testing.T) (current string, old []int) {
	t.Helper()
	conn, err := net.Dial("tcp", r.master)
	if err != nil {
		return "", []int{0} // the master is starting itself anew
	}
	defer func() { _ = conn.Close() }()
	if _, err = io.WriteString(conn, haproxy.ShowProcesses+"\n"); err == nil {
		err = conn.(*net.TCPConn).CloseWrite()
	}
	answer, errRead := io.ReadAll(conn)
	if err != nil || errRead != nil || len(answer) == 0 {
		return "", []int{0}
	}
	old, err = haproxy.ParseOldWorkers(string(answer))
	must(t, err)
	_, list, _ := strings.Cut(string(answer), "# workers\n")
	if fields := strings.Fields(list); len(fields) > 0 && fields[0] != "#" {
		current = fields[0]
	}
	return current, old
}

// reload returns once a new worker has taken over.
func (r *reloaded) reload(t *testing.T, ctx context.Context) {
	t.Helper()
	var before string
	waitFor(t, ctx, func() bool { before, _ = r.workers(t); return before != "" })
	must(t, r.proxy.Reload())
	waitFor(t, ctx, func() bool {
		now, _ := r.workers(t)
		return now != "" && now != before && strings.Contains(r.pid(), now)
	})
}

// pid asks the runtime API which process answers.
func (r *reloaded) pid() string {
	conn, err := net.Dial("tcp", r.config.Runtime.Address)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "show info\n")
	answer, _ := io.ReadAll(conn)
	_, rest, _ := strings.Cut(string(answer), "\nPid: ")
	pid, _, _ := strings.Cut(rest, "\n")
	return pid
}

// TestReloadAndRestartAtEveryStep breaks a change off after each command. Whatever
// was reached, HAProxy comes back leading to nobody, and follows when told.
func TestReloadAndRestartAtEveryStep(t *testing.T) {
	r, ctx := newReloaded(t, "")
	proxy := r.adapter(t, r.withMaster)
	move, err := haproxy.Plan(slot, tableOf(2, r.b), netip.MustParseAddrPort(r.b))
	must(t, err)
	var steps []string
	for _, phase := range move {
		steps = append(steps, phase.Commands...)
	}
	revision := uint64(0)
	for done := range len(steps) + 1 {
		t.Run(fmt.Sprintf("after %d of %d commands", done, len(steps)), func(t *testing.T) {
			revision++
			if proof, err := proxy.Apply(ctx, tableOf(revision, r.a)); !holds(proof, err) {
				t.Fatalf("announce: %+v, %v", proof, err)
			}
			conn, who := client(t, r.entrance)
			if who != r.a {
				t.Fatalf("it led to %q, want %s", who, r.a)
			}
			for _, command := range steps[:done] {
				r.runtime(t, command)
			}
			r.reload(t, ctx)
			if proof, err := proxy.Read(ctx, tableOf(revision, r.a)); err != nil || proof.Holds || proof.Serving {
				t.Fatalf("reloaded, it claims to serve: %+v, %v", proof, err)
			}
			if _, who := client(t, r.entrance); who != "" {
				t.Fatalf("reloaded, it led to %s before it was told", who)
			}
			// The old worker ends by itself, with what it still had.
			must(t, ended(conn))
			waitFor(t, ctx, func() bool { _, old := r.workers(t); return len(old) == 0 })
			revision++
			if proof, err := proxy.Apply(ctx, tableOf(revision, r.b)); !holds(proof, err) {
				t.Fatalf("announce: %+v, %v", proof, err)
			}
			if _, who := client(t, r.entrance); who != r.b {
				t.Fatalf("told, it led to %q, want %s", who, r.b)
			}
		})
	}
	s, ctx := newSite(t, unchanged)
	single := s.adapter(t, same)
	for done := range len(steps) + 1 {
		if proof, err := single.Apply(ctx, tableOf(1, s.a)); !holds(proof, err) {
			t.Fatalf("announce: %+v, %v", proof, err)
		}
		for _, command := range steps[:done] {
			s.runtime(t, command)
		}
		must(t, s.proxy.Restart(ctx))
		if _, who := client(t, s.entrance); who != "" {
			t.Fatalf("restarted after %d commands, it led to %s before it was told", done, who)
		}
	}
}

// TestSessionsOfOldWorkersAreEnded: two reloads, each of which leaves a worker
// with sessions, and no hard stop in sight.
func TestSessionsOfOldWorkersAreEnded(t *testing.T) {
	r, ctx := newReloaded(t, "60s")
	proxy := r.adapter(t, r.withMaster)
	// The twin that knows of no master process does not see old workers.
	blind := r.adapter(t, same)
	var left []net.Conn
	for range 2 {
		if proof, err := blind.Apply(ctx, tableOf(1, r.a)); !holds(proof, err) {
			t.Fatalf("announce: %+v, %v", proof, err)
		}
		left = append(left, crowd(t, r.site, r.a)...)
		r.reload(t, ctx)
	}
	if _, old := r.workers(t); len(old) != 2 {
		t.Fatalf("old workers %v, want two", old)
	}
	if proof, err := blind.Apply(ctx, tableOf(2, "")); !holds(proof, err) || proof.Sessions != 0 {
		t.Fatalf("without the master: %+v, %v", proof, err)
	}
	if !alive(left[0]) || !alive(left[len(left)-1]) {
		t.Fatal("the sessions of the old workers are gone already: this test proves nothing")
	}
	if proof, err := proxy.Read(ctx, tableOf(2, "")); err != nil || proof.Holds || proof.Sessions != len(left) {
		t.Fatalf("Read() = %+v, %v; want %d sessions, and not that it holds", proof, err, len(left))
	}
	began := time.Now()
	proof, err := proxy.Apply(ctx, tableOf(2, ""))
	if !holds(proof, err) || proof.Sessions != 0 {
		t.Fatalf("withdraw: %+v, %v", proof, err)
	}
	t.Logf("%d sessions in two old workers were ended within %s", len(left), time.Since(began))
	for _, conn := range left {
		must(t, ended(conn))
	}
	if proof, err := proxy.Read(ctx, tableOf(2, "")); !holds(proof, err) || proof.Sessions != 0 {
		t.Fatalf("Read() = %+v, %v", proof, err)
	}
	// A move to somebody else ends them, too, before anybody is let in.
	if proof, err := proxy.Apply(ctx, tableOf(3, r.a)); !holds(proof, err) {
		t.Fatalf("announce: %+v, %v", proof, err)
	}
	left = crowd(t, r.site, r.a)
	r.reload(t, ctx)
	if proof, err := proxy.Apply(ctx, tableOf(4, r.b)); !holds(proof, err) {
		t.Fatalf("move: %+v, %v", proof, err)
	}
	for _, conn := range left {
		must(t, ended(conn))
	}
}

// TestMasterProcessThatDoesNotAnswerIsNoProof: where it is configured, what it
// would say counts.
func TestMasterProcessThatDoesNotAnswerIsNoProof(t *testing.T) {
	r, ctx := newReloaded(t, "")
	nobody := r.adapter(t, func(c *adapter.Config) {
		c.Master, c.Timeout = "tcp://"+strings.Replace(r.master, ":9998", ":9997", 1), 3*time.Second
	})
	proof, err := nobody.Apply(ctx, tableOf(1, ""))
	if err == nil || proof.Holds || errors.Is(err, routes.ErrNotRunning) || !strings.Contains(err.Error(), "master process") {
		t.Errorf("nobody listens: %+v, %v", proof, err)
	}
	wrong := r.adapter(t, func(c *adapter.Config) { c.Master = r.config.Runtime.String() })
	if proof, err := wrong.Apply(ctx, tableOf(1, "")); err == nil || proof.Holds {
		t.Errorf("the runtime API in its place: %+v, %v", proof, err)
	}
	// The runtime API is gone, and the master lives: nobody knows who serves.
	lost := r.adapter(t, func(c *adapter.Config) {
		r.withMaster(c)
		c.Target = strings.Replace(c.Target, ":9999", ":9997", 1)
	})
	for name, call := range map[string]func(context.Context, routes.Table) (routes.Proof, error){"apply": lost.Apply, "read": lost.Read} {
		if proof, err := call(ctx, tableOf(1, "")); err == nil || proof.Holds || errors.Is(err, routes.ErrNotRunning) {
			t.Errorf("%s: %+v, %v", name, proof, err)
		}
	}
	must(t, r.proxy.Kill())
	must(t, r.proxy.Wait(ctx))
	waitFor(t, ctx, func() bool {
		_, err := r.adapter(t, r.withMaster).Apply(ctx, tableOf(1, ""))
		return errors.Is(err, routes.ErrNotRunning)
	})
}
