package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"switchyard/store/ledger"
)

// stream is the TCP, or TLS, under raft's transport. Both ends greet each other
// first and prove that they know the controllers' secret, so that strangers,
// controllers of different clusters, or with different ideas of who the
// controllers are, never exchange votes.
type stream struct {
	net.Listener
	cfg    Config
	logger *slog.Logger
	// known returns the controllers, and counted, once raft runs, those that it has.
	known   func() ledger.Controllers
	counted atomic.Pointer[raft.Raft]
	// expelled is set once another controller has said that this one was removed.
	expelled atomic.Pointer[expulsion]

	done chan struct{}
	mu   sync.Mutex
	// conns is nil once this stream is closed.
	conns map[net.Conn]*greeted
	// greetings counts by host those that have not said who they are; greeting
	// is their sum.
	greetings map[string]int
	greeting  int
	// complaints has when a reason was last logged.
	complaints map[complaint]time.Time
	// certified is the last usable TLS.
	certified *tls.Config
	closing   sync.Once
	err       error
}

var _ raft.StreamLayer = (*stream)(nil)

// listen binds the raft port.
func listen(ctx context.Context, cfg Config, logger *slog.Logger) (*stream, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Bind)
	if err != nil {
		return nil, fmt.Errorf("bind.raft: cannot listen at %s: %w; name an address of this machine and a free port",
			cfg.Bind, err)
	}
	return &stream{
		Listener: listener, cfg: cfg, logger: logger, known: cfg.founders, done: make(chan struct{}), conns: map[net.Conn]*greeted{},
		greetings: map[string]int{}, complaints: map[complaint]time.Time{},
	}, nil
}

// transport puts raft's protocol on the stream.
func (s *stream) transport(logger *raftLogger) *raft.NetworkTransport {
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: s,
		Stream:                s,
		MaxPool:               3,
		// One at a time. With more, raft pipelines, and whoever steps down while the
		// pipeline is full leaves a goroutine behind that nothing ends: raft's own end
		// waits for it, and this controller's with it.
		MaxRPCsInFlight: 1,
		Timeout:         s.cfg.Timeouts.Network,
		Logger:          logger,
	})
}

// ServerAddr implements raft.ServerAddressProvider: by the ledger, or else the
// configuration file, and not by what raft's log says, so that a controller may
// move.
func (s *stream) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if address := s.addressOf(string(id)); address != "" {
		return raft.ServerAddress(address), nil
	}
	return "", fmt.Errorf("there is no controller %q", id)
}

// addressOf is where a controller is looked for; empty for a stranger.
func (s *stream) addressOf(id string) string {
	if m, ok := s.known().Find(id); ok {
		return m.Raft
	}
	if peer, ok := s.cfg.peer(id); ok {
		return peer.RaftAddress
	}
	for _, server := range s.servers() {
		if string(server.ID) == id {
			return string(server.Address)
		}
	}
	return ""
}

// at is who is looked for at an address; empty for nobody.
func (s *stream) at(address string) string {
	for _, m := range s.known().Members {
		if m.Raft == address {
			return m.ID
		}
	}
	for _, server := range s.servers() {
		if string(server.Address) == address {
			return string(server.ID)
		}
	}
	for _, peer := range s.cfg.Peers {
		if peer.RaftAddress == address {
			return peer.ID
		}
	}
	return ""
}

// servers are those of raft's newest configuration.
func (s *stream) servers() []raft.Server {
	running := s.counted.Load()
	if running == nil {
		return nil
	}
	return running.GetConfiguration().Configuration().Servers
}

// Addr implements net.Listener: where the others find this controller.
func (s *stream) Addr() net.Addr { return advertised(s.cfg.Advertise) }

type advertised string

// Network implements net.Addr.
func (advertised) Network() string { return "tcp" }

// String implements net.Addr.
func (a advertised) String() string { return string(a) }

// Accept implements net.Listener. The greeting is read with the first byte
// that raft wants, so that a silent client holds up nobody.
func (s *stream) Accept() (net.Conn, error) {
	for {
		raw, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		admitted, err := s.admit(raw)
		if err != nil {
			s.reject(raw, err)
			// It is a stranger's, so that an error in closing it is nobody's.
			_ = raw.Close()
			continue
		}
		conn, err := s.track(raw)
		if err != nil {
			admitted()
			return nil, err
		}
		conn.welcome, conn.admitted = s.welcome, sync.OnceFunc(admitted)
		return conn, nil
	}
}

// Dial implements raft.StreamLayer.
func (s *stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	deadline := time.Now().Add(timeout)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	go func() {
		select {
		case <-s.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", string(address))
	if err != nil {
		return nil, err
	}
	conn, err := s.track(raw)
	if err != nil {
		return nil, err
	}
	if err := s.introduce(conn, string(address), deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// Close implements net.Listener. It also ends the connections: raft's
// goroutines would wait for an answer on them.
func (s *stream) Close() error {
	s.closing.Do(func() {
		close(s.done)
		s.mu.Lock()
		conns := s.conns
		s.conns = nil
		s.mu.Unlock()
		for conn := range conns {
			// An error here means that the connection was closed already.
			_ = conn.Close()
		}
		s.err = s.Listener.Close()
	})
	return s.err
}

// track keeps raw for Close.
func (s *stream) track(raw net.Conn) (*greeted, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		return nil, errors.Join(net.ErrClosed, raw.Close())
	}
	conn := &greeted{Conn: raw, raw: raw, owner: s}
	s.conns[raw] = conn
	return conn, nil
}

// evict ends the connections that were accepted of those who are no controllers
// any more: who was removed is told so when it dials again.
func (s *stream) evict(known ledger.Controllers) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for raw, conn := range s.conns {
		if _, ok := known.Find(conn.from); conn.from != "" && !ok && conn.set <= known.Number {
			// An error here means that the connection was closed already.
			_ = raw.Close()
		}
	}
}

func (s *stream) forget(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

// greeted is a connection that was greeted, or will be at the first read.
type greeted struct {
	// Conn is what raft speaks on: raw, or TLS on it.
	net.Conn
	raw   net.Conn
	owner *stream
	// from is who dialed, where that is known, and set what it knew; the owner's
	// lock guards them.
	from string
	set  uint64
	once sync.Once
	// welcome greets an accepted connection, admitted ends its greeting.
	welcome  func(*greeted) error
	admitted func()
	err      error
}

// Read implements net.Conn.
func (g *greeted) Read(p []byte) (int, error) {
	g.once.Do(func() {
		if g.welcome == nil {
			return
		}
		defer g.admitted()
		if g.err = g.welcome(g); g.err != nil {
			g.owner.reject(g.raw, g.err)
		}
	})
	if g.err != nil {
		// It was logged, once; raft would log it as an error at every attempt.
		return 0, io.EOF
	}
	n, err := g.Conn.Read(p)
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) {
		// This controller is closing, or the other one has died without TLS's
		// farewell, which is no error either.
		err = io.EOF
	}
	return n, err
}

// Close implements net.Conn. It says no farewell of TLS, which could block.
func (g *greeted) Close() error {
	if g.admitted != nil {
		g.admitted()
	}
	g.owner.forget(g.raw)
	return g.raw.Close()
}
