package sim_test

import (
	"slices"
	"time"

	"switchyard/sidecar/protocol"
)

// turn looks at the cluster now and then.
func (k *checker) turn() {
	w := k.w
	w.after(100*time.Millisecond, k.turn)
	k.fenced()
	if !w.healed {
		return
	}
	good := k.writable()
	if good && !k.good {
		k.goodSince = w.now()
	}
	k.good = good
	switch {
	case good && w.now()-k.goodSince > 2*time.Second:
		w.stats.live++
		w.stats.took = max(w.stats.took, k.goodSince-k.healedAt)
		k.final()
		w.over = true
	case w.now()-k.healedAt > bound:
		if reason := k.justified(); reason != "" {
			w.stats.justified[reason]++
		} else {
			k.broken(ruleLive, "it is not writable %s after the faults ended", bound)
		}
		w.over = true
	}
}

// fenced wants the servers that are writable beside the master to be fenced
// soon, where nothing keeps the controllers from it.
func (k *checker) fenced() {
	w := k.w
	m := w.master()
	for _, s := range w.servers {
		calm := m != nil && s != m && w.losing == 0 && w.leader() != nil && w.raft.committed().Clusters[cluster].Recovery == "" &&
			!w.unreachable(s) && len(s.waiting) == 0
		if !calm || s.readOnly {
			k.loose[s] = w.now()
		}
		if since := w.now() - k.loose[s]; since > 5*time.Second {
			k.broken(ruleFenced, "%s is writable beside %s for %s", s.key.Host, m.key.Host, since)
		}
	}
}

// writable reports whether applications can write through every proxy.
func (k *checker) writable() bool {
	m := k.w.master()
	c := k.w.raft.committed().Clusters[cluster]
	if m == nil || c.Recovery != "" || c.Withdrawn || !m.alive() || m.readOnly {
		return false
	}
	return !slices.ContainsFunc(k.w.proxies, func(p *proxy) bool { return p.leads != m || !p.running || p.hung })
}

// justified names a reason in the world itself for which the cluster may be
// without a master; empty for none.
func (k *checker) justified() string {
	w := k.w
	m := w.master()
	switch {
	case m == nil:
		return ""
	case m.alive() && m.operator:
		return "read-only by hand"
	case m.alive() && m.readOnly && m.life > 0 && k.jumped:
		return "a clock that jumped hides the restart of the master"
	case m.alive() && m.readOnly && m.life > 0 && !k.witnessed(m):
		return "the master restarted while no controller ran that had seen it before"
	case m.alive():
		for _, s := range w.servers {
			if s.alive() && s.source == m && m.has.lacks(s.got) >= 0 {
				return "a replica holds what the master lacks"
			}
		}
		return ""
	}
	var alive []*server
	for _, s := range w.servers {
		if s.alive() && s != m {
			alive = append(alive, s)
		}
	}
	switch {
	case len(alive) == 0:
		return "nobody is left"
	case !slices.ContainsFunc(alive, func(s *server) bool { return s.source == m }):
		return "nobody follows the dead master"
	case m.hostDown && w.cfg.partition == "hold":
		return "the master may be cut off"
	case m.hostDown && w.cfg.leases && k.unheld(m):
		return "the master may be cut off, and was not heard to hold a lease"
	}
	fit := func(s *server) bool { return !s.unlogged && w.cfg.rules[s.key] != "must_not" }
	direct := slices.DeleteFunc(slices.Clone(alive), func(s *server) bool { return s.source != m })
	if !slices.ContainsFunc(direct, fit) {
		return "nobody who is left may be the master"
	}
	for _, a := range direct {
		if a.unlogged && !slices.ContainsFunc(direct, func(s *server) bool { return fit(s) && s.got.lacks(a.got) < 0 }) {
			return "a server that does not log holds the most"
		}
	}
	for _, a := range alive {
		for _, b := range alive {
			if a.got.lacks(b.got) >= 0 && b.got.lacks(a.got) >= 0 {
				return "two replicas each hold what the other lacks"
			}
		}
	}
	return ""
}

// witnessed reports whether a controller runs that ran before a server ended.
func (k *checker) witnessed(s *server) bool {
	return slices.ContainsFunc(k.w.controllers, func(c *controller) bool { return c.began < s.endedAt })
}

// unheld reports whether no controller has heard the sidecar of a server say that
// it holds a lease: then nothing promises that the server was stopped.
func (k *checker) unheld(s *server) bool {
	return !slices.ContainsFunc(k.w.controllers, func(c *controller) bool {
		status, ok := c.register.Status(s.key)
		return ok && status.Holding != protocol.Unleased
	})
}

// final holds when all is over.
func (k *checker) final() {
	w := k.w
	m := w.master()
	if k.forced || k.unproven || slices.ContainsFunc(w.servers, func(s *server) bool { return s.tainted }) {
		return
	}
	for _, t := range w.transactions {
		if t.acked && (t.lossless || k.proven) && !m.has.has(t.id) {
			k.broken(ruleAcked, "%s lacks %s", m.key.Host, t.set)
			return
		}
	}
}
