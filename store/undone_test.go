package store

import (
	"context"
	"errors"
	"strings"
	"testing"

	"switchyard/store/ledger"
)

// TestAdditionTakenBack leaves one outside that knows it, after a start too.
func TestAdditionTakenBack(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3, 1, func(cfg *Config) {
		cfg.Progress = func(context.Context, ledger.Controller) (uint64, error) { return 0, errors.New("it cannot be asked") }
	})
	four := c.start("c4")
	c.begin(ledger.AddController, c.describe("c4", true))
	eventually(t, "it has the ledger", func() bool { return four.State().Controllers.Change != nil && four.Outside() == "" })
	eventually(t, "it is taken back", func() bool {
		err := c.leader().UndoControllers(bounded(t), "kim thought better of it")
		return err == nil || c.leader().State().Controllers.Change == nil
	})
	c.ends()
	c.count("c1", "c2", "c3")
	out := func() bool { return strings.Contains(four.Outside(), "was removed") }
	eventually(t, "it knows that it is out", out)
	c.stop("c4")
	four = c.start("c4")
	eventually(t, "it knows that it is out after a start", out)
	propose(t, c.leader(), adopt(1))
}
