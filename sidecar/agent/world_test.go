package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"switchyard/router/routes"
	"switchyard/sidecar/protocol"
)

func slicesEqual(a, b []routes.Reader) bool { return slices.Equal(a, b) }

// pretend is a proxy that does what it is told, and remembers it.
type pretend struct {
	name string

	mu      sync.Mutex
	follows routes.Table
	applied []routes.Table
	// err is what every call returns; left are sessions that stay.
	err  error
	left int
	// slow makes Apply wait until its context ends, for tables with this epoch, and
	// deaf is how long it takes, whatever its context says.
	slow routes.Epoch
	deaf time.Duration
}

func (p *pretend) Name() string    { return p.name }
func (p *pretend) Cluster() string { return "shop" }

func (p *pretend) Apply(ctx context.Context, t routes.Table) (routes.Proof, error) {
	p.mu.Lock()
	slow, deaf := p.slow == t.Epoch, p.deaf
	p.mu.Unlock()
	time.Sleep(deaf)
	if slow {
		<-ctx.Done()
		return routes.Proof{}, fmt.Errorf("slow: %w", context.Cause(ctx))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return routes.Proof{}, p.err
	}
	p.applied = append(p.applied, t)
	p.follows = t
	return p.proof(t), nil
}

func (p *pretend) Read(_ context.Context, t routes.Table) (routes.Proof, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return routes.Proof{}, p.err
	}
	return p.proof(t), nil
}

func (p *pretend) proof(t routes.Table) routes.Proof {
	proof := routes.Proof{Sessions: p.left, Holds: sameWriter(p.follows, t)}
	if p.follows.Writer != nil {
		proof.Host, proof.Serving = p.follows.Writer.String(), true
	}
	if t.Writer == nil && p.left > 0 {
		proof.Holds = false
	}
	return proof
}

func (p *pretend) change(how func(*pretend)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	how(p)
}

// serves is the host that clients are led to, and how often it was told.
func (p *pretend) serves() (string, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.follows.Writer == nil {
		return "", len(p.applied)
	}
	return p.follows.Writer.Host, len(p.applied)
}

// oracle is a controller.
type oracle struct {
	id string

	mu     sync.Mutex
	leader string
	tables []routes.Table
	gone   error
	asked  []protocol.Watch
	news   chan struct{}
}

func newOracle(id string) *oracle { return &oracle{id: id, news: make(chan struct{})} }

func (o *oracle) ID() string { return o.id }

func (o *oracle) say(leader string, tables ...routes.Table) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leader, o.tables = leader, tables
	close(o.news)
	o.news = make(chan struct{})
}

func (o *oracle) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gone = err
	close(o.news)
	o.news = make(chan struct{})
}

func (o *oracle) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.asked)
}

func (o *oracle) last() protocol.Watch {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked[len(o.asked)-1]
}

func (o *oracle) Watch(ctx context.Context, q protocol.Watch) (protocol.Tables, error) {
	o.mu.Lock()
	o.asked = append(o.asked, q)
	o.mu.Unlock()
	end := time.After(time.Duration(q.WaitMS) * time.Millisecond)
	for late := false; ; {
		o.mu.Lock()
		reply, gone, news := protocol.Tables{Controller: o.id, Leader: o.leader}, o.gone, o.news
		for _, t := range o.tables {
			for _, k := range q.Known {
				if k.Cluster == t.Cluster && t.Newer(routes.Table{Epoch: k.Epoch, Revision: k.Revision}) {
					reply.Tables = append(reply.Tables, t)
				}
			}
		}
		o.mu.Unlock()
		if gone != nil || late || len(reply.Tables) > 0 {
			return reply, gone
		}
		select {
		case <-news:
		case <-end:
			late = true
		case <-ctx.Done():
			return protocol.Tables{}, ctx.Err()
		}
	}
}

// shelf is a directory of one cluster.
type shelf struct {
	mu     sync.Mutex
	record routes.Record
	index  uint64
	err    error
	news   chan struct{}
}

func newShelf() *shelf { return &shelf{index: 1, news: make(chan struct{})} }

func (s *shelf) put(t routes.Table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record = routes.Record{Cluster: t.Cluster, Epoch: t.Epoch, Revision: t.Revision, Master: *t.Writer}
	s.index++
	close(s.news)
	s.news = make(chan struct{})
}

func (s *shelf) WatchRecord(ctx context.Context, _ string, index uint64) (routes.Record, uint64, error) {
	for {
		s.mu.Lock()
		record, at, err, news := s.record, s.index, s.err, s.news
		s.mu.Unlock()
		if err != nil || at != index {
			return record, at, err
		}
		select {
		case <-news:
		case <-time.After(30 * time.Second):
			return record, at, nil
		case <-ctx.Done():
			return routes.Record{}, 0, ctx.Err()
		}
	}
}

// pages keeps a log for reading.
type pages struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *pages) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *pages) count(text string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Count(p.text.String(), text)
}

// host is a sidecar with its surroundings.
type host struct {
	t           *testing.T
	file        string
	proxy       *pretend
	other       *pretend
	keeper      Keeper
	controllers []*oracle
	directory   *shelf
	log         *pages
	agent       *Agent
}

func newHost(t *testing.T) *host {
	return &host{t: t, file: filepath.Join(t.TempDir(), "routes.json"), proxy: &pretend{name: "hap"}, other: &pretend{name: "sql"},
		controllers: []*oracle{newOracle("c1"), newOracle("c2"), newOracle("c3")}, directory: newShelf(), log: &pages{}}
}

// start makes an agent that nobody runs yet.
func (h *host) start() error {
	var controllers []Controller
	for _, c := range h.controllers {
		controllers = append(controllers, c)
	}
	var err error
	h.agent, err = New(Config{Sidecar: "edge", Run: "r", Datacenter: "west", StateFile: h.file},
		[]Local{{Proxy: h.proxy, Keeper: h.keeper}, {Proxy: h.other}}, controllers, h.directory, time.Now,
		slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	return err
}

// run makes and runs one, and returns what ends it.
func (h *host) run() (stop func()) {
	h.t.Helper()
	if err := h.start(); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.agent.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			h.t.Errorf("Run: %v", err)
		}
	})
}

func (h *host) apply(t routes.Table) protocol.Applied {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 5*time.Second)
	defer cancel()
	a, err := h.agent.Apply(ctx, protocol.Apply{Controller: "c1", Proxy: "hap", Table: t})
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := protocol.Encode(a); err != nil {
		h.t.Fatalf("an answer that nobody reads: %v", err)
	}
	return a
}

func (h *host) read(t routes.Table) protocol.Applied {
	h.t.Helper()
	a, err := h.agent.Read(h.t.Context(), protocol.Read{Controller: "c1", Proxy: "hap", Table: t})
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := protocol.Encode(a); err != nil {
		h.t.Fatalf("an answer that nobody reads: %v", err)
	}
	return a
}

func (h *host) serve(want string) {
	h.t.Helper()
	for _, p := range []*pretend{h.proxy, h.other} {
		if got, _ := p.serves(); got != want {
			h.t.Errorf("%s leads to %q, want %q", p.name, got, want)
		}
	}
}

// notebook keeps what a proxy starts with.
type notebook struct {
	mu   sync.Mutex
	says routes.Table
	err  error
	// slow is how long it takes.
	slow time.Duration
}

func (n *notebook) Keep(ctx context.Context, t routes.Table) error {
	n.mu.Lock()
	slow := n.slow
	n.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err == nil {
		n.says = t
	}
	return n.err
}

func (n *notebook) change(how func(*notebook)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	how(n)
}

func (n *notebook) read() routes.Table {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.says
}

var errGone = errors.New("gone")
