// Package door is where a sidecar is called: by the controllers, and by the
// other sidecars of its cluster. Each call is one signed message, and so is its
// reply.
package door

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"switchyard/controller/adminapi/wire"
	"switchyard/sidecar/protocol"
)

// Handler answers the body of one call.
type Handler func(ctx context.Context, body []byte) ([]byte, error)

// Answer makes a handler of a function over messages.
func Answer[Q, A protocol.Message](answer func(context.Context, Q) (A, error)) Handler {
	return func(ctx context.Context, body []byte) ([]byte, error) {
		q, err := protocol.Decode[Q](body)
		if err != nil {
			return nil, wire.NewError(wire.BadRequest, err.Error(), "")
		}
		a, err := answer(ctx, q)
		if err != nil {
			return nil, err
		}
		return protocol.Encode(a)
	}
}

// Config is what a door is told.
type Config struct {
	// Listen is HOST:PORT.
	Listen string
	// Secret is shared by the controllers and the sidecars.
	Secret string
	// Deadline bounds each call; 0 is 5 s.
	Deadline time.Duration
}

// Door is an HTTP server for POST on fixed paths. Use New, Handle, Listen, Run.
type Door struct {
	cfg      Config
	log      *slog.Logger
	handlers map[string]Handler
	listener net.Listener
}

// New returns a door that is not open yet.
func New(cfg Config, log *slog.Logger) *Door {
	if cfg.Deadline <= 0 {
		cfg.Deadline = 5 * time.Second
	}
	return &Door{cfg: cfg, log: log, handlers: map[string]Handler{}}
}

// Handle adds a path. It is called before Run.
func (d *Door) Handle(path string, h Handler) { d.handlers[path] = h }

// Listen binds the address, so that a wrong one is known before anything starts.
func (d *Door) Listen(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen %q: %w; name a free address of this machine as HOST:PORT", d.cfg.Listen, err)
	}
	d.listener = listener
	return nil
}

// Addr is where it listens, after Listen.
func (d *Door) Addr() net.Addr { return d.listener.Addr() }

// Run serves until ctx ends, and returns when no call is under way any more.
func (d *Door) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &fasthttp.Server{
		Handler:                      func(rc *fasthttp.RequestCtx) { d.serve(work, rc) },
		MaxRequestBodySize:           protocol.MaxMessage,
		Concurrency:                  256,
		ReadTimeout:                  5 * time.Second,
		WriteTimeout:                 5 * time.Second,
		IdleTimeout:                  time.Minute,
		NoDefaultServerHeader:        true,
		CloseOnShutdown:              true,
		DisablePreParseMultipartForm: true,
		SecureErrorLogMessage:        true,
		Logger:                       quiet{d.log},
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(d.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve on %s: %w", d.listener.Addr(), err)
	case <-ctx.Done():
	}
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer done()
	err := server.ShutdownWithContext(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // a caller that keeps its connection open is no work under way
	}
	// A server that had not begun to serve leaves its listener to us.
	if closing := d.listener.Close(); closing != nil && !errors.Is(closing, net.ErrClosed) {
		err = errors.Join(err, closing)
	}
	return errors.Join(err, <-served)
}

func (d *Door) serve(work context.Context, rc *fasthttp.RequestCtx) {
	path, nonce := string(rc.Path()), string(rc.Request.Header.Peek(wire.HeaderNonce))
	h, ok := d.handlers[path]
	switch {
	case !ok:
		d.fail(rc, nonce, wire.NewError(wire.NotFound, "there is nothing at this path", "look which sidecar listens here"))
		return
	case !rc.IsPost():
		d.fail(rc, nonce, wire.NewError(wire.MethodNotAllowed, "want POST", ""))
		return
	}
	want := wire.SignRequest(d.cfg.Secret, fasthttp.MethodPost, path, nonce, rc.PostBody())
	if nonce == "" || !wire.VerifySignature(d.cfg.Secret, string(rc.Request.Header.Peek(wire.HeaderSignature)), want) {
		d.log.Warn("a call was refused: it is not signed with the secret of controllers and sidecars",
			slog.String("path", path), slog.String("from", rc.RemoteAddr().String()))
		d.fail(rc, nonce, wire.NewError(wire.Unauthorized, "this call is not signed with the secret of controllers and sidecars",
			"give controllers and sidecars the same secret"))
		return
	}
	ctx, cancel := context.WithTimeout(work, d.cfg.Deadline)
	defer cancel()
	body, err := d.guarded(ctx, h, path, rc.PostBody())
	if err != nil {
		d.fail(rc, nonce, err)
		return
	}
	d.write(rc, nonce, fasthttp.StatusOK, body)
}

// guarded lets no panic out: fasthttp would end the process with it.
func (d *Door) guarded(ctx context.Context, h Handler, path string, body []byte) (reply []byte, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			d.log.Error("a handler panicked", slog.String("path", path), slog.Any("panic", cause))
			err = errors.New("panicked")
		}
	}()
	return h(ctx, body)
}

func (d *Door) fail(rc *fasthttp.RequestCtx, nonce string, err error) {
	var failure *wire.Error
	switch {
	case errors.As(err, &failure):
	case errors.Is(err, context.DeadlineExceeded):
		failure = wire.NewError(wire.Timeout, err.Error(), "")
	default:
		d.log.Error("a call failed", slog.String("path", string(rc.Path())), slog.Any("error", err))
		failure = wire.NewError(wire.Internal, "the sidecar failed to answer", "its log has the reason")
	}
	body, err := json.Marshal(failure)
	if err != nil { // three strings
		body = []byte(`{"code":"internal","message":"the answer cannot be written as JSON"}`)
	}
	d.write(rc, nonce, failure.Code.Status(), body)
}

func (d *Door) write(rc *fasthttp.RequestCtx, nonce string, status int, body []byte) {
	rc.SetStatusCode(status)
	rc.SetContentType("application/json")
	rc.SetBody(body)
	if nonce != "" {
		rc.Response.Header.Set(wire.HeaderSignature, wire.SignReply(d.cfg.Secret, nonce, status, body))
	}
}

// quiet takes fasthttp's remarks on single connections.
type quiet struct{ log *slog.Logger }

// Printf implements fasthttp.Logger.
func (q quiet) Printf(format string, args ...any) {
	q.log.Debug("http: " + fmt.Sprintf(format, args...))
}
