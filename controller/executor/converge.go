package executor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/plan"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// converge has the winner take what it lacks from the server that has it: that
// one applies all that it received, the winner is pointed to it, waits until it
// has the same, and stops receiving with its applier running. Only then do the
// steps go on that make it the master.
func (r *run) converge(ctx context.Context) (string, error) {
	rec := r.recovery()
	if rec.Via.IsZero() {
		return "not needed: the winner itself holds all that was received", nil
	}
	view := r.looker.Look(ctx, []topology.Key{rec.Winner, rec.Via}, nil)
	mine, theirs := view.Observations[rec.Winner], view.Observations[rec.Via]
	switch {
	case mine.Instance == nil:
		return "", fmt.Errorf("the winner does not answer: %s: %s", mine.Reach, mine.Error)
	case r.converged():
		// What it has, it keeps, whatever became of the other since.
		return fmt.Sprintf("already done: it has taken all that %s held", rec.Via), r.stopTaking(ctx, mine.Instance)
	case theirs.Instance == nil:
		return "", fmt.Errorf("%s, from which the winner is to take what it lacks, does not answer: %s: %s",
			rec.Via, theirs.Reach, theirs.Error)
	}
	note, err := r.drain(ctx, theirs.Instance)
	if err != nil {
		return "", fmt.Errorf("%s, from which the winner is to take what it lacks: %w", rec.Via, err)
	}
	if theirs = r.look(ctx, rec.Via); theirs.Instance == nil {
		return "", fmt.Errorf("%s does not answer: %s: %s", rec.Via, theirs.Reach, theirs.Error)
	}
	all := theirs.Instance.Executed
	lacking := all.Subtract(mine.Instance.Executed)
	if !lacking.IsEmpty() {
		if err := r.take(ctx, mine.Instance, rec.Via, all); err != nil {
			return "", err
		}
		if mine = r.look(ctx, rec.Winner); mine.Instance == nil {
			return "", fmt.Errorf("the winner does not answer: %s: %s", mine.Reach, mine.Error)
		}
	}
	if err := r.stopTaking(ctx, mine.Instance); err != nil {
		return "", err
	}
	return fmt.Sprintf("it has all that %s held%s; it lacked %d transactions", rec.Via, note, lacking.Count()), nil
}

// converged reports whether the journal has it that the winner of this epoch has
// taken what it lacked.
func (r *run) converged() bool {
	done := false
	for _, s := range r.recovery().Steps {
		switch {
		case s.Name == "rewind":
			done = false
		case s.Name == string(plan.Converge) && s.Outcome == ledger.StepDone:
			done = true
		}
	}
	return done
}

// drain has a server apply all that it received, at once also where it is to
// apply late, and says whether it was. Its receiver stops first, so that this has
// an end.
func (r *run) drain(ctx context.Context, i *topology.Instance) (note string, err error) {
	received := i.Received()
	delayed := i.Replication != nil && i.Replication.Delay > 0
	if i.Replication == nil {
		return "", nil
	}
	err = r.sessions.With(ctx, i.Key, r.cfg.ApplyTimeout, func(ctx context.Context, s Session) error {
		if err := s.StopReceiver(ctx); err != nil {
			return err
		}
		now := r.look(ctx, i.Key)
		if now.Instance == nil {
			return fmt.Errorf("it does not answer: %s", now.Reach)
		}
		received = received.Union(now.Instance.Received())
		if now.Instance.Executed.Contains(received) {
			return nil
		}
		if delayed {
			note = fmt.Sprintf(" (it applied %s late, and does not any more)", i.Replication.Delay)
			if err := s.Undelay(ctx); err != nil {
				return err
			}
		}
		return s.WaitApplied(ctx, received)
	})
	return note, err
}

// take points the winner to via and waits until it has all of it. What the
// winner received and did not apply is dropped: via has that too.
func (r *run) take(ctx context.Context, winner *topology.Instance, via topology.Key, all gtid.Set) error {
	return r.sessions.With(ctx, winner.Key, r.cfg.ApplyTimeout, func(ctx context.Context, s Session) error {
		// One that was given up before may have been made writable.
		if err := s.SetReadOnly(ctx); err != nil {
			return err
		}
		if winner.Replication != nil && winner.Replication.Delay > 0 {
			if err := s.Undelay(ctx); err != nil {
				return err
			}
		}
		if err := s.Repoint(ctx, via, all); err != nil {
			return err
		}
		return r.waitTaken(ctx, s, winner.Key, via, all)
	})
}

// takePatience is how long the winner may be without its source's data before it
// counts as lost: the long wait for all of it must not be one for nothing.
const takePatience = 5 * time.Second

// waitTaken waits until the winner has all; and watches, meanwhile, that it gets it.
func (r *run) waitTaken(ctx context.Context, s Session, winner, via topology.Key, all gtid.Set) error {
	ctx, stop := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		since := r.cfg.Now()
		for sleep(ctx, guardInterval) == nil {
			why, final := r.notTaking(ctx, winner, via)
			switch {
			case why == "":
				since = r.cfg.Now()
			case final || r.cfg.Now().Sub(since) > takePatience:
				stop(errors.New(why))
				return
			}
		}
	}()
	err := s.WaitApplied(ctx, all)
	cause := context.Cause(ctx)
	stop(nil)
	<-watched
	if err != nil && cause != nil {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// notTaking says why the winner gets nothing from via, and whether that is final.
func (r *run) notTaking(ctx context.Context, winner, via topology.Key) (why string, final bool) {
	view := r.looker.Look(ctx, []topology.Key{winner, via}, nil)
	mine, theirs := view.Observations[winner], view.Observations[via]
	switch {
	case theirs.Instance == nil:
		return fmt.Sprintf("%s does not answer: %s", via, theirs.Reach), theirs.Reach == topology.ReachRefused
	case mine.Instance == nil || !follows(mine.Instance, via):
		return "", false // the wait itself tells
	case mine.Instance.Replication.IO == topology.ThreadRunning:
		return "", false
	}
	i := mine.Instance.Replication
	return fmt.Sprintf("the winner does not receive from %s: its receiver is %s, error %d: %s", via, i.IO, i.IOErrno, i.IOError),
		i.IO == topology.ThreadStopped && i.IOErrno != 0
}

// stopTaking stops the winner's receiver; what it received it goes on applying.
func (r *run) stopTaking(ctx context.Context, winner *topology.Instance) error {
	if winner.Replication == nil || winner.Replication.IO == topology.ThreadStopped {
		return nil
	}
	return r.sessions.With(ctx, winner.Key, verbTimeout, func(ctx context.Context, s Session) error {
		return s.StopReceiver(ctx)
	})
}

func (r *run) look(ctx context.Context, k topology.Key) topology.Observation {
	return r.looker.Look(ctx, []topology.Key{k}, nil).Observations[k]
}
