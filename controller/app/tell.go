package app

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/bulletin"
	"switchyard/controller/config"
	"switchyard/controller/console"
	integration "switchyard/integrations/haproxy"
	"switchyard/integrations/proxysql"
	"switchyard/integrations/sidecar"
	"switchyard/router/fleet"
	"switchyard/router/haproxy"
	"switchyard/router/routes"
	"switchyard/sidecar/call"
	"switchyard/store"
	"switchyard/store/ledger"
)

func newFleet(c *config.File, s *store.Store, client *call.Client, log *slog.Logger) (*fleet.Fleet, error) {
	var proxies []fleet.Proxy
	for n, h := range c.HAProxy {
		p, err := newHAProxy(c, h, client, log)
		if err != nil {
			return nil, &StartError{fmt.Errorf("haproxy[%d]: %w", n, err)}
		}
		proxies = append(proxies, p)
	}
	for n, q := range c.ProxySQL {
		p, err := newProxySQL(c, q, client, log)
		if err != nil {
			return nil, &StartError{fmt.Errorf("proxysql[%d]: %w", n, err)}
		}
		proxies = append(proxies, p)
	}
	f, err := fleet.New(fleet.Config{Lease: c.Raft.HeartbeatTimeout}, proxies, tables{s, ledger.Proxy}, time.Now, log)
	if err != nil {
		return nil, &StartError{fmt.Errorf("haproxy, proxysql: %w", err)}
	}
	return f, nil
}

func newHAProxy(c *config.File, h config.HAProxy, client *call.Client, log *slog.Logger) (fleet.Proxy, error) {
	if h.Sidecar != "" {
		return behind(c, client, sidecar.Config{Name: h.Name, Cluster: h.Cluster, URL: h.Sidecar, Timeout: h.Timeout}, log)
	}
	return integration.New(integration.Config{
		Name: h.Name, Cluster: h.Cluster, Target: h.Runtime, Master: h.Master, Timeout: h.Timeout,
		Backend: haproxy.Backend{Backend: h.Backend, Server: h.Server}, Readers: h.ReaderSlots(), Datacenter: h.Datacenter,
	}, time.Now, log)
}

func newProxySQL(c *config.File, q config.ProxySQL, client *call.Client, log *slog.Logger) (fleet.Proxy, error) {
	if q.Sidecar != "" {
		return behind(c, client, sidecar.Config{Name: q.Name, Cluster: q.Cluster, URL: q.Sidecar, Timeout: q.Timeout}, log)
	}
	return proxysql.New(proxysql.Config{
		Name: q.Name, Cluster: q.Cluster, Admin: q.Admin, User: q.User, Password: q.Password.Reveal(),
		Slot: q.Slot(), Datacenter: q.Datacenter, Drain: q.DrainTimeout, Timeout: q.Timeout,
	}, time.Now, log)
}

// behind is a proxy with a sidecar beside it.
func behind(c *config.File, client *call.Client, cfg sidecar.Config, log *slog.Logger) (fleet.Proxy, error) {
	cfg.Controller = c.ID
	return sidecar.New(cfg, line{client}, log)
}

// proxies says how each proxy does: by what the leader reads, elsewhere by what
// the ledger remembers.
func proxies(c *config.File, f *fleet.Fleet, s *store.Store) []console.Receiver {
	kinds := kinds(c)
	if s.IsLeader() {
		var out []console.Receiver
		for _, p := range f.Status() {
			out = append(out, console.Receiver{
				Name: p.Name, Kind: kinds[p.Name], Cluster: p.Cluster, Holds: p.Holds, Epoch: p.Epoch, Revision: p.Revision,
				At: p.ConfirmedAt, Problem: cmp.Or(p.LastError, readersProblem(p.Proof), p.Proof.Warning),
			})
		}
		return out
	}
	confirmed := s.State().Confirmations
	var out []console.Receiver
	for _, p := range f.Status() {
		k, ok := confirmed[ledger.ConfirmationKey{Receiver: ledger.Proxy, Name: p.Name, Cluster: p.Cluster}]
		out = append(out, console.Receiver{
			Name: p.Name, Kind: kinds[p.Name], Cluster: p.Cluster, Holds: ok, Epoch: k.Epoch, Revision: k.Revision, At: k.At,
		})
	}
	return out
}

// readersProblem says what is wrong with the readers of a proxy.
func readersProblem(p routes.Proof) string {
	if p.ReadersHold() {
		return ""
	}
	return "its readers do not follow: " + p.Readers.Problem
}

// fleetOf says what is known of each proxy: what the leader sees, or what the
// ledger remembers; and what its sidecar told this controller.
func fleetOf(c *config.File, f *fleet.Fleet, s *store.Store, b *bulletin.Bulletin) []wire.Proxy {
	kinds, sidecars, reports := kinds(c), sidecarsOf(c), b.Reports()
	confirmed, leads := s.State().Confirmations, s.IsLeader()
	out := make([]wire.Proxy, 0, len(kinds))
	for _, p := range f.Status() {
		one := wire.Proxy{Name: p.Name, Kind: kinds[p.Name], Cluster: p.Cluster, Way: wire.WayDirect, Sidecar: sidecars[p.Name]}
		if one.Sidecar != "" {
			one.Way = wire.WaySidecar
		}
		if leads {
			one.State, one.Since, one.Serves, one.Sessions = stateOf(p), p.Since, serves(p.Proof), p.Proof.Sessions
			one.Epoch, one.Revision, one.ConfirmedAt = p.Epoch, p.Revision, p.ConfirmedAt
			one.Retries, one.NextLook, one.Repairs = p.Retries, p.NextLook, p.Repairs
			one.Problem, one.Warning, one.Readers = p.LastError, p.Proof.Warning, p.Proof.Readers
		} else {
			k := confirmed[ledger.ConfirmationKey{Receiver: ledger.Proxy, Name: p.Name, Cluster: p.Cluster}]
			one.State, one.Epoch, one.Revision, one.ConfirmedAt = wire.ProxyRemembered, k.Epoch, k.Revision, k.At
		}
		if h, ok := reports[p.Name]; ok && h.Cluster == p.Cluster {
			one.Report = &wire.ProxyReport{Sidecar: h.Sidecar, DataCenter: h.Datacenter, At: h.At, Epoch: h.Epoch, Revision: h.Revision,
				Digest: h.Digest, Sessions: h.Sessions, Problem: h.Problem}
		}
		out = append(out, one)
	}
	return out
}

// stateOf gives what the fleet knows of a proxy a name.
func stateOf(p fleet.ProxyStatus) wire.ProxyState {
	switch {
	case p.Down:
		return wire.ProxyDown
	case p.Holds && p.Proof.Serving:
		return wire.ProxyFollows
	case p.Holds:
		return wire.ProxyWithdrawn
	case p.Reachable, p.Proof.Serving, p.Proof.Sessions > 0:
		return wire.ProxyStrays
	}
	return wire.ProxyUnknown
}

// serves is where a proxy leads new connections.
func serves(p routes.Proof) string {
	switch {
	case !p.Serving:
		return ""
	case p.Host != "":
		return p.Host
	}
	return p.Address.String()
}

// sidecarsOf is the URL of the sidecar beside each proxy that has one.
func sidecarsOf(c *config.File) map[string]string {
	out := map[string]string{}
	for _, h := range c.HAProxy {
		out[h.Name] = h.Sidecar
	}
	for _, p := range c.ProxySQL {
		out[p.Name] = p.Sidecar
	}
	return out
}

// kinds says what each proxy is, by its name.
func kinds(c *config.File) map[string]string {
	out := make(map[string]string, len(c.HAProxy)+len(c.ProxySQL))
	for _, h := range c.HAProxy {
		out[h.Name] = "haproxy"
	}
	for _, p := range c.ProxySQL {
		out[p.Name] = "proxysql"
	}
	return out
}
