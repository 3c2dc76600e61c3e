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

// armSlack is what arming may take beside the connection; unarmedLimit is for
// how long a master may be without a tripwire before that is a problem.
const (
	armSlack     = 500 * time.Millisecond
	unarmedLimit = 3 * time.Second
)

// holdTripwire keeps a tripwire on a master until its context ends.
func (o *Observer) holdTripwire(ctx context.Context, s *server) {
	pause := shortestPause
	for ctx.Err() == nil {
		address, since := o.arm(s)
		started := time.Now()
		// A Hold that is armed blocks, and does not say that it is.
		holds := time.AfterFunc(o.cfg.ConnectTimeout+armSlack, func() { o.holds(s, since) })
		end, err := o.prober.Hold(ctx, address)
		holds.Stop()
		o.disarm(ctx, s, since, err)
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

func (o *Observer) arm(s *server) (address topology.Key, since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.armed = o.now()
	return s.address, s.armed
}

// holds notes that a tripwire is armed, if it is still the present one.
func (o *Observer) holds(s *server, since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.armed.Equal(since) {
		s.unarmed = unarmed{}
	}
}

// disarm notes the end of the tripwire that was tried or held since then. What
// ended because it is wanted no more says nothing of the server.
func (o *Observer) disarm(ctx context.Context, s *server, since time.Time, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.armed.Equal(since) {
		s.armed = time.Time{}
	}
	switch {
	case ctx.Err() != nil:
	case err == nil:
		s.unarmed = unarmed{}
	case s.unarmed.why == "":
		s.unarmed = unarmed{why: err.Error(), since: since}
	default:
		s.unarmed.why = err.Error()
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

// endSlack is how much later than a shutdown the end of a tripwire may be noticed
// that it has caused.
const endSlack = time.Second

// Ended is told by the sidecar beside a server that its process is gone; orderly
// is set where it was shut down. It is a hint, and a reason to look.
func (o *Observer) Ended(key topology.Key, orderly bool, why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.servers[key]
	if s == nil || s.masterOf == "" {
		return
	}
	s.ended = topology.TripEnd{}
	if orderly {
		s.ended = topology.TripEnd{Kind: topology.TripOrderly, At: o.now(), Error: "its sidecar: " + why}
	}
	o.suspect(s, "its sidecar says: "+why)
}
