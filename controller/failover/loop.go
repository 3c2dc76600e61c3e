package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"switchyard/controller/analysis"
	"switchyard/controller/safety"
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

	// adopting is held while clusters are adopted, which may take seconds and
	// must hold up no suspicion.
	adopting sync.Mutex

	mu      sync.Mutex
	workers map[string]*worker
	// problems are what keeps clusters from being adopted, by name.
	problems map[string]string
}

// worker is the one goroutine that acts on one cluster.
type worker struct {
	*Loop
	name     string
	suspect  chan Suspicion
	requests chan request
	// last is the newest assessment, for who asks what holds the cluster back.
	lastMu sync.Mutex
	last   Assessment
	// writable is when the master was last seen to accept writes. It belongs to
	// the worker's own goroutine.
	writable sighting
	// reinstateAfter keeps a reinstatement that failed from being tried at every
	// turn, with a new epoch each time.
	reinstateAfter time.Time
	// failoverAfter does the same for a failover that failed.
	failoverAfter time.Time
	// tending is held by whoever acts on the cluster's servers: the tender of
	// deposed ones gives way to a recovery.
	tending sync.Mutex
	giveWay atomic.Pointer[context.CancelFunc]
	// said keeps a standing hold from being logged at every turn.
	saidMu sync.Mutex
	said   map[string]string
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
		w := &worker{Loop: l, name: name, suspect: make(chan Suspicion, 1), requests: make(chan request), said: map[string]string{}}
		l.workers[name] = w
		wg.Go(func() { w.run(ctx) })
	}
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

func (w *worker) nudge(s Suspicion) {
	select {
	case w.suspect <- s:
	default: // one is waiting already
	}
}

// run is the life of a worker: it judges its cluster every second, at once when
// something is suspected, and carries out what operators ask for in between.
func (w *worker) run(ctx context.Context) {
	next := time.NewTimer(0)
	defer next.Stop()
	var tender sync.WaitGroup
	defer tender.Wait()
	tender.Go(func() { w.tendDeposed(ctx) })
	for {
		var err error
		wait := tick
		select {
		case <-ctx.Done():
			return
		case req := <-w.requests:
			req.reply <- w.serve(ctx, req)
		case s := <-w.suspect:
			wait, err = w.turn(ctx, &s)
		case <-next.C:
			wait, err = w.turn(ctx, nil)
		}
		if err != nil && ctx.Err() == nil {
			w.say("turn", err)
		}
		next.Reset(wait)
	}
}

func (w *worker) cluster() ledger.Cluster { return w.ledger.State().Clusters[w.name] }

// tendDeposed looks for servers that were deposed and came back, for as long as
// no recovery is open.
func (w *worker) tendDeposed(ctx context.Context) {
	ticker := time.NewTicker(deposedTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if ctx.Err() != nil || !w.ledger.IsLeader() || w.cluster().Recovery != "" || !w.tending.TryLock() {
			continue
		}
		tend, cancel := context.WithCancel(ctx)
		w.giveWay.Store(&cancel)
		// Looked at again: what was claimed a moment ago may have found nobody to
		// tell to give way.
		if c := w.cluster(); c.Recovery == "" {
			if err := w.tender.Deposed(tend, c); tend.Err() == nil {
				w.say("deposed", err)
			}
		}
		w.giveWay.Store(nil)
		cancel()
		w.tending.Unlock()
	}
}

// recover runs a recovery alone: whoever tends servers gives way to it.
func (w *worker) recover(ctx context.Context, id string) (ledger.Recovery, error) {
	if cancel := w.giveWay.Load(); cancel != nil {
		(*cancel)()
	}
	w.tending.Lock()
	defer w.tending.Unlock()
	rec, err := w.recoverer.Run(ctx, id)
	if err == nil && w.cfg.OnEnd != nil {
		w.cfg.OnEnd(rec)
	}
	if err == nil && rec.Kind == ledger.Failover && rec.Outcome == ledger.Failed {
		w.failoverAfter = w.cfg.Now().Add(retryPause)
	}
	return rec, err
}

// say logs a failure of the loop once for as long as it stays the same.
func (w *worker) say(where string, err error) {
	w.saidMu.Lock()
	defer w.saidMu.Unlock()
	if err == nil {
		delete(w.said, where)
		return
	}
	if w.said[where] == err.Error() {
		return
	}
	w.said[where] = err.Error()
	w.log.Warn("will be tried again", "cluster", w.name, "op", where, "error", err)
}

// turn judges the cluster once and acts on the verdict. It returns when the
// next turn is due.
func (w *worker) turn(ctx context.Context, s *Suspicion) (time.Duration, error) {
	c := w.cluster()
	restarted := w.restarted(c)
	if !w.ledger.IsLeader() {
		return tick, nil
	}
	if c.Recovery != "" {
		return suspectTick, w.resume(ctx, c)
	}
	a := w.remembered(c)
	if c.Withdrawn || restarted {
		if done, err := w.reinstate(ctx, c, a, restarted); done || err != nil {
			return tick, err
		}
	}
	if s == nil && a.Verdict.Code == safety.NoProblem {
		w.note(a)
		return tick, w.strays(ctx, c, a)
	}
	noticed := w.cfg.Now()
	if s != nil {
		noticed = s.At
	}
	a = w.insist(ctx, c)
	w.note(a)
	switch {
	case a.Verdict.Act && w.cfg.Now().Before(w.failoverAfter):
		return suspectTick, nil
	case a.Verdict.Act:
		return tick, w.failover(ctx, a, noticed)
	case a.Verdict.Code == safety.NoProblem:
		return tick, nil
	default:
		return suspectTick, nil
	}
}

// strays has members that follow a deposed server repointed, unless the tender
// of deposed ones is at work.
func (w *worker) strays(ctx context.Context, c ledger.Cluster, a Assessment) error {
	if !w.tending.TryLock() {
		return nil
	}
	defer w.tending.Unlock()
	return w.tender.Strays(ctx, c, a.Snapshot)
}

// note remembers an assessment, and logs a verdict when it changes.
func (w *worker) note(a Assessment) {
	w.lastMu.Lock()
	before := w.last.Verdict
	w.last = a
	w.lastMu.Unlock()
	if before.Code != a.Verdict.Code || before.Act != a.Verdict.Act {
		if w.cfg.OnHold != nil && !a.Verdict.Act && a.Verdict.Code != safety.NoProblem {
			w.cfg.OnHold(w.name, string(a.Verdict.Code))
		}
		w.log.Info("judged", "cluster", w.name, "finding", a.Finding.Kind, "act", a.Verdict.Act,
			"code", a.Verdict.Code, "reason", a.Verdict.Reason)
	}
}

// failover claims a recovery by the evidence of a, and has it carried out.
func (w *worker) failover(ctx context.Context, a Assessment, noticed time.Time) error {
	claim := w.claim(a, ledger.Failover)
	claim.Automatic, claim.AntiFlap = true, w.cfg.Policy(w.name).AntiFlap
	claim.OldProvenDead = analysis.ProvenDead(a.Snapshot)
	claim.Evidence = append([]string{a.Verdict.Reason}, a.Finding.Evidence...)
	return w.carryOut(ctx, claim, []ledger.Step{
		{Name: "notice", StartedAt: noticed, EndedAt: a.Begun},
		{Name: "see", StartedAt: a.Begun, EndedAt: a.Seen},
		{Name: "agree", StartedAt: a.Seen, EndedAt: a.Agreed},
	})
}

func (w *worker) claim(a Assessment, kind ledger.Kind) ledger.ClaimRecovery {
	return ledger.ClaimRecovery{
		Cluster: w.name, RecoveryKind: kind, Finding: string(a.Finding.Kind), Old: a.Cluster.Master,
		ExpectEpoch: a.Cluster.Epoch, Leader: w.cfg.Self, At: w.cfg.Now(),
	}
}

// carryOut claims and runs a recovery; before are the steps that led to it.
func (w *worker) carryOut(ctx context.Context, claim ledger.ClaimRecovery, before []ledger.Step) error {
	begun := w.cfg.Now()
	claiming, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := w.ledger.Propose(claiming, claim); err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	id := w.cluster().Recovery
	before = append(before, ledger.Step{Name: "claim", StartedAt: begun, EndedAt: w.cfg.Now()})
	for i := range before {
		before[i].Leader, before[i].Subject, before[i].Outcome = w.cfg.Self, claim.Old, ledger.StepDone
	}
	w.log.Info("recovery claimed", "cluster", w.name, "recovery", id, "kind", claim.RecoveryKind,
		"finding", claim.Finding, "evidence", claim.Evidence)
	journal := w.ledger.ProposeAsync(ctx, ledger.RecordSteps{Recovery: id, Steps: before})
	_, err := w.recover(ctx, id)
	return errors.Join(err, <-journal)
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
