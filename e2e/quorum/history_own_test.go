package quorum_test

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func second(n int) time.Time { return time.Unix(int64(n), 0) }

// sound is a history in which nothing is wrong: b was sent before a was acknowledged, nobody knows what became of d and e,
// and f was refused.
func sound() history {
	return history{
		commands: []command{
			{word: "a", sent: second(1), told: second(4), outcome: done},
			{word: "b", sent: second(2), told: second(3), outcome: done},
			{word: "c", sent: second(5), told: second(6), outcome: done},
			{word: "d", sent: second(5), told: second(7), outcome: unknown},
			{word: "e", sent: second(5), told: second(7), outcome: unknown},
			{word: "f", sent: second(8), told: second(9), outcome: refused},
			{word: "g", sent: second(20), told: second(21), outcome: done},
		},
		entries: []entry{{id: 1, word: "b"}, {id: 2, word: "a"}, {id: 3, text: "of the controllers themselves"}, {id: 4, word: "c"}, {id: 5, word: "g"}, {id: 6, word: "e"}},
		readings: []reading{
			{asked: second(3), told: second(5), last: 2}, {asked: second(4), told: second(6), last: 3},
			{asked: second(10), told: second(11), last: 4},
		},
	}
}

func TestSoundHistory(t *testing.T) {
	if wrong := judge(sound()); len(wrong) > 0 {
		t.Error(strings.Join(wrong, "\n"))
	}
}

// Each history is wrong in one way, and is called so.
func TestJudgeFinds(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*history)
		want  string
	}{
		"a loss": {func(h *history) { h.entries[3].word = "" }, "c was acknowledged by"},
		"a command that was done twice": {func(h *history) { h.entries[2].word = "c" },
			"c was applied twice"},
		"an unknown one that was done twice": {func(h *history) { h.entries[2].word = "e" }, "e was applied twice"},
		"a refusal that was none":            {func(h *history) { h.entries[2].word = "f" }, "said that nothing was done"},
		"what nobody sent":                   {func(h *history) { h.entries[2].word = "z" }, "which nobody sent"},
		"a gap":                              {func(h *history) { h.entries = slices.Delete(h.entries, 2, 3) }, "is not preceded"},
		"a missing beginning":                {func(h *history) { h.entries = h.entries[1:] }, "is not preceded"},
		"an order against time": {func(h *history) { h.entries[3].word, h.entries[0].word = "b", "c" },
			"had been acknowledged before c"},
		"an unknown one before its time": {func(h *history) {
			h.commands[4].sent = second(30)
			h.entries[2].word, h.entries[5].word = "e", ""
		}, "had been acknowledged before e"},
		"a reading that lacks something": {func(h *history) { h.readings[2].last = 3 }, "and answered as of entry 3"},
		"a reading of the future":        {func(h *history) { h.readings[2].last = 5 }, "before it was sent"},
		"readings that go back": {func(h *history) {
			h.readings = append(h.readings, reading{asked: second(5), told: second(5), last: 3}, reading{asked: second(6), told: second(6), last: 2})
		}, "after an answer as of entry 3"},
	} {
		h := sound()
		test.spoil(&h)
		if wrong := strings.Join(judge(h), "\n"); !strings.Contains(wrong, test.want) {
			t.Errorf("%s: %q; want %q in it", name, wrong, test.want)
		}
	}
}
