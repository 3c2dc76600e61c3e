package adminapi

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// sharedListener lets no address take all connections for itself. fasthttp's
// own limit knows IPv4 only, and recycles connections that it still reads from
// when it shuts down.
type sharedListener struct {
	net.Listener
	most int

	mu   sync.Mutex
	open map[netip.Addr]int
}

func share(listener net.Listener, most int) *sharedListener {
	return &sharedListener{Listener: listener, most: most, open: map[netip.Addr]int{}}
}

// Accept implements net.Listener.
func (l *sharedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := source(conn)
		if l.take(from) {
			return &countedConn{Conn: conn, release: sync.OnceFunc(func() { l.give(from) })}, nil
		}
		refuse(conn)
	}
}

func (l *sharedListener) take(from netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[from] >= l.most {
		return false
	}
	l.open[from]++
	return true
}

func (l *sharedListener) give(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[from]--; l.open[from] == 0 {
		delete(l.open, from)
	}
}

// refuse tells the client why, as far as it listens; the connection is lost
// either way.
func refuse(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if conn.SetWriteDeadline(time.Now().Add(10*time.Millisecond)) != nil {
		return
	}
	_, _ = conn.Write([]byte("HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
}

func source(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

type countedConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
