package executor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// fenceTimeout bounds the attempt to fence a master that is thought dead: a
// frozen server answers nothing, and must not hold up the recovery.
const fenceTimeout = 150 * time.Millisecond

// barrier tells those who wait for it what became of a withdrawal.
type barrier struct {
	over chan struct{} // closed once it has ended
	once *sync.Once
	err  error // to be read once over is closed
}

func newBarrier() barrier { return barrier{over: make(chan struct{}), once: &sync.Once{}} }

func (b *barrier) end(err error) {
	b.once.Do(func() {
		b.err = err
		close(b.over)
	})
}

// restTime bounds how long the replicas of an old master that lives are waited
// for, once it is withdrawn.
const restTime = time.Second

// letItEnd waits, where the old master lives and may serve, until it is withdrawn
// and a replica has received what it has written: what it acknowledges after the
// replicas have stopped receiving would be lost. One that is thought dead is
// waited for by nobody.
func (r *run) letItEnd(ctx context.Context) error {
	rec := r.recovery()
	seen, ok := r.looker.Snapshot(rec.Cluster, rec.Old).Sight(rec.Old)
	if !ok || seen.Reach.Dead() {
		return nil
	}
	select {
	case <-r.barrier.over:
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.barrier.err != nil {
		return errors.New("the old master lives, and was not withdrawn")
	}
	old := r.look(ctx, rec.Old)
	for deadline := r.cfg.Now().Add(restTime); old.Instance != nil && r.cfg.Now().Before(deadline); {
		for _, o := range r.looker.Look(ctx, r.candidates(), nil).Observations {
			if o.Instance != nil && o.Instance.Received().Contains(old.Instance.Executed) {
				return nil
			}
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// withdraw is the barrier: no proxy leads to the old master any more. A proxy
// whose state is unknown is asked again until it answers, or until the old
// master is known to be dead (where the policy takes that for enough) or stopped
// by its own sidecar. In a forced recovery one that stays silent is left
// behind, at the operator's risk; one that answers never is.
func (r *run) withdraw(ctx context.Context) (string, error) {
	rec, table := r.recovery(), r.ledger.State().Routes(r.cluster())
	table.Writer = nil
	r.under.Go(func() {
		if r.cutOff(ctx) {
			r.outlast(ctx) // beside the proxies, which may be cut off with it
		}
	})
	strict := r.policy.UnreachableProxies == policy.ProxiesStrict
	for deadline := r.cfg.Now().Add(r.cfg.RouteTimeout); ; {
		receipts := r.proxies.Push(ctx, table)
		confirmed, down, unknown := sortReceipts(receipts)
		late := !r.cfg.Now().Before(deadline) && !r.outlives()
		switch {
		case len(unknown) == 0 && confirmed+len(down) == 0:
			if rec.Forced {
				r.risk = "no proxy is configured that could be withdrawn"
			}
			return "no proxy is configured for this cluster", nil
		case len(unknown) == 0:
			r.withdrawn = true
			return fmt.Sprintf("withdrawn by %s%s", count(confirmed, "proxy", "proxies"), downNote(down)), nil
		case !strict && r.gone(ctx):
			return fmt.Sprintf("withdrawn by %s; its process is gone, so these need not yet: %s",
				count(confirmed, "proxy", "proxies"), strings.Join(unknown, "; ")), nil
		case r.outlast(ctx) && r.outlasted():
			r.fenced = true
			return fmt.Sprintf("withdrawn by %s; %s, so these need not yet: %s",
				count(confirmed, "proxy", "proxies"), r.lease.note, strings.Join(unknown, "; ")), nil
		case late && rec.Forced && allSilent(receipts):
			r.risk = "these proxies do not answer, and may lead to the old master: " + strings.Join(unknown, "; ")
			return fmt.Sprintf("withdrawn by %s; FORCED: %s", count(confirmed, "proxy", "proxies"), r.risk), nil
		case late:
			return "", fmt.Errorf("proxies may still lead to %s: %s", rec.Old, strings.Join(unknown, "; "))
		}
		if err := r.lead(ctx); err != nil {
			return "", err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return "", err
		}
	}
}

// allSilent reports whether all receivers of which nothing is known are ones
// that do not answer at all.
func allSilent(receipts []routes.Receipt) bool {
	return !slices.ContainsFunc(receipts, func(rc routes.Receipt) bool {
		if rc.Answer != routes.Unknown {
			return false
		}
		var network net.Error
		silent := errors.Is(rc.Err, context.DeadlineExceeded) || errors.Is(rc.Err, os.ErrDeadlineExceeded) || errors.As(rc.Err, &network)
		return !silent || rc.Proof != "" || errors.Is(rc.Err, routes.ErrNotYet)
	})
}

// gone reports whether the old master's process is gone now: what was true at
// the claim may not be, where something restarts it.
func (r *run) gone(ctx context.Context) bool {
	old := r.recovery().Old
	view := r.looker.Look(ctx, []topology.Key{old}, map[topology.Key]bool{old: true})
	return view.Observations[old].Reach == topology.ReachRefused
}

// fence tries to make the old master read-only; a dead one cannot be reached.
func (r *run) fence(ctx context.Context) (string, error) {
	// A frozen one does not answer this either, and a look waits for longer than
	// anybody should be kept from writing for a message's sake.
	look, cancel := context.WithTimeout(ctx, fenceTimeout)
	gone := r.gone(look)
	cancel()
	if gone {
		return "not needed: its process is gone", nil
	}
	switch err := r.fenceServer(ctx, r.recovery().Old, fenceTimeout); {
	case errors.Is(err, ErrDeposed):
		return "", err
	case err != nil && (r.outlasted() || r.cutOff(ctx)):
		return r.endLease(ctx, err)
	case err != nil:
		return "not possible now: " + err.Error(), nil
	}
	r.fenced = true
	return "it is read-only and its clients are gone", nil
}

// barred reports why nobody else may be made writable yet, or nothing.
func (r *run) barred(ctx context.Context) error {
	rec := r.recovery()
	if rec.Winner == rec.Old || r.withdrawn || r.fenced || r.gone(ctx) {
		return nil
	}
	if rec.Forced && r.risk != "" {
		return nil // The operator has taken that on himself; promote says so.
	}
	return fmt.Errorf("the old master %s was neither withdrawn nor fenced, and its process is not gone", rec.Old)
}

// guardInterval is how often the old master is looked for while a recovery runs.
const guardInterval = 200 * time.Millisecond

// guardOld fences the old master whenever it comes back while the recovery
// runs. The group ends with ctx.
func (r *run) guardOld(ctx context.Context) *sync.WaitGroup {
	var group sync.WaitGroup
	group.Go(func() {
		for sleep(ctx, guardInterval) == nil {
			rec := r.recovery()
			if rec.Kind != ledger.Failover || rec.Winner.IsZero() || rec.Winner == rec.Old {
				continue
			}
			o := r.looker.Look(ctx, []topology.Key{rec.Old}, nil).Observations[rec.Old]
			if o.Instance == nil || o.Instance.ReadOnly {
				continue
			}
			err := r.fenceServer(ctx, rec.Old, 2*time.Second)
			r.log.Warn("the old master came back writable during its recovery", "recovery", r.id,
				"instance", rec.Old.String(), "fenced", err == nil, "error", err)
		}
	})
	return &group
}

// demoteTime bounds all that is tried to make a living master read-only.
const demoteTime = 5 * time.Second

// demote is fence on a living master, where it must succeed. It is tried again
// once: a server that stalls for a moment would turn the switchover back.
func (r *run) demote(ctx context.Context) (string, error) {
	old, deadline := r.recovery().Old, r.cfg.Now().Add(demoteTime)
	err := r.fenceServer(ctx, old, demoteTime)
	if left := deadline.Sub(r.cfg.Now()); err != nil && !errors.Is(err, ErrDeposed) && left > 0 {
		// A statement that hung has cost the session, and with it all that was to follow.
		err = r.fenceServer(ctx, old, left)
	}
	if err != nil {
		return "", err
	}
	r.fenced = true
	return "it is read-only and its clients are gone", nil
}

func (r *run) fenceServer(ctx context.Context, k topology.Key, timeout time.Duration) error {
	return r.sessions.With(ctx, k, timeout, Fence)
}

// endTime bounds each attempt to end a server's clients: a commit that waits for
// its acknowledgement does not end on MySQL, and must not keep the rest of the
// fence from being tried.
const endTime = 2 * time.Second

// Fence makes a server that lives refuse the application: its clients are cut,
// it is made read-only, and whoever came back meanwhile is cut too. The clients
// go first, since read-only waits behind a commit that waits for its
// acknowledgement.
func Fence(ctx context.Context, s Session) error {
	end := func() error {
		ctx, cancel := context.WithTimeout(ctx, share(ctx))
		defer cancel()
		_, left, err := s.EndClients(ctx)
		if err == nil && left > 0 {
			err = fmt.Errorf("%d client connections are left", left)
		}
		return err
	}
	first := end()
	if err := s.SetReadOnly(ctx); err != nil {
		if first != nil {
			return fmt.Errorf("%w; and %w", err, first)
		}
		return err
	}
	return end()
}

// share is how long one attempt to end clients may take: a third of what there
// is, so that read-only is tried in any case.
func share(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return endTime
	}
	return min(endTime, time.Until(deadline)/3)
}

// rewind fences the winner that was lost and takes a new epoch. A failover
// picks again; a switchover turns back to the old master. The last time only
// the fence is left to do.
func (r *run) rewind(ctx context.Context, cause error, last bool) error {
	rec := r.recovery()
	switch {
	case rec.Kind == ledger.Reinstate || rec.Undoing:
		return cause
	case rec.Kind == ledger.Failover && rec.Winner.IsZero():
		return cause
	}
	if !rec.Winner.IsZero() && rec.Winner != rec.Old && r.touched {
		if err := r.fenceLost(ctx, rec.Winner); err != nil {
			return fmt.Errorf("%w; and %s, which may be writable, could not be fenced: %w", cause, rec.Winner, err)
		}
	}
	if last {
		return fmt.Errorf("gave up: %w", cause)
	}
	r.touched = false
	return r.propose(ctx, ledger.Rewind{
		Recovery: r.id, Undoing: rec.Kind == ledger.Switchover, Reason: cause.Error(), At: r.cfg.Now(),
	})
}

// fenceLost makes sure that a former winner is not writable: by fencing it, or
// by proof that its process is gone.
func (r *run) fenceLost(ctx context.Context, k topology.Key) error {
	err := r.fenceServer(ctx, k, 2*time.Second)
	if err == nil || errors.Is(err, ErrDeposed) {
		return err
	}
	view := r.looker.Look(ctx, []topology.Key{k}, map[topology.Key]bool{k: true})
	if view.Observations[k].Reach == topology.ReachRefused {
		return nil
	}
	return err
}

func sortReceipts(receipts []routes.Receipt) (confirmed int, down, unknown []string) {
	for _, rc := range receipts {
		switch {
		case rc.Answer == routes.Confirmed:
			confirmed++
		case rc.Answer == routes.Down:
			down = append(down, rc.Receiver)
		default:
			unknown = append(unknown, fmt.Sprintf("%s: %v", rc.Receiver, rc.Err))
		}
	}
	return confirmed, down, unknown
}

// count is "1 proxy", "2 proxies".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func downNote(down []string) string {
	if len(down) == 0 {
		return ""
	}
	return "; not running, and so serving nobody: " + strings.Join(down, ", ")
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
