package store

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestTransferLeader(t *testing.T) {
	cfgs := configs(t, 3)
	all := openAll(t, cfgs)
	first := leader(t, all...)
	propose(t, first, adopt(1))
	rest := others(all, first)
	heir := rest[1]
	if got := first.Stats().Members; len(got) != 3 ||
		!slices.ContainsFunc(got, func(m Member) bool { return m.Peer == heir.cfg.Peers[0] && m.Voter }) {
		t.Errorf("members %+v", got)
	}
	if _, err := rest[0].TransferLeader(bounded(t), heir.cfg.ID); !errors.Is(err, ErrNotLeader) {
		t.Errorf("by a follower: %v", err)
	}
	for id, part := range map[string]string{first.cfg.ID: "to itself", "c9": "no voter", "": "no voter"} {
		if _, err := first.TransferLeader(bounded(t), id); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("to %q: %v", id, err)
		}
	}
	if !first.IsLeader() {
		t.Fatal("it does not lead after refusals")
	}
	term := first.Stats().Term
	now, err := first.TransferLeader(bounded(t), heir.cfg.ID)
	if err != nil || now != heir.cfg.ID {
		t.Fatalf("%s leads, %v", now, err)
	}
	if second := leader(t, all...); second != heir || !knows(second, 1) || second.Stats().Term <= term {
		t.Errorf("%s leads", second.cfg.ID)
	}
	propose(t, heir, adopt(2))
	eventually(t, "the former leader follows", func() bool { return knows(first, 2) && !first.IsLeader() })
}

// One that is gone gets nothing, and whoever leads goes on.
func TestTransferLeaderToOneThatIsGone(t *testing.T) {
	all := openAll(t, configs(t, 3))
	first := leader(t, all...)
	gone := others(all, first)[0]
	closeNow(t, gone)
	if now, err := first.TransferLeader(bounded(t), gone.cfg.ID); err == nil {
		t.Fatalf("%s leads", now)
	}
	adopted(t, 1, others(all, gone)...)
}

// A leader that is stopped does not hand over to one that is gone, where nothing
// has been written since it went.
func TestStoppedLeaderHandsOverToOneThatLives(t *testing.T) {
	// It has two seconds, which a busy machine may use up.
	for range 5 {
		text := stoppedBesideOneThatIsGone(t)
		if !strings.Contains(text, "was not handed over") {
			return
		}
		t.Log(text)
	}
	t.Error("it was never handed over")
}

// stoppedBesideOneThatIsGone returns what the leader logged.
func stoppedBesideOneThatIsGone(t *testing.T) string {
	t.Helper()
	lines := map[string]*lockedText{}
	var all []*Store
	for _, cfg := range configs(t, 3) {
		lines[cfg.ID] = &lockedText{}
		s, err := Open(cfg, slog.New(slog.NewTextHandler(lines[cfg.ID], nil)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		all = append(all, s)
	}
	elect(t, all...)
	first := leader(t, all...)
	rest := others(all, first)
	propose(t, first, adopt(1))
	for _, s := range all {
		eventually(t, s.cfg.ID+" follows", func() bool { return knows(s, 1) && s.Stats().AppliedIndex == first.Stats().LastIndex })
	}
	closeNow(t, rest[0])
	closeNow(t, first)
	return lines[first.cfg.ID].String()
}

// lockedText takes the lines of a log.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
