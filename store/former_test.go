package store

import (
	"slices"
	"testing"
	"time"

	"switchyard/store/ledger"
)

// Two controllers that were replaced, and come back with empty directories and the
// files of before, are a majority of those files: they must not act as leaders beside
// the controllers that there are.
func TestFormerControllersFoundNoLedgerOfTheirOwn(t *testing.T) {
	c := newCrew(t, 3, 2)
	c.leader()
	for _, id := range []string{"c4", "c5"} {
		c.start(id)
		c.change(ledger.AddController, c.describe(id, true))
	}
	for _, id := range []string{"c2", "c3"} {
		c.change(ledger.RemoveController, ledger.Controller{ID: id})
		c.stop(id)
	}
	c.count("c1", "c4", "c5")
	propose(t, c.leader(), adopt(1))
	var former []*Store
	for _, id := range []string{"c2", "c3"} {
		cfg := c.cfgs[id]
		cfg.DataDir = t.TempDir()
		former = append(former, open(t, cfg))
	}
	eventually(t, "the one that they elect is told that it was removed", func() bool {
		return slices.ContainsFunc(former, func(s *Store) bool { return s.elected() && s.expelled() != "" })
	})
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for _, s := range former {
			if s.IsLeader() || s.VerifyLeader(bounded(t)) == nil || s.Propose(bounded(t), adopt(2)) == nil {
				t.Fatalf("%s leads a ledger of its own; outside: %q", s.cfg.ID, s.Outside())
			}
		}
	}
}
