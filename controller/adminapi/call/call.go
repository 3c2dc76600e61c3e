// Package call makes one HTTP call to a controller: one connection, one
// attempt, ended by its context. A call that was not answered is never sent a
// second time, because the first may have been heard.
package call

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"

	"switchyard/controller/adminapi/wire"
)

// Longest is how long a call may take whose context has no deadline.
const Longest = 30 * time.Second

// Request is one call.
type Request struct {
	Method string
	// URL is absolute, its path escaped.
	URL    string
	Body   []byte
	Header map[string]string
	// Connect is how long the connection may take; 0 is as long as the call.
	Connect time.Duration
	// MaxReply is the longest body taken; 0 is 16 MiB.
	MaxReply int
	// TLS is for an https URL; nil verifies the server by the system's roots.
	TLS *tls.Config
}

// Reply is what was answered.
type Reply struct {
	Status      int
	ContentType string
	Body        []byte
	// Signature is the header of internal replies.
	Signature string
}

// ErrUnreachable is returned, wrapped, when no connection could be made: the
// request was not heard.
var ErrUnreachable = errors.New("cannot connect")

// Do makes the call. When ctx ends first, the error wraps context.Canceled, or
// the cause of the deadline.
func Do(ctx context.Context, r Request) (Reply, error) {
	target, err := url.Parse(r.URL)
	if err != nil {
		return Reply{}, fmt.Errorf("url of the call: %w", err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, Longest)
		defer cancel()
	}
	deadline, _ := ctx.Deadline()

	dialer := &contextDialer{ctx: ctx, patience: r.Connect}
	if target.Scheme == "https" {
		dialer.tls = cmp.Or(r.TLS, &tls.Config{MinVersion: tls.VersionTLS12}).Clone()
		dialer.tls.ServerName = cmp.Or(dialer.tls.ServerName, target.Hostname())
	}
	defer dialer.close()
	client := &fasthttp.HostClient{
		Addr: address(target), IsTLS: target.Scheme == "https", Dial: dialer.dial,
		MaxIdemponentCallAttempts: 1, MaxResponseBodySize: maxReply(r.MaxReply),
		NoDefaultUserAgentHeader: true, DisablePathNormalizing: true, SecureErrorLogMessage: true,
	}
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	fill(request, r)
	if err := client.DoDeadline(request, response, deadline); err != nil {
		return Reply{}, explain(ctx, dialer, target, err)
	}
	return Reply{
		Status:      response.StatusCode(),
		ContentType: string(response.Header.ContentType()),
		Body:        append([]byte(nil), response.Body()...),
		Signature:   string(response.Header.Peek(wire.HeaderSignature)),
	}, nil
}

func fill(request *fasthttp.Request, r Request) {
	request.URI().DisablePathNormalizing = true
	request.SetRequestURI(r.URL)
	request.Header.SetMethod(r.Method)
	request.SetConnectionClose()
	if r.Body != nil {
		request.Header.SetContentType("application/json")
		request.SetBodyRaw(r.Body)
	}
	for name, value := range r.Header {
		request.Header.Set(name, value)
	}
}

func explain(ctx context.Context, dialer *contextDialer, target *url.URL, err error) error {
	where := target.Scheme + "://" + target.Host
	switch {
	case dialer.failed != nil && ctx.Err() == nil:
		return fmt.Errorf("%s: %w: %w", where, ErrUnreachable, dialer.failed)
	case dialer.failed != nil:
		return fmt.Errorf("%s: %w: %w", where, ErrUnreachable, cause(ctx))
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", where, cause(ctx))
	case dialer.refused != nil:
		return fmt.Errorf("%s: it refuses this caller's certificate, or wants one: %w", where, dialer.refused)
	case dialer.tls != nil && !dialer.heard && !errors.Is(err, fasthttp.ErrTimeout):
		// The alert may be lost where the server closes on what it has not read.
		return fmt.Errorf("%s: it ends the connection, and may refuse this caller's certificate, or wants one: %w", where, err)
	case dialer.tls == nil && errors.Is(err, fasthttp.ErrConnectionClosed):
		return fmt.Errorf("%s: it ends the connection without an answer; one that speaks TLS does so, and its URL begins with https: %w", where, err)
	case errors.Is(err, fasthttp.ErrTimeout):
		return fmt.Errorf("%s: no answer: %w", where, context.DeadlineExceeded)
	default:
		return fmt.Errorf("%s: %w", where, err)
	}
}

// cause is why ctx ended. A cancellation stays recognisable as one: the cause
// that a signal leaves behind is not.
func cause(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	return context.Cause(ctx)
}

func address(target *url.URL) string {
	if target.Port() != "" {
		return target.Host
	}
	if target.Scheme == "https" {
		return net.JoinHostPort(target.Hostname(), "443")
	}
	return net.JoinHostPort(target.Hostname(), "80")
}

func maxReply(n int) int {
	if n == 0 {
		return 16 << 20
	}
	return n
}

// contextDialer makes the one connection of a call and closes it as soon as
// the context ends: fasthttp itself knows deadlines only. It is used by the
// caller's goroutine alone.
type contextDialer struct {
	ctx      context.Context //nolint:containedctx // it lives as long as one call
	patience time.Duration
	tls      *tls.Config // nil for a plain connection
	stop     func() bool
	failed   error
	// refused is why the server ended the handshake, and heard whether it answered
	// anything after it.
	refused error
	heard   bool
}

func (d *contextDialer) dial(addr string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: d.patience}
	conn, err := dialer.DialContext(d.ctx, "tcp", addr)
	if err != nil {
		d.failed = err
		return nil, err
	}
	d.stop = context.AfterFunc(d.ctx, func() {
		// A failed close leaves nothing to do: the call has its deadline.
		_ = conn.Close()
	})
	if d.tls == nil {
		return conn, nil
	}
	// Here and not in fasthttp: before the handshake is done nothing was heard.
	secure := tls.Client(conn, d.tls)
	if err := d.shake(secure); err != nil {
		_ = conn.Close()
		d.failed = fmt.Errorf("tls: %w", err)
		return nil, d.failed
	}
	return &refusable{secure, d}, nil
}

// refusable keeps the alert by which a server refuses the caller's certificate: it
// comes with the first answer, and fasthttp says only that the connection ended.
type refusable struct {
	*tls.Conn
	dialer *contextDialer
}

// Read implements net.Conn.
func (c *refusable) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.dialer.heard = c.dialer.heard || n > 0
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" {
		c.dialer.refused = err
	}
	return n, err
}

func (d *contextDialer) shake(conn *tls.Conn) error {
	ctx := d.ctx
	if d.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.patience)
		defer cancel()
	}
	return conn.HandshakeContext(ctx)
}

func (d *contextDialer) close() {
	if d.stop != nil {
		d.stop()
	}
}
