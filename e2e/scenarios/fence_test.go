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
	"switchyard/e2e/workload"
	"switchyard/sidecar/protocol"
)

// lease is what the controllers of these tests grant.
const lease = 6 * time.Second

// underLease is a site on hosts, with a sidecar beside each server that is tied to it, whose controllers fail over a master that
// is cut off. It returns when the master holds its lease.
func underLease(t *testing.T, o site.Options) (context.Context, *site.Site) {
	t.Helper()
	o.Recovery = "{clusters: ['*'], partition: failover}"
	o.DatabaseSidecars = &site.DatabaseSidecars{Renew: 200 * time.Millisecond, Lease: lease, Tie: true}
	ctx, s := newSite(t, apart(o))
	holdsLease(t, ctx, s, s.DB.Master)
	return ctx, s
}

// handedOver waits for a failover that outlasted the lease, and holds that the old master acknowledged nothing after its
// lease's end, as the leader counts it, nor after its successor's first acknowledgement.
func handedOver(t *testing.T, ctx context.Context, s *site.Site, cutAt time.Time, inside, outside *workload.Workload) *stack.Server {
	t.Helper()
	old := s.DB.Master
	rec, err := completed(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	winner, err := s.Server(rec.Winner.String())
	if err != nil || winner == old {
		t.Fatalf("%s was promoted: %v", rec.Winner, err)
	}
	if !outlasted(rec) {
		t.Errorf("no step of the recovery says that the lease was outlasted: %+v", rec.Steps)
	}
	writes(t, ctx, outside)
	last, first := turn(old, winner, inside, outside)
	end := grantedUntil(t, ctx, s, old)
	t.Logf("last write on the old master %s after the cut, %s before the lease's end; first on the new one %s after that end",
		last.Sub(cutAt).Round(time.Millisecond), end.Sub(last).Round(time.Millisecond), first.Sub(end).Round(time.Millisecond))
	if last.After(end) || last.After(cutAt.Add(lease)) {
		t.Errorf("the old master acknowledged a write after its lease's end")
	}
	if first.IsZero() || !last.Before(first) {
		t.Errorf("the old master acknowledged a write %s after the new one's first", last.Sub(first))
	}
	return winner
}

// turn is when an old master acknowledged last, and a new one first.
func turn(old, winner *stack.Server, loads ...*workload.Workload) (last, first time.Time) {
	for _, load := range loads {
		for _, w := range load.Acked() {
			switch {
			case w.Server == old.ServerID() && w.Ack.After(last):
				last = w.Ack
			case w.Server == winner.ServerID() && (first.IsZero() || w.Ack.Before(first)):
				first = w.Ack
			}
		}
	}
	return last, first
}

// grantedUntil is when the last lease ends that the leader granted.
func grantedUntil(t *testing.T, ctx context.Context, s *site.Site, server *stack.Server) time.Time {
	t.Helper()
	n, err := node(ctx, s, server)
	if err != nil || n.Sidecar == nil || n.Sidecar.GrantedUntil.IsZero() {
		t.Fatalf("no lease is known of %s: %+v, %v", server.Key(), n.Sidecar, err)
	}
	return n.Sidecar.GrantedUntil
}

// completed waits until a failover has completed, which takes the wait for the lease.
func completed(ctx context.Context, s *site.Site) (done wire.Recovery, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	err = site.Until(ctx, "a failover has completed", func(ctx context.Context) error {
		list, err := s.Recoveries(ctx)
		if err != nil {
			return err
		}
		if len(list) == 0 || list[0].Open() {
			e, err := s.Explain(ctx)
			return fmt.Errorf("the leader says: %s %s (%v)", e.Verdict, e.ReasonSentence, err)
		}
		done, err = s.Recovery(ctx, list[0].ID)
		return err
	})
	if err == nil && done.Outcome != "completed" {
		err = fmt.Errorf("recovery %s: %s: %s", done.ID, done.Outcome, done.Message)
	}
	return done, err
}

// stopped waits until an old master takes no writes: it says so itself, behind the cut, or is gone.
func stopped(t *testing.T, ctx context.Context, server *stack.Server) {
	t.Helper()
	until(t, ctx, 20*time.Second, "the old master takes no writes", func(ctx context.Context) error {
		if !server.Running() {
			return nil
		}
		value, err := server.Value(ctx, "SELECT @@global.read_only")
		if err == nil && value != "1" {
			err = errors.New("it is writable")
		}
		return err
	})
}

// settled waits until an old master that is back follows the new one or, with writes that only it has, is quarantined.
func settled(t *testing.T, ctx context.Context, s *site.Site, old *stack.Server) {
	t.Helper()
	until(t, ctx, 90*time.Second, "the old master is rejoined or quarantined", func(ctx context.Context) error {
		if err := standing(ctx, s, old, string(wire.RoleReplica), string(wire.RoleQuarantined)); err != nil {
			return err
		}
		value, err := old.Value(ctx, "SELECT @@global.read_only")
		if err == nil && value != "1" {
			err = errors.New("it is writable")
		}
		return err
	})
}

// A master is cut off with its application, and its sidecar hears nobody: it is fenced before its lease ends, and another
// one promoted after it. When it is back it stays fenced.
func TestFenceWhenCutOff(t *testing.T) {
	cutOff(t, stack.MariaDB)
}

func cutOff(t *testing.T, flavor stack.Flavor) {
	t.Helper()
	ctx, s := underLease(t, site.Options{Flavor: flavor})
	inside, outside := twoWriters(t, ctx, s)
	lose(t, ctx, s, s.Net.Around(masterHost)...)
	cutAt := time.Now()
	writes(t, ctx, inside) // the lease is worth something: it does not end with the first renewal that fails
	handedOver(t, ctx, s, cutAt, inside, outside)
	stopped(t, ctx, s.DB.Master)
	heal(t, ctx, s)
	settled(t, ctx, s, s.DB.Master)
}

// outlasted tells whether a step of a recovery says that it waited for the lease.
func outlasted(rec wire.Recovery) bool {
	for _, step := range rec.Steps {
		if strings.Contains(fmt.Sprint(step), "its lease has ended") {
			return true
		}
	}
	return false
}

// holdsLease waits until the leader may count on a server's lease.
func holdsLease(t *testing.T, ctx context.Context, s *site.Site, server *stack.Server) {
	t.Helper()
	holdsLeaseWithin(t, ctx, 30*time.Second, s, server)
}

func holdsLeaseWithin(t *testing.T, ctx context.Context, within time.Duration, s *site.Site, server *stack.Server) {
	t.Helper()
	until(t, ctx, within, "the lease is held", func(ctx context.Context) error {
		n, err := node(ctx, s, server)
		if err == nil && (n.Sidecar == nil || n.Sidecar.Holding != string(protocol.Held) || n.Sidecar.NoPromise != "" ||
			time.Now().After(n.Sidecar.GrantedUntil)) {
			err = fmt.Errorf("%+v", n.Sidecar)
		}
		return err
	})
}
