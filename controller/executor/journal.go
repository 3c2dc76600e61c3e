package executor

import (
	"context"
	"sync"
	"time"

	"switchyard/store/ledger"
)

// journal writes steps to the ledger without holding up the next one: a step
// is idempotent and asked again by observation, so a lost entry loses only a
// line of the report.
type journal struct {
	e  *Executor
	id string

	mu      sync.Mutex
	pending []<-chan error
}

func newJournal(e *Executor, id string) *journal { return &journal{e: e, id: id} }

func (j *journal) record(ctx context.Context, s ledger.Step) {
	j.e.log.Info("step", "recovery", j.id, "step", s.Name, "instance", s.Subject.String(), "outcome", s.Outcome,
		"took", s.EndedAt.Sub(s.StartedAt), "note", s.Note)
	done := j.e.ledger.ProposeAsync(ctx, ledger.RecordSteps{Recovery: j.id, Steps: []ledger.Step{s}})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pending = append(j.pending, done)
}

// flush waits, for a bounded time, until the journal is written.
func (j *journal) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, done := range j.pending {
		select {
		case err := <-done:
			if err != nil {
				j.e.log.Warn("a step is missing from the journal", "recovery", j.id, "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
	j.pending = nil
}
