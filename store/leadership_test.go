package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"switchyard/store/ledger"
)

// setBack leaves a data directory as a loss of power may: the raft log has
// entries that SQLite does not. It returns how many clusters the log adopts.
func setBack(t *testing.T, cfg Config) (last int) {
	t.Helper()
	s := open(t, cfg)
	leader(t, s)
	propose(t, s, adopt(1))
	closeNow(t, s)
	path, kept := filepath.Join(cfg.DataDir, stateName), filepath.Join(t.TempDir(), stateName)
	if err := os.Rename(path, kept); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, cfg)
	leader(t, s)
	last = 300
	var results []<-chan error
	for n := 2; n <= last; n++ {
		results = append(results, s.ProposeAsync(bounded(t), adopt(n)))
	}
	for _, result := range results {
		if err := <-result; err != nil {
			t.Fatal(err)
		}
	}
	closeNow(t, s)
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.Rename(kept, path); err != nil {
		t.Fatal(err)
	}
	return last
}

// TestNewLeaderWaitsForItsLog holds the state machine up in the middle of what
// it has to catch up with.
func TestNewLeaderWaitsForItsLog(t *testing.T) {
	cfg := single(t)
	cfg.Compaction = Compaction{}
	last := setBack(t, cfg)
	// Long enough to get hold of the state machine before there is an election.
	cfg.Timeouts = Timeouts{
		Heartbeat: 3 * time.Second, Election: 3 * time.Second, LeaderLease: 3 * time.Second,
	}
	s := open(t, cfg)
	s.changed.mu.Lock()
	held := true
	release := func() {
		if held {
			held = false
			s.changed.mu.Unlock()
		}
	}
	defer release()
	if !knows(s, 1) || knows(s, last) {
		t.Fatalf("SQLite was not set back: %d clusters", len(s.State().Clusters))
	}
	changes, cancel := s.LeaderChanges()
	defer cancel()
	eventually(t, "it is elected", func() bool { return s.raft.State() == raft.Leader })
	if s.IsLeader() {
		t.Error("it acts as the leader, and does not know what the last one did")
	}
	err := s.VerifyLeader(bounded(t))
	if !errors.Is(err, ErrNotLeader) || err == nil || !strings.Contains(err.Error(), "has not applied all yet") {
		t.Errorf("VerifyLeader before the log is applied: %v", err)
	}
	if <-changes {
		t.Error("it told that it leads")
	}
	if got := s.Stats(); got.State != "leader" || got.LastContact != 0 {
		t.Errorf("stats: %+v", got)
	}
	if knows(s, last) {
		t.Fatal("the state machine was not held up")
	}
	release()
	eventually(t, "it leads", func() bool { return s.IsLeader() })
	if !knows(s, last) {
		t.Error("it leads, and has not applied all")
	}
	if err := s.VerifyLeader(bounded(t)); err != nil {
		t.Error(err)
	}
	propose(t, s, adopt(last+1))
}

// TestNeverAStaleLeader looks without a pause while a leader catches up.
func TestNeverAStaleLeader(t *testing.T) {
	cfg := single(t)
	cfg.Compaction = Compaction{}
	last := setBack(t, cfg)
	s := open(t, cfg)
	eventually(t, "it leads", func() bool {
		leads, verified := s.IsLeader(), s.VerifyLeader(bounded(t)) == nil
		if (leads || verified) && !knows(s, last) {
			t.Fatalf("leader %t, verified %t, with %d of %d clusters", leads, verified, len(s.State().Clusters), last)
		}
		return leads && verified
	})
}

// TestOfficeEndsWithItsTerm holds that the office of an earlier term is none,
// whether or not raft's notice of the loss has come.
func TestOfficeEndsWithItsTerm(t *testing.T) {
	s := open(t, single(t))
	leader(t, s)
	s.leading.set(s.raft.CurrentTerm() - 1)
	if err := s.VerifyLeader(bounded(t)); s.IsLeader() || !errors.Is(err, ErrNotLeader) {
		t.Errorf("the office of an earlier term: leader %t, %v", s.IsLeader(), err)
	}
	// What makes a leader ready does not wait for it to be ready.
	if err := s.Barrier(bounded(t)); err != nil {
		t.Error(err)
	}
	propose(t, s, ledger.Bootstrap{ID: "prod", Generation: s.State().Generation}, adopt(1))
	s.leading.set(s.raft.CurrentTerm())
	if err := s.VerifyLeader(bounded(t)); err != nil || !s.IsLeader() {
		t.Errorf("back in office: leader %t, %v", s.IsLeader(), err)
	}
}
