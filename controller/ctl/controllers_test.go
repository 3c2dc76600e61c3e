package ctl_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/ctl"
)

func accounts() wire.Controllers {
	heard := 12.34
	return wire.Controllers{
		Controller: "c2", Leader: "c1", Term: 7, Voters: 3, Answering: 2, Majority: 2,
		Controllers: []wire.ControllerAccount{
			{
				Controller: wire.Controller{ID: "c1", Raft: "10.0.0.1:7400", API: "http://10.0.0.1:7401", State: "leader", DataCenter: "east"},
				Role:       wire.Voter, Reachable: true, Term: 7, AppliedIndex: 1207,
			},
			{
				Controller: wire.Controller{ID: "c2", Raft: "10.0.0.2:7400", API: "http://10.0.0.2:7401", State: "follower", DataCenter: "west"},
				Role:       wire.Voter, Reachable: true, Term: 7, AppliedIndex: 1204, Lag: 3, LastContactMS: &heard,
			},
			{
				Controller: wire.Controller{ID: "c3", Raft: "10.0.0.3:7400", State: "unreachable"}, Role: wire.Voter,
				Problem: "\x1b[31mconnection refused",
			},
		},
		Problems: []string{"2 of 3 voters answer here, and 2 must: none may be lost"},
	}
}

type listed struct{ controller }

func (l *listed) Controllers(context.Context) (wire.Controllers, error) { return accounts(), nil }

func TestControllersList(t *testing.T) {
	golden(t, "controllers", ctl.Controllers(accounts()))
	changing := accounts()
	changing.Set = 4
	changing.Change = &wire.ControllersChange{Change: wire.AddController, ID: "c4", By: "kim\x1b[2J", Undoing: "it was given up",
		Since: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	golden(t, "controllers-changing", ctl.Controllers(changing))
	golden(t, "controllers-no-leader", ctl.Controllers(wire.Controllers{Controller: "c1", Voters: 1, Majority: 1}))
	// A follower answers by itself, where there is no leader too.
	env := map[string]string{ctl.Environment: start(t, &listed{controller{id: "c2"}}, nil)}
	out, err := call(t.Context(), env, "controllers", "list")
	if err != nil || out != ctl.Controllers(accounts()) {
		t.Errorf("%v: %s", err, out)
	}
	if out, err = call(t.Context(), env, "controllers", "list", "--format", "json"); err != nil || !strings.Contains(out, `"lag": 3`) {
		t.Errorf("%v: %s", err, out)
	}
}

// turning is a controller whose list goes through some stages.
type turning struct {
	*operated
	mu     sync.Mutex
	stages []wire.Controllers
}

func (c *turning) Controllers(context.Context) (wire.Controllers, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.stages[0]
	if len(c.stages) > 1 {
		c.stages = c.stages[1:]
	}
	return now, nil
}

// A command that waits ends well only where what it asked for has come about, also
// where whom it asks has not heard of it at first.
func TestAChangeIsWaitedFor(t *testing.T) {
	o, _ := operate(t)
	before, under := accounts(), accounts()
	under.Change = &wire.ControllersChange{Change: wire.AddController, ID: "c4"}
	four := func(role string) wire.Controllers {
		all := accounts()
		all.Controllers = append(all.Controllers, wire.ControllerAccount{
			Controller: wire.Controller{ID: "c4", Raft: "c4:7401", API: "http://c4:7400"}, Role: role,
		})
		return all
	}
	removing := four(wire.Voter)
	removing.Change = &wire.ControllersChange{Change: wire.RemoveController, ID: "c4"}
	add := "controllers add c4 --raft c4:7401 --http http://c4:7400 --wait"
	for name, c := range map[string]struct {
		line   string
		stages []wire.Controllers
		fails  bool
	}{
		"added":              {add, []wire.Controllers{before, under, four(wire.Voter)}, false},
		"without a vote":     {add + " --non-voter", []wire.Controllers{under, four(wire.Nonvoter)}, false},
		"taken back":         {add, []wire.Controllers{before, under, before}, true},
		"no vote in the end": {add, []wire.Controllers{under, four(wire.Nonvoter)}, true},
		"removed":            {"controllers remove c4 --wait", []wire.Controllers{four(wire.Voter), removing, before}, false},
		"moved":              {"controllers move c4 --raft c4:7401 --http http://c4:7400 --wait", []wire.Controllers{before, four(wire.Voter)}, false},
	} {
		env := map[string]string{ctl.Environment: start(t, &turning{operated: o, stages: c.stages}, nil)}
		_, err := call(t.Context(), env, words(c.line)...)
		if (err != nil) != c.fails || c.fails && !strings.Contains(err.Error(), "taken back") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
