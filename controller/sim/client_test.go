package sim_test

import (
	"slices"
	"time"
)

// maxWaiting is how many connections applications open: more commits than that
// do not wait at a time.
const maxWaiting = 20

// client writes through the proxies for ever.
func (w *world) client(n int) {
	p := w.proxies[w.rng.IntN(len(w.proxies))]
	if s := p.leads; p.running && !p.hung && s != nil && s.alive() && !s.readOnly && len(s.waiting) < maxWaiting &&
		!w.cut(p.name, s.key.Host) {
		t := s.write(false)
		w.check.wrote(p, s)
		switch {
		case !s.semiSource:
			w.after(w.latency(), func() {
				t.acked = true
				w.stats.acked++
			})
		default:
			s.waiting = append(s.waiting, &commit{t: t, client: true})
		}
	}
	pause := w.between(30*time.Millisecond, 90*time.Millisecond)
	if w.healed {
		pause = w.between(300*time.Millisecond, 600*time.Millisecond)
	}
	w.after(pause, func() { w.client(n) })
}

// isolateFrom cuts one machine off from some others only.
func (w *world) isolateFrom(name string, others []string) func() {
	w.note("%s is cut off from %v", name, others)
	w.apart = append(w.apart, rift{name, others})
	return func() {
		w.apart = slices.DeleteFunc(w.apart, func(r rift) bool { return r.name == name })
	}
}

// rift is between one machine and some others.
type rift struct {
	name   string
	others []string
}

func (r rift) between(a, b string) bool {
	return a == r.name && slices.Contains(r.others, b) || b == r.name && slices.Contains(r.others, a)
}
