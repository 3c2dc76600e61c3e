package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// stream is the TCP under raft's transport. Both ends greet each other first,
// so that controllers of different clusters, or with different ideas of who
// the controllers are, never exchange votes.
type stream struct {
	net.Listener
	cfg    Config
	logger *slog.Logger

	done    chan struct{}
	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	refused string
	closing sync.Once
	err     error
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
		Listener: listener, cfg: cfg, logger: logger, done: make(chan struct{}), conns: map[net.Conn]struct{}{},
	}, nil
}

// transport puts raft's protocol on the stream.
func (s *stream) transport(logger *raftLogger) *raft.NetworkTransport {
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: addresses{s.cfg},
		Stream:                s,
		MaxPool:               3,
		Timeout:               s.cfg.Timeouts.Network,
		Logger:                logger,
	})
}

// addresses finds controllers by the configuration, not by what raft's log
// says, so that a controller may move.
type addresses struct{ cfg Config }

// ServerAddr implements raft.ServerAddressProvider.
func (a addresses) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	peer, ok := a.cfg.peer(string(id))
	if !ok {
		return "", fmt.Errorf("peers has no %q", id)
	}
	return raft.ServerAddress(peer.RaftAddress), nil
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
	conn, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return s.track(conn, s.welcome)
}

// Dial implements raft.StreamLayer.
func (s *stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
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
	conn, err := s.track(raw, nil)
	if err != nil {
		return nil, err
	}
	if err := s.introduce(conn, string(address), timeout); err != nil {
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

// track keeps conn for Close. greet is called before the first read.
func (s *stream) track(conn net.Conn, greet func(net.Conn) error) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		return nil, errors.Join(net.ErrClosed, conn.Close())
	}
	s.conns[conn] = struct{}{}
	return &greeted{Conn: conn, owner: s, greet: greet}, nil
}

func (s *stream) forget(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

// greeted is a connection that was greeted, or will be at the first read.
type greeted struct {
	net.Conn
	owner *stream
	once  sync.Once
	greet func(net.Conn) error
	err   error
}

// Read implements net.Conn.
func (g *greeted) Read(p []byte) (int, error) {
	g.once.Do(func() {
		if g.greet != nil {
			g.err = g.greet(g.Conn)
			g.owner.logger.Debug("raft connection accepted", "from", g.RemoteAddr().String(), "error", g.err)
		}
	})
	if g.err != nil {
		// It was logged, once; raft would log it as an error at every attempt.
		return 0, io.EOF
	}
	n, err := g.Conn.Read(p)
	if errors.Is(err, net.ErrClosed) {
		// This controller is closing, which is no error either.
		err = io.EOF
	}
	return n, err
}

// Close implements net.Conn.
func (g *greeted) Close() error {
	g.owner.forget(g.Conn)
	return g.Conn.Close()
}
