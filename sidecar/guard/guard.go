// Package guard stands beside a mysqld: it renews the server's lease at every
// controller, asks the other database sidecars of the cluster whether they
// follow, and takes the right to write before the lease ends. It never gives it.
package guard

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"switchyard/router/routes"
	"switchyard/sidecar/fence"
	"switchyard/sidecar/lease"
	"switchyard/sidecar/protocol"
)

// Wire reaches the controllers and the other database sidecars, by their names.
type Wire interface {
	Renew(ctx context.Context, controller string, q protocol.Renew) (protocol.RenewReply, error)
	Exit(ctx context.Context, controller string, q protocol.Exit) (protocol.ExitNoted, error)
	Follow(ctx context.Context, peer string, q protocol.Follow) (protocol.FollowReply, error)
}

// Seen is what a look at the server found.
type Seen struct {
	ReadOnly bool
	// UUID is empty on MariaDB.
	UUID string
	// Replica is set where it has a source, and Unknown where that could not be read.
	Replica bool
	Unknown error
}

// Source is whom the server receives from.
type Source struct {
	// Server is HOST:PORT as it was configured; empty where there is none.
	Server string
	// UUID is empty on MariaDB.
	UUID string
	// Receiving is set while its connection stands.
	Receiving bool
}

// Local is the server on this host, over its own socket.
type Local interface {
	fence.Opener
	Look(ctx context.Context) (Seen, error)
	// Source asks on a connection of its own.
	Source(ctx context.Context) (Source, error)
	// Find finds its process; fence.ErrNoProcess is returned, wrapped, where it has none.
	Find(ctx context.Context) (Process, error)
}

// Process is the server's process.
type Process interface {
	fence.Victim
	Close()
}

// Hands fence a server.
type Hands interface {
	Fence(ctx context.Context, victim fence.Victim, by time.Time) (fence.Result, error)
}

// Tie ends the process at an instant, even if this one is dead or frozen then.
type Tie interface {
	// Bind sets the instant, lease.Never for none; a nil process lets go.
	Bind(p Process, at lease.Instant)
	// Holds tells whether the process would be ended.
	Holds(p Process) bool
}

// Config is what a guard is told.
type Config struct {
	// Who speaks; the UUID is learned.
	Who protocol.Who
	// Lease names the controllers and the peers.
	Lease lease.Config
	// Renew is how often each of them is asked at least; 0 is one second.
	Renew time.Duration
	// Book is the path of the file that outlives a restart.
	Book string
	// Resolve looks up a host's addresses.
	Resolve func(ctx context.Context, host string) ([]string, error)
}

// The pace of a guard.
const (
	// tick is how late a suspend may be noticed: a timer does not run through it.
	tick = 25 * time.Millisecond
	// pace is the pause between two looks at the server, and patience is for one.
	pace     = 200 * time.Millisecond
	patience = 500 * time.Millisecond
	// answerIn is how long a controller or a peer may take.
	answerIn = 2 * time.Second
	// startIn is how long a new process may take until it answers for the first
	// time; one that says nothing for longer may be taking writes.
	startIn = time.Minute
	// hurry is how much more often a fenced server's sidecar asks: to be made the
	// master, it has to be granted a lease.
	hurry = 4
	// reportFor is how long the end of the process is reported to who does not answer.
	reportFor = 30 * time.Second
)

// Status is what a guard has and does.
type Status struct {
	State   protocol.State
	Holding protocol.Holding
	Action  lease.Action
	Reason  string
	// Until is when the lease ends, zero without one.
	Until lease.Instant
	// Epoch is the newest that is known.
	Epoch routes.Epoch
	UUID  string
	Tied  bool
	// held is set while the lease is held, be it on the disk or not.
	held bool
	// every is how often the controllers and the peers are asked.
	every time.Duration
	// cut is set while clients are to be ended as they come.
	cut bool
}

// Guard stands beside one server. Use New, then Run; Follow and Part answer
// what comes through the door.
type Guard struct {
	cfg   Config
	wire  Wire
	local Local
	hands Hands
	tie   Tie // nil where the server is not tied
	clock func() lease.Instant
	log   *slog.Logger
	shelf *shelf

	events  chan func()
	renew   map[string]chan struct{} // wakes who renews at a controller
	look    chan struct{}
	cut     chan struct{}
	workers sync.WaitGroup

	// What follows is the keeper's alone.
	lease    *lease.Lease
	server   lease.Server
	seenAt   lease.Instant
	process  Process
	replica  bool
	fencing  context.CancelFunc // nil while no fence is under way
	fencedAt lease.Instant
	killedAt lease.Instant
	// graceUntil holds the hands off a server that ran on without its sidecar: the
	// controllers are asked first.
	graceUntil lease.Instant
	heard      map[string]string // of each controller and peer, as it was last logged
	was        lease.Action
	uuid       string

	mu     sync.Mutex
	status Status
}

// Ports are the guard's hands and eyes; without a Tie nothing is promised for
// a sidecar that is dead or frozen.
type Ports struct {
	Wire  Wire
	Local Local
	Hands Hands
	Tie   Tie
	Clock func() lease.Instant
}

// New returns a guard that goes on from its book. A book that cannot be read is
// an error: whether the server is fenced is not known then.
func New(cfg Config, ports Ports, log *slog.Logger) (*Guard, error) {
	cfg.Renew = cmp.Or(cfg.Renew, time.Second)
	shelf, err := openShelf(cfg.Book, cfg.Who.Cluster, cfg.Who.Server, log)
	if err != nil {
		return nil, err
	}
	now := ports.Clock()
	book, grace := away(shelf.content().Lease, cfg, now)
	state, err := lease.New(cfg.Lease, book, cfg.Who.Boot)
	if err != nil {
		return nil, fmt.Errorf("the lease: %w", err)
	}
	g := &Guard{
		cfg: cfg, wire: ports.Wire, local: ports.Local, hands: ports.Hands, tie: ports.Tie, clock: ports.Clock, log: log,
		shelf: shelf, lease: state, server: lease.Silent,
		events: make(chan func()), renew: map[string]chan struct{}{},
		look: make(chan struct{}, 1), cut: make(chan struct{}, 1), heard: map[string]string{}, graceUntil: grace,
	}
	for _, name := range cfg.Lease.Controllers {
		g.renew[name] = make(chan struct{}, 1)
	}
	g.status = Status{State: protocol.Silent, Holding: protocol.Unleased, Epoch: shelf.content().Known, every: cfg.Renew}
	if shelf.content().Lease.Held {
		g.status.Holding = protocol.Fenced // until it is decided
	}
	return g, nil
}

// away says until when a sidecar that was not there leaves its server alone, to
// hear the controllers first: for half of the time that there is for a fence. One
// that should have been in force while no sidecar was there gets its time anew: a
// server that was tied is dead by then; of one that was not, nothing was promised,
// and a second more or less is no reason to kill it.
func away(book lease.Book, cfg Config, now lease.Instant) (lease.Book, lease.Instant) {
	end := book.Until.Add(-cfg.Lease.Kill)
	if book.Fence != nil {
		end = book.Fence.By
	}
	switch {
	case book.Boot != cfg.Who.Boot || !book.Held || book.Fence != nil && (book.Fence.Settled || now < end):
		return book, 0
	case now < end:
		return book, now.Add(min(cfg.Lease.Fence, time.Duration(end-now)) / 2)
	}
	book.Fence = &lease.Stand{At: now, By: now.Add(cfg.Lease.Fence), Why: "fenced: its lease ended while its sidecar was not there"}
	return book, now.Add(cfg.Lease.Fence / 2)
}

// Run guards until ctx ends. What is on disk then is what the next run goes on from.
func (g *Guard) Run(ctx context.Context) error {
	var writer sync.WaitGroup
	writing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer writer.Wait()
	defer stop()
	writer.Go(func() { g.shelf.run(writing) })
	for _, name := range g.cfg.Lease.Controllers {
		g.workers.Go(func() { g.renewAt(ctx, name) })
	}
	for _, name := range g.cfg.Lease.Peers {
		g.workers.Go(func() { g.askPeer(ctx, name) })
	}
	g.workers.Go(func() { g.watch(ctx) })
	g.workers.Go(func() { g.cutClients(ctx) })
	g.keep(ctx)
	g.workers.Wait()
	return nil
}

// Status returns what the guard has and does now.
func (g *Guard) Status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.status
}

// tell hands an event to the keeper.
func (g *Guard) tell(ctx context.Context, event func()) {
	select {
	case g.events <- event:
	case <-ctx.Done():
	}
}

// wake makes who waits on c go on at once.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pause waits until d has passed, wakes or ctx ends.
func pause(ctx context.Context, d time.Duration, woken <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-woken:
	case <-ctx.Done():
	}
}
