package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"switchyard/controller/plan"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Executor carries out recoveries; it keeps nothing between two of them.
type Executor struct {
	cfg     Config
	ledger  Ledger
	looker  Looker
	hands   Hands
	proxies Receivers
	consuls Receivers
	log     *slog.Logger
}

// New returns an executor.
func New(cfg Config, l Ledger, looker Looker, hands Hands, proxies, consuls Receivers, log *slog.Logger) *Executor {
	if cfg.ApplyTimeout <= 0 {
		cfg.ApplyTimeout = 10 * time.Minute
	}
	if cfg.CatchUpTimeout <= 0 {
		cfg.CatchUpTimeout = 10 * time.Second
	}
	if cfg.RouteTimeout <= 0 {
		cfg.RouteTimeout = 15 * time.Second
	}
	if cfg.LeaseTimeout <= 0 {
		cfg.LeaseTimeout = 3 * time.Second
	}
	return &Executor{cfg: cfg, ledger: l, looker: looker, hands: hands, proxies: proxies, consuls: consuls, log: log}
}

// ErrDeposed means that this controller no longer leads; the next leader
// carries the recovery on.
var ErrDeposed = errors.New("this controller no longer leads")

// maxRewinds bounds how many winners one recovery may lose before it gives up.
const maxRewinds = 3

// run is one execution of one recovery by one leader.
type run struct {
	*Executor
	id       string
	policy   policy.Cluster
	sessions *Sessions
	journal  *journal
	// resumed is true when an earlier leader may have begun the steps.
	resumed bool
	// withdrawn and fenced are what this execution has proved of the old master.
	withdrawn, fenced bool
	// risk is what a forced recovery goes on in spite of.
	risk string
	// acknowledging is how many replicas follow the winner and acknowledge.
	acknowledging int
	// touched is true once the winner of the present epoch may have been made
	// writable.
	touched bool
	// unsalvaged is how winners looked before they took the old master's tail.
	unsalvaged map[topology.Key]*topology.Instance
	lost       losses
	stragglers []string
	// barrier is what became of the first attempt to withdraw the old master.
	barrier barrier
	// lease is the wait for the old master's, and under what runs beside the steps.
	lease *outlasting
	under sync.WaitGroup
}

// Run carries out the open recovery id until it is closed. An error means that
// it is not closed: the ledger could not be reached, or this controller no
// longer leads.
func (e *Executor) Run(ctx context.Context, id string) (ledger.Recovery, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rec, ok := e.ledger.State().Recoveries[id]
	if !ok {
		return ledger.Recovery{}, fmt.Errorf("recovery %s is not in the ledger", id)
	}
	if !rec.OfMaster() {
		return rec, fmt.Errorf("recovery %s is a relocation, which is not about the master", id)
	}
	if !rec.Open() {
		return rec, nil
	}
	r := &run{
		Executor: e, id: id, policy: e.cfg.Policy(rec.Cluster),
		journal: newJournal(e, id), barrier: newBarrier(), lease: newOutlasting(), unsalvaged: map[topology.Key]*topology.Instance{},
		resumed: rec.Leader != e.cfg.Self || !rec.Winner.IsZero(),
	}
	// Leadership is asked for on the run's time: a server that used up its own
	// deposes nobody.
	r.sessions = NewSessions(e.hands, func(context.Context) error { return r.lead(ctx) }, r.address)
	defer r.sessions.Close()
	if r.resumed || len(Unseen(e.ledger.State(), e.looker.Snapshot(rec.Cluster, rec.Old))) > 0 {
		// A controller that has just started may not have seen them yet.
		r.looker.Look(ctx, r.members(), nil)
	}
	guard := r.guardOld(ctx)
	defer func() { cancel(); guard.Wait(); r.under.Wait() }()
	r.touched = r.resumed && !rec.Winner.IsZero()
	if rec.Leader != e.cfg.Self {
		if err := e.propose(ctx, ledger.ResumeRecovery{Recovery: id, Leader: e.cfg.Self, At: e.cfg.Now()}); err != nil {
			return rec, err
		}
	}
	cause := r.carryOut(ctx)
	if cause != nil && (errors.Is(cause, ErrDeposed) || ctx.Err() != nil) {
		return r.recovery(), cause
	}
	if err := r.close(ctx, cause); err != nil {
		return r.recovery(), err
	}
	return r.recovery(), nil
}

// carryOut runs the plan; it takes a new epoch when a winner is lost, and turns
// a switchover that cannot finish back to the old master.
func (r *run) carryOut(ctx context.Context) error {
	for rewinds := 0; ; rewinds++ {
		rec := r.recovery()
		err := r.stages(ctx, plan.Build(rec.Kind, rec.Undoing, rec.Announced))
		if err == nil || errors.Is(err, ErrDeposed) || ctx.Err() != nil || r.recovery().Announced {
			return err
		}
		if rewound := r.rewind(ctx, err, rewinds == maxRewinds); rewound != nil {
			return rewound
		}
	}
}

func (r *run) stages(ctx context.Context, p plan.Plan) error {
	for _, stage := range p.Stages {
		var wg sync.WaitGroup
		all := make([]error, len(stage))
		for n, name := range stage {
			wg.Go(func() { all[n] = r.step(ctx, name) })
		}
		wg.Wait()
		if err := errors.Join(all...); err != nil {
			return err
		}
	}
	return nil
}

// step carries out one step within the journal.
func (r *run) step(ctx context.Context, name plan.Name) (err error) {
	if name == plan.Withdraw {
		defer func() { r.barrier.end(err) }() // also where it was not begun
	}
	if err := stopPoint(ctx, string(name)); err != nil {
		return err
	}
	begun := r.cfg.Now()
	if err := r.lead(ctx); err != nil {
		return err
	}
	note, err := r.act(ctx, name)
	outcome := ledger.StepDone
	if err != nil {
		outcome, note = ledger.StepFailed, err.Error()
		err = fmt.Errorf("%s: %w", name, err)
	}
	r.journal.record(ctx, ledger.Step{
		Name: string(name), Subject: r.subject(name), Leader: r.cfg.Self,
		StartedAt: begun, EndedAt: r.cfg.Now(), Outcome: outcome, Note: note,
	})
	return err
}

// act does what a step is for and says what it did.
func (r *run) act(ctx context.Context, name plan.Name) (string, error) {
	steps := map[plan.Name]func(context.Context) (string, error){
		plan.Pick: r.pick, plan.Withdraw: r.withdraw, plan.Fence: r.fence, plan.Demote: r.demote,
		plan.StopReceiving: r.stopReceiving, plan.Converge: r.converge, plan.Salvage: r.salvage, plan.WaitApplied: r.waitApplied, plan.CatchUp: r.catchUp,
		plan.Acknowledgers: r.acknowledgers, plan.Promote: r.promote, plan.Announce: r.announce,
		plan.Route: r.route, plan.Publish: r.publish, plan.Repoint: r.repoint, plan.Verify: r.verify, plan.DetachLost: r.detachLost,
	}
	do, ok := steps[name]
	if !ok {
		return "", fmt.Errorf("no such step: %q", name)
	}
	return do(ctx)
}

func (r *run) subject(name plan.Name) topology.Key {
	rec := r.recovery()
	switch name {
	case plan.Withdraw, plan.Fence, plan.Demote:
		return rec.Old
	case plan.StopReceiving, plan.Repoint, plan.Verify, plan.DetachLost:
		return topology.Key{}
	default:
		return rec.Winner
	}
}

// recovery is the ledger's newest record of this recovery.
func (r *run) recovery() ledger.Recovery { return r.ledger.State().Recoveries[r.id] }

func (r *run) cluster() ledger.Cluster {
	s := r.ledger.State()
	return s.Clusters[s.Recoveries[r.id].Cluster]
}

// lead fails unless a majority of the controllers still follows this one.
func (e *Executor) lead(ctx context.Context) error { return Lead(ctx, e.ledger) }

// lead also fails where this recovery is no longer this controller's: one that
// was deposed while a server let it wait, and leads again, would go on with what
// another has carried on or ended.
func (r *run) lead(ctx context.Context) error {
	if err := r.Executor.lead(ctx); err != nil {
		return err
	}
	// After the verification, so that what others did is in it.
	switch rec := r.recovery(); {
	case !rec.Open():
		return fmt.Errorf("%w: recovery %s has ended", ErrDeposed, r.id)
	case rec.Leader != r.cfg.Self:
		return fmt.Errorf("%w: recovery %s is carried on by %s", ErrDeposed, r.id, rec.Leader)
	}
	return nil
}

// propose commits, as long as this recovery is this controller's.
func (r *run) propose(ctx context.Context, cmd ledger.Command) error {
	if err := r.lead(ctx); err != nil {
		return err
	}
	return r.Executor.propose(ctx, cmd)
}

func (e *Executor) propose(ctx context.Context, cmd ledger.Command) error {
	return Propose(ctx, e.ledger, cmd)
}

func (r *run) address(k topology.Key) topology.Key {
	return Address(r.looker, r.cluster(), k)
}

func (r *run) close(ctx context.Context, cause error) error {
	// First, since what it tells of is in there.
	r.journal.flush(ctx)
	rec := r.recovery()
	cmd := ledger.CloseRecovery{Recovery: r.id, Lost: r.lostServers(), At: r.cfg.Now()}
	switch {
	case cause == nil && rec.Undoing:
		cmd.Outcome, cmd.Message = ledger.Undone, "the old master serves again"+gapNote(rec)
	case cause == nil && len(r.stragglers) == 0:
		cmd.Outcome, cmd.Message = ledger.Completed, fmt.Sprintf("%s is the master", rec.Winner)+gapNote(rec)+r.lostNote()
	case rec.Announced:
		cmd.Outcome = ledger.Incomplete
		cmd.Message = fmt.Sprintf("%s is the master; not confirmed: %v", rec.Winner, r.stragglers) + r.lostNote()
		if cause != nil {
			cmd.Message += ": " + cause.Error()
		}
	default:
		cmd.Outcome, cmd.Message = ledger.Failed, cause.Error()
		r.resumeReplicas(ctx)
	}
	if rec.Announced && r.risk != "" && !r.fenced {
		cmd.Message += "; FORCED: " + r.risk
	}
	r.log.Info("recovery ended", "recovery", r.id, "cluster", rec.Cluster, "outcome", cmd.Outcome, "message", cmd.Message)
	return r.propose(ctx, cmd)
}

// gapNote says for how long nobody could write during a switchover: from when the
// first proxy was taken from the old master until the last one led to the new.
// The clocks of two leaders may differ, which shows where it was carried on.
func gapNote(rec ledger.Recovery) string {
	if rec.Kind != ledger.Switchover {
		return ""
	}
	var from, to time.Time
	for _, s := range rec.Steps {
		switch plan.Name(s.Name) {
		case plan.Withdraw, plan.Demote:
			if from.IsZero() {
				from = s.StartedAt
			}
		case plan.Route:
			to = s.EndedAt
		}
	}
	if from.IsZero() || !to.After(from) {
		return ""
	}
	return fmt.Sprintf("; nobody could write for %d ms", (to.Sub(from)+time.Millisecond-1)/time.Millisecond)
}
