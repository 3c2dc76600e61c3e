package config

import (
	"cmp"
	"time"

	controller "switchyard/controller/config"
	"switchyard/sidecar/protocol"
)

// checkProxies completes what is said of the proxies beside this sidecar, and
// says what is wrong with it.
func checkProxies(d *controller.Document, f *File) error {
	if err := d.NoSidecars(f.HAProxy, f.ProxySQL); err != nil {
		return err
	}
	known := d.CheckClusterName
	if err := d.CheckHAProxy(f.HAProxy, known); err != nil {
		return err
	}
	if err := d.CheckProxySQL(f.ProxySQL, f.HAProxy, known); err != nil {
		return err
	}
	if n := len(f.HAProxy) + len(f.ProxySQL); n > protocol.MaxProxies {
		return d.Errorf("", "has %d proxies; want at most %d beside one sidecar: run another one for the rest, with a name, a listen "+
			"and a state_dir of its own", n, protocol.MaxProxies)
	}
	return checkConsul(d, f)
}

// The bounds of one blocking query.
const (
	standardWait = 30 * time.Second
	shortestWait = time.Second
	longestWait  = 5 * time.Minute
)

func checkConsul(d *controller.Document, f *File) error {
	if !d.Has("consul") {
		return nil
	}
	c := controller.Consul{Datacenter: f.Datacenter, Address: f.Consul.Address, Token: f.Consul.Token, TokenFile: f.Consul.TokenFile,
		Prefix: cmp.Or(f.Consul.Prefix, "mysql/master"), Timeout: time.Second, TLS: f.Consul.TLS}
	if err := d.CheckConsul("consul", &c); err != nil {
		return err
	}
	f.Consul = Consul{Address: c.Address, Token: c.Token, TokenFile: c.TokenFile, Prefix: c.Prefix, TLS: c.TLS,
		Wait: cmp.Or(f.Consul.Wait, standardWait)}
	if f.Consul.Wait < shortestWait || f.Consul.Wait > longestWait {
		return d.Errorf("consul.wait", "is %s; want %s to %s", f.Consul.Wait, shortestWait, longestWait)
	}
	if len(f.HAProxy)+len(f.ProxySQL) == 0 {
		return d.Errorf("consul", "says where proxies lead, and there is none; add haproxy or proxysql, or remove it")
	}
	return nil
}
