package config

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"switchyard/router/haproxy"
	"switchyard/router/proxysql"
)

func (d *Document) checkConsul(f *File) error {
	datacenters := map[string]string{}
	for i := range f.Consul {
		c, at := &f.Consul[i], fmt.Sprintf("consul[%d]", i)
		if err := d.CheckConsul(at, c); err != nil {
			return err
		}
		if err := d.Unique(datacenters, c.Datacenter, at+".datacenter", "give every datacenter one Consul"); err != nil {
			return err
		}
	}
	return nil
}

// CheckConsul completes the entry at a key, and says what is wrong with it.
func (d *Document) CheckConsul(at string, c *Consul) error {
	c.TokenFile = d.Path(c.TokenFile)
	c.TLS.CA, c.TLS.Cert, c.TLS.Key = d.Path(c.TLS.CA), d.Path(c.TLS.Cert), d.Path(c.TLS.Key)
	if err := d.CheckName(at+".datacenter", c.Datacenter, "name the datacenter that this Consul serves"); err != nil {
		return err
	}
	scheme, err := d.CheckURL(at+".address", c.Address)
	if err != nil {
		return err
	}
	if c.TLS != (ConsulTLS{}) && scheme != "https" {
		return d.Errorf(at+".tls", "is not used, since the address begins with http; change the address to https, or remove it")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return d.Errorf(at+".tls", "has only one of cert and key; give both, or neither")
	}
	if _, err := c.TLS.Build(); err != nil {
		key, reason := fieldOf(at+".tls", err)
		return d.Errorf(key, "cannot be used (%w); name a PEM file that this user may read", reason)
	}
	if d.Has(at+".token") || d.Has(at+".token_file") {
		if err := d.TakeSecret(at+".token", &c.Token, c.TokenFile); err != nil {
			return err
		}
	}
	if strings.Contains(c.Prefix, "//") || strings.Trim(c.Prefix, "/") != c.Prefix || c.Prefix == "" ||
		strings.ContainsAny(c.Prefix, " \t\r\n?#%") {
		return d.Errorf(at+".prefix", "is %q; want a path such as mysql/master, without blanks or outer slashes", clip(c.Prefix))
	}
	return d.Positive(at+".timeout", c.Timeout)
}

// Known says what is wrong with the name of a cluster at a key.
type Known func(key, cluster string) error

// CheckHAProxy completes the entries of the key haproxy, and says what is wrong
// with the first that cannot be used.
func (d *Document) CheckHAProxy(list []HAProxy, known Known) error {
	names, slots := map[string]string{}, map[string]string{}
	for i := range list {
		h, at := &list[i], fmt.Sprintf("haproxy[%d]", i)
		if err := d.checkOneHAProxy(at, h, known); err != nil {
			return err
		}
		if err := d.Unique(names, h.Name, at+".name", "give every entry a name of its own"); err != nil {
			return err
		}
		if h.Sidecar != "" {
			continue
		}
		slot := h.Runtime + " " + h.Backend + "/" + h.Server
		if err := d.Unique(slots, slot, at+".backend", "two clusters cannot share one server line; change one"); err != nil {
			return err
		}
		if h.Readers.Backend != "" {
			readers := h.Runtime + " " + h.Readers.Backend
			if err := d.Unique(slots, readers, at+".readers.backend", "two clusters cannot share one backend of readers; change one"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Document) checkOneHAProxy(at string, h *HAProxy, known Known) error {
	if err := d.CheckName(at+".name", h.Name, "name this proxy"); err != nil {
		return err
	}
	if err := d.CheckClusterName(at+".cluster", h.Cluster); err != nil {
		return err
	}
	if err := known(at+".cluster", h.Cluster); err != nil {
		return err
	}
	if d.Has(at + ".sidecar") {
		return d.Positive(at+".timeout", h.Timeout)
	}
	if err := d.Require(at+".runtime", h.Runtime, "want tcp://IP:PORT or unix:///PATH, or sidecar: http://HOST:PORT"); err != nil {
		return err
	}
	if _, err := haproxy.ParseTarget(h.Runtime); err != nil {
		return d.Errorf(at+".runtime", "%w", err)
	}
	if h.Master != "" {
		if _, err := haproxy.ParseTarget(h.Master); err != nil {
			return d.Errorf(at+".master", "%w", err)
		}
		if h.Master == h.Runtime {
			return d.Errorf(at+".master", "is the runtime API; want where the master process listens (haproxy -S)")
		}
	}
	if h.Backend == "" {
		h.Backend = h.Cluster + "_writer"
	}
	if err := (haproxy.Backend{Backend: h.Backend, Server: h.Server}).Validate(); err != nil {
		return d.Errorf(at, "%w", err)
	}
	if h.MaxConn < 1 || h.MaxConn > 1_000_000 {
		return d.Errorf(at+".maxconn", "is %d; want a number from 1 to 1000000", h.MaxConn)
	}
	if err := haproxy.CheckHold(h.Hold); err != nil {
		return d.Errorf(at+".hold", "%w", err)
	}
	if h.Lua != "" && (!path.IsAbs(h.Lua) || strings.ContainsAny(h.Lua, " \t\r\n\"'#\\")) {
		return d.Errorf(at+".lua", "is %q; want an absolute path without blanks", clip(h.Lua))
	}
	if err := d.checkListen(at+".listen", h.Listen); err != nil {
		return err
	}
	if err := d.checkReaders(at, h); err != nil {
		return err
	}
	h.File, h.StateFile = d.Path(h.File), d.Path(h.StateFile)
	return d.Positive(at+".timeout", h.Timeout)
}

func (d *Document) checkListen(at, listen string) error {
	if listen == "" {
		return nil
	}
	everywhere := strings.Replace(listen, "*:", "0.0.0.0:", 1)
	if a, err := netip.ParseAddrPort(everywhere); err != nil || a.Port() == 0 {
		return d.Errorf(at, "is %q; want IP:PORT or *:PORT", clip(listen))
	}
	return nil
}

// checkReaders completes the entrance of the readers, if there is to be one.
func (d *Document) checkReaders(at string, h *HAProxy) error {
	if h.Datacenter != "" {
		if err := d.CheckName(at+".datacenter", h.Datacenter, "name the datacenter that the proxy stands in"); err != nil {
			return err
		}
	}
	if !d.Has(at + ".readers") {
		return nil
	}
	at += ".readers"
	r := &h.Readers
	if r.Backend == "" {
		r.Backend = h.Cluster + "_readers"
	}
	switch {
	case r.Backend == h.Backend:
		return d.Errorf(at+".backend", "is the writer's; give the readers a backend of their own")
	case r.Listen != "" && r.Listen == h.Listen:
		return d.Errorf(at+".listen", "is the writer's; give the readers a port of their own")
	case r.MaxConn < 1 || r.MaxConn > 1_000_000:
		return d.Errorf(at+".maxconn", "is %d; want a number from 1 to 1000000", r.MaxConn)
	}
	if err := h.ReaderSlots().Validate(); err != nil {
		return d.Errorf(at, "%w", err)
	}
	return d.checkListen(at+".listen", r.Listen)
}

// checkKnown wants a cluster that the file names, unless it may be found later.
func (d *Document) checkKnown(f *File, key, cluster string) error {
	known := slices.ContainsFunc(f.Clusters, func(c Cluster) bool { return c.Name == cluster })
	if !known && !f.namesClusters() {
		return d.Errorf(key, "is %q, which is none of clusters[].name; add the cluster there, or correct it", cluster)
	}
	return nil
}

// CheckProxySQL completes the entries of the key proxysql, which have names of
// their own among the HAProxies', too.
func (d *Document) CheckProxySQL(list []ProxySQL, haproxies []HAProxy, known Known) error {
	names := map[string]string{}
	for i := range haproxies {
		names[haproxies[i].Name] = fmt.Sprintf("haproxy[%d].name", i)
	}
	for i := range list {
		p, at := &list[i], fmt.Sprintf("proxysql[%d]", i)
		p.PasswordFile = d.Path(p.PasswordFile)
		if err := d.checkOneProxySQL(at, p, known); err != nil {
			return err
		}
		if err := d.Unique(names, p.Name, at+".name", "give every proxy a name of its own"); err != nil {
			return err
		}
		for j, other := range list[:i] {
			if p.Sidecar != "" || other.Sidecar != "" {
				continue
			}
			if other.Admin != p.Admin {
				continue
			}
			if hostgroup, shared := p.Slot().Overlaps(other.Slot()); shared {
				return d.Errorf(at, "uses hostgroup %d of %s, which proxysql[%d] uses too; give every cluster hostgroups of its own",
					hostgroup, p.Admin, j)
			}
		}
	}
	return nil
}

// maxDrain is well below the time after which a switchover is turned back.
const maxDrain = 10 * time.Second

func (d *Document) checkOneProxySQL(at string, p *ProxySQL, known Known) error {
	if err := firstOf(
		func() error { return d.CheckName(at+".name", p.Name, "name this proxy") },
		func() error { return d.CheckClusterName(at+".cluster", p.Cluster) },
		func() error { return known(at+".cluster", p.Cluster) },
	); err != nil {
		return err
	}
	if d.Has(at + ".sidecar") {
		return d.Positive(at+".timeout", p.Timeout)
	}
	return firstOf(
		func() error {
			return d.Require(at+".admin", p.Admin, "want HOST:PORT of its admin interface, or sidecar: http://HOST:PORT")
		},
		func() error { return d.CheckAdvertised(at+".admin", p.Admin) },
		func() error {
			return d.Require(at+".user", p.User, "name one of admin-admin_credentials; the user admin may only log in locally")
		},
		func() error { return d.TakeSecret(at+".password", &p.Password, p.PasswordFile) },
		func() error {
			if p.WriterHostgroup == proxysql.NoReader {
				return d.Errorf(at+".writer_hostgroup", "is missing; name a hostgroup that has nothing but this cluster's writer")
			}
			if err := p.Slot().Validate(); err != nil {
				return d.Errorf(at, "%w", err)
			}
			return nil
		},
		func() error {
			if p.Datacenter == "" {
				return nil
			}
			return d.CheckName(at+".datacenter", p.Datacenter, "name the datacenter that the proxy stands in")
		},
		func() error {
			if p.DrainTimeout > maxDrain {
				return d.Errorf(at+".drain_timeout", "is %s; want at most %s, as nobody can write meanwhile", p.DrainTimeout, maxDrain)
			}
			return nil
		},
		func() error { return d.Positive(at+".timeout", p.Timeout) },
	)
}

// checkWays says what is wrong with how the controllers reach the proxies:
// directly, or through the sidecar beside each.
func (d *Document) checkWays(f *File) error {
	for i, h := range f.HAProxy {
		at := fmt.Sprintf("haproxy[%d]", i)
		for _, key := range []string{"file", "state_file"} {
			if d.Has(at + "." + key) {
				return d.Errorf(at+"."+key, "is kept by the sidecar beside the proxy; move it into the sidecar's own file")
			}
		}
		if err := d.checkSidecarOf(f, at, h.Sidecar, "runtime", "master", "backend", "server", "listen", "maxconn", "hold",
			"lua", "readers", "datacenter"); err != nil {
			return err
		}
	}
	for i, p := range f.ProxySQL {
		if err := d.checkSidecarOf(f, fmt.Sprintf("proxysql[%d]", i), p.Sidecar, "admin", "user", "password", "password_file",
			"writer_hostgroup", "reader_hostgroup", "weight", "max_connections", "use_ssl", "drain_timeout",
			"datacenter"); err != nil {
			return err
		}
	}
	return nil
}

// checkSidecarOf wants the entry of a proxy behind a sidecar to have nothing
// that its sidecar's file says.
func (d *Document) checkSidecarOf(f *File, at, sidecar string, elsewhere ...string) error {
	if !d.Has(at + ".sidecar") {
		return nil
	}
	if _, err := d.CheckURL(at+".sidecar", sidecar); err != nil {
		return err
	}
	for _, key := range elsewhere {
		if d.Has(at + "." + key) {
			return d.Errorf(at+"."+key, "is given beside sidecar; keep one: what is behind a sidecar is said in the sidecar's own file")
		}
	}
	if f.Sidecars.Secret == "" {
		return d.Errorf(at+".sidecar", "needs sidecars.secret; add the secret that controllers and sidecars share")
	}
	return nil
}

// NoSidecars refuses the way through a sidecar where a sidecar reads its own file.
func (d *Document) NoSidecars(haproxies []HAProxy, proxysqls []ProxySQL) error {
	for key, count := range map[string]int{"haproxy": len(haproxies), "proxysql": len(proxysqls)} {
		for i := range count {
			if at := fmt.Sprintf("%s[%d].sidecar", key, i); d.Has(at) {
				return d.Errorf(at, "is for the controllers' files; say here how the proxy itself is reached")
			}
		}
	}
	return nil
}
