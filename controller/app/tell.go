package app

import (
	"fmt"
	"log/slog"
	"net"
	"time"

	"switchyard/controller/config"
	"switchyard/controller/console"
	"switchyard/controller/publisher"
	"switchyard/integrations/consul"
	integration "switchyard/integrations/haproxy"
	"switchyard/router/fleet"
	"switchyard/router/haproxy"
	"switchyard/store"
	"switchyard/store/ledger"
)

func newFleet(c *config.File, s *store.Store, log *slog.Logger) (*fleet.Fleet, error) {
	var proxies []fleet.Proxy
	for n, h := range c.HAProxy {
		p, err := integration.New(integration.Config{
			Name: h.Name, Cluster: h.Cluster, Target: h.Runtime, Timeout: h.Timeout,
			Backend: haproxy.Backend{Backend: h.Backend, Server: h.Server},
		}, time.Now, log)
		if err != nil {
			return nil, &StartError{fmt.Errorf("haproxy[%d]: %w", n, err)}
		}
		proxies = append(proxies, p)
	}
	f, err := fleet.New(fleet.Config{}, proxies, tables{s, ledger.Proxy}, time.Now, log)
	if err != nil {
		return nil, &StartError{fmt.Errorf("haproxy: %w", err)}
	}
	return f, nil
}

// proxies says how each proxy does: by what the leader reads, elsewhere by what
// the ledger remembers.
func proxies(c *config.File, f *fleet.Fleet, s *store.Store) []console.Receiver {
	if s.IsLeader() {
		var out []console.Receiver
		for _, p := range f.Status() {
			out = append(out, console.Receiver{
				Name: p.Name, Cluster: p.Cluster, Holds: p.Holds, Epoch: p.Epoch, Revision: p.Revision,
				At: p.ConfirmedAt, Problem: p.LastError,
			})
		}
		return out
	}
	confirmed := s.State().Confirmations
	var out []console.Receiver
	for _, h := range c.HAProxy {
		k, ok := confirmed[ledger.ConfirmationKey{Receiver: ledger.Proxy, Name: h.Name, Cluster: h.Cluster}]
		out = append(out, console.Receiver{
			Name: h.Name, Cluster: h.Cluster, Holds: ok, Epoch: k.Epoch, Revision: k.Revision, At: k.At,
		})
	}
	return out
}

func newPublisher(c *config.File, s *store.Store, log *slog.Logger) (*publisher.Publisher, error) {
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
	cfg := publisher.Config{Datacenter: c.Datacenter, Lookup: net.DefaultResolver.LookupNetIP}
	for _, peer := range c.Controllers {
		cfg.Controllers = append(cfg.Controllers, peer.Datacenter)
	}
	p, err := publisher.New(cfg, directories, tables{s, ledger.Consul}, time.Now, log)
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
