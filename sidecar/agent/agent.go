// Package agent keeps the proxies of one host on the newest routing table that
// it was told, whoever told it: a controller that called, a controller that was
// asked, or the datacenter's Consul. It never goes back to an older one, also
// not over its own restart.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"switchyard/router/routes"
	"switchyard/sidecar/protocol"
)

// Proxy is one proxy on this host, as far as it carries the writer of one
// cluster.
type Proxy interface {
	Name() string
	Cluster() string
	// Apply makes the proxy follow the table, and returns once that was read
	// back. It leaves a proxy alone that follows it already. Its error wraps
	// routes.ErrNotRunning only where the proxy is proven not to run.
	Apply(ctx context.Context, table routes.Table) (routes.Proof, error)
	// Read says whether the proxy follows the table, and changes nothing.
	Read(ctx context.Context, table routes.Table) (routes.Proof, error)
}

// Keeper keeps what a proxy starts with in step.
type Keeper interface {
	Keep(ctx context.Context, table routes.Table) error
}

// Controller is one controller, as this sidecar reaches it.
type Controller interface {
	ID() string
	Watch(ctx context.Context, q protocol.Watch) (protocol.Tables, error)
}

// Directory is the datacenter's Consul.
type Directory interface {
	// WatchRecord returns a cluster's record, with its revision, as soon as it is
	// another one than at the index, or after a while. The zero epoch says that
	// there is none.
	WatchRecord(ctx context.Context, cluster string, index uint64) (routes.Record, uint64, error)
}

// Local is one proxy on this host. Keeper may be nil.
type Local struct {
	Proxy  Proxy
	Keeper Keeper
}

// Config is what an agent is told. Durations of 0 take their defaults.
type Config struct {
	// Sidecar is its configured name, and Run the random id of this run of it.
	Sidecar, Run, Datacenter string
	// StateFile is where the tables outlive this process.
	StateFile string
	// Interval is how often each proxy is looked at; 400 ms.
	Interval time.Duration
	// Timeout bounds a look with its repair; 2 s.
	Timeout time.Duration
	// KeepInterval is how often a keeper looks when nothing has changed; 2 s.
	KeepInterval time.Duration
	// Wait is how long a controller may take to know something newer; 5 s. The
	// reports of the proxies go with the question, and are that old at most.
	Wait time.Duration
	// MaxBackoff is the longest pause after a failure to reach anybody; 2 s.
	MaxBackoff time.Duration
	// Spread makes a pause another one, so that sidecars do not come all at once;
	// nil for none.
	Spread func(time.Duration) time.Duration
}

func (c Config) withDefaults() Config {
	for _, field := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&c.Interval, 400 * time.Millisecond}, {&c.Timeout, 2 * time.Second}, {&c.KeepInterval, 2 * time.Second},
		{&c.Wait, 5 * time.Second}, {&c.MaxBackoff, 2 * time.Second},
	} {
		if *field.value <= 0 {
			*field.value = field.standard
		}
	}
	if c.Spread == nil {
		c.Spread = func(d time.Duration) time.Duration { return d }
	}
	return c
}

// Agent is the part of a sidecar that stands beside proxies.
type Agent struct {
	config      Config
	units       []*unit
	controllers []Controller
	directory   Directory // nil for none
	now         func() time.Time
	log         *slog.Logger

	// saving is held while a table is judged, written and adopted, so that the
	// file never falls behind what is held.
	saving sync.Mutex
	// unwritten is why the last table could not be written, as it was logged; saving
	// guards it.
	unwritten string
	mu        sync.Mutex
	tables    map[string]held
	// disputed says of a cluster which table contradicts the one that is held.
	disputed map[string]string
	// alone is since when no controller has answered; zero while one does.
	alone time.Time
}

// New reads the state file. It reaches for nothing else.
func New(config Config, locals []Local, controllers []Controller, directory Directory, now func() time.Time, log *slog.Logger) (*Agent, error) {
	a := &Agent{config: config.withDefaults(), controllers: controllers, directory: directory, now: now, log: log,
		disputed: map[string]string{}}
	if len(locals) == 0 || len(locals) > protocol.MaxProxies {
		return nil, fmt.Errorf("%d proxies; want 1 to %d beside one sidecar", len(locals), protocol.MaxProxies)
	}
	if len(controllers) == 0 {
		return nil, errors.New("no controllers: name all of them")
	}
	names := map[string]bool{}
	for _, local := range locals {
		if names[local.Proxy.Name()] {
			return nil, fmt.Errorf("two proxies are named %q: give each a name of its own", local.Proxy.Name())
		}
		names[local.Proxy.Name()] = true
		a.units = append(a.units, newUnit(local, log))
	}
	var err error
	if a.tables, err = loadState(config.StateFile, config.Sidecar); err != nil {
		return nil, err
	}
	return a, nil
}

// Run works until ctx ends. What the state file has is brought to the proxies
// before anybody is asked, and needs nobody's answer.
func (a *Agent) Run(ctx context.Context) error {
	a.mu.Lock()
	tables := a.tables
	a.mu.Unlock()
	for _, h := range tables {
		a.log.Info("Routes came back from the state file.", "cluster", h.Table.Cluster, "table", place(h.Table), "writer", writer(h.Table))
	}
	for _, cluster := range a.clusters() {
		if a.held(cluster).empty() {
			a.log.Warn("Nobody has said yet where the proxies lead; they are left as they are.", "cluster", cluster)
		}
	}
	var group sync.WaitGroup
	defer group.Wait()
	for _, u := range a.units {
		group.Go(func() { a.tend(ctx, u) })
		if u.keep != nil {
			group.Go(func() { a.keep(ctx, u) })
		}
	}
	group.Go(func() { a.watch(ctx) })
	if a.directory != nil {
		for _, cluster := range a.clusters() {
			group.Go(func() { a.consult(ctx, cluster) })
		}
	}
	<-ctx.Done()
	return nil
}

// clusters are those whose proxies stand here, in the order of the proxies.
func (a *Agent) clusters() []string {
	var names []string
	seen := map[string]bool{}
	for _, u := range a.units {
		if name := u.proxy.Cluster(); !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

func (a *Agent) held(cluster string) held {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tables[cluster]
}

// offer judges a table, and holds it from now on if it is the newest: first on
// disk, then here, and then the proxies are told. But is a proxy that the caller
// tells himself; nil for none.
func (a *Agent) offer(t routes.Table, from source, but *unit) (held, verdict, error) {
	if err := t.Validate(); err != nil {
		return held{}, older, err
	}
	a.saving.Lock()
	defer a.saving.Unlock()
	was := a.held(t.Cluster)
	now, verdict := was.judge(t, from)
	switch verdict {
	case conflicting:
		a.dispute(was.Table, t, from)
	case adopted:
		if err := a.adopt(now); err != nil {
			// Once: it is offered again several times a second, and the log may be on that disk.
			if text := place(t) + err.Error(); text != a.unwritten {
				a.unwritten = text
				a.log.Error("A newer table cannot be written to disk, and so it is not followed; it is tried again.", "cluster", t.Cluster,
					"table", place(t), "error", err)
			}
			return was, verdict, err
		}
		a.unwritten = ""
		a.log.Info("A newer table is followed.", "cluster", t.Cluster, "table", place(now.Table), "writer", writer(now.Table), "from", from.String())
		for _, u := range a.units {
			if u.proxy.Cluster() != t.Cluster {
				continue
			}
			if u.keep != nil {
				u.keep.poke()
			}
			if u != but {
				u.interrupt(now.Table)
				u.look()
			}
		}
	}
	return now, verdict, nil
}

// adopt holds a table, on disk first.
func (a *Agent) adopt(h held) error {
	a.mu.Lock()
	next := make(map[string]held, len(a.tables)+1)
	for cluster, other := range a.tables {
		next[cluster] = other
	}
	a.mu.Unlock()
	next[h.Table.Cluster] = h
	if err := saveState(a.config.StateFile, a.config.Sidecar, next); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tables = next
	delete(a.disputed, h.Table.Cluster)
	return nil
}

// dispute remembers and logs, once, that two tables claim to be the same.
func (a *Agent) dispute(held, other routes.Table, from source) {
	text := fmt.Sprintf("%s leads to %s here, and a %s says that it leads to %s with %d readers: "+
		"find out whether two ledgers are at work", place(held), writer(held), from, writer(other), len(other.Readers))
	a.mu.Lock()
	known := a.disputed[held.Cluster] == text
	a.disputed[held.Cluster] = text
	a.mu.Unlock()
	if !known {
		a.log.Error("A table contradicts the one that is held, and is refused.", "cluster", held.Cluster, "why", text)
	}
}

func writer(t routes.Table) string {
	if t.Writer == nil {
		return "nobody"
	}
	return t.Writer.String()
}
