//go:build servers && netns

package scenarios_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"switchyard/e2e/site"
	"switchyard/e2e/stack"
)

// A server that outlives its sidecar is no promise: a master that is cut off is held, and the reason said.
func TestFenceIsNoPromiseWithoutATie(t *testing.T) {
	ctx, s := newSite(t, apart(site.Options{
		Recovery:         "{clusters: ['*'], partition: failover}",
		DatabaseSidecars: &site.DatabaseSidecars{Renew: 200 * time.Millisecond, Lease: lease},
	}))
	until(t, ctx, 30*time.Second, "the lease is shown, and that it is no promise", func(ctx context.Context) error {
		n, err := node(ctx, s, s.DB.Master)
		if err == nil && (n.Sidecar == nil || n.Sidecar.Holding != "held" || n.Sidecar.NoPromise == "") {
			err = fmt.Errorf("%+v", n.Sidecar)
		}
		return err
	})
	lose(t, ctx, s, s.Net.Around(masterHost)...)
	e := holds(t, ctx, s, "DeadMaster", "no-lease", 30*time.Second)
	if !strings.Contains(e.ReasonSentence, "sc-db1") {
		t.Errorf("the reason does not name the sidecar: %s", e.ReasonSentence)
	}
	// Nobody counts on it, and it fences all the same.
	stopped(t, ctx, s.DB.Master)
	heal(t, ctx, s)
	until(t, ctx, 60*time.Second, "the same master serves again", func(ctx context.Context) error {
		value, err := s.DB.Master.Value(ctx, "SELECT @@global.read_only")
		if err == nil && value != "0" {
			err = errors.New("it is read-only")
		}
		return err
	})
}

// What is sent one way only is lost: a lease needs both.
func TestFenceWhenOneWayIsCut(t *testing.T) {
	for _, hears := range []bool{false, true} {
		name := map[bool]string{false: "nothing reaches the master", true: "nothing leaves the master"}[hears]
		t.Run(name, func(t *testing.T) {
			ctx, s := underLease(t, site.Options{})
			inside, outside := twoWriters(t, ctx, s)
			var ways []stack.Way
			for _, way := range s.Net.Around(masterHost) {
				if (way.From == masterHost) == hears {
					ways = append(ways, way)
				}
			}
			lose(t, ctx, s, ways...)
			handedOver(t, ctx, s, time.Now(), inside, outside)
			stopped(t, ctx, s.DB.Master)
			heal(t, ctx, s)
			settled(t, ctx, s, s.DB.Master)
		})
	}
}

// The master is on one side with a replica and a controller, and a majority of the controllers on the other: its peers keep
// its lease, so that nobody else is promoted for as long.
func TestFenceNobodyWhoseReplicasFollow(t *testing.T) {
	ctx, s := underLease(t, site.Options{})
	inside, outside := twoWriters(t, ctx, s)
	lose(t, ctx, s, s.Net.Around(masterHost, "replica1", controllerHosts()[0])...)
	goesOn(t, ctx, s, time.Now())
	writes(t, ctx, inside)
	other := s.DB.Replicas[1]
	if value, err := other.Value(ctx, "SELECT @@global.read_only"); err != nil || value != "1" {
		t.Fatalf("%s, on the other side, is writable: %s, %v", other.Key(), value, err)
	}
	heal(t, ctx, s)
	writes(t, ctx, outside)
	for _, replica := range s.DB.Replicas {
		if last, first := turn(s.DB.Master, replica, inside, outside); !first.IsZero() && !last.Before(first) {
			t.Errorf("the old master acknowledged a write %s after the first of %s", last.Sub(first), replica.Key())
		}
	}
}

// A sidecar that is killed takes its server with it before the lease ends, and another one is promoted.
func TestFenceWhenTheSidecarDies(t *testing.T) {
	ctx, s := underLease(t, site.Options{})
	inside, outside := twoWriters(t, ctx, s)
	diedAt := time.Now()
	if err := s.Sidecar(s.DB.Master).Kill(); err != nil {
		t.Fatal(err)
	}
	rec := acts(t, ctx, s)
	if s.DB.Master.Running() {
		t.Error("mysqld has outlived its sidecar's lease")
	}
	if acked := inside.Acked(); acked[len(acked)-1].Ack.After(diedAt.Add(lease)) {
		t.Errorf("it acknowledged a write %s after its sidecar's death", acked[len(acked)-1].Ack.Sub(diedAt))
	}
	if rec.Winner.String() == s.DB.Master.Key() {
		t.Error("it was promoted again")
	}
	writes(t, ctx, outside)
}

// A sidecar that is started again in time goes on where it was: no client notices.
func TestFenceNobodyWhenTheSidecarRestarts(t *testing.T) {
	ctx, s := underLease(t, site.Options{})
	inside, outside := twoWriters(t, ctx, s)
	sidecar := s.Sidecar(s.DB.Master)
	for range 3 {
		if err := errors.Join(sidecar.Kill(), sidecar.Wait(ctx), sidecar.Start(ctx)); err != nil {
			t.Fatal(err)
		}
		writes(t, ctx, inside, outside)
	}
	goesOn(t, ctx, s, time.Now())
	holdsLease(t, ctx, s, s.DB.Master)
	if n := inside.Errors(); n.Broken > 0 || n.Refused > 0 {
		t.Errorf("the application saw %+v: %v", n, inside.LastError())
	}
	notMoved(t, ctx, s)
}

// Behind a cut that lasts, who makes the server writable again meets the same fence, be it after a restart of the server or
// of the sidecar.
func TestFenceStays(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			ctx, s := underLease(t, site.Options{Flavor: flavor})
			old := s.DB.Master
			inside, outside := twoWriters(t, ctx, s)
			lose(t, ctx, s, s.Net.Around(masterHost)...)
			handedOver(t, ctx, s, time.Now(), inside, outside)
			stopped(t, ctx, old)
			sidecar := s.Sidecar(old)
			for _, again := range []struct {
				what string
				do   func() error
			}{
				{"made writable", func() error { return nil }},
				{"restarted", func() error { return old.Restart(ctx) }},
				{"its sidecar restarted", func() error {
					return errors.Join(sidecar.Kill(), sidecar.Wait(ctx), sidecar.Start(ctx))
				}},
			} {
				if err := again.do(); err != nil {
					t.Fatalf("%s: %v", again.what, err)
				}
				if !old.Running() {
					if err := old.Start(ctx); err != nil {
						t.Fatalf("%s: %v", again.what, err)
					}
				}
				// It is refused where the fence is quicker than the statement.
				if err := old.SetReadOnly(ctx, false); err != nil {
					t.Logf("%s, and then not made writable: %v", again.what, err)
				}
				stopped(t, ctx, old)
			}
			heal(t, ctx, s)
			if !old.Running() {
				if err := old.Start(ctx); err != nil {
					t.Fatal(err)
				}
			}
			settled(t, ctx, s, old)
		})
	}
}

// A mysqld hangs in a whole network: the failover does not wait for it, and its sidecar ends it.
func TestFenceEndsADeposedServerThatHangs(t *testing.T) {
	ctx, s := underLease(t, site.Options{})
	_, outside := twoWriters(t, ctx, s)
	if err := s.DB.Master.Freeze(); err != nil {
		t.Fatal(err)
	}
	frozenAt := time.Now()
	acts(t, ctx, s)
	writes(t, ctx, outside)
	t.Logf("writes went on %s after it hung", time.Since(frozenAt).Round(time.Millisecond))
	until(t, ctx, 20*time.Second, "its sidecar has ended it", func(context.Context) error {
		if s.DB.Master.Running() {
			return errors.New("it still hangs")
		}
		return nil
	})
	if err := s.DB.Master.Start(ctx); err != nil {
		t.Fatal(err)
	}
	settled(t, ctx, s, s.DB.Master)
}
