package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"switchyard/store/ledger"
)

// crew are controllers that are added and removed, each with its own files.
type crew struct {
	t    *testing.T
	cfgs map[string]Config
	// logs are what each of them logged.
	logs map[string]*logBook

	mu      sync.Mutex
	running map[string]*Store
}

// newCrew starts n controllers, and describes spare ones that wait to be added.
func newCrew(t *testing.T, n, spare int, change ...func(*Config)) *crew {
	t.Helper()
	c := &crew{t: t, cfgs: map[string]Config{}, logs: map[string]*logBook{}, running: map[string]*Store{}}
	all := configs(t, n+spare)
	for i, cfg := range all {
		cfg.Progress, cfg.Timeouts = c.progress, brisk()
		cfg.Peers = slices.Clone(cfg.Peers[:n])
		if i >= n {
			cfg.Join, cfg.Peers = true, append(cfg.Peers, all[i].Peers[i])
		}
		for _, f := range change {
			f(&cfg)
		}
		c.cfgs[cfg.ID] = cfg
	}
	for i := range n {
		c.start(all[i].ID)
	}
	return c
}

// progress implements Config.Progress.
func (c *crew) progress(_ context.Context, one ledger.Controller) (uint64, error) {
	if s := c.at(one.ID); s != nil {
		return s.Stats().AppliedIndex, nil
	}
	return 0, errors.New("connection refused")
}

func (c *crew) at(id string) *Store {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running[id]
}

func (c *crew) start(id string) *Store {
	c.t.Helper()
	c.logs[id] = &logBook{}
	s, err := Open(c.cfgs[id], slog.New(slog.NewTextHandler(c.logs[id], nil)))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			c.t.Error(err)
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[id] = s
	return s
}

func (c *crew) stop(id string) {
	c.t.Helper()
	s := c.at(id)
	c.mu.Lock()
	delete(c.running, id)
	c.mu.Unlock()
	closeNow(c.t, s)
}

// cut ends all connections of one, as a crash would: it can say no farewell.
func (c *crew) cut(s *Store) {
	c.t.Helper()
	c.mu.Lock()
	delete(c.running, s.cfg.ID)
	c.mu.Unlock()
	if err := s.transport.Close(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crew) all() []*Store {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*Store
	for _, s := range c.running {
		out = append(out, s)
	}
	return out
}

func (c *crew) leader() *Store { return leader(c.t, c.all()...) }

// describe is a controller as the ledger is to have it.
func (c *crew) describe(id string, voter bool) ledger.Controller {
	cfg := c.cfgs[id]
	peer, _ := cfg.peer(id)
	return ledger.Controller{ID: id, Raft: peer.RaftAddress, API: peer.API, DataCenter: peer.DataCenter, Voter: voter}
}

// begin asks for a change until a leader takes it.
func (c *crew) begin(kind ledger.ChangeKind, who ledger.Controller) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("%s %s begins", kind, who.ID), func() bool {
		err := c.leader().ChangeControllers(bounded(c.t), ledger.BeginControllerChange{
			Change: kind, Controller: who, By: "kim", Until: noon.Add(time.Hour), At: noon,
		})
		var rejection *ledger.Rejection
		if errors.As(err, &rejection) {
			c.t.Fatal(err)
		}
		return err == nil
	})
}

// ends waits until no change is under way, on a leader.
func (c *crew) ends() {
	c.t.Helper()
	eventually(c.t, "the change ends", func() bool {
		s := c.leader()
		known := s.State().Controllers
		return known.Number != 0 && known.Change == nil && s.VerifyLeader(bounded(c.t)) == nil
	})
}

func (c *crew) change(kind ledger.ChangeKind, who ledger.Controller) {
	c.t.Helper()
	c.begin(kind, who)
	c.ends()
}

// count checks who votes, by the ledger and by raft.
func (c *crew) count(voters ...string) {
	c.t.Helper()
	s := c.leader()
	if got := s.State().Controllers.Voters(); !slices.Equal(got, voters) {
		c.t.Errorf("the ledger counts %v, want %v", got, voters)
	}
	var counted []string
	for _, m := range s.Stats().Members {
		if m.Voter {
			counted = append(counted, m.ID)
		}
	}
	if !slices.Equal(counted, voters) {
		c.t.Errorf("raft counts %v, want %v", counted, voters)
	}
}

// load writes until the function returned is called, which says how much was
// acknowledged; each of it must be there at the end.
func (c *crew) load() func() int {
	ctx, cancel := context.WithCancel(context.Background())
	var (
		wg   sync.WaitGroup
		done []int
	)
	wg.Go(func() {
		for n := 1; ctx.Err() == nil; n++ {
			for _, s := range c.all() {
				if s.IsLeader() && s.Propose(ctx, adopt(n)) == nil {
					done = append(done, n)
				}
			}
			time.Sleep(time.Millisecond)
		}
	})
	return func() int {
		cancel()
		wg.Wait()
		s := c.leader()
		if err := s.Barrier(bounded(c.t)); err != nil {
			c.t.Error(err)
		}
		for _, n := range done {
			if !knows(s, n) {
				c.t.Fatalf("command %d was acknowledged, and is gone", n)
			}
		}
		return len(done)
	}
}
