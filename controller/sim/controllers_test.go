package sim_test

import (
	"slices"
	"time"
)

// lanes are ways from one controller to another on which packets go missing.
type lanes struct{ cut [][2]string }

// sever cuts lanes between controllers, each in one direction.
func (w *world) sever(cut ...[2]string) func() {
	w.note("no packet comes through %v", cut)
	l := &lanes{cut}
	w.severed = append(w.severed, l)
	return func() {
		w.note("packets come through %v again", cut)
		w.severed = slices.DeleteFunc(w.severed, func(o *lanes) bool { return o == l })
	}
}

// pair is two controllers, the leader among them more often than not.
func (w *world) pair() (a, b *controller) {
	order := w.rng.Perm(len(w.controllers))
	a, b = w.controllers[order[0]], w.controllers[order[1]]
	if c := w.leader(); c != nil && c != b && w.chance(0.6) {
		a = c
	}
	return a, b
}

// controllersApart cuts two controllers off from each other, or one of them from
// hearing the other.
func (w *world) controllersApart() func() {
	a, b := w.pair()
	if w.chance(0.5) {
		return w.sever([2]string{a.id, b.id}, [2]string{b.id, a.id})
	}
	return w.sever([2]string{a.id, b.id})
}

// leaderHalfCutOff keeps the leader from hearing the other controllers, or them
// from hearing it.
func (w *world) leaderHalfCutOff() func() {
	c := w.leader()
	if c == nil {
		return nil
	}
	deaf := w.chance(0.5)
	var cut [][2]string
	for _, p := range w.controllers {
		switch {
		case p == c:
		case deaf:
			cut = append(cut, [2]string{p.id, c.id})
		default:
			cut = append(cut, [2]string{c.id, p.id})
		}
	}
	return w.sever(cut...)
}

// leaderFlaps cuts the leader off from the other controllers again and again.
func (w *world) leaderFlaps() func() {
	c := w.leader()
	if c == nil {
		return nil
	}
	var all [][2]string
	for _, p := range w.controllers {
		if p != c {
			all = append(all, [2]string{p.id, c.id}, [2]string{c.id, p.id})
		}
	}
	over := false
	mend := func() {}
	var turn func(cut bool)
	turn = func(cut bool) {
		if over || w.healed {
			return
		}
		if mend(); cut {
			mend = w.sever(all...)
		} else {
			mend = func() {}
		}
		w.after(w.between(50*time.Millisecond, 900*time.Millisecond), func() { turn(!cut) })
	}
	turn(true)
	return func() {
		over = true
		mend()
	}
}

// controllerCrash ends any controller.
func (w *world) controllerCrash() func() {
	n := w.rng.IntN(len(w.controllers))
	if !w.controllers[n].up {
		return nil
	}
	w.kill(w.controllers[n])
	return func() { w.reboot(n) }
}

// controllersCrash ends all of them at one moment.
func (w *world) controllersCrash() func() {
	for _, c := range w.controllers {
		if c.up {
			w.kill(c)
		}
	}
	return func() {
		for n := range w.controllers {
			w.reboot(n)
		}
	}
}

// handOver has the leader give its office to another controller, as an operator
// may ask it to at any time.
func (w *world) handOver() func() {
	c := w.leader()
	if c == nil {
		return nil
	}
	heirs := w.peers(c)
	if len(heirs) == 0 {
		return nil
	}
	heir := heirs[w.rng.IntN(len(heirs))]
	w.stepDown(c, "it hands over to "+heir.name())
	w.stand(heir, true)
	return func() {}
}
