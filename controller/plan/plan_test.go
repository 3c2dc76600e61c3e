package plan_test

import (
	"slices"
	"testing"

	"switchyard/controller/plan"
	"switchyard/store/ledger"
)

func all() map[string]plan.Plan {
	return map[string]plan.Plan{
		"failover":   plan.Build(ledger.Failover, false, false),
		"switchover": plan.Build(ledger.Switchover, false, false),
		"undo":       plan.Build(ledger.Switchover, true, false),
		"reinstate":  plan.Build(ledger.Reinstate, false, false),
	}
}

// In every plan the old master is withdrawn and the winner committed before
// anything is made writable, and the world is told only after that.
func TestOrderThatSafetyNeeds(t *testing.T) {
	for name, p := range all() {
		steps := p.Steps()
		before := func(a, b plan.Name) {
			i, j := slices.Index(steps, a), slices.Index(steps, b)
			if i < 0 || j < 0 || i >= j {
				t.Errorf("%s: %s must come before %s: %v", name, a, b, steps)
			}
		}
		if name == "failover" || name == "switchover" {
			before(plan.Withdraw, plan.Promote)
		}
		before(plan.Pick, plan.Promote)
		before(plan.Acknowledgers, plan.Promote)
		before(plan.Promote, plan.Announce)
		before(plan.Announce, plan.Route)
		before(plan.Announce, plan.Publish)
		for _, stage := range p.Stages {
			if slices.Contains(stage, plan.Promote) && len(stage) != 1 {
				t.Errorf("%s: promote stands beside other steps: %v", name, stage)
			}
		}
	}
	failover := plan.Build(ledger.Failover, false, false).Steps()
	for _, order := range [][2]plan.Name{
		{plan.Pick, plan.Converge}, {plan.Converge, plan.Salvage}, {plan.Salvage, plan.WaitApplied}, {plan.WaitApplied, plan.Promote},
	} {
		if i, j := slices.Index(failover, order[0]), slices.Index(failover, order[1]); i < 0 || i >= j {
			t.Errorf("%s must come before %s: %v", order[0], order[1], failover)
		}
	}
	if slices.Index(failover, plan.StopReceiving) > slices.Index(failover, plan.Pick) {
		t.Errorf("a winner is picked before what was received is final: %v", failover)
	}
}

func TestAnnouncedOnlyTells(t *testing.T) {
	for _, kind := range []ledger.Kind{ledger.Failover, ledger.Switchover, ledger.Reinstate} {
		steps := plan.Build(kind, false, true).Steps()
		if slices.Contains(steps, plan.Withdraw) || slices.Contains(steps, plan.Promote) || !slices.Contains(steps, plan.Route) {
			t.Errorf("%s: %v", kind, steps)
		}
	}
}

// A relocation tells nobody: the master stays as it is.
func TestRelocationMovesNoMaster(t *testing.T) {
	for _, announced := range []bool{false, true} {
		got := plan.Build(ledger.Relocate, false, announced).Steps()
		if want := []plan.Name{plan.ChooseSource, plan.Relocate, plan.Verify}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

func TestEveryStepHasAPhase(t *testing.T) {
	plans := all()
	plans["relocation"] = plan.Build(ledger.Relocate, false, false)
	for name, p := range plans {
		for _, s := range p.Steps() {
			if s.Phase() == "" {
				t.Errorf("%s: %s has no phase", name, s)
			}
		}
	}
}
