package failover

import (
	"context"
	"fmt"
	"time"

	"switchyard/controller/analysis"
	"switchyard/controller/hooks"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// hookPause is for how long a command that failed before a recovery holds it
// back; then it is run again.
const hookPause = 30 * time.Second

// What a person asked for, as hooks are told.
const (
	commandGraceful = "graceful-master-takeover"
	commandForce    = "force-master-failover"
	commandRecover  = "recover"
)

// veto is a command that failed before a recovery of one detection.
type veto struct {
	detection
	until time.Time
	why   string
}

// vetoed says which command failed before the recovery of f, or nothing.
func (w *worker) vetoed(f analysis.Finding) string {
	w.lastMu.Lock()
	defer w.lastMu.Unlock()
	v := w.vetoes[f.Subject]
	if v.kind != f.Kind || !w.cfg.Now().Before(v.until) {
		return ""
	}
	return v.why
}

// hold holds the recovery of f back for a while, because of err.
func (w *worker) hold(f analysis.Finding, err error) {
	w.log.Warn("a command holds the recovery back", "cluster", w.name, "finding", f.Kind, "error", err)
	w.lastMu.Lock()
	defer w.lastMu.Unlock()
	w.vetoes[f.Subject] = veto{detection{f.Subject, f.Kind}, w.cfg.Now().Add(hookPause), err.Error()}
}

// facts are what hooks are told of a finding.
func (w *worker) facts(a Assessment, f analysis.Finding, command string) hooks.Facts {
	p := w.rules()
	_, down := a.Snapshot.Downtimed[f.Subject]
	return hooks.Facts{
		FailureType: string(f.Kind), InstanceType: instanceType(a.Snapshot, f.Subject), FailureDescription: f.Sentence,
		Command: command, Failed: f.Subject, Cluster: w.name, ClusterAlias: w.name,
		Replicas: a.Snapshot.Replicas(f.Subject), Downtimed: down,
		AutoMaster: p.Recover && p.Paused == "", AutoIntermediate: p.RecoverIntermediate && p.Paused == "",
		Controller: w.cfg.Self,
	}
}

// instanceType is what a server is in its cluster, in the words of hooks.
func instanceType(s topology.Snapshot, k topology.Key) string {
	switch {
	case k != s.Master && !coMasters(s, k, s.Master):
		return "intermediate-master"
	case s.Servers[k].Source.IsZero() || !coMasters(s, k, s.Servers[k].Source):
		return "master"
	}
	return "co-master"
}

// coMasters reports whether each of two servers replicates from the other.
func coMasters(s topology.Snapshot, a, b topology.Key) bool {
	return a != b && !a.IsZero() && !b.IsZero() && s.Servers[a].Source == b && s.Servers[b].Source == a
}

// runHooks runs the operator's commands of one moment, and returns them as steps of a
// journal. They are audited; the error is that of a command that vetoes.
func (w *worker) runHooks(ctx context.Context, m hooks.Moment, f hooks.Facts) ([]ledger.Step, error) {
	if w.cfg.Hooks == nil {
		return nil, nil
	}
	results, err := w.cfg.Hooks.Run(ctx, m, f)
	var steps []ledger.Step
	var entries []ledger.AuditEntry
	for _, r := range results {
		step := ledger.Step{
			Name: string(m), Leader: w.cfg.Self, Subject: f.Failed, StartedAt: r.Begun, EndedAt: r.Ended,
			Outcome: ledger.StepDone, Note: r.Command,
		}
		entry := ledger.AuditEntry{
			Kind: ledger.AuditHook, Server: f.Failed, Recovery: f.Recovery, Action: string(m), Reason: r.Command,
		}
		if r.Err != nil {
			step.Outcome, step.Note = ledger.StepFailed, fmt.Sprintf("%s: %v", r.Command, r.Err)
			entry.Outcome = r.Err.Error()
		}
		if r.Output != "" {
			step.Note += ": " + r.Output
			entry.Evidence = []string{r.Output}
		}
		steps, entries = append(steps, step), append(entries, entry)
	}
	w.tell(ctx, entries...)
	if err != nil {
		err = fmt.Errorf("%s: %w", m, withOutput(err, results))
	}
	return steps, err
}

// recoveryFacts are what hooks are told of a recovery that is about to be carried
// out.
func (w *worker) recoveryFacts(rec ledger.Recovery) hooks.Facts {
	a := Assessment{Snapshot: w.observer.Snapshot(w.name, w.cluster().Master)}
	a.Snapshot.Downtimed = downtimed(w.ledger.State(), w.name, w.cfg.Now())
	f := analysis.Finding{Kind: analysis.Kind(rec.Finding), Subject: rec.Old}
	if len(rec.Evidence) > 0 {
		f.Sentence = rec.Evidence[0]
	}
	command := ""
	switch {
	case rec.Kind == ledger.Switchover:
		command = commandGraceful
	case rec.Forced:
		command = commandForce
	case rec.By != "":
		command = commandRecover
	}
	facts := w.facts(a, f, command)
	if len(facts.Replicas) == 0 && !rec.Winner.IsZero() {
		facts.Replicas = a.Snapshot.Replicas(rec.Winner) // they have moved already
	}
	return facts
}

// withOutput adds what the command that failed last has printed.
func withOutput(err error, results []hooks.Result) error {
	for i := len(results) - 1; i >= 0; i-- {
		if r := results[i]; r.Err != nil && r.Output != "" {
			return fmt.Errorf("%w; it printed: %s", err, r.Output)
		}
	}
	return err
}

// notice is one run of the commands that are told of a detection.
type notice struct {
	done chan struct{}
	err  error
}

// over reports whether the commands have run, and one of them failed.
func (n *notice) over() (ended, failed bool) {
	select {
	case <-n.done:
		return true, n.err != nil
	default:
		return false, false
	}
}

// heard waits until the commands have been told. Where there was nothing to tell
// it returns at once.
func (n *notice) heard(ctx context.Context) error {
	if n == nil {
		return nil
	}
	select {
	case <-n.done:
		return n.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// announced has the operator's commands told of a finding that has an answer,
// once for each detection, and returns that telling without waiting for it.
// While a command that failed holds its finding back they are not told again.
func (w *worker) announced(ctx context.Context, a Assessment, f analysis.Finding) *notice {
	if w.cfg.Hooks == nil || f.Answer == "" {
		return nil
	}
	d, held := detection{f.Subject, f.Kind}, w.vetoed(f) != ""
	w.noticesMu.Lock()
	defer w.noticesMu.Unlock()
	if n := w.notices[d]; n != nil {
		if ended, failed := n.over(); !ended || !failed || held {
			return n
		}
	}
	n, facts := &notice{done: make(chan struct{})}, w.facts(a, f, "")
	w.notices[d] = n
	w.aside.Go(func() {
		defer close(n.done)
		if _, n.err = w.runHooks(ctx, hooks.OnFailureDetection, facts); n.err != nil && ctx.Err() == nil {
			w.hold(f, n.err)
		}
	})
	return n
}

// forget lets a detection that comes again be told again.
func (w *worker) forget(d detection) {
	w.noticesMu.Lock()
	defer w.noticesMu.Unlock()
	delete(w.notices, d)
}

// toldBefore says that a predecessor has had a detection told.
func (w *worker) toldBefore(d detection) {
	w.noticesMu.Lock()
	defer w.noticesMu.Unlock()
	if w.notices[d] == nil {
		w.notices[d] = &notice{done: make(chan struct{})}
		close(w.notices[d].done)
	}
}

// cleared has the operator's commands say whether f may be answered. A failure
// holds it back for a while. Where commands ran, the world is to be looked at
// again: it may have changed meanwhile.
func (w *worker) cleared(ctx context.Context, n *notice, a Assessment, f analysis.Finding) ([]ledger.Step, error) {
	if w.cfg.Hooks == nil {
		return nil, nil
	}
	if err := n.heard(ctx); err != nil {
		return nil, err
	}
	steps, err := w.runHooks(ctx, hooks.PreFailover, w.facts(a, f, ""))
	if err != nil && ctx.Err() == nil {
		w.hold(f, err)
	}
	return steps, err
}
