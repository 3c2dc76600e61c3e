package observer

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"switchyard/controller/topology"
)

// attempt is one try to see one server. Turns order attempts by their begin.
type attempt struct {
	turn    uint64
	address topology.Key
	seen    topology.Observation
	// cut is true where the caller gave up first: it says nothing of the server.
	cut bool
}

// try makes one attempt.
func (o *Observer) try(ctx context.Context, address topology.Key, fresh bool, limit time.Duration) attempt {
	a := attempt{turn: o.turns.Add(1), address: address}
	probe := o.prober.Probe
	if fresh {
		probe = o.prober.ProbeFresh
	}
	probeCtx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	begun := o.now()
	instance, err := probe(probeCtx, address)
	ended := o.now()
	if err == nil && instance == nil {
		err = errors.New("the probe read nothing")
	}
	a.seen = topology.Observation{Reach: topology.ReachOK, Begun: begun, Ended: ended, Fresh: fresh}
	if err != nil {
		a.seen.Reach, a.seen.Error = reachOf(err), err.Error()
		a.cut = ctx.Err() != nil
		if a.cut {
			a.seen.Reach, a.seen.Error = topology.ReachError, "the look was cut short: "+a.seen.Error
			return a
		}
		o.cfg.OnProbe(max(0, ended.Sub(begun)), false)
		return a
	}
	o.cfg.OnProbe(max(0, ended.Sub(begun)), true)
	nameCtx, cancelName := context.WithTimeout(ctx, limit) // DNS, the first time
	defer cancelName()
	a.seen.Instance = o.namer.Describe(nameCtx, address, instance)
	return a
}

func reachOf(err error) topology.Reach {
	var reached interface{ Reach() topology.Reach }
	switch {
	case errors.As(err, &reached):
		return reached.Reach()
	case errors.Is(err, context.DeadlineExceeded):
		return topology.ReachTimeout
	}
	return topology.ReachError
}

// watch probes one server until its context ends. The first probe is made at
// once, the others at a point of the interval that chance picks for this server.
func (o *Observer) watch(ctx context.Context, s *server) {
	defer o.forget(s)
	o.probe(ctx, s)
	o.tidy(ctx, s)
	phase := time.NewTimer(rand.N(o.cfg.ProbeInterval))
	defer phase.Stop()
	if !o.await(ctx, s, phase.C) {
		return
	}
	ticker := time.NewTicker(o.cfg.ProbeInterval)
	defer ticker.Stop()
	for {
		o.probe(ctx, s)
		o.tidy(ctx, s)
		if !o.await(ctx, s, ticker.C) {
			return
		}
	}
}

// await waits for the next probe's turn, and probes out of turn when it is
// kicked. It is false once ctx ended.
func (o *Observer) await(ctx context.Context, s *server, turn <-chan time.Time) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-turn:
			return true
		case <-s.kick:
			o.probe(ctx, s)
			o.tidy(ctx, s)
		}
	}
}

// probe makes one periodic probe.
func (o *Observer) probe(ctx context.Context, s *server) {
	o.mu.Lock()
	places, address := o.answering, s.address
	if s.failures > 0 || s.last == nil {
		places = o.failing
	}
	o.mu.Unlock()
	for _, place := range []chan struct{}{places, s.kept} {
		select {
		case place <- struct{}{}:
			defer func() { <-place }()
		case <-ctx.Done():
			return
		}
	}
	late := time.AfterFunc(o.cfg.SuspectAfter, func() { o.late(s) })
	a := o.try(ctx, address, false, o.cfg.ProbeTimeout)
	late.Stop()
	o.remember(s, a, true)
}

// remember takes an attempt at s into memory, follows the names in it to other
// servers, and returns the observation as it is now known. Suspicions are
// raised only where asked, so that a look does not call for the next look.
func (o *Observer) remember(s *server, a attempt, suspect bool) topology.Observation {
	o.mu.Lock()
	defer o.mu.Unlock()
	if a.cut || s.gone {
		a.seen.Key = s.key
		return a.seen
	}
	if a.seen.Instance != nil {
		owner := o.place(s, a)
		if owner != s && !s.gone {
			o.misled(s, a, owner)
		}
		s = owner
	}
	if i := a.seen.Instance; i != nil {
		a.seen.Stalled = s.still.receives(a, 5*o.cfg.ProbeInterval)
		if still := s.wrote.writes(a, 5*o.cfg.ProbeInterval); s.masterOf != "" || i.Replication == nil {
			a.seen.Still = still
		}
	}
	a.seen.Key = s.key
	if a.turn < s.turn {
		a.seen.Tripwire, a.seen.Write = s.trip, s.written(o.now())
		return a.seen // a newer attempt was quicker
	}
	s.turn = a.turn
	o.store(s, a.seen)
	if suspect {
		o.judge(s)
	}
	return s.observation(o.now())
}

func (o *Observer) store(s *server, seen topology.Observation) {
	if seen.Reach != s.seen.Reach {
		o.log.Info("server seen", "instance", s.key, "reach", string(seen.Reach), "error", seen.Error)
	}
	s.seen = seen
	if seen.Instance == nil {
		s.failures++
		return
	}
	if s.last == nil || linksOf(s.last) != linksOf(seen.Instance) {
		o.clusters = nil
	}
	s.last, s.lastSeen, s.failures = seen.Instance, seen.Ended, 0
	if !s.armed.IsZero() && seen.Begun.Sub(s.armed) >= o.cfg.ProbeTimeout {
		s.trip = topology.TripEnd{} // it is held again, and the server has answered since
	}
	select {
	case s.answered <- struct{}{}:
	default: // the tripwire has yet to take the last one
	}
	o.follow(s)
}

// follow begins to watch the servers that a picture names.
func (o *Observer) follow(s *server) {
	if _, ignored := o.namer.Resolve(s.key); ignored {
		o.drop(s)
		return
	}
	if r := s.last.Replication; r != nil {
		o.ensure(r.Source)
	}
	for _, replica := range s.last.Replicas {
		o.ensure(replica)
	}
}

// links is what of a picture decides which cluster a server belongs to.
type links struct {
	source           topology.Key
	sourceUUID, uuid string
	hint             string
	serverID         uint32
	readOnly         bool
}

func linksOf(i *topology.Instance) links {
	l := links{uuid: i.UUID, hint: i.ClusterHint, serverID: i.ServerID, readOnly: i.ReadOnly}
	if i.Replication != nil {
		l.source, l.sourceUUID = i.Replication.Source, i.Replication.SourceUUID
	}
	return l
}
