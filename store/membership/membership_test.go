package membership_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"switchyard/store/ledger"
	"switchyard/store/membership"
	"switchyard/store/quorum"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func controller(n int, voter bool) ledger.Controller {
	return ledger.Controller{ID: fmt.Sprintf("c%d", n), Raft: fmt.Sprintf("10.0.0.%d:7401", n), API: fmt.Sprintf("http://10.0.0.%d:7400", n), Voter: voter}
}

// cluster is a ledger and a raft configuration, which the steps change.
type cluster struct {
	state   ledger.State
	counted []membership.Server
	leader  string
}

func newCluster(n int) *cluster {
	c := &cluster{leader: "c1"}
	c.state, _, _ = ledger.Apply(ledger.State{}, ledger.Bootstrap{ID: "prod", Generation: 1})
	for i := range n {
		m := controller(i+1, true)
		c.counted = append(c.counted, membership.Server{ID: m.ID, Address: m.Raft, Voter: true})
	}
	return c
}

func (c *cluster) begin(kind ledger.ChangeKind, who ledger.Controller) error {
	var founders []ledger.Controller
	for _, s := range c.counted {
		var n int
		_, _ = fmt.Sscanf(s.ID, "c%d", &n)
		founders = append(founders, controller(n, true))
	}
	return c.propose(ledger.BeginControllerChange{Expect: c.state.Controllers.Number, Founders: founders, Change: kind, Controller: who,
		By: "kim", Until: noon.Add(time.Minute), At: noon})
}

func (c *cluster) propose(cmd ledger.Command) error {
	next, _, err := ledger.Apply(c.state, cmd)
	c.state = next
	return err
}

func (c *cluster) voters() []string {
	var out []string
	for _, s := range c.counted {
		if s.Voter {
			out = append(out, s.ID)
		}
	}
	return out
}

// do makes a step.
func (c *cluster) do(step membership.Step) error {
	open := c.state.Controllers.Change
	advance := func(s ledger.ControllersStep) error {
		return c.propose(ledger.AdvanceControllers{Expect: c.state.Controllers.Number, Step: s, Note: step.Why, Leader: c.leader, At: noon})
	}
	switch step.Act {
	case membership.Widen:
		return advance(ledger.WidenControllers)
	case membership.Undo:
		return advance(ledger.UndoControllers)
	case membership.Close:
		return advance(ledger.CloseControllers)
	case membership.HandOver:
		for _, id := range c.voters() {
			if id != open.ID {
				c.leader = id
			}
		}
	case membership.TakeIn, membership.Vote, membership.Drop:
		var left []membership.Server
		for _, s := range c.counted {
			if s.ID != open.ID {
				left = append(left, s)
			}
		}
		c.counted = left
		if member, _ := c.state.Controllers.Find(open.ID); step.Act != membership.Drop {
			c.counted = append(c.counted, membership.Server{ID: open.ID, Address: member.Raft, Voter: step.Act == membership.Vote})
		}
	}
	return nil
}

// TestEveryChangeEnds begins changes at random, and has leaders die between any two
// steps: each change ends, raft and the ledger count the same then, and at every
// moment whoever agrees by the ledger is bound by every majority of raft's.
func TestEveryChangeEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCluster(rapid.IntRange(1, 5).Draw(t, "founders"))
		for range rapid.IntRange(1, 6).Draw(t, "changes") {
			who := controller(rapid.IntRange(1, 6).Draw(t, "id"), rapid.Bool().Draw(t, "voter"))
			kind := rapid.SampledFrom([]ledger.ChangeKind{ledger.AddController, ledger.RemoveController, ledger.MoveController}).Draw(t, "kind")
			if kind == ledger.MoveController {
				who.Raft = fmt.Sprintf("10.1.%d.%d:1", rapid.IntRange(1, 250).Draw(t, "x"), rapid.IntRange(1, 250).Draw(t, "y"))
			}
			if c.begin(kind, who) != nil {
				continue
			}
			for n := 0; c.state.Controllers.Change != nil; n++ {
				if n > 40 {
					t.Fatalf("it does not end: %+v, raft %+v", c.state.Controllers, c.counted)
				}
				if voters := c.voters(); rapid.IntRange(0, 3).Draw(t, "leader dies") == 0 {
					c.leader = rapid.SampledFrom(voters).Draw(t, "leader")
				}
				sight := membership.Sight{Self: c.leader, Known: c.state.Controllers, Counted: c.counted,
					Settled: rapid.Bool().Draw(t, "settled"), Late: rapid.IntRange(0, 9).Draw(t, "late") == 0}
				if rapid.Bool().Draw(t, "behind") {
					sight.Behind = "it is behind"
				}
				step := membership.Next(sight)
				if err := c.do(step); err != nil {
					t.Fatalf("%+v: %v", step, err)
				}
				if !c.state.Controllers.Councils().Bound(c.voters()) {
					t.Fatalf("after %+v raft counts %v and the ledger %v", step, c.voters(), c.state.Controllers.Councils())
				}
			}
			known := c.state.Controllers
			if len(known.Members) != len(c.counted) || !quorum.Overlap(known.Voters(), c.voters()) {
				t.Fatalf("raft counts %+v, the ledger %+v", c.counted, known)
			}
			for _, s := range c.counted {
				if m, ok := known.Find(s.ID); !ok || m.Raft != s.Address || m.Voter != s.Voter {
					t.Fatalf("raft has %+v, the ledger %+v", s, m)
				}
			}
		}
	})
}

// TestOrder spells out the steps of one addition and of one removal of the leader.
func TestOrder(t *testing.T) {
	c := newCluster(3)
	see := func(change func(*membership.Sight)) membership.Act {
		s := membership.Sight{Self: c.leader, Known: c.state.Controllers, Counted: c.counted}
		if change != nil {
			change(&s)
		}
		return membership.Next(s).Act
	}
	expect := func(want membership.Act, change func(*membership.Sight)) {
		t.Helper()
		got := see(change)
		if got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		if err := c.do(membership.Step{Act: got, Why: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	behind := func(s *membership.Sight) { s.Behind = "it has applied nothing" }
	late := func(s *membership.Sight) { s.Late = true; s.Behind = "it has applied nothing" }
	settled := func(s *membership.Sight) { s.Settled = true }
	expect(membership.Nothing, nil)
	if err := c.begin(ledger.AddController, controller(4, true)); err != nil {
		t.Fatal(err)
	}
	expect(membership.TakeIn, behind)
	expect(membership.Wait, behind)
	expect(membership.Widen, nil)
	expect(membership.Vote, late) // it is too late to turn back
	expect(membership.Close, nil)
	if err := c.begin(ledger.RemoveController, controller(1, true)); err != nil {
		t.Fatal(err)
	}
	expect(membership.HandOver, nil)
	expect(membership.Drop, nil)
	expect(membership.Wait, late)
	expect(membership.Close, settled)
	if err := c.begin(ledger.AddController, controller(5, true)); err != nil {
		t.Fatal(err)
	}
	expect(membership.TakeIn, nil)
	expect(membership.Undo, late)
	expect(membership.Drop, late)
	expect(membership.Close, late)
	if got := fmt.Sprint(c.state.Controllers.Voters(), c.voters()); got != "[c2 c3 c4] [c2 c3 c4]" {
		t.Error(got)
	}
}

// TestARemovalTakenBackLate: raft has forgotten the controller already, and counts it
// again before the change ends.
func TestARemovalTakenBackLate(t *testing.T) {
	c := newCluster(3)
	if err := c.begin(ledger.RemoveController, controller(3, true)); err != nil {
		t.Fatal(err)
	}
	for _, step := range []membership.Step{{Act: membership.Drop}, {Act: membership.Undo, Why: "a mistake"}} {
		if err := c.do(step); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []membership.Act{membership.Vote, membership.Close} {
		step := membership.Next(membership.Sight{Self: c.leader, Known: c.state.Controllers, Counted: c.counted})
		if step.Act != want {
			t.Fatalf("%+v, want %s", step, want)
		}
		if err := c.do(step); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(c.state.Controllers.Voters(), c.voters()); got != "[c1 c2 c3] [c1 c2 c3]" {
		t.Error(got)
	}
}
