// Package haproxy makes one HAProxy follow a routing table through its runtime
// API, without a reload, and writes the configuration that it starts with.
//
// The runtime API is spoken here, and not through client-native's runtime
// client: that one dials only unix sockets, has a fixed deadline of 30 seconds,
// sends a failed command again without saying so, and knows no "shutdown
// sessions server". Its config-parser writes the configuration.
package haproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"switchyard/router/haproxy"
	"switchyard/router/routes"
)

// Lookup finds the addresses of a host; net.Resolver.LookupNetIP is one.
type Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// Config names one HAProxy, and the slot in it that carries a cluster's writer.
type Config struct {
	// Name is what operators call this proxy.
	Name    string
	Cluster string
	// Target is where its runtime API listens: tcp://HOST:PORT or unix:///PATH.
	Target  string
	Backend haproxy.Backend
	// Readers are the slots that carry the cluster's readers; zero for none. Those
	// in Datacenter, the proxy's own, are preferred.
	Readers    haproxy.Readers
	Datacenter string
	// Master is where its master process listens, in the same form, by which the
	// sessions of old workers are found and ended; "" where it does not.
	Master string
	// Timeout bounds each call, on top of its context; 0 for DefaultTimeout.
	Timeout time.Duration
	// Lookup resolves the hosts of masters, as HAProxy takes addresses only;
	// nil for the system's resolver.
	Lookup Lookup
}

// DefaultTimeout bounds a call when the configuration does not.
const DefaultTimeout = time.Second

// Proxy is one HAProxy. Its methods may be called together; who must not
// overtake whom is the caller's to say.
type Proxy struct {
	config Config
	target haproxy.Target
	master *haproxy.Target // nil where there is none
	now    func() time.Time
	log    *slog.Logger

	mu        sync.Mutex
	addresses map[string]resolved
	// oldReaders is true while old workers may have sessions of a reader that left.
	oldReaders bool
}

// resolved is an address that a host had a while ago.
type resolved struct {
	addr netip.Addr
	at   time.Time
}

// addressLife is how long a host keeps the address found for it, so that the
// keeper, which looks twice a second, does not ask the resolver as often.
const addressLife = 30 * time.Second

// againTime bounds the search for a host that had an address a while ago. If it
// fails, that one is taken: a resolver that fails together with a master must not
// hold up its successor, nor end the sessions of readers.
const againTime = 100 * time.Millisecond

// New checks the configuration; it does not connect.
func New(config Config, now func() time.Time, log *slog.Logger) (*Proxy, error) {
	target, err := haproxy.ParseTarget(config.Target)
	if err == nil {
		err = config.Backend.Validate()
	}
	if err == nil && !config.Readers.IsZero() {
		err = config.Readers.Validate()
	}
	master, errMaster := parseMaster(config.Master)
	switch {
	case config.Name == "":
		return nil, fmt.Errorf("haproxy %s: name is empty: give the proxy one", config.Target)
	case config.Cluster == "":
		return nil, fmt.Errorf("haproxy %s: cluster is empty: name the one whose writer it carries", config.Name)
	case err != nil:
		return nil, fmt.Errorf("haproxy %s: %w", config.Name, err)
	case errMaster != nil:
		return nil, fmt.Errorf("haproxy %s: master: %w", config.Name, errMaster)
	case config.Timeout < 0:
		return nil, fmt.Errorf("haproxy %s: timeout %s is negative", config.Name, config.Timeout)
	}
	if config.Timeout == 0 {
		config.Timeout = DefaultTimeout
	}
	if config.Lookup == nil {
		config.Lookup = net.DefaultResolver.LookupNetIP
	}
	return &Proxy{config: config, target: target, master: master, now: now, log: log.With("proxy", config.Name),
		addresses: make(map[string]resolved)}, nil
}

func parseMaster(text string) (*haproxy.Target, error) {
	if text == "" {
		return nil, nil
	}
	target, err := haproxy.ParseTarget(text)
	return &target, err
}

// Name returns what operators call the proxy.
func (p *Proxy) Name() string { return p.config.Name }

// Cluster returns the cluster whose writer the proxy carries.
func (p *Proxy) Cluster() string { return p.config.Cluster }

// Apply makes the proxy follow the table, and returns once that was read back.
// A proxy that follows it already is left alone, and its sessions with it. The
// error wraps routes.ErrNotRunning where no process listens.
func (p *Proxy) Apply(ctx context.Context, table routes.Table) (routes.Proof, error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	at, err := p.address(ctx, table)
	if err != nil {
		return routes.Proof{}, p.named(err)
	}
	phases, err := haproxy.Plan(p.config.Backend, table, at)
	if err != nil {
		return routes.Proof{}, p.named(err)
	}
	talk, err := dial(ctx, p.target)
	if err != nil {
		return routes.Proof{}, p.named(p.notRunning(ctx, err))
	}
	defer talk.close()
	proof, err := p.follow(ctx, talk, table, at, phases)
	// Whether the writer followed or not: a reader that is gone is gone.
	proof.Readers = p.followReaders(ctx, talk, table)
	if err != nil {
		return proof, p.named(err)
	}
	p.log.Debug("The proxy follows.", "cluster", table.Cluster, "epoch", table.Epoch, "revision", table.Revision,
		"address", proof.Address, "serving", proof.Serving)
	return proof, nil
}

// follow carries the writer's part out.
func (p *Proxy) follow(
	ctx context.Context, talk *talk, table routes.Table, at netip.AddrPort, phases []haproxy.Phase,
) (routes.Proof, error) {
	if table.Writer != nil {
		// Withdrawing twice hurts nobody; announcing twice would kill sessions.
		state, err := talk.look(ctx, p.config.Backend)
		if err != nil {
			return routes.Proof{}, err
		}
		if haproxy.Goal(table, at).Unmet(state) == "" {
			return proof(state, true), nil
		}
	}
	var state haproxy.State
	var err error
	for _, phase := range phases {
		if state, err = talk.carry(ctx, p.config.Backend, phase); err != nil {
			return proof(state, false), err
		}
		if phase.Expect.Serving {
			continue
		}
		// Nobody is let in again before the old workers are empty, too.
		if left, err := p.endOldSessions(ctx, p.config.Backend); err != nil {
			state.Sessions += left
			return proof(state, false), err
		}
		if err := p.current(ctx, talk); err != nil {
			return proof(state, false), err
		}
	}
	return proof(state, true), nil
}

// Read looks what the proxy shows, and whether that is what the table says. It
// changes nothing.
func (p *Proxy) Read(ctx context.Context, table routes.Table) (routes.Proof, error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	at, err := p.address(ctx, table)
	if err != nil {
		return routes.Proof{}, p.named(err)
	}
	talk, err := dial(ctx, p.target)
	if err != nil {
		return routes.Proof{}, p.named(p.notRunning(ctx, err))
	}
	defer talk.close()
	state, err := talk.look(ctx, p.config.Backend)
	if err != nil {
		return routes.Proof{}, p.named(err)
	}
	if p.master != nil && table.Writer == nil {
		// With a writer the sessions of an old worker may be the writer's own.
		_, left, err := p.oldSessions(ctx, p.config.Backend)
		if err != nil {
			return routes.Proof{}, p.named(masterError(err))
		}
		if err := p.current(ctx, talk); err != nil {
			return routes.Proof{}, p.named(err)
		}
		state.Sessions += left
	}
	proof := proof(state, haproxy.Goal(table, at).Unmet(state) == "")
	proof.Readers = p.readReaders(ctx, talk, table)
	return proof, nil
}

func proof(state haproxy.State, holds bool) routes.Proof {
	return routes.Proof{Address: state.Address, Serving: state.Serving(), Sessions: state.Sessions, Holds: holds}
}

func (p *Proxy) named(err error) error {
	return fmt.Errorf("haproxy %s at %s: %w", p.config.Name, p.target, err)
}

// address returns where the table's writer is found; the zero address for a
// table that withdraws.
func (p *Proxy) address(ctx context.Context, table routes.Table) (netip.AddrPort, error) {
	if table.Cluster != p.config.Cluster {
		return netip.AddrPort{}, fmt.Errorf("it carries cluster %s, and the table is of %q", p.config.Cluster, table.Cluster)
	}
	if table.Writer == nil {
		return netip.AddrPort{}, nil
	}
	addr, err := p.resolve(ctx, table.Writer.Host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("master %s: %w", table.Writer, err)
	}
	return netip.AddrPortFrom(addr, table.Writer.Port), nil
}

func (p *Proxy) resolve(ctx context.Context, host string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap(), nil
	}
	now := p.now()
	p.mu.Lock()
	known, found := p.addresses[host]
	p.mu.Unlock()
	if found && now.Sub(known.at) < addressLife {
		return known.addr, nil
	}
	looking, cancel := ctx, context.CancelFunc(func() {})
	if found {
		looking, cancel = context.WithTimeout(ctx, againTime)
	}
	addrs, err := p.config.Lookup(looking, "ip", host)
	cancel()
	if found && (err != nil || len(addrs) == 0) {
		return known.addr, nil
	}
	if err != nil {
		return netip.Addr{}, fmt.Errorf("resolve: %w", err)
	}
	if len(addrs) == 0 {
		return netip.Addr{}, errors.New("resolve: the host has no address")
	}
	// The lowest one, IPv4 first: whatever order a resolver answers in, all
	// looks at a proxy must compare with the same address.
	addr := slices.MinFunc(addrs, func(a, b netip.Addr) int { return a.Unmap().Compare(b.Unmap()) }).Unmap()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addresses[host] = resolved{addr: addr, at: now}
	return addr, nil
}
