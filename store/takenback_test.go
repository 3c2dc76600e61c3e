package store

import (
	"testing"
	"time"

	"switchyard/store/ledger"
)

// A removal that is taken back after raft has forgotten the controller has raft count it
// again: the ledger and raft must not end up counting different voters.
func TestARemovalThatIsTakenBackIsUndoneInRaftToo(t *testing.T) {
	c := newCrew(t, 3, 0, func(cfg *Config) { cfg.Settle = 24 * time.Hour })
	gone := others(c.all(), c.leader())[0].cfg.ID
	c.begin(ledger.RemoveController, ledger.Controller{ID: gone})
	eventually(t, "raft counts two", func() bool { return len(c.leader().Stats().Members) == 2 })
	if err := c.leader().UndoControllers(bounded(t), "a mistake"); err != nil {
		t.Fatal(err)
	}
	c.ends()
	c.count("c1", "c2", "c3")
}
