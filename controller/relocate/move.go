package relocate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"switchyard/controller/candidate"
	"switchyard/controller/executor"
	"switchyard/controller/gtid"
	"switchyard/controller/plan"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// errLives means that a replica receives from the source that it was to leave.
var errLives = errors.New("it receives from its source again, and was left alone")

// move gives one orphan the first source that works. together are the orphans
// that are moved beside it. An error says why none did, each in turn.
func (m *mission) move(ctx context.Context, s topology.Snapshot, orphan topology.Key, together []topology.Key) error {
	var reasons []string
	ranking := m.cfg.Sources(s, m.subject, orphan, m.cfg.Policy(m.cluster))
	barred := append([]topology.Key{m.subject, orphan}, together...)
	tried := false
	for _, choice := range ranking.Order {
		if why := unattached(s, choice.Key, barred...); why != "" {
			reasons = append(reasons, fmt.Sprintf("%s: %s", choice.Key, why))
			continue
		}
		err := m.try(ctx, orphan, choice)
		switch {
		case err == nil || errors.Is(err, errLives):
			return nil
		case errors.Is(err, executor.ErrDeposed) || ctx.Err() != nil:
			return err
		}
		tried = true
		reasons = append(reasons, fmt.Sprintf("%s: %v", choice.Key, err))
	}
	for _, e := range ranking.Excluded {
		reasons = append(reasons, fmt.Sprintf("%s: %s", e.Key, e.Reason))
	}
	if len(reasons) == 0 {
		reasons = append(reasons, "there is no other server")
	}
	failure := errors.New("no source works: " + strings.Join(reasons, "; "))
	if tried {
		return errors.Join(failure, m.putBack(ctx, orphan))
	}
	return failure
}

// try puts one orphan below one source and sees that it receives.
func (m *mission) try(ctx context.Context, orphan topology.Key, choice candidate.Choice) error {
	note := fmt.Sprintf("%s: %s", choice.Key, choice.Reason)
	// In the ledger before the effect: whoever carries this on looks at the orphan
	// also when it is not below the subject any more.
	err := m.step(ctx, string(plan.ChooseSource), orphan, note, func() error { return nil })
	if err != nil {
		return err
	}
	alone := func(o topology.Observation) error {
		if receives(o, m.cfg.Policy(m.cluster)) {
			return errLives
		}
		return nil
	}
	err = m.step(ctx, string(plan.Relocate), orphan, "it is pointed to "+choice.Key.String(), func() error {
		return m.point(ctx, m.sessions, orphan, choice.Key, alone)
	})
	if err != nil {
		return err
	}
	return m.step(ctx, string(plan.Verify), orphan, "it receives from "+choice.Key.String(), func() error {
		return m.verify(ctx, orphan, choice.Key)
	})
}

// step does one step and writes it down.
func (m *mission) step(ctx context.Context, name string, subject topology.Key, note string, do func() error) error {
	entry := ledger.Step{Name: name, Subject: subject, StartedAt: m.cfg.Now(), Note: note}
	if err := executor.Lead(ctx, m.ledger); err != nil {
		return err
	}
	if rec := m.recovery(); !rec.Open() || rec.Leader != m.cfg.Self {
		return fmt.Errorf("%w: relocation %s has ended, or is carried on by %s", executor.ErrDeposed, m.id, rec.Leader)
	}
	err := do()
	if ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	if written := m.record(ctx, entry, err); written != nil {
		return written
	}
	return err
}

// putBack lets an orphan that found no source wait for the one that it had: that
// one may come back, and knows what the orphan needs.
func (m *mission) putBack(ctx context.Context, orphan topology.Key) error {
	return m.sessions.With(ctx, orphan, pointTimeout, func(ctx context.Context, s executor.Session) error {
		if o := m.look(ctx, orphan); o.Instance != nil && follows(o.Instance, m.subject) {
			return s.StartReplica(ctx)
		}
		return s.Repoint(ctx, m.subject, gtid.Set{})
	})
}

// point makes a replica replicate from a source that holds all that it has
// executed. check sees the replica right before it is touched, and may refuse.
func (r *Relocator) point(
	ctx context.Context, sessions *executor.Sessions, k, source topology.Key, check func(topology.Observation) error,
) error {
	return sessions.With(ctx, k, pointTimeout, func(ctx context.Context, s executor.Session) error {
		o := r.look(ctx, k)
		if o.Instance == nil {
			return fmt.Errorf("%s does not answer: %s", k, o.Reach)
		}
		if check != nil {
			if err := check(o); err != nil {
				return err
			}
		}
		// First, so that what it gets meanwhile is in the source's set, which is read
		// after its own.
		if err := s.StopReceiver(ctx); err != nil {
			return err
		}
		mine, theirs := r.look(ctx, k), r.look(ctx, source)
		switch {
		case mine.Instance == nil:
			return fmt.Errorf("%s does not answer: %s", k, mine.Reach)
		case theirs.Instance == nil:
			return fmt.Errorf("%s does not answer: %s", source, theirs.Reach)
		}
		if why := lacks(theirs.Instance, mine.Instance); why != "" {
			return errors.New(why)
		}
		return s.Repoint(ctx, source, theirs.Instance.Executed)
	})
}

func (r *Relocator) look(ctx context.Context, k topology.Key) topology.Observation {
	return r.looker.Look(ctx, []topology.Key{k}, nil).Observations[k]
}

func follows(i *topology.Instance, source topology.Key) bool {
	return i.Replication != nil && i.Replication.Source == source
}

// verify waits, for a bounded time, until a replica receives from its source.
func (r *Relocator) verify(ctx context.Context, k, source topology.Key) error {
	deadline := r.cfg.Now().Add(r.cfg.Settle)
	for {
		o := r.look(ctx, k)
		why, final := notReceiving(o, source)
		if why == "" {
			return nil
		}
		if final || !r.cfg.Now().Before(deadline) {
			return fmt.Errorf("%s does not receive from %s: %s", k, source, why)
		}
		if err := sleep(ctx, verifyPause); err != nil {
			return err
		}
	}
}

// notReceiving says why a replica does not receive from source, and whether that
// will not change by itself.
func notReceiving(o topology.Observation, source topology.Key) (why string, final bool) {
	i := o.Instance
	switch {
	case i == nil:
		return fmt.Sprintf("it does not answer: %s", o.Reach), false
	case !follows(i, source):
		return "it has another source", true
	case i.Replication.IO == topology.ThreadRunning:
		return "", false
	case i.Replication.IOErrno != 0:
		return fmt.Sprintf("its receiver is %s, error %d: %s", i.Replication.IO, i.Replication.IOErrno, i.Replication.IOError),
			i.Replication.IO == topology.ThreadStopped
	}
	return fmt.Sprintf("its receiver is %s", i.Replication.IO), false
}
