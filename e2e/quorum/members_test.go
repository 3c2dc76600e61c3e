package quorum_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"switchyard/store/ledger"
)

// change is one of the controllers that somebody asked for.
type change struct{ kind, id, raft string }

// step is what became of a change, by an entry of the ledger.
type step string

const (
	begins    step = "begins"
	goesOn    step = "goes on"
	turnsBack step = "turns back"
	isDone    step = "is done"
	expires   step = "is given up"
	isUndone  step = "is undone"
)

// undoing is what follows the word of who has taken a change back.
const undoing = " removed it again"

// entryOf finds whose word an entry is, and what it is of a change of the controllers. The word of a change is at its
// beginning: whatever comes later names the same asker.
func entryOf(e ledger.AuditEntry) entry {
	out := entry{id: e.ID}
	if strings.HasPrefix(e.By, wordPrefix) {
		out.word = e.By
	}
	if !strings.HasSuffix(e.Action, "-controller") {
		return out
	}
	word := out.word
	out.word = ""
	switch {
	case e.Outcome == "":
		out.word, out.step = word, begins
	case e.Outcome == "going on":
		out.step = goesOn
	case e.Outcome == "being taken back":
		asker, _, taken := strings.Cut(e.Reason, undoing)
		if out.step = expires; taken {
			out.word, out.step = asker, turnsBack
		}
	case e.Outcome == "done":
		out.step = isDone
	default:
		out.step = isUndone
	}
	return out
}

// council goes through the changes of a ledger, and returns who is inside in the end, at which raft address. What is wrong
// is one that nobody asked for, one in the midst of another, and one that was begun and neither done nor taken back. By
// clocks that are set, the time for a change may be over at any moment.
func council(founders map[string]string, asked map[string]change, entries []entry, clocks bool) (inside map[string]string, wrong []string) {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.id, b.id) })
	inside = maps.Clone(founders)
	var open change
	back := false
	for _, e := range entries {
		by, known := asked[e.word]
		switch e.step {
		case "":
			continue
		case begins:
			if open != (change{}) {
				wrong = append(wrong, fmt.Sprintf("entry %d begins a change in the midst of another: %+v", e.id, open))
			}
			open, back = by, false
		case turnsBack:
			back = true
			known = known && by.kind == remove && open.kind == add && by.id == open.id
		case expires:
			back, known = true, clocks && (open.kind == add || open.kind == remove)
		case isDone:
			known = open != (change{}) && !back
			switch open.kind {
			case add, move:
				inside[open.id] = open.raft
			case remove:
				delete(inside, open.id)
			}
			open = change{}
		case isUndone:
			known = open != (change{}) && back
			open = change{}
		case goesOn:
			known = open.kind == add
		}
		if !known {
			wrong = append(wrong, fmt.Sprintf("entry %d: a change %s, and nobody has asked for that: %+v", e.id, e.step, open))
		}
	}
	if open != (change{}) {
		wrong = append(wrong, fmt.Sprintf("a change has not ended: %+v", open))
	}
	return inside, wrong
}
