// Package proxysql makes one ProxySQL follow a routing table through its admin
// port.
package proxysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"switchyard/router/proxysql"
	"switchyard/router/routes"
)

// Config names one ProxySQL, and the hostgroup in it that carries a cluster's
// writer.
type Config struct {
	// Name is what operators call this proxy.
	Name    string
	Cluster string
	// Admin is HOST:PORT of its admin interface, and User one that may change it.
	Admin    string
	User     string
	Password string
	Slot     proxysql.Slot
	// Datacenter is the proxy's own: readers there are preferred.
	Datacenter string
	// Drain is how long what is under way on the old server may take to end in a
	// planned withdrawal, before it is cut; 0 to cut it at once.
	Drain time.Duration
	// Timeout bounds each call, on top of its context; 0 for DefaultTimeout.
	Timeout time.Duration
}

// DefaultTimeout bounds a call when the configuration does not.
const DefaultTimeout = time.Second

// Proxy is one ProxySQL. Its methods may be called together; who must not
// overtake whom is the caller's to say.
type Proxy struct {
	config Config
	now    func() time.Time
	log    *slog.Logger

	mu sync.Mutex
	// planned is the last planned table, and begun when it was first applied.
	planned routes.Table
	begun   time.Time
	// saved is what its disk was last read to have: a ProxySQL that starts again
	// serves that.
	saved saved
}

type saved struct {
	known bool
	// epoch is the one in which it was read. In a later one somebody else, who led
	// meanwhile, may have written there.
	epoch      routes.Epoch
	rows       []proxysql.Row
	interfaces []string
}

// New checks the configuration; it does not connect.
func New(config Config, now func() time.Time, log *slog.Logger) (*Proxy, error) {
	host, port, err := net.SplitHostPort(config.Admin)
	if err == nil {
		var n uint64
		if n, err = strconv.ParseUint(port, 10, 16); err == nil && (n == 0 || host == "") {
			err = errors.New("want a host, and a port from 1 to 65535")
		}
	}
	switch {
	case config.Name == "":
		return nil, fmt.Errorf("proxysql %s: name is empty: give the proxy one", config.Admin)
	case config.Cluster == "":
		return nil, fmt.Errorf("proxysql %s: cluster is empty: name the one whose writer it carries", config.Name)
	case err != nil:
		return nil, fmt.Errorf("proxysql %s: admin %q: want HOST:PORT: %w", config.Name, config.Admin, err)
	case config.User == "":
		return nil, fmt.Errorf("proxysql %s: user is empty: name one of admin-admin_credentials", config.Name)
	case config.Drain < 0:
		return nil, fmt.Errorf("proxysql %s: drain timeout %s is negative", config.Name, config.Drain)
	case config.Timeout < 0:
		return nil, fmt.Errorf("proxysql %s: timeout %s is negative", config.Name, config.Timeout)
	}
	if err := config.Slot.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", config.Name, err)
	}
	if config.Timeout == 0 {
		config.Timeout = DefaultTimeout
	}
	return &Proxy{config: config, now: now, log: log.With("proxy", config.Name)}, nil
}

// Name returns what operators call the proxy.
func (p *Proxy) Name() string { return p.config.Name }

// Cluster returns the cluster whose writer the proxy carries.
func (p *Proxy) Cluster() string { return p.config.Cluster }

const (
	firstPause = time.Millisecond
	lastPause  = 20 * time.Millisecond
)

// Apply makes the proxy follow the table, and returns once that was read back in
// memory, runtime and on disk, and no session is left on another server. A proxy
// that follows it already is left alone. The error wraps routes.ErrNotRunning
// where no process listens, and the disk is known to lead to nobody else.
func (p *Proxy) Apply(ctx context.Context, table routes.Table) (routes.Proof, error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	talk, err := p.dial(ctx, table)
	if err != nil {
		return routes.Proof{}, p.named(err)
	}
	defer talk.close()
	state, err := p.carry(ctx, talk, table)
	proof := proxysql.ProofOf(p.config.Slot, state)
	// Whether the writer followed or not: a reader that is gone is gone.
	proof.Readers = p.followReaders(ctx, talk, table, state)
	if err != nil {
		return proof, p.named(err)
	}
	if err := undone(p.config.Slot, state); err != nil {
		return proof, p.named(err)
	}
	proof.Holds = true
	p.log.Debug("The proxy follows.", "cluster", table.Cluster, "epoch", table.Epoch, "revision", table.Revision,
		"proof", proof.String())
	return proof, nil
}

// carry takes step after step until nothing is left to do.
func (p *Proxy) carry(ctx context.Context, talk *talk, table routes.Table) (proxysql.State, error) {
	last, pause := "", firstPause
	for {
		state, err := p.look(ctx, talk, table)
		if err != nil {
			return state, unmet(last, err)
		}
		step, err := proxysql.Next(p.config.Slot, table, state, p.draining(table))
		if err != nil || step.Name == "" {
			return state, err
		}
		if step.Name == last || len(step.Commands) == 0 {
			// A session ends a moment after it was killed.
			select {
			case <-ctx.Done():
				return state, unmet(step.Name+": "+step.Why, context.Cause(ctx))
			case <-time.After(pause):
			}
			pause = min(2*pause, lastPause)
		} else {
			pause = firstPause
		}
		last = step.Name
		if step.Aside > 0 {
			p.log.Warn("Rows of mysql_servers were edited and not loaded; they are kept out of this load, and stay as they are in memory.",
				"rows", step.Aside)
		}
		p.mayHaveSaved(table)
		if err := talk.run(ctx, step.Commands); err != nil {
			return state, fmt.Errorf("%s, as %s: %w", step.Name, step.Why, err)
		}
	}
}

// mayHaveSaved remembers, before it is said, that the disk may have the table's
// writer from now on: no answer may come.
func (p *Proxy) mayHaveSaved(table routes.Table) {
	if table.Writer == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saved.rows = append(slices.Clone(p.saved.rows), proxysql.Row{Server: proxysql.Server{
		Hostgroup: p.config.Slot.Hostgroup, Host: table.Writer.Host, Port: table.Writer.Port}})
}

// draining reports whether what is under way may still end by itself. The time
// counts from when the table first came here, over all that was asked since.
func (p *Proxy) draining(table routes.Table) bool {
	if !table.Planned {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.planned.Epoch != table.Epoch || p.planned.Revision != table.Revision {
		p.planned, p.begun = table, p.now()
	}
	return p.now().Sub(p.begun) < p.config.Drain
}

// unmet says of a proxy that answered what it did not do in time.
func unmet(what string, err error) error {
	if what == "" || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%s: %w: %w", what, routes.ErrNotYet, err)
}

// undone refuses to call confirmed what the proxy may take back by itself.
func undone(slot proxysql.Slot, state proxysql.State) error {
	var texts []string
	for _, conflict := range proxysql.Conflicts(slot, state) {
		if conflict.Undoes {
			texts = append(texts, conflict.Text)
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return fmt.Errorf("it was told, and cannot be counted on: %s", strings.Join(texts, "; "))
}

// Read looks what the proxy shows, and whether that is what the table says. It
// changes nothing.
func (p *Proxy) Read(ctx context.Context, table routes.Table) (routes.Proof, error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	talk, err := p.dial(ctx, table)
	if err != nil {
		return routes.Proof{}, p.named(err)
	}
	defer talk.close()
	state, err := p.look(ctx, talk, table)
	if err != nil {
		return routes.Proof{}, p.named(err)
	}
	step, err := proxysql.Next(p.config.Slot, table, state, false)
	if err != nil {
		return routes.Proof{}, p.named(err)
	}
	proof := proxysql.ProofOf(p.config.Slot, state)
	proof.Holds = step.Name == "" && undone(p.config.Slot, state) == nil
	proof.Readers = p.readReaders(table, state)
	return proof, nil
}

// look reads the state, and remembers what a restart would bring back.
func (p *Proxy) look(ctx context.Context, talk *talk, table routes.Table) (proxysql.State, error) {
	var answers []proxysql.Answer
	for _, query := range proxysql.ReadBack(p.config.Slot) {
		answer, err := talk.query(ctx, query)
		if err != nil {
			return proxysql.State{}, err
		}
		answers = append(answers, answer)
	}
	state, err := proxysql.ParseState(p.config.Slot, answers)
	if err != nil {
		return state, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saved = saved{known: true, epoch: table.Epoch, rows: state.Disk, interfaces: state.Interfaces}
	return state, nil
}

func (p *Proxy) dial(ctx context.Context, table routes.Table) (*talk, error) {
	if table.Cluster != p.config.Cluster {
		return nil, fmt.Errorf("it carries cluster %s, and the table is of %q", p.config.Cluster, table.Cluster)
	}
	talk, err := dial(ctx, p.config)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, p.refused(ctx, table, err)
	}
	return talk, err
}

// refused judges a proxy whose admin port nobody listens on. It is proven not to
// run only if clients find nobody either; and it is harmless only if what it was
// last read to have saved leads to nobody but the table's writer, as it comes back
// with that.
func (p *Proxy) refused(ctx context.Context, table routes.Table, cause error) error {
	p.mu.Lock()
	saved := p.saved
	p.mu.Unlock()
	switch {
	case !saved.known:
		return fmt.Errorf("nobody listens, and what it would come back with was never read: %w", cause)
	case !proxysql.Harmless(p.config.Slot, table, saved.rows):
		return fmt.Errorf("nobody listens, and it would come back with the older master that it has saved: %w", cause)
	case saved.epoch != table.Epoch:
		return fmt.Errorf("nobody listens, and what it would come back with was last read in epoch %s; it may have been told of another "+
			"master since: %w", saved.epoch, cause)
	}
	for _, address := range p.doors(saved.interfaces) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			_ = conn.Close() // nothing was sent
			return fmt.Errorf("nobody listens on its admin port, and it still takes clients on %s: %w", address, cause)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("nobody listens on its admin port, and whether it takes clients on %s is unknown (%w): %w", address, err, cause)
		}
	}
	return fmt.Errorf("%w: %w", routes.ErrNotRunning, cause)
}

// doors are the TCP addresses of mysql-interfaces as they are reached from here.
func (p *Proxy) doors(interfaces []string) []string {
	admin, _, err := net.SplitHostPort(p.config.Admin)
	if err != nil {
		return nil // New has seen it split.
	}
	var out []string
	for _, at := range interfaces {
		host, port, err := net.SplitHostPort(at)
		if err != nil {
			continue // a unix socket
		}
		addr, err := netip.ParseAddr(host)
		switch {
		case err == nil && addr.IsLoopback() && !isLoopback(admin):
			continue // It is not ours to reach: the admin port has to do.
		case err == nil && addr.IsUnspecified():
			host = admin
		}
		out = append(out, net.JoinHostPort(host, port))
	}
	return out
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func (p *Proxy) named(err error) error {
	return fmt.Errorf("proxysql %s at %s: %w", p.config.Name, p.config.Admin, err)
}
