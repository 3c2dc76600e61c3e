//go:build servers

package scenarios_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/store/ledger"
)

// TestControllerIsReplaced adds a fourth controller and removes the first, which
// leads; with one more of them dead, the master's crash is survived: a majority of
// those that there are now has seen it.
func TestControllerIsReplaced(t *testing.T) {
	w := newWorld(t, site.Options{Flavor: stack.MariaDB})
	four, err := w.Site.Join(w.ctx, "c4")
	w.must(err)
	kim := wire.Asker{By: "kim", Reason: "a new rack"}
	change := func(request wire.ControllersRequest) (all wire.Controllers) {
		t.Helper()
		ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
		defer cancel()
		request.Asker = kim
		all, err := w.Site.ChangeControllers(ctx, request)
		w.must(err)
		return all
	}
	change(wire.ControllersRequest{Change: wire.AddController, ID: four.ID, Raft: four.Raft(), API: four.URL, DataCenter: w.Site.Datacenter(four.ID)})
	leader, err := w.Site.Leader(w.ctx)
	w.must(err)
	all := change(wire.ControllersRequest{Change: wire.RemoveController, ID: leader.ID})
	var voters []string
	for _, c := range all.Controllers {
		if c.Role == wire.Voter {
			voters = append(voters, c.ID)
		}
	}
	if len(voters) != 3 || slices.Contains(voters, leader.ID) || !slices.Contains(voters, four.ID) || all.Leader == leader.ID {
		t.Fatalf("%v vote, and %s leads, after %s was removed", voters, all.Leader, leader.ID)
	}
	w.must(leader.Stop(w.ctx))
	for _, c := range w.Site.Controllers {
		if c != leader && c != four && c.ID != all.Leader {
			w.must(c.Kill())
			break
		}
	}
	until(t, w.ctx, 30*time.Second, "a leader that sees the cluster", func(ctx context.Context) error {
		status, err := w.Site.Status(ctx)
		if err == nil && (len(status.Clusters) == 0 || status.Leader == "") {
			err = fmt.Errorf("%+v", status.Problems)
		}
		return err
	})

	w.must(w.Site.DB.Master.Kill())
	rec, winner := w.recovered(ledger.Completed)
	if !rec.Automatic {
		t.Errorf("%+v", rec)
	}
	consulNames(t, w.ctx, w.Site, winner)
	w.end(false, winner)
}
