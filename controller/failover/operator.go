package failover

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"switchyard/controller/analysis"
	"switchyard/controller/executor"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Refusal is why something an operator asked for was not begun; nothing was
// moved.
type Refusal = executor.Refusal

// ErrNoCluster means that the ledger has no such cluster.
var ErrNoCluster = errors.New("no such cluster")

// request is what an operator asks a worker for.
type request struct {
	ctx context.Context
	// aside is true for what the worker goes on watching during.
	aside bool
	// recorded is true for what the ledger audits itself when it is done.
	recorded bool
	do       func(ctx context.Context) (ledger.Recovery, error)
	reply    chan answer
	w        *worker
	// note is the audit entry, but for what became of it.
	note ledger.AuditEntry
}

type answer struct {
	recovery ledger.Recovery
	err      error
}

// serve does what was asked for, and audits who asked and what came of it.
func (r request) serve(ctx context.Context) {
	if err := r.ctx.Err(); err != nil {
		r.reply <- answer{err: err}
		return
	}
	rec, err := r.do(ctx)
	r.audit(ctx, rec, err)
	r.reply <- answer{rec, err}
}

// audit says who asked for what the ledger has not told of itself: what was
// refused or failed before a recovery was opened, and changes of single servers.
func (r request) audit(ctx context.Context, rec ledger.Recovery, err error) {
	if rec.ID != "" || (err == nil && r.recorded) || !r.w.ledger.IsLeader() {
		return
	}
	e := r.note
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		e.Outcome = "refused: " + refusal.Reason
	case err != nil:
		e.Outcome = "failed: " + err.Error()
	}
	r.w.tell(ctx, e)
}

func (l *Loop) worker(cluster string) (*worker, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.workers[cluster]; w != nil {
		return w, nil
	}
	return nil, ErrNoCluster
}

// workerOf is the worker of a server's cluster.
func (l *Loop) workerOf(instance topology.Key) (*worker, error) {
	srv, known := l.ledger.State().Servers[instance]
	if !known {
		return nil, &Refusal{Reason: fmt.Sprintf("%s is no server that is known here", instance)}
	}
	return l.worker(srv.Cluster)
}

// ask has a worker do something, and waits until it has ended.
func (w *worker) ask(ctx context.Context, req request) (ledger.Recovery, error) {
	req.ctx, req.w, req.reply = ctx, w, make(chan answer, 1)
	req.note.Kind, req.note.By = ledger.AuditOperator, cmp.Or(req.note.By, "an operator")
	select {
	case w.requests <- req:
	case <-ctx.Done():
		busy := &Refusal{Reason: "the cluster is busy with a recovery: try again when it has ended"}
		req.audit(context.WithoutCancel(ctx), ledger.Recovery{}, busy)
		return ledger.Recovery{}, busy
	}
	select {
	case a := <-req.reply:
		return a.recovery, a.err
	case <-ctx.Done():
		return ledger.Recovery{}, fmt.Errorf("the %s goes on; see recoveries: %w", req.note.Action, ctx.Err())
	}
}

// Explain judges a cluster anew, without acting on it.
func (l *Loop) Explain(ctx context.Context, cluster string) (Assessment, error) {
	w, err := l.worker(cluster)
	if err != nil {
		return Assessment{}, err
	}
	a := w.look(ctx, w.cluster())
	for _, f := range a.Report.Others {
		if f.Wants == analysis.AnswerRelocate {
			_, r := w.lookAt(ctx, a.Cluster, f.Subject)
			a.Relocations = append(a.Relocations, r)
		}
	}
	return a, nil
}

// Last is the newest assessment of a cluster by the loop itself.
func (l *Loop) Last(cluster string) (Assessment, bool) {
	w, err := l.worker(cluster)
	if err != nil {
		return Assessment{}, false
	}
	w.lastMu.Lock()
	defer w.lastMu.Unlock()
	return w.last, w.last.Cluster.Name != ""
}
