package sim_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"switchyard/controller/executor"
	"switchyard/controller/failover"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// asked has an operator ask the leader for something. Whoever is busy at that
// moment is not waited for: two that wait for the same could not be told apart.
func (w *world) asked(what string, do func(ctx context.Context, l *failover.Loop, by string) (ledger.Recovery, error)) func() {
	c := w.leader()
	if c == nil {
		return nil
	}
	w.check.operators++
	by := fmt.Sprintf("operator-%d", w.check.operators)
	p := &patience{done: make(chan struct{})}
	w.note("%s asks %s: %s", by, c.name(), what)
	w.register("~patience "+by, false, func(f *flight) {
		if !p.taken() {
			p.end()
		}
		f.end(nil, nil)
	})
	c.ended.Go(func() {
		if w.cfg.mutant.hasty {
			cl := c.State().Clusters[cluster]
			_ = c.Propose(context.Background(), ledger.ClaimRecovery{
				Cluster: cluster, RecoveryKind: ledger.Switchover, Finding: "NoProblem", By: by, Old: cl.Master,
				ExpectEpoch: cl.Epoch, Leader: c.id, At: c.clock(),
			})
		}
		rec, err := do(p, c.loop, by)
		w.register(c.name()+" answers "+by, false, func(f *flight) {
			w.note("%s is told: %s %v", by, rec.Outcome, err)
			w.check.answered(by, err)
			f.end(nil, nil)
		})
	})
	return func() {}
}

func (w *world) switchover() func() {
	var to topology.Key
	if w.chance(0.5) {
		to = w.replica().key
	}
	return w.asked("switchover to "+to.Host, func(ctx context.Context, l *failover.Loop, by string) (ledger.Recovery, error) {
		return l.Switchover(ctx, cluster, to, by, "a story")
	})
}

func (w *world) force() func() {
	return w.asked("failover by force", func(ctx context.Context, l *failover.Loop, by string) (ledger.Recovery, error) {
		return l.Force(ctx, cluster, topology.Key{}, by, "a story")
	})
}

func (w *world) recoverNow() func() {
	m := w.master().key
	return w.asked("recover "+m.Host, func(ctx context.Context, l *failover.Loop, by string) (ledger.Recovery, error) {
		return l.Recover(ctx, m, by, "a story")
	})
}

// pause keeps automatic recoveries from beginning for a while.
func (w *world) pause() func() {
	if !w.told(ledger.PauseRecoveries{Cluster: cluster, By: "operator", Reason: "a story", At: time.Now()}) {
		return nil
	}
	return w.resume
}

// resume ends the pause as soon as there is somebody to tell.
func (w *world) resume() {
	if len(w.raft.committed().Pauses) == 0 {
		return
	}
	w.told(ledger.ResumeRecoveries{Cluster: cluster, By: "operator", At: time.Now()})
	w.after(time.Second, w.resume)
}

// told has the leader tell the ledger what an operator says.
func (w *world) told(cmd ledger.Command) bool {
	c := w.leader()
	if c == nil {
		return false
	}
	c.ended.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Propose(ctx, cmd) // it is told again where that matters
	})
	return true
}

// refused reports whether an error means that nothing was begun.
func refused(err error) bool {
	var r *executor.Refusal
	return errors.As(err, &r)
}

func (w *world) recoveriesBy(by string) []ledger.Recovery {
	var out []ledger.Recovery
	for _, r := range w.raft.committed().Recoveries {
		if r.By == by {
			out = append(out, r)
		}
	}
	return out
}

var errImpatient = errors.New("the operator did not wait")

// patience is an operator's context, which knows whether the request was taken.
type patience struct {
	mu   sync.Mutex
	seen bool
	over bool
	done chan struct{}
}

// Deadline implements context.Context.
func (p *patience) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (p *patience) Done() <-chan struct{} { return p.done }

// Value implements context.Context.
func (p *patience) Value(any) any { return nil }

// Err implements context.Context; who takes a request asks it first.
func (p *patience) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = true
	if p.over {
		return errImpatient
	}
	return nil
}

func (p *patience) taken() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.over = true
		close(p.done)
	}
}
