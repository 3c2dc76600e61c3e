//go:build servers

package publisher_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"switchyard/controller/publisher"
	"switchyard/e2e/stack"
	"switchyard/integrations/consul"
	"switchyard/router/routes"
)

// gate stands before a Consul, and makes it slow, or has it hang: what was asked
// meanwhile arrives late, also if nobody waits for it any more.
type gate struct {
	url string

	mu     sync.Mutex
	delay  time.Duration
	closed chan struct{}
}

func newGate(t *testing.T, address string) *gate {
	t.Helper()
	target, err := url.Parse(address)
	must(t, err)
	g := &gate{}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		delay, closed := g.delay, g.closed
		g.mu.Unlock()
		if closed != nil {
			<-closed
		}
		timer := time.NewTimer(delay)
		defer timer.Stop()
		<-timer.C
		proxy.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
	}))
	t.Cleanup(func() {
		g.open()
		door.Close()
	})
	g.url = door.URL
	return g
}

func (g *gate) slow(delay time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.delay = delay
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}

// watch reads a Consul directly, with the consistency that consumers have by
// default, and fails the test if it ever says less than before.
func watch(t *testing.T, ctx context.Context, c *stack.Consul) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		var last routes.Epoch
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil {
			<-ticker.C
			text, err := c.Get(ctx, "mysql/master/shop/epoch")
			if err != nil {
				continue
			}
			epoch, err := routes.ParseEpoch(text)
			if err != nil || epoch.Compare(last) < 0 {
				t.Errorf("after epoch %s it said %q", last, text)
			}
			last = epoch
		}
	})
	return func() {
		cancel()
		watcher.Wait()
	}
}

// TestATroubledConsulHoldsUpNobody: a Consul that is slow, or that hangs for 20
// seconds of failovers, costs its own datacenter some time and nobody else any.
func TestATroubledConsulHoldsUpNobody(t *testing.T) {
	country, ctx := newCountry(t)
	g := newGate(t, country.consuls[1].Address())
	gated, err := consul.New(consul.Config{Datacenter: "dc2", Address: g.url, Timeout: 10 * time.Second}, discard())
	must(t, err)
	t.Cleanup(gated.Close)
	country.directories[1] = gated
	ledger := &book{tables: []routes.Table{table(1, "db1")}}
	p, err := publisher.New(publisher.Config{Datacenter: "dc1", Controllers: func() []string { return []string{"dc1"} }, Lookup: resolves,
		Interval: 200 * time.Millisecond, AuditTimeout: 10 * time.Second}, country.directories, ledger, time.Now, discard())
	must(t, err)
	defer audit(t, p)()
	for i := range country.consuls {
		waitFor(t, ctx, "published at first", country.names(ctx, i, "", "db1:3306"))
		defer watch(t, ctx, country.consuls[i])()
	}
	move := func(number uint64) []routes.Receipt {
		next := table(number, fmt.Sprintf("db%d", number))
		ledger.set(func(b *book) { b.tables = []routes.Table{next} })
		began := time.Now()
		receipts := p.Push(ctx, next)
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("epoch %d: the troubled one held it up for %s", number, took)
		}
		if receipts[0].Answer != routes.Confirmed || receipts[0].Took > 10*time.Second {
			t.Errorf("epoch %d: the healthy one: %+v", number, receipts[0])
		}
		return receipts
	}

	t.Run("slow", func(t *testing.T) {
		g.slow(700 * time.Millisecond) // A publication is two calls, and a push waits for 1 s.
		if receipts := move(2); receipts[1].Answer != routes.Unknown {
			t.Errorf("receipts %+v", receipts)
		}
		waitFor(t, ctx, "kept by the audit", country.names(ctx, 1, "/epoch", "1.2"))
		waitFor(t, ctx, "confirmed", func() bool { status := p.Status()[1]; return status.Epoch.Number == 2 && status.LastError == "" })
		g.slow(0)
	})
	t.Run("hung for 20 s", func(t *testing.T) {
		g.close()
		number := uint64(3)
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); number++ {
			if receipts := move(number); receipts[1].Answer != routes.Unknown {
				t.Errorf("receipts %+v", receipts)
			}
			// The healthy one is audited and repaired meanwhile.
			country.byHand(t, ctx, http.MethodPut, "", "by-hand:1")
			waitFor(t, ctx, "put right", country.names(ctx, 0, "", fmt.Sprintf("db%d:3306", number)))
		}
		if got, err := country.consuls[1].Get(ctx, "mysql/master/shop/epoch"); err != nil || got != "1.2" {
			t.Errorf("the hung one says %q, %v", got, err)
		}
		began := time.Now()
		looking, enough := context.WithTimeout(ctx, time.Second)
		defer enough()
		if sights := p.Look(looking, []string{"shop"}); sights[0].Err != nil || sights[1].Err == nil || time.Since(began) > 15*time.Second {
			t.Errorf("looked for %s: %+v", time.Since(began), sights)
		}
		last := fmt.Sprintf("1.%d", number-1)
		g.open()
		waitFor(t, ctx, "caught up", country.names(ctx, 1, "/epoch", last))
		waitFor(t, ctx, "confirmed", func() bool { return p.Status()[1].LastError == "" })
	})
}

// pair starts a datacenter of two Consul servers, which has no leader once one of
// them is gone.
func pair(t *testing.T, s *stack.Stack, ctx context.Context) (address string, second *stack.Process) {
	t.Helper()
	cache, err := stack.CacheDir()
	must(t, err)
	var processes []*stack.Process
	var first string
	for i := range 2 {
		ip, err := s.IP(8300, 8301, 8302, stack.ConsulPort, 8502, 8503, 8600)
		must(t, err)
		if i == 0 {
			first = ip
		}
		name := "pair-" + strconv.Itoa(i)
		config := fmt.Sprintf("node_name = %q\ndatacenter = \"dc3\"\ndata_dir = %q\nbind_addr = %q\nclient_addr = %q\n"+
			"server = true\nbootstrap_expect = 2\nretry_join = [%q]\nretry_interval = \"200ms\"\ndisable_update_check = true\n"+
			"leave_on_terminate = false\nperformance { raft_multiplier = 1 }\n", name, filepath.Join(s.Dir(), name, "data"), ip, ip, first)
		p, err := s.StartProcess(ctx, stack.ProcessSpec{Name: name, Path: filepath.Join(cache, "consul"),
			Args: []string{"agent", "-config-file=consul.hcl"}, Files: map[string]string{"consul.hcl": config}})
		must(t, err)
		processes = append(processes, p)
	}
	return "http://" + net.JoinHostPort(first, strconv.Itoa(stack.ConsulPort)), processes[1]
}

// get reads a key; its answer is empty while it cannot.
func get(ctx context.Context, address, key string) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/v1/kv/mysql/master/"+key, nil)
	if err != nil {
		return ""
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	text := make([]byte, 200)
	n, _ := response.Body.Read(text)
	if response.StatusCode != http.StatusOK {
		return ""
	}
	return string(text[:n])
}

// TestALeaderlessConsulKeepsWhatItHolds until it has a leader again.
func TestALeaderlessConsulKeepsWhatItHolds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	s, err := stack.New(ctx, stack.Options{Log: t.Logf})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	address, second := pair(t, s, ctx)
	directory, err := consul.New(consul.Config{Datacenter: "dc3", Address: address}, discard())
	must(t, err)
	t.Cleanup(directory.Close)
	ledger := &book{tables: []routes.Table{table(1, "db1")}}
	p, err := publisher.New(publisher.Config{Datacenter: "dc3", Lookup: resolves, Interval: 200 * time.Millisecond},
		[]publisher.Directory{directory}, ledger, time.Now, discard())
	must(t, err)
	defer audit(t, p)()
	waitFor(t, ctx, "published", func() bool { return get(ctx, address, "shop?raw") == "db1:3306" })
	// The first may have it in its log only: the leader tells later that it is committed.
	waitFor(t, ctx, "known to both", func() bool { return get(ctx, address, "shop?raw&stale") == "db1:3306" })

	must(t, second.Kill())
	must(t, second.Wait(ctx))
	waitFor(t, ctx, "seen", func() bool { status := p.Status()[0]; return !status.Reachable && status.LastError != "" })
	ledger.set(func(b *book) { b.tables = []routes.Table{table(2, "db2")} })
	began := time.Now()
	if receipts := p.Push(ctx, table(2, "db2")); receipts[0].Answer != routes.Unknown || time.Since(began) > 15*time.Second {
		t.Errorf("after %s: %+v", time.Since(began), receipts)
	}
	if sight := p.Look(ctx, []string{"shop"})[0]; sight.Err == nil {
		t.Errorf("it was read: %+v", sight)
	}
	if got := get(ctx, address, "shop?raw&stale"); got != "db1:3306" {
		t.Errorf("who reads stale sees %q", got)
	}
	must(t, second.Start(ctx))
	waitFor(t, ctx, "caught up", func() bool { return get(ctx, address, "shop?raw") == "db2:3306" })
	waitFor(t, ctx, "confirmed", func() bool { return len(ledger.confirmations()) == 2 })
}
