//go:build servers

package haproxy_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	adapter "switchyard/integrations/haproxy"
	"switchyard/router/haproxy"
)

// held lets new connections wait for a master.
func held(t *testing.T, hold time.Duration) func(*haproxy.WriterConfig) {
	t.Helper()
	lua := filepath.Join(t.TempDir(), haproxy.HoldFile)
	must(t, os.WriteFile(lua, []byte(haproxy.HoldScript), 0o600))
	return func(c *haproxy.WriterConfig) { c.Hold, c.Lua = hold, lua }
}

// arrival is what became of one connection.
type arrival struct {
	who   string
	since time.Duration
}

// waiting opens connections, and returns once HAProxy has them all; what became
// of them is what the function that it returns waits for, counted from its call.
func waiting(t *testing.T, s *site, count int) func() []arrival {
	t.Helper()
	conns := make([]net.Conn, count)
	for i := range conns {
		conn, err := net.DialTimeout("tcp", s.entrance, 30*time.Second)
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		must(t, conn.SetDeadline(time.Now().Add(90*time.Second)))
		conns[i] = conn
	}
	waitFor(t, t.Context(), func() bool { return s.frontendSessions(t) >= count })
	return func() []arrival {
		began := time.Now()
		all := make([]arrival, count)
		var readers sync.WaitGroup
		for i, conn := range conns {
			readers.Go(func() {
				greeting := make([]byte, 64)
				n, err := conn.Read(greeting)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("neither served nor turned away")
				}
				all[i] = arrival{strings.TrimSpace(string(greeting[:n])), time.Since(began)}
			})
		}
		readers.Wait()
		slices.SortFunc(all, func(a, b arrival) int { return int(a.since - b.since) })
		return all
	}
}

// frontendSessions is how many connections HAProxy has taken from applications.
func (s *site) frontendSessions(t *testing.T) int {
	t.Helper()
	lines := strings.Split(s.runtime(t, "show stat "+s.config.Frontend()+" 1 -1"), "\n")
	if len(lines) < 2 {
		t.Fatalf("no such frontend: %q", lines)
	}
	var count int
	_, err := fmt.Sscan(strings.Split(lines[1], ",")[4], &count)
	must(t, err)
	return count
}

func TestNewConnectionsAreHeldWhileThereIsNoMaster(t *testing.T) {
	site, ctx := newSite(t, held(t, time.Minute))
	proxy := site.adapter(t, same)
	// Before it was ever told, and between two masters.
	revision := uint64(0)
	for _, count := range []int{1, 100, 1000} {
		for _, master := range []string{site.a, site.b} {
			result := waiting(t, site, count)
			if proof, err := proxy.Read(ctx, tableOf(revision, "")); err != nil || proof.Sessions != 0 {
				t.Fatalf("held connections count as sessions of the slot: %+v, %v", proof, err)
			}
			revision++
			if proof, err := proxy.Apply(ctx, tableOf(revision, master)); !holds(proof, err) {
				t.Fatalf("announce: %+v, %v", proof, err)
			}
			all := result()
			for _, one := range all {
				if one.who != master {
					t.Fatalf("%d held: one was led to %q after %s, want %s", count, one.who, one.since, master)
				}
			}
			t.Logf("%d held: after the announcement the first is served within %s, the median %s, the last %s",
				count, all[0].since, all[len(all)/2].since, all[len(all)-1].since)
			revision++
			if proof, err := proxy.Apply(ctx, tableOf(revision, "")); !holds(proof, err) {
				t.Fatalf("withdraw: %+v, %v", proof, err)
			}
			waitFor(t, ctx, func() bool { return site.frontendSessions(t) == 0 })
		}
	}
}

func TestHeldConnectionsAreClosedAfterTheBound(t *testing.T) {
	const hold = 400 * time.Millisecond
	site, _ := newSite(t, held(t, hold))
	began := time.Now()
	for _, one := range waiting(t, site, 20)() {
		if one.who != "" {
			t.Fatalf("led to %s, and there is no master", one.who)
		}
	}
	if took := time.Since(began); took < hold {
		t.Errorf("the last was closed after %s, before the bound of %s", took, hold)
	}
	waitFor(t, t.Context(), func() bool { return site.frontendSessions(t) == 0 })
}

// TestHeldConnectionsOfVanishedClientsAreDropped: applications with short
// timeouts connect again and again, and must not use the entrance up.
func TestHeldConnectionsOfVanishedClientsAreDropped(t *testing.T) {
	site, ctx := newSite(t, held(t, haproxy.MaxHold))
	conns := make([]net.Conn, 100)
	for i := range conns {
		conn, err := net.Dial("tcp", site.entrance)
		must(t, err)
		conns[i] = conn
	}
	waitFor(t, ctx, func() bool { return site.frontendSessions(t) == len(conns) })
	for _, conn := range conns {
		must(t, conn.Close())
	}
	waitFor(t, ctx, func() bool { return site.frontendSessions(t) == 0 })
}

// TestHeldConnectionsBetweenMasters moves the master to and fro under clients
// that connect without a pause: each of them is served, or was served by the
// master that was withdrawn.
func TestHeldConnectionsBetweenMasters(t *testing.T) {
	site, ctx := newSite(t, held(t, time.Minute))
	proxy := site.adapter(t, same)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var mu sync.Mutex
	var served, empty int
	for range 8 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				conn, err := net.DialTimeout("tcp", site.entrance, 30*time.Second)
				if err != nil {
					t.Errorf("not even accepted: %v", err)
					return
				}
				_ = conn.SetDeadline(time.Now().Add(90 * time.Second))
				greeting, _ := io.ReadAll(io.LimitReader(conn, int64(len(site.a))))
				_ = conn.Close()
				mu.Lock()
				if len(greeting) == 0 {
					empty++
				} else {
					served++
				}
				mu.Unlock()
			}
		})
	}
	const rounds = 30
	for i := range uint64(rounds) {
		if proof, err := proxy.Apply(ctx, tableOf(2*i+1, "")); !holds(proof, err) || proof.Sessions != 0 {
			t.Fatalf("withdraw: %+v, %v", proof, err)
		}
		time.Sleep(20 * time.Millisecond) // a promotion takes about as long
		if proof, err := proxy.Apply(ctx, tableOf(2*i+2, []string{site.a, site.b}[i%2])); !holds(proof, err) {
			t.Fatalf("announce: %+v, %v", proof, err)
		}
		waitFor(t, ctx, func() bool { mu.Lock(); defer mu.Unlock(); return served > 20*int(i+1) })
	}
	close(stop)
	clients.Wait()
	t.Logf("%d connections were served, %d ended before the greeting in %d withdrawals", served, empty, rounds)
	// Whoever is between the accept and the greeting when the master is withdrawn
	// is ended with the sessions of the old master: at most each client once.
	if empty > 8*rounds {
		t.Errorf("%d connections ended before the greeting: new ones are refused", empty)
	}
}

func TestConfigurationIsRefusedWithoutItsScript(t *testing.T) {
	config := haproxy.WriterConfig{Cluster: "shop", Bind: "127.0.0.1:3306", Backend: slot, Hold: time.Second,
		Lua: filepath.Join(t.TempDir(), haproxy.HoldFile), Runtime: haproxy.Target{Network: "tcp", Address: "127.0.0.1:9999"}}
	text, err := adapter.Render(config)
	must(t, err)
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	check := func() (string, error) {
		output, err := exec.CommandContext(t.Context(), haproxyPath(t), "-c", "-f", path).CombinedOutput()
		return string(output), err
	}
	if output, err := check(); err == nil || !strings.Contains(output, config.Lua) {
		t.Errorf("without the script: %v\n%s", err, output)
	}
	must(t, os.WriteFile(config.Lua, []byte(haproxy.HoldScript), 0o600))
	if output, err := check(); err != nil || strings.Contains(output, "WARNING") {
		t.Errorf("with the script: %v\n%s", err, output)
	}
}
