package failover

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"switchyard/controller/analysis"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// worker is the one goroutine that acts on one cluster.
type worker struct {
	*Loop
	name     string
	suspect  chan Suspicion
	requests chan request
	// baton is held by whoever acts on the cluster's servers in good standing, and
	// fencing by who tends the others: a relocation, or an operator's change, may
	// take minutes, and must not keep a deposed master that thaws from being fenced.
	baton, fencing *baton
	// aside are the goroutines that act beside the worker's own: they give way to
	// a recovery, and end before the worker does.
	aside sync.WaitGroup

	// last is the newest assessment, for who asks what holds the cluster back.
	lastMu sync.Mutex
	last   Assessment
	// vetoes are the commands that failed before a recovery, by its subject.
	vetoes map[topology.Key]veto
	// graces are until when the replicas of a server are no evidence.
	graces map[topology.Key]time.Time

	// notices are the tellings of detections that have not ended.
	noticesMu sync.Mutex
	notices   map[detection]*notice

	// afterDone is closed when the commands after the newest recovery have run;
	// afterUnderWay are the recoveries whose commands run or wait here.
	afterMu       sync.Mutex
	afterDone     chan struct{}
	afterUnderWay map[string]bool

	// relocating is true while replicas of an intermediate master are judged or
	// moved. Whoever set it owns relocateAfter, which keeps what failed from being
	// tried at every turn, and relocationVerdicts, which were logged.
	relocating         atomic.Bool
	relocateAfter      map[topology.Key]time.Time
	relocationVerdicts map[topology.Key]verdictOn

	// What follows belongs to the worker's own goroutine.

	// writable is when the master was last seen to accept writes.
	writable sighting
	// reinstateAfter keeps a reinstatement that failed from being tried at every
	// turn, with a new epoch each time.
	reinstateAfter time.Time
	// failoverAfter does the same for a failover that failed.
	failoverAfter time.Time
	// sickAfter is the same for a master that is sick and lives: it loses all of its
	// clients at each attempt, so it is given as long as after one that succeeded.
	sickAfter time.Time
	// detected are the findings that were audited; nil before the audit was read.
	detected map[detection]*found
	audits   []pending
	// errands are when smaller things may be done again.
	errands map[string]time.Time

	// said keeps a standing hold from being logged at every turn.
	saidMu sync.Mutex
	said   map[string]string
}

func newWorker(l *Loop, cluster string) *worker {
	return &worker{
		Loop: l, name: cluster, suspect: make(chan Suspicion, 1), requests: make(chan request),
		baton: newBaton(), fencing: newBaton(),
		said: map[string]string{}, vetoes: map[topology.Key]veto{}, graces: map[topology.Key]time.Time{}, relocateAfter: map[topology.Key]time.Time{},
		relocationVerdicts: map[topology.Key]verdictOn{}, afterUnderWay: map[string]bool{},
		errands: map[string]time.Time{}, notices: map[detection]*notice{},
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
	defer w.aside.Wait()
	w.aside.Go(func() { w.tendDeposed(ctx) })
	for {
		var hint *Suspicion
		select {
		case s := <-w.suspect: // before a turn that is due as well: it says since when
			hint = &s
		default:
			select {
			case <-ctx.Done():
				return
			case req := <-w.requests:
				if req.aside {
					w.aside.Go(func() { req.serve(ctx) })
				} else {
					req.serve(ctx)
				}
				continue // whoever asks again and again puts off no turn
			case s := <-w.suspect:
				hint = &s
			case <-next.C:
			}
		}
		wait, err := w.turn(ctx, hint)
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
		if ctx.Err() != nil || !w.ledger.IsLeader() || w.cluster().Recovery != "" || !w.fencing.try() {
			continue
		}
		gaveWay, err := w.holding(ctx, w.fencing, w.tender.Deposed)
		if !gaveWay {
			w.say("deposed", err)
		}
	}
}

// acting has do act on the cluster's servers, for which the caller has taken the
// baton, until a recovery of the master wants them. It puts the baton back.
func (w *worker) acting(ctx context.Context, do func(context.Context, ledger.Cluster) error) (gaveWay bool, err error) {
	return w.holding(ctx, w.baton, do)
}

// holding is acting for either baton.
func (w *worker) holding(
	ctx context.Context, b *baton, do func(context.Context, ledger.Cluster) error,
) (gaveWay bool, err error) {
	defer b.put()
	work, end := b.yielding(ctx)
	defer end()
	c := w.cluster()
	if c.Recovery != "" {
		return true, nil
	}
	err = do(work, c)
	return work.Err() != nil, err
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
	restarted := w.restarted(ctx, c)
	if !w.ledger.IsLeader() {
		// Whoever leads next tells what there is to tell.
		w.detected, w.audits = nil, nil
		return tick, nil
	}
	if c.Recovery != "" {
		return suspectTick, w.resume(ctx, c)
	}
	if w.detected == nil {
		w.catchUp(ctx)
	}
	a := w.remembered(c)
	if c.Withdrawn || restarted != "" {
		if done, err := w.reinstate(ctx, c, a, restarted); done || err != nil {
			return tick, err
		}
	}
	if s == nil && a.calm() {
		w.take(ctx, a)
		w.relocations(ctx, c, a)
		w.emergent(ctx, a)
		w.strays(ctx, a)
		return tick, nil
	}
	noticed := w.cfg.Now()
	if s != nil {
		noticed = s.At
	}
	a = w.insist(ctx, c)
	w.take(ctx, a)
	switch {
	case a.Verdict.Act && (w.cfg.Now().Before(w.failoverAfter) || a.Finding.Sick() && w.cfg.Now().Before(w.sickAfter)):
		return suspectTick, nil
	case a.Verdict.Act:
		return tick, w.failover(ctx, a, noticed)
	case a.calm():
		return tick, nil
	default:
		w.emergent(ctx, a)
		return suspectTick, nil
	}
}

// take remembers an assessment, and tells of what it found.
func (w *worker) take(ctx context.Context, a Assessment) {
	w.note(a)
	w.detect(ctx, a)
	w.announced(ctx, a, a.Finding)
}

// calm reports whether the master answers and takes writes, and nothing that
// was found could end in its replacement.
func (a Assessment) calm() bool {
	f := a.Finding
	return a.Verdict.Code == safety.NoProblem ||
		!f.Dead && f.Wants != analysis.AnswerFailover && f.Kind != analysis.NoWriteableMaster
}

// strays has members that follow a deposed server repointed beside the worker,
// unless somebody else is at work on the servers. A recovery cuts it short.
func (w *worker) strays(ctx context.Context, a Assessment) {
	if !w.baton.try() {
		return
	}
	w.aside.Go(func() {
		gaveWay, err := w.acting(ctx, func(ctx context.Context, c ledger.Cluster) error {
			return w.tender.Strays(ctx, c, a.Snapshot)
		})
		if !gaveWay {
			w.say("strays", err)
		}
	})
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
