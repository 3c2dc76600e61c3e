package traffic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"

	"switchyard/e2e/standin/hostgroup"
)

// forward runs a statement on a server. A statement outside of everything that ties the session to its server is run
// again when its connection is lost, as often as the settings allow; in every other case the session ends.
func (s *session) forward(query string) (*mysql.Result, error) {
	left := s.watchClient()
	defer left.stop()
	retries := s.proxy.current().QueryRetries
	for {
		tied := s.kept != nil
		if !tied {
			c, err := s.acquire(left)
			if err != nil {
				return nil, err
			}
			s.kept = c
		}
		s.show(s.kept, query)
		result, err := s.exchange(query, left)
		var refused *mysql.MyError
		switch {
		case err == nil:
			s.account(result)
			return result, nil
		case errors.As(err, &refused):
			s.countDown()
			return nil, err
		}
		s.show(nil, query)
		s.kept.Drop()
		s.kept = nil
		if tied || retries == 0 || left.happened() {
			return nil, fmt.Errorf("%w: %w", errGone, err)
		}
		retries--
	}
}

// account reads from an answer what ties the session to its server.
func (s *session) account(result *mysql.Result) {
	s.working = result.Status&mysql.SERVER_STATUS_IN_TRANS != 0
	s.countDown()
	if settings := s.proxy.current(); result.InsertId > 0 && settings.DelayMultiplex > 0 {
		s.delay, s.delayEnd = settings.DelayMultiplex, time.Now().Add(settings.DelayTimeout)
	}
	s.setStatus()
}

func (s *session) countDown() {
	if s.delay > 0 {
		s.delay--
	}
}

// exchange brings the connection to the session's state, sends the statement, and waits for the answer, for the
// server's row to go the hard way, or for the client to leave.
func (s *session) exchange(query string, left *departure) (*mysql.Result, error) {
	hard := s.kept.Server().Hard()
	select {
	case <-hard:
		return nil, errors.New("the server is offline")
	default:
	}
	type reply struct {
		result *mysql.Result
		err    error
	}
	replies := make(chan reply, 1)
	c := s.kept
	go func() {
		result, err := s.run(c, query)
		replies <- reply{result, err}
	}()
	var reason error
	select {
	case r := <-replies:
		return r.result, r.err
	case <-hard:
		reason = errors.New("the server went offline")
	case <-left.done:
		reason = errors.New("the client left")
	case <-s.dead:
		reason = errors.New("the session was killed")
	}
	c.Interrupt()
	<-replies
	return nil, reason
}

// run is called in a goroutine of its own, for which exchange waits.
func (s *session) run(c *hostgroup.Conn, query string) (*mysql.Result, error) {
	if s.names != "" && c.Names != s.names {
		if _, err := c.Run("SET NAMES " + s.names); err != nil {
			return nil, err
		}
		c.Names = s.names
	}
	if s.schema != "" && c.Schema != s.schema {
		if err := c.UseDB(s.schema); err != nil {
			return nil, err
		}
		c.Schema = s.schema
	}
	if c.Autocommit != s.autocommit {
		value := "0"
		if s.autocommit {
			value = "1"
		}
		if _, err := c.Run("SET autocommit=" + value); err != nil {
			return nil, err
		}
		c.Autocommit = s.autocommit
	}
	return c.Run(query)
}

// acquire waits for a connection to an ONLINE server of the user's hostgroup. How long it waits is settled when it
// begins.
func (s *session) acquire(left *departure) (*hostgroup.Conn, error) {
	settings, begin := s.proxy.current(), time.Now()
	ctx, cancel := context.WithDeadline(context.Background(), begin.Add(settings.ConnectTimeoutMax))
	defer cancel()
	var failed *hostgroup.Server // waits until pause
	var pause time.Time
	for failures := 0; ; {
		changed := s.proxy.servers.Changed()
		if failed != nil && !time.Now().Before(pause) {
			failed = nil
		}
		target, c, back := s.proxy.servers.Take(s.user.Hostgroup, s.user.Name, failed)
		if c != nil {
			return c, nil
		}
		if target == nil {
			wake := ctx.Done()
			if failed != nil && (back.IsZero() || pause.Before(back)) {
				back = pause
			}
			if err := s.await(wake, changed, back, left); err != nil {
				return nil, s.explain(err, begin)
			}
			continue
		}
		c, err := s.connect(ctx, target, settings)
		if err == nil {
			return c, nil
		}
		target.Failed(min(settings.ShunOnFailures, max(1, settings.ConnectRetries)), settings.ShunRecovery)
		if ctx.Err() != nil {
			return nil, s.explain(ctx.Err(), begin)
		}
		if left.happened() || s.killed() {
			return nil, errGone
		}
		if failures++; failures > settings.ConnectRetries {
			return nil, connectError(target, err)
		}
		failed, pause = target, time.Now().Add(max(settings.ConnectRetriesDelay, hostgroup.Pace))
	}
}

func (s *session) connect(ctx context.Context, target *hostgroup.Server, settings Settings) (*hostgroup.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, settings.ConnectTimeout)
	defer cancel()
	return target.Connect(ctx, s.user.Name, s.user.Password, s.schema)
}

// await waits for the runtime to change or for a moment (if there is one); the errors are those of the deadline and of
// the session's end.
func (s *session) await(deadline, changed <-chan struct{}, at time.Time, left *departure) error {
	var moment <-chan time.Time
	if !at.IsZero() {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		moment = timer.C
	}
	select {
	case <-changed:
	case <-moment:
	case <-deadline:
		return context.DeadlineExceeded
	case <-left.done:
		return errGone
	case <-s.dead:
		return errGone
	}
	return nil
}

func (s *session) killed() bool {
	select {
	case <-s.dead:
		return true
	default:
		return false
	}
}

// explain is what the client is told of a wait that ended without a connection.
func (s *session) explain(err error, begin time.Time) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &mysql.MyError{Code: 9001, State: "HY000", Message: fmt.Sprintf(
		"Max connect timeout reached while reaching hostgroup %d after %dms", s.user.Hostgroup, time.Since(begin).Milliseconds())}
}

// connectError is what the client is told when the attempts are used up: the server's own words where it had some.
func connectError(target *hostgroup.Server, err error) error {
	var refused *mysql.MyError
	if errors.As(err, &refused) {
		return refused
	}
	reason := 115 // still in progress
	if errors.Is(err, syscall.ECONNREFUSED) {
		reason = int(syscall.ECONNREFUSED)
	}
	return &mysql.MyError{Code: 2002, State: "HY000",
		Message: fmt.Sprintf("Can't connect to server on '%s' (%d)", target.Key().Host, reason)}
}

// departure notices that the client closes its connection while it is owed an answer.
type departure struct {
	done   chan struct{}
	ended  chan struct{}
	socket *net.TCPConn
	once   sync.Once
}

func (s *session) watchClient() *departure {
	d := &departure{done: make(chan struct{}), ended: make(chan struct{}), socket: s.socket}
	go func() {
		defer close(d.ended)
		if hostgroup.PeekClosed(s.socket) {
			close(d.done)
		}
	}()
	return d
}

func (d *departure) happened() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

func (d *departure) stop() {
	d.once.Do(func() {
		_ = d.socket.SetReadDeadline(time.Unix(1, 0)) // a closed socket ends the watch too
		<-d.ended
		_ = d.socket.SetReadDeadline(time.Time{})
	})
}
