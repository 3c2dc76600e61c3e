package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// resignPause is how long one that must not lead waits before it tries again to give
// leadership away.
const resignPause = 250 * time.Millisecond

// Divergence is why a controller stands aside: at one entry of the raft log it has
// another ledger than a majority has.
type Divergence struct {
	Index uint64 `json:"index"`
	// Own is this controller's digest there, and Theirs that of Holders.
	Own     string    `json:"own"`
	Theirs  string    `json:"theirs"`
	Holders []string  `json:"holders"`
	At      time.Time `json:"at"`
}

// standing is whether this controller stands aside. It is written down: a restart
// reads the same ledger again.
type standing struct {
	dir    string
	marks  *marks
	called chan struct{}

	mu      sync.Mutex
	current atomic.Pointer[Divergence]
}

// openStanding reads what was written down.
func openStanding(dir string, m *marks) (*standing, error) {
	s := &standing{dir: dir, marks: m, called: make(chan struct{}, 1)}
	data, err := os.ReadFile(s.path())
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("data_dir %s: %w", dir, err)
	}
	var d Divergence
	if err := json.Unmarshal(data, &d); err != nil || d.Index == 0 {
		return nil, damaged(dir, fmt.Errorf("%s, which is there only where the ledger differs from that of the others, cannot be read",
			s.path()))
	}
	s.current.Store(&d)
	return s, nil
}

func (s *standing) path() string { return filepath.Join(s.dir, asideName) }

// begin notes d, unless the ledger that it is of was replaced meanwhile or another
// one is noted. An error is that it could not be written down: it counts all the same.
func (s *standing) begin(d Divergence) (began bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.Load() != nil || !s.marks.has(d.Index, d.Own) {
		return false, nil
	}
	s.current.Store(&d)
	select {
	case s.called <- struct{}{}:
	default:
	}
	data, err := json.Marshal(d)
	if err == nil {
		err = writeWhole(s.path(), append(data, '\n'))
	}
	return true, err
}

// end forgets what was said of a ledger that is replaced.
func (s *standing) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks.forget()
	if err := os.Remove(s.path()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("data_dir %s: %w", s.dir, err)
	}
	s.current.Store(nil)
	return nil
}

// writeWhole leaves either the old file or the new one, whenever it is interrupted.
func writeWhole(path string, data []byte) (err error) {
	next := path + ".new"
	file, err := os.OpenFile(next, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// StandAside has this controller act as the leader no more, and give leadership away
// whenever raft makes it the leader: its ledger is not that of a majority. Raft's log
// and its vote are not in doubt, so that it goes on as a follower, and the others
// lose no majority by it. It lasts until the leader sends a whole ledger, or the data
// directory is removed.
func (s *Store) StandAside(d Divergence) {
	began, err := s.standing.begin(d)
	if !began {
		return
	}
	s.logger.Error("this controller stands aside", "reason", s.Aside())
	if err != nil {
		s.logger.Error("that this controller stands aside could not be written down; it does as long as it runs", "error", err)
	}
}

// Aside says why this controller stands aside, and what to do; empty while it does not.
func (s *Store) Aside() string {
	d := s.standing.current.Load()
	if d == nil {
		return ""
	}
	return fmt.Sprintf("its ledger differs from that of the majority (%s) at raft entry %d, so that it leads no more and grants "+
		"no leases: take it out (`switchyard controllers remove`), stop it, empty its data_dir %s, start it with join: true and add it again",
		strings.Join(d.Holders, ", "), d.Index, s.cfg.DataDir)
}

// resign gives leadership away, first to those that hold what the majority does,
// until it is gone or ctx ends.
func (s *Store) resign(ctx context.Context) {
	for s.elected() {
		s.resignOnce(ctx)
		timer := time.NewTimer(resignPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (s *Store) resignOnce(ctx context.Context) {
	d := s.standing.current.Load()
	if d == nil {
		return
	}
	holds := func(m Member) bool { return slices.Contains(d.Holders, m.ID) }
	all := s.members()
	// After those that held the majority's ledger comes whoever else votes: these may
	// have been replaced since then, or be down, and then nobody could lead.
	for _, m := range slices.Concat(slices.DeleteFunc(slices.Clone(all), func(m Member) bool { return !holds(m) }),
		slices.DeleteFunc(slices.Clone(all), holds)) {
		if !m.Voter || m.ID == s.cfg.ID || !s.elected() {
			continue
		}
		attempt, cancel := context.WithTimeout(ctx, transferLimit)
		err := s.give(attempt, m)
		cancel()
		if err == nil {
			return
		}
		s.logger.Warn("leadership could not be given away by a controller that must not lead", "to", m.ID, "error", err)
	}
}

// modest is raft's transport. A controller that stands aside asks for votes only
// when nobody else was elected for some time: it may be the only one that has the
// newest entries, and then leads to hand these, and leadership, on.
type modest struct {
	*raft.NetworkTransport
	standing *standing
	patience time.Duration
	started  time.Time
	raft     atomic.Pointer[raft.Raft]
}

var _ raft.WithPreVote = (*modest)(nil)

var errModest = errors.New("this controller stands aside and lets others be elected first")

func (m *modest) waits() bool {
	if m.standing.current.Load() == nil {
		return false
	}
	since := m.started
	if running := m.raft.Load(); running != nil && running.LastContact().After(since) {
		since = running.LastContact()
	}
	return time.Since(since) < m.patience
}

// RequestVote implements raft.Transport.
func (m *modest) RequestVote(
	id raft.ServerID, at raft.ServerAddress, ask *raft.RequestVoteRequest, answer *raft.RequestVoteResponse,
) error {
	// After a transfer the term has risen already: to hold back would help nobody.
	if m.waits() && !ask.LeadershipTransfer {
		return errModest
	}
	return m.NetworkTransport.RequestVote(id, at, ask, answer)
}

// RequestPreVote implements raft.WithPreVote.
func (m *modest) RequestPreVote(
	id raft.ServerID, at raft.ServerAddress, ask *raft.RequestPreVoteRequest, answer *raft.RequestPreVoteResponse,
) error {
	if m.waits() {
		return errModest
	}
	return m.NetworkTransport.RequestPreVote(id, at, ask, answer)
}
