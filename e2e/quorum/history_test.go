package quorum_test

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// wordPrefix is what the names of clients' commands begin with.
const wordPrefix = "word-"

// outcome is what a client was told of its command.
type outcome int

const (
	unknown outcome = iota // it may be done, or not, or yet be
	done
	refused // nothing was done, and nothing will be
)

// command is one that a client sent; its word is nobody else's.
type command struct {
	word          string
	sent, told    time.Time
	outcome       outcome
	via, sentence string
}

// reading is what the leader answered to the question for all that was committed before it.
type reading struct {
	asked, told time.Time
	// last is the number of the last entry in it.
	last uint64
	via  string
}

// entry is one of the ledger's record.
type entry struct {
	id   uint64
	word string // empty for what no client sent
	text string // all of it, to compare
	// step is what the entry is of a change of the controllers; it is none where that is empty.
	step step
}

// history is what clients saw, and what the ledger holds.
type history struct {
	commands []command
	readings []reading
	entries  []entry
}

// judge says where a history is not that of one register that everybody writes and reads, one after the other: what was
// acknowledged is there once, what was refused is not there, nothing is there twice, and whatever ended before something
// else began comes before it. Since the ledger's order is known this takes no search.
func judge(h history) []string {
	entries := slices.Clone(h.entries)
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.id, b.id) })
	var wrong []string
	at := map[string]uint64{}
	for i, e := range entries {
		if i > 0 && e.id != entries[i-1].id+1 || i == 0 && e.id != 1 {
			wrong = append(wrong, fmt.Sprintf("entry %d is not preceded by entry %d", e.id, e.id-1))
		}
		if e.word == "" {
			continue
		}
		if before, twice := at[e.word]; twice {
			wrong = append(wrong, fmt.Sprintf("%s was applied twice: entries %d and %d", e.word, before, e.id))
			continue
		}
		at[e.word] = e.id
	}
	return slices.Concat(wrong, h.kept(at), h.ordered(at), h.read(at))
}

// kept holds what clients were told against what there is.
func (h history) kept(at map[string]uint64) (wrong []string) {
	known := map[string]bool{}
	for _, c := range h.commands {
		known[c.word] = true
		switch id, there := at[c.word]; {
		case c.outcome == done && !there:
			wrong = append(wrong, fmt.Sprintf("%s was acknowledged by %s and is lost", c.word, c.via))
		case c.outcome == refused && there:
			wrong = append(wrong, fmt.Sprintf("%s is entry %d, and %s said that nothing was done: %s", c.word, id, c.via, c.sentence))
		}
	}
	for word, id := range at {
		if !known[word] {
			wrong = append(wrong, fmt.Sprintf("entry %d is %s, which nobody sent", id, word))
		}
	}
	return wrong
}

// ordered wants the order of the ledger to agree with that in which commands ended and began.
func (h history) ordered(at map[string]uint64) (wrong []string) {
	var there []command
	for _, c := range h.commands {
		if _, ok := at[c.word]; ok {
			there = append(there, c)
		}
	}
	slices.SortFunc(there, func(a, b command) int { return cmp.Compare(at[a.word], at[b.word]) })
	var latest command // of those so far, the one that was sent last
	for _, c := range there {
		if c.outcome == done && c.told.Before(latest.sent) {
			wrong = append(wrong, fmt.Sprintf("%s (entry %d) had been acknowledged before %s (entry %d) was sent",
				c.word, at[c.word], latest.word, at[latest.word]))
		}
		if c.sent.After(latest.sent) {
			latest = c
		}
	}
	return wrong
}

// read wants every reading to hold what had been acknowledged before it was asked for, nothing that was sent after it,
// and no less than an earlier one.
func (h history) read(at map[string]uint64) (wrong []string) {
	for _, r := range h.readings {
		for _, c := range h.commands {
			switch id, there := at[c.word]; {
			case there && c.outcome == done && c.told.Before(r.asked) && id > r.last:
				wrong = append(wrong, fmt.Sprintf("%s was asked after %s (entry %d) had been acknowledged, and answered as of entry %d",
					r.via, c.word, id, r.last))
			case there && c.sent.After(r.told) && id <= r.last:
				wrong = append(wrong, fmt.Sprintf("%s was in an answer of %s before it was sent", c.word, r.via))
			}
		}
	}
	readings := slices.Clone(h.readings)
	slices.SortFunc(readings, func(a, b reading) int { return a.asked.Compare(b.asked) })
	byEnd := slices.Clone(readings)
	slices.SortFunc(byEnd, func(a, b reading) int { return a.told.Compare(b.told) })
	var seen uint64
	for _, r := range readings {
		for len(byEnd) > 0 && byEnd[0].told.Before(r.asked) {
			seen, byEnd = max(seen, byEnd[0].last), byEnd[1:]
		}
		if r.last < seen {
			wrong = append(wrong, fmt.Sprintf("%s answered as of entry %d, after an answer as of entry %d", r.via, r.last, seen))
		}
	}
	return wrong
}
