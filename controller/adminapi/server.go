// Package adminapi is a controller's HTTP door: what operators, probes of load
// balancers, Prometheus and the other controllers ask of it.
package adminapi

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"switchyard/controller/adminapi/wire"
)

// Leadership says who leads, and whether this controller can answer.
type Leadership interface {
	// Role says whether this controller leads, and whom it knows as the leader
	// (empty for nobody).
	Role() (leader bool, leaderID string)
	// Ready is nil when this controller has its state and knows a leader.
	Ready() error
}

// Pictures is what this controller sees and remembers of the clusters.
type Pictures interface {
	Status(ctx context.Context) (wire.Status, error)
	Clusters(ctx context.Context) ([]wire.Cluster, error)
	Topology(ctx context.Context, cluster string) (wire.Topology, error)
	// Proxies returns those of one cluster, or of all where cluster is empty.
	Proxies(ctx context.Context, cluster string) (wire.Proxies, error)
}

// History is the recoveries, open and past, and the audit.
type History interface {
	// Recoveries returns those of one cluster, or of all where cluster is
	// empty, the newest first.
	Recoveries(ctx context.Context, cluster string) ([]wire.Recovery, error)
	Recovery(ctx context.Context, id string) (wire.Recovery, error)
	// Audit returns what happened, the newest first.
	Audit(ctx context.Context, query wire.AuditQuery) (wire.Audit, error)
}

// Operator is what only the leader does; it is called on the leader only.
type Operator interface {
	Explain(ctx context.Context, cluster string) (wire.Explanation, error)
	// Switchover returns when the switchover has ended.
	Switchover(ctx context.Context, request wire.SwitchoverRequest) (wire.Recovery, error)
}

// Witness testifies to another controller.
type Witness interface {
	Witness(ctx context.Context, request wire.WitnessRequest) (wire.WitnessReply, error)
}

// Service is all that stands behind the door. A method that returns a
// *wire.Error chooses the answer; any other error becomes a 500 whose reason
// is in the log only.
type Service interface {
	Leadership
	Pictures
	Directories
	History
	Operator
	Operations
	Ledger
	Controllers
	Datacenters
	Witness
}

// Config is what the door needs to know. Zero limits take their defaults.
type Config struct {
	// Bind is host:port.
	Bind   string
	SelfID string
	// Name is this controller's host, and Boot a number that is new in each
	// process: they tell two controllers with one id apart.
	Name string
	Boot string
	// Secret is shared by the controllers. Internal calls are refused where it
	// is empty.
	Secret string
	// SidecarSecret is shared by the controllers and the sidecars; calls of
	// sidecars are refused where it is empty.
	SidecarSecret string
	// Sidecars answer the sidecars' calls, by path. Each takes the body of a
	// signed call, and returns that of its reply.
	Sidecars map[string]SidecarCall
	// Word gives this controller's word to another; nil where it gives none.
	Word func(ctx context.Context, request wire.WordRequest) (wire.WordReply, error)
	// Keeper answers the other controllers about directories; nil where there is none.
	Keeper Keeper
	// Peers is the base URL of each controller's door, by id, now. It may be nil.
	Peers func() map[string]string
	// Metrics answers /metrics; nil for none.
	Metrics http.Handler
	// Auth is who may do what; its zero value asks nobody.
	Auth Auth
	// TLS is the door's own certificate, and whose certificates it wants; nil for
	// a plain door. PeerTLS is for calls of this door to those of the others; nil
	// verifies these by the system's roots.
	TLS, PeerTLS *tls.Config
	Limits       Limits
}

// SidecarCall answers one call of a sidecar.
type SidecarCall struct {
	// Deadline bounds it; 0 for Limits.Answer.
	Deadline time.Duration
	Answer   func(ctx context.Context, body []byte) ([]byte, error)
}

// Limits keep rude and slow clients from taking what the decisions need.
type Limits struct {
	// Body and Header are bytes of a request.
	Body   int
	Header int
	// Connections are open at once, ConnectionsPerIP of them from one address. When
	// all are taken, one that waits for its client gives way to a newcomer.
	Connections      int
	ConnectionsPerIP int
	// Calls of operators are worked on at once. Internal calls, health and
	// leader checks do not count.
	Calls int
	// Logins is how many failed logins of one address are taken at once; after them,
	// one in LoginEvery.
	Logins     int
	LoginEvery time.Duration
	// Read is for one whole request, Write for one answer, Idle between two.
	Read, Write, Idle time.Duration
	// Answer is the deadline of the work for a call, Switchover that of a
	// planned switchover.
	Answer, Switchover time.Duration
	// Stop is how long calls under way may take once the door closes.
	Stop time.Duration
}

func (l Limits) withDefaults() Limits {
	l.Body = orDefault(l.Body, 64<<10)
	l.Header = orDefault(l.Header, 8<<10)
	l.Connections = orDefault(l.Connections, 1024)
	l.ConnectionsPerIP = orDefault(l.ConnectionsPerIP, 256)
	l.Calls = orDefault(l.Calls, 32)
	l.Logins = orDefault(l.Logins, 10)
	l.LoginEvery = orDefault(l.LoginEvery, time.Second)
	l.Read = orDefault(l.Read, 5*time.Second)
	l.Write = orDefault(l.Write, 10*time.Second)
	l.Idle = orDefault(l.Idle, 30*time.Second)
	l.Answer = orDefault(l.Answer, 10*time.Second)
	l.Switchover = orDefault(l.Switchover, 60*time.Second)
	l.Stop = orDefault(l.Stop, 3*time.Second)
	return l
}

func orDefault[T int | time.Duration](value, fallback T) T {
	if value == 0 {
		return fallback
	}
	return value
}

// Server is the door. Use New, Listen, then Run.
type Server struct {
	config  Config
	limits  Limits
	service Service
	log     *slog.Logger
	routes  []route
	metrics fasthttp.RequestHandler
	calls   chan struct{}
	// backups is full while one is made.
	backups  chan struct{}
	active   atomic.Int64
	heard    nonces
	logins   *logins
	listener net.Listener
	// document is what PathOpenAPI answers.
	document    []byte
	documentErr error
}

// New returns a door that is not open yet.
func New(config Config, service Service, log *slog.Logger) *Server {
	s := &Server{config: config, limits: config.Limits.withDefaults(), service: service, log: log}
	s.calls = make(chan struct{}, s.limits.Calls)
	s.backups = make(chan struct{}, 1)
	s.logins = newLogins(s.limits.Logins, s.limits.LoginEvery)
	if config.Metrics != nil {
		s.metrics = fasthttpadaptor.NewFastHTTPHandler(config.Metrics)
	}
	s.routes = s.table()
	body, err := json.Marshal(document(s.routes))
	s.document, s.documentErr = append(body, '\n'), err
	return s
}

// BindError is an address that cannot be listened on. It ends the process with
// status 2, as other mistakes in the configuration do.
type BindError struct {
	Bind string
	err  error
}

// Error implements error.
func (e *BindError) Error() string {
	return fmt.Sprintf("bind.http %q: %v; name a free address of this machine as HOST:PORT", e.Bind, e.err)
}

// Unwrap returns the network's reason.
func (e *BindError) Unwrap() error { return e.err }

// ExitCode is the process's status.
func (e *BindError) ExitCode() int { return 2 }

// Listen binds the address, so that a wrong one is known before anything starts.
func (s *Server) Listen() error {
	listener, err := net.Listen("tcp", s.config.Bind)
	if err != nil {
		return &BindError{Bind: s.config.Bind, err: err}
	}
	s.listener = share(listener, s.limits.Connections, s.limits.ConnectionsPerIP)
	if s.config.TLS != nil {
		s.listener = tls.NewListener(s.listener, s.config.TLS)
	}
	return nil
}

// Addr is the bound address, or nil before Listen.
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Close gives the address back where Run was never called.
func (s *Server) Close() error {
	if s.listener == nil {
		return nil
	}
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close %s: %w", s.listener.Addr(), err)
	}
	return nil
}

// Run serves until ctx ends, then closes the door: calls under way have
// Limits.Stop to end, and are cancelled after that.
func (s *Server) Run(ctx context.Context) error {
	if s.listener == nil {
		return errors.New("adminapi: Run before Listen")
	}
	// Calls outlive ctx by the grace, so they hang on a context of their own.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := s.fasthttp(work)

	served := make(chan error, 1)
	go func() { served <- server.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve http on %s: %w", s.listener.Addr(), errors.Join(err, s.Close()))
	case <-ctx.Done():
	}
	err := s.stop(server, cancel)
	if serveErr := <-served; serveErr != nil {
		err = errors.Join(err, fmt.Errorf("serve http: %w", serveErr))
	}
	return err
}

func (s *Server) stop(server *fasthttp.Server, cancel context.CancelFunc) error {
	grace, done := context.WithTimeout(context.Background(), s.limits.Stop)
	defer done()
	// Closed here first: a server that has not begun to serve does not know its
	// listener yet, and would leave it open.
	if err := s.Close(); err != nil {
		return err
	}
	err := server.ShutdownWithContext(grace)
	if err == nil || errors.Is(err, net.ErrClosed) {
		return nil
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop http: %w", err)
	}
	cancel()
	// What is still open after this is a peer that sends nothing, or a service
	// that does not heed its context: the latter is worth an error.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	last := time.NewTimer(s.limits.Stop)
	defer last.Stop()
	for s.active.Load() > 0 {
		select {
		case <-tick.C:
		case <-last.C:
			return fmt.Errorf("stop http: %d calls are still being worked on", s.active.Load())
		}
	}
	return nil
}

func (s *Server) fasthttp(work context.Context) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:            func(rc *fasthttp.RequestCtx) { s.handle(work, rc) },
		ErrorHandler:       s.unreadable,
		Logger:             lineLogger{s.log},
		ReadBufferSize:     s.limits.Header,
		MaxRequestBodySize: s.limits.Body,
		// The listener counts. The workers of connections that gave way end when they
		// get the processor, and a newcomer must not be turned away until then.
		Concurrency:                  16 * s.limits.Connections,
		ReadTimeout:                  s.limits.Read,
		WriteTimeout:                 s.limits.Write,
		IdleTimeout:                  s.limits.Idle,
		NoDefaultServerHeader:        true,
		CloseOnShutdown:              true,
		DisablePreParseMultipartForm: true,
		SecureErrorLogMessage:        true,
	}
}

// lineLogger takes fasthttp's remarks on single connections, which matter only
// to whoever looks for them.
type lineLogger struct{ log *slog.Logger }

// Printf implements fasthttp.Logger.
func (l lineLogger) Printf(format string, args ...any) {
	l.log.Debug("http: " + fmt.Sprintf(format, args...))
}
