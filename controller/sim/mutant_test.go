package sim_test

import (
	"slices"
	"testing"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// mutant says which lie is told to the real code. No lie changes the code; each
// is told by a port or by the configuration.
type mutant struct {
	// alwaysLeads: the ledger says that this controller leads, and asks nobody.
	alwaysLeads bool
	// confirms: proxies are said to follow, and were told nothing.
	confirms bool
	// misroutes: one proxy is said to follow, and leads where it led.
	misroutes bool
	// lies: servers are said to be read-only, and are not.
	lies bool
	// stale: looks show what is remembered.
	stale bool
	// echo: the other controllers see what the asker sees.
	echo bool
	// cut: pictures do not show what was received.
	cut bool
	// boasts: they show semi-sync where there is none.
	boasts bool
	// empties: tails are said to be empty.
	empties bool
	// early: a winner is made writable before it is committed.
	early bool
	// flaps: there is no anti-flap window.
	flaps bool
	// holds: nothing is ever recovered.
	holds bool
	// hasty: a recovery is claimed for whatever an operator asks.
	hasty bool
	// young: servers seem to have started a moment ago.
	young bool
	// impatient: a lease is said to have ended, and nobody waited for that.
	impatient bool
	// shares: a claim keeps the epoch; backwards: it takes an older one.
	shares, backwards bool
	// mute are rules that are not checked, where one lie breaks several.
	mute []string
}

// rules breaks the policy.
func (m mutant) rules(p *policy.Cluster) {
	if m.flaps {
		p.AntiFlap = 0
	}
	if m.holds {
		p.Recover = false
	}
}

// picture breaks what is read from a server.
func (m mutant) picture(i *topology.Instance) *topology.Instance {
	if m.cut && i.Replication != nil {
		i.Replication.Received = gtid.Set{}
	}
	if y := &i.SemiSync; m.boasts && i.Replication == nil {
		y.SourceEnabled, y.SourceOn, y.Clients = true, true, len(i.Replicas)
	} else if m.boasts {
		y.ReplicaEnabled, y.ReplicaOn = true, true
	}
	if m.young {
		i.Uptime = 0
	}
	return i
}

// epoch breaks what a claim came to.
func (m mutant) epoch(before, after ledger.State, cmd ledger.Command) {
	if cmd.Kind() != (ledger.ClaimRecovery{}).Kind() || !m.shares && !m.backwards {
		return
	}
	c := after.Clusters[cluster]
	rec := after.Recoveries[c.Recovery]
	c.Epoch = before.Clusters[cluster].Epoch
	if m.backwards {
		c.Epoch.Number--
	} else {
		c.Revision = before.Clusters[cluster].Revision + 1
	}
	rec.Epoch = c.Epoch
	after.Clusters[cluster], after.Recoveries[rec.ID] = c, rec
}

// TestEveryRuleIsProven breaks each rule, and wants it to be found.
func TestEveryRuleIsProven(t *testing.T) {
	for _, c := range []struct {
		rule string
		m    mutant
	}{
		{ruleVerified, mutant{alwaysLeads: true}},
		{ruleLease, mutant{alwaysLeads: true, mute: []string{ruleVerified}}},
		{ruleOldFirst, mutant{confirms: true, lies: true}},
		{ruleTwoMasters, mutant{misroutes: true, lies: true, mute: []string{ruleOldFirst, ruleComplete}}},
		{ruleComplete, mutant{misroutes: true}},
		{ruleOutlast, mutant{impatient: true}},
		{ruleFenced, mutant{lies: true}},
		{ruleReceived, mutant{stale: true, mute: []string{ruleLiving}}},
		{ruleReceived, mutant{cut: true}},
		{ruleAcked, mutant{boasts: true}},
		{ruleAcked, mutant{empties: true}},
		{ruleLiving, mutant{echo: true}},
		{ruleCommitted, mutant{early: true}},
		{ruleAntiFlap, mutant{flaps: true}},
		{ruleRefusal, mutant{hasty: true}},
		{ruleByHand, mutant{young: true}},
		{ruleEpochs, mutant{backwards: true}},
		{ruleEpochOnce, mutant{shares: true}},
		{ruleOneWriter, mutant{shares: true, mute: []string{ruleEpochOnce}}},
		{ruleLive, mutant{holds: true}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			limit := uint64(400)
			if c.m.impatient {
				limit = 1500 // few worlds have leases, and of those few a master that is cut off for long
			}
			for seed := uint64(1); seed <= limit; seed++ {
				w, _ := play(t, seed, 0, c.m)
				switch {
				case w.check.rule == c.rule:
					t.Logf("found with seed %d, after %s: %s", seed, w.ran.Round(time.Millisecond), w.check.why)
					return
				case w.check.rule != "" && !slices.Contains(c.m.mute, w.check.rule):
					t.Logf("seed %d found another: %s: %s", seed, w.check.rule, w.check.why)
				}
			}
			t.Errorf("%d seeds have not found it", limit)
		})
	}
}
