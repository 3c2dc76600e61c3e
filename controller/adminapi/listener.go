package adminapi

import (
	"cmp"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// sharedListener lets no address take all connections for itself, and finds room
// for a newcomer when all are taken: whoever only waits for its client gives
// way, so that silent clients do not keep the controllers from each other.
// fasthttp's own limits know IPv4 only, turn newcomers away, and recycle
// connections that they still read from at a shutdown.
type sharedListener struct {
	net.Listener
	most, mostOfOne int

	mu    sync.Mutex
	open  map[netip.Addr]map[*countedConn]struct{}
	total int
}

func share(listener net.Listener, most, mostOfOne int) *sharedListener {
	return &sharedListener{
		Listener: listener, most: most, mostOfOne: mostOfOne, open: map[netip.Addr]map[*countedConn]struct{}{},
	}
}

// Accept implements net.Listener.
func (l *sharedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		counted := &countedConn{Conn: conn, from: source(conn)}
		counted.release = sync.OnceFunc(func() { l.give(counted) })
		counted.begin()
		if l.take(counted) {
			return counted, nil
		}
		refuse(conn)
	}
}

func (l *sharedListener) take(c *countedConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open[c.from]) >= l.mostOfOne {
		return false
	}
	if l.total >= l.most {
		idle := l.idlest()
		if idle == nil {
			return false
		}
		// Its own worker closes it once more, which gives nothing back twice.
		_ = idle.Conn.Close()
		l.drop(idle)
	}
	if l.open[c.from] == nil {
		l.open[c.from] = map[*countedConn]struct{}{}
	}
	l.open[c.from][c] = struct{}{}
	l.total++
	return true
}

// idlest is the connection that has waited longest for its client, of the
// address that has the most of them; nil if all are being worked on.
func (l *sharedListener) idlest() *countedConn {
	var found *countedConn
	var number int
	var since int64
	for _, ones := range l.open {
		for c := range ones {
			waits := c.waits.Load()
			if waits == 0 {
				continue
			}
			if found == nil || cmp.Or(cmp.Compare(len(ones), number), cmp.Compare(since, waits)) > 0 {
				found, number, since = c, len(ones), waits
			}
		}
	}
	return found
}

func (l *sharedListener) give(c *countedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(c)
}

// drop forgets c, where it was not forgotten before.
func (l *sharedListener) drop(c *countedConn) {
	ones := l.open[c.from]
	if _, ok := ones[c]; !ok {
		return
	}
	delete(ones, c)
	l.total--
	if len(ones) == 0 {
		delete(l.open, c.from)
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

// countedConn knows whether it waits for its client.
type countedConn struct {
	net.Conn
	from    netip.Addr
	release func()
	// waits is since when, in nanoseconds; 0 while a request is worked on.
	waits atomic.Int64
}

func (c *countedConn) begin() { c.waits.Store(time.Now().UnixNano()) }

// Read implements net.Conn.
func (c *countedConn) Read(b []byte) (int, error) {
	c.begin()
	defer c.waits.Store(0)
	return c.Conn.Read(b)
}

// Write implements net.Conn.
func (c *countedConn) Write(b []byte) (int, error) {
	c.begin()
	defer c.waits.Store(0)
	return c.Conn.Write(b)
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
