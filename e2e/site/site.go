// Package site puts the whole of Switchyard on loopback with real servers: one topology, Consul, HAProxy and a set of
// controllers, each a process of its own. The demo, the end-to-end tests and the figures all start from it.
package site

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"switchyard/e2e/stack"
)

// ClusterName is the name of the site's one cluster, and so of its key in Consul.
const ClusterName = "shop"

// Options shape a site.
type Options struct {
	Flavor   stack.Flavor
	Replicas int // default 2
	SemiSync bool
	// Controllers is how many there are; default 3.
	Controllers int
	// Proxies is how many HAProxies there are; default 1.
	Proxies int
	// ProxyMaster runs each HAProxy with a master process, which can reload it, and EditProxy changes the configuration that the
	// product has made for it; nil for not.
	ProxyMaster bool
	EditProxy   func(config string) string
	// Readers gives the proxies an entrance for readers: the HAProxies a port, the ProxySQLs a hostgroup.
	Readers bool
	// ProxySQLs is how many ProxySQLs (or stand-ins, see stack.RealProxySQL) there are beside them; default none.
	ProxySQLs int
	// Binary is the switchyard program that is run.
	Binary string
	// Env is added to the environment of every controller.
	Env []string
	// ControllerGID is the group that the controllers run as, so that their traffic can be told apart; it needs root.
	ControllerGID uint32
	// Recovery is the YAML of the configuration's recovery section; empty for all clusters with defaults.
	Recovery string
	// SeedConsul names Consul's port as a seed too, as a slip of the pen would.
	SeedConsul bool
	// Rules is YAML added to the cluster's entry.
	Rules string
	// ServerOptions are added to every database server's option file.
	ServerOptions map[string]string
	// Each, Below and CoMaster shape the topology, see stack.TopologyOptions.
	Each     map[int]map[string]string
	Below    map[int]int
	CoMaster bool
	// Disks puts the data of single servers, by number, on file systems of their own of so many megabytes.
	Disks map[int]int
	// WriteProbe has the controllers try writes on the master.
	WriteProbe bool
	// Configure returns YAML that needs the servers' names: for the top of the configuration, and for the cluster's
	// entry after Rules.
	Configure func(db *stack.Cluster) (settings, rules string)
	// Extra is YAML added at the top of the configuration, and MySQL to its mysql section.
	Extra, MySQL string
	// ProxySidecars puts a sidecar beside each proxy, as the controllers' only way to it; nil for none.
	ProxySidecars *ProxySidecars
	// DatabaseSidecars puts a sidecar beside each database server; nil for none.
	DatabaseSidecars *DatabaseSidecars
	// Hosts places the parts, by name (db1, sc-db1, c1, ha1, sc-ha1, ps1, sc-ps1, consul-dc1 and so on), on hosts of a network of the site's own,
	// which takes root. Every part is placed, or none; without hosts all is on loopback.
	Hosts map[string]string
	// Datacenters spreads the site over three; nil has all of it in dc1.
	Datacenters *Datacenters
	// Secure has the controllers speak TLS, and ask who calls; nil for plain doors. Extra then says nothing of raft and http.
	Secure *Secure
	// Progress is told what is being started; nil for silence.
	Progress func(format string, args ...any)
}

func (o *Options) defaults() {
	if o.Datacenters != nil {
		o.spread()
	}
	if o.Replicas == 0 {
		o.Replicas = 2
	}
	if o.Controllers == 0 {
		o.Controllers = 3
	}
	if o.Proxies == 0 {
		o.Proxies = 1
	}
	if o.Recovery == "" {
		o.Recovery = "{clusters: ['*']}"
	}
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
}

// Controller is one controller process.
type Controller struct {
	*stack.Process
	ID string
	// URL is where its HTTP door is.
	URL string
	// Config is the text of its configuration file.
	Config string
}

// Proxy is one HAProxy with the address that applications know.
type Proxy struct {
	*stack.HAProxy
	Name, Listen, Runtime string
	// Master is where its master process listens; empty without Options.ProxyMaster.
	Master string
	// Reads is where applications connect to read; empty without Options.Readers.
	Reads string
}

// ProxySQL is one ProxySQL; applications connect to its Address.
type ProxySQL struct {
	*stack.ProxySQL
	Name, host string
}

// The ports of a controller.
const raftPort, httpPort = 7401, 7400

// WriterHostgroup is where the site's ProxySQLs have the writer, and send the application.
const WriterHostgroup = 10

// ReaderHostgroup is where they have the readers, with Options.Readers.
const ReaderHostgroup = 11

// Site is a running site. Its stack ends all of it.
type Site struct {
	Stack *stack.Stack
	DB    *stack.Cluster
	// Consul is that of the first datacenter, Consuls are those of all.
	Consul      *stack.Consul
	Consuls     []*stack.Consul
	Proxies     []*Proxy
	ProxySQLs   []*ProxySQL
	Controllers []*Controller
	// ProxySidecars are those beside the proxies, the HAProxies' first.
	ProxySidecars []*ProxySidecar
	// Sidecars are those beside the database servers, in the servers' order.
	Sidecars []*Sidecar
	// Net has the hosts of Options.Hosts; nil without.
	Net *stack.Net
	// Disks are those of Options.Disks.
	Disks   map[int]*stack.Disk
	options Options
}

// Start puts a site into the stack and waits until every proxy leads to the master.
func Start(ctx context.Context, st *stack.Stack, o Options) (*Site, error) {
	o.defaults()
	s := &Site{Stack: st, options: o}
	for _, part := range []struct {
		what  string
		start func(context.Context) error
	}{
		{"making the hosts, where there are any", s.makeHosts},
		{fmt.Sprintf("starting a %s master and %d replicas", o.Flavor, o.Replicas), s.startDatabases},
		{"starting Consul", s.startConsul},
		{fmt.Sprintf("starting %d controllers", o.Controllers), s.startControllers},
		{"starting the databases' sidecars, if there are any", s.startSidecars},
		{"starting HAProxy, which serves nobody until a controller has told it whom", s.startProxies},
		{"starting ProxySQL, if there is one, without a server", s.startProxySQLs},
		{"starting the proxies' sidecars, if there are any", s.startProxySidecars},
		{"waiting until the proxies lead to the master", s.WaitRouted},
		{"waiting until every controller holds a tripwire on it", s.waitTripwires},
	} {
		o.Progress("%s", part.what)
		if err := part.start(ctx); err != nil {
			return s, fmt.Errorf("%s: %w", part.what, err)
		}
	}
	return s, nil
}

func (s *Site) makeHosts(ctx context.Context) (err error) {
	if len(s.options.Hosts) == 0 {
		return nil
	}
	names := slices.Compact(slices.Sorted(maps.Values(s.options.Hosts)))
	if d := s.options.Datacenters; d != nil && d.Delay > 0 {
		s.Net, err = s.Stack.NewWideNet(ctx, d.Delay, names...)
	} else {
		s.Net, err = s.Stack.NewNet(ctx, names...)
	}
	if err != nil {
		return err
	}
	for part, host := range s.options.Hosts {
		if err := s.Net.Place(part, host); err != nil {
			return err
		}
	}
	return nil
}

func (s *Site) startDatabases(ctx context.Context) (err error) {
	s.Disks = map[int]*stack.Disk{}
	for n, megabytes := range s.options.Disks {
		if s.Disks[n], err = s.Stack.NewDisk(ctx, fmt.Sprintf("disk%d", n), megabytes); err != nil {
			return err
		}
	}
	s.DB, err = s.Stack.Topology(ctx, s.options.Flavor, s.options.Replicas, stack.TopologyOptions{
		SemiSync: s.options.SemiSync, Options: s.options.ServerOptions,
		Each: s.options.Each, Below: s.options.Below, CoMaster: s.options.CoMaster, Disks: s.Disks,
		ReplicateOptions: stack.ReplicateOptions{HeartbeatPeriod: 500 * time.Millisecond},
	})
	return err
}

func (s *Site) startConsul(ctx context.Context) error {
	for _, datacenter := range s.datacenters() {
		consul, err := s.Stack.StartConsul(ctx, datacenter)
		if err != nil {
			return err
		}
		s.Consuls = append(s.Consuls, consul)
	}
	s.Consul = s.Consuls[0]
	return nil
}

func (s *Site) startControllers(ctx context.Context) error {
	for n := range s.options.Controllers {
		id := fmt.Sprintf("c%d", n+1)
		ip, err := s.Stack.IPFor(id, raftPort, httpPort)
		if err != nil {
			return err
		}
		s.Controllers = append(s.Controllers, &Controller{
			ID: id, URL: fmt.Sprintf("%s://%s:%d", s.scheme(), ip, httpPort),
		})
	}
	for n := range s.options.Proxies {
		name := fmt.Sprintf("ha%d", n+1)
		ip, err := s.Stack.IPFor(name, 3307, 3308, 9990, 9991)
		if err != nil {
			return err
		}
		p := &Proxy{Name: name, Listen: ip + ":3307", Runtime: ip + ":9990"}
		if s.options.Readers {
			p.Reads = ip + ":3308"
		}
		if s.options.ProxyMaster {
			p.Master = ip + ":9991"
		}
		s.Proxies = append(s.Proxies, p)
	}
	for n := range s.options.ProxySQLs {
		name := fmt.Sprintf("ps%d", n+1)
		ip, err := s.Stack.IPFor(name, stack.ProxySQLAdminPort, stack.ProxySQLPort)
		if err != nil {
			return err
		}
		s.ProxySQLs = append(s.ProxySQLs, &ProxySQL{Name: name, host: ip})
	}
	for _, place := range []func() error{s.placeSidecars, s.placeProxySidecars} {
		if err := place(); err != nil {
			return err
		}
	}
	for _, c := range s.Controllers {
		var err error
		c.Config = s.config(c)
		if c.Process, err = s.Stack.StartProcess(ctx, stack.ProcessSpec{
			Name: c.ID, Path: s.options.Binary, Args: []string{"controller", "--config", "switchyard.yaml"},
			Files: map[string]string{"switchyard.yaml": c.Config}, Env: s.options.Env, GID: s.options.ControllerGID,
		}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Site) startProxies(ctx context.Context) error {
	for _, p := range s.Proxies {
		config, err := s.proxyConfig(ctx, p)
		if err != nil {
			return err
		}
		if s.options.EditProxy != nil {
			config = s.options.EditProxy(config)
		}
		if p.Master != "" {
			p.HAProxy, err = s.Stack.StartHAProxyMaster(ctx, p.Name, config, p.Master)
		} else {
			p.HAProxy, err = s.Stack.StartHAProxy(ctx, p.Name, config)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Site) startProxySQLs(ctx context.Context) error {
	for _, p := range s.ProxySQLs {
		var err error
		if p.ProxySQL, err = s.Stack.StartProxySQL(ctx, p.Name, stack.ProxySQLOptions{
			Host:      p.host,
			Users:     []stack.ProxySQLUser{{Account: stack.AppAccount(), Schema: stack.AppSchema, Hostgroup: WriterHostgroup}},
			Variables: map[string]string{"mysql-query_retries_on_failure": "0"},
		}); err != nil {
			return err
		}
	}
	return nil
}

// Binary is the switchyard program that the site runs.
func (s *Site) Binary() string { return s.options.Binary }

// Servers lists the database servers, the first master first.
func (s *Site) Servers() []*stack.Server { return s.DB.Servers() }

// Server is the one that the controllers call key.
func (s *Site) Server(key string) (*stack.Server, error) {
	for _, server := range s.Servers() {
		if server.Key() == key {
			return server, nil
		}
	}
	return nil, fmt.Errorf("the site has no server %s", key)
}

// Until asks again and again until check returns nil, or ctx ends.
func Until(ctx context.Context, what string, check func(context.Context) error) error {
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // what the end of the time itself brings says little
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w: %w", what, context.Cause(ctx), last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// WaitRouted waits until the leader says that every proxy was read back to lead to the master, and one answers there.
func (s *Site) WaitRouted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	return Until(ctx, "the proxies lead to the master", func(ctx context.Context) error {
		status, err := s.Status(ctx)
		if err != nil {
			return err
		}
		if len(status.Proxies) < len(s.Proxies)+len(s.ProxySQLs) || len(status.Clusters) == 0 {
			return fmt.Errorf("the cluster is not adopted yet: %v", status.Problems)
		}
		for _, p := range status.Proxies {
			if !p.Confirmed {
				return fmt.Errorf("proxy %s has not confirmed: %s", p.Name, p.Problem)
			}
		}
		for _, c := range status.Consul {
			if !c.Confirmed {
				return fmt.Errorf("Consul %s has not confirmed: %s", c.Name, c.Problem)
			}
		}
		for _, p := range s.Proxies {
			conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", p.Listen)
			if err != nil {
				return err
			}
			if err := conn.Close(); err != nil {
				return err
			}
		}
		return nil
	})
}
