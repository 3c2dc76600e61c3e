package executor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// Led is what tells whether a controller may go on.
type Led interface {
	State() ledger.State
	VerifyLeader(ctx context.Context) error
}

// LeadAt is Lead for what was begun when a cluster was at epoch. A controller
// that was deposed, and leads again, must not go on with what it began before:
// another one may have moved the master meanwhile.
func LeadAt(ctx context.Context, l Led, cluster string, epoch routes.Epoch) error {
	if err := Lead(ctx, l); err != nil {
		return err
	}
	if now := l.State().Clusters[cluster].Epoch; now != epoch {
		return fmt.Errorf("%w: cluster %s is at epoch %s by now, and this was begun at %s", ErrDeposed, cluster, now, epoch)
	}
	return nil
}

// Lead fails with ErrDeposed unless a majority of the controllers still follows
// this one.
func Lead(ctx context.Context, l Led) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := l.VerifyLeader(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrDeposed, err)
	}
	return nil
}

// Propose commits; a rejection is the ledger's answer, anything else means
// that this controller can not be sure to lead.
func Propose(ctx context.Context, l Ledger, cmd ledger.Command) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := l.Propose(ctx, cmd)
	var rejection *ledger.Rejection
	if err == nil || errors.As(err, &rejection) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrDeposed, cmd.Kind(), err)
}

// Address is where a server of c can be connected to.
func Address(looker Looker, c ledger.Cluster, k topology.Key) topology.Key {
	if s, ok := looker.Snapshot(c.Name, c.Master).Servers[k]; ok && s.Last != nil && !s.Last.Address.IsZero() {
		return s.Last.Address
	}
	return k
}

// DetachDrained makes a replica forget its source once it has applied all that it
// received, in the order that MariaDB needs: the receiver stops first, and the
// applier goes on until nothing is left.
func DetachDrained(ctx context.Context, sessions *Sessions, looker Looker, k topology.Key, timeout time.Duration) error {
	return sessions.With(ctx, k, timeout, func(ctx context.Context, s Session) error {
		if err := s.StopReceiver(ctx); err != nil {
			return err
		}
		o := looker.Look(ctx, []topology.Key{k}, nil).Observations[k]
		if o.Instance == nil {
			return fmt.Errorf("%s does not answer: %s", k, o.Reach)
		}
		received := o.Instance.Received()
		if !o.Instance.Executed.Contains(received) {
			if r := o.Instance.Replication; r != nil && r.Delay > 0 {
				if err := s.Undelay(ctx); err != nil {
					return err
				}
			}
			if err := s.WaitApplied(ctx, received); err != nil {
				return err
			}
		}
		return s.Detach(ctx)
	})
}
