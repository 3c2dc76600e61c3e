package observer

import (
	"context"
	"fmt"
	"time"

	"switchyard/controller/topology"
)

// wire is a tripwire that is held, or tried.
type wire struct {
	server *server
	stop   context.CancelFunc
}

// The pauses before a tripwire is armed again; longer each time while it does
// not hold.
const (
	shortestPause = 50 * time.Millisecond
	longestPause  = 2 * time.Second
)

// holdTripwire keeps a tripwire on a master until its context ends.
func (o *Observer) holdTripwire(ctx context.Context, s *server) {
	pause := shortestPause
	for ctx.Err() == nil {
		address := o.arm(s)
		started := time.Now()
		end, err := o.prober.Hold(ctx, address)
		o.disarm(s, err)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			o.tripped(ctx, s, end)
		}
		if time.Since(started) > longestPause {
			pause = shortestPause
		}
		o.waitToArm(ctx, s, pause)
		pause = min(2*pause, longestPause)
	}
}

func (o *Observer) arm(s *server) topology.Key {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.armed = o.now()
	return s.address
}

func (o *Observer) disarm(s *server, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.armed, s.unarmed = time.Time{}, ""
	if err != nil {
		s.unarmed = err.Error()
	}
}

// tripped reports the end of a tripwire and looks at once what became of the
// master.
func (o *Observer) tripped(ctx context.Context, s *server, end topology.TripEnd) {
	o.mu.Lock()
	end.At = o.now()
	if s.masterOf != "" { // else it was deposed meanwhile
		s.trip = end
		o.suspect(s, fmt.Sprintf("the tripwire ended (%s): %s", end.Kind, end.Error))
	}
	address := s.address
	o.mu.Unlock()
	o.remember(s, o.try(ctx, address, true, o.cfg.UrgentTimeout), false)
}

// waitToArm waits for a pause and then, while the master does not answer,
// until it does or the longest pause is over.
func (o *Observer) waitToArm(ctx context.Context, s *server, pause time.Duration) {
	select {
	case <-s.answered: // an answer from before
	default:
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
	}
	o.mu.Lock()
	answers := s.failures == 0
	o.mu.Unlock()
	if answers {
		return
	}
	timer.Reset(longestPause)
	select {
	case <-ctx.Done():
	case <-s.answered:
	case <-timer.C:
	}
}
