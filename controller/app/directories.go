package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/config"
	"switchyard/controller/console"
	"switchyard/controller/publisher"
	"switchyard/integrations/consul"
	"switchyard/store"
	"switchyard/store/ledger"
)

func newPublisher(c *config.File, way carriage, s *store.Store, log *slog.Logger) (*publisher.Publisher, error) {
	var directories []publisher.Directory
	for n, d := range c.Consul {
		secure, err := d.TLS.Build()
		if err != nil {
			return nil, &StartError{fmt.Errorf("consul[%d].tls: %w", n, err)}
		}
		directory, err := consul.New(consul.Config{
			Datacenter: d.Datacenter, Address: d.Address, Token: d.Token.Reveal(), Prefix: d.Prefix, Timeout: d.Timeout, TLS: secure,
		}, log)
		if err != nil {
			return nil, &StartError{fmt.Errorf("consul[%d]: %w", n, err)}
		}
		directories = append(directories, directory)
	}
	cfg := publisher.Config{Datacenter: c.Datacenter, Lookup: net.DefaultResolver.LookupNetIP, AuditTimeout: auditTimeout(c)}
	cfg.Controllers = func() []string { return keepers(s.Controllers()) }
	p, err := publisher.New(cfg, directories, newShelf(c, way, s), time.Now, log)
	if err != nil {
		return nil, &StartError{fmt.Errorf("consul: %w", err)}
	}
	return p, nil
}

// consuls says how each datacenter's Consul does, as this controller sees it.
func consuls(p *publisher.Publisher, s *store.Store) []console.Receiver {
	state := s.State()
	var out []console.Receiver
	for _, t := range p.Status() {
		out = append(out, console.Receiver{
			Name: t.Datacenter, Cluster: t.Cluster, Holds: t.Reachable && !t.Held && t.LastError == "", Epoch: t.Epoch,
			Revision: state.Clusters[t.Cluster].Revision, At: t.ConfirmedAt, Problem: t.LastError,
		})
	}
	return out
}

// auditTimeout lets the slowest Consul take, in an audit, what it was given.
func auditTimeout(c *config.File) time.Duration {
	longest := consul.DefaultTimeout
	for _, d := range c.Consul {
		longest = max(longest, d.Timeout)
	}
	return longest
}

func newShelf(c *config.File, way carriage, s *store.Store) shelf {
	return shelf{
		tables: tables{s, ledger.Consul}, self: c.ID, datacenter: c.Datacenter, urls: roster{s}.urls, peers: way.peers(c),
	}
}

// directories gives the publisher, and those of the other controllers, the
// console's and the door's words.
type directories struct {
	*publisher.Publisher
	shelf
}

func newDirectories(c *config.File, way carriage, s *store.Store, p *publisher.Publisher) directories {
	return directories{p, newShelf(c, way, s)}
}

// Look implements console.Directories.
func (d directories) Look(ctx context.Context, clusters []string) []console.Found {
	sights := d.Publisher.Look(ctx, clusters)
	out := make([]console.Found, 0, len(sights))
	for _, s := range sights {
		out = append(out, console.Found{Datacenter: s.Datacenter, Cluster: s.Cluster, Holding: s.Holding, Err: s.Err})
	}
	return out
}

// keeping is what this controller knows of the directories that it writes.
func (d directories) keeping() wire.Keeping {
	out := wire.Keeping{Controller: d.self, DataCenter: d.datacenter, Records: []wire.KeepingRecord{}}
	for _, t := range d.Status() {
		out.Records = append(out.Records, wire.KeepingRecord{
			DataCenter: t.Datacenter, Cluster: t.Cluster, ConfirmedAt: t.ConfirmedAt, Repairs: t.Repairs, Error: t.LastError,
		})
	}
	return out
}

// Keeping implements console.Directories.
func (d directories) Keeping(ctx context.Context) map[string]console.Kept {
	var mu sync.Mutex
	var all sync.WaitGroup
	own := d.keeping()
	out := map[string]console.Kept{d.self: {Datacenter: own.DataCenter, Records: own.Records}}
	for id, base := range d.urls() {
		if id == d.self {
			continue
		}
		all.Go(func() {
			said, err := d.peers.Keeping(ctx, base)
			if err == nil && said.Controller != id {
				err = fmt.Errorf("%s answers as controller %.40q", base, said.Controller)
			}
			mu.Lock()
			defer mu.Unlock()
			out[id] = console.Kept{Datacenter: said.DataCenter, Records: said.Records, Err: err}
		})
	}
	all.Wait()
	return out
}

// keeper answers the other controllers.
type keeper struct{ directories }

// Keeping implements adminapi.Keeper.
func (k keeper) Keeping() wire.Keeping { return k.keeping() }

// Noticed implements adminapi.Keeper.
func (k keeper) Noticed(ctx context.Context, n wire.Notice) error {
	err := k.noticed(ctx, n)
	if errors.Is(err, store.ErrNotLeader) {
		return wire.NewError(wire.NotLeader, fmt.Sprintf("controller %s leads no more", k.self), "tell the leader")
	}
	return err
}
