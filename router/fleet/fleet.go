// Package fleet makes all proxies follow the ledger's routing tables: at once,
// when a recovery withdraws or announces a master, and for ever after, when a
// proxy was restarted, changed by hand, or not reached at the time.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"switchyard/router/routes"
)

// Proxy is one proxy, as far as it carries the writer of one cluster.
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

// Ledger is what the fleet follows and reports to.
type Ledger interface {
	// Tables returns what each cluster's proxies are to follow now.
	Tables() []routes.Table
	// Leads returns nil only if this controller was verified to lead.
	Leads(ctx context.Context) error
	// Confirm records that the proxy was read back to hold the table.
	Confirm(ctx context.Context, proxy string, table routes.Table) error
	// Repaired records that a proxy which had confirmed the table was found not to
	// follow it, and was put back. Was says what it did.
	Repaired(ctx context.Context, proxy string, table routes.Table, was string) error
}

// Config bounds the fleet's work.
type Config struct {
	// PushTimeout bounds one proxy's part of a Push; 0 for 300 ms.
	PushTimeout time.Duration
	// Interval is how often the keeper looks at each proxy; 0 for 500 ms.
	Interval time.Duration
	// KeepTimeout bounds one look of the keeper with its repair; 0 for 1 s.
	KeepTimeout time.Duration
	// MaxBackoff is the longest pause between looks at a proxy that does not
	// answer; 0 for 1.5 s. A proxy that is down costs little to look at and must
	// be told soon after it is back: it gets no pause.
	MaxBackoff time.Duration
	// Lease is for how long nobody else leads after this controller was verified to:
	// raft's heartbeat timeout. Nothing is sent to a proxy later than that, as a
	// proxy that is told directly knows no epochs, and would obey. 0 for KeepTimeout.
	Lease time.Duration
}

func (c Config) withDefaults() (Config, error) {
	for _, field := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"push timeout", &c.PushTimeout, 300 * time.Millisecond},
		{"interval", &c.Interval, 500 * time.Millisecond},
		{"keep timeout", &c.KeepTimeout, time.Second},
		{"max backoff", &c.MaxBackoff, 1500 * time.Millisecond},
		{"lease", &c.Lease, 0},
	} {
		if *field.value < 0 {
			return c, fmt.Errorf("fleet: %s %s is negative", field.name, *field.value)
		}
		if *field.value == 0 {
			*field.value = field.standard
		}
	}
	if c.Lease == 0 {
		c.Lease = c.KeepTimeout
	}
	return c, nil
}

// Fleet is all proxies of all clusters.
type Fleet struct {
	config  Config
	members []*member
	ledger  Ledger
	now     func() time.Time
	log     *slog.Logger
	// wake makes the keeper look at once.
	wake chan struct{}
}

// New makes a fleet of the proxies. A name may occur once.
func New(config Config, proxies []Proxy, ledger Ledger, now func() time.Time, log *slog.Logger) (*Fleet, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	f := &Fleet{config: config, ledger: ledger, now: now, log: log, wake: make(chan struct{}, 1)}
	names := make(map[string]bool, len(proxies))
	for _, proxy := range proxies {
		if names[proxy.Name()] {
			return nil, fmt.Errorf("fleet: two proxies are named %q: give each a name of its own", proxy.Name())
		}
		names[proxy.Name()] = true
		f.members = append(f.members, newMember(proxy, now))
	}
	return f, nil
}

// Push sends a table to every proxy of its cluster at once, and returns what
// came of it, one receipt for each, in the order of the proxies. It returns
// after the push timeout at the latest. A table that is older than one a proxy
// was sent before is refused.
func (f *Fleet) Push(ctx context.Context, table routes.Table) []routes.Receipt {
	var members []*member
	for _, m := range f.members {
		if m.proxy.Cluster() == table.Cluster {
			members = append(members, m)
		}
	}
	receipts := make([]routes.Receipt, len(members))
	var leads error
	if len(members) > 0 {
		var cancel context.CancelFunc
		ctx, cancel, leads = f.lead(ctx)
		defer cancel()
	}
	var group sync.WaitGroup
	for i, m := range members {
		group.Go(func() {
			began := f.now()
			answer, proof, err := answered(routes.Proof{}, leads)
			if leads == nil {
				answer, proof, err = f.pushOne(ctx, m, table)
			}
			receipts[i] = routes.Receipt{Receiver: m.proxy.Name(), Answer: answer, Proof: proof, Err: err,
				Took: f.now().Sub(began)}
		})
	}
	group.Wait()
	// The keeper tells the ledger what the proxies hold now.
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return receipts
}

// lead verifies that this controller leads, and returns a context that ends before
// anybody else can.
func (f *Fleet) lead(ctx context.Context) (context.Context, context.CancelFunc, error) {
	// What is verified was so after the question, and perhaps no longer at the answer.
	ctx, cancel := context.WithTimeout(ctx, f.config.Lease)
	return ctx, cancel, f.leads(ctx)
}

func (f *Fleet) leads(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.config.PushTimeout)
	defer cancel()
	if err := f.ledger.Leads(ctx); err != nil {
		return fmt.Errorf("nothing is sent to proxies unless this controller leads: %w", err)
	}
	return nil
}

func (f *Fleet) pushOne(ctx context.Context, m *member, table routes.Table) (routes.Answer, string, error) {
	ctx, cancel := context.WithTimeout(ctx, f.config.PushTimeout)
	defer cancel()
	m.interruptKeeper()
	if err := m.lock(ctx, table); err != nil {
		return answered(routes.Proof{}, err)
	}
	defer m.unlock()
	proof, err := m.proxy.Apply(ctx, table)
	m.note(table, proof, err)
	return answered(proof, err)
}

// answered classifies: only what was read back is confirmed, only what is
// proven not to run is down.
func answered(proof routes.Proof, err error) (routes.Answer, string, error) {
	switch {
	case errors.Is(err, routes.ErrNotRunning):
		return routes.Down, "it is not running, and so serves nobody", err
	case err != nil:
		return routes.Unknown, "", err
	case !proof.Holds:
		return routes.Unknown, proof.String(), errors.New("it was not read back to follow the table")
	}
	return routes.Confirmed, proof.String(), nil
}

// Unknown returns the names of the cluster's proxies that, when last looked at,
// neither followed their table nor were proven not to run; in the order of the
// proxies. One that was not looked at yet is among them.
func (f *Fleet) Unknown(cluster string) []string {
	var names []string
	for _, status := range f.Status() {
		if status.Cluster == cluster && !status.Holds && !status.Down {
			names = append(names, status.Name)
		}
	}
	return names
}

// Status returns what is known of each proxy, in their order.
func (f *Fleet) Status() []ProxyStatus {
	status := make([]ProxyStatus, len(f.members))
	for i, m := range f.members {
		status[i] = m.snapshot()
	}
	return status
}
