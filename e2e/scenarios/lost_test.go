//go:build servers

package scenarios_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"switchyard/e2e/site"
	"switchyard/store/ledger"
)

// A replica that no controller reaches at the failover is lost in it: it waits in downtime, and is shown. Reached
// again, it follows the new master and the downtime ends; one with a transaction of its own is detached, and stays in
// downtime.
func TestLostReplica(t *testing.T) {
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprintf("with a transaction of its own %v", own), func(t *testing.T) {
			ctx, s := newSite(t, site.Options{ControllerGID: cutGroup})
			lost := s.DB.Replicas[1]
			mend := cut(t, lost, "owner", "--gid-owner", strconv.Itoa(cutGroup))
			until(t, ctx, 20*time.Second, "no controller reaches it", func(ctx context.Context) error {
				n, err := node(ctx, s, lost)
				if err == nil && n.Status != "unreachable" {
					err = fmt.Errorf("%+v", n)
				}
				return err
			})
			if own {
				errant(t, ctx, lost)
			}
			if err := s.DB.Master.Kill(); err != nil {
				t.Fatal(err)
			}
			rec := acts(t, ctx, s)
			winner := s.DB.Replicas[0]
			if rec.Winner.String() != winner.Key() || rec.Kind != ledger.Failover {
				t.Errorf("%+v", rec)
			}
			if len(rec.Lost) != 1 || rec.Lost[0].String() != lost.Key() {
				t.Errorf("lost are %v", rec.Lost)
			}
			until(t, ctx, 20*time.Second, "it is in downtime", func(ctx context.Context) error {
				n, err := node(ctx, s, lost)
				if err == nil && (!n.Lost || n.Downtime == nil || n.Downtime.Reason != ledger.LostInRecovery) {
					err = fmt.Errorf("%+v", n)
				}
				return err
			})
			mend()
			if !own {
				follows(t, ctx, lost, winner)
				until(t, ctx, 30*time.Second, "its downtime has ended", func(ctx context.Context) error {
					n, err := node(ctx, s, lost)
					if err == nil && (n.Lost || n.Downtime != nil) {
						err = fmt.Errorf("%+v", n)
					}
					return err
				})
				return
			}
			until(t, ctx, 60*time.Second, "what it has alone is shown, and it follows nobody", func(ctx context.Context) error {
				status, err := lost.ReplicaStatus(ctx)
				if err != nil {
					return err
				}
				n, err := node(ctx, s, lost)
				if err == nil && (n.Status == "unreachable" || n.Errant == "" || status.Running() || !n.Lost || n.Downtime == nil) {
					err = errors.New("not yet")
				}
				if err != nil {
					return fmt.Errorf("%w: %+v, %+v", err, n, status)
				}
				return nil
			})
		})
	}
}
