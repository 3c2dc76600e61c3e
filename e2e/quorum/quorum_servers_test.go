//go:build servers

// Package quorum proves what the controllers promise of their ledger on real processes: they are killed, stopped, frozen,
// cut off from each other, given full disks and other clocks, added, removed and moved, by schedules that seeds make, while
// clients write and read.
package quorum_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	firstSeed = flag.Uint64("seed", 0, "the first seed; 0 is the clock's")
	stories   = flag.Int("stories", 0, "how many seeds; 0 for as many as begin within the time")
	wall      = flag.Duration("for", 3*time.Minute, "how long new seeds are begun for")
	program   = flag.String("program", "", "the controllers' program, by its absolute path; it is built unless named")
	length    = flag.Duration("length", 18*time.Second, "how long the faults of one seed go on")
)

// TestControllersUnderFaults lets a cluster of controllers live through one schedule after the other.
func TestControllersUnderFaults(t *testing.T) {
	seed := *firstSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixMilli())
	}
	total := map[string]int{}
	binary := build(context.Background(), t)
	begun := time.Now()
	var took time.Duration
	for n := 0; !t.Failed(); n++ {
		// The last one is to be over within the time, if it takes as long as the longest so far.
		if *stories > 0 && n >= *stories || *stories == 0 && n > 0 && time.Since(begun)+took > *wall {
			break
		}
		started := time.Now()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { oneSeed(t, binary, seed, total) })
		took = max(took, time.Since(started))
		total["schedules"]++
		seed++
	}
	t.Log("\n" + table(total))
}

func oneSeed(t *testing.T, binary string, seed uint64, total map[string]int) {
	ctx, cancel := context.WithTimeout(context.Background(), *length+10*time.Minute)
	defer cancel()
	size := 3
	if seed%4 == 0 {
		size = 5
	}
	t.Logf("seed %d, %d controllers", seed, size)
	s := newStory(ctx, t, binary, seed, size, 1)
	var ids []string
	for _, n := range s.nodes {
		ids = append(ids, n.id)
	}
	events := schedule(seed, ids, *length)
	s.tell(ctx, events)
	for what, n := range s.record.counts {
		total[what] += n
	}
	total["terms led"] += len(s.record.leaders)
	if len(s.record.violations) > 0 {
		t.Errorf("seed %d:\n%s\nthe schedule:\n%s\nwhat happened:\n%s\nreplay: go test -tags servers ./e2e/quorum -v -args -seed=%d -stories=1 -length=%s",
			seed, strings.Join(s.record.violations, "\n"), lines(events), strings.Join(s.record.trace, "\n"), seed, *length)
		for _, n := range s.nodes {
			t.Logf("the end of the log of %s:\n%s", n.id, n.process.Output())
		}
	}
	t.Log("\n" + table(s.record.counts))
}

func table(counts map[string]int) string {
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "    %-40s %8d\n", what, counts[what])
	}
	return b.String()
}
