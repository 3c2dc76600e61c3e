package failover

import (
	"context"
	"errors"
	"slices"
	"time"

	"switchyard/controller/hooks"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// after runs the commands that come after a recovery that has ended, beside the
// worker and after those of the recovery before. What they did goes into the
// recovery's journal. Those that are in it already are not run again.
func (w *worker) after(ctx context.Context, rec ledger.Recovery, facts hooks.Facts) {
	moments := slices.DeleteFunc(momentsAfter(rec), func(m hooks.Moment) bool {
		return slices.ContainsFunc(rec.Steps, func(s ledger.Step) bool { return s.Name == string(m) })
	})
	if w.cfg.Hooks == nil || len(moments) == 0 || rec.Open() {
		return
	}
	w.afterMu.Lock()
	defer w.afterMu.Unlock()
	if w.afterUnderWay[rec.ID] {
		return
	}
	w.afterUnderWay[rec.ID] = true
	earlier, done := w.afterDone, make(chan struct{})
	w.afterDone = done
	w.aside.Go(func() {
		defer close(done)
		if earlier != nil {
			<-earlier
		}
		w.outcome(ctx, rec, &facts)
		for _, m := range moments {
			if !w.ledger.IsLeader() {
				break // whoever leads then runs the rest
			}
			steps, err := w.runHooks(ctx, m, facts)
			if len(steps) > 0 {
				err = errors.Join(err, w.record(ctx, rec.ID, steps))
			}
			w.say("hooks after "+rec.ID, err)
		}
		w.afterMu.Lock()
		defer w.afterMu.Unlock()
		delete(w.afterUnderWay, rec.ID)
	})
}

// hooksLate is for how long after the end of a recovery a new leader runs the
// commands that its predecessor did not come to.
const hooksLate = 5 * time.Minute

// catchUp runs the commands after the cluster's newest recovery that a
// predecessor did not come to. One that it ran and could not write down any more
// runs twice.
func (w *worker) catchUp(ctx context.Context) {
	var newest ledger.Recovery
	for _, r := range w.ledger.State().Recoveries {
		if r.Cluster == w.name && !r.Open() && r.EndedAt.After(newest.EndedAt) {
			newest = r
		}
	}
	if newest.ID != "" && w.cfg.Now().Sub(newest.EndedAt) < hooksLate {
		w.after(ctx, newest, w.recoveryFacts(newest))
	}
}

func (w *worker) record(ctx context.Context, id string, steps []ledger.Step) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return w.ledger.Propose(ctx, ledger.RecordSteps{Recovery: id, Steps: steps})
}

// outcome adds what became of a recovery to what hooks are told.
func (w *worker) outcome(ctx context.Context, rec ledger.Recovery, facts *hooks.Facts) {
	facts.Recovery, facts.Lost, facts.Successful = rec.ID, rec.Lost, successful(rec)
	if !facts.Successful || rec.Winner.IsZero() {
		return
	}
	facts.Successor = rec.Winner
	if i := w.observer.Look(ctx, []topology.Key{rec.Winner}, nil).Observations[rec.Winner].Instance; i != nil {
		facts.SuccessorAlias, facts.SuccessorPosition = i.Hostname, i.BinlogPosition
	}
}

// successful reports whether a recovery did what it was for.
func successful(rec ledger.Recovery) bool {
	if rec.Kind == ledger.Relocate {
		return rec.Outcome == ledger.Completed || rec.Outcome == ledger.Incomplete
	}
	return rec.Announced && !rec.Undoing && rec.Winner != rec.Old
}

// momentsAfter are those of the commands that come after a recovery, in order.
func momentsAfter(rec ledger.Recovery) []hooks.Moment {
	switch {
	case rec.Kind == ledger.Reinstate:
		return nil
	case !successful(rec):
		return []hooks.Moment{hooks.PostUnsuccessfulFailover}
	case rec.Kind == ledger.Relocate:
		return []hooks.Moment{hooks.PostIntermediateMasterFailover, hooks.PostFailover}
	}
	var out []hooks.Moment
	if !rec.Via.IsZero() {
		out = append(out, hooks.PostTakeMaster)
	}
	out = append(out, hooks.PostMasterFailover, hooks.PostFailover)
	if rec.Kind == ledger.Switchover {
		out = append(out, hooks.PostGracefulTakeover)
	}
	return out
}
