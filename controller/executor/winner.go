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

// candidates are the old master's direct replicas.
func (r *run) candidates() []topology.Key {
	rec := r.recovery()
	return r.looker.Snapshot(rec.Cluster, rec.Old).Replicas(rec.Old)
}

// stopReceiving makes final what each replica has received. A replica that
// cannot be reached is no candidate, and holds up nobody.
func (r *run) stopReceiving(ctx context.Context) (string, error) {
	if !r.recovery().Winner.IsZero() {
		return "not needed: the winner is chosen", nil
	}
	keys := r.candidates()
	failed := r.each(keys, func(k topology.Key) error {
		return r.sessions.with(ctx, k, time.Second, func(ctx context.Context, s Session) error {
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
	choice, err := r.choose(ctx, rec)
	if err != nil {
		return "", err
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
	ranking := candidate.Rank(snap, rec.Old, r.policy)
	if best, ok := ranking.Best(); ok {
		return best, nil
	}
	return candidate.Choice{}, fmt.Errorf("no winner: %s", why(ranking))
}

func why(r candidate.Ranking) string {
	switch {
	case r.Ambiguous != "":
		return "any choice would lose transactions: " + r.Ambiguous
	case r.Ahead != "":
		return r.Ahead
	}
	reasons := make([]string, 0, len(r.Excluded))
	for _, e := range r.Excluded {
		reasons = append(reasons, fmt.Sprintf("%s: %s", e.Key, e.Reason))
	}
	return "no replica may be promoted: " + strings.Join(reasons, "; ")
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

// semiSync says whether the winner is to wait for acknowledgements, and for
// how many.
func (r *run) semiSync() (bool, int) {
	if r.policy.SemiSync == policy.SemiSyncOff {
		return false, 0
	}
	rec := r.recovery()
	snap := r.looker.Snapshot(rec.Cluster, rec.Old)
	used, count := r.policy.SemiSync == policy.SemiSyncOn, 1
	for k, s := range snap.Servers {
		if s.Last == nil {
			continue
		}
		if k == rec.Old && s.Last.SemiSync.SourceEnabled {
			used, count = true, max(count, s.Last.SemiSync.WaitCount)
		}
		used = used || s.Last.SemiSync.ReplicaEnabled
	}
	if last := snap.Servers[rec.Winner].Last; r.policy.SemiSync == policy.SemiSyncAuto && last != nil && !last.SemiSync.Available {
		return false, 0 // a server without the plugins serves rather than nobody
	}
	return used, count
}

// acknowledgers repoints as many replicas as a commit on the winner will wait
// for, so that the first write is not held up; the rest follow later.
func (r *run) acknowledgers(ctx context.Context) (string, error) {
	used, count := r.semiSync()
	if !used {
		return "not needed: the cluster does not use semi-sync", nil
	}
	winner, done := r.recovery().Winner, 0
	var failed []failure
	for _, k := range r.followers() {
		if done == count {
			break
		}
		if err := r.follow(ctx, k, winner); err != nil {
			failed = append(failed, failure{k, err})
			continue
		}
		done++
	}
	if err := deposedAmong(failed); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d of the %d replicas that a commit waits for follow the winner%s", done, count, suffix(failed)), nil
}

// promote makes the winner writable: the one irreversible step. No other
// server may be reachable through a proxy or writable by then.
func (r *run) promote(ctx context.Context) (string, error) {
	rec := r.recovery()
	if rec.Winner != rec.Old && !r.withdrawn && !r.fenced && !rec.OldProvenDead {
		return "", errors.New("the old master was neither withdrawn nor fenced nor proven dead")
	}
	used, count := r.semiSync()
	r.touched = true
	err := r.sessions.with(ctx, rec.Winner, 2*verbTimeout, func(ctx context.Context, s Session) error {
		if err := s.Detach(ctx); err != nil {
			return err
		}
		if used {
			if err := s.SetSemiSync(ctx, SemiSync{Source: true, WaitCount: count}); err != nil {
				return err
			}
		}
		return s.SetWritable(ctx)
	})
	note := "it is writable"
	if used {
		note += fmt.Sprintf(", and waits for %d acknowledgements", count)
	}
	return note, err
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
