package failover

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"switchyard/controller/analysis"
	"switchyard/controller/candidate"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Refusal is why something an operator asked for was not begun; nothing was
// moved.
type Refusal struct{ Reason string }

// Error implements error.
func (r *Refusal) Error() string { return r.Reason }

// ErrNoCluster means that the ledger has no such cluster.
var ErrNoCluster = errors.New("no such cluster")

type request struct {
	ctx   context.Context
	to    topology.Key
	by    string
	reply chan answer
}

type answer struct {
	recovery ledger.Recovery
	err      error
}

func (l *Loop) worker(cluster string) (*worker, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.workers[cluster]; w != nil {
		return w, nil
	}
	return nil, ErrNoCluster
}

// Switchover moves the master of a cluster, as planned, to a server or, with a
// zero key, to the best candidate. It returns when the recovery has ended; a
// *Refusal means that nothing was begun.
func (l *Loop) Switchover(ctx context.Context, cluster string, to topology.Key, by string) (ledger.Recovery, error) {
	w, err := l.worker(cluster)
	if err != nil {
		return ledger.Recovery{}, err
	}
	req := request{ctx: ctx, to: to, by: by, reply: make(chan answer, 1)}
	select {
	case w.requests <- req:
	case <-ctx.Done():
		return ledger.Recovery{}, &Refusal{"the cluster is busy with a recovery: try again when it has ended"}
	}
	select {
	case a := <-req.reply:
		return a.recovery, a.err
	case <-ctx.Done():
		return ledger.Recovery{}, fmt.Errorf("the switchover goes on; see recoveries: %w", ctx.Err())
	}
}

// Explain judges a cluster anew, without acting on it.
func (l *Loop) Explain(ctx context.Context, cluster string) (Assessment, error) {
	w, err := l.worker(cluster)
	if err != nil {
		return Assessment{}, err
	}
	return w.look(ctx, w.cluster()), nil
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

func (w *worker) serve(ctx context.Context, req request) answer {
	if req.ctx.Err() != nil {
		return answer{err: req.ctx.Err()}
	}
	c := w.cluster()
	a := w.look(ctx, c)
	target, err := w.target(ctx, c, a, req.to)
	if err != nil {
		return answer{err: err}
	}
	claim := w.claim(a, ledger.Switchover)
	claim.By, claim.Target = req.by, target.Key
	claim.Evidence = []string{fmt.Sprintf("asked for by %s: %s %s", req.by, target.Key, target.Reason)}
	if err := w.carryOut(ctx, claim, []ledger.Step{{Name: "see", StartedAt: a.Begun, EndedAt: a.Seen}}); err != nil {
		return answer{err: err}
	}
	state := w.ledger.State()
	rec := state.Recoveries[recoveryOf(state, w.name)]
	return answer{recovery: rec}
}

// recoveryOf is the id of the newest recovery of a cluster, by its epoch: the
// clocks of two leaders may differ.
func recoveryOf(s ledger.State, cluster string) string {
	var newest ledger.Recovery
	for _, r := range s.Recoveries {
		if r.Cluster == cluster && (newest.ID == "" || r.Epoch.Compare(newest.Epoch) > 0) {
			newest = r
		}
	}
	return newest.ID
}

func (w *worker) unknown() []string {
	if w.cfg.Unknown == nil {
		return nil
	}
	return w.cfg.Unknown(w.name)
}

// target chooses whom to switch to, or refuses, before anything is moved, what
// could not finish.
func (w *worker) target(ctx context.Context, c ledger.Cluster, a Assessment, to topology.Key) (candidate.Choice, error) {
	var none candidate.Choice
	switch {
	case !w.ledger.IsLeader():
		return none, &Refusal{"this controller does not lead"}
	case c.Recovery != "":
		return none, &Refusal{fmt.Sprintf("recovery %s has not ended", c.Recovery)}
	case len(w.unknown()) > 0:
		return none, &Refusal{fmt.Sprintf("these proxies do not answer: %s; everybody would wait for them with nobody served",
			strings.Join(w.unknown(), ", "))}
	case to == c.Master:
		return none, &Refusal{fmt.Sprintf("%s is the master already", to)}
	}
	// After the replicas' pictures, so that all they have is in it.
	master := w.observer.Look(ctx, []topology.Key{c.Master}, nil).Observations[c.Master].Instance
	if a.Finding.Kind != analysis.NoProblem || master == nil {
		return none, &Refusal{fmt.Sprintf("the master %s does not answer (%s): a switchover needs it", c.Master, a.Finding.Kind)}
	}
	ranking := candidate.RankPlanned(a.Snapshot, c.Master, master.Executed, w.cfg.Policy(w.name))
	for _, choice := range ranking.Order {
		if to.IsZero() || choice.Key == to {
			return choice, nil
		}
	}
	var reasons []string
	for _, e := range ranking.Excluded {
		if to.IsZero() || e.Key == to {
			reasons = append(reasons, fmt.Sprintf("%s: %s", e.Key, e.Reason))
		}
	}
	switch {
	case len(reasons) > 0:
		return none, &Refusal{"it may not be promoted: " + strings.Join(reasons, "; ")}
	case to.IsZero():
		return none, &Refusal{fmt.Sprintf("%s has no replicas", c.Master)}
	}
	return none, &Refusal{fmt.Sprintf("%s is not a direct replica of the master %s", to, c.Master)}
}
