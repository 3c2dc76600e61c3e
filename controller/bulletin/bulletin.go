// Package bulletin tells the sidecars that ask which routes are in force, and
// remembers what they report. Any controller does, from what it has applied: a
// majority has committed that, so it is true or was, and a sidecar takes nothing
// that is older than what it has.
package bulletin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/router/routes"
	"switchyard/sidecar/protocol"
)

// Ledger is what is told of.
type Ledger interface {
	Tables() []routes.Table
	// Watch returns a channel that gets a value after the ledger has changed, and
	// the function that ends the watch.
	Watch() (<-chan struct{}, func())
	// Leader is empty while none is known.
	Leader() string
	// Leads returns nil only if this controller was verified to lead.
	Leads(ctx context.Context) error
}

// Config bounds the bulletin.
type Config struct {
	// Self is this controller's id.
	Self string
	Now  func() time.Time
	// Waiters is how many sidecars may wait at once; 0 for 256.
	Waiters int
	// LongestWait bounds one wait; 0 for 20 s, well below what proxies of HTTP and
	// firewalls take for a dead connection.
	LongestWait time.Duration
}

// Deadline bounds the answer to one watch, the wait included.
const Deadline = time.Minute

// verifyTime bounds the verification that this controller leads.
const verifyTime = time.Second

// The bounds of what is remembered of reports.
const (
	maxReports = 4096
	reportLife = 10 * time.Minute
)

// Bulletin answers the sidecars' watches.
type Bulletin struct {
	config  Config
	ledger  Ledger
	waiters chan struct{}
	// closing ends every wait, so that a controller that stops does not keep its
	// sidecars from asking another one.
	closing <-chan struct{}

	mu      sync.Mutex
	reports map[string]Heard
}

// Heard is what a sidecar reported of one of its proxies, and when.
type Heard struct {
	protocol.Report
	Sidecar, Datacenter string
	// Told is the epoch of the newest table that the sidecar was told of the proxy's
	// cluster, whether the proxy follows it or not.
	Told routes.Epoch
	At   time.Time
}

// New returns a bulletin whose waits end when closing is closed.
func New(config Config, ledger Ledger, closing <-chan struct{}) *Bulletin {
	config.Waiters = cmp.Or(config.Waiters, 256)
	config.LongestWait = min(cmp.Or(config.LongestWait, 20*time.Second), Deadline-10*time.Second)
	return &Bulletin{config: config, ledger: ledger, waiters: make(chan struct{}, config.Waiters), closing: closing,
		reports: map[string]Heard{}}
}

// Watch answers with the tables that are newer than what the sidecar knows: at
// once if there are any, otherwise as soon as there are, or with none when the
// sidecar's time has passed.
func (b *Bulletin) Watch(ctx context.Context, q protocol.Watch) (protocol.Tables, error) {
	b.remember(q)
	changed, stop := b.ledger.Watch()
	defer stop()
	if newer := b.newer(q.Known); len(newer) > 0 || q.WaitMS == 0 {
		return b.say(ctx, q.Known, newer), nil
	}
	select {
	case b.waiters <- struct{}{}:
		defer func() { <-b.waiters }()
	default:
		return protocol.Tables{}, wire.NewError(wire.Busy,
			fmt.Sprintf("%d sidecars wait at controller %s already", b.config.Waiters, b.config.Self), "ask another controller")
	}
	timer := time.NewTimer(min(time.Duration(q.WaitMS)*time.Millisecond, b.config.LongestWait))
	defer timer.Stop()
	for {
		select {
		case <-changed:
			if newer := b.newer(q.Known); len(newer) > 0 {
				return b.say(ctx, q.Known, newer), nil
			}
		case <-timer.C:
			return b.reply(nil), nil
		case <-b.closing:
			return b.reply(nil), nil
		case <-ctx.Done():
			return protocol.Tables{}, context.Cause(ctx)
		}
	}
}

// say answers with tables. A sidecar that holds nothing takes its first one from
// the leader only, as it may have confirmed and forgotten a newer one: so a
// controller calls itself the leader there once that was verified, and says what
// it knows then.
func (b *Bulletin) say(ctx context.Context, known []protocol.Known, tables []routes.Table) protocol.Tables {
	reply := b.reply(tables)
	forgot := slices.ContainsFunc(known, func(k protocol.Known) bool { return k.Epoch.IsZero() })
	if len(tables) == 0 || !forgot || reply.Leader != b.config.Self {
		return reply
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	if err := b.ledger.Leads(ctx); err != nil {
		reply.Leader = ""
		return reply
	}
	reply = b.reply(b.newer(known))
	reply.Leader = b.config.Self
	return reply
}

// newer returns the tables, of the clusters that are asked for, that supersede
// what is known; in the order in which they were asked for.
func (b *Bulletin) newer(known []protocol.Known) []routes.Table {
	tables := b.ledger.Tables()
	var out []routes.Table
	for _, k := range known {
		i := slices.IndexFunc(tables, func(t routes.Table) bool { return t.Cluster == k.Cluster })
		// A cluster that the ledger has only just heard of has no epoch yet.
		if i >= 0 && tables[i].Newer(routes.Table{Epoch: k.Epoch, Revision: k.Revision}) && tables[i].Validate() == nil {
			out = append(out, tables[i])
		}
	}
	return out
}

func (b *Bulletin) reply(tables []routes.Table) protocol.Tables {
	return protocol.Fit(protocol.Tables{Controller: b.config.Self, Leader: b.ledger.Leader(), Tables: tables})
}

func (b *Bulletin) remember(q protocol.Watch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.config.Now()
	for name, h := range b.reports {
		if now.Sub(h.At) > reportLife {
			delete(b.reports, name)
		}
	}
	for _, r := range q.Reports {
		if _, known := b.reports[r.Proxy]; known || len(b.reports) < maxReports {
			b.reports[r.Proxy] = Heard{Report: r, Sidecar: q.Sidecar, Datacenter: q.Datacenter, Told: told(q, r.Cluster), At: now}
		}
	}
}

func told(q protocol.Watch, cluster string) routes.Epoch {
	for _, k := range q.Known {
		if k.Cluster == cluster {
			return k.Epoch
		}
	}
	return routes.Epoch{}
}

// Reports returns what was last reported of each proxy, by its name, as far as
// it was told to this controller.
func (b *Bulletin) Reports() map[string]Heard {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[string]Heard, len(b.reports))
	for name, h := range b.reports {
		if b.config.Now().Sub(h.At) <= reportLife {
			out[name] = h
		}
	}
	return out
}
