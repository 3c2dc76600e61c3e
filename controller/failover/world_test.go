package failover_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/failover"
	"switchyard/controller/hooks"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/controller/topology/sketch"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// What the pretend cluster looks like; views are of this controller (c1) and of
// those others that answer.
const (
	healthy = `
		server m exec=0-1-100
		server a <m exec=0-1-100
		server b <m exec=0-1-90
		view c1 m=ok a=ok b=ok
		view c2 m=ok a=ok b=ok`
	replicas = `
		server m exec=0-1-100
		server a <m io=Connecting exec=0-1-100
		server b <m io=Connecting exec=0-1-90
	`
	dead        = replicas + "view c1 m=refused a=ok b=ok\n" + "view c2 m=refused a=ok b=ok\n"
	onlyWeSee   = replicas + "view c1 m=refused a=ok b=ok\n"
	cutOff      = replicas + "view c1 m=timeout a=ok b=ok\n" + "view c2 m=timeout a=ok b=ok\n"
	unreachable = `
		server m exec=0-1-100
		server a <m exec=0-1-100
		server b <m exec=0-1-90
		view c1 m=refused a=ok b=ok
		view c2 m=refused a=ok b=ok`
)

func key(name string) topology.Key { return sketch.Key(name) }

// world is all that the loop touches: a real ledger, and around it servers,
// controllers and hands that do what the test says.
type world struct {
	t *testing.T

	mu    sync.Mutex
	state ledger.State
	leads bool
	rules policy.Cluster
	// now is what a look shows, and memory what the periodic probes saw last.
	now, memory topology.Snapshot
	silent      []error
	pictures    []failover.Picture
	// before may fail each command that the loop proposes.
	before  func(ledger.Command) error
	barrier func() error
	recover func(ctx context.Context, r ledger.Recovery) error
	// hook is what an operator's command comes to; nil is to have none.
	hook func(ctx context.Context, m hooks.Moment, f hooks.Facts) (string, error)
	told []hooks.Facts
	// mover is what a change of a single server comes to.
	mover func(ctx context.Context, what string) error
	// relocate is what moving the replicas of an intermediate master comes to, and
	// repair what the smaller things do.
	relocate func(ctx context.Context, r ledger.Recovery) error
	repair   func(ctx context.Context, what string) error
	// leases are the database sidecars'; nil for none.
	leases failover.Leases
	// unknown are the proxies that do not answer.
	unknown []string
	// retention is how long the audit is kept.
	retention time.Duration
	// tend is what tending deposed servers comes to.
	tend func(ctx context.Context) error

	proposed []proposal
	looks    []time.Time
	// trace has what the loop had done by others, and when.
	trace   []effect
	masters map[string]topology.Key
	learned map[topology.Key]string
	ended   []string
	held    []string

	changed chan struct{}
	leading chan bool
	hints   chan failover.Suspicion
	// higher is the loop's Higher.
	higher func(ctx context.Context, cluster string, epoch routes.Epoch) error
}

type proposal struct {
	cmd ledger.Command
	at  time.Time
}

type effect struct {
	what string
	at   time.Time
}

// newWorld is a healthy cluster that the ledger knows, led by this controller.
func newWorld(t *testing.T) *world {
	w := emptyWorld(t)
	w.must(ledger.AdoptMaster{Cluster: "shop", Master: key("m"), At: time.Now()})
	names := []ledger.ServerName{{Key: key("a")}, {Key: key("b")}}
	w.must(ledger.RememberServers{Cluster: "shop", At: time.Now(), Servers: names})
	w.draw(healthy)
	return w
}

func emptyWorld(t *testing.T) *world {
	w := &world{
		t: t, leads: true, masters: map[string]topology.Key{}, learned: map[topology.Key]string{},
		rules: policy.Cluster{
			Recover: true, Controllers: 3, Proxies: 1, AntiFlap: 10 * time.Minute, RestartGrace: 15 * time.Second,
			MinStall: 1500 * time.Millisecond, Partition: policy.PartitionHold, SemiSync: policy.SemiSyncAuto,
		},
		changed: make(chan struct{}, 1), leading: make(chan bool, 1), hints: make(chan failover.Suspicion),
	}
	w.recover = w.promote
	w.must(ledger.Bootstrap{ID: "test", Generation: 1})
	return w
}

// start runs the loop; the function returned ends it, and is to be called.
func (w *world) start() (*failover.Loop, func()) {
	w.leading <- w.IsLeader()
	cfg := failover.Config{
		Self: "c1", Now: time.Now, Mover: mover{w}, Relocator: relocator{w}, AuditRetention: w.retention,
		Policy: func(string) policy.Cluster {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.rules
		},
		OnEnd: func(rec ledger.Recovery) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ended = append(w.ended, rec.ID)
		},
		OnHold: func(cluster, code string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.held = append(w.held, cluster+" "+code)
		},
	}
	if w.hook != nil {
		cfg.Hooks = commands{w}
	}
	cfg.Leases = w.leases
	cfg.Higher = w.higher
	cfg.Unknown = func(string) []string { return w.unknown }
	loop := failover.New(cfg, w, w, w, w, w, w.hints, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- loop.Run(ctx) }()
	synctest.Wait()
	return loop, func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the run ended with %v", err)
		}
	}
}

// pass lets the bubble's time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) parse(text string, edits []func(topology.Snapshot)) topology.Snapshot {
	w.t.Helper()
	s, err := sketch.Parse(text)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, edit := range edits {
		edit(s)
	}
	for _, v := range s.Views {
		for k, o := range v.Observations {
			o.Begun, o.Ended = time.Now(), time.Now()
			v.Observations[k] = o
		}
	}
	return s
}

// draw changes the world, and what is remembered of it.
func (w *world) draw(text string, edits ...func(topology.Snapshot)) {
	w.t.Helper()
	s := w.parse(text, edits)
	w.set(func() { w.now, w.memory = s, s })
}

// change changes the world and not what is remembered of it.
func (w *world) change(text string, edits ...func(topology.Snapshot)) {
	w.t.Helper()
	s := w.parse(text, edits)
	w.set(func() { w.now = s })
}

// suspect sends a hint, and returns when all that it leads to at once is done.
func (w *world) suspect() {
	w.hints <- failover.Suspicion{Cluster: "shop", Why: "the tripwire ended", At: time.Now()}
	synctest.Wait()
}

// must applies a command as another controller's.
func (w *world) must(cmd ledger.Command) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	next, _, err := ledger.Apply(w.state, cmd)
	if err != nil {
		w.t.Fatal(err)
	}
	w.state = next
	w.tell()
}

// claim opens a recovery as another controller does.
func (w *world) claim(kind ledger.Kind, automatic bool) string {
	w.t.Helper()
	c := w.State().Clusters["shop"]
	w.must(ledger.ClaimRecovery{
		Cluster: "shop", RecoveryKind: kind, Finding: "DeadMaster", Old: c.Master, ExpectEpoch: c.Epoch, Leader: "c2",
		Automatic: automatic, At: time.Now(),
	})
	return w.State().Clusters["shop"].Recovery
}

func (w *world) tell() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// promote is a recovery that goes well, with the target or a as the winner.
func (w *world) promote(ctx context.Context, r ledger.Recovery) error {
	winner := r.Target
	switch {
	case r.Kind == ledger.Reinstate:
		winner = r.Old
	case winner.IsZero():
		winner = key("a")
	}
	return errors.Join(
		w.Propose(ctx, ledger.ChooseWinner{Recovery: r.ID, Winner: winner, At: time.Now()}),
		w.Propose(ctx, ledger.Announce{Recovery: r.ID, At: time.Now()}),
		w.Propose(ctx, ledger.CloseRecovery{Recovery: r.ID, Outcome: ledger.Completed, At: time.Now()}),
	)
}

// fail is a recovery that ends without a winner.
func (w *world) fail(ctx context.Context, r ledger.Recovery) error {
	return w.Propose(ctx, ledger.CloseRecovery{Recovery: r.ID, Outcome: ledger.Failed, At: time.Now()})
}

// claims are those that the loop proposed.
func (w *world) claims() []ledger.ClaimRecovery {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []ledger.ClaimRecovery
	for _, p := range w.proposed {
		if c, ok := p.cmd.(ledger.ClaimRecovery); ok {
			out = append(out, c)
		}
	}
	return out
}

// kinds are the kinds of all commands that the loop proposed, but those that
// only tell.
func (w *world) kinds() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, p := range w.proposed {
		if _, tells := p.cmd.(ledger.AppendAudit); !tells {
			out = append(out, p.cmd.Kind())
		}
	}
	return out
}

func (w *world) effects(what string) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []time.Time
	for _, e := range w.trace {
		if e.what == what {
			out = append(out, e.at)
		}
	}
	return out
}

func (w *world) traced() []effect {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.trace)
}

// watched is on whom the observer was told to hold a cluster's tripwire, and
// servers are those that it was told of.
func (w *world) watched(cluster string) topology.Key {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.masters[cluster]
}

func (w *world) servers() map[topology.Key]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.learned)
}

// reported are the recoveries that were reported for the metrics.
func (w *world) reported() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.ended)
}

func (w *world) looked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.looks)
}

func (w *world) did(what string) { w.trace = append(w.trace, effect{what, time.Now()}) }
