package store

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// logBook collects what is logged, from any goroutine.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestStrangersAreNotListenedTo(t *testing.T) {
	s := open(t, configs(t, 1)[0])
	leader(t, s)
	for _, line := range []string{
		"GET / HTTP/1.1\r\n\r\n", "\n", "null\n", "\x00\x01\x02", strings.Repeat("x", 2*greetingLimit), `{"switchyard_raft":1}` + "\n",
	} {
		conn, err := net.Dial("tcp", s.cfg.Bind)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, line)
		if half, ok := conn.(*net.TCPConn); ok {
			// It fails where the controller has hung up by now, as it should.
			_ = half.CloseWrite()
		}
		reply, err := io.ReadAll(conn)
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Errorf("%.20q: the connection was kept", line)
		}
		if len(reply) > 0 && !strings.Contains(string(reply), "refusal") {
			t.Errorf("%.20q got %q", line, reply)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	propose(t, s, adopt(1))
}

// TestControllersThatDisagree starts two that find each other, but should not
// talk: no leader may come of it, and the log says why.
func TestControllersThatDisagree(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"another cluster": {func(c *Config) { c.LedgerID = "test" }, []string{"of the cluster of controllers"}},
		"other peers": {func(c *Config) {
			c.Peers = append(append([]Peer{}, c.Peers[:2]...), Peer{ID: "c9", RaftAddress: "127.0.0.1:1"})
		}, []string{"its peers are"}},
		// c2 looks for c3 where c1 is.
		"swapped peers": {func(c *Config) {
			c.Peers = []Peer{
				{ID: "c1", RaftAddress: c.Peers[2].RaftAddress}, c.Peers[1], {ID: "c3", RaftAddress: c.Peers[0].RaftAddress},
			}
		}, []string{"do two controllers use that id?", "it looks for"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfgs := configs(t, 3)
			for i := range cfgs { // they ask for votes by themselves
				cfgs[i].Timeouts = Timeouts{Heartbeat: 500 * time.Millisecond, Election: 500 * time.Millisecond, LeaderLease: 400 * time.Millisecond}
			}
			one := open(t, cfgs[0])
			tc.change(&cfgs[1])
			book := &logBook{}
			two, err := Open(cfgs[1], slog.New(slog.NewTextHandler(book, nil)))
			if err != nil {
				t.Fatal(err)
			}
			defer closeNow(t, two)
			eventually(t, "c2 is told why", func() bool {
				return slices.ContainsFunc(tc.want, func(part string) bool { return strings.Contains(book.String(), part) })
			})
			if one.IsLeader() || two.IsLeader() {
				t.Error("they elected a leader")
			}
			if n := strings.Count(book.String(), "raft connection to another"); n > 20 {
				t.Errorf("the log says so %d times", n)
			}
		})
	}
}
