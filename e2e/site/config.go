package site

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"switchyard/e2e/stack"
)

// config writes one controller's configuration file.
func (s *Site) config(self *Controller) string {
	var b strings.Builder
	control, repl := stack.ControllerAccount(), stack.ReplicationAccount()
	fmt.Fprintf(&b, "name: site\nid: %s\ndatacenter: %s\ndata_dir: data\nsecret: loopback-only\ncontrollers:\n", self.ID, s.Datacenter(self.ID))
	for _, c := range s.Controllers {
		u, err := url.Parse(c.URL)
		if err != nil {
			panic(err) // the URL was made here
		}
		fmt.Fprintf(&b, "  - {id: %s, raft: \"%s:7401\", http: \"%s\", datacenter: %s}\n", c.ID, u.Hostname(), c.URL,
			s.Datacenter(c.ID))
	}
	settings, rules := s.options.Extra, s.options.Rules
	if s.options.Configure != nil {
		more, own := s.options.Configure(s.DB)
		settings, rules = settings+"\n"+more, rules+"\n"+own
	}
	b.WriteString(strings.TrimSpace(settings) + "\n")
	b.WriteString(s.placesConfig() + s.secureConfig(self))
	b.WriteString(s.sidecarConfig())
	// MySQL 5.6 offers a TLS that today's clients refuse.
	fmt.Fprintf(&b, "mysql:\n  user: %s\n  password: %s\n  tls: {mode: disabled}\n  replication: {user: %s, password: %s}\n",
		control.User, control.Password, repl.User, repl.Password)
	if s.options.WriteProbe {
		b.WriteString("  write_probe: {enabled: true, interval: 200ms, timeout: 1s}\n")
	}
	indent(&b, "  ", s.options.MySQL)
	seeds := fmt.Sprintf("%q", s.DB.Master.Key())
	if s.options.SeedConsul {
		seeds += fmt.Sprintf(", %q", strings.TrimPrefix(s.Consul.Address(), "http://"))
	}
	fmt.Fprintf(&b, "clusters:\n  - name: %s\n    seeds: [%s]\n", ClusterName, seeds)
	indent(&b, "    ", rules)
	fmt.Fprintf(&b, "recovery: %s\n", s.options.Recovery)
	b.WriteString("consul:\n")
	for _, c := range s.Consuls {
		fmt.Fprintf(&b, "  - {datacenter: %s, address: %q}\n", c.Datacenter(), c.Address())
	}
	b.WriteString("haproxy:\n")
	for _, p := range s.Proxies {
		fmt.Fprintf(&b, "  - {%s}\n", s.entryFor(p.Name, s.haproxyEntry(p)))
	}
	if len(s.ProxySQLs) > 0 {
		b.WriteString("proxysql:\n")
	}
	for _, p := range s.ProxySQLs {
		fmt.Fprintf(&b, "  - {%s}\n", s.entryFor(p.Name, s.proxySQLEntry(p)))
	}
	return b.String()
}

// indent writes the lines of a text below the key that was written last.
func indent(b *strings.Builder, by, text string) {
	for line := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		if line != "" {
			b.WriteString(by + line + "\n")
		}
	}
}

// proxyConfig asks the product for the proxy's configuration, as an operator would. The script that belongs to it stays
// where it was written.
func (s *Site) proxyConfig(ctx context.Context, p *Proxy) (string, error) {
	file := filepath.Join(s.Stack.Dir(), p.Name+"-switchyard.yaml")
	text, kind := s.Controllers[0].Config, []string{}
	if sidecar := s.ProxySidecar(p.Name); sidecar != nil {
		text, kind = s.proxySidecarConfig(sidecar), []string{"--sidecar"}
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return "", err
	}
	dir := filepath.Join(s.Stack.Dir(), p.Name+"-config")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, s.options.Binary, append([]string{"haproxy", "config", ClusterName, "--config", file, "--name", p.Name,
		"--out", dir}, kind...)...)
	var problem strings.Builder
	cmd.Stderr = &problem
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args[1:], " "), err, problem.String())
	}
	made, err := os.ReadFile(filepath.Join(dir, "haproxy.cfg"))
	return string(made), err
}
