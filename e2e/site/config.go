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
	fmt.Fprintf(&b, "name: site\nid: %s\ndatacenter: dc1\ndata_dir: data\nsecret: loopback-only\ncontrollers:\n", self.ID)
	for _, c := range s.Controllers {
		u, err := url.Parse(c.URL)
		if err != nil {
			panic(err) // the URL was made here
		}
		fmt.Fprintf(&b, "  - {id: %s, raft: \"%s:7401\", http: \"%s\"}\n", c.ID, u.Hostname(), c.URL)
	}
	// MySQL 5.6 offers a TLS that today's clients refuse.
	fmt.Fprintf(&b, "mysql:\n  user: %s\n  password: %s\n  tls: {mode: disabled}\n  replication: {user: %s, password: %s}\n",
		control.User, control.Password, repl.User, repl.Password)
	seeds := fmt.Sprintf("%q", s.DB.Master.Key())
	if s.options.SeedConsul {
		seeds += fmt.Sprintf(", %q", strings.TrimPrefix(s.Consul.Address(), "http://"))
	}
	fmt.Fprintf(&b, "clusters:\n  - name: %s\n    seeds: [%s]\n", ClusterName, seeds)
	for line := range strings.SplitSeq(strings.TrimSpace(s.options.Rules), "\n") {
		if line != "" {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	fmt.Fprintf(&b, "recovery: %s\n", s.options.Recovery)
	fmt.Fprintf(&b, "consul:\n  - {datacenter: dc1, address: \"%s\"}\n", s.Consul.Address())
	b.WriteString("haproxy:\n")
	for _, p := range s.Proxies {
		fmt.Fprintf(&b, "  - {name: %s, cluster: %s, runtime: \"tcp://%s\", listen: \"%s\"}\n",
			p.Name, ClusterName, p.Runtime, p.Listen)
	}
	return b.String()
}

// proxyConfig asks the product for the proxy's configuration, as an operator would.
func (s *Site) proxyConfig(ctx context.Context, p *Proxy) (string, error) {
	file := filepath.Join(s.Stack.Dir(), p.Name+"-switchyard.yaml")
	if err := os.WriteFile(file, []byte(s.Controllers[0].Config), 0o600); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, s.options.Binary, "haproxy", "config", ClusterName, "--config", file, "--name", p.Name)
	var problem strings.Builder
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args[1:], " "), err, problem.String())
	}
	return string(out), nil
}
