package haproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"switchyard/router/haproxy"
)

// TestNothingIsSentAfterTheDeadline: a process that was stopped goes on before
// its timers have run, so neither the context nor the connection has ended.
func TestNothingIsSentAfterTheDeadline(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	received := make(chan string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			received <- err.Error()
			return
		}
		text, _ := io.ReadAll(conn)
		_ = conn.Close()
		received <- string(text)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	talk, err := dial(ctx, haproxy.Target{Network: "tcp", Address: listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if deadline, _ := ctx.Deadline(); !talk.deadline.Equal(deadline) {
		t.Errorf("the conversation's deadline is %s, the context's %s", talk.deadline, deadline)
	}
	talk.deadline = time.Now() // and neither timer has run
	if _, err := talk.exchange(ctx, "set server shop_writer/master state ready"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("exchange: %v, want a deadline exceeded", err)
	}
	talk.close()
	if text := <-received; text != "" {
		t.Errorf("after the deadline it was sent %q", text)
	}
}

// TestWhatIsNotAnsweredIsTakenBack: a command that did not get through in time must
// not be carried out later. A connection that is reset keeps nothing to send.
func TestWhatIsNotAnsweredIsTakenBack(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		reset  bool
	}{"unanswered": {"", true}, "answered": {"\n> \n> ", false}} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			conn, err := listener.Accept()
			if err == nil {
				if _, err = conn.Write([]byte(test.answer)); err == nil {
					_, err = io.Copy(io.Discard, conn)
				}
				_ = conn.Close()
			}
			ended <- err
		}()
		bound := time.Minute
		if test.reset {
			bound = 3 * time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), bound)
		talk, err := dial(ctx, haproxy.Target{Network: "tcp", Address: listener.Addr().String()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := talk.exchange(ctx, "set server shop_writer/master state ready"); (err != nil) != test.reset {
			t.Errorf("%s: exchange: %v", name, err)
		}
		talk.close()
		cancel()
		if err := <-ended; errors.Is(err, syscall.ECONNRESET) != test.reset {
			t.Errorf("%s: the connection ended with %v", name, err)
		}
		_ = listener.Close()
	}
}
