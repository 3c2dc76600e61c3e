package failover

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"switchyard/store/ledger"
)

const (
	tick = time.Second
	// suspectTick is how often a cluster is judged anew while something is wrong.
	suspectTick = 200 * time.Millisecond
	// retryPause is the least time between two failovers of which the first moved
	// nothing for good: the anti-flap window counts those that did.
	retryPause = 5 * time.Second
	// deposedTick is how often servers that were deposed are looked for, so that
	// one that thaws is fenced soon.
	deposedTick = 200 * time.Millisecond
	// pruneInterval is how often old audit entries are forgotten.
	pruneInterval = time.Hour
)

// Loop is the failover loop of one controller.
type Loop struct {
	cfg        Config
	ledger     Ledger
	observer   Observer
	witnesses  Witnesses
	recoverer  Recoverer
	tender     Tender
	suspicions <-chan Suspicion
	log        *slog.Logger

	// adopting is held while clusters are adopted and the audit is pruned, which
	// may take seconds and must hold up no suspicion.
	adopting sync.Mutex
	// pruned is when the audit was pruned last; adopting guards it.
	pruned time.Time

	mu      sync.Mutex
	workers map[string]*worker
	// problems are what keeps clusters from being adopted, by name.
	problems map[string]string
}

// New returns the loop.
func New(cfg Config, l Ledger, o Observer, w Witnesses, r Recoverer, t Tender, suspicions <-chan Suspicion,
	log *slog.Logger,
) *Loop {
	return &Loop{
		cfg: cfg, ledger: l, observer: o, witnesses: w, recoverer: r, tender: t, suspicions: suspicions, log: log,
		workers: map[string]*worker{}, problems: map[string]string{},
	}
}

// Run watches all clusters until ctx ends, and waits for what it started.
func (l *Loop) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	changed, stop := l.ledger.Watch()
	defer stop()
	leads, unsubscribe := l.ledger.LeaderChanges()
	defer unsubscribe()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		l.learn(ctx, &wg)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case leading := <-leads:
			if leading {
				l.takeOver()
			}
		case <-ticker.C:
			if l.ledger.IsLeader() && l.adopting.TryLock() {
				wg.Go(func() {
					defer l.adopting.Unlock()
					l.adopt(ctx)
					l.prune(ctx)
				})
			}
		case s := <-l.suspicions:
			l.mu.Lock()
			w := l.workers[s.Cluster]
			l.mu.Unlock()
			if w != nil {
				w.nudge(s)
			}
		}
	}
}

// learn tells the observer what the ledger knows, and gives every cluster its
// worker.
func (l *Loop) learn(ctx context.Context, wg *sync.WaitGroup) {
	state := l.ledger.State()
	for k, s := range state.Servers {
		l.observer.Learn(s.Cluster, k)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, c := range state.Clusters {
		l.observer.SetMaster(name, c.Master)
		if l.workers[name] != nil {
			continue
		}
		w := newWorker(l, name)
		l.workers[name] = w
		wg.Go(func() { w.run(ctx) })
	}
}

// prune forgets audit entries that are older than the operator keeps them.
func (l *Loop) prune(ctx context.Context) {
	now := l.cfg.Now()
	if l.cfg.AuditRetention <= 0 || now.Sub(l.pruned).Abs() < pruneInterval {
		return
	}
	before := now.Add(-l.cfg.AuditRetention)
	old := func(e ledger.AuditEntry) bool { return e.At.Before(before) }
	if slices.ContainsFunc(l.ledger.State().Audit, old) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := l.ledger.Propose(ctx, ledger.PruneAudit{Before: before}); err != nil {
			l.log.Warn("the audit was not pruned", "error", err)
			return
		}
	}
	l.pruned = now
}

// takeOver has a new leader look at every cluster at once: a recovery may be
// open, and hints that came before reached nobody who could act.
func (l *Loop) takeOver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, w := range l.workers {
		w.nudge(Suspicion{Cluster: name, Why: "this controller leads from now on", At: l.cfg.Now()})
	}
}
