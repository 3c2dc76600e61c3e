package proxysql_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	adapter "switchyard/integrations/proxysql"
	"switchyard/router/proxysql"
	"switchyard/router/routes"
)

var slot = proxysql.Slot{Hostgroup: 10, Reader: proxysql.NoReader, Weight: 1, MaxConnections: 500}

func newProxy(t *testing.T, change func(*adapter.Config)) *adapter.Proxy {
	t.Helper()
	config := adapter.Config{Name: "ps1", Cluster: "shop", Admin: "127.0.0.1:6032", User: "radmin", Password: "hush-4711", Slot: slot}
	change(&config)
	proxy, err := adapter.New(config, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return proxy
}

func tableOf(revision uint64, writer *routes.Server) routes.Table {
	return routes.Table{Cluster: "shop", Epoch: routes.Epoch{Generation: 1, Number: 1}, Revision: revision, Writer: writer}
}

func TestNewRefuses(t *testing.T) {
	good := adapter.Config{Name: "ps1", Cluster: "shop", Admin: "127.0.0.1:6032", User: "radmin", Slot: slot}
	for name, test := range map[string]struct {
		change func(*adapter.Config)
		want   string
	}{
		"name":    {func(c *adapter.Config) { c.Name = "" }, "name is empty"},
		"cluster": {func(c *adapter.Config) { c.Cluster = "" }, "cluster is empty"},
		"admin":   {func(c *adapter.Config) { c.Admin = "127.0.0.1" }, "HOST:PORT"},
		"port":    {func(c *adapter.Config) { c.Admin = "127.0.0.1:0" }, "1 to 65535"},
		"user":    {func(c *adapter.Config) { c.User = "" }, "admin-admin_credentials"},
		"slot":    {func(c *adapter.Config) { c.Slot.Weight = 0 }, "weight"},
		"drain":   {func(c *adapter.Config) { c.Drain = -1 }, "negative"},
		"timeout": {func(c *adapter.Config) { c.Timeout = -1 }, "negative"},
	} {
		config := good
		test.change(&config)
		if _, err := adapter.New(config, time.Now, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// TestRefusedIsNotHarmless: a ProxySQL that does not run comes back with what it has saved, and that was never read.
func TestRefusedIsNotHarmless(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	proxy := newProxy(t, func(c *adapter.Config) { c.Admin = admin })
	for name, call := range map[string]func(context.Context, routes.Table) (routes.Proof, error){
		"apply": proxy.Apply, "read": proxy.Read,
	} {
		_, err := call(t.Context(), tableOf(1, nil))
		if err == nil || errors.Is(err, routes.ErrNotRunning) || !strings.Contains(err.Error(), "was never read") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSilenceIsNotDeath(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	proxy := newProxy(t, func(c *adapter.Config) { c.Admin, c.Timeout = listener.Addr().String(), 50*time.Millisecond })
	if _, err := proxy.Apply(t.Context(), tableOf(1, nil)); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, routes.ErrNotRunning) {
		t.Errorf("%v, want a deadline exceeded", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	broken := errors.New("a push is more urgent")
	time.AfterFunc(10*time.Millisecond, func() { cancel(broken) })
	proxy = newProxy(t, func(c *adapter.Config) { c.Admin, c.Timeout = listener.Addr().String(), time.Minute })
	if _, err := proxy.Read(ctx, tableOf(1, nil)); !errors.Is(err, broken) {
		t.Errorf("%v, want the cause", err)
	}
}

// TestRubbishIsAnError: something else than ProxySQL answers.
func TestRubbishIsAnError(t *testing.T) {
	for _, rubbish := range []string{"", "HTTP/1.1 400 Bad Request\r\n\r\n", "\x05\x00\x00\x00\x0a5.5\x00", "\x01\x00\x00\x00\x0a",
		"\xff\xff\xff\x00" + strings.Repeat("x", 17<<20), "\x4a\x00\x00\x00\x0a5.5.30\x00\x01\x00\x00\x00abcdefgh\x00\xff\xff"} {
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
		proxy := newProxy(t, func(c *adapter.Config) { c.Admin = listener.Addr().String() })
		proof, err := proxy.Apply(t.Context(), tableOf(1, nil))
		if err == nil || proof.Holds || errors.Is(err, routes.ErrNotRunning) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%.20q: %+v, %v; want an error", rubbish, proof, err)
		}
		_ = listener.Close()
		<-done
	}
}

func TestTableOfAnotherClusterIsRefused(t *testing.T) {
	table := tableOf(1, nil)
	table.Cluster = "other"
	proxy := newProxy(t, func(*adapter.Config) {})
	if _, err := proxy.Apply(t.Context(), table); err == nil || !strings.Contains(err.Error(), "other") {
		t.Fatalf("Apply() = %v, want an error that names the cluster", err)
	}
}
