// Package probe looks at MySQL and MariaDB servers: it reads what a server
// says of itself in one round trip, and holds tripwires on masters.
package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"
	"time"

	"switchyard/controller/topology"
	"switchyard/integrations/mysql/link"
)

// Config is how servers are probed.
type Config struct {
	User string
	// Password returns the password; nil is none.
	Password func() string
	// TLS is nil for plain connections; with TLSPreferred a server without TLS
	// is probed without.
	TLS          *tls.Config
	TLSPreferred bool
	// ConnectTimeout bounds each new connection with its handshakes, and a
	// whole probe whose context has no deadline.
	ConnectTimeout time.Duration

	// The operator's own queries, each of one column in one row; an empty one
	// is not asked.
	LagQuery         string // seconds, with or without a fraction
	DataCenterQuery  string
	RegionQuery      string
	ClusterNameQuery string

	// Now is the clock by which a tripwire's end is dated; nil is time.Now.
	Now func() time.Time
}

// Error is a probe that failed; its Reach method says how.
type Error = link.Error

// errClosed is what a closed prober answers.
var errClosed = errors.New("the prober is closed")

// Prober probes servers, on one kept connection for each address.
type Prober struct {
	cfg    Config
	log    *slog.Logger
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu     sync.Mutex
	seats  map[topology.Key]*seat
	wires  map[topology.Key]*link.Conn // the tripwires that are held
	slow   map[topology.Key]*slow
	closed bool
}

// seat is the kept connection of one address. Whoever has put a token into
// busy owns the rest.
type seat struct {
	busy chan struct{}
	conn *link.Conn
	gone bool // forgotten: nothing is to be kept here
	// refused are the questions that this connection's server did not answer.
	refused map[string]string
}

// New returns a prober; nothing is connected yet.
func New(cfg Config, log *slog.Logger) *Prober {
	cfg.ConnectTimeout = cmp.Or(cfg.ConnectTimeout, link.DefaultConnectTimeout)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Prober{cfg: cfg, log: log, ctx: ctx, cancel: cancel, seats: map[topology.Key]*seat{},
		wires: map[topology.Key]*link.Conn{}, slow: map[topology.Key]*slow{}}
}

// Probe reads the server at address on its kept connection, one probe at a
// time. A kept connection that turns out to be lost proves nothing, so it is
// replaced within the same probe. Errors about the server are *Error.
func (p *Prober) Probe(ctx context.Context, address topology.Key) (*topology.Instance, error) {
	instance, err := p.probe(ctx, address)
	return instance, p.refine(address, err)
}

func (p *Prober) probe(ctx context.Context, address topology.Key) (*topology.Instance, error) {
	ctx, done := p.bound(ctx)
	defer done()
	s, err := p.take(ctx, address)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	if s.conn != nil {
		instance, err := p.read(ctx, s, false)
		if err == nil || ctx.Err() != nil || !link.Lost(err) {
			return instance, s.keep(err)
		}
		p.log.Debug("the kept connection is lost", "instance", address, "err", err)
		s.drop()
	}
	if s.conn, err = link.Dial(ctx, p.link(), address); err != nil {
		s.conn = nil
		return nil, err
	}
	instance, err := p.read(ctx, s, false)
	return instance, s.keep(err)
}

// ProbeFresh does the same on a new connection, at once: it does not wait for
// a probe that hangs on the kept one. Its connection is kept if nobody else has one.
func (p *Prober) ProbeFresh(ctx context.Context, address topology.Key) (*topology.Instance, error) {
	instance, err := p.probeFresh(ctx, address)
	return instance, p.refine(address, err)
}

func (p *Prober) probeFresh(ctx context.Context, address topology.Key) (*topology.Instance, error) {
	ctx, done := p.bound(ctx)
	defer done()
	conn, err := link.Dial(ctx, p.link(), address)
	if err != nil {
		return nil, err
	}
	fresh := &seat{busy: make(chan struct{}, 1), conn: conn}
	instance, err := p.read(ctx, fresh, true)
	if err != nil || !p.seatDown(address, fresh) {
		fresh.drop()
	}
	return instance, err
}

// seatDown makes the fresh connection the kept one, unless a probe is under way.
func (p *Prober) seatDown(address topology.Key, fresh *seat) bool {
	s, err := p.seat(address)
	if err != nil {
		return false
	}
	select {
	case s.busy <- struct{}{}:
	default:
		return false
	}
	defer s.leave()
	s.drop()
	s.conn, s.refused = fresh.conn, fresh.refused
	return true
}

// Forget closes the kept connection to address, after the probe that uses it.
func (p *Prober) Forget(address topology.Key) {
	p.mu.Lock()
	s := p.seats[address]
	delete(p.seats, address)
	delete(p.slow, address)
	p.mu.Unlock()
	if s != nil {
		s.clear()
	}
}

// Close ends all probes and tripwires and closes all connections.
func (p *Prober) Close() {
	p.cancel()
	p.mu.Lock()
	p.closed = true
	seats := p.seats
	p.seats = map[topology.Key]*seat{}
	p.mu.Unlock()
	for _, s := range seats {
		s.clear()
	}
}

// bound ends ctx with the prober, and gives it a deadline if it has none.
func (p *Prober) bound(ctx context.Context) (context.Context, func()) {
	var cancel context.CancelFunc
	if _, ok := ctx.Deadline(); ok {
		ctx, cancel = context.WithCancel(ctx)
	} else {
		ctx, cancel = context.WithTimeout(ctx, p.cfg.ConnectTimeout)
	}
	stop := context.AfterFunc(p.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

func (p *Prober) link() link.Config {
	return link.Config{
		User: p.cfg.User, Password: p.cfg.Password, TLS: p.cfg.TLS, TLSOptional: p.cfg.TLSPreferred,
		ConnectTimeout: p.cfg.ConnectTimeout,
	}
}

func (p *Prober) seat(address topology.Key) (*seat, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	s := p.seats[address]
	if s == nil {
		s = &seat{busy: make(chan struct{}, 1)}
		p.seats[address] = s
	}
	return s, nil
}

// take waits for the seat of address. Who waits until its deadline waited for
// another probe's answer, which is a timeout of the server.
func (p *Prober) take(ctx context.Context, address topology.Key) (*seat, error) {
	s, err := p.seat(address)
	if err != nil {
		return nil, err
	}
	select {
	case s.busy <- struct{}{}:
		return s, nil
	case <-ctx.Done():
		return nil, link.NewError(address, "wait for the probe before this one", ctx.Err())
	}
}

func (s *seat) leave() {
	if s.gone {
		s.drop()
	}
	<-s.busy
}

// clear closes the connection once nobody uses it.
func (s *seat) clear() {
	s.busy <- struct{}{}
	s.gone = true
	s.leave()
}

func (s *seat) drop() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.conn, s.refused = nil, nil
}

// keep passes err on, and drops the connection that it spoiled.
func (s *seat) keep(err error) error {
	if err != nil {
		s.drop()
	}
	return err
}
