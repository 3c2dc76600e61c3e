//go:build servers

package scenarios_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/store/ledger"
)

// onDisk is a world whose master has its data on a file system of its own, and whose writes are tried.
func onDisk(t *testing.T, flavor stack.Flavor, recovery string) (*world, *stack.Disk) {
	t.Helper()
	w := newWorld(t, site.Options{Flavor: flavor, Disks: map[int]int{0: 400}, WriteProbe: true, Recovery: recovery})
	return w, w.Site.Disks[0]
}

// A master whose disk stalls answers, and takes no writes: it is reported, and failed over only where the operator said
// after how long. When the disk goes on, the writes that waited in it end on a server that is fenced.
func TestStalledWrites(t *testing.T) {
	t.Run("reported", func(t *testing.T) {
		w, disk := onDisk(t, stack.MariaDB, "{clusters: ['*'], failover_after: {full-disk: 1s}}")
		w.must(disk.Stall())
		holds(t, w.ctx, w.Site, "MasterStalledWrites", "sick-reported", 30*time.Second)
		w.must(disk.Resume())
		w.must(w.Load.WaitWriting(w.ctx, 200))
		until(t, w.ctx, 30*time.Second, "the master is well again", w.well)
		w.end(true)
	})
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor)+" failed over", func(t *testing.T) {
			w, disk := onDisk(t, flavor, "{clusters: ['*'], failover_after: {stalled-writes: 2s}}")
			w.must(disk.Stall())
			rec, winner := w.recovered(ledger.Completed)
			if rec.Finding != "MasterStalledWrites" || !rec.Automatic || rec.OldDead {
				t.Errorf("%+v", rec)
			}
			w.must(disk.Resume())
			w.outOfTheWay(winner)
			w.end(false, winner)
		})
	}
}

// A master whose disk is full is failed over where the operator said after how long; with space it is a replica again, or
// what it holds alone keeps it out.
func TestFullDisk(t *testing.T) {
	w, disk := onDisk(t, stack.MariaDB, "{clusters: ['*'], failover_after: {full-disk: 2s, stalled-writes: 2s}}")
	w.must(disk.Fill())
	rec, winner := w.recovered(ledger.Completed)
	if rec.Finding != "MasterFullDisk" && rec.Finding != "MasterStalledWrites" {
		t.Errorf("%+v", rec)
	}
	w.must(disk.Free())
	w.outOfTheWay(winner)
	w.end(false, winner)
}

// well fails while the leader finds anything.
func (w *world) well(ctx context.Context) error {
	e, err := w.Site.Explain(ctx)
	if err == nil && e.Verdict == wire.Hold && e.Reason != "no-problem" {
		err = fmt.Errorf("%s: %s", e.Finding, e.Sentence)
	}
	return err
}

// outOfTheWay waits until the old master, which answers again, takes no writes and is rejoined or quarantined.
func (w *world) outOfTheWay(winner *stack.Server) {
	w.t.Helper()
	old := w.Site.DB.Master
	until(w.t, w.ctx, 100*time.Second, "the old master is rejoined or quarantined", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		value, err := old.Value(ctx, "SELECT @@global.read_only")
		if err == nil && value == "0" {
			err = errors.New("it is writable")
		}
		if err != nil {
			return err
		}
		return standing(ctx, w.Site, old, string(wire.RoleReplica), string(wire.RoleQuarantined))
	})
	if winner == old {
		w.t.Errorf("%s was promoted again", old.Key())
	}
}
