package sim_test

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

var (
	firstSeed = flag.Uint64("seed", 1, "the first seed")
	seedCount = flag.Int("seeds", 500, "how many seeds")
	keepLines = flag.Int("keep", 250, "how many lines of the trace of a seed that fails are shown; -1 for all")
	mostBad   = flag.Int("bad", 1, "after how many seeds that fail a worker ends")
	workers   = flag.Int("workers", 2, "how many seeds run side by side")
)

// enoughSeeds is from how many seeds on a run must have met what it is for.
const enoughSeeds = 300

// play lives through the story of one seed.
func play(t *testing.T, seed uint64, keep int, m mutant) (w *world, st *stats) {
	st = newStats()
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t, seed, keep, m, st)
		w.inspect = w.check.always
		w.tell()
		w.run()
		w.ran = w.now()
		st.seeds++
		for _, c := range append(w.dead, w.controllers...) {
			c.mu.Lock()
			c.dead = true
			c.mu.Unlock()
			c.cancel()
		}
		for _, c := range append(w.dead, w.controllers...) {
			c.ended.Wait()
		}
	})
	return w, st
}

// TestSeeds lets many worlds go wrong, each in its own way.
func TestSeeds(t *testing.T) {
	total := newStats()
	t.Run("all", func(t *testing.T) {
		for n := range *workers {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				for i, bad := n, 0; i < *seedCount && bad < *mostBad; i += *workers {
					seed := *firstSeed + uint64(i)
					w, st := play(t, seed, *keepLines, mutant{})
					total.add(st)
					if k := w.check; k.rule != "" {
						bad++
						t.Errorf("seed %d: %s: %s\n%s\nreplay: go test ./controller/sim -run TestSeeds -seed=%d -seeds=1 -v",
							seed, k.rule, k.why, strings.Join(w.trace.lines, "\n"), seed)
					}
				}
			})
		}
	})
	t.Log("\n" + total.String())
	if total.seeds >= enoughSeeds {
		for _, missing := range total.missing() {
			t.Error(missing)
		}
	}
}

// TestSameSeedSameTrace compares two runs of some seeds, byte for byte.
func TestSameSeedSameTrace(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+40; seed++ {
		a, _ := play(t, seed, -1, mutant{})
		b, _ := play(t, seed, -1, mutant{})
		for i := range min(len(a.trace.lines), len(b.trace.lines)) {
			if a.trace.lines[i] != b.trace.lines[i] {
				t.Fatalf("seed %d: line %d differs:\n%s\n%s\n%s", seed, i, a.trace.lines[i], b.trace.lines[i],
					strings.Join(a.trace.lines[max(0, i-10):i], "\n"))
			}
		}
		if len(a.trace.lines) != len(b.trace.lines) {
			t.Fatalf("seed %d: %d lines and %d lines", seed, len(a.trace.lines), len(b.trace.lines))
		}
	}
}
