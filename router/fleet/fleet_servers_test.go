//go:build servers

package fleet_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/e2e/stack"
	adapter "switchyard/integrations/haproxy"
	"switchyard/router/fleet"
	"switchyard/router/haproxy"
	"switchyard/router/routes"
)

var slot = haproxy.Backend{Backend: "shop_writer", Server: "master"}

// yard is a fleet of real HAProxies, and a server behind them that greets.
type yard struct {
	stack     *stack.Stack
	haproxies []*stack.HAProxy
	proxies   []fleet.Proxy
	entrances []string
	runtimes  []string
}

func newYard(t *testing.T, count int) (*yard, context.Context) {
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
	y := &yard{stack: s}
	for i := range count {
		ip, err := s.IP(3306, 9999)
		must(t, err)
		name := fmt.Sprintf("haproxy%d", i+1)
		text, err := adapter.Render(haproxy.WriterConfig{Cluster: "shop", Bind: ip + ":3306", Backend: slot, MaxConn: 200,
			Runtime: haproxy.Target{Network: "tcp", Address: ip + ":9999"}})
		must(t, err)
		process, err := s.StartHAProxy(ctx, name, text)
		must(t, err)
		proxy, err := adapter.New(adapter.Config{Name: name, Cluster: "shop", Target: "tcp://" + ip + ":9999",
			Backend: slot}, time.Now, slog.New(slog.DiscardHandler))
		must(t, err)
		y.haproxies, y.proxies = append(y.haproxies, process), append(y.proxies, proxy)
		y.entrances, y.runtimes = append(y.entrances, ip+":3306"), append(y.runtimes, ip+":9999")
	}
	return y, ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// master listens on an address of its own, says hello, and hangs up.
func (y *yard) master(t *testing.T) *routes.Server {
	t.Helper()
	ip, err := y.stack.IP(3306)
	must(t, err)
	listener, err := net.Listen("tcp", ip+":3306")
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, ip)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return &routes.Server{Host: ip, Port: 3306}
}

// reached returns the master that an entrance leads to, "" for none.
func reached(entrance string) string {
	conn, err := net.DialTimeout("tcp", entrance, time.Second)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	greeting, _ := io.ReadAll(conn)
	return string(greeting)
}

// patience is how long a condition may take; it is only used up by failures.
const patience = 2 * time.Minute

func waitFor(t *testing.T, what string, reached func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !reached() {
		if time.Since(began) > patience {
			t.Fatalf("%s: not reached in %s", what, patience)
		}
		<-ticker.C
	}
	return time.Since(began)
}

func answers(receipts []routes.Receipt) []routes.Answer {
	var list []routes.Answer
	for _, receipt := range receipts {
		list = append(list, receipt.Answer)
	}
	return list
}

func TestRealFleetFollows(t *testing.T) {
	y, ctx := newYard(t, 3)
	first := table(1, 1)
	first.Writer = y.master(t)
	ledger := newBook(first)
	f := newFleet(t, ledger, y.proxies...)
	defer keep(t, f)()

	for _, entrance := range y.entrances {
		waitFor(t, "served at first", func() bool { return reached(entrance) == first.Writer.Host })
	}
	waitFor(t, "confirmed", func() bool { return len(ledger.confirmations()) == 3 })

	t.Run("restarted", func(t *testing.T) {
		must(t, y.haproxies[0].Restart(ctx))
		took := waitFor(t, "served again", func() bool { return reached(y.entrances[0]) == first.Writer.Host })
		t.Logf("a restarted HAProxy was served after %s", took)
	})
	t.Run("changed by hand", func(t *testing.T) {
		conn, err := net.Dial("tcp", y.runtimes[1])
		must(t, err)
		_, err = io.WriteString(conn, "set server "+slot.String()+" state maint\n")
		must(t, err)
		_, err = io.ReadAll(conn)
		must(t, err)
		must(t, conn.Close())
		waitFor(t, "repaired", func() bool { return reached(y.entrances[1]) == first.Writer.Host })
	})
	t.Run("one frozen and one dead", func(t *testing.T) {
		// The keeper must not bring back what is withdrawn: the ledger goes first.
		withdrawn, second := table(2, 1), table(2, 2)
		withdrawn.Writer, second.Writer = nil, y.master(t)
		ledger.set(func(b *book) { b.table = withdrawn })
		must(t, y.haproxies[1].Freeze())
		must(t, y.haproxies[2].Kill())
		must(t, y.haproxies[2].Wait(ctx))
		want := []routes.Answer{routes.Confirmed, routes.Unknown, routes.Down}
		// A push has little time, which a busy machine may use up.
		told := func(what string, table routes.Table) {
			waitFor(t, what, func() bool { return slices.Equal(answers(f.Push(ctx, table)), want) })
		}
		told("withdrawn", withdrawn)
		if who := reached(y.entrances[0]); who != "" {
			t.Fatalf("withdrawn, it led to %s", who)
		}
		ledger.set(func(b *book) { b.table = second })
		told("announced", second)
		must(t, y.haproxies[1].Thaw())
		must(t, y.haproxies[2].Start(ctx))
		for _, entrance := range y.entrances {
			waitFor(t, "all moved", func() bool { return reached(entrance) == second.Writer.Host })
		}
		waitFor(t, "all confirmed", func() bool {
			return strings.Count(fmt.Sprint(ledger.confirmations()), "1.2/2") == 3
		})
	})
}

// TestRealFleetMovesQuickly logs what all proxies together cost; the bound is
// loose, since the machine does other things too.
func TestRealFleetMovesQuickly(t *testing.T) {
	y, ctx := newYard(t, 10)
	f := newFleet(t, newBook(table(1, 1)), y.proxies...)
	masters := []*routes.Server{y.master(t), y.master(t)}
	var took []time.Duration
	for i := range 20 {
		withdrawn, announced := table(uint64(i+1), 1), table(uint64(i+1), 2)
		withdrawn.Writer, announced.Writer = nil, masters[i%2]
		began := time.Now()
		for _, step := range []routes.Table{withdrawn, announced} {
			waitFor(t, "all confirm", func() bool {
				return !slices.ContainsFunc(f.Push(ctx, step), func(r routes.Receipt) bool { return r.Answer != routes.Confirmed })
			})
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("withdraw and announce on 10 proxies: median %s, worst %s", took[len(took)/2], took[len(took)-1])
	if good := took[len(took)/4]; good > time.Second {
		t.Errorf("three in four took more than %s", good)
	}
}
