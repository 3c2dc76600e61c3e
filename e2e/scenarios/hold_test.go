//go:build servers

package scenarios_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/store/ledger"
)

// errant makes a transaction of a replica's own.
func errant(t *testing.T, ctx context.Context, s *stack.Server) {
	t.Helper()
	if err := s.Exec(ctx, "CREATE DATABASE alone_"+strconv.Itoa(int(s.ServerID()))); err != nil {
		t.Fatal(err)
	}
}

// Two replicas that each hold what the other lacks: any choice would lose
// something. In the twin only one does, and it is promoted.
func TestIncomparableSets(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor)+" both", func(t *testing.T) {
			ctx, s := newSite(t, site.Options{Flavor: flavor})
			errant(t, ctx, s.DB.Replicas[0])
			errant(t, ctx, s.DB.Replicas[1])
			if err := s.DB.Master.Kill(); err != nil {
				t.Fatal(err)
			}
			e := holds(t, ctx, s, "DeadMaster", "incomparable-gtid", 20*time.Second)
			if !mentions([]string{e.ReasonSentence}, s.DB.Replicas[0].Key()) {
				t.Errorf("the reason names nobody: %s", e.ReasonSentence)
			}
		})
		t.Run(string(flavor)+" one", func(t *testing.T) {
			ctx, s := newSite(t, site.Options{Flavor: flavor})
			errant(t, ctx, s.DB.Replicas[1])
			if err := s.DB.Master.Kill(); err != nil {
				t.Fatal(err)
			}
			if rec := acts(t, ctx, s); rec.Winner.String() != s.DB.Replicas[1].Key() {
				t.Errorf("%s was promoted", rec.Winner)
			}
		})
	}
}

// All replicas are dead too. In the twin one of them lives.
func TestAllReplicasDead(t *testing.T) {
	ctx, s := newSite(t, site.Options{})
	for _, server := range append(s.DB.Replicas, s.DB.Master) {
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	holds(t, ctx, s, "DeadMasterAndReplicas", "all-replicas-dead", 20*time.Second)
	// The twin: one of them comes back.
	if err := s.DB.Replicas[1].Start(ctx); err != nil {
		t.Fatal(err)
	}
	if rec := acts(t, ctx, s); rec.Winner.String() != s.DB.Replicas[1].Key() || rec.Finding != "DeadMasterAndSomeReplicas" {
		t.Errorf("%s: %s was promoted", rec.Finding, rec.Winner)
	}
}

// The controllers are cut off from the master, and its replicas are not: it
// lives. In the twin the replicas are cut off from it too, and the policy for
// such a master is failover.
func TestControllersCutOffFromMaster(t *testing.T) {
	ctx, s := newSite(t, site.Options{ControllerGID: cutGroup})
	cut(t, s.DB.Master, "owner", "--gid-owner", strconv.Itoa(cutGroup))
	holds(t, ctx, s, "UnreachableMaster", "replicas-replicating", 20*time.Second)
}

// Everybody is cut off from the master: it may live on. In the twin the
// operator has said to fail over such a master.
func TestEverybodyCutOffFromMaster(t *testing.T) {
	t.Run("hold", func(t *testing.T) {
		ctx, s := newSite(t, site.Options{})
		cut(t, s.DB.Master)
		holds(t, ctx, s, "DeadMaster", "master-cut-off", 30*time.Second)
	})
	t.Run("failover", func(t *testing.T) {
		ctx, s := newSite(t, site.Options{Recovery: "{clusters: ['*'], partition: failover}"})
		cut(t, s.DB.Master)
		acts(t, ctx, s)
	})
}

// cutGroup is a group that no other process of the machine has.
const cutGroup = 54321

// cut drops what is sent to a server's loopback address until the test ends: by
// those that match, or, where nothing is said, by everybody, and what the server
// sends too. The function that it returns ends the cut earlier.
func cut(t *testing.T, server *stack.Server, match ...string) (mend func()) {
	t.Helper()
	end, err := stack.Cut(server.Host(), match...)
	if err != nil {
		t.Fatal(err)
	}
	mend = func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(mend)
	return mend
}

// A clean shutdown of MySQL is waited for; who comes back in time keeps its
// place, and who does not is replaced. MariaDB closes its connections in a clean
// shutdown as a crash does, so that it is replaced at once.
func TestCleanRestart(t *testing.T) {
	t.Run("mysql in time", func(t *testing.T) {
		ctx, s := newSite(t, site.Options{Flavor: stack.MySQL, Recovery: "{clusters: ['*'], restart_grace: 60s}"})
		if err := s.DB.Master.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		holds(t, ctx, s, "MasterRestarting", "restart-grace", 20*time.Second)
		if err := s.DB.Master.Start(ctx); err != nil {
			t.Fatal(err)
		}
		// It boots read-only, as every server should, and is made writable since it is the master.
		rec := acts(t, ctx, s)
		if rec.Kind != ledger.Reinstate || rec.Winner.String() != s.DB.Master.Key() {
			t.Errorf("%+v", rec)
		}
		if value, err := s.DB.Master.Value(ctx, "SELECT @@global.read_only"); err != nil || value != "0" {
			t.Errorf("read_only is %s: %v", value, err)
		}
	})
	t.Run("mysql too late", func(t *testing.T) {
		ctx, s := newSite(t, site.Options{Flavor: stack.MySQL, Recovery: "{clusters: ['*'], restart_grace: 1s}"})
		if err := s.DB.Master.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		acts(t, ctx, s)
	})
	t.Run("mariadb", func(t *testing.T) {
		ctx, s := newSite(t, site.Options{})
		if err := s.DB.Master.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		acts(t, ctx, s)
	})
}

// A master that somebody made read-only is left so, and the reason is said.
func TestMasterMadeReadOnly(t *testing.T) {
	ctx, s := newSite(t, site.Options{})
	if err := s.DB.Master.SetReadOnly(ctx, true); err != nil {
		t.Fatal(err)
	}
	holds(t, ctx, s, "NoWriteableMasterStructureWarning", "master-read-only", 10*time.Second)
}

// Without opting in nothing is recovered, and the reason is said.
func TestRecoveryIsOptIn(t *testing.T) {
	ctx, s := newSite(t, site.Options{Recovery: "{clusters: ['other']}"})
	if err := s.DB.Master.Kill(); err != nil {
		t.Fatal(err)
	}
	holds(t, ctx, s, "DeadMaster", "recovery-disabled", 20*time.Second)
}

// A majority of the controllers is gone: nobody may act. One of them back: the
// failover happens.
func TestNoMajorityOfControllers(t *testing.T) {
	ctx, s := newSite(t, site.Options{})
	for _, c := range s.Controllers[1:] {
		if err := c.Freeze(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DB.Master.Kill(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	until(t, ctx, 10*time.Second, "nobody has acted for three seconds", func(ctx context.Context) error {
		for _, replica := range s.DB.Replicas {
			value, err := replica.Value(ctx, "SELECT @@global.read_only")
			if err != nil {
				return err
			}
			if value != "1" {
				t.Fatalf("%s was made writable without a majority", replica.Key())
			}
		}
		if time.Since(begun) < 3*time.Second {
			return errors.New("not yet")
		}
		return nil
	})
	if err := s.Controllers[1].Thaw(); err != nil {
		t.Fatal(err)
	}
	acts(t, ctx, s)
}

// A deposed master with transactions of its own is quarantined, and they are
// listed; its twin with none is rejoined.
func TestReturningMaster(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor)+" with extra transactions", func(t *testing.T) {
			ctx, s := newSite(t, site.Options{Flavor: flavor})
			old := s.DB.Master
			for _, replica := range s.DB.Replicas {
				if err := replica.Exec(ctx, stopReceiver(flavor)); err != nil {
					t.Fatal(err)
				}
			}
			errant(t, ctx, old)
			if err := old.Exec(ctx, "CREATE TABLE app.kept (id INT PRIMARY KEY, said VARCHAR(30))",
				"INSERT INTO app.kept VALUES (42, 'only here; it''s mine')"); err != nil {
				t.Fatal(err)
			}
			if err := old.Kill(); err != nil {
				t.Fatal(err)
			}
			acts(t, ctx, s)
			if err := old.Start(ctx); err != nil {
				t.Fatal(err)
			}
			until(t, ctx, 30*time.Second, "it is quarantined", func(ctx context.Context) error {
				return standing(ctx, s, old, string(wire.RoleQuarantined))
			})
			topology, err := s.Topology(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range topology.Nodes {
				if n.Key.String() == old.Key() && (n.Errant == "" || !n.ReadOnly) {
					t.Errorf("%+v", n)
				}
			}
			saved(t, ctx, s, old, "INSERT INTO `app`.`kept`", "42", "only here; it''s mine")
		})
		t.Run(string(flavor)+" with none", func(t *testing.T) {
			ctx, s := newSite(t, site.Options{Flavor: flavor})
			old := s.DB.Master
			if err := old.Kill(); err != nil {
				t.Fatal(err)
			}
			rec := acts(t, ctx, s)
			winner, err := s.Server(rec.Winner.String())
			if err != nil {
				t.Fatal(err)
			}
			if err := old.Start(ctx); err != nil {
				t.Fatal(err)
			}
			follows(t, ctx, old, winner)
			until(t, ctx, 10*time.Second, "it is a member again", func(ctx context.Context) error {
				return standing(ctx, s, old, string(wire.RoleReplica))
			})
		})
	}
}

// saved waits until what only a server has is in a file of the leader's, as SQL with these words, and the audit says where.
func saved(t *testing.T, ctx context.Context, s *site.Site, server *stack.Server, words ...string) {
	t.Helper()
	until(t, ctx, 30*time.Second, "what only it has is saved", func(ctx context.Context) error {
		leader, err := s.Leader(ctx)
		if err != nil {
			return err
		}
		files, err := filepath.Glob(filepath.Join(leader.Dir(), "data", "quarantine", "*.sql"))
		if err != nil || len(files) != 1 || !strings.Contains(filepath.Base(files[0]), server.Host()) {
			return fmt.Errorf("the leader has %q: %v", files, err)
		}
		text, err := os.ReadFile(files[0])
		if err != nil {
			return err
		}
		for _, word := range words {
			if !strings.Contains(string(text), word) {
				t.Fatalf("%q is not in what was saved:\n%s", word, text)
			}
		}
		var audit wire.Audit
		if err := s.Get(ctx, wire.PathAudit+"?kind="+string(ledger.AuditRepair), &audit); err != nil {
			return err
		}
		for _, entry := range audit.Entries {
			if entry.Action == "export-extra" && entry.Server.String() == server.Key() && entry.Outcome == "" &&
				strings.Contains(entry.Reason, filepath.Base(files[0])) {
				return nil
			}
		}
		return fmt.Errorf("the audit does not tell of it: %+v", audit.Entries)
	})
}

func stopReceiver(flavor stack.Flavor) string {
	if flavor == stack.MySQL {
		return "STOP REPLICA IO_THREAD"
	}
	return "STOP SLAVE IO_THREAD"
}
