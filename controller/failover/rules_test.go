package failover_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/failover"
	"switchyard/controller/policy"
	"switchyard/store/ledger"
)

// What operators tell the ledger counts at the next judgement, and no longer
// than they said.
func TestRulesOfOperators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.rules.Recover = false
		w.draw(dead)
		loop, stop := w.start()
		defer stop()
		pass(time.Second)
		best := func() string {
			a, err := loop.Explain(t.Context(), "shop")
			if err != nil {
				t.Fatal(err)
			}
			c, _ := a.Ranking.Best()
			return c.Key.Host
		}
		if best() != "a" {
			t.Fatal(best())
		}
		w.must(ledger.SetPromotionRule{
			Server: key("a"), Rule: string(policy.MustNot), By: "kim", Until: time.Now().Add(time.Minute), At: time.Now(),
		})
		// b lacks what a holds, and gets it from a.
		if got := best(); got != "b" {
			t.Errorf("with the rule, the best is %q", got)
		}
		pass(time.Minute)
		if got := best(); got != "a" {
			t.Errorf("after it ran out, the best is %q", got)
		}
	})
}

func TestRulesSayWhoPaused(t *testing.T) {
	w := emptyWorld(t)
	now := time.Now()
	w.must(ledger.AdoptMaster{Cluster: "shop", Master: key("m"), At: now})
	w.must(ledger.PauseRecoveries{By: "lee", Reason: "a move", At: now})
	p := failover.Rules(w.rules, w.State(), "shop", now)
	if !strings.Contains(p.Paused, "lee paused all clusters at ") || !strings.HasSuffix(p.Paused, ": a move") {
		t.Errorf("%q", p.Paused)
	}
	w.must(ledger.PauseRecoveries{Cluster: "shop", By: "kim", Reason: "mine", At: now})
	if p := failover.Rules(w.rules, w.State(), "shop", now); !strings.Contains(p.Paused, "kim paused shop at ") {
		t.Errorf("%q", p.Paused)
	}
	if p := failover.Rules(w.rules, w.State(), "other", now); !strings.Contains(p.Paused, "lee paused") {
		t.Errorf("%q", p.Paused)
	}
}

// A datacenter that is marked down counts until the mark runs out.
func TestRulesSayWhichDatacentersAreDown(t *testing.T) {
	w := emptyWorld(t)
	now := time.Now()
	w.must(ledger.MarkDatacenterDown{Datacenter: "dc2", By: "kim", Reason: "power", Until: now.Add(time.Hour), At: now})
	p := failover.Rules(w.rules, w.State(), "shop", now)
	if why := p.DownDataCenters["dc2"]; len(p.DownDataCenters) != 1 || !strings.HasPrefix(why, "kim marked it down until ") || !strings.HasSuffix(why, ": power") {
		t.Errorf("%q", p.DownDataCenters)
	}
	if p := failover.Rules(w.rules, w.State(), "shop", now.Add(time.Hour)); p.DownDataCenters != nil {
		t.Errorf("%q", p.DownDataCenters)
	}
}

func TestDowntimesAreInThePicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.downtime("b")
		loop, stop := w.start()
		defer stop()
		a, err := loop.Explain(t.Context(), "shop")
		if err != nil || !strings.Contains(a.Snapshot.Downtimed[key("b")], "lee put it in downtime until ") {
			t.Errorf("%v %v", err, a.Snapshot.Downtimed)
		}
		pass(time.Hour)
		if a, _ := loop.Explain(t.Context(), "shop"); len(a.Snapshot.Downtimed) != 0 {
			t.Errorf("it never ends: %v", a.Snapshot.Downtimed)
		}
	})
}

// Who votes is the ledger's to say, once it knows; before that, as many as the
// configuration names.
func TestRulesCountTheLedgersControllers(t *testing.T) {
	w := emptyWorld(t)
	now := time.Now()
	configured := w.rules
	configured.Controllers = 5
	if p := failover.Rules(configured, w.State(), "shop", now); p.Controllers != 5 || p.Councils != nil {
		t.Errorf("%d, %v", p.Controllers, p.Councils)
	}
	var founders []ledger.Controller
	for _, id := range []string{"c1", "c2", "c3"} {
		founders = append(founders, ledger.Controller{ID: id, Raft: id + ":7401", API: "http://" + id + ":7400", Voter: true})
	}
	w.must(ledger.BeginControllerChange{Founders: founders, Change: ledger.RemoveController, Controller: ledger.Controller{ID: "c1"}, By: "kim",
		Until: now.Add(time.Hour), At: now})
	p := failover.Rules(configured, w.State(), "shop", now)
	if p.Controllers != 3 || len(p.Councils) != 2 || p.Agreed([]string{"c1", "c2"}) || !p.Agreed([]string{"c2", "c3"}) {
		t.Errorf("%d, %v", p.Controllers, p.Councils)
	}
}
