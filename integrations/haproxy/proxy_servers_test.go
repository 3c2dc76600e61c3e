//go:build servers

package haproxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"switchyard/e2e/stack"
	adapter "switchyard/integrations/haproxy"
	"switchyard/router/haproxy"
	"switchyard/router/routes"
)

// site is one HAProxy and two servers that greet with their address, as MySQL
// does with its version.
type site struct {
	stack    *stack.Stack
	proxy    *stack.HAProxy
	config   haproxy.WriterConfig
	entrance string
	a, b     string
}

func newSite(t *testing.T, change func(*haproxy.WriterConfig)) (*site, context.Context) {
	t.Helper()
	one, ctx, text := prepare(t, change)
	var err error
	one.proxy, err = one.stack.StartHAProxy(ctx, "haproxy", text)
	must(t, err)
	return one, ctx
}

// prepare makes all of a site but its HAProxy, whose configuration it returns.
func prepare(t *testing.T, change func(*haproxy.WriterConfig)) (*site, context.Context, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	s, err := stack.New(ctx, stack.Options{Log: t.Logf})
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the stack: %v", err)
		}
	})
	ip, err := s.IP(3306, 9999)
	must(t, err)
	one := &site{stack: s, entrance: ip + ":3306", a: greeter(t, s), b: greeter(t, s)}
	one.config = haproxy.WriterConfig{Cluster: "shop", Bind: one.entrance, Backend: slot,
		Runtime: haproxy.Target{Network: "tcp", Address: ip + ":9999"}}
	change(&one.config)
	text, err := adapter.Render(one.config)
	must(t, err)
	return one, ctx, text
}

func haproxyPath(t *testing.T) string {
	t.Helper()
	path, err := stack.HAProxyProgram()
	must(t, err)
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// greeter is a server that says its address to whoever connects and then keeps
// the connection until the client closes it.
func greeter(t *testing.T, s *stack.Stack) string {
	t.Helper()
	ip, err := s.IP(3306)
	must(t, err)
	listener, err := net.Listen("tcp", ip+":3306")
	must(t, err)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, listener.Addr().String()+"\n")
				_, _ = io.Copy(io.Discard, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		conns.Wait()
	})
	return listener.Addr().String()
}

// client connects through the entrance and returns whom it reached; "" when it
// was turned away.
func client(t *testing.T, entrance string) (net.Conn, string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", entrance, 30*time.Second)
	if err != nil {
		return nil, ""
	}
	t.Cleanup(func() { _ = conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	greeting := make([]byte, 64)
	n, err := conn.Read(greeting)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("neither served nor turned away")
	}
	return conn, strings.TrimSpace(string(greeting[:n]))
}

// ended waits until the other end has closed the connection.
func ended(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

// alive reports whether nothing has happened to the connection.
func alive(conn net.Conn) bool {
	if err := conn.SetDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		return false
	}
	_, err := conn.Read(make([]byte, 1))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

func (s *site) adapter(t *testing.T, change func(*adapter.Config)) *adapter.Proxy {
	t.Helper()
	return newProxy(t, func(c *adapter.Config) {
		c.Target = s.config.Runtime.String()
		c.Timeout = 30 * time.Second
		change(c)
	})
}

func (s *site) runtime(t *testing.T, command string) string {
	t.Helper()
	conn, err := net.Dial(s.config.Runtime.Network, s.config.Runtime.Address)
	must(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, command+"\n")
	must(t, err)
	answer, err := io.ReadAll(conn)
	must(t, err)
	return string(answer)
}

func same(*adapter.Config)                 {}
func unchanged(*haproxy.WriterConfig)      {}
func holds(p routes.Proof, err error) bool { return err == nil && p.Holds }

func TestHAProxyAcceptsTheConfiguration(t *testing.T) {
	configs := map[string]haproxy.WriterConfig{
		"tcp":  {Bind: "*:3306", Runtime: haproxy.Target{Network: "tcp", Address: "127.0.0.1:9999"}},
		"ipv6": {Bind: "[::1]:3306", Runtime: haproxy.Target{Network: "tcp", Address: "[::1]:9999"}, MaxConn: 50},
		"unix": {Bind: "10.0.0.1:3306", Runtime: haproxy.Target{Network: "unix", Address: "/run/haproxy/admin.sock"}},
	}
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			config.Cluster, config.Backend = "shop", slot
			text, err := adapter.Render(config)
			must(t, err)
			path := filepath.Join(t.TempDir(), "haproxy.cfg")
			must(t, os.WriteFile(path, []byte(text), 0o600))
			output, err := exec.CommandContext(t.Context(), haproxyPath(t), "-c", "-f", path).CombinedOutput()
			if err != nil || strings.Contains(string(output), "WARNING") {
				t.Fatalf("haproxy -c: %v\n%s", err, output)
			}
		})
	}
}

func TestProxyThatWasNotToldServesNobody(t *testing.T) {
	site, ctx := newSite(t, unchanged)
	proxy := site.adapter(t, same)
	if _, who := client(t, site.entrance); who != "" {
		t.Fatalf("it led to %s", who)
	}
	if proof, err := proxy.Read(ctx, tableOf(1, "")); !holds(proof, err) || proof.Serving || proof.Sessions != 0 {
		t.Fatalf("Read() = %+v, %v", proof, err)
	}
	announced := tableOf(2, site.a)
	if proof, err := proxy.Read(ctx, announced); err != nil || proof.Holds {
		t.Fatalf("it claims to hold what it was never told: %+v, %v", proof, err)
	}
	if proof, err := proxy.Apply(ctx, announced); !holds(proof, err) {
		t.Fatalf("Apply() = %+v, %v", proof, err)
	}
	must(t, site.proxy.Restart(ctx))
	if _, who := client(t, site.entrance); who != "" {
		t.Fatalf("restarted, it led to %s before it was told", who)
	}
}

func TestMasterMoves(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			site, ctx := newSite(t, func(c *haproxy.WriterConfig) {
				if network == "unix" {
					c.Runtime = haproxy.Target{Network: "unix", Address: filepath.Join(t.TempDir(), "s")}
				}
			})
			proxy := site.adapter(t, same)
			proof, err := proxy.Apply(ctx, tableOf(1, site.a))
			if !holds(proof, err) || !proof.Serving || proof.Address.String() != site.a {
				t.Fatalf("Apply() = %+v, %v", proof, err)
			}
			old := crowd(t, site, site.a)

			proof, err = proxy.Apply(ctx, tableOf(1, site.a))
			if !holds(proof, err) || proof.Sessions != len(old) {
				t.Fatalf("the same table again: %+v, %v; want %d sessions", proof, err, len(old))
			}
			if !alive(old[0]) || !alive(old[len(old)-1]) {
				t.Fatal("the same table again killed a session")
			}

			proof, err = proxy.Apply(ctx, tableOf(2, site.b))
			if !holds(proof, err) || proof.Address.String() != site.b {
				t.Fatalf("Apply() = %+v, %v", proof, err)
			}
			for _, conn := range old {
				must(t, ended(conn))
			}
			later := crowd(t, site, site.b)

			proof, err = proxy.Apply(ctx, tableOf(3, ""))
			if !holds(proof, err) || proof.Serving || proof.Sessions != 0 {
				t.Fatalf("withdraw: %+v, %v", proof, err)
			}
			for _, conn := range later {
				must(t, ended(conn))
			}
			if _, who := client(t, site.entrance); who != "" {
				t.Fatalf("withdrawn, it led to %s", who)
			}
		})
	}
}

func crowd(t *testing.T, site *site, want string) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, 100)
	for i := range conns {
		conn, who := client(t, site.entrance)
		if who != want {
			t.Fatalf("connection %d led to %q, want %s", i, who, want)
		}
		conns[i] = conn
	}
	return conns
}

// TestNobodyReachesTheOldMasterAfterwards moves the master to and fro under
// clients that connect without a pause.
func TestNobodyReachesTheOldMasterAfterwards(t *testing.T) {
	site, ctx := newSite(t, unchanged)
	proxy := site.adapter(t, same)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	defer clients.Wait()
	defer close(stop)
	for range 8 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if conn, err := net.DialTimeout("tcp", site.entrance, time.Second); err == nil {
					_ = conn.SetDeadline(time.Now().Add(time.Second))
					_, _ = conn.Read(make([]byte, 64))
					_ = conn.Close()
				}
			}
		})
	}
	for i := range 50 {
		now := []string{site.a, site.b}[i%2]
		if proof, err := proxy.Apply(ctx, tableOf(uint64(2*i+1), "")); !holds(proof, err) || proof.Sessions != 0 {
			t.Fatalf("withdraw: %+v, %v", proof, err)
		}
		if _, who := client(t, site.entrance); who != "" {
			t.Fatalf("round %d: withdrawn, it led to %s", i, who)
		}
		if proof, err := proxy.Apply(ctx, tableOf(uint64(2*i+2), now)); !holds(proof, err) {
			t.Fatalf("announce: %+v, %v", proof, err)
		}
		if _, who := client(t, site.entrance); who != now {
			t.Fatalf("round %d: it led to %q, want %s", i, who, now)
		}
	}
}

func TestSessionsOnTheirWayToADeadHostAreEnded(t *testing.T) {
	site, ctx := newSite(t, unchanged)
	proxy := site.adapter(t, same)
	ip, err := site.stack.IP(3306)
	must(t, err)
	// A listener with a full queue answers no connection: HAProxy hangs in connect.
	full := fullListener(t, ip+":3306")
	if proof, err := proxy.Apply(ctx, tableOf(1, full)); !holds(proof, err) {
		t.Fatalf("Apply() = %+v, %v", proof, err)
	}
	conn, err := net.Dial("tcp", site.entrance)
	must(t, err)
	defer func() { _ = conn.Close() }()
	waitFor(t, ctx, func() bool {
		proof, err := proxy.Read(ctx, tableOf(1, full))
		return err == nil && proof.Sessions == 1
	})
	if proof, err := proxy.Apply(ctx, tableOf(2, "")); !holds(proof, err) || proof.Sessions != 0 {
		t.Fatalf("withdraw: %+v, %v", proof, err)
	}
	must(t, ended(conn))
}

// fullListener listens and never accepts; its queue is filled.
func fullListener(t *testing.T, address string) string {
	t.Helper()
	at := netip.MustParseAddrPort(address)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	must(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	must(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}))
	must(t, syscall.Listen(fd, 0))
	// A queue of length 0 has room for one.
	conn, err := net.DialTimeout("tcp", address, time.Second)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return address
}

func waitFor(t *testing.T, ctx context.Context, reached func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !reached() {
		select {
		case <-ctx.Done():
			t.Fatal("not reached")
		case <-ticker.C:
		}
	}
}

func TestDriftIsSeenAndRepaired(t *testing.T) {
	site, ctx := newSite(t, unchanged)
	proxy := site.adapter(t, same)
	table := tableOf(1, site.a)
	other := netip.MustParseAddrPort(site.b)
	for _, command := range []string{
		fmt.Sprintf("set server %s addr %s port %d", slot, other.Addr(), other.Port()),
		fmt.Sprintf("set server %s state maint", slot),
		fmt.Sprintf("set server %s state drain", slot),
		fmt.Sprintf("set server %s addr %s port 1", slot, netip.MustParseAddrPort(site.a).Addr()),
	} {
		if proof, err := proxy.Apply(ctx, table); !holds(proof, err) {
			t.Fatalf("Apply() = %+v, %v", proof, err)
		}
		site.runtime(t, command)
		waitFor(t, ctx, func() bool {
			proof, err := proxy.Read(ctx, table)
			return err == nil && !proof.Holds
		})
		if proof, err := proxy.Apply(ctx, table); !holds(proof, err) {
			t.Fatalf("%s: not repaired: %+v, %v", command, proof, err)
		}
		if _, who := client(t, site.entrance); who != site.a {
			t.Fatalf("%s: repaired, it led to %q", command, who)
		}
	}
}

func TestRefusalsNameTheCommand(t *testing.T) {
	site, ctx := newSite(t, unchanged)
	tests := []struct {
		name string
		slot haproxy.Backend
		want string
	}{
		{"backend", haproxy.Backend{Backend: "none", Server: "master"}, "No such backend"},
		{"server", haproxy.Backend{Backend: slot.Backend, Server: "none"}, "No such server"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			proxy := site.adapter(t, func(c *adapter.Config) { c.Backend = test.slot })
			proof, err := proxy.Apply(ctx, tableOf(1, ""))
			var refused *haproxy.RefusedError
			if !errors.As(err, &refused) || !strings.Contains(refused.Answer, test.want) || proof.Holds {
				t.Fatalf("Apply() = %+v, %v; want %q", proof, err, test.want)
			}
			if _, err := proxy.Apply(ctx, tableOf(1, site.a)); err == nil || errors.Is(err, routes.ErrNotRunning) {
				t.Fatalf("announce: %v", err)
			}
		})
	}
}

func TestReadOnlyRuntimeAPIIsAnError(t *testing.T) {
	site, ctx := newSite(t, unchanged)
	ip, err := site.stack.IP(3306, 9999)
	must(t, err)
	config := site.config
	config.Bind, config.Runtime.Address = ip+":3306", ip+":9999"
	text, err := adapter.Render(config)
	must(t, err)
	_, err = site.stack.StartHAProxy(ctx, "operator", strings.ReplaceAll(text, "level admin", "level operator"))
	must(t, err)
	proxy := site.adapter(t, func(c *adapter.Config) { c.Target = "tcp://" + ip + ":9999" })
	if _, err := proxy.Apply(ctx, tableOf(1, "")); err == nil || !strings.Contains(err.Error(), "Permission denied") {
		t.Fatalf("Apply() = %v, want Permission denied", err)
	}
}

func TestDeadAndFrozenProxiesAreToldApart(t *testing.T) {
	site, ctx := newSite(t, unchanged)
	proxy := site.adapter(t, func(c *adapter.Config) { c.Timeout = 3 * time.Second })
	table := tableOf(1, site.a)
	if proof, err := proxy.Apply(ctx, table); !holds(proof, err) {
		t.Fatalf("Apply() = %+v, %v", proof, err)
	}
	must(t, site.proxy.Freeze())
	began := time.Now()
	_, err := proxy.Apply(ctx, tableOf(2, ""))
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, routes.ErrNotRunning) {
		t.Errorf("frozen: %v, want a deadline exceeded", err)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %s to give up on a frozen proxy", took)
	}
	must(t, site.proxy.Thaw())
	// What it was sent before it froze has not been carried out halfway: a
	// withdrawal may be complete by now, or not begun.
	if proof, err := proxy.Apply(ctx, tableOf(2, "")); !holds(proof, err) {
		t.Fatalf("thawed: %+v, %v", proof, err)
	}
	must(t, site.proxy.Kill())
	must(t, site.proxy.Wait(ctx))
	if _, err := proxy.Apply(ctx, table); !errors.Is(err, routes.ErrNotRunning) {
		t.Errorf("dead: %v, want ErrNotRunning", err)
	}
}

func TestHostNamesAreResolved(t *testing.T) {
	site, ctx := newSite(t, unchanged)
	at := netip.MustParseAddrPort(site.a)
	var asked []string
	proxy := site.adapter(t, func(c *adapter.Config) {
		c.Lookup = func(_ context.Context, _, host string) ([]netip.Addr, error) {
			asked = append(asked, host)
			return []netip.Addr{netip.MustParseAddr("fd00::1"), at.Addr()}, nil
		}
	})
	table := tableOf(1, site.a)
	table.Writer.Host = "db1.example"
	for range 3 {
		if proof, err := proxy.Apply(ctx, table); !holds(proof, err) || proof.Address != at {
			t.Fatalf("Apply() = %+v, %v", proof, err)
		}
	}
	if !slices.Equal(asked, []string{"db1.example"}) {
		t.Errorf("the resolver was asked for %v", asked)
	}
}

// TestMoveIsQuick logs what a move costs; the bound is loose, since the machine
// does other things too.
func TestMoveIsQuick(t *testing.T) {
	site, ctx := newSite(t, unchanged)
	proxy := site.adapter(t, same)
	var took []time.Duration
	for i := range 10 {
		crowd(t, site, site.served(t, ctx, proxy, i))
		began := time.Now()
		if proof, err := proxy.Apply(ctx, tableOf(uint64(i+1), "")); !holds(proof, err) {
			t.Fatalf("Apply() = %+v, %v", proof, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("withdraw with 100 sessions: median %s, worst %s", took[len(took)/2], took[len(took)-1])
	if good := took[len(took)/4]; good > 2*time.Second {
		t.Errorf("three withdrawals in four take more than %s", good)
	}
}

func (s *site) served(t *testing.T, ctx context.Context, proxy *adapter.Proxy, revision int) string {
	t.Helper()
	began := time.Now()
	if proof, err := proxy.Apply(ctx, tableOf(uint64(revision+1), s.a)); !holds(proof, err) {
		t.Fatalf("Apply() = %+v, %v", proof, err)
	}
	t.Logf("announce: %s", time.Since(began))
	return s.a
}
