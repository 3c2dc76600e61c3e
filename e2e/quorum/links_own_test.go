package quorum_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echoes is a network between "a" and "b", at whose end somebody answers with the same line, and the door of it.
func echoes(t *testing.T) (n *network, door string) {
	t.Helper()
	behind, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n = newNetwork(func(net.Addr, net.Addr) (string, error) { return "a", nil })
	n.work.Go(func() {
		for {
			conn, err := behind.Accept()
			if err != nil {
				return
			}
			n.work.Go(func() { _, _ = io.Copy(conn, conn) })
		}
	})
	if err := n.open("b", "127.0.0.1:0", behind.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(behind.Close(), n.close()); err != nil {
			t.Error(err)
		}
	})
	return n, n.doors[0].Addr().String()
}

type caller struct {
	t *testing.T
	net.Conn
	lines *bufio.Reader
}

func dial(t *testing.T, door string) caller {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp4", door)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return caller{t, conn, bufio.NewReader(conn)}
}

func (c caller) say(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c caller) hears(want string) {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		c.t.Fatal(err)
	}
	if got, err := c.lines.ReadString('\n'); err != nil || got != want+"\n" {
		c.t.Fatalf("%q came, %v; want %q", got, err, want)
	}
}

// silent wants nothing to come for a moment: more time would only make a cut that leaks likelier to be found.
func (c caller) silent() {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		c.t.Fatal(err)
	}
	got, err := c.lines.ReadString('\n')
	if network := net.Error(nil); !errors.As(err, &network) || !network.Timeout() {
		c.t.Fatalf("%q came, %v; want silence", got, err)
	}
}

// A link that is cut, in either direction, holds what is on it, loses nothing, and ends nothing.
func TestACutLinkHolds(t *testing.T) {
	n, door := echoes(t)
	c := dial(t, door)
	c.say("one")
	c.hears("one")
	for _, l := range []link{{"a", "b"}, {"b", "a"}} {
		n.cut(1, l)
		n.cut(1, l)
		c.say("held")
		c.silent()
		n.cut(-1, l)
		c.silent()
		n.cut(-1, l)
		c.hears("held")
	}
	n.cut(1, link{"a", "c"}, link{"c", "b"})
	c.say("of no concern")
	c.hears("of no concern")
}

// Who dials through a cut is connected to nobody, and comes through once it is mended.
func TestDialedThroughACut(t *testing.T) {
	n, door := echoes(t)
	n.cut(1, link{"a", "b"})
	c := dial(t, door)
	c.say("hello")
	c.silent()
	n.cut(-1, link{"a", "b"})
	c.hears("hello")
}

func TestASlowLinkIsLate(t *testing.T) {
	n, door := echoes(t)
	c := dial(t, door)
	const late = 120 * time.Millisecond
	n.slow(late, link{"a", "b"})
	begun := time.Now()
	c.say("late")
	c.hears("late")
	if took := time.Since(begun); took < late {
		t.Errorf("it took %s over a link that takes %s", took, late)
	}
}

func TestAResetIsHeard(t *testing.T) {
	n, door := echoes(t)
	c := dial(t, door)
	c.say("one")
	c.hears("one")
	n.cut(1, link{"a", "b"}, link{"b", "a"}) // who resets is not held up by a cut
	n.reset(func(l link) bool { return l == link{"a", "b"} })
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.lines.ReadString('\n'); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after a reset: %v", err)
	}
}

// Where a door is shut nobody comes in, and who was in is told.
func TestShutDoor(t *testing.T) {
	n, door := echoes(t)
	in := dial(t, door)
	in.say("a")
	if got, err := in.lines.ReadString('\n'); err != nil || got != "a\n" {
		t.Fatalf("%q, %v", got, err)
	}
	if err := n.shut(door); err != nil {
		t.Fatal(err)
	}
	if got, err := in.lines.ReadString('\n'); err == nil {
		t.Errorf("who was in heard %q", got)
	}
	if conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp4", door); err == nil {
		_ = conn.Close()
		t.Error("it is open")
	}
}
