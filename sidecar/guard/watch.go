package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"switchyard/controller/topology"
	"switchyard/sidecar/fence"
	"switchyard/sidecar/lease"
)

// watcher looks at the server, again and again.
type watcher struct {
	*Guard
	process Process
	// ended gets true when the process is gone, and false when it cannot be
	// watched any more.
	ended chan bool
	// found is when it was found; born is set where there was none before, so that
	// it has just started, until it has answered.
	found     lease.Instant
	born      bool
	none      bool
	complaint string
}

// watch looks at the server until ctx ends.
func (g *Guard) watch(ctx context.Context) {
	w := &watcher{Guard: g}
	for ctx.Err() == nil {
		w.turn(ctx)
		pause(ctx, pace, g.look)
	}
}

func (w *watcher) turn(ctx context.Context) {
	if w.process != nil {
		select {
		case w.none = <-w.ended:
			w.process = nil
		default:
		}
	}
	if w.process == nil && !w.find(ctx) {
		return
	}
	begun := w.clock()
	attempt, cancel := context.WithTimeout(ctx, patience)
	seen, err := w.local.Look(attempt)
	cancel()
	if ctx.Err() != nil {
		return
	}
	server := lease.Writable
	switch {
	case err != nil && w.born && mute(err) && begun-w.found < lease.Instant(startIn):
		server = lease.Starting
	case err != nil:
		w.complain(ctx, err)
		server = lease.Silent
	case seen.ReadOnly:
		server = lease.ReadOnly
	}
	if server == lease.Writable || server == lease.ReadOnly || err != nil && !mute(err) {
		w.born = false
	}
	process := w.process
	if err == nil && seen.Unknown != nil {
		w.complain(ctx, fmt.Errorf("whom it receives from: %w", seen.Unknown))
	}
	w.tell(ctx, func() { w.saw(process, begun, server, seen) })
}

// find looks for the process, and watches it from then on.
func (w *watcher) find(ctx context.Context) bool {
	attempt, cancel := context.WithTimeout(ctx, patience)
	process, err := w.local.Find(attempt)
	cancel()
	if err != nil {
		server := lease.Silent
		if errors.Is(err, fence.ErrNoProcess) {
			server, w.none = lease.Gone, true
		} else {
			w.complain(ctx, err)
		}
		w.tell(ctx, func() {
			if w.Guard.process == nil {
				w.server, w.seenAt, w.replica = server, w.clock(), false
			}
		})
		return false
	}
	ended := make(chan bool, 1)
	w.process, w.ended, w.found, w.born = process, ended, w.clock(), w.none
	w.tell(ctx, func() { w.Guard.process = process })
	w.workers.Go(func() {
		defer process.Close()
		exit, err := process.Wait(ctx)
		switch noticed := w.clock(); {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.log.Error("the server's process cannot be watched", "pid", process.PID(), "error", err)
			w.tell(ctx, func() { w.lose(process, lease.Silent, noticed) })
		default:
			w.tell(ctx, func() { w.gone(ctx, process, exit, noticed) })
		}
		ended <- err == nil
		wake(w.look)
	})
	return true
}

// gone notes the end of the process and reports it.
func (g *Guard) gone(ctx context.Context, process Process, exit fence.Exit, noticed lease.Instant) {
	g.log.Warn("the server's process is gone", "pid", process.PID(), "kind", exit.Kind.String(), "status", exit.Status)
	g.lose(process, lease.Gone, noticed)
	for _, name := range g.cfg.Lease.Controllers {
		g.workers.Go(func() { g.report(ctx, name, process.PID(), exit, noticed) })
	}
}

// lose lets go of a process.
func (g *Guard) lose(process Process, server lease.Server, at lease.Instant) {
	if g.process == process {
		g.process, g.server, g.seenAt, g.replica = nil, server, at, false
	}
}

// saw notes what a look found that began at begun.
func (g *Guard) saw(process Process, begun lease.Instant, server lease.Server, seen Seen) {
	if g.process != process || begun < g.fencedAt {
		return // of another process, or from before the fence
	}
	g.server, g.seenAt = server, begun
	// Who may be a replica is left in peace.
	g.replica = seen.Replica || seen.Unknown != nil
	if seen.UUID != "" {
		g.uuid = seen.UUID
	}
}

// complain logs what is not the same as before.
func (w *watcher) complain(ctx context.Context, err error) {
	if text := err.Error(); ctx.Err() == nil && text != w.complaint {
		w.complaint = text
		w.log.Warn("the server", "error", err)
	}
}

// mute tells whether a server took a connection, or was asked for one, and said
// nothing at all.
func mute(err error) bool {
	var reached interface{ Reach() topology.Reach }
	if errors.As(err, &reached) {
		reach := reached.Reach()
		return reach == topology.ReachHung || reach == topology.ReachTimeout
	}
	return errors.Is(err, context.DeadlineExceeded)
}

// cutClients ends clients as they come while it is wanted: at once while there
// are some, and with a look four times a second once there are none.
func (g *Guard) cutClients(ctx context.Context) {
	const busy, quiet = 5 * time.Millisecond, 250 * time.Millisecond
	for ctx.Err() == nil {
		if !g.Status().cut {
			pause(ctx, time.Minute, g.cut)
			continue
		}
		g.cutOn(ctx, busy, quiet)
		pause(ctx, 50*time.Millisecond, nil)
	}
}

// cutOn works on one session, until it is lost or nothing is wanted any more.
func (g *Guard) cutOn(ctx context.Context, busy, quiet time.Duration) {
	attempt, cancel := context.WithTimeout(ctx, patience)
	session, err := g.local.Open(attempt)
	cancel()
	if err != nil {
		return
	}
	defer session.Close()
	level := slog.LevelInfo // those who come again and again are told of once
	for ctx.Err() == nil && g.Status().cut {
		attempt, cancel := context.WithTimeout(ctx, patience)
		ended, _, err := session.EndClients(attempt)
		cancel()
		if ended > 0 {
			g.log.Log(ctx, level, "clients of a fenced server were ended", "ended", ended)
			level = slog.LevelDebug
		}
		switch {
		case err != nil:
			return
		case ended > 0:
			pause(ctx, busy, nil)
		default:
			pause(ctx, quiet, nil)
		}
	}
}
