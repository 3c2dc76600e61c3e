package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"switchyard/router/haproxy"
)

func (d *document) checkConsul(f *File) error {
	datacenters := map[string]string{}
	for i := range f.Consul {
		c, at := &f.Consul[i], fmt.Sprintf("consul[%d]", i)
		c.TokenFile = d.path(c.TokenFile)
		c.TLS.CA, c.TLS.Cert, c.TLS.Key = d.path(c.TLS.CA), d.path(c.TLS.Cert), d.path(c.TLS.Key)
		if err := d.checkOneConsul(at, c); err != nil {
			return err
		}
		if err := d.unique(datacenters, c.Datacenter, at+".datacenter", "give every datacenter one Consul"); err != nil {
			return err
		}
	}
	return nil
}

func (d *document) checkOneConsul(at string, c *Consul) error {
	if err := d.checkName(at+".datacenter", c.Datacenter, "name the datacenter that this Consul serves"); err != nil {
		return err
	}
	scheme, err := d.checkURL(at+".address", c.Address)
	if err != nil {
		return err
	}
	if c.TLS != (ConsulTLS{}) && scheme != "https" {
		return d.errorf(at+".tls", "is not used, since the address begins with http; change the address to https, or remove it")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return d.errorf(at+".tls", "has only one of cert and key; give both, or neither")
	}
	if _, err := c.TLS.Build(); err != nil {
		key, reason := fieldOf(at+".tls", err)
		return d.errorf(key, "cannot be used (%w); name a PEM file that this user may read", reason)
	}
	if d.has(at+".token") || d.has(at+".token_file") {
		if err := d.secret(at+".token", &c.Token, c.TokenFile); err != nil {
			return err
		}
	}
	if strings.Contains(c.Prefix, "//") || strings.Trim(c.Prefix, "/") != c.Prefix || c.Prefix == "" ||
		strings.ContainsAny(c.Prefix, " \t\r\n?#%") {
		return d.errorf(at+".prefix", "is %q; want a path such as mysql/master, without blanks or outer slashes", clip(c.Prefix))
	}
	return d.positive(at+".timeout", c.Timeout)
}

func (d *document) checkHAProxy(f *File) error {
	names, slots := map[string]string{}, map[string]string{}
	for i := range f.HAProxy {
		h, at := &f.HAProxy[i], fmt.Sprintf("haproxy[%d]", i)
		if err := d.checkOneHAProxy(at, h, f); err != nil {
			return err
		}
		if err := d.unique(names, h.Name, at+".name", "give every entry a name of its own"); err != nil {
			return err
		}
		slot := h.Runtime + " " + h.Backend + "/" + h.Server
		if err := d.unique(slots, slot, at+".backend", "two clusters cannot share one server line; change one"); err != nil {
			return err
		}
	}
	return nil
}

func (d *document) checkOneHAProxy(at string, h *HAProxy, f *File) error {
	if err := d.checkName(at+".name", h.Name, "name this proxy"); err != nil {
		return err
	}
	if err := d.checkClusterName(at+".cluster", h.Cluster); err != nil {
		return err
	}
	known := slices.ContainsFunc(f.Clusters, func(c Cluster) bool { return c.Name == h.Cluster })
	if !known && !f.namesClusters() {
		return d.errorf(at+".cluster", "is %q, which is none of clusters[].name; add the cluster there, or correct it", h.Cluster)
	}
	if err := d.require(at+".runtime", h.Runtime, "want tcp://IP:PORT or unix:///PATH"); err != nil {
		return err
	}
	if _, err := haproxy.ParseTarget(h.Runtime); err != nil {
		return d.errorf(at+".runtime", "%w", err)
	}
	if h.Backend == "" {
		h.Backend = h.Cluster + "_writer"
	}
	if err := (haproxy.Backend{Backend: h.Backend, Server: h.Server}).Validate(); err != nil {
		return d.errorf(at, "%w", err)
	}
	if h.MaxConn < 1 || h.MaxConn > 1_000_000 {
		return d.errorf(at+".maxconn", "is %d; want a number from 1 to 1000000", h.MaxConn)
	}
	if h.Listen != "" {
		everywhere := strings.Replace(h.Listen, "*:", "0.0.0.0:", 1)
		if a, err := netip.ParseAddrPort(everywhere); err != nil || a.Port() == 0 {
			return d.errorf(at+".listen", "is %q; want IP:PORT or *:PORT", clip(h.Listen))
		}
	}
	return d.positive(at+".timeout", h.Timeout)
}
