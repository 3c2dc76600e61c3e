package executor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// salvage has the winner receive what only the crashed old master's binary log
// has, for as long as the policy allows; what it has received it applies in the
// step after. That it cannot be had fails nothing: what may be lost is said.
func (r *run) salvage(ctx context.Context) (string, error) {
	rec := r.recovery()
	within := r.policy.SalvageTimeout
	switch {
	case within <= 0:
		return "not done: salvage_timeout is 0", nil
	case r.cfg.Tails == nil || !r.cfg.Tails.Has(rec.Old):
		return "not possible: no sidecar is configured beside " + rec.Old.String(), nil
	case rec.Winner == rec.Old:
		return "not needed: the winner is the old master", nil
	}
	// Before anything is waited for: an old master that is only cut off, or frozen,
	// has no tail that is final, and its sidecar may not answer either.
	if reach := r.sight(ctx, rec.Old); reach != topology.ReachRefused && reach != topology.ReachOK {
		return fmt.Sprintf("not possible: that its process has ended is not proven (%s)", reach), nil
	}
	o := r.look(ctx, rec.Winner)
	if o.Instance == nil {
		return "", fmt.Errorf("the winner does not answer: %s: %s", o.Reach, o.Error)
	}
	// To point it elsewhere drops what it received and has not applied.
	if _, err := r.drain(ctx, o.Instance); err != nil {
		return "", err
	}
	if o = r.look(ctx, rec.Winner); o.Instance == nil {
		return "", fmt.Errorf("the winner does not answer: %s: %s", o.Reach, o.Error)
	}
	begun := r.cfg.Now()
	durability, note, err := r.takeTail(ctx, rec, o.Instance, within)
	if err != nil {
		return "", err
	}
	note = fmt.Sprintf("%s (%d ms)", note, r.cfg.Now().Sub(begun)/time.Millisecond)
	return note, r.propose(ctx, ledger.JudgeDurability{
		Recovery: r.id, Winner: rec.Winner, Durability: cutText(durability), At: r.cfg.Now(),
	})
}

// sight is how a server that is thought dead is seen now.
func (r *run) sight(ctx context.Context, k topology.Key) topology.Reach {
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	return r.looker.Look(ctx, []topology.Key{k}, map[topology.Key]bool{k: true}).Observations[k].Reach
}

// takeTail returns what is known of the old master's writes afterwards. Only that
// this controller does not lead any more, or the winner is lost, is an error.
func (r *run) takeTail(
	ctx context.Context, rec ledger.Recovery, winner *topology.Instance, within time.Duration,
) (durability, note string, err error) {
	bound, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tail, err := r.cfg.Tails.Open(bound, rec.Cluster, rec.Old, winner.Executed)
	if err != nil {
		why := fmt.Sprintf("the tail of %s's binary log could not be read: %s", rec.Old, err)
		return rec.Durability + "; " + why, "not possible: " + err.Error(), ctx.Err()
	}
	if tail.Set.IsEmpty() {
		return r.salvaged(rec, tail), "nothing was left to take: the winner has all that the old master's binary log has", nil
	}
	r.unsalvaged[rec.Winner] = winner
	err = r.sessions.With(bound, rec.Winner, within, func(ctx context.Context, s Session) error {
		// One that was given up before may have been made writable.
		if err := s.SetReadOnly(ctx); err != nil {
			return err
		}
		if winner.Replication != nil && winner.Replication.Delay > 0 {
			if err := s.Undelay(ctx); err != nil {
				return err
			}
		}
		return s.Take(ctx, topology.Key{Host: rec.Old.Host, Port: tail.Port}, tail.User, tail.Password)
	})
	if errors.Is(err, ErrDeposed) {
		return "", "", err
	}
	if err == nil {
		err = r.receiveTail(bound, rec.Winner, tail)
	}
	now := r.look(ctx, rec.Winner)
	if now.Instance == nil {
		return "", "", fmt.Errorf("the winner does not answer: %s: %s", now.Reach, now.Error)
	}
	if err := r.stopTaking(ctx, now.Instance); err != nil {
		return "", "", err
	}
	// Once more: what came before the receiver stopped counts.
	if now = r.look(ctx, rec.Winner); now.Instance == nil {
		return "", "", fmt.Errorf("the winner does not answer: %s: %s", now.Reach, now.Error)
	}
	lacking := tail.Set.Subtract(now.Instance.Received())
	if lacking.IsEmpty() {
		return r.salvaged(rec, tail), fmt.Sprintf("it has taken the %s that only the old master had", count(tail.Count, "transaction", "transactions")), nil
	}
	if err == nil {
		err = errors.New("it was not received")
	}
	lost := fmt.Sprintf("of %s that only the binary log of %s has, these were not taken within %s and are lost: %s",
		count(tail.Count, "transaction", "transactions"), rec.Old, within, cutText(lacking.String()))
	if strings.HasPrefix(rec.Durability, unproven) {
		lost = unproven + lost
	} else {
		lost = rec.Durability + "; " + lost // nobody was told that those are committed
	}
	return lost, fmt.Sprintf("given up after %s; not taken: %s: %s", within, cutText(lacking.String()), err), ctx.Err()
}

// receiveTail waits until the winner has received all of a tail.
func (r *run) receiveTail(ctx context.Context, winner topology.Key, tail Tail) error {
	for {
		o := r.look(ctx, winner)
		if i := o.Instance; i != nil && i.Received().Contains(tail.Set) {
			return nil
		} else if i != nil && i.Replication != nil && i.Replication.IO == topology.ThreadStopped && i.Replication.IOErrno != 0 {
			return fmt.Errorf("the receiver stopped: error %d: %s", i.Replication.IOErrno, i.Replication.IOError)
		} else if i != nil && i.Replication != nil && i.Replication.SQL == topology.ThreadStopped {
			return fmt.Errorf("the applier stopped: error %d: %s", i.Replication.SQLErrno, i.Replication.SQLError)
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// withoutTails has a picture's winners that were lost after they took the tail
// look as they did before: the next one takes it too, and need not have it yet.
func (r *run) withoutTails(snap topology.Snapshot) topology.Snapshot {
	snap.Servers = maps.Clone(snap.Servers)
	for k, before := range r.unsalvaged {
		if s, ok := snap.Servers[k]; ok {
			s.Last = before
			snap.Servers[k] = s
		}
	}
	return snap
}

// salvaged is what is known once the winner has all that could be read.
func (r *run) salvaged(rec ledger.Recovery, tail Tail) string {
	took := fmt.Sprintf("%s has all that the binary log of %s had when its process ended, with %s that no replica had received",
		rec.Winner, rec.Old, count(tail.Count, "transaction", "transactions"))
	switch {
	case (tail.Problem != "" || tail.Restarted) && !strings.HasPrefix(rec.Durability, unproven):
		return rec.Durability // its acknowledgements prove it, whatever else there is
	case tail.Problem != "":
		return fmt.Sprintf("%s%s; %s", unproven, took, tail.Problem)
	case tail.Restarted:
		return fmt.Sprintf("%s%s; it runs again, and what it has taken since is not among that", unproven, took)
	}
	return "no acknowledged write is lost: " + took
}
