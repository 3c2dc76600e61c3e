//go:build servers

package scenarios_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
)

// A datacenter without the master is cut off, and nothing changes; then that of the master is, with the leader in it: it
// stops itself, and the others go on.
func TestThreeDatacenters(t *testing.T) {
	w := newContinent(t, "failover", site.Options{})
	w.lead("c1")
	before := w.standing()
	w.lose(off(dc3)...)
	w.unmoved(before, dc1, dc2)
	w.heal()
	w.converged()
	w.same(before)
	w.lead("c1")
	rec := w.masterLost(off(dc1))
	w.isolated(rec)
	w.back()
}

// masterLost cuts ways by which the datacenter of the first master, dc1, is alone, and waits until another one has
// taken its place.
func (w *continent) masterLost(ways []stack.Way) wire.Recovery {
	w.t.Helper()
	old, rest := w.first, w.by("c2", "c3")
	w.lose(ways...)
	cutAt := time.Now()
	rec := rest.failedOver()
	winner, err := w.Server(rec.Winner.String())
	w.must(err)
	if winner == old || rec.Leader == "c1" {
		w.t.Errorf("%s was promoted by %s", rec.Winner, rec.Leader)
	}
	if !outlasted(rec) {
		w.t.Errorf("no step of the recovery says that the lease was outlasted: %+v", rec.Steps)
	}
	w.must(seenFrom(rec.Evidence, "c2: master", "c3: master"))
	w.writing(dc2, dc3)
	last, first := turn(old, winner, w.inside, w.apps[dc1], w.apps[dc2], w.apps[dc3])
	w.t.Logf("by %s: the old master's last write %s after the cut, the new one's first %s after it", rec.Leader,
		last.Sub(cutAt).Round(time.Millisecond), first.Sub(cutAt).Round(time.Millisecond))
	if first.IsZero() || !last.Before(first) {
		w.t.Errorf("the old master acknowledged a write %s after the new one's first", last.Sub(first))
	}
	stopped(w.t, w.ctx, old)
	return rec
}

// back heals, and waits until the old master has its place, and all is well.
func (w *continent) back() {
	w.t.Helper()
	w.heal()
	if !w.first.Running() { // its sidecar has killed it
		w.must(w.first.Start(w.ctx))
	}
	w.converged()
	w.until(30*time.Second, "the old master is read-only", func(ctx context.Context) error {
		value, err := w.first.Value(ctx, "SELECT @@global.read_only")
		if err == nil && value != "1" {
			err = errors.New("it is writable")
		}
		return err
	})
}

// failedOver waits until a failover has named another master. It goes on for as long as a proxy that is cut off may take.
func (w *continent) failedOver() (rec wire.Recovery) {
	w.t.Helper()
	w.until(150*time.Second, "a failover has named another master", func(ctx context.Context) error {
		list, err := w.Recoveries(ctx)
		if err != nil {
			return err
		}
		if len(list) == 0 || !list[0].Announced {
			e, err := w.Explain(ctx)
			return fmt.Errorf("the leader says: %s %s (%v): %+v", e.Verdict, e.ReasonSentence, err, list)
		}
		rec, err = w.Recovery(ctx, list[0].ID)
		return err
	})
	return rec
}

// isolated holds that the datacenter that was cut off has not acted: its controller leads nobody, and knows of no other
// master than the one before, as does its directory.
func (w *continent) isolated(rec wire.Recovery) {
	w.t.Helper()
	var status wire.Status
	var value string
	w.until(30*time.Second, "what is cut off tells what it knows", func(ctx context.Context) (err error) {
		if status, err = w.StatusOf(ctx, w.Controllers[0]); err == nil {
			value, err = w.Consuls[0].Get(ctx, "mysql/master/"+site.ClusterName)
		}
		return err
	})
	if status.State == "leader" || status.Leader == "c1" {
		w.t.Errorf("c1 leads, cut off: %+v", status)
	}
	for _, c := range status.Clusters {
		if c.Epoch.Compare(rec.Epoch) >= 0 {
			w.t.Errorf("c1 knows epoch %s, cut off", c.Epoch)
		}
	}
	if value != rec.Old.String() {
		w.t.Errorf("the directory that is cut off has %q", value)
	}
}

// seenFrom holds that a record's evidence has what each of these controllers saw.
func seenFrom(evidence []string, ids ...string) error {
	text := strings.Join(evidence, "\n")
	for _, id := range ids {
		if !strings.Contains("\n"+text, "\n"+id) {
			return errors.New("nothing of what " + id + " saw: " + text)
		}
	}
	return nil
}
