package hostgroup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

// Conn is a connection to a server. One session uses it at a time.
type Conn struct {
	*client.Conn
	server *Server
	user   string
	raw    *net.TCPConn
	once   sync.Once
	spoilt bool

	// Schema, Names and Autocommit are what the session on the server has.
	Schema     string
	Names      string
	Autocommit bool
}

// Connect opens a connection to the server and counts it as used. It ends with ctx.
func (s *Server) Connect(ctx context.Context, user, password, schema string) (*Conn, error) {
	c := &Conn{server: s, user: user, Schema: schema, Autocommit: true}
	stop := func() bool { return true }
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			return nil, errors.Join(fmt.Errorf("%T is not a TCP connection", conn), conn.Close())
		}
		c.raw = tcp
		// The library's handshake knows no deadline.
		stop = context.AfterFunc(ctx, c.closeSocket)
		return tcp, nil
	}
	conn, err := client.ConnectWithDialer(ctx, "tcp", s.key.Address(), user, password, schema, dial)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	if err != nil {
		if c.raw != nil {
			c.closeSocket()
		}
		s.failed++
		return nil, err
	}
	c.Conn = conn
	s.ok++
	s.used++
	return c, nil
}

// Server is the server that the connection leads to.
func (c *Conn) Server() *Server { return c.server }

// Run executes one statement and waits for all of its answer.
func (c *Conn) Run(query string) (*mysql.Result, error) {
	c.server.registry.mu.Lock()
	c.server.served++
	c.server.registry.mu.Unlock()
	result, err := c.Execute(query)
	if err == nil && result.Status&mysql.SERVER_MORE_RESULTS_EXISTS != 0 {
		c.spoilt = true
		return nil, mysql.NewError(mysql.ER_NOT_SUPPORTED_YET, "the ProxySQL stand-in forwards no statement with several results")
	}
	return result, err
}

// Release gives the connection back to the pool. One to a server that is not ONLINE is closed, since nobody would be
// given it.
func (c *Conn) Release() {
	r := c.server.registry
	r.mu.Lock()
	keep := c.server.row.Status == Online && !c.spoilt
	c.server.leave()
	if keep {
		c.server.free = append(c.server.free, c)
	}
	r.mu.Unlock()
	if !keep {
		c.closeSocket()
	}
}

// Drop closes a connection in use. Nothing is said to the server: a statement that runs there runs on.
func (c *Conn) Drop() {
	c.closeSocket()
	c.server.registry.mu.Lock()
	defer c.server.registry.mu.Unlock()
	c.server.leave()
}

// leave counts a connection out, and wakes who waits for a server that was full.
func (s *Server) leave() {
	if s.used--; s.used+1 >= s.row.MaxConnections {
		s.registry.wake()
	}
}

// Interrupt closes the socket under a running statement, so that Run returns. Drop is still owed.
func (c *Conn) Interrupt() { c.closeSocket() }

func (c *Conn) closeSocket() {
	c.once.Do(func() { _ = c.raw.Close() }) // there is nobody who could do better
}

// Quiet tells whether the connection is open and the server has not said anything unasked, such as goodbye.
func (c *Conn) Quiet() bool {
	heard, err := peek(c.raw, false)
	return err == nil && !heard
}

// Watch waits until the server closes the connection or says something unasked (true), or until stop is called
// (false).
func (c *Conn) Watch() bool {
	heard, err := peek(c.raw, true)
	return heard || err != nil && !isTimeout(err)
}

// StopWatch ends a Watch; Resume makes the connection usable after it has returned.
func (c *Conn) StopWatch(at time.Time) { _ = c.raw.SetReadDeadline(at) }

// Resume ends the effect of StopWatch.
func (c *Conn) Resume() { _ = c.raw.SetReadDeadline(time.Time{}) }

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// PeekClosed waits until the other side has closed the connection; it returns false when data came instead, or when a
// read deadline has passed.
func PeekClosed(conn *net.TCPConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	var count int
	var failure error
	var one [1]byte
	err = raw.Read(func(fd uintptr) bool {
		count, _, failure = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return failure != syscall.EAGAIN && failure != syscall.EINTR
	})
	if err != nil {
		return !isTimeout(err)
	}
	return failure != nil || count == 0
}

// peek looks at the socket without taking anything from it, and tells whether there is something to read, the end
// included.
func peek(conn *net.TCPConn, wait bool) (heard bool, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false, err
	}
	var one [1]byte
	err = raw.Read(func(fd uintptr) bool {
		_, _, failure := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		heard = failure != syscall.EAGAIN && failure != syscall.EINTR
		return heard || !wait
	})
	return heard, err
}

// The measured behaviour of a refused port, expressed as a rule: attempts are at least this far apart, and a server
// that failed so often within a second is left alone for a while.
const (
	Pace       = 170 * time.Millisecond
	window     = time.Second
	aloneAway  = time.Second
	defaultOut = 5
)

// Failed counts a failed attempt to connect, and shuns the server for a while when there were limit of them within a
// second: for recovery if its hostgroup has another server, else for a second.
func (s *Server) Failed(limit int, recovery time.Duration) {
	if limit <= 0 {
		limit = defaultOut
	}
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	now := time.Now()
	kept := s.failures[:0]
	for _, at := range s.failures {
		if now.Sub(at) < window {
			kept = append(kept, at)
		}
	}
	if s.failures = append(kept, now); len(s.failures) < limit {
		return
	}
	s.failures = nil
	s.away = now.Add(aloneAway)
	for _, other := range s.registry.servers {
		if other != s && other.key.Hostgroup == s.key.Hostgroup && other.row.Status == Online && !now.Before(other.away) {
			s.away = now.Add(recovery)
		}
	}
}
