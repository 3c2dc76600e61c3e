package quorum_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// The kinds of fault.
const (
	kill       = "kill"        // SIGKILL, and started again
	killAll    = "kill-all"    // all of them at once
	stop       = "stop"        // a clean stop, and started again
	freeze     = "freeze"      // SIGSTOP, SIGCONT
	isolate    = "isolate"     // no packet to or from the others
	cutLink    = "cut-link"    // none between two of them
	cutOneWay  = "cut-one-way" // none from one of them to another
	deafen     = "deafen"      // none to one of them
	mute       = "mute"        // none from one of them
	flap       = "flap"        // isolated and not, in turns
	slowLinks  = "slow-links"  // packets to and from one of them are late
	reset      = "reset"       // connections of one of them break
	stepClock  = "step-clock"  // its wall clock jumps, and jumps back
	fillDisk   = "fill-disk"   // its disk is full
	transfer   = "transfer"    // leadership is handed to another
	killTwice  = "kill-twice"  // SIGKILL, and once more while it starts
	add        = "add"         // one that is outside is added to the controllers
	remove     = "remove"      // one is removed
	move       = "move"        // one gets other addresses, and is restarted with them
	leaderRole = "the leader"  // whoever leads when the fault begins
)

// weights is how often which kind is chosen.
func weights() []struct {
	kind   string
	weight int
} {
	return []struct {
		kind   string
		weight int
	}{
		{kill, 6}, {killTwice, 2}, {killAll, 1}, {stop, 3}, {freeze, 5}, {isolate, 4}, {cutLink, 4}, {cutOneWay, 4}, {deafen, 2},
		{mute, 2}, {flap, 3}, {slowLinks, 3}, {reset, 3}, {stepClock, 4}, {fillDisk, 3}, {transfer, 4},
	}
}

// event is one fault of a schedule. Everything about it is the seed's but who leads, and who is inside, when it begins.
type event struct {
	at, lasts time.Duration
	kind      string
	// who is a controller or leaderRole, other a second controller.
	who, other string
	// by is how late packets are, how far the clock jumps, or how soon a link flaps or a process is killed again.
	by time.Duration
}

func (e event) String() string {
	text := fmt.Sprintf("%6.2fs %s %s for %.2fs", e.at.Seconds(), e.kind, e.who, e.lasts.Seconds())
	if e.other != "" {
		text += ", " + e.other
	}
	if e.by != 0 {
		text += ", " + e.by.String()
	}
	return text
}

// calm is the time at the beginning and at the end of a schedule in which no fault begins.
const calm = time.Second

// schedule is what the seed says will go wrong in so long a time: about one fault a second and a half, many at once.
func schedule(seed uint64, controllers []string, length time.Duration) []event {
	rng := rand.New(rand.NewPCG(seed, 0x5eed))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(rng.Int64N(int64(most-least)))
	}
	total := 0
	for _, w := range weights() {
		total += w.weight
	}
	var out []event
	for range max(3, int(length/(1500*time.Millisecond))) {
		e := event{at: between(calm, length-calm).Round(10 * time.Millisecond)}
		pick := rng.IntN(total)
		for _, w := range weights() {
			if pick -= w.weight; pick < 0 {
				e.kind = w.kind
				break
			}
		}
		places := rng.Perm(len(controllers))
		e.who, e.other = controllers[places[0]], controllers[places[1]]
		if rng.IntN(2) == 0 {
			e.who = leaderRole
		}
		longest := 4 * time.Second
		if rng.IntN(4) == 0 {
			longest = 300 * time.Millisecond // over before the others notice
		}
		e.lasts = min(between(50*time.Millisecond, longest), length-e.at).Round(10 * time.Millisecond)
		switch e.kind {
		case killAll:
			e.who, e.other = "", ""
		case kill, stop, freeze, isolate, deafen, mute, reset, fillDisk:
			e.other = ""
		case flap, killTwice:
			e.other, e.by = "", between(30*time.Millisecond, 700*time.Millisecond)
		case slowLinks:
			e.other, e.by = "", between(10*time.Millisecond, 250*time.Millisecond)
		case stepClock:
			// From what nobody notices to what refuses whatever is signed with the time.
			e.other, e.by = "", between(time.Second, 10*time.Second)
			if rng.IntN(2) == 0 {
				e.by = between(10*time.Second, 40*time.Minute)
			}
			if rng.IntN(2) == 0 {
				e.by = -e.by
			}
		}
		e.by = e.by.Round(time.Millisecond)
		out = append(out, e)
	}
	out = append(out, changes(seed, controllers, length)...)
	slices.SortStableFunc(out, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	return out
}

// changes are those of the controllers, about one in four seconds. Half of the time something befalls the leader meanwhile.
func changes(seed uint64, controllers []string, length time.Duration) (out []event) {
	rng := rand.New(rand.NewPCG(seed, 0xadd))
	for range max(2, int(length/(4*time.Second))) {
		e := event{kind: []string{add, add, remove, remove, remove, move, move}[rng.IntN(7)], who: controllers[rng.IntN(len(controllers))]}
		e.at = calm + time.Duration(rng.Int64N(int64(length*3/4-calm))).Round(10*time.Millisecond)
		e.lasts = length - e.at // where it is refused it is asked for again
		if e.kind == remove && rng.IntN(2) == 0 {
			e.who = leaderRole
		}
		out = append(out, e)
		if e.kind == add && rng.IntN(4) == 0 {
			back := event{kind: remove, who: e.who, at: e.at + time.Duration(rng.Int64N(int64(200*time.Millisecond))).Round(10*time.Millisecond)}
			back.lasts = length - back.at
			out = append(out, back)
		}
		if rng.IntN(2) == 0 {
			fault := event{kind: []string{kill, freeze, isolate, mute, stop}[rng.IntN(5)], who: leaderRole}
			fault.at = e.at + time.Duration(rng.Int64N(int64(time.Second))).Round(10*time.Millisecond)
			fault.lasts = min(50*time.Millisecond+time.Duration(rng.Int64N(int64(3*time.Second))).Round(10*time.Millisecond), length-fault.at)
			out = append(out, fault)
		}
	}
	return out
}

func lines(events []event) string {
	var b strings.Builder
	for _, e := range events {
		b.WriteString("  " + e.String() + "\n")
	}
	return b.String()
}

// A seed is one schedule and another seed another; each is over in time, and all kinds come up.
func TestSchedules(t *testing.T) {
	ids := []string{"c1", "c2", "c3"}
	const length = 20 * time.Second
	seen, kinds := map[string]uint64{}, map[string]int{}
	for seed := range uint64(300) {
		events := schedule(seed, ids, length)
		text := lines(events)
		if again := lines(schedule(seed, ids, length)); again != text {
			t.Fatalf("seed %d has two schedules:\n%s\n%s", seed, text, again)
		}
		if other, twice := seen[text]; twice {
			t.Errorf("seeds %d and %d have the same schedule", seed, other)
		}
		seen[text] = seed
		for _, e := range events {
			kinds[e.kind]++
			if e.at < calm || e.lasts <= 0 || e.at+e.lasts > length {
				t.Errorf("seed %d: %s is not within %s", seed, e, length)
			}
			if e.who == e.other && e.kind != killAll {
				t.Errorf("seed %d: %s is between one controller and itself", seed, e)
			}
		}
	}
	for _, kind := range []string{add, remove, move} {
		if kinds[kind] == 0 {
			t.Errorf("300 seeds have no %s", kind)
		}
	}
	for _, w := range weights() {
		if kinds[w.kind] == 0 {
			t.Errorf("300 seeds have no %s", w.kind)
		}
	}
}
