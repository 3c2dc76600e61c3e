package link

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"switchyard/controller/topology"
)

// stranger answers every connection with what speak does, until the test ends.
func stranger(t *testing.T, speak func(net.Conn)) topology.Key {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var talks sync.WaitGroup
	talks.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			talks.Go(func() {
				defer conn.Close()
				speak(conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		talks.Wait()
	})
	return topology.Key{Host: "127.0.0.1", Port: uint16(listener.Addr().(*net.TCPAddr).Port)}
}

// listen speaks text and then waits for the other side to close.
func listen(text string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, conn)
	}
}

func packet(body string) string {
	return string([]byte{byte(len(body)), byte(len(body) >> 8), 0, 0}) + body
}

// handshake is the greeting of a MySQL server.
var handshake = packet("\x0a8.0.99\x00" + "\x01\x00\x00\x00" + "12345678\x00" + "\xff\xf7" + "\x21\x02\x00" +
	"\xff\xdf" + "\x15" + strings.Repeat("\x00", 10) + "123456789012\x00" + "mysql_native_password\x00")

func dialFails(t interface {
	Helper()
	Fatalf(string, ...any)
}, address topology.Key,
) *Error {
	t.Helper()
	const deadline = 3 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	begun := time.Now()
	conn, err := Dial(ctx, Config{User: "u", Password: func() string { return "topsecret" }}, address)
	if took := time.Since(begun); took > 10*deadline {
		t.Fatalf("it took %v with a deadline of %v", took, deadline)
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, %v, want an *Error", conn, err)
	}
	if strings.Contains(err.Error(), "topsecret") || strings.Contains(err.Error(), "\n") {
		t.Fatalf("the error shows the password or has line breaks: %v", err)
	}
	return e
}

func TestDialStrangers(t *testing.T) {
	tests := []struct {
		name  string
		speak func(net.Conn)
		reach topology.Reach
		says  string
	}{
		{"silent", listen(""), topology.ReachHung, "no MySQL greeting came"},
		{"closes", func(net.Conn) {}, topology.ReachBroken, "EOF"},
		{"HTTP", listen("HTTP/1.1 400 Bad Request\r\n\r\n"), topology.ReachError, "not a MySQL server"},
		{"SSH", listen("SSH-2.0-OpenSSH_9.2p1\r\n"), topology.ReachError, "not a MySQL server"},
		{"three bytes", func(c net.Conn) { _, _ = io.WriteString(c, "abc") }, topology.ReachError, "not a MySQL server"},
		{"zeros", listen(strings.Repeat("\x00", 64)), topology.ReachError, "not a MySQL server"},
		{"half a greeting", listen(handshake[:20]), topology.ReachHung, "no MySQL greeting came"},
		{"short greeting", listen(packet("\x0a8.0.99\x00")), topology.ReachError, "not a MySQL server"},
		{"greeting without version", listen(packet("\x0a" + strings.Repeat("a", 80))), topology.ReachError, "not a MySQL"},
		{"old protocol", listen(packet("\x093.21\x00" + strings.Repeat("a", 80))), topology.ReachError, "not a MySQL"},
		{
			"too many connections", listen(packet("\xff\x10\x04Too many connections")), topology.ReachError,
			"Too many connections",
		},
		{"host not allowed", listen(packet("\xff\x6a\x04Host is not allowed")), topology.ReachDenied, "not allowed"},
		{"empty error", listen(packet("\xff\x10\x04")), topology.ReachError, ""},
		{"frozen after the greeting", listen(handshake), topology.ReachHung, "deadline"},
		{"closes after the greeting", func(c net.Conn) {
			_, _ = io.WriteString(c, handshake)
			_, _ = io.ReadFull(c, make([]byte, 4))
		}, topology.ReachBroken, ""},
		{"rubbish after the greeting", listen(handshake + "\x05\x00\x00\x07abcde"), topology.ReachError, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := dialFails(t, stranger(t, test.speak))
			if err.Reach() != test.reach || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %s, %v; want %s with %q", err.Reach(), err, test.reach, test.says)
			}
		})
	}
}

func TestDialNobody(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(listener.Addr().(*net.TCPAddr).Port)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if e := dialFails(t, topology.Key{Host: "127.0.0.1", Port: port}); e.Reach() != topology.ReachRefused {
		t.Errorf("nobody listens: got %s, %v", e.Reach(), e)
	}
	e := dialFails(t, topology.Key{Host: "no such host.invalid", Port: 3306})
	if e.Reach() != topology.ReachUnresolved {
		t.Errorf("no such name: got %s, %v", e.Reach(), e)
	}
}

// TestDialSurvivesRubbish sends what the checks of the greeting let through to
// a driver that trusts its server.
func TestDialSurvivesRubbish(t *testing.T) {
	var mu sync.Mutex
	var text []byte
	address := stranger(t, func(conn net.Conn) {
		mu.Lock()
		say := string(text)
		mu.Unlock()
		_, _ = io.WriteString(conn, say)
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	})
	rapid.Check(t, func(rt *rapid.T) {
		say := []byte(handshake)
		if rapid.Bool().Draw(rt, "bend") {
			say[rapid.IntRange(0, len(say)-1).Draw(rt, "at")] = rapid.Byte().Draw(rt, "byte")
		}
		for range rapid.IntRange(0, 3).Draw(rt, "packets") {
			body := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(rt, "body")
			seq := byte(rapid.IntRange(1, 5).Draw(rt, "seq"))
			say = append(append(say, byte(len(body)), 0, 0, seq), body...)
		}
		// Not before: a draw may end this attempt.
		mu.Lock()
		text = say
		mu.Unlock()
		dialFails(rt, address)
	})
}

func TestReadGreetingKeepsTheBytes(t *testing.T) {
	got, err := readGreeting(strings.NewReader(handshake + "more"))
	if err != nil || string(got) != handshake {
		t.Errorf("got %q, %v", got, err)
	}
}

// late is a context whose deadline is over and whose timer has not run, as in a
// process that was stopped for a while.
type late struct{ context.Context }

func (late) Deadline() (time.Time, bool) { return time.Now().Add(-time.Millisecond), true }

// recorder is a connection that writes down what it is to send.
type recorder struct {
	driver.Conn
	sent []string
}

func (r *recorder) QueryContext(_ context.Context, statement string, _ []driver.NamedValue) (driver.Rows, error) {
	r.sent = append(r.sent, statement)
	return nil, errors.New("sent")
}

func TestNothingIsSentAfterTheDeadline(t *testing.T) {
	wire := &recorder{}
	c := &Conn{conn: wire}
	err := c.Exec(late{t.Context()}, "SET GLOBAL read_only = 0")
	if !errors.Is(err, context.DeadlineExceeded) || len(wire.sent) != 0 {
		t.Errorf("after the deadline: sent %q, %v", wire.sent, err)
	}
	var e *Error
	if !errors.As(err, &e) || e.Reach().Dead() || Lost(err) {
		t.Errorf("%v is taken for evidence against the server", err)
	}
	if err := c.Exec(t.Context(), "DO 0"); err == nil || len(wire.sent) != 1 {
		t.Errorf("without a deadline: sent %q, %v", wire.sent, err)
	}
}
