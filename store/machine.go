package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"switchyard/store/ledger"
	"switchyard/store/sqlite"
)

// machine is the state machine that raft drives, from one goroutine. All that
// is decided is decided by ledger.Apply; this is the shim around it.
type machine struct {
	ledgerID string
	db       *sqlite.DB
	changed  *broadcast[struct{}]
	stop     *stopper
	marks    *marks
	standing *standing
	decode   decoder

	applied sqlite.Position
	current atomic.Pointer[ledger.State]
	// whole is the current state with the position that it is at.
	whole atomic.Pointer[snapshot]
}

var _ raft.BatchingFSM = (*machine)(nil)

// Apply implements raft.FSM.
func (m *machine) Apply(entry *raft.Log) any { return m.ApplyBatch([]*raft.Log{entry})[0] }

// ApplyBatch implements raft.BatchingFSM. A result is nil, a *ledger.Rejection,
// or the error that has stopped this controller; after that nothing is applied
// any more, whatever raft hands on.
func (m *machine) ApplyBatch(entries []*raft.Log) []any {
	results := make([]any, len(entries))
	if err := m.stop.err(); err != nil {
		return fill(results, err)
	}
	state, at, changes, passed, err := m.follow(entries, results)
	if err == nil && at != m.applied {
		err = m.db.Write(context.Background(), changes, at)
	}
	if err != nil {
		m.stop.fail(err)
		return fill(results, err)
	}
	m.applied = at
	m.whole.Store(&snapshot{state: state, at: at})
	m.marks.keep(passed)
	if len(changes) > 0 {
		m.current.Store(&state)
		m.changed.send(struct{}{})
	}
	return results
}

func fill(results []any, err error) []any {
	for i := range results {
		results[i] = err
	}
	return results
}

// follow applies the commands among entries that are new. Passed are the states on
// the way that are kept for a comparison.
func (m *machine) follow(entries []*raft.Log, results []any) (
	state ledger.State, at sqlite.Position, all []ledger.Change, passed []snapshot, err error,
) {
	state, at = *m.current.Load(), m.applied
	for i, entry := range entries {
		// SQLite may be ahead of raft's snapshot, from which raft starts again.
		if entry.Type != raft.LogCommand || entry.Index <= at.Index {
			continue
		}
		if err := intact(entry); err != nil {
			return state, at, nil, nil, err
		}
		cmd, err := m.decode(entry.Data)
		if err != nil {
			return state, at, nil, nil, fmt.Errorf("raft entry %d cannot be applied, and to leave it out would be to "+
				"differ from the other controllers: %w: %w; run the release that they run", entry.Index, ErrNewer, err)
		}
		next, changes, err := ledger.Apply(state, cmd)
		var rejection *ledger.Rejection
		if errors.As(err, &rejection) {
			results[i] = rejection
		} else if err != nil {
			return state, at, nil, nil, fmt.Errorf("raft entry %d: %w", entry.Index, err)
		}
		if next.ID != "" && next.ID != m.ledgerID {
			return state, at, nil, nil, fmt.Errorf("the raft log is of the cluster of controllers %q, this one is of %q: %w",
				next.ID, m.ledgerID, ErrForeign)
		}
		if m.marks.passes(at.Index, entry.Index) {
			passed = append(passed, snapshot{state: state, at: at})
		}
		state, all = next, append(all, changes...)
		at = sqlite.Position{Index: entry.Index, Term: entry.Term}
	}
	return state, at, all, passed, nil
}

// Snapshot implements raft.FSM.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	if err := m.stop.err(); err != nil {
		return nil, err
	}
	return &snapshot{state: *m.current.Load(), at: m.applied}, nil
}

// Restore implements raft.FSM: a leader has sent its state.
func (m *machine) Restore(source io.ReadCloser) error {
	if err := m.stop.err(); err != nil {
		return err
	}
	state, at, err := readSnapshot(source)
	if err == nil {
		err = m.db.Replace(context.Background(), state, at)
	}
	if err == nil {
		err = m.standing.end()
	}
	if err != nil {
		err = fmt.Errorf("the leader's snapshot cannot be taken: %w", err)
		if errors.Is(err, ErrNewer) {
			err = fmt.Errorf("%w; run the release that the leader runs", err)
		}
		m.stop.fail(err)
		return err
	}
	m.applied = at
	m.whole.Store(&snapshot{state: state, at: at})
	// Whoever looked in between has marked the one before once more.
	m.marks.forget()
	m.current.Store(&state)
	m.changed.send(struct{}{})
	return nil
}

// stopper remembers the first error after which a controller must not go on.
type stopper struct {
	dir    string
	once   sync.Once
	cause  error
	failed chan struct{}
}

func newStopper(dir string) *stopper { return &stopper{dir: dir, failed: make(chan struct{})} }

func (s *stopper) fail(err error) {
	s.once.Do(func() {
		s.cause = room(s.dir, err)
		close(s.failed)
	})
}

// err returns nil while all is well.
func (s *stopper) err() error {
	select {
	case <-s.failed:
		return s.cause
	default:
		return nil
	}
}

// broadcast tells any number of subscribers the newest value; one that is slow
// misses those in between.
type broadcast[T any] struct {
	mu   sync.Mutex
	subs map[chan T]struct{}
}

func newBroadcast[T any]() *broadcast[T] { return &broadcast[T]{subs: map[chan T]struct{}{}} }

func (b *broadcast[T]) send(value T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for sub := range b.subs {
		offer(sub, value)
	}
}

// offer replaces what the subscriber has not taken yet.
func offer[T any](sub chan T, value T) {
	select {
	case <-sub:
	default:
	}
	sub <- value
}

// subscribe returns a channel and the function that ends the subscription.
func (b *broadcast[T]) subscribe(first ...T) (<-chan T, func()) {
	sub := make(chan T, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, value := range first {
		offer(sub, value)
	}
	b.subs[sub] = struct{}{}
	return sub, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subs, sub)
	}
}
