package guard_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"switchyard/sidecar/lease"
	"switchyard/sidecar/protocol"
)

// history is a minute of a world in which everything goes wrong in turn. It
// returns what was broken, and what there was to see.
func history(t *testing.T, seed uint64, short time.Duration, undying bool) (broken string, met map[string]bool) {
	met = map[string]bool{}
	inWorld(t, []int{1, 3, 5}[seed%3], int(seed/3%4), func(t *testing.T, w *world) {
		dice := rand.New(rand.NewPCG(seed, 7))
		dies := killIn / 4
		if undying {
			dies = -1
		}
		w.start(dies)
		g, stop := w.sidecar()
		defer func() { stop() }()
		w.all(w.controllers, yes)
		w.all(w.peers, yes)
		check := func(d time.Duration) {
			for until := time.Now().Add(d); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
				s := g.Status()
				met[s.Action.String()] = true
				if s.Action == lease.Hold && strings.Contains(s.Reason, "sidecars follow") {
					met["held by peers"] = true
				}
				if w.is(func() bool { return w.promised }) && w.writable() && !time.Now().Before(w.ends().Add(-short)) && broken == "" {
					broken = fmt.Sprintf("writable at %s, %s after the end: %+v", time.Since(w.begun), time.Since(w.ends()), s)
				}
			}
		}
		names := append(append([]string{}, w.controllers...), w.peers...)
		check(3 * time.Second)
		for range 25 {
			switch dice.IntN(12) {
			case 0, 1:
				w.all(w.controllers, mode(dice.IntN(int(deposed)+1)))
			case 2:
				w.all(w.peers, mode(dice.IntN(int(no)+1)))
			case 3, 4, 5:
				w.all(names[dice.IntN(len(names)):][:1], mode(dice.IntN(int(deposed)+1)))
			case 6:
				w.all(w.controllers, yes)
			case 7:
				w.do(func() { w.hangs = !w.hangs })
			case 8:
				w.do(func() {
					if w.blocked = nil; dice.IntN(2) == 0 {
						w.blocked = fmt.Errorf("blocked")
					}
				})
			case 9:
				stop()
				g, stop = w.sidecar()
				met["restarted"] = true
			case 10:
				if _, err := w.Find(t.Context()); err != nil { // it is gone: it starts again, read-only
					w.do(func() { w.hangs, w.readOnly = false, true })
					w.start(dies)
				}
			}
			// The controllers make it writable once they are told that the lease is held.
			if w.tells("c1").Holding == protocol.Held && time.Until(w.ends()) > grantFor-time.Second {
				w.do(func() { w.readOnly = false })
			}
			check(time.Duration(dice.IntN(4000)) * time.Millisecond)
		}
	})
	return broken, met
}

// TestNeverWritableAfterTheEnd: of what was granted as who granted counts it,
// once the sidecar said that it holds the lease.
func TestNeverWritableAfterTheEnd(t *testing.T) {
	met := map[string]int{}
	const worlds = 40
	for seed := range uint64(worlds) {
		broken, seen := history(t, seed, 0, false)
		if broken != "" {
			t.Errorf("seed %d: %s", seed, broken)
		}
		for what := range seen {
			met[what]++
		}
	}
	t.Log(met)
	for _, what := range []string{"hold", "fence", "kill", "fenced", "held by peers", "restarted"} {
		if met[what] < worlds/10 {
			t.Errorf("%s: in %d of %d worlds only", what, met[what], worlds)
		}
	}
}

// TestTheHistoriesBite: what is wrong is found by the same histories.
func TestTheHistoriesBite(t *testing.T) {
	for name, lie := range map[string]struct {
		short   time.Duration
		undying bool
	}{
		"who granted counts less than he said": {short: 3 * time.Second},
		"a killed server lives on":             {undying: true},
	} {
		found := 0
		for seed := range uint64(20) {
			if broken, _ := history(t, seed, lie.short, lie.undying); broken != "" {
				found++
			}
		}
		if found == 0 {
			t.Errorf("not found: %s", name)
		}
	}
}
