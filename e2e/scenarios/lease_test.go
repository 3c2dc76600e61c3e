//go:build servers

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
	"switchyard/store/ledger"
)

// leased waits until a server's sidecar is shown with a lease that the controller which answers has granted.
func leased(t *testing.T, ctx context.Context, s *site.Site, server *stack.Server) {
	t.Helper()
	until(t, ctx, 30*time.Second, "the master's sidecar holds a lease", func(ctx context.Context) error {
		topology, err := s.Topology(ctx)
		if err != nil {
			return err
		}
		for _, n := range topology.Nodes {
			if n.Key.String() != server.Key() {
				continue
			}
			if n.Sidecar == nil || n.Sidecar.Holding != "held" || n.Sidecar.GrantedUntil.IsZero() {
				return fmt.Errorf("it is shown with %+v", n.Sidecar)
			}
			return nil
		}
		return errors.New("it is not shown")
	})
}

// A MariaDB that is shut down says nothing on its connections; its sidecar does, so that it is waited for as a MySQL is. One
// that crashes is failed over at once, by what its sidecar says as well.
func TestSidecarTellsAShutdownFromACrash(t *testing.T) {
	sidecars := &site.DatabaseSidecars{Renew: 300 * time.Millisecond}
	t.Run("shutdown", func(t *testing.T) {
		ctx, s := newSite(t, site.Options{DatabaseSidecars: sidecars, Recovery: "{clusters: ['*'], restart_grace: 60s}"})
		master := s.DB.Master
		leased(t, ctx, s, master)
		if err := master.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		holds(t, ctx, s, "MasterRestarting", "restart-grace", 20*time.Second)
		if err := master.Start(ctx); err != nil {
			t.Fatal(err)
		}
		until(t, ctx, 30*time.Second, "the same master serves again", func(ctx context.Context) error {
			value, err := master.Value(ctx, "SELECT @@global.read_only")
			if err == nil && value != "0" {
				err = errors.New("it is read-only")
			}
			return err
		})
		list, err := s.Recoveries(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range list {
			if rec.Kind != ledger.Reinstate {
				t.Errorf("%+v", rec)
			}
		}
		leased(t, ctx, s, master)
	})
	t.Run("crash", func(t *testing.T) {
		w := newWorld(t, site.Options{DatabaseSidecars: sidecars, Recovery: "{clusters: ['*'], restart_grace: 60s}"})
		leased(t, w.ctx, w.Site, w.Site.DB.Master)
		old := w.Site.DB.Master
		w.must(old.Kill())
		_, winner := w.recovered(ledger.Completed)
		until(t, w.ctx, 20*time.Second, "the end of the process is shown", func(ctx context.Context) error {
			topology, err := w.Site.Topology(ctx)
			if err != nil {
				return err
			}
			for _, n := range topology.Nodes {
				if n.Key.String() == old.Key() && n.Sidecar != nil && strings.HasPrefix(n.Sidecar.LastExit, "process ") {
					return nil
				}
			}
			return errors.New("nobody has told of it")
		})
		leased(t, w.ctx, w.Site, winner)
		w.end(false, winner)
	})
}

// Neither controllers nor the other sidecars answer for a while, so that the master is fenced; then it serves again, as
// nobody else was promoted.
func TestFencedMasterServesAgain(t *testing.T) {
	ctx, s := newSite(t, site.Options{DatabaseSidecars: &site.DatabaseSidecars{Renew: 300 * time.Millisecond}})
	master := s.DB.Master
	leased(t, ctx, s, master)
	var silent []*stack.Process
	for _, c := range s.Controllers {
		silent = append(silent, c.Process)
	}
	for _, sidecar := range s.Sidecars {
		if sidecar.Beside != master {
			silent = append(silent, sidecar.Process)
		}
	}
	for _, p := range silent {
		if err := p.Freeze(); err != nil {
			t.Fatal(err)
		}
	}
	readOnly := func(want string) func(context.Context) error {
		return func(ctx context.Context) error {
			value, err := master.Value(ctx, "SELECT @@global.read_only")
			if err == nil && value != want {
				err = fmt.Errorf("read_only is %s", value)
			}
			return err
		}
	}
	until(t, ctx, 30*time.Second, "the master is fenced", readOnly("1"))
	for _, p := range silent {
		if err := p.Thaw(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, ctx, 60*time.Second, "the same master serves again", readOnly("0"))
	leased(t, ctx, s, master)
	rec := acts(t, ctx, s)
	if rec.Kind != ledger.Reinstate || rec.Winner.String() != master.Key() {
		t.Errorf("%+v", rec)
	}
}
