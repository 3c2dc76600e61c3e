package haproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"switchyard/router/haproxy"
	"switchyard/router/routes"
)

// answering serves one connection, and ends with the test.
func answering(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := listener.Accept(); err == nil {
			serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return "tcp://" + listener.Addr().String()
}

// TestAProcessThatWasReplacedProvesNothing: a reload may end between the withdrawal
// in one worker and the look at the old ones, among which that one is then.
func TestAProcessThatWasReplacedProvesNothing(t *testing.T) {
	for pid, replaced := range map[int]bool{21225: false, 21053: true} {
		master := answering(t, func(conn net.Conn) {
			_, _ = io.ReadAll(conn)
			_, _ = io.WriteString(conn, "#<PID>  <type>  <reloads>\n1  master  1\n# workers\n21225  worker  0\n# old workers\n21053  worker  1\n")
		})
		runtime := answering(t, func(conn net.Conn) {
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				answer := ""
				if lines.Text() == haproxy.ShowInfo {
					answer = fmt.Sprintf("Name: HAProxy\nPid: %d\n", pid)
				}
				_, _ = io.WriteString(conn, strings.TrimSuffix(answer, "\n")+prompt)
			}
		})
		p, err := New(Config{Name: "ha1", Cluster: "shop", Target: runtime, Master: master,
			Backend: haproxy.Backend{Backend: "shop_writer", Server: "master"}}, time.Now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		talk, err := dial(ctx, p.target)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.current(ctx, talk); errors.Is(err, routes.ErrNotYet) != replaced || (err != nil) != replaced {
			t.Errorf("process %d: %v, want it refused: %t", pid, err, replaced)
		}
		talk.close()
		cancel()
	}
}
