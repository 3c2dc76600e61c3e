// Package call sends one signed message of the sidecars' protocol, and reads
// its signed reply: from a sidecar to a controller, from a controller to a
// sidecar, and among sidecars.
package call

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"switchyard/controller/adminapi/wire"
	"switchyard/sidecar/protocol"
)

// Longest bounds a call whose context has no deadline.
const Longest = 5 * time.Second

// Client keeps its connections.
type Client struct {
	secret string
	http   *fasthttp.Client
	// under counts the calls under way, some of which nobody waits for any more.
	under sync.WaitGroup
}

// New returns a client that signs with the secret of controllers and sidecars.
func New(secret string) *Client { return NewOver(secret, nil) }

// NewOver is New for https URLs too; nil verifies these by the system's roots.
func NewOver(secret string, over *tls.Config) *Client {
	return &Client{secret: secret, http: &fasthttp.Client{
		TLSConfig:                over,
		NoDefaultUserAgentHeader: true,
		MaxResponseBodySize:      protocol.MaxMessage,
		MaxIdleConnDuration:      30 * time.Second,
		// What is sent twice is decided by the caller.
		MaxIdemponentCallAttempts: 1,
	}}
}

// Wait returns when no call is under way any more: each ends by its deadline.
func (c *Client) Wait() { c.under.Wait() }

// Post sends q to base (http://HOST:PORT) + path. It is sent once; on a kept
// connection that the other side has closed before anything was read, twice.
func Post[A, Q protocol.Message](ctx context.Context, c *Client, base, path string, q Q) (A, error) {
	var none A
	body, err := protocol.Encode(q)
	if err != nil {
		return none, err
	}
	reply, err := c.do(ctx, base, path, body)
	if err != nil {
		return none, fmt.Errorf("%s%s: %w", base, path, err)
	}
	a, err := protocol.Decode[A](reply)
	if err != nil {
		return none, fmt.Errorf("%s%s: %w", base, path, err)
	}
	return a, nil
}

func (c *Client) do(ctx context.Context, base, path string, body []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(Longest)
	}
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	nonce := rand.Text()
	request.SetRequestURI(base + path)
	request.Header.SetMethod(fasthttp.MethodPost)
	request.Header.SetContentType("application/json")
	request.Header.Set(wire.HeaderNonce, nonce)
	request.Header.Set(wire.HeaderSignature, wire.SignRequest(c.secret, fasthttp.MethodPost, path, nonce, body))
	request.SetBodyRaw(body)

	// fasthttp knows deadlines only: a context that ends before is not waited out.
	type outcome struct {
		body []byte
		err  error
	}
	done := make(chan outcome, 1)
	c.under.Go(func() {
		defer fasthttp.ReleaseRequest(request)
		defer fasthttp.ReleaseResponse(response)
		err := c.http.DoDeadline(request, response, deadline)
		if errors.Is(err, fasthttp.ErrConnectionClosed) && time.Now().Before(deadline) {
			// A kept connection that was closed at the other end was not read from.
			err = c.http.DoDeadline(request, response, deadline)
		}
		if err != nil {
			done <- outcome{err: err}
			return
		}
		got, err := c.open(response, nonce)
		done <- outcome{append([]byte(nil), got...), err}
	})
	select {
	case o := <-done:
		return o.body, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// open reads a reply that a holder of the secret has signed for this call.
func (c *Client) open(response *fasthttp.Response, nonce string) ([]byte, error) {
	body, status := response.Body(), response.StatusCode()
	want := wire.SignReply(c.secret, nonce, status, body)
	signed := wire.VerifySignature(c.secret, string(response.Header.Peek(wire.HeaderSignature)), want)
	if status != fasthttp.StatusOK {
		var failure wire.Error
		if err := json.Unmarshal(body, &failure); err != nil || failure.Code == "" {
			return nil, fmt.Errorf("status %d, and neither a controller's nor a sidecar's answer: check the address", status)
		}
		return nil, fmt.Errorf("status %d: %w", status, &failure)
	}
	if !signed {
		return nil, errors.New("its reply is not signed with the secret of controllers and sidecars")
	}
	return body, nil
}
