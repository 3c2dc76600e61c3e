package executor

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
)

// Sessions keeps one session per server for the length of a run. Opening one
// ends a predecessor's, so it is opened only after leadership was verified; so is
// every verb that changes something.
type Sessions struct {
	hands   Hands
	lead    func(context.Context) error
	address func(topology.Key) topology.Key

	mu   sync.Mutex
	open map[topology.Key]*slot
}

// slot serialises the use of one server's session. The turn is a channel, as
// waiting for it must end with a context.
type slot struct {
	turn    chan struct{}
	session Session
}

// NewSessions returns sessions for one run, none of them open; lead verifies
// leadership, and address says where a server can be connected to.
func NewSessions(h Hands, lead func(context.Context) error, address func(topology.Key) topology.Key) *Sessions {
	return &Sessions{hands: h, lead: lead, address: address, open: map[topology.Key]*slot{}}
}

func (s *Sessions) slot(k topology.Key) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[k] == nil {
		s.open[k] = &slot{turn: make(chan struct{}, 1)}
	}
	return s.open[k]
}

// With runs do on the server's session within timeout; a session that fails is
// closed, and the next use opens a new one.
func (s *Sessions) With(
	ctx context.Context, k topology.Key, timeout time.Duration, do func(context.Context, Session) error,
) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	sl := s.slot(k)
	select {
	case sl.turn <- struct{}{}:
		defer func() { <-sl.turn }()
	case <-ctx.Done():
		return at(k, fmt.Errorf("another change of it did not end: %w", ctx.Err()))
	}
	if sl.session == nil {
		if err := s.lead(ctx); err != nil {
			return err
		}
		session, err := s.hands.Open(ctx, s.address(k))
		if err != nil {
			return at(k, err)
		}
		sl.session = session
	}
	if err := do(ctx, Guard(sl.session, s.lead)); err != nil {
		// The failure of the verb is what matters; the session is given up.
		_ = sl.session.Close()
		sl.session = nil
		return at(k, err)
	}
	return nil
}

// at names the server in an error that does not name it yet.
func at(k topology.Key, err error) error {
	if strings.Contains(err.Error(), k.String()) {
		return err
	}
	return fmt.Errorf("%s: %w", k, err)
}

// Close ends all sessions.
func (s *Sessions) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sl := range s.open {
		sl.turn <- struct{}{} // each use is bounded
		if sl.session != nil {
			_ = sl.session.Close() // the run is over; the server ends it otherwise
			sl.session = nil
		}
		<-sl.turn
	}
}

// Guard returns a session that verifies leadership before every verb that
// changes something.
func Guard(s Session, lead func(context.Context) error) Session { return guarded{s, lead} }

// guarded is a session behind Guard.
type guarded struct {
	Session
	lead func(context.Context) error
}

func (g guarded) effect(ctx context.Context, do func(context.Context) error) error {
	if err := g.lead(ctx); err != nil {
		return err
	}
	return do(ctx)
}

func (g guarded) StopReceiver(ctx context.Context) error {
	return g.effect(ctx, g.Session.StopReceiver)
}

func (g guarded) StartReplica(ctx context.Context) error {
	return g.effect(ctx, g.Session.StartReplica)
}

func (g guarded) Undelay(ctx context.Context) error { return g.effect(ctx, g.Session.Undelay) }

func (g guarded) RestartReceiver(ctx context.Context) error {
	return g.effect(ctx, g.Session.RestartReceiver)
}

func (g guarded) Detach(ctx context.Context) error { return g.effect(ctx, g.Session.Detach) }

func (g guarded) SetWritable(ctx context.Context) error { return g.effect(ctx, g.Session.SetWritable) }

func (g guarded) SetReadOnly(ctx context.Context) error { return g.effect(ctx, g.Session.SetReadOnly) }

func (g guarded) SetSemiSync(ctx context.Context, want SemiSync) error {
	return g.effect(ctx, func(ctx context.Context) error { return g.Session.SetSemiSync(ctx, want) })
}

func (g guarded) Repoint(ctx context.Context, source topology.Key, holds gtid.Set) error {
	return g.effect(ctx, func(ctx context.Context) error { return g.Session.Repoint(ctx, source, holds) })
}

func (g guarded) Take(ctx context.Context, source topology.Key, user, password string) error {
	return g.effect(ctx, func(ctx context.Context) error { return g.Session.Take(ctx, source, user, password) })
}

func (g guarded) EndClients(ctx context.Context) (ended, left int, err error) {
	if err := g.lead(ctx); err != nil {
		return 0, 0, err
	}
	return g.Session.EndClients(ctx)
}

func (g guarded) EndWaiters(ctx context.Context) error { return g.effect(ctx, g.Session.EndWaiters) }

// WaitApplied changes nothing and needs no leadership.
func (g guarded) WaitApplied(ctx context.Context, set gtid.Set) error {
	return g.Session.WaitApplied(ctx, set)
}
