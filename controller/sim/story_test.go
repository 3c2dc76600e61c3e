package sim_test

import (
	"slices"
	"time"

	"switchyard/controller/topology"
)

// The times of a story: it is quiet at first, faults come, and all of them but
// for what is meant to stay end; then there is a bound for the cluster.
const (
	quiet   = 2 * time.Second
	trouble = 14 * time.Second
	bound   = 100 * time.Second
)

// fault is one kind of trouble; begin returns its end.
type fault struct {
	name   string
	weight int
	begin  func(w *world) (end func())
}

func faults() []fault {
	return []fault{
		{"master crash", 8, func(w *world) func() { return w.crash(w.master(), false) }},
		{"master freeze", 5, func(w *world) func() { return w.freeze(w.master()) }},
		{"master host down", 2, func(w *world) func() { return w.crash(w.master(), true) }},
		{"master restart", 3, func(w *world) func() { return w.restart(w.master()) }},
		{"replica crash", 3, func(w *world) func() { return w.crash(w.replica(), false) }},
		{"replica freeze", 2, func(w *world) func() { return w.freeze(w.replica()) }},
		{"source crash", 2, func(w *world) func() { return w.crash(w.middle(), false) }},
		{"replica restart", 1, func(w *world) func() { return w.restart(w.replica()) }},
		{"partition", 5, (*world).partition},
		{"master cut off", 3, func(w *world) func() { return w.isolate(w.master().key.Host) }},
		{"packets lost", 3, (*world).lose},
		{"slow machines", 6, (*world).slow},
		{"master half cut off", 4, (*world).halfCutOff},
		{"leader crash", 3, (*world).leaderCrash},
		{"leader cut off", 3, (*world).leaderCutOff},
		{"leader half cut off", 2, (*world).leaderHalfCutOff},
		{"leader flaps", 2, (*world).leaderFlaps},
		{"leader hands over", 2, (*world).handOver},
		{"controllers apart", 2, (*world).controllersApart},
		{"controller crash", 2, (*world).controllerCrash},
		{"all controllers crash", 1, (*world).controllersCrash},
		{"clock jump", 2, (*world).clockJump},
		{"errant write", 1, (*world).errant},
		{"proxy hang", 3, (*world).proxyHang},
		{"proxy restart", 3, (*world).proxyRestart},
		{"switchover", 6, (*world).switchover},
		{"failover by force", 1, (*world).force},
		{"recovery asked for", 2, (*world).recoverNow},
		{"pause", 1, (*world).pause},
		{"read-only by hand", 1, (*world).byHand},
	}
}

// tell begins the story of the seed.
func (w *world) tell() {
	for n := range 2 {
		w.after(w.between(0, 50*time.Millisecond), func() { w.client(n) })
	}
	if w.chance(0.35) {
		w.slow() // until the end
	}
	for range w.cfg.faults {
		w.after(w.between(quiet, trouble), w.strike)
		// Most of what goes wrong in recoveries needs a second fault in the midst
		// of one.
		if w.chance(0.5) {
			w.armed = append(w.armed, &trap{effects: 1 + w.rng.IntN(28), spring: func() {
				w.stats.traps++
				w.strike()
			}})
		}
	}
	w.after(trouble+w.between(2*time.Second, 8*time.Second), w.heal)
	w.after(100*time.Millisecond, w.check.turn)
}

// strike begins a fault that chance picks, and sees to its end.
func (w *world) strike() {
	if w.healed || w.master() == nil {
		return
	}
	all := faults()
	total := 0
	for _, f := range all {
		total += f.weight
	}
	n := w.rng.IntN(total)
	for _, f := range all {
		if n -= f.weight; n >= 0 {
			continue
		}
		end := f.begin(w)
		if end == nil {
			return
		}
		w.stats.faults[f.name]++
		if w.raft.committed().Clusters[cluster].Recovery != "" {
			w.stats.during[f.name]++
		}
		w.refresh()
		w.after(w.between(200*time.Millisecond, 9*time.Second), func() { end(); w.refresh() })
		return
	}
}

// heal ends all faults; seldom something stays as it is for good.
func (w *world) heal() {
	w.healed = true
	w.note("all faults end")
	w.islands, w.apart, w.severed, w.losing, w.armed = nil, nil, nil, 0, nil
	if m := w.master(); m != nil && !m.up && w.chance(0.5) {
		w.stays = m
	}
	for _, s := range w.servers {
		s.slow, s.late = false, false
		if s == w.stays {
			w.note("%s stays dead", s.key.Host)
			continue
		}
		w.thaw(s)
		w.start(s)
	}
	for _, p := range w.proxies {
		w.thawProxy(p)
		p.running = true
	}
	for n, c := range w.controllers {
		if !c.up {
			w.reboot(n)
		}
	}
	w.refresh()
	w.resume()
	w.check.healedAt = w.now()
}

func (w *world) replica() *server {
	n := w.rng.IntN(len(w.servers))
	if s := w.servers[n]; s != w.master() {
		return s
	}
	return w.servers[(n+1)%len(w.servers)]
}

// middle is a replica that has replicas, if there is one.
func (w *world) middle() *server {
	for _, s := range w.servers {
		if s.source != nil && s.source != w.master() {
			return s.source
		}
	}
	return w.replica()
}

func (w *world) crash(s *server, host bool) func() {
	if !s.up {
		return nil
	}
	w.note("%s crashes, host down: %t", s.key.Host, host)
	s.up, s.frozen, s.hostDown, s.endedAt = false, false, host, w.now()
	s.session, s.queue, s.waiting = nil, nil, nil
	for _, r := range w.servers {
		if r.source == s && r.connected && !host && r.alive() && !w.cut(r.key.Host, s.key.Host) {
			r.disconnect("lost connection to the source")
		}
	}
	if !host {
		w.trip(s, topology.TripBroken)
		w.report(s)
	}
	return func() { w.start(s) }
}

func (w *world) start(s *server) {
	if s.up || s == w.stays {
		return
	}
	w.note("%s starts", s.key.Host)
	s.up, s.hostDown, s.readOnly, s.operator = true, false, true, false
	s.booted, s.startedAt = time.Now(), w.now()
	s.life++
	s.semiSource, s.connected = false, false
	if s.w.cfg.mariadb {
		s.dropRelay()
	}
	if s.source != nil {
		s.io, s.sql = true, true
		s.connect()
		s.apply()
	}
}

func (w *world) restart(s *server) func() {
	if !s.alive() {
		return nil
	}
	if !w.cfg.mariadb {
		w.trip(s, topology.TripOrderly)
	}
	end := w.crash(s, false)
	w.after(w.between(300*time.Millisecond, 5*time.Second), func() { end(); w.refresh() })
	return func() {}
}

func (w *world) freeze(s *server) func() {
	if !s.alive() {
		return nil
	}
	w.note("%s freezes", s.key.Host)
	s.frozen = true
	return func() { w.thaw(s) }
}

func (w *world) thaw(s *server) {
	if !s.frozen {
		return
	}
	w.note("%s thaws", s.key.Host)
	s.frozen, s.thawed = false, w.now()
	queue := s.queue
	s.queue = nil
	for _, do := range queue {
		do()
	}
}

func (w *world) isolate(names ...string) func() {
	w.note("cut off: %v", names)
	i := &island{names}
	w.islands = append(w.islands, i)
	return func() {
		w.note("no longer cut off: %v", names)
		w.islands = slices.DeleteFunc(w.islands, func(o *island) bool { return o == i })
	}
}

// partition cuts off any set of machines.
func (w *world) partition() func() {
	var names []string
	for _, s := range w.servers {
		names = append(names, s.key.Host)
	}
	for _, p := range w.proxies {
		names = append(names, p.name)
	}
	names = append(names, "c1", "c2", "c3", "consul")
	names = slices.DeleteFunc(names, func(string) bool { return w.chance(0.65) })
	if len(names) == 0 {
		return nil
	}
	return w.isolate(names...)
}

func (w *world) lose() func() {
	w.note("packets go missing")
	w.losing++
	return func() { w.losing = max(0, w.losing-1) }
}

// slow gives some servers slow disks, and has some receive late.
func (w *world) slow() func() {
	for _, s := range w.servers {
		s.slow, s.late = w.chance(0.5), w.chance(0.5)
		w.note("%s has a slow disk: %t, receives late: %t", s.key.Host, s.slow, s.late)
	}
	return func() {
		for _, s := range w.servers {
			s.slow, s.late = s.slow && w.chance(0.5), s.late && w.chance(0.5)
		}
	}
}

// halfCutOff keeps the replicas from the master, and some controllers.
func (w *world) halfCutOff() func() {
	m := w.master()
	var others []string
	for _, s := range w.servers {
		if s != m {
			others = append(others, s.key.Host)
		}
	}
	if c := w.leader(); c != nil && w.chance(0.5) {
		return w.isolateFrom(m.key.Host, append(others, c.id))
	}
	for _, c := range w.controllers {
		if w.chance(0.5) {
			others = append(others, c.id)
		}
	}
	return w.isolateFrom(m.key.Host, others)
}

func (w *world) leaderCrash() func() {
	c := w.leader()
	if c == nil {
		return nil
	}
	n := slices.Index(w.controllers, c)
	w.kill(c)
	return func() { w.reboot(n) }
}

// reboot starts a controller again, without its memory.
func (w *world) reboot(n int) {
	if old := w.controllers[n]; !old.up {
		w.dead = append(w.dead, old)
		w.controllers[n] = w.boot(old.id, old)
		w.note("%s starts", w.controllers[n].name())
	}
}

func (w *world) leaderCutOff() func() {
	c := w.leader()
	if c == nil {
		return nil
	}
	others := []string{}
	for _, p := range w.controllers {
		if p != c {
			others = append(others, p.id)
		}
	}
	if w.chance(0.5) {
		return w.isolate(c.id)
	}
	// From the other controllers only: it still reaches the servers.
	return w.isolateFrom(c.id, others)
}

func (w *world) clockJump() func() {
	c := w.controllers[w.rng.IntN(len(w.controllers))]
	jump := w.between(-30*time.Second, 30*time.Second)
	w.note("the clock of %s jumps by %s", c.name(), jump)
	w.check.jumped = true
	c.mu.Lock()
	c.skew += jump
	c.mu.Unlock()
	return func() {}
}

func (w *world) errant() func() {
	s := w.replica()
	if !s.alive() {
		return nil
	}
	t := s.write(true)
	w.note("errant write %s on %s", t.set, s.key.Host)
	return func() {}
}

func (w *world) byHand() func() {
	s := w.master()
	if !s.alive() || s.readOnly {
		return nil
	}
	w.note("somebody makes %s read-only", s.key.Host)
	s.readOnly, s.operator = true, true
	return func() {
		if s.alive() && s.operator {
			w.note("and writable again")
			s.operator = false
			s.readOnly = w.master() != s
		}
	}
}

func (w *world) proxyHang() func() {
	p := w.proxies[w.rng.IntN(len(w.proxies))]
	w.note("%s hangs", p.name)
	p.hung = true
	return func() { w.thawProxy(p) }
}

func (w *world) thawProxy(p *proxy) {
	p.hung = false
	queue := p.queue
	p.queue = nil
	for _, do := range queue {
		do()
	}
}

func (w *world) proxyRestart() func() {
	p := w.proxies[w.rng.IntN(len(w.proxies))]
	w.note("%s ends", p.name)
	p.running, p.hung, p.leads, p.queue = false, false, nil, nil
	return func() { p.running = true; w.note("%s starts", p.name) }
}
