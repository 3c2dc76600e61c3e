package quorum_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"switchyard/store/ledger"
)

// eventful is a ledger in which each kind of change came to its end, and one was taken back.
func eventful() (founders map[string]string, asked map[string]change, entries []entry) {
	founders = map[string]string{"c1": "a:1", "c2": "b:1"}
	asked = map[string]change{
		"add3": {add, "c3", "c:1"}, "move1": {move, "c1", "d:1"}, "out2": {remove, "c2", ""},
		"add4": {add, "c4", "e:1"}, "out4": {remove, "c4", ""},
	}
	for _, e := range []entry{
		{word: "add3", step: begins}, {step: goesOn}, {word: "w"}, {step: isDone},
		{word: "move1", step: begins}, {step: isDone}, {word: "out2", step: begins}, {step: isDone},
		{word: "add4", step: begins}, {word: "out4", step: turnsBack}, {step: isUndone},
	} {
		e.id = uint64(len(entries) + 1)
		entries = append(entries, e)
	}
	return founders, asked, entries
}

func TestCouncil(t *testing.T) {
	founders, asked, entries := eventful()
	inside, wrong := council(founders, asked, entries, false)
	if want := map[string]string{"c1": "d:1", "c3": "c:1"}; len(wrong) > 0 || !maps.Equal(inside, want) {
		t.Errorf("%v, %s; want %v", inside, strings.Join(wrong, "\n"), want)
	}
}

// Where no clock is set, no change is given up.
func TestCouncilOfAClock(t *testing.T) {
	founders, asked, entries := eventful()
	entries[9] = entry{id: 10, step: expires}
	if _, wrong := council(founders, asked, entries, true); len(wrong) > 0 {
		t.Error(strings.Join(wrong, "\n"))
	}
	if _, wrong := council(founders, asked, entries, false); len(wrong) != 1 || !strings.Contains(wrong[0], "is given up, and nobody") {
		t.Error(strings.Join(wrong, "\n"))
	}
}

func TestCouncilFinds(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(asked map[string]change, entries []entry) []entry
		want  string
	}{
		"what nobody asked for": {func(asked map[string]change, all []entry) []entry { delete(asked, "out2"); return all }, "entry 7"},
		"two at once":           {func(_ map[string]change, all []entry) []entry { return slices.Delete(all, 3, 4) }, "in the midst of another"},
		"an end of nothing":     {func(_ map[string]change, all []entry) []entry { return slices.Delete(all, 4, 5) }, "is done, and nobody"},
		"one taken back unasked": {func(asked map[string]change, all []entry) []entry {
			asked["out4"] = change{remove, "c1", ""}
			return all
		}, "turns back, and nobody"},
		"one undone that nobody took back": {func(_ map[string]change, all []entry) []entry { return slices.Delete(all, 9, 10) },
			"is undone, and nobody"},
		"one done that was taken back": {func(_ map[string]change, all []entry) []entry { all[10].step = isDone; return all },
			"is done, and nobody"},
		"one that does not end": {func(_ map[string]change, all []entry) []entry { return all[:10] }, "has not ended"},
	} {
		founders, asked, entries := eventful()
		_, wrong := council(founders, asked, test.spoil(asked, entries), false)
		if !strings.Contains(strings.Join(wrong, "\n"), test.want) {
			t.Errorf("%s: it says %q, want %q", name, wrong, test.want)
		}
	}
}

// The entries are those that the ledger makes.
func TestEntryOf(t *testing.T) {
	for _, test := range []struct {
		audit ledger.AuditEntry
		want  entry
	}{
		{ledger.AuditEntry{By: "word-1", Action: "pause"}, entry{word: "word-1"}},
		{ledger.AuditEntry{By: "loop", Action: "pause"}, entry{}},
		{ledger.AuditEntry{By: "word-1", Action: "add-controller"}, entry{word: "word-1", step: begins}},
		{ledger.AuditEntry{By: "word-1", Action: "add-controller", Outcome: "going on"}, entry{step: goesOn}},
		{ledger.AuditEntry{By: "word-1", Action: "move-controller", Outcome: "done"}, entry{step: isDone}},
		{ledger.AuditEntry{By: "word-1", Action: "add-controller", Outcome: "being taken back", Reason: "word-2 removed it again"},
			entry{word: "word-2", step: turnsBack}},
		{ledger.AuditEntry{By: "word-1", Action: "add-controller", Outcome: "being taken back", Reason: "word-2 removed it again: to see it done"},
			entry{word: "word-2", step: turnsBack}},
		{ledger.AuditEntry{By: "word-1", Action: "add-controller", Outcome: "being taken back", Reason: "it was given up: it is behind"},
			entry{step: expires}},
		{ledger.AuditEntry{By: "word-1", Action: "add-controller", Outcome: "taken back: word-2 removed it again"}, entry{step: isUndone}},
	} {
		if got := entryOf(test.audit); got != test.want {
			t.Errorf("%+v is %+v, want %+v", test.audit, got, test.want)
		}
	}
}
