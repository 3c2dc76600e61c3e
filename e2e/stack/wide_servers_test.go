//go:build servers

package stack_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"switchyard/e2e/stack"
)

// echo answers with what it is told, on a host, until the test ends.
func echo(t *testing.T, h *stack.Host, port string) string {
	t.Helper()
	listener, err := h.Listen("tcp", net.JoinHostPort(h.Address(), port))
	must(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { _ = listener.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

// said tells how long it took to connect, and then to hear so many bytes again.
func said(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), address string, size int) (connected, heard time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	begun := time.Now()
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = conn.Close() }()
	connected = time.Since(begun)
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return 0, 0, err
	}
	begun = time.Now()
	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Write(make([]byte, size))
		wrote <- err
	}()
	_, err = io.ReadFull(conn, make([]byte, size))
	return connected, time.Since(begun), errors.Join(err, <-wrote)
}

func TestHostsThatAreFarFromEachOther(t *testing.T) {
	const delay = 30 * time.Millisecond
	s, ctx := newStack(t)
	n, err := s.NewWideNet(ctx, delay, "a", "b", "c")
	must(t, err)
	a, b, c := n.Host("a"), n.Host("b"), n.Host("c")
	one, other := echo(t, b, "7001"), echo(t, b, "7002")
	far := func(when string, h *stack.Host, address string) {
		t.Helper()
		connected, heard, err := said(ctx, h.Dial, address, 30_000)
		if err != nil || connected < 2*delay || heard < 2*delay {
			t.Errorf("%s, %s: connected after %s, an answer after %s: %v", when, h.Name(), connected, heard, err)
		}
	}
	lost := func(when string, h *stack.Host, address string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, _, err := said(ctx, h.Dial, address, 1); err == nil {
			t.Errorf("%s: %s reaches it", when, h.Name())
		}
	}
	far("whole", a, one)
	far("whole", c, other)
	for _, near := range []func(context.Context, string, string) (net.Conn, error){b.Dial, (&net.Dialer{}).DialContext} {
		// The best of some: the machine may be busy.
		least := time.Hour
		for range 20 {
			connected, _, err := said(ctx, near, one, 1)
			must(t, err)
			least = min(least, connected)
		}
		if least >= 2*delay {
			t.Errorf("who is near needs %s", least)
		}
	}
	must(t, n.Cut(ctx, stack.Only(stack.Between("a", "b"), 7001)...))
	lost("one port cut", a, one)
	far("one port cut", a, other)
	far("one port cut", c, one)
	must(t, n.Cut(ctx, stack.Way{From: "b", To: "a"}))
	lost("one way cut", a, other)
	far("one way cut", c, other)
	must(t, n.Heal(ctx))
	far("healed", a, one)
	must(t, s.Close())
	interfaces, err := net.Interfaces()
	must(t, err)
	for _, i := range interfaces {
		if i.Name == n.Leg() {
			t.Errorf("%s is left", i.Name)
		}
	}
	if _, err := os.Stat(s.Dir()); err == nil {
		t.Error("the directory is left")
	}
}
