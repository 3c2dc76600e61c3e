package sim_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"switchyard/controller/candidate"
	"switchyard/controller/executor"
	"switchyard/controller/failover"
	"switchyard/controller/leases"
	"switchyard/controller/policy"
	"switchyard/controller/rejoin"
	"switchyard/controller/relocate"
	"switchyard/controller/topology"
	"switchyard/router/fleet"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// errCrashed is what the real code of a controller that crashed gets for all
// that it still tries before its goroutines end.
var errCrashed = errors.New("this controller has crashed")

// controller is one process: the real loop, executor, rejoiner and fleet, and a
// pretend observer and raft.
type controller struct {
	w    *world
	id   string
	life int
	// began is when this process started.
	began time.Duration
	up    bool
	raft  member
	skew  time.Duration

	loop    *failover.Loop
	cancel  context.CancelFunc
	ended   sync.WaitGroup
	changed chan struct{}
	leading chan bool
	hints   chan failover.Suspicion
	// register and promoter are of worlds with leases.
	register *leases.Register
	promoter *leases.Promoter
	sights   map[topology.Key]*sight

	mu sync.Mutex
	// What follows is read by the real code's goroutines.
	state            ledger.State
	office, standing bool
	dead             bool
	master           topology.Key
	verified         time.Duration
	ticks            int
}

// boot starts a process; before is the one that it succeeds, or nil.
func (w *world) boot(id string, before *controller) *controller {
	c := &controller{
		w: w, id: id, up: true, began: w.now(), verified: -1, changed: make(chan struct{}, 1), leading: make(chan bool, 1),
		hints: make(chan failover.Suspicion, 4), sights: map[topology.Key]*sight{},
	}
	if before != nil {
		c.life, c.skew = before.life+1, before.skew
		c.raft = member{term: before.raft.term, applied: before.raft.applied, pending: before.raft.pending, heard: w.now()}
	}
	c.raft.applied = max(1, c.raft.applied)
	c.state = w.raft.states[c.raft.applied-1]
	for _, s := range w.servers {
		c.sights[s.key] = &sight{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	log := slog.New(slog.DiscardHandler)
	var proxies []fleet.Proxy
	for _, p := range w.proxies {
		proxies = append(proxies, remote{c, p})
	}
	f, err := fleet.New(fleet.Config{}, proxies, c, c.clock, log)
	if err != nil {
		panic(err)
	}
	rules := func(name string) policy.Cluster {
		return failover.Rules(w.cfg.policy(name), c.State(), name, c.clock())
	}
	c.granting()
	exec := executor.New(executor.Config{Leases: c.outlasting(), Self: id, Policy: rules, Tails: tails{c}, Now: c.clock, ApplyTimeout: time.Minute},
		c, c, hands{c}, f, directory{c}, log)
	tender := rejoin.New(rejoin.Config{
		SemiSync: func(string) bool { return w.cfg.semiSync },
		Address:  func(k topology.Key) topology.Key { return k }, Now: c.clock,
	}, c, c, hands{c}, log)
	mover := relocate.New(relocate.Config{Self: id, Policy: rules, Sources: candidate.Sources, Now: c.clock}, c, c, hands{c}, log)
	var known failover.Leases
	if c.promoter != nil {
		known = c.promoter
	}
	c.loop = failover.New(failover.Config{
		Leases: known,
		Self:   id, Policy: w.cfg.policy, Now: c.clock, Unknown: f.Unknown, Relocator: mover, Mover: mover,
		OnHold: func(_, code string) { w.stats.hold(code) },
	}, c, c, c, exec, tender, c.hints, log)
	c.ended.Go(func() { _ = c.loop.Run(ctx) })
	c.ended.Go(func() { _ = f.Run(ctx) })
	w.watch(c)
	return c
}

// kill ends a process without any cleaning up: what its code still tries
// reaches nobody.
func (w *world) kill(c *controller) {
	w.note("%s crashes", c.name())
	if c.raft.leads {
		w.deposedDuring()
	}
	c.up, c.raft.leads, c.raft.office = false, false, false
	c.mu.Lock()
	c.dead, c.office, c.standing = true, false, false
	c.mu.Unlock()
	for _, p := range c.raft.pending {
		p.f.end(nil, errCrashed)
	}
	c.cancel()
}

func (c *controller) name() string {
	if c.life == 0 {
		return c.id
	}
	return fmt.Sprintf("%s.%d", c.id, c.life)
}

func (c *controller) crashed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// ask has the world do something for this controller.
func (c *controller) ask(ctx context.Context, what string, merge bool, begin func(*flight)) (any, error) {
	if c.crashed() {
		return nil, errCrashed
	}
	return c.w.ask(ctx, c.name()+" "+what, merge, begin)
}

// clock is this controller's wall clock.
func (c *controller) clock() time.Time { return time.Now().Add(c.offset()) }

func (c *controller) offset() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.skew
}

func (c *controller) setVerified() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verified = c.w.now()
}

// verifiedNow reports whether leadership was verified at this very moment.
func (c *controller) verifiedNow() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.verified == c.w.now()
}

// advance applies all that is committed.
func (c *controller) advance() {
	c.raft.applied = len(c.w.raft.states)
	c.mu.Lock()
	c.state = c.w.raft.committed()
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// takeOffice tells the real code that this controller leads, or no longer does.
func (c *controller) takeOffice(leads bool) {
	c.raft.office = leads
	c.mu.Lock()
	c.office, c.standing = leads, c.raft.leads
	c.mu.Unlock()
	select {
	case <-c.leading:
	default:
	}
	c.leading <- leads
}

func (c *controller) elected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.standing
}

// State implements failover.Ledger.
func (c *controller) State() ledger.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// IsLeader implements failover.Ledger. The tender of deposed servers and the
// worker of one cluster have timers that fire at one moment; who comes first
// then is decided here, by the seed, by holding the former up a little.
func (c *controller) IsLeader() bool {
	var pcs [1]uintptr
	if runtime.Callers(2, pcs[:]) == 1 {
		frame, _ := runtime.CallersFrames(pcs[:]).Next()
		if strings.HasSuffix(frame.Function, "tendDeposed") {
			c.mu.Lock()
			c.ticks++
			sum := fnv.New64a()
			_, _ = fmt.Fprintf(sum, "%d %s %d", c.w.seed, c.id, c.ticks)
			c.mu.Unlock()
			time.Sleep(time.Duration(1 + sum.Sum64()%997))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.office
}

// LeaderChanges implements failover.Ledger.
func (c *controller) LeaderChanges() (<-chan bool, func()) { return c.leading, func() {} }

// Watch implements failover.Ledger.
func (c *controller) Watch() (<-chan struct{}, func()) { return c.changed, func() {} }

// Tables implements fleet.Ledger.
func (c *controller) Tables() []routes.Table {
	var out []routes.Table
	for _, cl := range c.State().Clusters {
		out = append(out, c.State().Routes(cl))
	}
	return out
}

// Leads implements fleet.Ledger.
func (c *controller) Leads(ctx context.Context) error { return c.VerifyLeader(ctx) }

// Confirm implements fleet.Ledger.
func (c *controller) Confirm(ctx context.Context, name string, table routes.Table) error {
	return c.Propose(ctx, ledger.Confirm{Confirmation: ledger.Confirmation{
		Receiver: ledger.Proxy, Name: name, Cluster: table.Cluster, Epoch: table.Epoch, Revision: table.Revision, At: c.clock(),
	}})
}

// Repaired implements fleet.Ledger.
func (c *controller) Repaired(ctx context.Context, name string, table routes.Table, was string) error {
	return c.Propose(ctx, ledger.AppendAudit{Entries: []ledger.AuditEntry{{
		At: c.clock(), Kind: ledger.AuditRepair, Cluster: table.Cluster, Action: "put-back-proxy", By: c.id, Reason: name + " was " + was,
	}}})
}
