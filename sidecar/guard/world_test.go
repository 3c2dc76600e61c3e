package guard_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"switchyard/router/routes"
	"switchyard/sidecar/fence"
	"switchyard/sidecar/guard"
	"switchyard/sidecar/lease"
	"switchyard/sidecar/protocol"
)

// The terms of the pretend world.
const (
	grantFor = 6 * time.Second
	fenceIn  = time.Second
	killIn   = time.Second
)

// mode is how a controller or a peer answers.
type mode int

const (
	silent  mode = iota // an error at once
	hung                // nothing, until the caller gives up
	lost                // it hears, and its answer is lost
	late                // its answer takes a second
	yes                 // it grants, or follows
	no                  // it refuses: standby, or not receiving
	unready             // not_ready
	deposed
)

// world is a server with its controllers and peers, all pretended. A sidecar in
// it is real.
type world struct {
	t     *testing.T
	begun time.Time
	dir   string
	boot  string
	hands guard.Hands // nil is the real ones

	mu          sync.Mutex
	modes       map[string]mode
	epoch       uint64
	given       map[string]time.Time // when each granted, or followed, last
	told        map[string]protocol.Renew
	exits       map[string][]protocol.Exit
	asked       int
	process     *process
	readOnly    bool
	replica     bool
	hangs       bool  // sessions hang
	blocked     error // read-only is
	receives    guard.Source
	clients     int
	ended       int
	opened      int
	promised    bool // it said that it holds the lease
	controllers []string
	peers       []string
	every       time.Duration // how often a sidecar is told to ask
}

type process struct {
	w    *world
	pid  int
	end  chan struct{}
	once sync.Once
	// dies is how long it takes; never if it is negative.
	dies time.Duration
}

var errSilent = errors.New("silent")

func newWorld(t *testing.T, controllers, peers int) *world {
	w := &world{
		t: t, begun: time.Now(), dir: t.TempDir(), boot: "boot-1", epoch: 1, modes: map[string]mode{},
		given: map[string]time.Time{}, told: map[string]protocol.Renew{}, exits: map[string][]protocol.Exit{},
	}
	for i := range controllers {
		w.controllers = append(w.controllers, fmt.Sprintf("c%d", i+1))
	}
	for i := range peers {
		w.peers = append(w.peers, fmt.Sprintf("p%d", i+1))
	}
	w.start(0)
	return w
}

func (w *world) clock() lease.Instant { return lease.Instant(time.Hour + time.Since(w.begun)) }

func (w *world) do(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) is(so func() bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return so()
}

// all sets how these answer.
func (w *world) all(names []string, m mode) {
	w.do(func() {
		for _, name := range names {
			w.modes[name] = m
		}
	})
}

// start starts a new process of the server, which takes so long to die.
func (w *world) start(dies time.Duration) {
	w.do(func() {
		pid := 4711
		if w.process != nil {
			pid = w.process.pid + 1
		}
		w.process = &process{w: w, pid: pid, end: make(chan struct{}), dies: dies}
	})
}

func (w *world) config() guard.Config {
	return guard.Config{
		Who:   protocol.Who{Sidecar: "db-a", Run: "run", Boot: w.boot, Cluster: "shop", Server: "db-a:3306"},
		Lease: lease.Config{Controllers: w.controllers, Peers: w.peers, Fence: fenceIn, Kill: killIn},
		Book:  filepath.Join(w.dir, "database.json"),
		Renew: w.every,
		Resolve: func(_ context.Context, host string) ([]string, error) {
			if host == "db-x" {
				return []string{"10.0.0.9"}, nil
			}
			return []string{"10.0.0.1"}, nil
		},
	}
}

// sidecar runs one, until the returned function is called.
func (w *world) sidecar() (*guard.Guard, func()) {
	w.t.Helper()
	hands := w.hands
	if hands == nil {
		hands = fence.New(fence.Config{Kill: killIn}, w, nil)
	}
	g, err := guard.New(w.config(), guard.Ports{Wire: w, Local: w, Hands: hands, Clock: w.clock}, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	return g, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
}

// answer waits as the mode of who says; heard is called when it hears.
func (w *world) answer(ctx context.Context, who string, heard func(mode)) (mode, error) {
	w.mu.Lock()
	m := w.modes[who]
	if m != silent && m != hung {
		heard(m)
	}
	w.mu.Unlock()
	switch m {
	case silent:
		return m, errSilent
	case hung, lost:
		<-ctx.Done()
		return m, ctx.Err()
	case late:
		time.Sleep(time.Second)
	default:
		time.Sleep(time.Millisecond)
	}
	return m, ctx.Err()
}

// Renew implements guard.Wire.
func (w *world) Renew(ctx context.Context, controller string, q protocol.Renew) (protocol.RenewReply, error) {
	reply := protocol.RenewReply{Controller: controller, Run: "r"}
	m, err := w.answer(ctx, controller, func(m mode) {
		w.told[controller] = q
		w.promised = w.promised || q.Holding == protocol.Held
		reply.Epoch = routes.Epoch{Generation: 1, Number: w.epoch}
		if m == yes || m == late || m == lost {
			w.given[controller] = time.Now()
		}
	})
	if err != nil {
		return protocol.RenewReply{}, err
	}
	switch m {
	case unready:
		reply.Refusal = protocol.NotReady
	case deposed:
		reply.Refusal, reply.Epoch.Number = protocol.Deposed, reply.Epoch.Number+1
	case no:
		reply.Refusal = protocol.Standby
	default:
		reply.GrantMS = int(grantFor / time.Millisecond)
	}
	return reply, nil
}

// Exit implements guard.Wire.
func (w *world) Exit(ctx context.Context, controller string, q protocol.Exit) (protocol.ExitNoted, error) {
	_, err := w.answer(ctx, controller, func(mode) { w.exits[controller] = append(w.exits[controller], q) })
	return protocol.ExitNoted{Controller: controller}, err
}

// Follow implements guard.Wire.
func (w *world) Follow(ctx context.Context, peer string, q protocol.Follow) (protocol.FollowReply, error) {
	who := q.Who
	who.Sidecar, who.Server = peer, peer+":3306"
	m, err := w.answer(ctx, peer, func(m mode) {
		w.asked++
		if m == yes || m == late || m == lost {
			w.given[peer] = time.Now()
		}
	})
	reply := protocol.FollowReply{Who: who, Follows: true, Epoch: q.Epoch}
	if m == no || m == deposed {
		reply.Follows, reply.No = false, protocol.NotReceiving
	}
	return reply, err
}

// Find implements guard.Local.
func (w *world) Find(context.Context) (guard.Process, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.process.end:
		return nil, fence.ErrNoProcess
	default:
		return w.process, nil
	}
}

// Look implements guard.Local.
func (w *world) Look(ctx context.Context) (guard.Seen, error) {
	if err := w.reach(ctx); err != nil {
		return guard.Seen{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return guard.Seen{ReadOnly: w.readOnly, Replica: w.replica, UUID: "uuid-a"}, nil
}

func (w *world) reach(ctx context.Context) error {
	w.mu.Lock()
	hangs, end := w.hangs, w.process.end
	w.mu.Unlock()
	if hangs {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
		}
	}
	select {
	case <-end:
		return errors.New("connection lost")
	default:
		return nil
	}
}

// Source implements guard.Local.
func (w *world) Source(ctx context.Context) (guard.Source, error) {
	if err := w.reach(ctx); err != nil {
		return guard.Source{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.receives, nil
}

// Open implements fence.Opener.
func (w *world) Open(ctx context.Context) (fence.Session, error) {
	w.do(func() { w.opened++ })
	return session{w}, w.reach(ctx)
}

type session struct{ w *world }

func (s session) SetReadOnly(ctx context.Context) error {
	if err := s.w.reach(ctx); err != nil {
		return err
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.w.blocked == nil {
		s.w.readOnly = true
	}
	return s.w.blocked
}

func (s session) EndClients(ctx context.Context) (int, int, error) {
	if err := s.w.reach(ctx); err != nil {
		return 0, 0, err
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	n := s.w.clients
	s.w.ended, s.w.clients = s.w.ended+n, 0
	return n, 0, nil
}

func (session) EndingReveals(context.Context) (bool, error) { return false, nil }
func (session) Close()                                      {}

func (p *process) PID() int { return p.pid }
func (p *process) Close()   {}

func (p *process) Kill() error {
	if p.dies >= 0 {
		p.once.Do(func() {
			time.AfterFunc(p.dies, func() { close(p.end) })
		})
	}
	return nil
}

func (p *process) Wait(ctx context.Context) (fence.Exit, error) {
	select {
	case <-p.end:
		return fence.Exit{Kind: fence.Killed, Status: 9}, nil
	case <-ctx.Done():
		return fence.Exit{}, ctx.Err()
	}
}

// writable tells whether the server takes writes.
func (w *world) writable() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.process.end:
		return false
	default:
		return !w.readOnly
	}
}

// ends is when the lease ends by what was given: by each from when it was, and
// not from when it was heard of.
func (w *world) ends() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	nth := func(n int, names []string) time.Time {
		var all []time.Time
		for _, name := range names {
			if at, ok := w.given[name]; ok {
				all = append(all, at.Add(grantFor))
			}
		}
		if n <= 0 || len(all) < n {
			return time.Time{}
		}
		for range n - 1 {
			latest := 0
			for i := range all {
				if all[i].After(all[latest]) {
					latest = i
				}
			}
			all = append(all[:latest], all[latest+1:]...)
		}
		var end time.Time
		for _, at := range all {
			if at.After(end) {
				end = at
			}
		}
		return end
	}
	end := nth(len(w.controllers)/2+1, w.controllers)
	if by := nth((len(w.peers)+1)/2, w.peers); by.After(end) {
		end = by
	}
	return end
}

// tells returns what a controller was told last.
func (w *world) tells(controller string) protocol.Renew {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told[controller]
}

// until waits for what must come within a time.
func (w *world) until(d time.Duration, what string, ok func() bool) {
	w.t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > d {
			w.t.Fatalf("not within %s: %s", d, what)
		}
	}
}

// held has the sidecar hold the lease and say so.
func (w *world) held() {
	w.t.Helper()
	w.all(w.controllers, yes)
	w.until(5*time.Second, "held", func() bool { return w.tells("c1").Holding == protocol.Held })
}

func source(server string, receiving bool) guard.Source {
	return guard.Source{Server: server, Receiving: receiving}
}

func newGuard(w *world) (*guard.Guard, error) {
	return guard.New(w.config(), guard.Ports{Wire: w, Local: w, Clock: w.clock}, slog.New(slog.DiscardHandler))
}
