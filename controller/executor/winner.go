package executor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"switchyard/controller/candidate"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// verbTimeout bounds one quick change of one server.
const verbTimeout = 3 * time.Second

// stopReceiving makes final what each replica has received. A replica that
// cannot be reached is no candidate, and holds up nobody.
func (r *run) stopReceiving(ctx context.Context) (string, error) {
	if !r.recovery().Winner.IsZero() {
		return "not needed: the winner is chosen", nil
	}
	keys := r.candidates()
	if len(keys) == 0 {
		return "", errors.New("no replica of the old master is known here")
	}
	failed := r.each(keys, func(k topology.Key) error {
		return r.sessions.with(ctx, k, verbTimeout, func(ctx context.Context, s Session) error {
			return s.StopReceiver(ctx)
		})
	})
	if err := deposedAmong(failed); err != nil {
		return "", err
	}
	if len(failed) == len(keys) {
		return "", fmt.Errorf("no replica could be reached: %s", notes(failed))
	}
	return fmt.Sprintf("%d of %d replicas stopped%s", len(keys)-len(failed), len(keys), suffix(failed)), nil
}

// resumeReplicas lets the replicas of a recovery that failed before it chose
// anybody go on as before, as well as it can.
func (r *run) resumeReplicas(ctx context.Context) {
	failed := r.each(r.candidates(), func(k topology.Key) error {
		return r.sessions.with(ctx, k, verbTimeout, func(ctx context.Context, s Session) error {
			return s.StartReplica(ctx)
		})
	})
	if len(failed) > 0 {
		r.log.Warn("replicas could not be started again", "recovery", r.id, "reasons", notes(failed))
	}
}

// pick commits the winner, by pictures taken after receiving has stopped.
func (r *run) pick(ctx context.Context) (string, error) {
	rec := r.recovery()
	if !rec.Winner.IsZero() {
		return "already chosen: " + rec.WinnerReason, nil
	}
	// One look that is missed must not decide who is left out.
	choice, err := candidate.Choice{}, error(nil)
	for deadline := r.cfg.Now().Add(verbTimeout); ; {
		if choice, err = r.choose(ctx, rec); err == nil {
			break
		}
		if !r.cfg.Now().Before(deadline) {
			return "", err
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return "", err
		}
	}
	return choice.Reason, r.propose(ctx, ledger.ChooseWinner{
		Recovery: r.id, Winner: choice.Key, Reason: choice.Reason, At: r.cfg.Now(),
	})
}

func (r *run) choose(ctx context.Context, rec ledger.Recovery) (candidate.Choice, error) {
	if rec.Undoing || rec.Kind == ledger.Reinstate {
		return candidate.Choice{Key: rec.Old, Reason: "it was the master before"}, nil
	}
	if !rec.Target.IsZero() {
		return candidate.Choice{Key: rec.Target, Reason: "it was found fit before the claim"}, nil
	}
	keys := r.candidates()
	snap := r.looker.Snapshot(rec.Cluster, rec.Old)
	snap.Views = []topology.View{r.looker.Look(ctx, keys, nil)}
	snap.Taker = snap.Views[0].Observer
	snap.Outcasts = Outcasts(r.ledger.State(), rec.Cluster)
	ranking := candidate.Rank(snap, rec.Old, Former(r.ledger.State(), rec.Cluster), r.policy)
	if best, ok := ranking.Best(); ok {
		return best, nil
	}
	return candidate.Choice{}, fmt.Errorf("no winner: %s", ranking.Why())
}

// waitApplied drains the winner's relay log.
func (r *run) waitApplied(ctx context.Context) (string, error) {
	winner := r.recovery().Winner
	o := r.looker.Look(ctx, []topology.Key{winner}, nil).Observations[winner]
	if o.Instance == nil {
		return "", fmt.Errorf("the winner does not answer: %s: %s", o.Reach, o.Error)
	}
	received := o.Instance.Received()
	if o.Instance.Executed.Contains(received) {
		return "nothing was left to apply", nil
	}
	err := r.sessions.with(ctx, winner, r.cfg.ApplyTimeout, func(ctx context.Context, s Session) error {
		return s.WaitApplied(ctx, received)
	})
	return "it has applied all that it received", err
}

// catchUp waits for what the demoted master wrote last.
func (r *run) catchUp(ctx context.Context) (string, error) {
	rec := r.recovery()
	o := r.looker.Look(ctx, []topology.Key{rec.Old}, nil).Observations[rec.Old]
	if o.Instance == nil {
		return "", fmt.Errorf("the old master does not answer: %s: %s", o.Reach, o.Error)
	}
	err := r.sessions.with(ctx, rec.Winner, r.cfg.CatchUpTimeout, func(ctx context.Context, s Session) error {
		return s.WaitApplied(ctx, o.Instance.Executed)
	})
	return "it has applied all that the old master wrote", err
}

// semiSync says whether the winner is to wait for acknowledgements, for how
// many, and if not, why not.
func (r *run) semiSync() (used bool, acks int, why string) {
	if r.policy.SemiSync == policy.SemiSyncOff {
		return false, 0, "semi_sync is off"
	}
	rec := r.recovery()
	snap := r.looker.Snapshot(rec.Cluster, rec.Old)
	used, acks = r.policy.SemiSync == policy.SemiSyncOn, 1
	for k, s := range snap.Servers {
		if s.Last == nil {
			continue
		}
		if k == rec.Old && s.Last.SemiSync.SourceEnabled {
			used, acks = true, max(acks, s.Last.SemiSync.WaitCount)
		}
		used = used || s.Last.SemiSync.ReplicaEnabled
	}
	if !used {
		return false, 0, "the cluster does not use semi-sync"
	}
	if last := snap.Servers[rec.Winner].Last; r.policy.SemiSync == policy.SemiSyncAuto && last != nil && !last.SemiSync.Available {
		return false, 0, "the winner has no semi-sync plugins"
	}
	return true, acks, ""
}

// acknowledgers repoints as many replicas as a commit on the winner will wait
// for, so that the first write is not held up; the rest follow later.
func (r *run) acknowledgers(ctx context.Context) (string, error) {
	used, acks, why := r.semiSync()
	if !used {
		return "not needed: " + why, nil
	}
	winner := r.recovery().Winner
	r.acknowledging = 0
	var failed []failure
	for _, k := range r.followers() {
		if r.acknowledging == acks {
			break
		}
		if err := r.follow(ctx, k, winner); err != nil {
			failed = append(failed, failure{k, err})
			continue
		}
		r.acknowledging++
	}
	if err := deposedAmong(failed); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d of the %d that a commit waits for follow the winner%s", r.acknowledging, acks, suffix(failed)), nil
}

// attempts is how often a step on the winner is tried before it counts as lost:
// changing the winner costs more than a reply that went missing.
const attempts = 3

// promote makes the winner writable: the one irreversible step. No other
// server may be reachable through a proxy or writable by then.
func (r *run) promote(ctx context.Context) (string, error) {
	used, acks, _ := r.semiSync()
	note := "it is writable"
	// A commit that waits for more than there are would never return. Where the
	// operator has not said that it must, it waits for those there are.
	if used && r.policy.SemiSync == policy.SemiSyncAuto && r.acknowledging < acks {
		note = fmt.Sprintf("it is writable, and waits for %d acknowledgements instead of %d, as no more replicas can give them",
			r.acknowledging, acks)
		used, acks = r.acknowledging > 0, r.acknowledging
	} else if used {
		note = fmt.Sprintf("it is writable, and waits for %s", count(acks, "acknowledgement", "acknowledgements"))
	}
	var err error
	for range attempts {
		if err = r.promoteOnce(ctx, used, acks); err == nil || errors.Is(err, ErrDeposed) || ctx.Err() != nil {
			break
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return "", err
		}
	}
	return note, err
}

func (r *run) promoteOnce(ctx context.Context, used bool, acks int) error {
	if err := r.barred(ctx); err != nil {
		return err
	}
	r.touched = true
	return r.sessions.with(ctx, r.recovery().Winner, 2*verbTimeout, func(ctx context.Context, s Session) error {
		if err := s.Detach(ctx); err != nil {
			return err
		}
		if used {
			if err := s.SetSemiSync(ctx, SemiSync{Source: true, WaitCount: acks}); err != nil {
				return err
			}
		}
		// What it took may have been long enough for the old master to come back.
		if err := r.barred(ctx); err != nil {
			return err
		}
		return s.SetWritable(ctx)
	})
}

type failure struct {
	key topology.Key
	err error
}

// each runs do for all keys side by side and returns those that failed.
func (r *run) each(keys []topology.Key, do func(topology.Key) error) []failure {
	var (
		mu     sync.Mutex
		wg     sync.WaitGroup
		failed []failure
	)
	for _, k := range keys {
		wg.Go(func() {
			if err := do(k); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, failure{k, err})
			}
		})
	}
	wg.Wait()
	return failed
}

func deposedAmong(failed []failure) error {
	for _, f := range failed {
		if errors.Is(f.err, ErrDeposed) {
			return f.err
		}
	}
	return nil
}

func notes(failed []failure) string {
	out := make([]string, 0, len(failed))
	for _, f := range failed {
		out = append(out, f.err.Error())
	}
	return strings.Join(out, "; ")
}

func suffix(failed []failure) string {
	if len(failed) == 0 {
		return ""
	}
	return "; not: " + notes(failed)
}
