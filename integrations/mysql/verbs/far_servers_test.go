//go:build servers

package verbs_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"switchyard/controller/topology"
	"switchyard/e2e/session"
	"switchyard/e2e/stack"
	"switchyard/integrations/mysql/verbs"
)

// far is an address from which all that is sent to a server, or back, comes late.
func far(t *testing.T, server *stack.Server, delay time.Duration) topology.Key {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); _ = listener.Close(); running.Wait() })
	running.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			away, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", server.Key())
			if err != nil {
				_ = near.Close()
				continue
			}
			context.AfterFunc(ctx, func() { _, _ = near.Close(), away.Close() })
			running.Go(func() { late(near, away, delay) })
			running.Go(func() { late(away, near, delay) })
		}
	})
	host, port, err := net.SplitHostPort(listener.Addr().String())
	must(t, err)
	number, err := strconv.Atoi(port)
	must(t, err)
	return topology.Key{Host: host, Port: uint16(number)}
}

// late passes on what is said; questions and answers take turns, so that one after another is enough.
func late(from, to net.Conn, delay time.Duration) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		size, err := from.Read(buffer)
		time.Sleep(delay)
		if size > 0 {
			if _, err := to.Write(buffer[:size]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// TestClientsThatComeBackAtOnceFromFarAway: whoever fences sees each moment late,
// and there is always somebody; those that were there are gone all the same.
func TestClientsThatComeBackAtOnceFromFarAway(t *testing.T) {
	ctx, cluster := newCluster(t, stack.MariaDB, 0, stack.TopologyOptions{})
	account := stack.AppAccount()
	dialer, err := session.NewDialer(session.Config{Address: cluster.Master.Key(), User: account.User, Password: account.Password,
		Schema: stack.AppSchema, Timeout: 5 * time.Second})
	must(t, err)
	running, stop := context.WithCancel(ctx)
	var clients sync.WaitGroup
	defer func() { stop(); clients.Wait() }()
	for range 8 {
		clients.Go(func() {
			for running.Err() == nil {
				conn, err := dialer.Dial(running)
				if err != nil {
					continue
				}
				for err == nil {
					err = conn.Exec(running, "INSERT INTO app.t SELECT COALESCE(MAX(id), 0) + 1, 0 FROM app.t")
				}
				_ = conn.Close()
			}
		})
	}
	waitValue(t, ctx, cluster.Master, "SELECT COUNT(*) > 0 FROM app.t", "1")
	s, err := verbs.New(config(), nil).Open(ctx, far(t, cluster.Master, 40*time.Millisecond))
	must(t, err)
	defer func() { _ = s.Close() }()
	for _, what := range []string{"before", "after"} {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if ended, left, err := s.EndClients(ctx); err != nil || left != 0 || what == "before" && ended == 0 {
			t.Fatalf("%s: ended %d, left %d: %v", what, ended, left, err)
		}
		must(t, s.SetReadOnly(ctx))
	}
}

// TestAFarSessionSurvivesClientsThatStay: what is left to be done can still be.
func TestAFarSessionSurvivesClientsThatStay(t *testing.T) {
	ctx, cluster := newCluster(t, stack.MySQL, 1, stack.TopologyOptions{SemiSync: true})
	must(t, cluster.Replicas[0].Freeze())
	conn := client(t, ctx, cluster.Master, stack.AppAccount())
	written := make(chan error, 1)
	go func() {
		_, err := conn.ExecContext(ctx, "INSERT INTO app.t VALUES (7, 0)")
		written <- err
	}()
	waitValue(t, ctx, cluster.Master,
		"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE '%semi-sync ACK%'", "1")
	s, err := verbs.New(config(), nil).Open(ctx, far(t, cluster.Master, 100*time.Millisecond))
	must(t, err)
	defer func() { _ = s.Close() }()
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, left, err := s.EndClients(short)
	if !errors.Is(err, verbs.ErrClientsLeft) || left != 1 {
		t.Errorf("left %d: %v", left, err)
	}
	must(t, s.SetWritable(ctx))
	if err := <-written; err == nil {
		t.Error("a commit without acknowledgement was reported as done")
	}
}
