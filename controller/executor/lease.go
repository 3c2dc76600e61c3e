package executor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// outlasting is the wait until the old master's lease has ended. It is begun at
// most once in each execution, and by the next leader anew.
type outlasting struct {
	once  sync.Once
	begun chan struct{} // closed once it has begun
	over  chan struct{} // closed once it has ended
	// To be read once over is closed.
	note string
	err  error
}

func newOutlasting() *outlasting {
	return &outlasting{begun: make(chan struct{}), over: make(chan struct{})}
}

// outlast begins to wait for the end of the old master's lease, where servers of
// the cluster have sidecars that hold one; it reports whether they have.
func (r *run) outlast(ctx context.Context) bool {
	rec := r.recovery()
	if r.cfg.Leases == nil || rec.Kind != ledger.Failover || !r.cfg.Leases.Kept(rec.Cluster) {
		return false
	}
	r.lease.once.Do(func() {
		close(r.lease.begun)
		seen := r.looker.Snapshot(rec.Cluster, rec.Old).Servers[rec.Old].LastSeen
		r.under.Go(func() {
			defer close(r.lease.over)
			r.lease.note, r.lease.err = r.cfg.Leases.Outlast(ctx, rec.Cluster, rec.Old, seen, rec.Epoch, r.lead)
		})
	})
	return true
}

// outlasted reports whether the old master's lease is known to have ended.
func (r *run) outlasted() bool {
	select {
	case <-r.lease.over:
		return r.lease.err == nil
	default:
		return false
	}
}

// outlives reports whether the end of the old master's lease is still waited for.
func (r *run) outlives() bool {
	select {
	case <-r.lease.begun:
	default:
		return false
	}
	select {
	case <-r.lease.over:
		return false
	default:
		return true
	}
}

// cutOff reports whether the old master may live, cut off, and its lease is what
// it is given up by.
func (r *run) cutOff(ctx context.Context) bool {
	rec := r.recovery()
	if r.cfg.Leases == nil || rec.Kind != ledger.Failover || rec.OldProvenDead || r.policy.Partition != policy.PartitionFailover ||
		!r.cfg.Leases.Kept(rec.Cluster) {
		return false
	}
	view := r.looker.Look(ctx, []topology.Key{rec.Old}, map[topology.Key]bool{rec.Old: true})
	reach := view.Observations[rec.Old].Reach
	return reach.Dead() && !reach.HostAnswered()
}

// endLease waits for the end of the old master's lease; why is why it could not
// be fenced by hand.
func (r *run) endLease(ctx context.Context, why error) (string, error) {
	r.outlast(ctx)
	select {
	case <-r.lease.over:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	switch err := r.lease.err; {
	case err == nil:
		r.fenced = true
		return r.lease.note, nil
	case errors.Is(err, ErrDeposed) || ctx.Err() != nil || !r.recovery().Forced:
		return "", err
	default:
		r.risk = err.Error()
		return fmt.Sprintf("not possible now: %v; FORCED: %s", why, r.risk), nil
	}
}

// leased waits, for a bounded time, until the winner may be made writable without
// being fenced again by its own sidecar.
func (r *run) leased(ctx context.Context) (string, error) {
	if r.cfg.Leases == nil {
		return "", nil
	}
	note, err := r.cfg.Leases.Await(ctx, r.recovery().Winner, r.cfg.LeaseTimeout)
	if err != nil || note == "" {
		return "", err
	}
	return "; " + note, nil
}
