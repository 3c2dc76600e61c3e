package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"switchyard/controller/candidate"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// unproven begins the sentence on durability where writes that were acknowledged
// may be lost.
const unproven = "not proven that nothing is lost: "

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
	if err := r.letItEnd(ctx); err != nil {
		return "", err
	}
	failed := r.each(keys, func(k topology.Key) error {
		return r.sessions.With(ctx, k, verbTimeout, func(ctx context.Context, s Session) error {
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
		return r.sessions.With(ctx, k, verbTimeout, func(ctx context.Context, s Session) error {
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
	choice, durability, err := candidate.Choice{}, "", error(nil)
	for deadline := r.cfg.Now().Add(verbTimeout); ; {
		if choice, durability, err = r.choose(ctx, rec); err == nil {
			break
		}
		if !r.cfg.Now().Before(deadline) {
			return "", err
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return "", err
		}
	}
	note := choice.Reason
	if !choice.Via.IsZero() {
		note += fmt.Sprintf("; it first takes what it lacks from %s", choice.Via)
	}
	return strings.TrimSuffix(note+"; "+durability, "; "), r.propose(ctx, ledger.ChooseWinner{
		Recovery: r.id, Winner: choice.Key, Reason: choice.Reason, Via: choice.Via, Durability: durability,
		Acks: r.acks(choice.Key), At: r.cfg.Now(),
	})
}

// choose says whom to promote and, for a failover, what is known of the writes
// that the old master acknowledged.
func (r *run) choose(ctx context.Context, rec ledger.Recovery) (choice candidate.Choice, durability string, err error) {
	switch {
	case rec.Undoing || rec.Kind == ledger.Reinstate:
		return candidate.Choice{Key: rec.Old, Reason: "it was the master before"}, "", nil
	case rec.Kind == ledger.Switchover && !rec.Target.IsZero():
		return candidate.Choice{Key: rec.Target, Reason: "it was found fit before the claim"}, "", nil
	}
	snap, rules := r.field(ctx, rec), r.policy.Begun()
	former := Runners(r.ledger.State(), snap)
	choice, err = best(snap, rec, former, rules)
	if err != nil {
		return choice, "", err
	}
	proven, durability := candidate.Durability(snap, rec.Old, former, choice, rules)
	if !proven && durability != "" {
		durability = unproven + durability
	}
	return choice, cutText(durability), nil
}

// field is who runs for the mastership, by pictures taken now.
func (r *run) field(ctx context.Context, rec ledger.Recovery) topology.Snapshot {
	snap := r.withoutTails(r.looker.Snapshot(rec.Cluster, rec.Old))
	snap.Views = []topology.View{r.looker.Look(ctx, r.candidates(), nil)}
	snap.Taker = snap.Views[0].Observer
	state := r.ledger.State()
	snap.Outcasts = Outcasts(state, rec.Cluster)
	snap.Downtimed = Downtimed(state, rec.Cluster, r.cfg.Now())
	return snap
}

// best is whom the operator named, the best candidate or, where a person forces
// it, the most advanced.
func best(s topology.Snapshot, rec ledger.Recovery, former []topology.Key, rules policy.Cluster) (candidate.Choice, error) {
	named := rec.Target
	if slices.Contains(rec.Former, named) {
		named = topology.Key{} // it was given up, and has had its turn
	}
	switch {
	case rec.Forced:
		return bestByForce(s, rec, named, former, rules)
	case !named.IsZero():
		return candidate.Choice{Key: named, Reason: "it was named"}, nil
	}
	ranking := candidate.Rank(s, rec.Old, former, rules)
	if choice, ok := ranking.Best(); ok {
		return choice, nil
	}
	return candidate.Choice{}, fmt.Errorf("no winner: %s", ranking.Why())
}

// bestByForce prefers who loses nothing; those that were given up in this
// recovery come last, as the operator's word was not for any one of them.
func bestByForce(
	s topology.Snapshot, rec ledger.Recovery, named topology.Key, former []topology.Key, rules policy.Cluster,
) (candidate.Choice, error) {
	safe, forced := candidate.Rank(s, rec.Old, former, rules), candidate.Forced(s, rec.Old, former, rules)
	choices := forced.Order
	if choice, ok := safe.Best(); ok {
		choices = slices.Concat([]candidate.Choice{choice}, safe.Order, forced.Order)
	}
	for _, choice := range choices {
		if choice.Key == named || named.IsZero() && !slices.Contains(rec.Former, choice.Key) {
			return choice, nil
		}
	}
	if named.IsZero() && len(choices) > 0 {
		return choices[0], nil
	}
	why := forced.Why()
	if !named.IsZero() {
		why = fmt.Sprintf("%s was named; %s", named, why)
	}
	return candidate.Choice{}, fmt.Errorf("no winner: %s", why)
}

// cutText keeps a sentence short enough for the ledger.
func cutText(text string) string {
	const limit = 1500
	if len(text) > limit {
		return text[:limit] + "..."
	}
	return text
}

// waitApplied drains the winner's relay log.
func (r *run) waitApplied(ctx context.Context) (string, error) {
	o := r.look(ctx, r.recovery().Winner)
	if o.Instance == nil {
		return "", fmt.Errorf("the winner does not answer: %s: %s", o.Reach, o.Error)
	}
	if o.Instance.Executed.Contains(o.Instance.Received()) {
		return "nothing was left to apply", nil
	}
	note, err := r.drain(ctx, o.Instance)
	return "it has applied all that it received" + note, err
}

// catchUp waits for what the demoted master wrote last.
func (r *run) catchUp(ctx context.Context) (string, error) {
	rec := r.recovery()
	o := r.looker.Look(ctx, []topology.Key{rec.Old}, nil).Observations[rec.Old]
	if o.Instance == nil {
		return "", fmt.Errorf("the old master does not answer: %s: %s", o.Reach, o.Error)
	}
	err := r.sessions.With(ctx, rec.Winner, r.cfg.CatchUpTimeout, func(ctx context.Context, s Session) error {
		return s.WaitApplied(ctx, o.Instance.Executed)
	})
	return "it has applied all that the old master wrote", err
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
	if r.risk != "" && !r.fenced && !r.gone(ctx) {
		note += fmt.Sprintf("; FORCED: it is not proven that the old master %s takes no writes: %s", r.recovery().Old, r.risk)
	}
	lease, err := r.leased(ctx)
	if err != nil {
		return "", err
	}
	note += lease
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
	return r.sessions.With(ctx, r.recovery().Winner, 2*verbTimeout, func(ctx context.Context, s Session) error {
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

// each runs do for all keys side by side and returns those that failed, in the
// order of the keys.
func (r *run) each(keys []topology.Key, do func(topology.Key) error) []failure {
	var wg sync.WaitGroup
	errs := make([]error, len(keys))
	for n, k := range keys {
		wg.Go(func() { errs[n] = do(k) })
	}
	wg.Wait()
	var failed []failure
	for n, err := range errs {
		if err != nil {
			failed = append(failed, failure{keys[n], err})
		}
	}
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
