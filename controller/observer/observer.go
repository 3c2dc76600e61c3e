// Package observer looks at the database servers: it finds whole topologies
// from a few seeds, probes every server each second, holds a tripwire on each
// master, says at once when something looks wrong, and makes the pictures that
// every judgement starts from.
package observer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"switchyard/controller/topology"
)

// Prober talks to database servers. Every call ends soon after its context
// does. Errors of the probes may implement interface{ Reach() topology.Reach };
// those that do not count as ReachError.
type Prober interface {
	// Probe reads a server on the connection kept for it.
	Probe(ctx context.Context, address topology.Key) (*topology.Instance, error)
	// ProbeFresh reads a server on a new connection.
	ProbeFresh(ctx context.Context, address topology.Key) (*topology.Instance, error)
	// Hold arms a tripwire and returns when it ends; an error means that it
	// could not be armed.
	Hold(ctx context.Context, address topology.Key) (topology.TripEnd, error)
	// Forget drops what is kept for a server.
	Forget(address topology.Key)
}

// Namer names servers and sorts them into clusters.
type Namer interface {
	// Resolve returns the canonical name of what is called raw, and whether it
	// is to be left alone.
	Resolve(raw topology.Key) (key topology.Key, ignored bool)
	// Keep marks names that must stay canonical.
	Keep(keys ...topology.Key)
	// Describe returns a copy of what was read at an address, named and placed.
	Describe(ctx context.Context, address topology.Key, i *topology.Instance) *topology.Instance
	// Assign says which cluster each server belongs to, and what is wrong.
	Assign(servers []topology.Server, remembered map[topology.Key]string) (map[topology.Key]string, []string)
	// Match learns whether a name that cannot be reached is another name of
	// one of the servers.
	Match(ctx context.Context, raw topology.Key, servers []topology.Key) bool
}

// Config is what an observer is told. Zero durations and numbers get their
// defaults.
type Config struct {
	// ID is the controller's.
	ID string
	// Seeds are the servers to start from.
	Seeds []topology.Key
	// ProbeInterval is how often each server is probed (1 s), and ProbeTimeout
	// how long one probe may take (1 s).
	ProbeInterval time.Duration
	ProbeTimeout  time.Duration
	// ConnectTimeout is how long the prober takes at most to connect (2 s).
	ConnectTimeout time.Duration
	// UrgentTimeout is how long one server may take in a Look (500 ms).
	UrgentTimeout time.Duration
	// SuspectAfter is after how long an unanswered probe of a master is
	// reported, while it still may be answered (400 ms).
	SuspectAfter time.Duration
	// StallSuspicion is for how long a replica must have received nothing for
	// its master to be suspected (1 s); never less than three of its heartbeat
	// periods.
	StallSuspicion time.Duration
	// MaxProbes bounds the periodic probes under way at once (256).
	MaxProbes int
	// MaxServers bounds the servers watched (10000).
	MaxServers int
	// Writer tries writes on each master, every WriteInterval (1 s), each for
	// WriteTimeout (1 s); nil for none.
	Writer        Writer
	WriteInterval time.Duration
	WriteTimeout  time.Duration
	// OnProbe, if not nil, is told of each probe that ended.
	OnProbe func(took time.Duration, ok bool)
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&c.ProbeInterval, time.Second)
	set(&c.ProbeTimeout, time.Second)
	set(&c.ConnectTimeout, 2*time.Second)
	set(&c.UrgentTimeout, 500*time.Millisecond)
	set(&c.SuspectAfter, 400*time.Millisecond)
	set(&c.StallSuspicion, time.Second)
	set(&c.WriteInterval, time.Second)
	set(&c.WriteTimeout, time.Second)
	if c.MaxProbes <= 0 {
		c.MaxProbes = 256
	}
	if c.MaxServers <= 0 {
		c.MaxServers = 10000
	}
	if c.OnProbe == nil {
		c.OnProbe = func(time.Duration, bool) {}
	}
	return c
}

// Observer watches servers. Its methods may be used by several goroutines, and
// before Run.
type Observer struct {
	cfg    Config
	prober Prober
	namer  Namer
	now    func() time.Time
	log    *slog.Logger

	running atomic.Bool
	turns   atomic.Uint64
	wake    chan struct{}
	out     chan Suspicion
	// Servers that answered last time, and all others, have places of their
	// own, so that those that hang never keep the rest waiting.
	answering, failing chan struct{}

	mu      sync.Mutex
	servers map[topology.Key]*server // by canonical name
	masters map[string]*server       // by cluster
	wires   map[string]wire          // tripwires held, by cluster
	pending []Suspicion
	crowded bool // MaxServers was reached
	// clusters and remarks are what the namer last assigned; nil after a
	// change that it must be asked about again.
	clusters map[topology.Key]string
	remarks  []string
}

// New returns an observer that watches nothing until Run.
func New(cfg Config, prober Prober, namer Namer, now func() time.Time, log *slog.Logger) *Observer {
	cfg = cfg.withDefaults()
	o := &Observer{
		cfg: cfg, prober: prober, namer: namer, now: now, log: log,
		wake: make(chan struct{}, 1), out: make(chan Suspicion),
		answering: make(chan struct{}, cfg.MaxProbes), failing: make(chan struct{}, cfg.MaxProbes),
		servers: map[topology.Key]*server{}, masters: map[string]*server{}, wires: map[string]wire{},
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, seed := range cfg.Seeds {
		if s := o.ensure(seed); s != nil {
			s.seed = true
		}
	}
	return o
}

// Run watches until its context ends; then it has ended all that it started,
// and returns nil.
func (o *Observer) Run(ctx context.Context) error {
	if !o.running.CompareAndSwap(false, true) {
		return errors.New("observer: it runs already")
	}
	var loops sync.WaitGroup
	defer loops.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		o.reconcile(ctx, &loops)
		next, out := o.nextSuspicion()
		select {
		case <-ctx.Done():
			return nil
		case <-o.wake:
		case out <- next:
			o.dropSuspicion(next)
		}
	}
}

// reconcile starts a loop for each server and each tripwire that has none.
// Loops are stopped by those who make them superfluous.
func (o *Observer) reconcile(ctx context.Context, loops *sync.WaitGroup) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.servers {
		if s.stop != nil {
			continue
		}
		loopCtx, stop := context.WithCancel(ctx)
		s.stop = stop
		loops.Go(func() {
			defer stop()
			o.watch(loopCtx, s)
		})
	}
	for cluster, w := range o.wires {
		if o.masters[cluster] != w.server {
			w.stop()
			delete(o.wires, cluster)
		}
	}
	for cluster, s := range o.masters {
		if _, held := o.wires[cluster]; held {
			continue
		}
		wireCtx, stop := context.WithCancel(ctx)
		o.wires[cluster] = wire{server: s, stop: stop}
		loops.Go(func() {
			defer stop()
			o.holdTripwire(wireCtx, s)
		})
		if o.cfg.Writer != nil {
			loops.Go(func() { o.tryWrites(wireCtx, s) })
		}
	}
}

// changed makes Run look again at what should be running.
func (o *Observer) changed() {
	select {
	case o.wake <- struct{}{}:
	default: // it is about to look already
	}
}

// Learn adds servers that the ledger remembers in a cluster. They are watched
// and belong to it even if they cannot be reached.
func (o *Observer) Learn(cluster string, keys ...topology.Key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, key := range keys {
		if s := o.learn(key); s != nil && s.remembered != cluster {
			s.remembered = cluster
			o.clusters = nil
		}
	}
}

func (o *Observer) learn(key topology.Key) *server {
	before, _ := o.namer.Resolve(key)
	o.namer.Keep(key)
	name, _ := o.namer.Resolve(key)
	if s := o.servers[before]; s != nil && before != name && o.servers[name] == nil {
		o.rename(s, name)
	}
	return o.ensure(name)
}

// SetMaster says whom the ledger names as a cluster's master. A tripwire is
// held on it from now on, and on nobody else in the cluster; the zero key is
// for none. If that is a change, all servers of the cluster are probed at once:
// what was read of them before shows two writable ones, or none.
func (o *Observer) SetMaster(cluster string, key topology.Key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	old := o.masters[cluster]
	if key.IsZero() {
		if old != nil {
			old.depose()
			delete(o.masters, cluster)
			o.kick(cluster)
			o.changed()
		}
		return
	}
	s := o.learn(key)
	if s == nil || s == old {
		return
	}
	if old != nil {
		old.depose()
	}
	if s.masterOf != "" {
		delete(o.masters, s.masterOf)
	}
	s.masterOf, s.remembered = cluster, cluster
	o.masters[cluster] = s
	o.clusters = nil
	o.kick(cluster)
	o.changed()
}

// reprobeEvery is how often a server is probed out of turn at most.
const reprobeEvery = time.Second

// Reprobe makes servers of a cluster be probed now instead of at their turn, all
// of them where none is named. What is asked again within a second is not done.
func (o *Observer) Reprobe(cluster string, keys ...topology.Key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	named := map[topology.Key]bool{}
	for _, key := range keys {
		name, _ := o.namer.Resolve(key)
		named[name] = true
	}
	of, _ := o.assigned()
	now := o.now()
	for _, s := range o.servers {
		if of[s.key] != cluster && s.remembered != cluster || len(keys) > 0 && !named[s.key] {
			continue
		}
		if since := now.Sub(s.urged); since >= 0 && since < reprobeEvery {
			continue
		}
		s.urged = now
		s.probeNow()
	}
}

// kick makes the loops of a cluster's servers probe them now, or again at once
// where a probe is under way. The lock is held.
func (o *Observer) kick(cluster string) {
	of, _ := o.assigned()
	for _, s := range o.servers {
		if of[s.key] == cluster || s.remembered == cluster {
			s.probeNow()
		}
	}
}

func (s *server) probeNow() {
	select {
	case s.kick <- struct{}{}:
	default: // it is about to be probed
	}
}
