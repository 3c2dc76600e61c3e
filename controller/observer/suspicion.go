package observer

import (
	"fmt"
	"slices"
	"time"

	"switchyard/controller/topology"
)

// Suspicion is a hint that a master may be in trouble: a reason to look, and
// never evidence.
type Suspicion struct {
	Cluster string
	// Key is the suspected master.
	Key topology.Key
	Why string
	At  time.Time
}

// Suspicions delivers hints as soon as they arise. Those about one master that
// were not taken yet become one. The channel is never closed.
func (o *Observer) Suspicions() <-chan Suspicion { return o.out }

// suspect queues a suspicion of a master; the lock is held.
func (o *Observer) suspect(s *server, why string) {
	waiting := slices.ContainsFunc(o.pending, func(p Suspicion) bool {
		return p.Cluster == s.masterOf && p.Key == s.key
	})
	if s.masterOf == "" || waiting {
		return
	}
	o.log.Debug("suspicion", "cluster", s.masterOf, "instance", s.key, "why", why)
	o.pending = append(o.pending, Suspicion{Cluster: s.masterOf, Key: s.key, Why: why, At: o.now()})
	o.changed()
}

func (o *Observer) nextSuspicion() (Suspicion, chan<- Suspicion) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.pending) == 0 {
		return Suspicion{}, nil
	}
	return o.pending[0], o.out
}

func (o *Observer) dropSuspicion(taken Suspicion) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pending = slices.DeleteFunc(o.pending, func(p Suspicion) bool { return p == taken })
}

// judge looks for suspicions in an attempt at s that has just been remembered.
// A replica's trouble is reported once. The lock is held.
func (o *Observer) judge(s *server) {
	if s.masterOf != "" && s.seen.Reach != topology.ReachOK {
		o.suspect(s, fmt.Sprintf("a probe of the master failed: %s: %s", s.seen.Reach, s.seen.Error))
	}
	if s.seen.Instance == nil {
		return
	}
	trouble := o.trouble(s.key, s.seen)
	if source := o.servers[o.sourceOf(s)]; source != nil && trouble != "" && !s.troubled {
		o.suspect(source, trouble)
	}
	s.troubled = trouble != ""
}

// trouble says why a replica's receiver does not receive; nothing if it does,
// as far as one can tell.
func (o *Observer) trouble(key topology.Key, seen topology.Observation) string {
	r := seen.Instance.Replication
	if r == nil {
		return ""
	}
	if r.IO != topology.ThreadRunning {
		return fmt.Sprintf("the receiver of replica %s is %q: %s", key, r.IO, r.IOError)
	}
	if limit := max(o.cfg.StallSuspicion, 3*r.HeartbeatPeriod); r.HeartbeatPeriod > 0 && seen.Stalled >= limit {
		return fmt.Sprintf("replica %s has received nothing for %s", key, seen.Stalled.Round(time.Millisecond))
	}
	return ""
}

// late reports a probe of a master that is not answered yet.
func (o *Observer) late(s *server) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.suspect(s, fmt.Sprintf("a probe of the master was not answered within %s", o.cfg.SuspectAfter))
}
