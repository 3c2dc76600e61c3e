//go:build servers

package scenarios_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/store/ledger"
)

// TestSalvage crashes masters that replicate asynchronously, under a write load: nothing that was acknowledged is
// lost, and the old master holds nothing of its own when it comes back. SALVAGE_CRASHES is how often each flavor's
// crashes; every other time no replica has received the last writes before the crash.
func TestSalvage(t *testing.T) {
	crashes := 1
	if text := os.Getenv("SALVAGE_CRASHES"); text != "" {
		var err error
		if crashes, err = strconv.Atoi(text); err != nil || crashes < 1 {
			t.Fatalf("SALVAGE_CRASHES is %q; want a number from 1", text)
		}
	}
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		for n := range crashes {
			t.Run(fmt.Sprint(flavor, n+1), func(t *testing.T) { salvage(t, flavor, n%2 == 0) })
		}
	}
}

func salvage(t *testing.T, flavor stack.Flavor, deaf bool) {
	w := newWorld(t, site.Options{Flavor: flavor, DatabaseSidecars: &site.DatabaseSidecars{Binlog: true},
		// A machine that is busy with others is no reason to give up.
		Recovery: "{clusters: ['*'], salvage_timeout: 20s}"})
	old := w.Site.DB.Master
	if deaf {
		for _, replica := range w.Site.DB.Replicas {
			w.must(replica.Exec(w.ctx, stopReceiver(flavor)))
		}
		acked := len(w.Load.Acked())
		until(t, w.ctx, 20*time.Second, "writes are acknowledged that no replica receives", func(context.Context) error {
			if more := len(w.Load.Acked()) - acked; more < 50 {
				return fmt.Errorf("%d so far", more)
			}
			return nil
		})
	}
	w.must(old.Kill())
	rec, winner := w.recovered(ledger.Completed)
	note := ""
	for _, step := range rec.Steps {
		if step.Name == "salvage" {
			note = step.Note
		}
	}
	t.Logf("salvage: %s\ndurability: %s", note, rec.Durability)
	if !strings.HasPrefix(rec.Durability, "no acknowledged write is lost: ") {
		t.Error("it is not said to be proven")
	}
	if deaf && !strings.Contains(note, "it has taken the ") {
		t.Error("nothing was taken")
	}
	w.end(true, winner)

	w.must(old.Start(w.ctx))
	until(t, w.ctx, 60*time.Second, "the old master is rejoined", func(ctx context.Context) error {
		return standing(ctx, w.Site, old, "replica")
	})
	follows(t, w.ctx, old, winner)
}
