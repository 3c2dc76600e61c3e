//go:build servers

package matrix_test

import (
	"fmt"
	"testing"
	"time"

	"switchyard/e2e/matrix"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/store/ledger"
)

// fault is something that is done to a master, and how that ends.
type fault struct {
	name string
	// recovery is the section of the configuration, empty for the default.
	recovery string
	// lossless runs the servers with semi-sync, and then nothing acknowledged may be lost.
	lossless bool
	strike   func(*world, *stack.Server)
	// settle brings the old master back within reach.
	settle func(*world, *stack.Server)
}

func faults() []fault {
	var mend func() error
	return []fault{
		{
			name:   "crash",
			strike: func(w *world, old *stack.Server) { w.must(old.Kill()) },
			settle: func(w *world, old *stack.Server) { w.must(old.Start(w.ctx)) },
		},
		{
			name: "crash under semi-sync", lossless: true,
			strike: func(w *world, old *stack.Server) { w.must(old.Kill()) },
			settle: func(w *world, old *stack.Server) { w.must(old.Start(w.ctx)) },
		},
		{
			name:   "freeze",
			strike: func(w *world, old *stack.Server) { w.must(old.Freeze()) },
			settle: func(w *world, old *stack.Server) { w.must(old.Thaw()) },
		},
		{
			name: "switchover",
			strike: func(w *world, _ *stack.Server) {
				_, err := w.site.Switchover(w.ctx, w.site.DB.Replicas[1].Key())
				w.must(err)
			},
			settle: func(*world, *stack.Server) {},
		},
		{
			// Such a master may live on, so that nobody is promoted unless the operator has said so.
			name: "cut off", recovery: "{clusters: ['*'], partition: failover}",
			strike: func(w *world, old *stack.Server) {
				var err error
				mend, err = stack.Cut(old.Host())
				w.must(err)
				w.t.Cleanup(func() { w.must(mend()) })
			},
			settle: func(w *world, _ *stack.Server) { w.must(mend()) },
		},
	}
}

// cell is one field of the matrix.
type cell struct {
	flavor stack.Flavor
	mode   mode
	fault  fault
}

func (c cell) String() string { return fmt.Sprintf("%s %s %s", c.flavor, c.mode, c.fault.name) }

// cells is the matrix.
func cells() (list []cell) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		for _, mode := range modes() {
			for _, fault := range faults() {
				list = append(list, cell{flavor, mode, fault})
			}
		}
	}
	return list
}

// mode is how the controllers reach the proxies.
type mode string

// The modes.
const (
	// direct: by each proxy's own port.
	direct mode = "direct"
	// sidecar: by a process beside each proxy, and by nothing else.
	sidecar mode = "sidecar"
)

func modes() []mode { return []mode{direct, sidecar} }

// of puts what a mode needs into a site's options.
func (m mode) of(o site.Options) site.Options {
	if m == sidecar {
		o.ProxySidecars = &site.ProxySidecars{}
	}
	return o
}

// world starts the site of a cell.
func (c cell) world(t *testing.T) *world {
	t.Helper()
	return newWorld(t, c.mode.of(site.Options{Flavor: c.flavor, Recovery: c.fault.recovery, SemiSync: c.fault.lossless}))
}

// play runs one cell.
func play(w *world, c cell) matrix.Figure {
	w.t.Helper()
	old := w.site.DB.Master
	w.brace()
	c.fault.strike(w, old)
	rec := w.recovered(ledger.Completed)
	change := w.changed(rec)
	w.nobodyLeft(old)
	figure := matrix.Figure{Cell: c.String(), ConfirmedMS: milliseconds(change.Confirmed.Sub(change.Writable))}
	if c.fault.name == "crash" {
		figure.RestartedMS = milliseconds(restartedRightAfter(w, rec))
	}
	w.writing(3)
	c.fault.settle(w, old)
	w.deposed(old)
	w.noSessions(old)
	w.nobodyLeft(old)
	w.writing(3)
	w.noSessions(old)
	figure.Proxies, figure.Clients, figure.Verdict = len(w.doors()), len(w.app.Clients()), w.verdict(change)
	if c.fault.lossless && figure.Lost > 0 {
		w.t.Errorf("%d acknowledged writes are lost under semi-sync", figure.Lost)
	}
	w.t.Logf("%+v", figure)
	return figure
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Two cells of the matrix, for every day. The first one's controllers are all gone for a while before.
func TestSmoke(t *testing.T) {
	for _, c := range cells() {
		switch c.String() {
		case "mariadb direct switchover":
			t.Run(c.String(), func(t *testing.T) {
				w := c.world(t)
				controllersGone(w)
				play(w, c)
			})
		case "mysql sidecar crash":
			t.Run(c.String(), func(t *testing.T) { play(c.world(t), c) })
		}
	}
}
