//go:build servers

package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"switchyard/e2e/stack"
	"switchyard/integrations/consul"
	adapter "switchyard/integrations/haproxy"
	"switchyard/router/haproxy"
	"switchyard/router/routes"
	"switchyard/sidecar/call"
	"switchyard/sidecar/door"
	"switchyard/sidecar/protocol"
)

// edge is a host with an HAProxy and the sidecar beside it, two servers that greet
// with their address, and controllers that say what the test lets them say.
type edge struct {
	t        testing.TB
	ctx      context.Context //nolint:containedctx // it is the test's
	stack    *stack.Stack
	proxy    *stack.Process
	sidecar  *stack.Process
	entrance string
	runtime  string
	a, b     string
	url      string
	client   *call.Client
	oracles  []*oracle
	extra    string // of the sidecar's file
}

const secret = stack.SidecarSecret

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newEdge(t testing.TB, options ...func(*edge)) *edge {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	s, err := stack.New(ctx, stack.Options{Log: t.Logf})
	must(t, err)
	e := &edge{t: t, ctx: ctx, stack: s, client: call.New(secret)}
	for _, option := range options {
		option(e)
	}
	t.Cleanup(func() {
		if t.Failed() && e.sidecar != nil {
			t.Logf("the sidecar's log:\n%s", e.sidecar.Output())
		}
		if err := s.Close(); err != nil {
			t.Errorf("close the stack: %v", err)
		}
		e.client.Wait()
	})
	e.a, e.b = greeter(t, s), greeter(t, s)
	ip, err := s.IP(3306)
	must(t, err)
	e.entrance = ip + ":3306"
	e.startHAProxy()
	for n := range 2 {
		e.oracles = append(e.oracles, newOracle(t, s, fmt.Sprintf("c%d", n+1)))
	}
	e.startSidecar()
	return e
}

// startHAProxy runs one with a master process, both on unix sockets.
func (e *edge) startHAProxy() {
	e.t.Helper()
	path, err := stack.HAProxyProgram()
	must(e.t, err)
	e.runtime = filepath.Join(e.stack.Dir(), "ha.sock")
	text, err := adapter.Render(haproxy.WriterConfig{Cluster: "shop", Bind: e.entrance,
		Runtime: haproxy.Target{Network: "unix", Address: e.runtime}, Backend: haproxy.Backend{Backend: "shop_writer", Server: "master"}})
	must(e.t, err)
	// An old worker that stays is what the master's socket is for.
	text = strings.Replace(text, "hard-stop-after 1s", "hard-stop-after 1m", 1)
	e.proxy, err = e.stack.StartProcess(e.ctx, stack.ProcessSpec{Name: "ha1", Path: path,
		Args:  []string{"-W", "-S", filepath.Join(e.stack.Dir(), "ha-master.sock"), "-f", "haproxy.cfg"},
		Files: map[string]string{"haproxy.cfg": text}})
	must(e.t, err)
	e.awaitHAProxy()
}

func (e *edge) awaitHAProxy() {
	e.t.Helper()
	must(e.t, e.proxy.WaitFor(e.ctx, "listening", func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", e.runtime)
		if err != nil {
			return err
		}
		return conn.Close()
	}))
}

func (e *edge) startSidecar() {
	e.t.Helper()
	binary, err := e.stack.BuildSwitchyard(e.ctx)
	must(e.t, err)
	listen, err := e.stack.SidecarListen("edge")
	must(e.t, err)
	e.url = "http://" + listen
	text := fmt.Sprintf("name: edge\ndatacenter: west\nstate_dir: state\nlisten: %q\nsecret: %q\nlog: {level: debug}\n", listen, secret)
	text += fmt.Sprintf("haproxy:\n  - {name: ha1, cluster: shop, runtime: \"unix://%s\", master: \"unix://%s\", file: %q}\ncontrollers:\n",
		e.runtime, filepath.Join(e.stack.Dir(), "ha-master.sock"), filepath.Join(e.proxy.Dir(), "haproxy.cfg"))
	for _, o := range e.oracles {
		text += fmt.Sprintf("  - {id: %s, http: %q}\n", o.id, o.url)
	}
	// A third one that nobody has ever reached.
	text += "  - {id: c9, http: \"http://127.0.0.1:1\"}\n" + e.extra
	e.sidecar, err = e.stack.StartProcess(e.ctx, stack.ProcessSpec{Name: "edge", Path: binary,
		Args: []string{"sidecar", "--config", "sidecar.yaml"}, Files: map[string]string{"sidecar.yaml": text}})
	must(e.t, err)
}

// oracle is a controller's door, as far as a sidecar watches it.
type oracle struct {
	id, url string
	stop    func()

	mu     sync.Mutex
	tables []routes.Table
	last   protocol.Watch
	asked  int
	news   chan struct{}
}

func newOracle(t testing.TB, s *stack.Stack, id string) *oracle {
	t.Helper()
	ip, err := s.IP(7400)
	must(t, err)
	o := &oracle{id: id, news: make(chan struct{})}
	d := door.New(door.Config{Listen: ip + ":7400", Secret: secret, Deadline: 30 * time.Second}, slog.New(slog.DiscardHandler))
	d.Handle(protocol.PathWatch, door.Answer(o.watch))
	must(t, d.Listen(t.Context()))
	o.url = "http://" + d.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	o.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", id, err)
		}
	})
	t.Cleanup(o.stop)
	return o
}

func (o *oracle) say(table routes.Table) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tables = []routes.Table{table}
	close(o.news)
	o.news = make(chan struct{})
}

func (o *oracle) watch(ctx context.Context, q protocol.Watch) (protocol.Tables, error) {
	wait := time.NewTimer(time.Duration(q.WaitMS) * time.Millisecond)
	defer wait.Stop()
	for {
		o.mu.Lock()
		o.last = q
		o.asked++
		reply, news := protocol.Tables{Controller: o.id, Leader: "c1"}, o.news
		for _, table := range o.tables {
			if k := q.Known[0]; table.Newer(routes.Table{Epoch: k.Epoch, Revision: k.Revision}) {
				reply.Tables = append(reply.Tables, table)
			}
		}
		o.mu.Unlock()
		if len(reply.Tables) > 0 {
			return reply, nil
		}
		select {
		case <-news:
		case <-wait.C:
			return reply, nil
		case <-ctx.Done():
			return reply, nil
		}
	}
}

func (o *oracle) report() (protocol.Report, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.last.Reports) == 0 {
		return protocol.Report{}, false
	}
	return o.last.Reports[0], true
}

// greeter says its address to whoever connects, and keeps the connection.
func greeter(t testing.TB, s *stack.Stack) string {
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

// dial returns a connection through the proxy, and whom it reached; "" for nobody.
func (e *edge) dial() (net.Conn, string) {
	conn, err := net.DialTimeout("tcp", e.entrance, 30*time.Second)
	if err != nil {
		return nil, ""
	}
	e.t.Cleanup(func() { _ = conn.Close() })
	must(e.t, conn.SetDeadline(time.Now().Add(time.Minute)))
	greeting := make([]byte, 64)
	n, err := conn.Read(greeting)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		e.t.Fatal("neither served nor turned away")
	}
	return conn, strings.TrimSpace(string(greeting[:n]))
}

func (e *edge) until(what string, check func() bool) {
	e.t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !check() {
		select {
		case <-e.ctx.Done():
			e.t.Fatalf("never: %s", what)
		case <-ticker.C:
		}
	}
}

func (e *edge) leadsTo(want string) {
	e.t.Helper()
	e.until("the proxy leads to "+want, func() bool {
		conn, who := e.dial()
		if conn != nil {
			_ = conn.Close()
		}
		return who == want
	})
}

func (e *edge) table(number, revision uint64, at string) routes.Table {
	t := routes.Table{Cluster: "shop", Epoch: routes.Epoch{Generation: 1, Number: number}, Revision: revision}
	if at != "" {
		host, _, err := net.SplitHostPort(at)
		must(e.t, err)
		t.Writer = &routes.Server{Host: host, Port: 3306}
	}
	return t
}

func (e *edge) apply(table routes.Table) (protocol.Applied, error) {
	ctx, cancel := context.WithTimeout(e.ctx, 20*time.Second)
	defer cancel()
	return call.Post[protocol.Applied](ctx, e.client, e.url, protocol.PathApply, protocol.Apply{Controller: "c1", Proxy: "ha1", Table: table})
}

// confirm applies until it is confirmed, as a controller does.
func (e *edge) confirm(table routes.Table) (got protocol.Applied) {
	e.t.Helper()
	e.until("it is confirmed", func() bool {
		var err error
		got, err = e.apply(table)
		return err == nil && got.Proof.Holds
	})
	return got
}

// command says something to the runtime API, as somebody else would.
func (e *edge) command(text string) string {
	e.t.Helper()
	conn, err := net.Dial("unix", e.runtime)
	must(e.t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, text+"\n")
	must(e.t, err)
	answer, err := io.ReadAll(conn)
	must(e.t, err)
	return string(answer)
}

func ended(conn net.Conn) bool {
	if conn.SetReadDeadline(time.Now().Add(5*time.Second)) != nil {
		return true
	}
	_, err := conn.Read(make([]byte, 1))
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// TestASidecarBesideARealHAProxy walks through what befalls a sidecar.
func TestASidecarBesideARealHAProxy(t *testing.T) {
	e := newEdge(t)
	// It hears of the first table by asking: the leader, as it holds nothing yet.
	e.oracles[0].say(e.table(5, 2, e.a))
	e.leadsTo(e.a)
	e.until("its report names the table", func() bool {
		r, ok := e.oracles[0].report()
		return ok && r.Epoch.Number == 5 && r.Revision == 2 && r.Digest != "" && r.Problem == ""
	})

	// A call withdraws it: the session ends, and the file says so before the answer.
	conn, _ := e.dial()
	if got := e.confirm(e.table(6, 1, "")); got.Proof.Serving || got.Proof.Sessions != 0 || got.Problem != "" {
		t.Fatalf("%+v", got)
	}
	if !ended(conn) {
		t.Error("a session is left on a withdrawn master")
	}
	file, err := os.ReadFile(filepath.Join(e.proxy.Dir(), "haproxy.cfg"))
	if err != nil || strings.Contains(string(file), e.a) {
		t.Errorf("%v: the file leads to the withdrawn master:\n%s", err, file)
	}
	if got, err := e.apply(e.table(5, 9, e.a)); err != nil || !got.Older || got.Epoch.Number != 6 {
		t.Errorf("%+v, %v", got, err)
	}
	// So does what a controller says that lags behind.
	e.oracles[0].say(e.table(5, 9, e.a))
	e.confirm(e.table(6, 2, e.b))
	e.leadsTo(e.b)

	// Somebody without the secret is refused, and logged.
	stranger := call.New("another secret, long enough")
	_, err = call.Post[protocol.Applied](e.ctx, stranger, e.url, protocol.PathApply,
		protocol.Apply{Controller: "c1", Proxy: "ha1", Table: e.table(9, 1, "")})
	stranger.Wait()
	if err == nil {
		t.Error("it was answered")
	}
	e.until("the stranger is logged", func() bool { return strings.Contains(e.sidecar.Output(), "not signed with the secret") })
	if strings.Contains(e.sidecar.Output(), secret) {
		t.Error("the secret is in the log")
	}

	// Somebody else's hand is undone.
	e.command("set server shop_writer/master state maint")
	e.leadsTo(e.b)
	e.until("the repair is logged", func() bool { return strings.Contains(e.sidecar.Output(), "left its route") })

	// A reload leaves a session behind, in an old worker that nobody stops.
	conn, _ = e.dial()
	pid := e.pid()
	must(t, e.reload())
	e.until("another worker answers", func() bool { now := e.pid(); return now != "" && now != pid })
	e.leadsTo(e.b)
	if got := e.confirm(e.table(7, 1, "")); got.Proof.Sessions != 0 {
		t.Fatalf("%+v", got)
	}
	if !ended(conn) {
		t.Error("the session in the old worker lives")
	}
	e.confirm(e.table(7, 2, e.a))

	// All controllers are gone, the sidecar is killed, the proxy starts anew.
	for _, o := range e.oracles {
		o.stop()
	}
	must(t, e.sidecar.Kill())
	must(t, e.sidecar.Wait(e.ctx))
	must(t, e.proxy.Kill())
	must(t, e.proxy.Wait(e.ctx))
	must(t, e.proxy.Start(e.ctx))
	e.awaitHAProxy()
	e.leadsTo(e.a) // the file was kept in step
	e.command("set server shop_writer/master state maint")
	must(t, e.sidecar.Start(e.ctx))
	e.leadsTo(e.a)
	e.until("it says that nobody answers", func() bool { return strings.Contains(e.sidecar.Output(), "No controller answers") })
	if got, err := e.apply(e.table(6, 2, e.b)); err != nil || !got.Older {
		t.Errorf("%+v, %v", got, err)
	}
	must(t, e.sidecar.Stop(e.ctx))
	if code := e.sidecar.ExitCode(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}

// TestConsulMovesASidecarWithoutControllers: who knows an older epoch follows the
// record, and who was told of a withdrawal does not.
func TestConsulMovesASidecarWithoutControllers(t *testing.T) {
	var directory *consul.Consul
	e := newEdge(t, func(e *edge) {
		real, err := e.stack.StartConsul(e.ctx, "west")
		must(t, err)
		e.extra = fmt.Sprintf("consul: {address: %q}\n", real.Address())
		directory, err = consul.New(consul.Config{Datacenter: "west", Address: real.Address(), Timeout: 5 * time.Second}, slog.New(slog.DiscardHandler))
		must(t, err)
		t.Cleanup(directory.Close)
	})
	for _, o := range e.oracles {
		o.stop()
	}
	publish := func(table routes.Table) {
		t.Helper()
		_, err := directory.Publish(e.ctx, routes.Record{Cluster: "shop", Epoch: table.Epoch, Revision: table.Revision, Master: *table.Writer})
		must(t, err)
	}
	publish(e.table(5, 2, e.a))
	e.confirm(e.table(5, 1, ""))
	e.leadsTo(e.a) // The epoch's own announcement is the newer.
	publish(e.table(6, 2, e.b))
	e.leadsTo(e.b)
	e.confirm(e.table(7, 1, ""))
	publish(e.table(6, 3, e.a))
	must(t, e.sidecar.Kill())
	must(t, e.sidecar.Wait(e.ctx))
	must(t, e.sidecar.Start(e.ctx))
	for range 100 {
		if _, who := e.dial(); who != "" {
			t.Fatalf("a record of an older epoch revived %s", who)
		}
	}
	e.until("it is up", func() bool { got, err := e.apply(e.table(7, 1, "")); return err == nil && got.Proof.Holds })
	publish(e.table(7, 2, e.a))
	e.leadsTo(e.a)
}

func (e *edge) reload() error {
	process, err := os.FindProcess(e.proxy.Pid())
	if err != nil {
		return err
	}
	return process.Signal(reloadSignal)
}

func (e *edge) pid() string {
	conn, err := net.Dial("unix", e.runtime)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "show info\n")
	answer, _ := io.ReadAll(conn)
	_, rest, _ := strings.Cut(string(answer), "\nPid: ")
	pid, _, _ := strings.Cut(rest, "\n")
	return pid
}

// TestASidecarKilledInTheMiddle kills it a little later each time after a
// withdrawal was sent. If that was confirmed, it stands after the restart; if
// not, the proxy follows what was sent or what was before, and the retry settles
// it.
func TestASidecarKilledInTheMiddle(t *testing.T) {
	e := newEdge(t)
	for _, o := range e.oracles {
		o.stop()
	}
	number, confirmed := uint64(5), 0
	for _, after := range []time.Duration{0, 500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond,
		20 * time.Millisecond, 100 * time.Millisecond} {
		e.confirm(e.table(number, 2, e.a))
		e.leadsTo(e.a)
		number++
		type outcome struct {
			got protocol.Applied
			err error
		}
		done := make(chan outcome, 1)
		go func() {
			got, err := e.apply(e.table(number, 1, ""))
			done <- outcome{got, err}
		}()
		timer := time.NewTimer(after)
		<-timer.C
		must(t, e.sidecar.Kill())
		o := <-done
		must(t, e.sidecar.Wait(e.ctx))
		must(t, e.sidecar.Start(e.ctx))
		if o.err == nil && o.got.Proof.Holds {
			confirmed++
			// Whenever one looks: it serves nobody.
			for range 50 {
				if _, who := e.dial(); who != "" {
					t.Fatalf("killed after %s: it had confirmed, and leads to %s", after, who)
				}
			}
		}
		// The reply may be lost: the same is sent again.
		if got := e.confirm(e.table(number, 1, "")); got.Proof.Serving || got.Epoch.Number != number {
			t.Fatalf("%+v", got)
		}
		if _, who := e.dial(); who != "" {
			t.Fatalf("it leads to %s", who)
		}
	}
	t.Logf("%d of 7 were confirmed before the kill", confirmed)
}

// reloadSignal makes an HAProxy's master process start a new worker.
const reloadSignal = syscall.SIGUSR2

// BenchmarkIdle measures a sidecar at rest beside one HAProxy, over 20 s: its
// memory, and its share of one CPU.
func BenchmarkIdle(b *testing.B) {
	e := newEdge(b)
	e.oracles[0].say(e.table(5, 2, e.a))
	e.leadsTo(e.a)
	for b.Loop() {
		before := e.cpu()
		began := time.Now()
		timer := time.NewTimer(20 * time.Second)
		<-timer.C
		took := time.Since(began)
		b.ReportMetric(100*float64(e.cpu()-before)/float64(took), "%CPU")
		b.ReportMetric(e.memory(), "MiB-RSS")
	}
}

// cpu is the time that the sidecar's process has spent.
func (e *edge) cpu() time.Duration {
	e.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", e.sidecar.Pid()))
	must(e.t, err)
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(field, 10, 64)
		must(e.t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func (e *edge) memory() float64 {
	e.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.sidecar.Pid()))
	must(e.t, err)
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	must(e.t, err)
	return kb / 1024
}
