package observer

import (
	"context"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
)

// server is what the observer remembers of one server. All but the channels
// is guarded by the observer's lock; instances are never changed once stored.
type server struct {
	// key is its canonical name, address where it is probed.
	key, address topology.Key
	seed         bool
	// remembered is the cluster in which the ledger has it, masterOf the one
	// whose master it is.
	remembered, masterOf string
	// stop ends its loop; nil until that was started.
	stop context.CancelFunc
	gone bool

	// kept is taken by whoever uses the kept connection.
	kept chan struct{}
	// kick makes its loop probe it at once.
	kick chan struct{}
	// answered wakes the tripwire when a probe has succeeded.
	answered chan struct{}

	// turn is that of the newest attempt remembered, seen is that attempt.
	turn     uint64
	seen     topology.Observation
	last     *topology.Instance
	lastSeen time.Time
	// failures counts attempts since the last one that succeeded.
	failures int
	still    stillness
	// wrote is the same for its own binary log.
	wrote stillness
	// urged is when it was last probed out of turn because somebody asked.
	urged time.Time
	// troubled is true while its receiver does not receive.
	troubled bool

	// trip is how the tripwire last ended; armed is since when the present one
	// is tried or held, zero for none; unarmed is why there is none.
	trip    topology.TripEnd
	armed   time.Time
	unarmed unarmed
	writing writing
	// ended is when its sidecar said that it was shut down in order; zero for never.
	ended topology.TripEnd
}

// unarmed is why a tripwire could not be armed lately, and since when it is
// tried in vain; zero if it is not.
type unarmed struct {
	why   string
	since time.Time
}

func newServer(key topology.Key) *server {
	return &server{key: key, address: key, kept: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		answered: make(chan struct{}, 1)}
}

// depose forgets what only a master has.
func (s *server) depose() {
	s.masterOf, s.trip, s.unarmed, s.writing, s.ended = "", topology.TripEnd{}, unarmed{}, writing{}, topology.TripEnd{}
}

// same reports whether two pictures are of one server, though its names may
// have changed between them.
func same(a, b *topology.Instance) bool {
	if a.UUID != "" || b.UUID != "" {
		return a.UUID == b.UUID
	}
	return a.ServerID == b.ServerID && a.Hostname == b.Hostname
}

// observation is what was last seen, with the present state of the tripwire and
// of the writes that are tried.
func (s *server) observation(now time.Time) topology.Observation {
	out := s.seen
	out.Key = s.key
	out.Tripwire = s.trip
	// A server that shuts down lets go of its connections before its process ends.
	if !s.ended.At.IsZero() && s.trip.At.Before(s.ended.At.Add(endSlack)) {
		out.Tripwire = s.ended
	}
	out.Write = s.written(now)
	return out
}

// ensure returns the server with this name, watched from now on. It is nil for
// a server that is to be left alone, and when there are too many.
func (o *Observer) ensure(raw topology.Key) *server {
	key, ignored := o.namer.Resolve(raw)
	if ignored || key.IsZero() {
		return nil
	}
	if s := o.servers[key]; s != nil {
		return s
	}
	if len(o.servers) >= o.cfg.MaxServers {
		o.crowded = true
		return nil
	}
	s := newServer(key)
	o.servers[key] = s
	o.clusters = nil
	o.changed()
	return s
}

func (o *Observer) rename(s *server, key topology.Key) {
	if o.servers[s.key] == s {
		delete(o.servers, s.key)
	}
	s.key = key
	o.servers[key] = s
	o.clusters = nil
	o.changed()
}

// drop ends the watch of a server that is superfluous: its loop tells the prober.
func (o *Observer) drop(s *server) {
	if o.servers[s.key] == s {
		delete(o.servers, s.key)
	}
	s.gone = true
	if s.stop != nil {
		s.stop()
	}
	o.clusters = nil
}

// merge makes one server of two that turned out to be the same.
func (o *Observer) merge(from, into *server) {
	o.log.Info("two names lead to one server", "instance", into.key, "other", from.key)
	into.seed = into.seed || from.seed
	if into.remembered == "" {
		into.remembered = from.remembered
	}
	if from.masterOf != "" && into.masterOf == "" {
		into.masterOf, into.trip = from.masterOf, from.trip
		o.masters[from.masterOf] = into
	}
	if into.last == nil || into.failures > 0 {
		into.address = from.address
	}
	o.drop(from)
	o.changed()
}

// stillness measures for how long a replica's receiver has taken nothing, or a
// master has written nothing.
type stillness struct {
	known bool
	mark  mark
	turn  uint64
	// moved is the end of the sample in which the last movement was seen: it
	// may have happened as late as that. sampled is the begin of the last one.
	moved, sampled time.Time
}

// mark is all that moves while a receiver receives; of a master's binary log,
// only its end.
type mark struct {
	source                topology.Key
	heartbeat, receivedTo string
	received              gtid.Set
}

func (m mark) equal(o mark) bool {
	return m.source == o.source && m.heartbeat == o.heartbeat && m.receivedTo == o.receivedTo &&
		m.received.Equal(o.received)
}

// receives samples what moves while a replica's receiver receives.
func (s *stillness) receives(a attempt, gap time.Duration) time.Duration {
	r := a.seen.Instance.Replication
	if r == nil || r.IO != topology.ThreadRunning {
		s.reset(a.turn)
		return 0
	}
	m := mark{source: r.Source, heartbeat: r.Heartbeat, receivedTo: r.ReceivedTo, received: r.Received}
	return s.sample(a.turn, a.seen.Begun, a.seen.Ended, m, gap)
}

// writes samples where a server's own binary log ends.
func (s *stillness) writes(a attempt, gap time.Duration) time.Duration {
	position := a.seen.Instance.BinlogPosition
	if position == "" {
		s.reset(a.turn)
		return 0
	}
	return s.sample(a.turn, a.seen.Begun, a.seen.Ended, mark{receivedTo: position}, gap)
}

func (s *stillness) reset(turn uint64) {
	if turn > s.turn {
		*s = stillness{turn: turn}
	}
}

// sample takes one more reading and returns for how long there was no
// movement. Readings that are more than gap apart, or go back in time, tell
// nothing about what was between them, so they begin anew; thus a clock that
// jumps makes nothing look still.
func (s *stillness) sample(turn uint64, begun, ended time.Time, m mark, gap time.Duration) time.Duration {
	if turn < s.turn { // an older attempt that took longer: it changes nothing
		if s.known && m.equal(s.mark) {
			return max(0, begun.Sub(s.moved))
		}
		return 0
	}
	apart := begun.Sub(s.sampled)
	anew := !s.known || apart < 0 || apart > gap || !m.equal(s.mark)
	s.known, s.mark, s.turn, s.sampled = true, m, turn, begun
	if anew {
		s.moved = ended
		return 0
	}
	return max(0, begun.Sub(s.moved))
}
