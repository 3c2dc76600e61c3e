package app

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	controller "switchyard/controller/config"
	"switchyard/integrations/consul"
	integration "switchyard/integrations/haproxy"
	"switchyard/integrations/proxysql"
	"switchyard/router/haproxy"
	"switchyard/router/routes"
	"switchyard/sidecar/agent"
	"switchyard/sidecar/call"
	"switchyard/sidecar/config"
	"switchyard/sidecar/door"
	"switchyard/sidecar/protocol"
)

// routesFile is the file in the state directory that the routes come back from.
const routesFile = "routes.json"

// proxies builds the part that makes the local proxies follow.
func proxies(s shared) ([]Part, error) {
	if len(s.file.HAProxy)+len(s.file.ProxySQL) == 0 {
		return nil, nil
	}
	var locals []agent.Local
	files := map[string]*integration.File{}
	for n, h := range s.file.HAProxy {
		local, err := localHAProxy(s, h, files)
		if err != nil {
			return nil, fmt.Errorf("haproxy[%d]: %w", n, err)
		}
		locals = append(locals, local)
	}
	for n, q := range s.file.ProxySQL {
		p, err := proxysql.New(proxysql.Config{
			Name: q.Name, Cluster: q.Cluster, Admin: q.Admin, User: q.User, Password: q.Password.Reveal(),
			Slot: q.Slot(), Datacenter: cmp.Or(q.Datacenter, s.file.Datacenter), Drain: q.DrainTimeout, Timeout: q.Timeout,
		}, time.Now, s.log)
		if err != nil {
			return nil, fmt.Errorf("proxysql[%d]: %w", n, err)
		}
		locals = append(locals, agent.Local{Proxy: p})
	}
	var controllers []agent.Controller
	for _, c := range s.file.Controllers {
		controllers = append(controllers, watched{c, s.client})
	}
	directory, err := localConsul(s)
	if err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	a, err := agent.New(agent.Config{
		Sidecar: s.file.Name, Run: s.run, Datacenter: s.file.Datacenter,
		StateFile: filepath.Join(s.file.StateDir, routesFile), Spread: spread,
	}, locals, controllers, directory, time.Now, s.log)
	if err != nil {
		return nil, err
	}
	return []Part{{Name: "proxies", Run: a.Run, Handlers: map[string]door.Handler{
		protocol.PathApply: door.Answer(a.Apply),
		protocol.PathRead:  door.Answer(a.Read),
	}}}, nil
}

// localHAProxy notes its configuration file among those of the others.
func localHAProxy(s shared, h controller.HAProxy, files map[string]*integration.File) (agent.Local, error) {
	p, err := integration.New(integration.Config{
		Name: h.Name, Cluster: h.Cluster, Target: h.Runtime, Master: h.Master, Timeout: h.Timeout,
		Backend: haproxy.Backend{Backend: h.Backend, Server: h.Server},
		Readers: h.ReaderSlots(), Datacenter: cmp.Or(h.Datacenter, s.file.Datacenter),
	}, time.Now, s.log)
	if err != nil || h.File == "" {
		return agent.Local{Proxy: p}, err
	}
	keeper, err := p.File(h.File, h.StateFile)
	if err != nil {
		return agent.Local{}, err
	}
	if other := files[h.File]; other != nil {
		keeper.TakeTurns(other)
	}
	files[h.File] = keeper
	return agent.Local{Proxy: p, Keeper: keeper}, nil
}

// localConsul is the datacenter's Consul; nil where none is named.
func localConsul(s shared) (agent.Directory, error) {
	c := s.file.Consul
	if c.Address == "" {
		return nil, nil
	}
	secure, err := c.TLS.Build()
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	directory, err := consul.New(consul.Config{
		Datacenter: s.file.Datacenter, Address: c.Address, Token: c.Token.Reveal(), Prefix: c.Prefix, TLS: secure,
	}, s.log)
	if err != nil {
		return nil, err
	}
	return records{directory, c.Wait}, nil
}

// records is the datacenter's Consul, with how long one question to it may wait.
type records struct {
	consul *consul.Consul
	wait   time.Duration
}

// WatchRecord implements agent.Directory.
func (r records) WatchRecord(ctx context.Context, cluster string, index uint64) (routes.Record, uint64, error) {
	return r.consul.Watch(ctx, cluster, index, r.wait)
}

// spread makes a pause one from half of it to one and a half, so that the
// sidecars of many hosts do not come back all at once.
func spread(d time.Duration) time.Duration {
	if d <= 0 {
		return d
	}
	return d/2 + rand.N(d)
}

// watched is one controller, as this sidecar calls it.
type watched struct {
	config.Controller
	client *call.Client
}

// ID implements agent.Controller.
func (w watched) ID() string { return w.Controller.ID }

// Watch implements agent.Controller.
func (w watched) Watch(ctx context.Context, q protocol.Watch) (protocol.Tables, error) {
	return call.Post[protocol.Tables](ctx, w.client, w.HTTP, protocol.PathWatch, q)
}
