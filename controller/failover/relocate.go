package failover

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"switchyard/controller/analysis"
	"switchyard/controller/candidate"
	"switchyard/controller/hooks"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// relocatePause is the least time between two relocations of the same server's
// replicas: what the first could not answer is not tried at every turn.
const relocatePause = 30 * time.Second

// relookPause is the least time between two looks at what is wrong with a server
// that is not the master.
const relookPause = 2 * time.Second

// Relocation is the judgement of one finding that is answered by giving the
// subject's replicas another source.
type Relocation struct {
	Finding analysis.Finding
	Verdict safety.Verdict
	// Sources are, for each replica of the subject, whom it could replicate from.
	Sources map[topology.Key]candidate.Ranking
}

// lookAt judges one server that is not the master by observations made now, by
// this controller and by the others.
func (w *worker) lookAt(ctx context.Context, c ledger.Cluster, subject topology.Key) (Assessment, Relocation) {
	a := Assessment{Cluster: c, Begun: w.cfg.Now(), Snapshot: w.observer.Snapshot(c.Name, c.Master)}
	asked := append([]topology.Key{subject}, a.Snapshot.Replicas(subject)...)
	// Any server of the cluster may become a source.
	w.see(ctx, &a, subject, append(asked, a.Snapshot.Keys()...), asked)
	w.judge(&a)
	for _, f := range a.Report.Others {
		if f.Subject == subject {
			return a, w.judgeRelocation(a, f)
		}
	}
	return a, Relocation{Finding: analysis.Finding{Kind: analysis.NoProblem, Cluster: c.Name, Subject: subject}}
}

func (w *worker) judgeRelocation(a Assessment, f analysis.Finding) Relocation {
	r := Relocation{Finding: f, Sources: map[topology.Key]candidate.Ranking{}}
	for _, k := range a.Snapshot.Replicas(f.Subject) {
		r.Sources[k] = candidate.Sources(a.Snapshot, f.Subject, k, w.rules())
	}
	r.Verdict = w.settled(f.Subject, safety.JudgeRelocation(w.relocationInput(a, f)))
	return r
}

func (w *worker) relocationInput(a Assessment, f analysis.Finding) safety.RelocationInput {
	return safety.RelocationInput{
		Finding: f, Snapshot: a.Snapshot, Policy: w.rules(), OpenRecovery: a.Cluster.Recovery,
		OpenRelocation: a.Cluster.Relocation, HookFailed: w.vetoed(f),
	}
}

// relocations answers, beside the worker, what was found about servers that are
// not the master: a failover must never wait for it.
func (w *worker) relocations(ctx context.Context, c ledger.Cluster, a Assessment) {
	if w.cfg.Relocator == nil {
		return
	}
	var due []topology.Key
	for _, f := range a.Report.Others {
		if f.Wants == analysis.AnswerRelocate {
			due = append(due, f.Subject)
		}
	}
	if (len(due) == 0 && c.Relocation == "") || !w.relocating.CompareAndSwap(false, true) {
		return
	}
	w.aside.Go(func() {
		defer w.relocating.Store(false)
		if c.Relocation != "" {
			w.say("relocation", w.resumeRelocation(ctx))
			return
		}
		for _, k := range due {
			if ctx.Err() == nil && !w.cfg.Now().Before(w.relocateAfter[k]) {
				w.say("relocation of the replicas of "+k.String(), w.relocate(ctx, c, k))
			}
		}
	})
}

// relocate judges one server anew, has the operator's commands run, and has its
// replicas moved if nothing holds that back.
func (w *worker) relocate(ctx context.Context, c ledger.Cluster, subject topology.Key) error {
	w.relocateAfter[subject] = w.cfg.Now().Add(relookPause)
	a, r := w.lookAt(ctx, c, subject)
	told := w.announced(ctx, a, r.Finding)
	if w.noteRelocation(r); !r.Verdict.Act {
		return nil
	}
	steps, err := w.cleared(ctx, told, a, r.Finding)
	if err != nil {
		return err
	}
	if err := w.baton.take(ctx); err != nil {
		return err
	}
	_, err = w.acting(ctx, func(work context.Context, c ledger.Cluster) error {
		if len(steps) > 0 || w.cfg.Now().Sub(a.Agreed) > relookPause {
			// While the commands ran, or somebody else was at the servers.
			a, r = w.lookAt(work, c, subject)
			if w.noteRelocation(r); !r.Verdict.Act {
				return nil
			}
		}
		open := w.relocationOf(a, r)
		open.Automatic = true
		_, err := w.carryOutRelocation(ctx, work, open, steps)
		return err
	})
	return err
}

// noteRelocation logs a verdict when it changes.
func (w *worker) noteRelocation(r Relocation) {
	v := verdictOn{r.Finding.Kind, r.Verdict.Act, r.Verdict.Code}
	if w.relocationVerdicts[r.Finding.Subject] == v {
		return
	}
	w.relocationVerdicts[r.Finding.Subject] = v
	if w.cfg.OnHold != nil && !v.act && v.code != safety.NoProblem {
		w.cfg.OnHold(w.name, string(v.code))
	}
	w.log.Info("judged", "cluster", w.name, "instance", r.Finding.Subject.String(), "finding", v.kind, "act", v.act,
		"code", v.code, "reason", r.Verdict.Reason)
}

// verdictOn is what is logged of the judgement of a server that is not the master.
type verdictOn struct {
	kind analysis.Kind
	act  bool
	code safety.Code
}

func (w *worker) relocationOf(a Assessment, r Relocation) ledger.OpenRelocation {
	return ledger.OpenRelocation{
		Cluster: w.name, Finding: string(r.Finding.Kind), Subject: r.Finding.Subject, Leader: w.cfg.Self,
		Evidence: evidence(append([]string{r.Verdict.Reason}, r.Finding.Evidence...)), At: w.cfg.Now(),
	}
}

// carryOutRelocation opens a relocation and runs it for as long as work lasts.
func (w *worker) carryOutRelocation(
	ctx, work context.Context, open ledger.OpenRelocation, before []ledger.Step,
) (ledger.Recovery, error) {
	opening, cancel := context.WithTimeout(work, 5*time.Second)
	defer cancel()
	if err := w.ledger.Propose(opening, open); err != nil {
		return ledger.Recovery{}, fmt.Errorf("open: %w", err)
	}
	id := w.cluster().Relocation
	if id == "" {
		return ledger.Recovery{}, nil // a failover was claimed at once
	}
	w.log.Info("relocation opened", "cluster", w.name, "recovery", id, "subject", open.Subject.String(), "finding", open.Finding)
	var written error
	if len(before) > 0 {
		written = w.record(work, id, before)
	}
	rec, err := w.runRelocation(ctx, work, id)
	return rec, errors.Join(err, written)
}

// resumeRelocation carries on an open relocation, its own or a predecessor's.
func (w *worker) resumeRelocation(ctx context.Context) error {
	barrier, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := w.ledger.Barrier(barrier); err != nil {
		return err
	}
	if err := w.baton.take(ctx); err != nil {
		return err
	}
	_, err := w.acting(ctx, func(work context.Context, c ledger.Cluster) error {
		if c.Relocation == "" {
			return nil
		}
		_, err := w.runRelocation(ctx, work, c.Relocation)
		return err
	})
	return err
}

// runRelocation runs an open relocation until it is closed or work ends, as it
// does when a recovery of the master, which closes it, wants the servers.
func (w *worker) runRelocation(ctx, work context.Context, id string) (ledger.Recovery, error) {
	facts := w.recoveryFacts(w.ledger.State().Recoveries[id])
	rec, err := w.cfg.Relocator.Run(work, id)
	if ended := w.ledger.State().Recoveries[id]; work.Err() != nil && !ended.Open() {
		rec, err = ended, nil // by the claim of what it gave way to
	}
	if err != nil || rec.Open() {
		return rec, err
	}
	w.relocateAfter[rec.Old] = w.cfg.Now().Add(relocatePause)
	if w.cfg.OnEnd != nil {
		w.cfg.OnEnd(rec)
	}
	w.after(ctx, rec, facts)
	return rec, nil
}

// recoverIntermediate answers what is wrong with a server that is not the
// master, because a person asked for it.
func (w *worker) recoverIntermediate(
	asking, life context.Context, subject topology.Key, by, reason string,
) (ledger.Recovery, error) {
	var none ledger.Recovery
	c, err := w.begin()
	switch {
	case err != nil:
		return none, err
	case w.cfg.Relocator == nil:
		return none, &Refusal{Reason: "this controller has no hands to move replicas with"}
	case c.Relocation != "" || !w.relocating.CompareAndSwap(false, true):
		return none, &Refusal{Reason: "replicas of the cluster are being moved already: try again when that has ended"}
	}
	defer w.relocating.Store(false)
	a, r := w.lookAt(life, c, subject)
	if r.Verdict = w.askedRelocation(a, r); !r.Verdict.Act {
		return none, &Refusal{Reason: r.Verdict.Reason}
	}
	steps, err := w.precede(life, w.facts(a, r.Finding, commandRecover), hooks.PreFailover)
	if err != nil {
		return none, err
	}
	if err := w.baton.take(asking); err != nil {
		return none, &Refusal{Reason: busyServers}
	}
	rec := none
	gaveWay, err := w.acting(life, func(work context.Context, c ledger.Cluster) error {
		if len(steps) > 0 || w.cfg.Now().Sub(a.Agreed) > relookPause {
			a, r = w.lookAt(work, c, subject)
			if r.Verdict = w.askedRelocation(a, r); !r.Verdict.Act {
				return &Refusal{Reason: r.Verdict.Reason}
			}
		}
		open := w.relocationOf(a, r)
		open.By = by
		open.Evidence = evidence(append([]string{askedFor(by, reason)}, open.Evidence...))
		var err error
		rec, err = w.carryOutRelocation(life, work, open, steps)
		return err
	})
	if gaveWay && rec.ID == "" {
		return none, &Refusal{Reason: "a recovery of the master has begun"}
	}
	return rec, err
}

// askedRelocation is asked, for a server that is not the master.
func (w *worker) askedRelocation(a Assessment, r Relocation) safety.Verdict {
	if r.Finding.Answer != analysis.AnswerRelocate {
		return safety.Verdict{Code: safety.NoProblem, Reason: fmt.Sprintf("%s: nothing was found that moving replicas would answer (%s)",
			r.Finding.Subject, r.Finding.Kind)}
	}
	in := w.relocationInput(a, r.Finding)
	in.Policy.RecoverIntermediate, in.Policy.Paused, in.HookFailed = true, "", ""
	in.Snapshot.Downtimed = maps.Clone(in.Snapshot.Downtimed)
	delete(in.Snapshot.Downtimed, r.Finding.Subject)
	return w.settled(r.Finding.Subject, safety.JudgeRelocation(in))
}
