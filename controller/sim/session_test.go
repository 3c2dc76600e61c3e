package sim_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"switchyard/controller/executor"
	"switchyard/controller/gtid"
	"switchyard/controller/topology"
)

// session is a controller's connection to a server; the server has at most one,
// since a new one ends its predecessor's.
type session struct {
	c      *controller
	s      *server
	n      int
	life   int
	broken bool
}

// request sends something to a server and answers what becomes of it: refused,
// never answered, or done. A server that is frozen does it when it thaws.
func (w *world) request(f *flight, c *controller, s *server, do func() (any, error)) {
	if w.lost() {
		w.note("%s: the request is lost", f.name)
		w.fail(f)
		return
	}
	w.after(w.latency(), func() {
		switch {
		case s.hostDown || w.cut(c.id, s.key.Host):
			return // no answer of any kind
		case !s.up:
			w.answer(f, c.id, s.key.Host, nil, fmt.Errorf("%s: connection refused", s.key))
		case s.frozen:
			s.queue = append(s.queue, func() { w.answering(f, c, s, do) })
		default:
			w.answering(f, c, s, do)
		}
	})
}

func (w *world) answering(f *flight, c *controller, s *server, do func() (any, error)) {
	result, err := do()
	w.note("%s: %v", f.name, outcome(result, err))
	if w.lost() {
		w.note("%s: the reply is lost", f.name)
		w.fail(f)
		return
	}
	w.answer(f, c.id, s.key.Host, result, err)
}

func (w *world) answer(f *flight, from, to string, result any, err error) {
	w.after(w.latency(), func() {
		if !w.cut(from, to) {
			f.end(result, err)
		}
	})
}

// fail lets a call whose packets are lost end: soon, with a broken connection,
// or not before its deadline.
func (w *world) fail(f *flight) {
	if w.chance(0.5) {
		w.after(w.between(time.Millisecond, 200*time.Millisecond), func() { f.end(nil, errLost) })
	}
}

func outcome(result any, err error) string {
	switch {
	case err != nil:
		return "error: " + err.Error()
	case result != nil:
		return fmt.Sprint(result)
	}
	return "done"
}

// hands opens sessions for one controller.
type hands struct{ *controller }

// Open implements executor.Hands.
func (h hands) Open(ctx context.Context, address topology.Key) (executor.Session, error) {
	c := h.controller
	s := c.w.server(address)
	if s == nil {
		return nil, fmt.Errorf("%s: no such host", address)
	}
	result, err := c.ask(ctx, "open "+s.key.Host, false, func(f *flight) {
		c.w.request(f, c, s, func() (any, error) {
			if old := s.session; old != nil {
				old.broken = true
			}
			c.w.sessions++
			s.session = &session{c: c, s: s, n: c.w.sessions, life: s.life}
			return s.session, nil
		})
	})
	if err != nil {
		return nil, err
	}
	return result.(*session), nil
}

// String names the session in the trace.
func (s *session) String() string { return fmt.Sprintf("session %d", s.n) }

// verb sends one statement; what it does is done only if the session lives.
func (s *session) verb(ctx context.Context, name string, changes bool, do func() (any, error)) (any, error) {
	verified := s.c.verifiedNow()
	return s.c.ask(ctx, name+" "+s.s.key.Host, false, func(f *flight) {
		if changes && !verified {
			s.c.w.check.unverified(s.c, f.name)
		}
		s.c.w.request(f, s.c, s.s, func() (any, error) {
			if s.broken || s.life != s.s.life {
				return nil, errLost
			}
			if changes {
				s.c.w.acted(s.c, f.name)
			}
			return do()
		})
	})
}

// StopReceiver implements executor.Session.
func (s *session) StopReceiver(ctx context.Context) error {
	_, err := s.verb(ctx, "stop-receiver", true, func() (any, error) {
		if s.s.source == nil || s.s.w.cfg.mariadb && !s.s.io {
			return nil, nil
		}
		s.s.sql = true
		s.s.stopIO()
		s.s.apply()
		return nil, nil
	})
	return err
}

var errNoSource = errors.New("the server has no source")

// StartReplica implements executor.Session.
func (s *session) StartReplica(ctx context.Context) error {
	_, err := s.verb(ctx, "start-replica", true, func() (any, error) {
		if s.s.source == nil {
			return nil, errNoSource
		}
		s.s.start()
		return nil, nil
	})
	return err
}

// WaitApplied implements executor.Session.
func (s *session) WaitApplied(ctx context.Context, set gtid.Set) error {
	for {
		result, err := s.verb(ctx, "wait-applied", false, func() (any, error) {
			switch {
			case s.s.executed.Contains(set):
				return true, nil
			case s.s.source == nil:
				return nil, errNoSource
			case !s.s.sql:
				return nil, errors.New("the applier does not run")
			}
			return false, nil
		})
		if err != nil || result == true {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Undelay implements executor.Session.
func (s *session) Undelay(ctx context.Context) error {
	_, err := s.verb(ctx, "undelay", true, func() (any, error) { return nil, nil })
	return err
}

// RestartReceiver implements executor.Session.
func (s *session) RestartReceiver(ctx context.Context) error {
	_, err := s.verb(ctx, "restart-receiver", true, func() (any, error) {
		if s.s.source == nil || s.s.w.cfg.mariadb {
			return nil, errors.New("a restart would tell nothing")
		}
		s.s.stopIO()
		s.s.start()
		return nil, nil
	})
	return err
}

// Detach implements executor.Session.
func (s *session) Detach(ctx context.Context) error {
	_, err := s.verb(ctx, "detach", true, func() (any, error) {
		dropped := s.s.w.cfg.mariadb && !s.s.io && !s.s.sql
		if len(s.s.relay) > 0 && !dropped {
			return nil, errors.New("received transactions are not applied yet")
		}
		if s.s.source != nil {
			s.s.follow(nil)
		}
		return nil, nil
	})
	return err
}

// SetWritable implements executor.Session.
func (s *session) SetWritable(ctx context.Context) error {
	_, err := s.verb(ctx, "set-writable", true, func() (any, error) {
		if s.s.readOnly {
			s.s.w.check.madeWritable(s.c, s.s)
		}
		s.s.readOnly, s.s.operator = false, false
		return nil, nil
	})
	return err
}

// SetReadOnly implements executor.Session.
func (s *session) SetReadOnly(ctx context.Context) error {
	_, err := s.verb(ctx, "set-read-only", true, func() (any, error) {
		if s.s.w.cfg.mutant.lies {
			return nil, nil
		}
		if !s.s.readOnly && len(s.s.waiting) > 0 {
			return nil, errors.New("read-only is blocked by a commit")
		}
		s.s.readOnly = true
		return nil, nil
	})
	return err
}

// SetSemiSync implements executor.Session.
func (s *session) SetSemiSync(ctx context.Context, want executor.SemiSync) error {
	_, err := s.verb(ctx, fmt.Sprintf("set-semi-sync %t,%t,%d", want.Source, want.Replica, want.WaitCount), true, func() (any, error) {
		s.s.semiSource, s.s.semiAck = want.Source, want.Replica
		if want.WaitCount > 0 {
			s.s.waitFor = want.WaitCount
		}
		if !want.Source {
			// Whoever waits is let go, and told that all is well.
			for _, c := range s.s.waiting {
				c.t.acked = c.t.acked || c.client
			}
			s.s.waiting = nil
		}
		return nil, nil
	})
	return err
}

// Repoint implements executor.Session.
func (s *session) Repoint(ctx context.Context, source topology.Key, holds gtid.Set) error {
	_, err := s.verb(ctx, "repoint to "+source.Host, true, func() (any, error) {
		to := s.s.w.server(source)
		switch {
		case to == nil || to == s.s:
			return nil, fmt.Errorf("the source %s is not a host to replicate from", source)
		case s.s.source == to && s.s.io && s.s.sql && s.s.connected:
			return nil, nil
		case !holds.IsEmpty() && !holds.Contains(s.s.executed):
			return nil, fmt.Errorf("the server holds transactions that the source lacks: %s", s.s.executed.Subtract(holds))
		}
		s.s.follow(to)
		return nil, nil
	})
	return err
}

// EndClients implements executor.Session.
func (s *session) EndClients(ctx context.Context) (ended, left int, err error) {
	result, err := s.verb(ctx, "end-clients", true, func() (any, error) {
		return [2]int{s.s.endClients(), len(s.s.waiting)}, nil
	})
	if err != nil {
		return 0, 0, err
	}
	n := result.([2]int)
	return n[0], n[1], nil
}

// EndWaiters implements executor.Session.
func (s *session) EndWaiters(ctx context.Context) error {
	_, err := s.verb(ctx, "end-waiters", true, func() (any, error) {
		if s.s.w.cfg.mariadb {
			s.s.endClients()
		}
		return nil, nil
	})
	return err
}

// endClients ends the clients; on MySQL a commit that waits for its
// acknowledgement does not end, on MariaDB it does, unacknowledged.
func (s *server) endClients() int {
	n := len(s.waiting)
	for _, c := range s.waiting {
		c.client = false
	}
	if s.w.cfg.mariadb {
		s.waiting = nil
	}
	return n
}

// Close implements executor.Session; nobody waits for it.
func (s *session) Close() error {
	if s.c.crashed() {
		return nil
	}
	w, c := s.c.w, s.c
	w.register(fmt.Sprintf("%s close %s %d", c.name(), s.s.key.Host, s.n), true, func(f *flight) {
		w.after(w.latency(), func() {
			if s.s.session == s && !w.cut(c.id, s.s.key.Host) {
				s.s.session, s.broken = nil, true
			}
			f.end(nil, nil)
		})
	})
	return nil
}
