package failover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"switchyard/controller/analysis"
	"switchyard/store/ledger"
)

// recover runs a recovery alone: whoever tends servers gives way to it.
func (w *worker) recover(ctx context.Context, id string) (ledger.Recovery, error) {
	for _, b := range []*baton{w.baton, w.fencing} {
		b.giveWayNow() // both at once, before either is waited for
	}
	for _, b := range []*baton{w.baton, w.fencing} {
		if err := b.seize(ctx); err != nil {
			return ledger.Recovery{}, err
		}
		defer b.put()
	}
	facts := w.recoveryFacts(w.ledger.State().Recoveries[id])
	rec, err := w.recoverer.Run(ctx, id)
	if err == nil && w.cfg.OnEnd != nil {
		w.cfg.OnEnd(rec)
	}
	if err == nil {
		w.after(ctx, rec, facts)
	}
	if err == nil && rec.Kind == ledger.Failover && rec.Outcome == ledger.Failed {
		w.failoverAfter = w.cfg.Now().Add(retryPause)
		w.sickAfter = w.cfg.Now().Add(w.rules().AntiFlap)
	}
	return rec, err
}

// staleLook is after how long what was seen is looked at again before a claim.
const staleLook = 200 * time.Millisecond

// failover has the operator's commands run, claims a recovery by the evidence of
// a, and has it carried out.
func (w *worker) failover(ctx context.Context, a Assessment, noticed time.Time) error {
	before := []ledger.Step{{Name: "notice", StartedAt: noticed, EndedAt: a.Begun}}
	before = append(before, lookSteps(a)...)
	ran, err := w.cleared(ctx, w.announced(ctx, a, a.Finding), a, a.Finding)
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err != nil || len(ran) > 0 || w.cfg.Now().Sub(a.Agreed) > staleLook {
		a = w.insist(ctx, w.cluster())
		w.take(ctx, a)
		if err != nil || !a.Verdict.Act {
			return nil // the verdict says what holds it
		}
		before = append(append(before, ran...), lookSteps(a)...)
	}
	claim := w.failoverClaim(a)
	claim.Automatic, claim.AntiFlap = true, w.rules().AntiFlap
	_, err = w.carryOut(ctx, claim, before)
	return err
}

// lookSteps are how a look went, for a journal.
func lookSteps(a Assessment) []ledger.Step {
	return []ledger.Step{
		{Name: "see", StartedAt: a.Begun, EndedAt: a.Seen},
		{Name: "agree", StartedAt: a.Seen, EndedAt: a.Agreed},
	}
}

func (w *worker) failoverClaim(a Assessment) ledger.ClaimRecovery {
	claim := w.claim(a, ledger.Failover)
	claim.OldProvenDead = analysis.ProvenDead(a.Snapshot)
	claim.Evidence = evidence(append([]string{a.Verdict.Reason}, a.Finding.Evidence...))
	return claim
}

// evidence keeps as many sentences as a recovery's record takes.
func evidence(sentences []string) []string {
	const limit = 200
	if len(sentences) <= limit {
		return sentences
	}
	more := fmt.Sprintf("and %d more", len(sentences)-limit)
	return append(slices.Clone(sentences[:limit]), more)
}

func (w *worker) claim(a Assessment, kind ledger.Kind) ledger.ClaimRecovery {
	return ledger.ClaimRecovery{
		Cluster: w.name, RecoveryKind: kind, Finding: string(a.Finding.Kind), Old: a.Cluster.Master,
		ExpectEpoch: a.Cluster.Epoch, Leader: w.cfg.Self, At: w.cfg.Now(),
	}
}

// carryOut claims and runs a recovery; before are the steps that led to it.
func (w *worker) carryOut(ctx context.Context, claim ledger.ClaimRecovery, before []ledger.Step) (ledger.Recovery, error) {
	begun := w.cfg.Now()
	claiming, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := w.ledger.Propose(claiming, claim); err != nil {
		return ledger.Recovery{}, fmt.Errorf("claim: %w", err)
	}
	id := w.cluster().Recovery
	before = append(before, ledger.Step{Name: "claim", StartedAt: begun, EndedAt: w.cfg.Now()})
	for i := range before {
		before[i].Leader, before[i].Subject = w.cfg.Self, claim.Old
		before[i].Outcome = cmp.Or(before[i].Outcome, ledger.StepDone)
	}
	w.log.Info("recovery claimed", "cluster", w.name, "recovery", id, "kind", claim.RecoveryKind,
		"finding", claim.Finding, "evidence", claim.Evidence)
	journal := w.ledger.ProposeAsync(ctx, ledger.RecordSteps{Recovery: id, Steps: before})
	_, err := w.recover(ctx, id)
	return w.ledger.State().Recoveries[id], errors.Join(err, <-journal)
}

// resume carries on an open recovery, its own or a predecessor's.
func (w *worker) resume(ctx context.Context, c ledger.Cluster) error {
	barrier, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := w.ledger.Barrier(barrier); err != nil {
		return fmt.Errorf("resume %s: %w", c.Recovery, err)
	}
	if c = w.cluster(); c.Recovery == "" {
		return nil
	}
	_, err := w.recover(ctx, c.Recovery)
	return err
}
