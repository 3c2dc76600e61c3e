package store

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"switchyard/e2e/ports"
	"switchyard/store/ledger"
)

// TestThreeFiveThree adds two controllers and removes three of five, the leader
// among them, while commands go on.
func TestThreeFiveThree(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3, 2)
	c.leader()
	stop := c.load()
	for _, id := range []string{"c4", "c5"} {
		c.start(id)
		c.change(ledger.AddController, c.describe(id, true))
	}
	c.count("c1", "c2", "c3", "c4", "c5")
	// Two of five may be gone now.
	first := c.leader()
	var gone []string
	for _, s := range others(c.all(), first)[:2] {
		gone = append(gone, s.cfg.ID)
		c.stop(s.cfg.ID)
	}
	propose(t, c.leader(), adopt(100_000))
	for _, id := range gone {
		c.start(id)
	}
	lost := c.leader().cfg.ID
	c.change(ledger.RemoveController, ledger.Controller{ID: lost})
	if now := c.leader().cfg.ID; now == lost {
		t.Errorf("%s was removed, and leads", now)
	}
	former := c.at(lost)
	eventually(t, "it knows that it is out", func() bool { return strings.Contains(former.Outside(), "was removed") })
	c.stop(lost)
	rest := c.leader().State().Controllers.Voters()
	c.change(ledger.RemoveController, ledger.Controller{ID: rest[0]})
	c.count(rest[1:]...)
	if n := stop(); n == 0 {
		t.Error("nothing was written meanwhile")
	}
	// Those that are left go on without one of them.
	c.stop(c.leader().cfg.ID)
	for _, s := range c.all() {
		if !slices.Contains(rest[1:], s.cfg.ID) {
			c.stop(s.cfg.ID)
		}
	}
	propose(t, c.leader(), adopt(100_001))
}

func TestNonvoterNeverCounts(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3, 1)
	four := c.start("c4")
	if four.IsLeader() || !strings.Contains(four.Outside(), "waits to be added") {
		t.Errorf("one that was not added says %q", four.Outside())
	}
	c.change(ledger.AddController, c.describe("c4", false))
	c.count("c1", "c2", "c3")
	propose(t, c.leader(), adopt(1))
	eventually(t, "it follows", func() bool { return knows(four, 1) && four.Outside() == "" })
	if _, err := c.leader().TransferLeader(bounded(t), "c4"); err == nil || !strings.Contains(err.Error(), "no voter") {
		t.Errorf("leadership for one without a vote: %v", err)
	}
	c.stop("c1")
	propose(t, c.leader(), adopt(2))
	// Two are up, as many as a majority of three, and only one of them votes.
	c.stop("c2")
	eventually(t, "one voter of three leads no more", func() bool { return !c.at("c3").IsLeader() })
	if err := c.at("c3").Propose(bounded(t), adopt(3)); err == nil || four.elected() {
		t.Errorf("one without a vote counts: %v", err)
	}
	c.start("c1")
	c.start("c2")
	// It gets its vote, and then counts.
	c.change(ledger.AddController, c.describe("c4", true))
	c.count("c1", "c2", "c3", "c4")
}

// TestLeaderDiesInTheMiddle: the next one goes on, from wherever it was.
func TestLeaderDiesInTheMiddle(t *testing.T) {
	t.Parallel()
	t.Run("of an addition", func(t *testing.T) {
		c := newCrew(t, 3, 1)
		c.begin(ledger.AddController, c.describe("c4", true))
		eventually(t, "raft has taken it in", func() bool { return len(c.leader().Stats().Members) == 4 })
		c.cut(c.leader())
		next := c.leader()
		if open := next.State().Controllers.Change; open == nil || open.ID != "c4" {
			t.Fatalf("the next leader knows of %+v", open)
		}
		c.start("c4")
		c.ends()
		c.count("c1", "c2", "c3", "c4")
	})
	t.Run("of a removal", func(t *testing.T) {
		// By this leader, what was granted may be in force for a day.
		c := newCrew(t, 4, 0, func(cfg *Config) { cfg.Settle = 24 * time.Hour })
		gone := others(c.all(), c.leader())[0].cfg.ID
		c.stop(gone)
		c.begin(ledger.RemoveController, ledger.Controller{ID: gone})
		eventually(t, "raft counts three", func() bool { return len(c.leader().Stats().Members) == 3 })
		lead := c.leader()
		if known := lead.State().Controllers; len(known.Voters()) != 4 || len(known.Councils()) != 2 {
			t.Errorf("the ledger narrowed at once: %+v", known)
		}
		for _, s := range others(c.all(), lead) {
			cfg := c.cfgs[s.cfg.ID]
			cfg.Settle = 0
			c.cfgs[s.cfg.ID] = cfg
			c.stop(s.cfg.ID)
			c.start(s.cfg.ID)
		}
		c.cut(lead)
		c.ends()
		if known := c.leader().State().Controllers; len(known.Voters()) != 3 || slices.Contains(known.Voters(), gone) {
			t.Errorf("%+v", known)
		}
	})
}

// TestRemovedOneComesBack is not let in, says so, and disturbs nobody; not with
// an empty directory and the old file either.
func TestRemovedOneComesBack(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3, 0)
	gone := others(c.all(), c.leader())[0].cfg.ID
	c.stop(gone)
	c.change(ledger.RemoveController, ledger.Controller{ID: gone})
	for _, dir := range []string{c.cfgs[gone].DataDir, t.TempDir()} {
		cfg := c.cfgs[gone]
		cfg.DataDir = dir
		c.cfgs[gone] = cfg
		back := c.start(gone)
		eventually(t, "it is told", func() bool { return strings.Contains(back.Outside(), "was removed") })
		eventually(t, "its log has the remedy", func() bool { return strings.Contains(c.logs[gone].String(), "join: true") })
		if back.IsLeader() {
			t.Error("it leads")
		}
		c.stop(gone)
	}
	propose(t, c.leader(), adopt(1))
	// As it was told: an empty directory, and to be added.
	cfg := c.cfgs[gone]
	cfg.DataDir, cfg.Join = t.TempDir(), true
	c.cfgs[gone] = cfg
	back := c.start(gone)
	c.change(ledger.AddController, c.describe(gone, true))
	c.count("c1", "c2", "c3")
	eventually(t, "it is one of them", func() bool { return knows(back, 1) && back.Outside() == "" })
}

// TestMovedController has its new address everywhere once it is restarted with it.
func TestMovedController(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3, 0)
	moved := others(c.all(), c.leader())[0].cfg.ID
	to := ports.Free(t, 1)[0]
	who := c.describe(moved, true)
	who.Raft, who.API = to, "http://"+to
	c.change(ledger.MoveController, who)
	cfg := c.cfgs[moved]
	cfg.Peers = slices.Clone(cfg.Peers)
	for i := range cfg.Peers {
		if cfg.Peers[i].ID == moved {
			cfg.Peers[i].RaftAddress = to
		}
	}
	cfg.Bind, cfg.Advertise = to, to
	c.stop(moved)
	c.cfgs[moved] = cfg
	back := c.start(moved)
	propose(t, c.leader(), adopt(1))
	eventually(t, "it is found at its new address", func() bool { return knows(back, 1) })
	for _, m := range c.leader().Stats().Members {
		if m.ID == moved && m.RaftAddress != to {
			t.Errorf("%+v", m)
		}
	}
	for _, server := range c.leader().stream.servers() {
		if string(server.ID) == moved && server.Address != raft.ServerAddress(to) {
			t.Errorf("raft has %+v", server)
		}
	}
	// It leads from there, and the other two, whose files have the old address,
	// find it after a restart of their own.
	for _, s := range others(c.all(), back) {
		c.stop(s.cfg.ID)
		again := c.start(s.cfg.ID)
		eventually(t, again.cfg.ID+" follows it", func() bool {
			if now := c.leader(); now != back {
				_, _ = now.TransferLeader(bounded(t), moved)
			}
			id, ok := again.Leader()
			return ok && id == moved
		})
	}
}

// TestAdditionIsGivenUp where the new one never answers.
func TestAdditionIsGivenUp(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3, 1)
	// Its time is over by the leader's clock.
	err := c.leader().ChangeControllers(bounded(t), ledger.BeginControllerChange{Change: ledger.AddController, Controller: c.describe("c4", true),
		By: "kim", At: noon.Add(-2 * time.Hour), Until: noon.Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	c.ends()
	c.count("c1", "c2", "c3")
	s := c.leader()
	if len(s.Stats().Members) != 3 || len(s.State().Controllers.Members) != 3 {
		t.Errorf("%+v", s.Stats().Members)
	}
	last := s.State().Audit[len(s.State().Audit)-1]
	if !strings.Contains(last.Outcome, "taken back: it was given up") {
		t.Errorf("%+v", last)
	}
	// One that somebody takes back in time.
	c.begin(ledger.AddController, c.describe("c4", true))
	eventually(t, "it is taken back", func() bool {
		err := c.leader().UndoControllers(bounded(t), "kim thought better of it")
		return err == nil || c.leader().State().Controllers.Change == nil
	})
	c.ends()
	c.count("c1", "c2", "c3")
}

// TestObjections is who is talked to, by what both know.
func TestObjections(t *testing.T) {
	cfgs := configs(t, 3)
	s := &stream{cfg: cfgs[0].withDefaults()}
	files := s.cfg.founders()
	set := func(number uint64, ids ...string) ledger.Controllers {
		c := ledger.Controllers{Number: number, Former: []ledger.FormerController{{ID: "c9", By: "kim", At: noon}}}
		for _, id := range ids {
			m, ok := files.Find(id)
			if !ok {
				m = ledger.Controller{ID: id, Raft: "10.0.0.1:1", Voter: true}
			}
			c.Members = append(c.Members, m)
		}
		return c
	}
	moved := set(3, "c1", "c2", "c3")
	moved.Members[1].Raft = "10.9.9.9:1"
	for name, tc := range map[string]struct {
		known   ledger.Controllers
		change  func(*hello)
		want    string
		removed bool
	}{
		"both by their files":          {files, nil, "", false},
		"other files":                  {files, func(h *hello) { h.Members = []string{"c1", "c2"} }, "its peers are", false},
		"another ledger":               {files, func(h *hello) { h.Ledger = "test" }, "of the cluster of controllers", false},
		"the same id":                  {files, func(h *hello) { h.From = "c1" }, "it uses the id", false},
		"looks for another":            {files, func(h *hello) { h.To = "c3" }, "it looks for", false},
		"at another address":           {files, func(h *hello) { h.Address = "10.0.0.7:1" }, "do two controllers use that id?", false},
		"it has a set, this one none":  {files, func(h *hello) { h.Set, h.Members = 4, []string{"c1", "c2", "c4"} }, "", false},
		"this one has a set":           {set(4, "c1", "c2", "c4"), nil, "", false},
		"it has an older set":          {set(4, "c1", "c2", "c4"), func(h *hello) { h.Set = 2 }, "", false},
		"it is not in the set":         {set(4, "c1", "c3", "c4"), func(h *hello) { h.Set = 2 }, "is none of the controllers", true},
		"it was removed":               {set(4, "c1", "c3"), func(h *hello) { h.From, h.Set = "c9", 2 }, "was removed by kim", true},
		"removed by what it knows":     {set(4, "c1", "c2"), func(h *hello) { h.Set, h.Members = 5, []string{"c1", "c3"} }, "of set 5 that it knows itself", true},
		"it moved, and is there":       {moved, func(h *hello) { h.Address, h.Set = "10.9.9.9:1", 3 }, "", false},
		"it moved, and is still there": {moved, func(h *hello) { h.Set = 3 }, "", false},
		"it moved elsewhere":           {moved, func(h *hello) { h.Address, h.Set = "10.7.7.7:1", 3 }, "controllers move", false},
	} {
		t.Run(name, func(t *testing.T) {
			peer, _ := s.cfg.peer("c2")
			line := hello{Version: greetingVersion, Ledger: "prod", From: "c2", To: "c1", Address: peer.RaftAddress, Members: []string{"c1", "c2", "c3"}}
			if tc.change != nil {
				tc.change(&line)
			}
			got, removed := s.objection(line, tc.known)
			if removed != tc.removed || (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
				t.Errorf("%q, removed %t", got, removed)
			}
		})
	}
}
