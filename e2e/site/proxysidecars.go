package site

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"switchyard/e2e/stack"
)

// ProxySidecars are the settings of the sidecars beside the proxies.
type ProxySidecars struct {
	// NoConsul leaves the sidecars without the site's Consul, and NoFile leaves the files that the HAProxies start with as
	// they are.
	NoConsul, NoFile bool
	// Extra is YAML added to each sidecar's file.
	Extra string
}

// ProxySidecar stands beside one proxy, and is the controllers' only way to it.
type ProxySidecar struct {
	*stack.Process
	// Name is the sidecar's, and Beside the proxy's.
	Name, Beside string
	// URL is where controllers call it.
	URL    string
	listen string
	// entry is what its file says of its proxy.
	entry string
}

// placeProxySidecars gives each proxy a sidecar that is not started yet: the controllers' files name them.
func (s *Site) placeProxySidecars() error {
	if s.options.ProxySidecars == nil {
		return nil
	}
	place := func(proxy, entry string) error {
		name := "sc-" + proxy
		listen, err := s.Stack.SidecarListen(name)
		if err != nil {
			return err
		}
		s.ProxySidecars = append(s.ProxySidecars, &ProxySidecar{Name: name, Beside: proxy, URL: "http://" + listen,
			listen: listen, entry: entry})
		return nil
	}
	for _, p := range s.Proxies {
		entry := s.haproxyEntry(p)
		if !s.options.ProxySidecars.NoFile {
			entry += fmt.Sprintf(", file: %q", filepath.Join(s.Stack.Dir(), p.Name, "haproxy.cfg"))
		}
		if err := place(p.Name, "haproxy:\n  - {"+entry+"}\n"); err != nil {
			return err
		}
	}
	for _, p := range s.ProxySQLs {
		if err := place(p.Name, "proxysql:\n  - {"+s.proxySQLEntry(p)+"}\n"); err != nil {
			return err
		}
	}
	return nil
}

// haproxyEntry says how an HAProxy itself is reached.
func (s *Site) haproxyEntry(p *Proxy) string {
	entry := fmt.Sprintf("name: %s, cluster: %s, runtime: \"tcp://%s\", listen: \"%s\"", p.Name, ClusterName, p.Runtime, p.Listen)
	if p.Master != "" {
		entry += fmt.Sprintf(", master: \"tcp://%s\"", p.Master)
	}
	if s.options.Datacenters != nil {
		entry += ", datacenter: " + s.Datacenter(p.Name)
	}
	if p.Reads != "" {
		entry += fmt.Sprintf(", readers: {listen: %q, slots: 3}", p.Reads)
	}
	return entry
}

// proxySQLEntry says how a ProxySQL itself is reached.
func (s *Site) proxySQLEntry(p *ProxySQL) string {
	account := stack.ProxySQLAccount()
	entry := fmt.Sprintf("name: %s, cluster: %s, admin: \"%s:%d\", user: %s, password: %s, writer_hostgroup: %d",
		p.Name, ClusterName, p.host, stack.ProxySQLAdminPort, account.User, account.Password, WriterHostgroup)
	if s.options.Readers {
		entry += fmt.Sprintf(", reader_hostgroup: %d", ReaderHostgroup)
	}
	return entry
}

// entryFor is what the controllers' files say of a proxy: how it is reached itself, or by which sidecar.
func (s *Site) entryFor(proxy, direct string) string {
	if sidecar := s.ProxySidecar(proxy); sidecar != nil {
		return fmt.Sprintf("name: %s, cluster: %s, sidecar: %q", proxy, ClusterName, sidecar.URL)
	}
	return direct
}

// ProxySidecar is the one beside a proxy, nil where there is none.
func (s *Site) ProxySidecar(proxy string) *ProxySidecar {
	for _, sidecar := range s.ProxySidecars {
		if sidecar.Beside == proxy {
			return sidecar
		}
	}
	return nil
}

func (s *Site) startProxySidecars(ctx context.Context) error {
	for _, sidecar := range s.ProxySidecars {
		var err error
		if sidecar.Process, err = s.Stack.StartProcess(ctx, stack.ProcessSpec{Name: sidecar.Name, Path: s.options.Binary,
			Args: []string{"sidecar", "--config", "sidecar.yaml"}, Files: map[string]string{"sidecar.yaml": s.proxySidecarConfig(sidecar)},
		}); err != nil {
			return fmt.Errorf("%s: %w", sidecar.Name, err)
		}
	}
	return nil
}

// proxySidecarConfig writes one sidecar's configuration file.
func (s *Site) proxySidecarConfig(p *ProxySidecar) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\ndatacenter: %s\nstate_dir: state\nlisten: %q\nsecret: %q\nlog: {level: debug}\ncontrollers:\n",
		p.Name, s.Datacenter(p.Name), p.listen, stack.SidecarSecret)
	for _, c := range s.Controllers {
		fmt.Fprintf(&b, "  - {id: %s, http: %q}\n", c.ID, c.URL)
	}
	if !s.options.ProxySidecars.NoConsul {
		fmt.Fprintf(&b, "consul: {address: %q}\n", s.ConsulOf(p.Name).Address())
	}
	b.WriteString(p.entry + s.options.ProxySidecars.Extra)
	return b.String()
}
