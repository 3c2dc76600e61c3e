// Package ctl is the operator's commands: a client of the controllers' HTTP
// door that finds the leader by itself, and prints what it is told.
package ctl

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"switchyard/controller/adminapi/call"
	"switchyard/controller/adminapi/wire"
)

// UsageError is a mistake in how a command was called. It ends the process
// with status 2.
type UsageError struct{ err error }

// NewUsageError returns err as a UsageError.
func NewUsageError(err error) *UsageError { return &UsageError{err: err} }

// Error implements error.
func (e *UsageError) Error() string { return e.err.Error() }

// Unwrap returns the mistake.
func (e *UsageError) Unwrap() error { return e.err }

// ExitCode is the process's status.
func (e *UsageError) ExitCode() int { return 2 }

const (
	// findTime bounds the search for the leader.
	findTime = 3 * time.Second
	// settleTime is how long the leader may still come forward once a follower
	// has answered; a follower forwards what only the leader may do.
	settleTime = 300 * time.Millisecond
)

// Client speaks to a set of controllers.
type Client struct {
	urls    []string
	timeout time.Duration
	// over is for https URLs, and authorization says who calls; "" for nobody.
	over          *tls.Config
	authorization string
}

// NewClient returns a client of the controllers at the URLs, each of which may
// be a comma-separated list. Timeout is for one command, the search included.
func NewClient(lists []string, timeout time.Duration) (*Client, error) {
	var urls []string
	for _, list := range lists {
		for text := range strings.SplitSeq(list, ",") {
			text = strings.TrimSpace(text)
			if text == "" {
				continue
			}
			base, err := parseURL(text)
			if err != nil {
				return nil, NewUsageError(err)
			}
			urls = append(urls, base)
		}
	}
	if len(urls) == 0 {
		return nil, NewUsageError(errors.New(
			"no controller is named; give --api URL[,URL...], or set SWITCHYARD_API, as in http://10.0.0.1:7400"))
	}
	return &Client{urls: urls, timeout: timeout}, nil
}

func parseURL(text string) (string, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "", fmt.Errorf("--api %q is not a URL; want http://HOST:PORT", text)
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("--api %q: want http://HOST:PORT or https://HOST:PORT", text)
	case u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("--api %q: want http://HOST:PORT and nothing else", text)
	}
	return u.Scheme + "://" + u.Host, nil
}

// Get fetches path, and decodes what comes into value.
func (c *Client) Get(ctx context.Context, path string, value any) error {
	return c.do(ctx, http.MethodGet, path, nil, value)
}

// Post sends request to path, and decodes what comes into value.
func (c *Client) Post(ctx context.Context, path string, request, value any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	return c.do(ctx, http.MethodPost, path, body, value)
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, value any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("no answer within %s (--timeout)", c.timeout))
	defer cancel()
	base, err := c.find(ctx)
	if err != nil {
		return err
	}
	reply, err := c.call(ctx, call.Request{Method: method, URL: base + path, Body: body})
	if err != nil {
		return err
	}
	if reply.Status != http.StatusOK {
		return refusal(base, reply)
	}
	if err := json.Unmarshal(reply.Body, value); err != nil {
		return fmt.Errorf("%s%s: the answer is not what this version of switchyard expects: %w", base, path, err)
	}
	return nil
}

// call makes one call, as whoever the caller is.
func (c *Client) call(ctx context.Context, r call.Request) (call.Reply, error) {
	r.TLS = c.over
	if c.authorization != "" {
		r.Header = map[string]string{"Authorization": c.authorization}
	}
	return call.Do(ctx, r)
}

// refusal is the controller's own error, or what little is known.
func refusal(base string, reply call.Reply) error {
	var answer wire.Error
	if err := json.Unmarshal(reply.Body, &answer); err == nil && answer.Code != "" {
		return &answer
	}
	return fmt.Errorf("%s answered with status %d, and not as a controller does", base, reply.Status)
}

// sight is what asking one URL came to.
type sight struct {
	url    string
	leader bool
	err    error
}

// find asks all controllers at once who leads. It returns the leader's URL or,
// failing that, the first that answered; failing that, why none did.
func (c *Client) find(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, min(findTime, c.timeout), errors.New("no answer in time"))
	sights := make(chan sight)
	for _, base := range c.urls {
		go func() { sights <- c.look(ctx, base) }()
	}
	open := len(c.urls)
	// Nobody is left asking when this returns.
	defer func() {
		cancel()
		for ; open > 0; open-- {
			<-sights
		}
	}()
	var failures []error
	var fallback string
	var settled <-chan time.Time
	for open > 0 {
		select {
		case s := <-sights:
			open--
			switch {
			case s.leader:
				return s.url, nil
			case s.err != nil:
				failures = append(failures, s.err)
			case fallback == "":
				fallback = s.url
				timer := time.NewTimer(settleTime)
				defer timer.Stop()
				settled = timer.C
			}
		case <-settled:
			return fallback, nil
		}
	}
	if fallback != "" {
		return fallback, nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return "", context.Canceled
	}
	return "", noneAnswered(failures)
}

func noneAnswered(failures []error) error {
	var text strings.Builder
	for _, err := range failures {
		text.WriteString("\n  " + err.Error())
	}
	return fmt.Errorf("no controller answers; check --api and that the controllers run%s", text.String())
}

func (c *Client) look(ctx context.Context, base string) sight {
	reply, err := c.call(ctx, call.Request{Method: http.MethodGet, URL: base + wire.PathLeaderCheck, MaxReply: 64 << 10})
	if err != nil {
		return sight{url: base, err: err}
	}
	if reply.Status == http.StatusUnauthorized || reply.Status == http.StatusForbidden {
		return sight{url: base, err: fmt.Errorf("%s: %w", base, refusal(base, reply))}
	}
	var check wire.LeaderCheck
	if json.Unmarshal(reply.Body, &check) != nil || check.ID == "" {
		return sight{url: base, err: fmt.Errorf("%s: status %d, and not a controller's answer", base, reply.Status)}
	}
	return sight{url: base, leader: reply.Status == http.StatusOK && check.Leader}
}
