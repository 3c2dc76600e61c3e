//go:build servers

package quorum_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"switchyard/store/ledger"
)

// record is what a story has brought to light, with all that must not be.
type record struct {
	begun time.Time

	mu         sync.Mutex
	violations []string
	commands   []command
	readings   []reading
	entries    map[uint64]entry
	// leaders is who has led each term.
	leaders    map[uint64]string
	generation uint64
	// changes are those of the controllers that were asked for, by their words.
	changes map[string]change
	counts  map[string]int
	trace   []string
}

func newRecord() *record {
	return &record{begun: time.Now(), entries: map[uint64]entry{}, leaders: map[uint64]string{}, changes: map[string]change{}, counts: map[string]int{}}
}

func (r *record) violation(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.violations = append(r.violations, fmt.Sprintf("%6.2fs ", time.Since(r.begun).Seconds())+fmt.Sprintf(format, args...))
}

func (r *record) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trace = append(r.trace, fmt.Sprintf("%6.2fs ", time.Since(r.begun).Seconds())+fmt.Sprintf(format, args...))
}

func (r *record) count(what string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[what] += n
}

func (r *record) told(c command) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commands = append(r.commands, c)
	r.counts["commands "+[]string{unknown: "of unknown outcome", done: "acknowledged", refused: "refused"}[c.outcome]]++
}

// asks takes that a change is asked for, before it is.
func (r *record) asks(word string, c change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes[word] = c
}

// asked are all changes that were asked for.
func (r *record) asked() map[string]change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.changes)
}

func (r *record) readAs(from reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.readings = append(r.readings, from)
	r.counts["readings"]++
}

// see takes what one controller has in its record: what one has, no other may have otherwise, at any time.
func (r *record) see(where string, all []ledger.AuditEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range all {
		text, err := json.Marshal(e)
		if err != nil {
			text = []byte(err.Error())
		}
		seen := entryOf(e)
		seen.text = string(text)
		if known, ok := r.entries[e.ID]; ok && known.text != seen.text {
			r.violations = append(r.violations, fmt.Sprintf("entry %d is %s on %s, and was %s", e.ID, seen.text, where, known.text))
		}
		r.entries[e.ID] = seen
	}
}

// leads takes that a controller has led a term.
func (r *record) leads(id string, term uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if other, ok := r.leaders[term]; ok && other != id {
		r.violations = append(r.violations, fmt.Sprintf("term %d was led by %s and by %s", term, other, id))
	}
	r.leaders[term] = id
}

// ofGeneration wants the ledger to stay what it is.
func (r *record) ofGeneration(where string, generation uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.generation != 0 && generation != r.generation {
		r.violations = append(r.violations, fmt.Sprintf("%s has generation %d, and it was %d", where, generation, r.generation))
	}
	r.generation = generation
}

func (r *record) history() history {
	r.mu.Lock()
	defer r.mu.Unlock()
	return history{slices.Clone(r.commands), slices.Clone(r.readings), slices.Collect(maps.Values(r.entries))}
}
