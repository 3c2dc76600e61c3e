package ctl_test

import (
	"context"
	"strings"
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
