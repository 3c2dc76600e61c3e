package stack

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ConsulPort is the HTTP port of every Consul of a stack.
const ConsulPort = 8500

// Consul is a running Consul server of one datacenter. Its data survives a restart.
type Consul struct {
	*Process
	datacenter, address string
}

// StartConsul starts the one server of a Consul datacenter and waits until its key-value store takes writes.
func (s *Stack) StartConsul(ctx context.Context, datacenter string) (*Consul, error) {
	path, err := consulProgram(s.cache)
	if err != nil {
		return nil, err
	}
	name := "consul-" + datacenter
	ip, err := s.IPFor(name, 8300, 8301, 8302, ConsulPort, 8502, 8503, 8600)
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`node_name = %q
datacenter = %q
data_dir = %q
bind_addr = %q
client_addr = %q
server = true
bootstrap_expect = 1
disable_update_check = true
leave_on_terminate = false
performance { raft_multiplier = 1 }
log_level = "warn"
`, name, datacenter, filepath.Join(s.dir, name, "data"), ip, ip)
	process, err := s.prepare(ProcessSpec{Name: name, Path: path,
		Args: []string{"agent", "-config-file=consul.hcl"}, Files: map[string]string{"consul.hcl": config}})
	if err != nil {
		return nil, err
	}
	consul := &Consul{Process: process, datacenter: datacenter, address: "http://" + net.JoinHostPort(ip, strconv.Itoa(ConsulPort))}
	return consul, consul.Start(ctx)
}

// Address is the URL of Consul's HTTP API, as clients take it: http://host:port.
func (c *Consul) Address() string { return c.address }

// Datacenter is the one whose only server it is.
func (c *Consul) Datacenter() string { return c.datacenter }

// Start starts Consul (again, on the same address) and waits until it has a leader and takes writes.
func (c *Consul) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := c.Wait(ctx); err != nil {
		return err
	}
	if err := c.Process.Start(ctx); err != nil {
		return err
	}
	return c.WaitFor(ctx, "ready", func(ctx context.Context) error {
		answer, err := c.request(ctx, http.MethodPut, "switchyard-stack/ready", "1")
		if err == nil && strings.TrimSpace(answer) != "true" {
			err = fmt.Errorf("write answered %q", answer)
		}
		return err
	})
}

// Restart stops Consul and starts it again on the same address with the same data.
func (c *Consul) Restart(ctx context.Context) error {
	if err := c.Stop(ctx); err != nil {
		return err
	}
	return c.Start(ctx)
}

// Get reads one key as it is stored; a missing key is an error.
func (c *Consul) Get(ctx context.Context, key string) (string, error) {
	return c.request(ctx, http.MethodGet, key+"?raw", "")
}

func (c *Consul) request(ctx context.Context, method, key, body string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.address+"/v1/kv/"+key, strings.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("consul %s %s: %w", method, key, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("consul: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("consul %s %s: %w", method, key, err)
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("consul %s %s: %s: %s", method, key, response.Status, strings.TrimSpace(string(answer)))
	}
	return string(answer), nil
}
