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

// receiver starts or stops a replica's receiver, and leaves its applier alone.
func receiver(t *testing.T, ctx context.Context, replica *stack.Server, on bool) {
	t.Helper()
	verb, noun := "STOP", "SLAVE"
	if on {
		verb = "START"
	}
	if replica.Flavor() == stack.MySQL {
		noun = "REPLICA"
	}
	if err := replica.Exec(ctx, verb+" "+noun+" IO_THREAD"); err != nil {
		t.Fatal(err)
	}
}

// ahead lets the master write what only some of its replicas receive.
func ahead(t *testing.T, ctx context.Context, s *site.Site, behind ...*stack.Server) {
	t.Helper()
	for _, replica := range behind {
		receiver(t, ctx, replica, false)
	}
	if err := s.DB.Master.Exec(ctx, "CREATE TABLE app.late (id INT PRIMARY KEY)", "INSERT INTO app.late VALUES (1), (2)"); err != nil {
		t.Fatal(err)
	}
	for _, replica := range s.DB.Replicas {
		lags := false
		for _, b := range behind {
			lags = lags || b == replica
		}
		if lags {
			continue
		}
		if err := stack.WaitCaughtUp(ctx, replica, s.DB.Master); err != nil {
			t.Fatal(err)
		}
	}
}

// relocated waits for a relocation of a dead intermediate master to end.
func relocated(t *testing.T, ctx context.Context, s *site.Site) wire.Recovery {
	t.Helper()
	var done wire.Recovery
	until(t, ctx, 60*time.Second, "a relocation has ended", func(ctx context.Context) error {
		list, err := s.Recoveries(ctx)
		if err != nil {
			return err
		}
		for _, rec := range list {
			if rec.Kind == ledger.Relocate && !rec.Open() {
				done, err = s.Recovery(ctx, rec.ID)
				return err
			}
		}
		e, err := s.Explain(ctx)
		return fmt.Errorf("%d recoveries, none of them a relocation; the leader says %+v (%v)", len(list), e, err)
	})
	return done
}

// The replicas of a dead intermediate master get another source; the master and
// who is served stay as they are. In the twin nobody has opted in.
func TestDeadIntermediateMaster(t *testing.T) {
	below := map[int]int{2: 1, 3: 1, 4: 1}
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			w := newWorld(t, site.Options{
				Flavor: flavor, Replicas: 4, Below: below, Recovery: "{clusters: ['*'], intermediate_clusters: ['*']}",
			})
			before, err := w.Site.Cluster(w.ctx)
			w.must(err)
			w.must(w.Site.DB.Replicas[0].Kill())
			rec := relocated(t, w.ctx, w.Site)
			if rec.Outcome != ledger.Completed || rec.Finding != "DeadIntermediateMaster" || len(rec.Lost) != 0 {
				t.Errorf("%+v", rec)
			}
			for _, orphan := range w.Site.DB.Replicas[1:] {
				until(t, w.ctx, 30*time.Second, orphan.Key()+" receives again", func(ctx context.Context) error {
					status, err := orphan.ReplicaStatus(ctx)
					if err == nil && (!status.Running() || status.SourceHost == w.Site.DB.Replicas[0].Host()) {
						err = fmt.Errorf("%+v", status)
					}
					if err != nil {
						return err
					}
					return stack.WaitCaughtUp(ctx, orphan, w.Site.DB.Master)
				})
			}
			after, err := w.Site.Cluster(w.ctx)
			w.must(err)
			if after.Epoch != before.Epoch {
				t.Errorf("the epoch moved from %s to %s", before.Epoch, after.Epoch)
			}
			if report := w.end(true); report.Outage > 20*time.Second {
				t.Errorf("the application noticed: %v", report.Outage)
			}
		})
	}
	t.Run("not opted in", func(t *testing.T) {
		ctx, s := newSite(t, site.Options{Replicas: 3, Below: map[int]int{2: 1, 3: 1}})
		if err := s.DB.Replicas[0].Kill(); err != nil {
			t.Fatal(err)
		}
		until(t, ctx, 30*time.Second, "the finding is explained", func(ctx context.Context) error {
			e, err := s.Explain(ctx)
			if err != nil {
				return err
			}
			for _, other := range e.Others {
				if other.Finding == "DeadIntermediateMaster" && other.Verdict == wire.Hold && other.Reason == "recovery-disabled" {
					return nil
				}
			}
			return fmt.Errorf("%+v", e.Others)
		})
		if list, err := s.Recoveries(ctx); err != nil || len(list) != 0 {
			t.Errorf("%v, %v", list, err)
		}
	})
}

// Of two co-masters the writable one dies, and the other takes over.
func TestDeadCoMaster(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			w := newWorld(t, site.Options{Flavor: flavor, CoMaster: true})
			old := w.Site.DB.Master
			w.must(old.Kill())
			rec, winner := w.recovered(ledger.Completed)
			if rec.Finding != "DeadCoMaster" || winner != w.Site.DB.Replicas[0] {
				t.Errorf("%s: %s was promoted", rec.Finding, winner.Key())
			}
			follows(t, w.ctx, w.Site.DB.Replicas[1], winner)
			w.end(false, winner)
			w.must(old.Start(w.ctx))
			until(t, w.ctx, 60*time.Second, "the old master is rejoined or quarantined", func(ctx context.Context) error {
				return standing(ctx, w.Site, old, "replica", "quarantined")
			})
		})
	}
}

// The most advanced replica must not be the master: it hands what it has to one
// that may. In the twin it cannot pass on what it has, as it does not log what it
// applies, and nobody is promoted.
func TestTwoStepPromotion(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			ctx, s := newSite(t, site.Options{Flavor: flavor, Configure: func(db *stack.Cluster) (string, string) {
				return "", fmt.Sprintf("promotion_rules: {%q: must_not}", db.Replicas[0].Key())
			}})
			ahead(t, ctx, s, s.DB.Replicas[1])
			if err := s.DB.Master.Kill(); err != nil {
				t.Fatal(err)
			}
			rec := acts(t, ctx, s)
			if rec.Winner.String() != s.DB.Replicas[1].Key() || rec.Via.String() != s.DB.Replicas[0].Key() {
				t.Errorf("%s was promoted via %s", rec.Winner, rec.Via)
			}
			if got, err := s.DB.Replicas[1].Value(ctx, "SELECT COUNT(*) FROM app.late"); err != nil || got != "2" {
				t.Errorf("the winner has %s rows of what only the other one had: %v", got, err)
			}
			follows(t, ctx, s.DB.Replicas[0], s.DB.Replicas[1])
		})
		t.Run(string(flavor)+" that cannot pass on", func(t *testing.T) {
			ctx, s := newSite(t, site.Options{
				Flavor: flavor, Each: map[int]map[string]string{1: {unlogged(flavor): "OFF"}},
			})
			ahead(t, ctx, s, s.DB.Replicas[1])
			if err := s.DB.Master.Kill(); err != nil {
				t.Fatal(err)
			}
			e := holds(t, ctx, s, "DeadMaster", "ahead-not-promotable", 20*time.Second)
			if !mentions([]string{e.ReasonSentence}, s.DB.Replicas[0].Key()) {
				t.Errorf("the reason names nobody: %s", e.ReasonSentence)
			}
		})
	}
}

func unlogged(flavor stack.Flavor) string {
	if flavor == stack.MySQL {
		return "log_replica_updates"
	}
	return "log_slave_updates"
}

// No replica is in the master's datacenter, and the policy forbids to leave it.
// In the twin one is, and it is promoted though another holds as much.
func TestCrossDatacenter(t *testing.T) {
	place := func(master, first, second string) func(db *stack.Cluster) (string, string) {
		return func(db *stack.Cluster) (string, string) {
			return fmt.Sprintf("discovery: {datacenters: {%q: %s, %q: %s, %q: %s}}", db.Master.Key(), master,
				db.Replicas[0].Key(), first, db.Replicas[1].Key(), second), "prevent_cross_datacenter: true"
		}
	}
	t.Run("refused", func(t *testing.T) {
		ctx, s := newSite(t, site.Options{Configure: place("east", "west", "west")})
		if err := s.DB.Master.Kill(); err != nil {
			t.Fatal(err)
		}
		holds(t, ctx, s, "DeadMaster", "no-candidate", 20*time.Second)
		for _, replica := range s.DB.Replicas {
			if status, err := replica.ReplicaStatus(ctx); err != nil || status.SourceHost != s.DB.Master.Host() || status.SQL != "Yes" {
				t.Errorf("%s was moved: %+v, %v", replica.Key(), status, err)
			}
		}
	})
	t.Run("allowed", func(t *testing.T) {
		ctx, s := newSite(t, site.Options{Configure: place("east", "west", "east")})
		if err := s.DB.Master.Kill(); err != nil {
			t.Fatal(err)
		}
		if rec := acts(t, ctx, s); rec.Winner.String() != s.DB.Replicas[1].Key() {
			t.Errorf("%s was promoted", rec.Winner)
		}
	})
}

// A winner with a long relay log applies all of it before it takes a write, and
// nothing that was acknowledged is lost.
func TestLongRelayLog(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			w := newWorld(t, site.Options{Flavor: flavor, SemiSync: true})
			var unlock []func() error
			for _, replica := range w.Site.DB.Replicas {
				conn, err := replica.Root().Conn(w.ctx)
				w.must(err)
				_, err = conn.ExecContext(w.ctx, "LOCK TABLES app.writes READ")
				w.must(err)
				unlock = append(unlock, func() error {
					_, err := conn.ExecContext(w.ctx, "UNLOCK TABLES")
					return errors.Join(err, conn.Close())
				})
			}
			w.must(w.Load.WaitWriting(w.ctx, 2000))
			w.must(w.Site.DB.Master.Kill())
			until(t, w.ctx, 30*time.Second, "a winner waits for its relay log", func(ctx context.Context) error {
				list, err := w.Site.Recoveries(ctx)
				if err != nil {
					return err
				}
				if len(list) == 0 || list[0].Winner.IsZero() {
					return errors.New("none is chosen")
				}
				if !list[0].Open() {
					t.Fatalf("%s ended though nothing was applied: %+v", list[0].ID, list[0])
				}
				return nil
			})
			for _, replica := range w.Site.DB.Replicas {
				if value, err := replica.Value(w.ctx, "SELECT @@GLOBAL.read_only"); err != nil || value != "1" {
					t.Errorf("%s takes writes before it has applied what it received: read_only %s, %v", replica.Key(), value, err)
				}
			}
			for _, release := range unlock {
				w.must(release())
			}
			rec, winner := w.recovered(ledger.Completed)
			if rec.Durability == "" {
				t.Errorf("nothing is said of what is lost: %+v", rec)
			}
			w.end(true, winner)
		})
	}
}
