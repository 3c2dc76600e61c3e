package store

import (
	"cmp"
	"slices"
	"sync"

	"switchyard/store/codec"
	"switchyard/store/ledger"
	"switchyard/store/sqlite"
)

const (
	// markEvery is how many entries of the raft log lie between two states that every
	// controller keeps for a comparison.
	markEvery = 256
	// markKeep is how many of them are kept, and how many of those that were only
	// looked at: a controller that is that far behind is compared later.
	markKeep = 8
)

// Mark is the digest of the ledger as it was after one entry of the raft log. Marks
// of one version at one entry are the same on all controllers, or one has left the
// others.
type Mark struct {
	// Index is that of the last command in it. Term is its term.
	Index, Term uint64
	Version     int
	Digest      string
}

// marks are the states that this controller can be held against others by. Raft's
// goroutine only hands states in: who asks pays for the digest.
type marks struct {
	every uint64

	mu sync.Mutex
	// kept and seen are oldest first. A state that has its digest is let go.
	kept, seen []*mark
	// counting is held while digests are made.
	counting sync.Mutex
}

type mark struct {
	state *ledger.State
	said  Mark
}

// passes reports whether an entry begins a new stretch, so that the state before it
// is one to keep.
func (m *marks) passes(last, next uint64) bool { return last != 0 && last/m.every != next/m.every }

// keep takes the states that were passed.
func (m *marks) keep(passed []snapshot) {
	if len(passed) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range passed {
		m.kept = append(m.kept, newMark(s.state, s.at))
	}
	m.kept = slices.Clone(m.kept[max(0, len(m.kept)-markKeep):])
}

// forget drops all marks: what they were of is gone.
func (m *marks) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept, m.seen = nil, nil
}

// has reports whether a digest is of a state that is still this controller's.
func (m *marks) has(index uint64, digest string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(slices.Concat(m.kept, m.seen), func(k *mark) bool {
		return k.said.Index == index && k.said.Digest == digest
	})
}

func newMark(s ledger.State, at sqlite.Position) *mark {
	return &mark{state: &s, said: Mark{Index: at.Index, Term: at.Term, Version: codec.DigestVersion}}
}

// look adds the state of this moment, so that a quiet ledger is compared, too.
func (m *marks) look(whole func() *snapshot) []*mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := whole()
	all := slices.Concat(m.kept, m.seen)
	same := func(k *mark) bool { return k.said.Index == now.at.Index }
	if now.at.Index != 0 && !slices.ContainsFunc(all, same) {
		one := newMark(now.state, now.at)
		m.seen = append(m.seen, one)
		m.seen = slices.Clone(m.seen[max(0, len(m.seen)-markKeep):])
		all = append(all, one)
	}
	return all
}

// all returns the marks, oldest first.
func (m *marks) all(whole func() *snapshot) ([]Mark, error) {
	m.counting.Lock()
	defer m.counting.Unlock()
	var out []Mark
	for _, one := range m.look(whole) {
		if one.state != nil {
			digest, err := codec.Digest(*one.state)
			if err != nil {
				return nil, err
			}
			m.mu.Lock()
			one.said.Digest, one.state = digest, nil
			m.mu.Unlock()
		}
		out = append(out, one.said)
	}
	slices.SortFunc(out, func(a, b Mark) int { return cmp.Compare(a.Index, b.Index) })
	return out, nil
}

// Marks returns what this controller's ledger can be held against those of the
// others by, oldest first; the newest is of this moment.
func (s *Store) Marks() ([]Mark, error) { return s.machine.marks.all(s.machine.whole.Load) }
