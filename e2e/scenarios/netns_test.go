//go:build servers && netns

package scenarios_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"switchyard/e2e/site"
	"switchyard/e2e/stack"
)

func TestFenceWhenCutOffMySQL(t *testing.T) {
	cutOff(t, stack.MySQL)
}

// A master without a sidecar is cut off from everything but its application: nobody can stop it, so that nobody takes its
// place. The network is back: the same master serves.
func TestCutOffWithoutSidecars(t *testing.T) {
	ctx, s := newSite(t, apart(site.Options{}))
	inside, outside := twoWriters(t, ctx, s)
	lose(t, ctx, s, s.Net.Around(masterHost)...)
	holds(t, ctx, s, "DeadMaster", "master-cut-off", 30*time.Second)
	writes(t, ctx, inside)
	heal(t, ctx, s)
	writes(t, ctx, inside, outside)
	notMoved(t, ctx, s)
}

// notMoved holds that no recovery was begun.
func notMoved(t *testing.T, ctx context.Context, s *site.Site) {
	t.Helper()
	list, err := s.Recoveries(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) > 0 {
		t.Errorf("something was recovered: %+v", list[0])
	}
}

// The controllers are cut off from the master, and nobody else is: its replicas receive, their sidecars follow it, and
// nothing is moved or fenced, however long.
func TestControllersLoseTheMasterOnly(t *testing.T) {
	for _, sidecars := range []bool{false, true} {
		name := "without sidecars"
		start := func(t *testing.T, o site.Options) (context.Context, *site.Site) { return newSite(t, apart(o)) }
		if sidecars {
			name, start = "with sidecars", underLease
		}
		t.Run(name, func(t *testing.T) {
			ctx, s := start(t, site.Options{})
			inside, outside := twoWriters(t, ctx, s)
			for _, host := range controllerHosts() {
				lose(t, ctx, s, stack.Between(host, masterHost)...)
			}
			cutAt := time.Now()
			holds(t, ctx, s, "UnreachableMaster", "replicas-replicating", 30*time.Second)
			goesOn(t, ctx, s, cutAt)
			writes(t, ctx, inside, outside)
			heal(t, ctx, s)
			writes(t, ctx, inside, outside)
			notMoved(t, ctx, s)
		})
	}
}

// All controllers are cut off from everything, or gone: the sidecars still hear each other, and nobody is fenced.
func TestFenceNobodyWithoutControllers(t *testing.T) {
	for _, gone := range []bool{false, true} {
		name := "cut off"
		if gone {
			name = "gone"
		}
		t.Run(name, func(t *testing.T) {
			ctx, s := underLease(t, site.Options{})
			inside, outside := twoWriters(t, ctx, s)
			for i, host := range controllerHosts() {
				if !gone {
					lose(t, ctx, s, s.Net.Around(host)...)
				} else if err := s.Controllers[i].Kill(); err != nil {
					t.Fatal(err)
				}
			}
			goesOn(t, ctx, s, time.Now())
			writes(t, ctx, inside, outside)
			heal(t, ctx, s)
			for _, c := range s.Controllers {
				if !gone {
					continue
				}
				if err := errors.Join(c.Wait(ctx), c.Start(ctx)); err != nil {
					t.Fatal(err)
				}
			}
			holdsLease(t, ctx, s, s.DB.Master)
			writes(t, ctx, inside, outside)
			notMoved(t, ctx, s)
		})
	}
}

// goesOn holds that the master is writable for longer than its lease and its fence would take.
func goesOn(t *testing.T, ctx context.Context, s *site.Site, since time.Time) {
	t.Helper()
	until(t, ctx, 60*time.Second, "the lease is over by far", func(ctx context.Context) error {
		value, err := s.DB.Master.Value(ctx, "SELECT @@global.read_only")
		if err != nil || value != "0" {
			t.Fatalf("%s after the cut the master is read-only: %s, %v", time.Since(since), value, err)
		}
		if time.Since(since) < 2*lease {
			return errors.New("not yet")
		}
		return nil
	})
}

// A sidecar hangs while its master is cut off: who is tied to it ends before the lease does.
func TestFenceWhenTheSidecarHangs(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			ctx, s := underLease(t, site.Options{Flavor: flavor})
			inside, outside := twoWriters(t, ctx, s)
			if err := s.Sidecar(s.DB.Master).Freeze(); err != nil {
				t.Fatal(err)
			}
			lose(t, ctx, s, s.Net.Around(masterHost)...)
			handedOver(t, ctx, s, time.Now(), inside, outside)
			if s.DB.Master.Running() {
				t.Error("mysqld has outlived its sidecar's lease")
			}
			back(t, ctx, s)
			if err := s.Sidecar(s.DB.Master).Thaw(); err != nil {
				t.Fatal(err)
			}
			settled(t, ctx, s, s.DB.Master)
		})
	}
}

// A mysqld hangs while it is cut off, so that it does not become read-only: it is killed.
func TestFenceWhenTheServerHangs(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			ctx, s := underLease(t, site.Options{Flavor: flavor})
			inside, outside := twoWriters(t, ctx, s)
			lose(t, ctx, s, s.Net.Around(masterHost)...)
			cutAt := time.Now()
			if err := s.DB.Master.Freeze(); err != nil {
				t.Fatal(err)
			}
			handedOver(t, ctx, s, cutAt, inside, outside)
			if s.DB.Master.Running() {
				t.Error("a mysqld that hangs has outlived its lease")
			}
			back(t, ctx, s)
			settled(t, ctx, s, s.DB.Master)
		})
	}
}

// back ends all cuts and starts the old master again: it boots behind its fence.
func back(t *testing.T, ctx context.Context, s *site.Site) {
	t.Helper()
	heal(t, ctx, s)
	if err := s.DB.Master.Start(ctx); err != nil {
		t.Fatal(err)
	}
}

// Commits that wait for an acknowledgement when the master is cut off are neither acknowledged nor readable, before the
// fence, while it comes, and after it.
func TestFenceWithCommitsThatWait(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			ctx, s := underLease(t, site.Options{Flavor: flavor, SemiSync: true})
			old := s.DB.Master
			inside, outside := twoWriters(t, ctx, s)
			seen := watchRows(t, ctx, old)
			lose(t, ctx, s, s.Net.Around(masterHost)...)
			cutAt := time.Now()
			until(t, ctx, 20*time.Second, "commits wait", func(ctx context.Context) error {
				return waiting(ctx, old)
			})
			winner := handedOver(t, ctx, s, cutAt, inside, outside)
			if old.Running() {
				t.Error("commits that wait let a server become read-only")
			}
			lost, err := inside.Missing(ctx, winner.Root())
			if err != nil || len(lost) > 0 {
				t.Errorf("%d writes that were acknowledged on the old master are not on the new one: %v", len(lost), err)
			}
			onlyOnThe(t, ctx, seen(), winner)
			back(t, ctx, s)
			settled(t, ctx, s, old)
		})
	}
}

// waiting answers nil where commits wait for their acknowledgement.
func waiting(ctx context.Context, server *stack.Server) error {
	word := "master"
	if server.Flavor() == stack.MySQL {
		word = "source"
	}
	var name, value string
	if err := server.Root().QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_"+word+"_wait_sessions'").Scan(&name, &value); err != nil {
		return err
	}
	if value == "0" {
		return errors.New("no commit waits")
	}
	return nil
}

type row struct{ worker, seq int64 }

// watchRows reads the application's table again and again, by a connection that no fence ends, until the server is gone
// or the test ends; the function that it returns waits for that, and tells what was ever readable.
func watchRows(t *testing.T, ctx context.Context, server *stack.Server) func() map[row]bool {
	t.Helper()
	ctx, stop := context.WithCancel(ctx)
	t.Cleanup(stop)
	rows, done, looks := map[row]bool{}, make(chan struct{}), 0
	go func() {
		defer close(done)
		for ctx.Err() == nil && server.Running() {
			if readRows(ctx, server.Root(), rows) == nil {
				looks++
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return func() map[row]bool {
		stop()
		<-done
		if looks < 20 {
			t.Errorf("the rows were looked at %d times only", looks)
		}
		return rows
	}
}

func readRows(ctx context.Context, db *sql.DB, into map[row]bool) (err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	found, err := db.QueryContext(ctx, "SELECT worker, seq FROM app.writes")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	for found.Next() {
		var r row
		if err := found.Scan(&r.worker, &r.seq); err != nil {
			return err
		}
		into[r] = true
	}
	return found.Err()
}

// onlyOnThe holds that whatever was readable on the old master is on the new one.
func onlyOnThe(t *testing.T, ctx context.Context, seen map[row]bool, winner *stack.Server) {
	t.Helper()
	has := map[row]bool{}
	if err := readRows(ctx, winner.Root(), has); err != nil {
		t.Fatal(err)
	}
	for r := range seen {
		if !has[r] {
			t.Errorf("write %d of worker %d was readable on the old master, and is not on the new one", r.seq, r.worker)
			return
		}
	}
	if len(seen) == 0 {
		t.Error("nothing was ever read")
	}
}
