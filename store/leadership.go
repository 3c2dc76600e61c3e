package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"switchyard/store/ledger"
)

// retryPause is how long a leader waits before it tries its first acts again.
const retryPause = 50 * time.Millisecond

// errNotReady is ErrNotLeader of a leader that does not know yet what the last
// one did: after a crash, SQLite may be far behind the raft log.
var errNotReady = fmt.Errorf("%w: it has just been elected and has not applied all yet", ErrNotLeader)

// errAside is ErrNotLeader of one that stands aside.
var errAside = fmt.Errorf("%w: it stands aside", ErrNotLeader)

// errExpelled is ErrNotLeader of one that was removed. It may be elected all the same:
// where several begin again with the configuration files of before, they are a
// majority of these.
var errExpelled = fmt.Errorf("%w: it was removed from the controllers", ErrNotLeader)

// leading tells subscribers whether this controller leads.
type leading struct {
	*broadcast[bool]
	mu sync.Mutex
	// term is the one in which this controller took office; 0 while it has not.
	// Raft tells late of a leadership that was lost and won again, so that only
	// the term says whether an office is of the present.
	term uint64
}

func newLeading() *leading { return &leading{broadcast: newBroadcast[bool]()} }

func (l *leading) set(term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.term = term
	l.send(term != 0)
}

func (l *leading) since() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term
}

// IsLeader reports whether this controller takes itself for the leader, and has
// applied all that was committed before it became it. It may be the last to
// learn that it is not: VerifyLeader asks.
func (s *Store) IsLeader() bool { return s.inOffice() == nil }

// elected reports whether raft takes this controller for the leader, ready or not.
func (s *Store) elected() bool { return s.raft.State() == raft.Leader }

// inOffice says why this controller cannot act as the leader. The term is read
// last: terms only rise, so that if it is the office's, the rest was too.
func (s *Store) inOffice() error {
	office := s.leading.since()
	switch {
	case s.standing.current.Load() != nil:
		return errAside
	case !s.elected():
		return ErrNotLeader
	case s.expelled() != "":
		return errExpelled
	case office == 0, office != s.raft.CurrentTerm():
		return errNotReady
	}
	return nil
}

// Leader returns the id of the leader, if one is known here.
func (s *Store) Leader() (id string, ok bool) {
	_, server := s.raft.LeaderWithID()
	return string(server), server != ""
}

// LeaderChanges returns a channel that gets true when this controller leads and
// has applied all that was committed before, and false when it no longer
// leads; first what is the case now. Only the newest value is kept, and true
// after true means that leadership was lost in between. The function ends the
// subscription.
func (s *Store) LeaderChanges() (<-chan bool, func()) {
	s.leading.mu.Lock()
	defer s.leading.mu.Unlock()
	return s.leading.subscribe(s.leading.term != 0)
}

// watchLeadership runs until the store is closed.
func (s *Store) watchLeadership() {
	stopStarting := func() {}
	var starting sync.WaitGroup
	abandon := func() {
		stopStarting()
		starting.Wait()
		s.leading.set(0)
	}
	defer abandon()
	for {
		select {
		case leads := <-s.raft.LeaderCh():
			abandon()
			if leads {
				ctx, cancel := context.WithCancel(context.Background())
				stopStarting = cancel
				starting.Go(func() { s.takeOffice(ctx) })
			}
		case <-s.standing.called:
			abandon()
			ctx, cancel := context.WithCancel(context.Background())
			stopStarting = cancel
			starting.Go(func() { s.takeOffice(ctx) })
		case <-s.stop.failed:
			abandon()
			// Not even a vote comes from a controller that cannot follow.
			s.raft.Shutdown()
			<-s.done
			return
		case <-s.done:
			return
		}
	}
}

// takeOffice brings this controller to where it can act as the leader, and
// says so: everything applied, and the ledger named.
func (s *Store) takeOffice(ctx context.Context) {
	for {
		if s.standing.current.Load() != nil {
			s.resign(ctx)
			return
		}
		term := s.raft.CurrentTerm()
		err := s.prepareOffice(ctx)
		if now := s.raft.CurrentTerm(); err == nil && now != term {
			err = fmt.Errorf("term %d ended meanwhile, it is %d: %w", term, now, ErrNotLeader)
		}
		if err == nil {
			s.leading.set(term)
			return
		}
		var rejection *ledger.Rejection
		if errors.As(err, &rejection) {
			s.stop.fail(fmt.Errorf("this controller cannot lead: %w", err))
			return
		}
		s.logger.Debug("leader is not ready yet", "error", err)
		timer := time.NewTimer(retryPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.done:
			timer.Stop()
			return
		}
	}
}

func (s *Store) prepareOffice(ctx context.Context) error {
	if err := s.Barrier(ctx); err != nil {
		return err
	}
	if s.expelled() != "" {
		return errExpelled
	}
	if s.State().Generation != 0 {
		return nil
	}
	// The time, because a ledger that is begun again later must begin higher.
	generation := uint64(max(1, s.cfg.Now().Unix()))
	return s.Propose(ctx, ledger.Bootstrap{ID: s.cfg.LedgerID, Generation: generation})
}

// Stats is what an operator wants to know of raft.
type Stats struct {
	// State is leader, follower, candidate or shutdown.
	State string
	// Leader is the leader's id; empty when none is known.
	Leader       string
	Term         uint64
	LastIndex    uint64
	AppliedIndex uint64
	Peers        []Peer
	// Members are those that raft itself counts, by their ids.
	Members []Member
	// LastContact is how long ago a follower heard of the leader; 0 on the
	// leader, negative if never.
	LastContact time.Duration
}

// Stats returns how raft is doing.
func (s *Store) Stats() Stats {
	leader, _ := s.Leader()
	stats := Stats{
		State:        strings.ToLower(s.raft.State().String()),
		Leader:       leader,
		Term:         s.raft.CurrentTerm(),
		LastIndex:    s.raft.LastIndex(),
		AppliedIndex: s.raft.AppliedIndex(),
		Peers:        append([]Peer(nil), s.cfg.Peers...),
		Members:      s.members(),
	}
	switch contact := s.raft.LastContact(); {
	case s.elected():
	case contact.IsZero():
		stats.LastContact = -1
	default:
		stats.LastContact = time.Since(contact)
	}
	return stats
}
