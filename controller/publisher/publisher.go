// Package publisher names the masters in every datacenter's directory: at once
// when a recovery announces one, and for ever after, where a directory could not
// be reached at the time or was changed by hand.
package publisher

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"switchyard/router/routes"
)

// Directory is the key-value store of one datacenter.
type Directory interface {
	Datacenter() string
	// Publish makes the directory hold the record, and returns what it held
	// before; nil where nothing had to be changed. It returns a
	// *routes.HigherEpochError, and changes nothing, where the directory holds a
	// higher epoch.
	Publish(ctx context.Context, record routes.Record) (was *routes.Holding, err error)
	// Inspect returns what the directory holds of a cluster.
	Inspect(ctx context.Context, cluster string) (routes.Holding, error)
}

// Ledger is what the publisher follows and reports to.
type Ledger interface {
	// Tables returns the table of each cluster as it is now.
	Tables() []routes.Table
	// Leads returns nil only if this controller was verified to lead.
	Leads(ctx context.Context) error
	// Confirm records that the datacenter's directory holds the table.
	Confirm(ctx context.Context, datacenter string, table routes.Table) error
	// Notice writes into the audit what somebody else did to a directory.
	Notice(ctx context.Context, n Notice) error
}

// Lookup finds the addresses of a host; net.Resolver.LookupNetIP is one.
type Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// Config says which directories this controller keeps.
type Config struct {
	// Datacenter is this controller's own.
	Datacenter string
	// Controllers are the datacenters with a controller of their own. The
	// directories of all others are kept by the leader.
	Controllers func() []string
	// Interval is the pause between audits of a directory; 0 for 2 s.
	Interval time.Duration
	// Timeout bounds each call; 0 for 1 s.
	Timeout time.Duration
	// AuditTimeout bounds the calls of an audit, for which nobody waits: a directory
	// that is slower than Timeout is kept all the same; 0 for Timeout.
	AuditTimeout time.Duration
	// LookupTimeout bounds the search for a host's addresses, without which the
	// record goes out when it ends; 0 for 100 ms.
	LookupTimeout time.Duration
	// Lookup resolves the hosts of masters.
	Lookup Lookup
}

func (c Config) withDefaults() (Config, error) {
	if c.Lookup == nil {
		return c, fmt.Errorf("publisher: no resolver was given")
	}
	for _, field := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"interval", &c.Interval, 2 * time.Second},
		{"timeout", &c.Timeout, time.Second},
		{"audit timeout", &c.AuditTimeout, cmp.Or(c.Timeout, time.Second)},
		{"lookup timeout", &c.LookupTimeout, 100 * time.Millisecond},
	} {
		if *field.value < 0 {
			return c, fmt.Errorf("publisher: %s %s is negative", field.name, *field.value)
		}
		if *field.value == 0 {
			*field.value = field.standard
		}
	}
	return c, nil
}

// Publisher is all directories.
type Publisher struct {
	config  Config
	targets []*target
	ledger  Ledger
	hosts   *hosts
	now     func() time.Time
	log     *slog.Logger
}

// New makes a publisher to the directories. A datacenter may occur once.
func New(config Config, directories []Directory, ledger Ledger, now func() time.Time, log *slog.Logger) (*Publisher, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Publisher{config: config, ledger: ledger, now: now, log: log,
		hosts: &hosts{lookup: config.Lookup, timeout: config.LookupTimeout, known: make(map[string]addresses)}}
	names := make(map[string]bool, len(directories))
	for _, directory := range directories {
		datacenter := directory.Datacenter()
		if names[datacenter] {
			return nil, fmt.Errorf("publisher: datacenter %q has two directories: name one", datacenter)
		}
		names[datacenter] = true
		p.targets = append(p.targets, &target{directory: directory, now: now, clusters: make(map[string]*entry),
			own:  datacenter == config.Datacenter,
			wake: make(chan struct{}, 1)})
	}
	return p, nil
}

// Push publishes a table to every directory at once, and returns what came of
// it, one receipt for each. Only the leader may. A table without a writer names
// nobody: it is not published, and the directories keep the last master.
func (p *Publisher) Push(ctx context.Context, table routes.Table) []routes.Receipt {
	if table.Writer == nil || len(p.targets) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	began := p.now()
	record, failed := routes.Record{}, p.leads(ctx)
	if failed == nil {
		record = p.record(ctx, table)
	}
	receipts := make([]routes.Receipt, len(p.targets))
	var group sync.WaitGroup
	for i, t := range p.targets {
		group.Go(func() {
			err := failed
			if err == nil {
				_, err = t.publish(ctx, record)
			}
			receipts[i] = receipt(t, record, err)
			receipts[i].Took = p.now().Sub(began)
			t.wakeUp() // The audit records it in the ledger.
		})
	}
	group.Wait()
	return receipts
}

// receipt never says that a directory is down: an agent that does not run
// proves nothing about the keys, which others read elsewhere.
func receipt(t *target, record routes.Record, err error) routes.Receipt {
	name := t.directory.Datacenter()
	if err != nil {
		return routes.Receipt{Receiver: name, Answer: routes.Unknown, Err: err}
	}
	return routes.Receipt{Receiver: name, Answer: routes.Confirmed,
		Proof: fmt.Sprintf("epoch %s names %s", record.Epoch, record.Master)}
}

func (p *Publisher) leads(ctx context.Context) error {
	if err := p.ledger.Leads(ctx); err != nil {
		return fmt.Errorf("only the leader publishes everywhere: %w", err)
	}
	return nil
}

// record is what consumers are to read of a table that has a writer.
func (p *Publisher) record(ctx context.Context, table routes.Table) routes.Record {
	found, _ := p.hosts.find(ctx, table.Writer.Host)
	return routes.Record{Cluster: table.Cluster, Epoch: table.Epoch, Revision: table.Revision, Master: *table.Writer,
		IPv4: found.v4, IPv6: found.v6}
}

// Status returns what is known of each directory and cluster that this
// controller has looked at.
func (p *Publisher) Status() []TargetStatus {
	var status []TargetStatus
	for _, t := range p.targets {
		status = append(status, t.snapshot()...)
	}
	return status
}
