package haproxy_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	adapter "switchyard/integrations/haproxy"
	"switchyard/router/haproxy"
	"switchyard/router/routes"
)

var slot = haproxy.Backend{Backend: "shop_writer", Server: "master"}

func newProxy(t *testing.T, change func(*adapter.Config)) *adapter.Proxy {
	t.Helper()
	config := adapter.Config{Name: "proxy1", Cluster: "shop", Target: "tcp://127.0.0.1:9999", Backend: slot}
	change(&config)
	proxy, err := adapter.New(config, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return proxy
}

func tableOf(revision uint64, writer string) routes.Table {
	table := routes.Table{Cluster: "shop", Epoch: routes.Epoch{Generation: 1, Number: 1}, Revision: revision}
	if writer != "" {
		at := netip.MustParseAddrPort(writer)
		table.Writer = &routes.Server{Host: at.Addr().String(), Port: at.Port()}
	}
	return table
}

func TestNewRefuses(t *testing.T) {
	good := adapter.Config{Name: "proxy1", Cluster: "shop", Target: "tcp://127.0.0.1:9999", Backend: slot}
	tests := []struct {
		name   string
		change func(*adapter.Config)
		want   string
	}{
		{"name", func(c *adapter.Config) { c.Name = "" }, "name is empty"},
		{"cluster", func(c *adapter.Config) { c.Cluster = "" }, "cluster is empty"},
		{"target", func(c *adapter.Config) { c.Target = "127.0.0.1:9999" }, "tcp://HOST:PORT"},
		{"backend", func(c *adapter.Config) { c.Backend.Backend = "a;b" }, "';' is not allowed"},
		{"master", func(c *adapter.Config) { c.Master = "127.0.0.1" }, "master"},
		{"timeout", func(c *adapter.Config) { c.Timeout = -time.Second }, "negative"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := good
			test.change(&config)
			_, err := adapter.New(config, time.Now, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("New() = %v, want an error with %q", err, test.want)
			}
		})
	}
}

// TestNobodyListens needs no HAProxy: a port on which nobody listens is what a
// dead one leaves behind.
func TestNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	proxy := newProxy(t, func(c *adapter.Config) { c.Target = "tcp://" + target })
	for name, call := range map[string]func(context.Context, routes.Table) (routes.Proof, error){
		"apply": proxy.Apply, "read": proxy.Read,
	} {
		if _, err := call(t.Context(), tableOf(1, "")); !errors.Is(err, routes.ErrNotRunning) {
			t.Errorf("%s: %v, want ErrNotRunning", name, err)
		}
	}
}

// TestSilenceIsNotDeath: what accepts and does not answer is not proven dead.
func TestSilenceIsNotDeath(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	proxy := newProxy(t, func(c *adapter.Config) {
		c.Target, c.Timeout = "tcp://"+listener.Addr().String(), 50*time.Millisecond
	})
	_, err = proxy.Apply(t.Context(), tableOf(1, ""))
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, routes.ErrNotRunning) {
		t.Errorf("silent: %v, want a deadline exceeded", err)
	}
	missing := newProxy(t, func(c *adapter.Config) { c.Target = "unix://" + filepath.Join(t.TempDir(), "none.sock") })
	if _, err := missing.Apply(t.Context(), tableOf(1, "")); err == nil || errors.Is(err, routes.ErrNotRunning) {
		t.Errorf("no such socket: %v, want an error that is not ErrNotRunning", err)
	}
}

// TestRubbishIsAnError: something else than HAProxy answers.
func TestRubbishIsAnError(t *testing.T) {
	for _, rubbish := range []string{"HTTP/1.1 400 Bad Request\r\n\r\n", strings.Repeat("x ", 5<<20), "\n> \n> \n> \n> \n> "} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if conn, err := listener.Accept(); err == nil {
				_, _ = conn.Write([]byte(rubbish))
				_ = conn.Close()
			}
		}()
		proxy := newProxy(t, func(c *adapter.Config) { c.Target = "tcp://" + listener.Addr().String() })
		proof, err := proxy.Apply(t.Context(), tableOf(1, ""))
		if err == nil || proof.Holds || errors.Is(err, routes.ErrNotRunning) {
			t.Errorf("%.20q: %+v, %v; want an error", rubbish, proof, err)
		}
		_ = listener.Close()
		<-done
	}
}

func TestTableOfAnotherClusterIsRefused(t *testing.T) {
	table := tableOf(1, "10.0.0.1:3306")
	table.Cluster = "other"
	proxy := newProxy(t, func(*adapter.Config) {})
	if _, err := proxy.Apply(t.Context(), table); err == nil || !strings.Contains(err.Error(), "other") {
		t.Fatalf("Apply() = %v, want an error that names the cluster", err)
	}
}

func TestHostThatDoesNotResolve(t *testing.T) {
	tests := []struct {
		name   string
		lookup adapter.Lookup
		want   string
	}{
		{"error", func(context.Context, string, string) ([]netip.Addr, error) {
			return nil, errors.New("no such host")
		}, "no such host"},
		{"nothing", func(context.Context, string, string) ([]netip.Addr, error) { return nil, nil }, "no address"},
		{"slow", func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, "deadline exceeded"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			proxy := newProxy(t, func(c *adapter.Config) { c.Lookup, c.Timeout = test.lookup, 2*time.Second })
			table := tableOf(1, "10.0.0.1:3306")
			table.Writer.Host = "db1.example"
			_, err := proxy.Apply(t.Context(), table)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "db1.example") {
				t.Fatalf("Apply() = %v, want an error with %q and the host", err, test.want)
			}
		})
	}
}

func TestRender(t *testing.T) {
	config := haproxy.WriterConfig{Cluster: "shop", Bind: "*:3306", Backend: slot,
		Runtime: haproxy.Target{Network: "tcp", Address: "127.0.0.1:9999"}}
	text, err := adapter.Render(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# The writer entrance of cluster shop, made by: switchyard haproxy config shop\n",
		"\n  stats socket ipv4@127.0.0.1:9999 level admin\n",
		"\nfrontend shop_writer.in from mysql\n",
		"\n  # No health check: who is master",
		"\n  server master 192.0.2.1:3306 disabled on-marked-down shutdown-sessions\n",
	} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is not in it once:\n%s", want, text)
		}
	}
	again, err := adapter.Render(config)
	if err != nil || again != text {
		t.Errorf("the same configuration is written in two ways (%v)", err)
	}
	config.Bind = "nowhere"
	if _, err := adapter.Render(config); err == nil {
		t.Error("a configuration that is not valid was written")
	}
}
