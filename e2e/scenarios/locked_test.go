//go:build servers

package scenarios_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"switchyard/e2e/site"
	"switchyard/e2e/stack"
)

// A semi-sync master whose replicas acknowledge no more is locked. It is named,
// and put right where the operator wants that.
func TestLockedSemiSyncMaster(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			w := newWorld(t, site.Options{
				Flavor: flavor, SemiSync: true, Recovery: "{clusters: ['*'], locked_after: 2s, semi_sync_repair: enough}",
				// The application comes again and again; the replicas must still find room.
				ServerOptions: map[string]string{"max_connections": "3000"},
			})
			variable, noun := "rpl_semi_sync_slave_enabled", "SLAVE"
			if flavor == stack.MySQL {
				variable, noun = "rpl_semi_sync_replica_enabled", "REPLICA"
			}
			for _, replica := range w.Site.DB.Replicas {
				w.must(replica.Exec(w.ctx, "SET GLOBAL "+variable+" = OFF", "STOP "+noun+" IO_THREAD", "START "+noun+" IO_THREAD"))
			}
			until(t, w.ctx, 30*time.Second, "writes go on, as a replica was told to acknowledge", func(ctx context.Context) error {
				for _, replica := range w.Site.DB.Replicas {
					value, err := replica.Value(ctx, "SELECT @@GLOBAL."+variable)
					if err != nil {
						return err
					}
					if value == "1" {
						return nil
					}
				}
				return errors.New("none was")
			})
			w.must(w.Load.WaitWriting(w.ctx, 200))
			if list, err := w.Site.Recoveries(w.ctx); err != nil || len(list) != 0 {
				t.Errorf("it was recovered otherwise: %v, %v", list, err)
			}
			report := w.end(true)
			if report.Acked == 0 {
				t.Error("nothing was written")
			}
		})
	}
	t.Run("reported", func(t *testing.T) {
		w := newWorld(t, site.Options{SemiSync: true, Recovery: "{clusters: ['*'], locked_after: 1s}"})
		for _, replica := range w.Site.DB.Replicas {
			w.must(replica.Exec(w.ctx, "SET GLOBAL rpl_semi_sync_slave_enabled = OFF", "STOP SLAVE IO_THREAD", "START SLAVE IO_THREAD"))
		}
		until(t, w.ctx, 30*time.Second, "the master is called locked", func(ctx context.Context) error {
			e, err := w.Site.Explain(ctx)
			if err == nil && e.Finding != "LockedSemiSyncMaster" {
				err = fmt.Errorf("%s: %s", e.Finding, e.Sentence)
			}
			return err
		})
		w.end(true)
	})
}
