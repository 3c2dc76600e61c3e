//go:build servers

package scenarios_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchyard/controller/plan"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/store/ledger"
)

func TestCrash(t *testing.T) {
	for _, flavor := range flavors(t) {
		t.Run(string(flavor), func(t *testing.T) {
			w := newWorld(t, site.Options{Flavor: flavor})
			old := w.Site.DB.Master
			w.must(old.Kill())
			rec, winner := w.recovered(ledger.Completed)
			// Whether it is called proven dead depends on when each controller looked: one may see the dying process reset it.
			// On a busy machine, a replica may not have answered in time either.
			if !strings.HasPrefix(rec.Finding, "DeadMaster") || !rec.Automatic {
				t.Errorf("%+v", rec)
			}
			consulNames(t, w.ctx, w.Site, winner)
			for _, replica := range w.Site.DB.Replicas {
				if replica != winner {
					follows(t, w.ctx, replica, winner)
				}
			}
			w.end(false, winner)

			w.must(old.Start(w.ctx))
			// What the crashed master committed alone, if anything, keeps it out.
			until(t, w.ctx, 30*time.Second, "the old master is rejoined or quarantined", func(ctx context.Context) error {
				value, err := old.Value(ctx, "SELECT @@global.read_only")
				if err == nil && value != "1" {
					err = errors.New("it is writable")
				}
				if err != nil {
					return err
				}
				return standing(ctx, w.Site, old, "replica", "quarantined")
			})
		})
	}
}

// standing fails unless the server has one of the roles in the topology.
func standing(ctx context.Context, s *site.Site, server *stack.Server, roles ...string) error {
	topology, err := s.Topology(ctx)
	if err != nil {
		return err
	}
	for _, n := range topology.Nodes {
		if n.Key.String() != server.Key() {
			continue
		}
		for _, role := range roles {
			if string(n.Role) == role {
				return nil
			}
		}
		return fmt.Errorf("it is %s: %s %s", n.Role, n.Status, n.Reason)
	}
	return fmt.Errorf("%s is not in the topology", server.Key())
}

func TestSemiSyncLosesNothing(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		for _, fault := range []string{"crash", "freeze"} {
			t.Run(string(flavor)+" "+fault, func(t *testing.T) {
				w := newWorld(t, site.Options{Flavor: flavor, SemiSync: true})
				old := w.Site.DB.Master
				if fault == "crash" {
					w.must(old.Kill())
				} else {
					w.must(old.Freeze())
				}
				rec, winner := w.recovered(ledger.Completed)
				if !strings.Contains(rec.Durability, "no acknowledged write is lost") {
					t.Errorf("it is not said to be proven: %q", rec.Durability)
				}
				if fault == "freeze" {
					w.must(old.Thaw())
					w.settle(old)
				}
				w.end(true, winner)
			})
		}
	}
}

// settle waits until a thawed semi-sync master is out of the way. On MySQL nothing ends a commit that waits for its
// acknowledgement, and read-only waits behind it: then the status says so, nothing is acknowledged there, and a restart
// by its operator lets it be compared.
func (w *world) settle(old *stack.Server) {
	w.t.Helper()
	stuck := false
	until(w.t, w.ctx, 30*time.Second, "the thawed master is rejoined or quarantined, or its fence is reported", func(ctx context.Context) error {
		err := standing(ctx, w.Site, old, "replica", "quarantined")
		if err == nil {
			return nil
		}
		status, statusErr := w.Site.Status(ctx)
		if statusErr == nil && old.Flavor() == stack.MySQL {
			stuck = mentions(status.Problems, "fence "+old.Key())
		}
		if stuck {
			return nil
		}
		return errors.Join(err, statusErr)
	})
	if !stuck {
		return
	}
	w.must(old.Restart(w.ctx))
	until(w.t, w.ctx, 60*time.Second, "the restarted master is rejoined or quarantined", func(ctx context.Context) error {
		return standing(ctx, w.Site, old, "replica", "quarantined")
	})
}

func TestFreezeAndThaw(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			w := newWorld(t, site.Options{Flavor: flavor})
			old := w.Site.DB.Master
			w.must(old.Freeze())
			rec, winner := w.recovered(ledger.Completed)
			if rec.OldDead {
				t.Error("a frozen master was called proven dead")
			}
			w.must(old.Thaw())
			until(t, w.ctx, 30*time.Second, "the thawed master is read-only, and rejoined or quarantined", func(ctx context.Context) error {
				value, err := old.Value(ctx, "SELECT @@global.read_only")
				if err == nil && value != "1" {
					err = errors.New("it is writable")
				}
				if err != nil {
					return err
				}
				return standing(ctx, w.Site, old, "replica", "quarantined")
			})
			w.end(false, winner)
		})
	}
}

func TestSwitchover(t *testing.T) {
	for _, flavor := range flavors(t) {
		for _, semiSync := range []bool{false, true} {
			if semiSync && flavor == stack.MySQL56 {
				continue // its archive has no semi-sync plugins
			}
			t.Run(fmt.Sprintf("%s semi-sync %v", flavor, semiSync), func(t *testing.T) {
				w := newWorld(t, site.Options{Flavor: flavor, SemiSync: semiSync})
				old, target := w.Site.DB.Master, w.Site.DB.Replicas[1]
				rec, err := switchover(w.ctx, w.Site, target)
				w.must(err)
				if rec.Winner.String() != target.Key() {
					t.Fatalf("%+v", rec)
				}
				w.must(w.Load.WaitWriting(w.ctx, 200))
				consulNames(t, w.ctx, w.Site, target)
				for _, replica := range []*stack.Server{old, w.Site.DB.Replicas[0]} {
					follows(t, w.ctx, replica, target)
				}
				// Nothing may be lost when the old master lives, and back again, as soon
				// as it was found to hold nothing extra.
				until(t, w.ctx, 30*time.Second, "the old master is a replica in good standing", func(ctx context.Context) error {
					return standing(ctx, w.Site, old, "replica")
				})
				_, err = switchover(w.ctx, w.Site, old)
				w.must(err)
				w.must(w.Load.WaitWriting(w.ctx, 200))
				w.end(true, target, old)
			})
		}
	}
}

// The leader is killed before each step of the plan; the next one finishes.
func TestLeaderDiesBeforeEachStep(t *testing.T) {
	for _, step := range plan.Build(ledger.Failover, false, false).Steps() {
		t.Run(string(step), func(t *testing.T) {
			once := filepath.Join(t.TempDir(), "stopped")
			w := newWorld(t, site.Options{
				Env: []string{"SWITCHYARD_STOP_BEFORE=" + string(step), "SWITCHYARD_STOP_ONCE=" + once},
			}, "stoppoints")
			leader, err := w.Site.Leader(w.ctx)
			w.must(err)
			w.must(w.Site.DB.Master.Kill())
			rec, winner := w.recovered(ledger.Completed)
			if leader.Running() {
				t.Errorf("the leader %s was not stopped before %s", leader.ID, step)
			}
			if rec.Leader == leader.ID {
				t.Errorf("the recovery was not carried on by another: %+v", rec)
			}
			w.end(false, winner)
		})
	}
}

// A switchover whose leader dies is finished or undone by the next one.
func TestLeaderDiesInSwitchover(t *testing.T) {
	for _, step := range []plan.Name{plan.Demote, plan.Promote, plan.Route} {
		t.Run(string(step), func(t *testing.T) {
			once := filepath.Join(t.TempDir(), "stopped")
			w := newWorld(t, site.Options{
				Env: []string{"SWITCHYARD_STOP_BEFORE=" + string(step), "SWITCHYARD_STOP_ONCE=" + once},
			}, "stoppoints")
			old := w.Site.DB.Master
			if _, err := w.Site.Switchover(w.ctx, ""); err == nil {
				t.Error("the switchover was answered by a leader that is dead")
			}
			rec, err := w.Recovered(w.ctx)
			w.must(err)
			winner, err := w.Winner(rec)
			w.must(err)
			if winner == old {
				w.end(true)
			} else {
				w.end(true, winner)
			}
		})
	}
}

func TestConsulDownDuringFailover(t *testing.T) {
	w := newWorld(t, site.Options{})
	w.must(w.Site.Consul.Kill())
	w.must(w.Site.DB.Master.Kill())
	_, winner := w.recovered(ledger.Completed)
	w.end(false, winner)
	w.must(w.Site.Consul.Start(w.ctx))
	consulNames(t, w.ctx, w.Site, winner)
}

func TestConsulHangsDuringFailover(t *testing.T) {
	w := newWorld(t, site.Options{})
	w.must(w.Site.Consul.Freeze())
	w.must(w.Site.DB.Master.Kill())
	_, winner := w.recovered(ledger.Completed)
	report := w.end(false, winner)
	if report.Outage > 20*time.Second {
		t.Errorf("Consul held the failover up: %v", report.Outage)
	}
	w.must(w.Site.Consul.Thaw())
	consulNames(t, w.ctx, w.Site, winner)
}

// A restarted HAProxy serves nobody until it is told, and is told soon.
func TestHAProxyRestartedAfterFailover(t *testing.T) {
	w := newWorld(t, site.Options{Proxies: 2})
	w.must(w.Site.DB.Master.Kill())
	_, winner := w.recovered(ledger.Completed)
	w.must(w.Site.Proxies[0].Restart(w.ctx))
	begun := time.Now()
	w.must(w.Load.WaitWriting(w.ctx, 50))
	t.Logf("served %v after the restart", time.Since(begun).Round(time.Millisecond))
	w.end(false, winner) // nothing may have been written anywhere else meanwhile
}
