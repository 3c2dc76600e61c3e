package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	sessions *sessions
	journal  *journal
	// resumed is true when an earlier leader may have begun the steps.
	resumed bool
	// withdrawn and fenced are what this execution has proved of the old master.
	withdrawn, fenced bool
	// acknowledging is how many replicas follow the winner and acknowledge.
	acknowledging int
	// touched is true once the winner of the present epoch may have been made
	// writable.
	touched    bool
	lost       []topology.Key
	stragglers []string
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
	if !rec.Open() {
		return rec, nil
	}
	r := &run{
		Executor: e, id: id, policy: e.cfg.Policy(rec.Cluster),
		journal: newJournal(e, id),
		resumed: rec.Leader != e.cfg.Self || !rec.Winner.IsZero(),
	}
	// Leadership is asked for on the run's time: a server that used up its own
	// deposes nobody.
	r.sessions = newSessions(e.hands, func(context.Context) error { return r.lead(ctx) }, r.address)
	defer r.sessions.closeAll()
	if r.resumed {
		// A controller that has just started may not have seen them yet.
		r.looker.Look(ctx, r.members(), nil)
	}
	guard := r.guardOld(ctx)
	defer func() { cancel(); guard.Wait() }()
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
		errs := make(chan error, len(stage))
		for _, name := range stage {
			go func() { errs <- r.step(ctx, name) }()
		}
		var all []error
		for range stage {
			all = append(all, <-errs)
		}
		if err := errors.Join(all...); err != nil {
			return err
		}
	}
	return nil
}

// step carries out one step within the journal.
func (r *run) step(ctx context.Context, name plan.Name) error {
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
		plan.StopReceiving: r.stopReceiving, plan.WaitApplied: r.waitApplied, plan.CatchUp: r.catchUp,
		plan.Acknowledgers: r.acknowledgers, plan.Promote: r.promote, plan.Announce: r.announce,
		plan.Route: r.route, plan.Publish: r.publish, plan.Repoint: r.repoint, plan.Verify: r.verify,
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
	case plan.StopReceiving, plan.Repoint, plan.Verify:
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
func (e *Executor) lead(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := e.ledger.VerifyLeader(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrDeposed, err)
	}
	return nil
}

// propose commits; a rejection is the ledger's answer, anything else means
// that this controller can not be sure to lead.
func (e *Executor) propose(ctx context.Context, cmd ledger.Command) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := e.ledger.Propose(ctx, cmd)
	var rejection *ledger.Rejection
	if err == nil || errors.As(err, &rejection) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrDeposed, cmd.Kind(), err)
}

// address is where a server can be connected to.
func (r *run) address(k topology.Key) topology.Key {
	c := r.cluster()
	if s, ok := r.looker.Snapshot(c.Name, c.Master).Servers[k]; ok && s.Last != nil && !s.Last.Address.IsZero() {
		return s.Last.Address
	}
	return k
}

func (r *run) close(ctx context.Context, cause error) error {
	rec := r.recovery()
	cmd := ledger.CloseRecovery{Recovery: r.id, Lost: r.lost, At: r.cfg.Now()}
	switch {
	case cause == nil && rec.Undoing:
		cmd.Outcome, cmd.Message = ledger.Undone, "the old master serves again"
	case cause == nil && len(r.stragglers) == 0:
		cmd.Outcome, cmd.Message = ledger.Completed, fmt.Sprintf("%s is the master", rec.Winner)
	case rec.Announced:
		cmd.Outcome = ledger.Incomplete
		cmd.Message = fmt.Sprintf("%s is the master; not confirmed: %v", rec.Winner, r.stragglers)
		if cause != nil {
			cmd.Message += ": " + cause.Error()
		}
	default:
		cmd.Outcome, cmd.Message = ledger.Failed, cause.Error()
		r.resumeReplicas(ctx)
	}
	r.journal.flush(ctx)
	r.log.Info("recovery ended", "recovery", r.id, "cluster", rec.Cluster, "outcome", cmd.Outcome, "message", cmd.Message)
	return r.propose(ctx, cmd)
}
