package failover

import (
	"context"
	"fmt"

	"switchyard/controller/hooks"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Switchover moves the master of a cluster, as planned, to a server or, with a
// zero key, to the best candidate. It returns when the recovery has ended; a
// *Refusal means that nothing was begun.
func (l *Loop) Switchover(ctx context.Context, cluster string, to topology.Key, by, reason string) (ledger.Recovery, error) {
	w, err := l.worker(cluster)
	if err != nil {
		return ledger.Recovery{}, err
	}
	return w.ask(ctx, request{
		note: ledger.AuditEntry{Action: "switchover", Server: to, By: by, Reason: reason},
		do:   func(ctx context.Context) (ledger.Recovery, error) { return w.switchover(ctx, to, by, reason) },
	})
}

func (w *worker) switchover(ctx context.Context, to topology.Key, by, reason string) (ledger.Recovery, error) {
	c := w.cluster()
	a := w.look(ctx, c)
	target, err := w.target(ctx, c, a, to)
	if err != nil {
		return ledger.Recovery{}, err
	}
	before := []ledger.Step{{Name: "see", StartedAt: a.Begun, EndedAt: a.Seen}}
	facts := w.facts(a, a.Finding, commandGraceful)
	facts.Failed, facts.Successor = c.Master, target.Key
	ran, err := w.precede(ctx, facts, hooks.PreGracefulTakeover, hooks.PreFailover)
	if err != nil {
		return ledger.Recovery{}, err
	}
	if len(ran) > 0 {
		// To whom the commands were told, or not at all.
		c = w.cluster()
		a = w.look(ctx, c)
		if target, err = w.target(ctx, c, a, target.Key); err != nil {
			return ledger.Recovery{}, err
		}
		before = append(append(before, ran...), ledger.Step{Name: "see", StartedAt: a.Begun, EndedAt: a.Seen})
	}
	claim := w.claim(a, ledger.Switchover)
	claim.By, claim.Target = by, target.Key
	claim.Evidence = []string{fmt.Sprintf("asked for by %s: %s %s", by, target.Key, target.Reason)}
	if reason != "" {
		claim.Evidence = append(claim.Evidence, "because: "+reason)
	}
	return w.carryOut(ctx, claim, before)
}

// precede runs the commands that may stop what an operator asked for.
func (w *worker) precede(ctx context.Context, facts hooks.Facts, moments ...hooks.Moment) ([]ledger.Step, error) {
	var steps []ledger.Step
	for _, m := range moments {
		ran, err := w.runHooks(ctx, m, facts)
		steps = append(steps, ran...)
		if err != nil {
			return steps, &Refusal{Reason: "a command of yours failed, and nothing was moved: " + err.Error()}
		}
	}
	return steps, nil
}

// Force replaces the master of a cluster in spite of every hold, by a server
// or, with a zero key, by the best there is. A *Refusal means that nothing was
// begun.
func (l *Loop) Force(ctx context.Context, cluster string, to topology.Key, by, reason string) (ledger.Recovery, error) {
	w, err := l.worker(cluster)
	if err != nil {
		return ledger.Recovery{}, err
	}
	return w.ask(ctx, request{
		note: ledger.AuditEntry{Action: "failover --force", Server: to, By: by, Reason: reason},
		do:   func(ctx context.Context) (ledger.Recovery, error) { return w.force(ctx, to, by, reason) },
	})
}

func (w *worker) force(ctx context.Context, to topology.Key, by, reason string) (ledger.Recovery, error) {
	c, err := w.begin()
	if err != nil {
		return ledger.Recovery{}, err
	}
	a := w.look(ctx, c)
	if _, _, err := w.anybody(a, to); err != nil {
		return ledger.Recovery{}, err
	}
	before := lookSteps(a)
	facts := w.facts(a, a.Finding, commandForce)
	facts.Failed, facts.Successor = c.Master, to
	// A command that fails does not stop it: its step says so.
	ran, failed := w.runHooks(ctx, hooks.PreFailover, facts)
	if len(ran) > 0 {
		a = w.look(ctx, w.cluster())
		before = append(append(before, ran...), lookSteps(a)...)
	}
	target, why, err := w.anybody(a, to)
	if err != nil {
		return ledger.Recovery{}, err
	}
	claim := w.failoverClaim(a)
	claim.By, claim.Forced, claim.Target = by, true, target
	said := []string{fmt.Sprintf("forced by %s: %s", by, reason), why}
	if failed != nil {
		said = append(said, "in spite of "+failed.Error())
	}
	claim.Evidence = evidence(append(said, claim.Evidence...))
	return w.carryOut(ctx, claim, before)
}

// Recover answers, at once, what is wrong with one server, a master or an
// intermediate master: downtimes, pauses and anti-flapping do not hold it, and
// what protects the data does. A *Refusal means that nothing was begun.
func (l *Loop) Recover(ctx context.Context, instance topology.Key, by, reason string) (ledger.Recovery, error) {
	w, err := l.workerOf(instance)
	if err != nil {
		return ledger.Recovery{}, err
	}
	req := request{note: ledger.AuditEntry{Action: "recover", Server: instance, By: by, Reason: reason}}
	req.do = func(ctx context.Context) (ledger.Recovery, error) { return w.recoverMaster(ctx, by, reason) }
	if instance != w.cluster().Master {
		asking := ctx
		req.aside = true
		req.do = func(ctx context.Context) (ledger.Recovery, error) {
			return w.recoverIntermediate(asking, ctx, instance, by, reason)
		}
	}
	return w.ask(ctx, req)
}

func (w *worker) recoverMaster(ctx context.Context, by, reason string) (ledger.Recovery, error) {
	c, err := w.begin()
	if err != nil {
		return ledger.Recovery{}, err
	}
	judge := func() (Assessment, error) {
		a := w.insist(ctx, c)
		if a.Verdict = w.asked(a); !a.Verdict.Act {
			return a, &Refusal{Reason: a.Verdict.Reason}
		}
		return a, nil
	}
	a, err := judge()
	if err != nil {
		return ledger.Recovery{}, err
	}
	before := lookSteps(a)
	ran, err := w.precede(ctx, w.facts(a, a.Finding, commandRecover), hooks.PreFailover)
	if err != nil {
		return ledger.Recovery{}, err
	}
	if len(ran) > 0 {
		if a, err = judge(); err != nil {
			return ledger.Recovery{}, err
		}
		before = append(append(before, ran...), lookSteps(a)...)
	}
	claim := w.failoverClaim(a)
	claim.By = by
	claim.Evidence = evidence(append([]string{askedFor(by, reason)}, claim.Evidence...))
	return w.carryOut(ctx, claim, before)
}

// begin refuses what only a leader may do, and what may not run beside a
// recovery of the master.
func (w *worker) begin() (ledger.Cluster, error) {
	c := w.cluster()
	switch {
	case !w.ledger.IsLeader():
		return c, &Refusal{Reason: "this controller does not lead"}
	case c.Recovery != "":
		return c, &Refusal{Reason: fmt.Sprintf("recovery %s has not ended", c.Recovery)}
	}
	return c, nil
}

// askedFor says who asked for a recovery, and why.
func askedFor(by, reason string) string {
	if reason == "" {
		return "asked for by " + by
	}
	return fmt.Sprintf("asked for by %s: %s", by, reason)
}
