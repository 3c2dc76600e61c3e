package failover

import (
	"context"
	"fmt"
	"time"

	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// moveTime bounds one change of one server.
const moveTime = time.Minute

// The changes that the ledger audits itself.
const (
	detach   = "detach"
	reattach = "reattach"
)

// Move makes a replica follow another server of its cluster. As with all
// changes of single servers, a *Refusal means that nothing was changed.
func (l *Loop) Move(ctx context.Context, instance, below topology.Key, by, reason string) error {
	why := "below " + below.String()
	if reason != "" {
		why += ": " + reason
	}
	return l.change(ctx, instance, "move", by, why,
		func(ctx context.Context, m Mover, c ledger.Cluster) error { return m.Move(ctx, c, instance, below) })
}

// Detach has a replica follow nobody until it is attached again.
func (l *Loop) Detach(ctx context.Context, instance topology.Key, by, reason string) error {
	return l.change(ctx, instance, detach, by, reason,
		func(ctx context.Context, m Mover, c ledger.Cluster) error {
			return m.Detach(ctx, c, instance, by, reason)
		})
}

// Reattach has a detached replica follow again whom it followed.
func (l *Loop) Reattach(ctx context.Context, instance topology.Key, by, reason string) error {
	return l.change(ctx, instance, reattach, by, reason,
		func(ctx context.Context, m Mover, c ledger.Cluster) error {
			return m.Reattach(ctx, c, instance, by, reason)
		})
}

// SetReadOnly makes a server read-only, or writable again.
func (l *Loop) SetReadOnly(ctx context.Context, instance topology.Key, on bool, by, reason string) error {
	action := "set-read-only off"
	if on {
		action = "set-read-only on"
	}
	return l.change(ctx, instance, action, by, reason,
		func(ctx context.Context, m Mover, c ledger.Cluster) error { return m.SetReadOnly(ctx, c, instance, on) })
}

// change changes one server of a cluster while nobody else acts there. A
// recovery of the master that begins meanwhile cuts it short.
func (l *Loop) change(
	ctx context.Context, instance topology.Key, action, by, reason string,
	do func(context.Context, Mover, ledger.Cluster) error,
) error {
	w, err := l.workerOf(instance)
	if err != nil {
		return err
	}
	_, err = w.ask(ctx, request{
		aside: true, recorded: action == detach || action == reattach,
		note: ledger.AuditEntry{Action: action, Server: instance, By: by, Reason: reason},
		do: func(life context.Context) (ledger.Recovery, error) {
			return ledger.Recovery{}, w.alone(ctx, life, func(work context.Context, c ledger.Cluster) error {
				if w.cfg.Mover == nil {
					return &Refusal{Reason: "this controller has no hands to change single servers with"}
				}
				return do(work, w.cfg.Mover, c)
			})
		},
	})
	return err
}

// alone does something on the cluster's servers while nobody else does. It
// waits for its turn for as long as asking lasts, and works for as long as life
// does, no recovery wants the servers, and its time is not over.
func (w *worker) alone(asking, life context.Context, do func(context.Context, ledger.Cluster) error) error {
	if _, err := w.begin(); err != nil {
		return err
	}
	if err := w.baton.take(asking); err != nil {
		return &Refusal{Reason: busyServers}
	}
	gaveWay, err := w.acting(life, func(work context.Context, c ledger.Cluster) error {
		work, cancel := context.WithTimeout(work, moveTime)
		defer cancel()
		if _, err := w.begin(); err != nil {
			return err
		}
		return do(work, c)
	})
	if id := w.cluster().Recovery; gaveWay && err == nil {
		return &Refusal{Reason: fmt.Sprintf("recovery %s has not ended", id)}
	} else if gaveWay && life.Err() == nil {
		return fmt.Errorf("cut short by recovery %s: %w", id, err)
	}
	return err
}

// busyServers is why an operator who did not want to wait is refused.
const busyServers = "something else is being done on the cluster's servers: try again when it has ended"
