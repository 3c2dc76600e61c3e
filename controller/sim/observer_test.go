package sim_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"switchyard/controller/failover"
	"switchyard/controller/topology"
)

// The clocks of the pretend observer are those of the real one.
const (
	probeInterval = time.Second
	probeTimeout  = time.Second
	urgentTimeout = 500 * time.Millisecond
	suspectAfter  = 400 * time.Millisecond
	askTimeout    = time.Second
	askLinger     = 10 * time.Millisecond
)

// sight is what one controller remembers of one server.
type sight struct {
	turn     time.Duration
	seen     topology.Observation
	last     *topology.Instance
	lastSeen time.Time
	trip     topology.TripEnd
	troubled bool
	// The mark is what moves while a receiver receives.
	mark           string
	moved, sampled time.Time
}

// watch has a controller probe all servers from now on.
func (w *world) watch(c *controller) {
	for _, s := range w.servers {
		w.after(w.between(0, 50*time.Millisecond), func() { w.probe(c, s) })
	}
}

func (w *world) probe(c *controller, s *server) {
	if !c.up {
		return
	}
	late := false
	if c.holds(s) {
		w.after(suspectAfter, func() {
			if !late && c.up {
				w.suspect(c, "a probe of the master was not answered in time")
			}
		})
	}
	w.observe(c, s, probeTimeout, func(o topology.Observation) {
		late = true
		if !c.up {
			return
		}
		w.judge(c, s, o)
	})
	w.after(probeInterval+w.between(0, 10*time.Millisecond), func() { w.probe(c, s) })
}

// observe looks at a server once and tells what became of that.
func (w *world) observe(c *controller, s *server, limit time.Duration, tell func(topology.Observation)) {
	o := topology.Observation{Key: s.key, Begun: c.clock(), Fresh: true}
	turn := w.now()
	end := func(after time.Duration, reach topology.Reach, i *topology.Instance) {
		w.after(after, func() {
			o.Reach, o.Instance, o.Ended = reach, i, c.clock()
			if i == nil {
				o.Error = "it is " + string(reach)
			}
			w.remember(c, s, turn, &o)
			tell(o)
		})
	}
	if w.lost() {
		s.disturbed = w.now()
		end(limit, topology.ReachTimeout, nil)
		return
	}
	begun := w.now()
	w.after(w.latency(), func() {
		rest := limit - (w.now() - begun)
		switch {
		case s.hostDown || w.cut(c.id, s.key.Host):
			end(rest, topology.ReachTimeout, nil)
		case !s.up:
			end(w.latency(), topology.ReachRefused, nil)
		case s.frozen:
			end(rest, topology.ReachHung, nil)
		default:
			end(w.latency(), topology.ReachOK, w.cfg.mutant.picture(s.instance()))
		}
	})
}

// remember takes an observation into a controller's memory; turn is when it began.
func (w *world) remember(c *controller, s *server, turn time.Duration, o *topology.Observation) {
	m := c.sights[s.key]
	if o.Instance != nil {
		o.Stalled = m.sample(turn, *o)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if turn < m.turn {
		o.Tripwire = m.trip
		return // a newer one was quicker
	}
	m.turn = turn
	if o.Instance != nil {
		m.last, m.lastSeen = o.Instance, o.Ended
		if !m.trip.At.IsZero() && o.Begun.Sub(m.trip.At) > probeTimeout {
			m.trip = topology.TripEnd{}
		}
	}
	o.Tripwire = m.trip
	m.seen = *o
}

// sample says for how long a receiver that claims to run has received nothing.
func (m *sight) sample(turn time.Duration, o topology.Observation) time.Duration {
	r := o.Instance.Replication
	if r == nil || r.IO != topology.ThreadRunning {
		if turn > m.turn {
			m.mark = ""
		}
		return 0
	}
	mark := fmt.Sprint(r.Source, r.Heartbeat, r.ReceivedTo)
	if turn < m.turn {
		if mark == m.mark {
			return max(0, o.Begun.Sub(m.moved))
		}
		return 0
	}
	apart := o.Begun.Sub(m.sampled)
	anew := mark != m.mark || apart < 0 || apart > 5*probeInterval
	m.mark, m.sampled = mark, o.Begun
	if anew {
		m.moved = o.Ended
		return 0
	}
	return max(0, o.Begun.Sub(m.moved))
}

// judge raises the suspicions that the real observer raises.
func (w *world) judge(c *controller, s *server, o topology.Observation) {
	if o.Reach != topology.ReachOK {
		if c.holds(s) {
			w.suspect(c, "a probe of the master failed: "+string(o.Reach))
		}
		return
	}
	r := o.Instance.Replication
	trouble := r != nil && (r.IO != topology.ThreadRunning || o.Stalled >= 3*r.HeartbeatPeriod)
	m := c.sights[s.key]
	if trouble && !m.troubled {
		if source := w.server(r.Source); source != nil && c.holds(source) {
			w.suspect(c, "a replica has trouble")
		}
	}
	m.troubled = trouble
}

func (w *world) suspect(c *controller, why string) {
	select {
	case c.hints <- failover.Suspicion{Cluster: cluster, Why: why, At: c.clock()}:
	default:
	}
}

// trip ends the tripwires on a server whose process ended.
func (w *world) trip(s *server, kind topology.TripKind) {
	for _, c := range w.controllers {
		if !c.up || !c.holds(s) || w.cut(c.id, s.key.Host) {
			continue
		}
		w.after(w.latency(), func() {
			if !c.up {
				return
			}
			c.mu.Lock()
			c.sights[s.key].trip = topology.TripEnd{Kind: kind, At: time.Now().Add(c.skew)}
			c.mu.Unlock()
			w.suspect(c, "the tripwire ended")
		})
	}
}

// holds reports whether c takes s for the master.
func (c *controller) holds(s *server) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.master == s.key
}

// Learn implements failover.Observer.
func (c *controller) Learn(string, ...topology.Key) {}

// SetMaster implements failover.Observer.
func (c *controller) SetMaster(_ string, master topology.Key) {
	c.mu.Lock()
	changed := c.master != master && !c.dead
	c.master = master
	c.mu.Unlock()
	if changed {
		c.Reprobe(cluster)
	}
}

// Reprobe implements failover.Observer.
func (c *controller) Reprobe(string, ...topology.Key) {
	if c.crashed() {
		return
	}
	c.w.register(c.name()+" reprobe", true, func(f *flight) {
		for _, s := range c.w.servers {
			c.w.observe(c, s, probeTimeout, func(topology.Observation) {})
		}
		f.end(nil, nil)
	})
}

// Pictures implements failover.Observer.
func (c *controller) Pictures() []failover.Picture {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := failover.Picture{Name: cluster, UUIDs: map[topology.Key]string{}}
	for _, s := range c.w.servers {
		m := c.sights[s.key]
		if m.last == nil {
			return nil
		}
		p.Servers = append(p.Servers, s.key)
		if m.last.UUID != "" {
			p.UUIDs[s.key] = m.last.UUID
		}
		if m.last.Replication == nil && m.seen.Reach == topology.ReachOK {
			p.Roots = append(p.Roots, s.key)
			if !m.last.ReadOnly {
				p.Writable = append(p.Writable, s.key)
			}
		}
	}
	return []failover.Picture{p}
}

// Snapshot implements executor.Looker.
func (c *controller) Snapshot(name string, master topology.Key) topology.Snapshot {
	now := c.clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	view := topology.View{Observer: c.id, At: now, Observations: map[topology.Key]topology.Observation{}}
	snap := topology.Snapshot{Cluster: name, Master: master, At: now, Taker: c.id, Servers: map[topology.Key]topology.Server{}}
	for k, m := range c.sights {
		srv := topology.Server{Key: k, Last: m.last, LastSeen: m.lastSeen}
		if m.last != nil && m.last.Replication != nil {
			srv.Source = m.last.Replication.Source
		}
		snap.Servers[k] = srv
		if !m.seen.Begun.IsZero() {
			o := m.seen
			o.Tripwire = m.trip
			view.Observations[k] = o
		}
	}
	snap.Views = []topology.View{view}
	return snap
}

// Look implements executor.Looker.
func (c *controller) Look(ctx context.Context, keys []topology.Key, fresh map[topology.Key]bool) topology.View {
	keys = slices.Compact(slices.SortedFunc(slices.Values(keys), topology.Key.Compare))
	if c.w.cfg.mutant.stale && len(keys) > 0 {
		return c.Snapshot(cluster, topology.Key{}).Views[0]
	}
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Host
		if fresh[k] {
			names[i] += "!"
		}
	}
	view := topology.View{Observer: c.id, Observations: map[topology.Key]topology.Observation{}}
	if len(keys) > 0 {
		result, err := c.ask(ctx, "look "+strings.Join(names, ","), true, func(f *flight) {
			c.w.look(c, keys, func(seen map[topology.Key]topology.Observation) {
				c.w.note("%s: %s", f.name, brief(seen))
				f.end(seen, nil)
			})
		})
		if err == nil {
			view.Observations = maps.Clone(result.(map[topology.Key]topology.Observation))
		}
		for _, k := range keys {
			if err != nil {
				view.Observations[k] = topology.Observation{Key: k, Reach: topology.ReachError, Error: "the look was cut short",
					Begun: c.clock(), Ended: c.clock()}
			}
		}
	}
	view.At = c.clock()
	return view
}

// look observes servers for a controller and tells when all have ended.
func (w *world) look(c *controller, keys []topology.Key, tell func(map[topology.Key]topology.Observation)) {
	seen := map[topology.Key]topology.Observation{}
	for _, k := range keys {
		s := w.server(k)
		w.observe(c, s, urgentTimeout, func(o topology.Observation) {
			seen[k] = o
			if len(seen) == len(keys) {
				tell(seen)
			}
		})
	}
}

func brief(seen map[topology.Key]topology.Observation) string {
	var out []string
	for _, k := range slices.SortedFunc(maps.Keys(seen), topology.Key.Compare) {
		out = append(out, k.Host+"="+string(seen[k].Reach))
	}
	return strings.Join(out, " ")
}
