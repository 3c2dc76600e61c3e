package adminapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"switchyard/controller/adminapi/wire"
)

// request is one call as the handlers see it.
type request struct {
	*fasthttp.RequestCtx
	// ctx ends at the call's deadline, or when the door closes.
	ctx context.Context //nolint:containedctx // it lives as long as one call
	// path is as it was sent, and name its last segment where the route has a
	// variable one, unescaped and checked.
	path string
	name string
	// most is the longest answer of the leader's that is relayed; 0 for call's own.
	most int
	who  caller
}

// handler returns what is written as JSON with status 200, or an error.
type handler func(r *request) (any, error)

type route struct {
	method string
	// path is exact; one that ends in a slash is followed by a name.
	path string
	// slash routes take a slash at their end too, as checks in the field have it.
	slash bool
	// kind says what the name is, for errors.
	kind string
	// limited routes count against Limits.Calls.
	limited  bool
	internal bool
	// sidecars routes are for the holders of the sidecars' secret.
	sidecars bool
	// role is what a caller needs; "" for what needs says.
	role     wire.UserRole
	deadline time.Duration
	// query are the query parameters that the route knows.
	query  []string
	handle handler
	// raw routes write their own answer.
	raw func(r *request)
}

func (s *Server) table() []route {
	answer, switchover := s.limits.Answer, s.limits.Switchover
	return append([]route{
		{method: "GET", path: wire.PathLeaderCheck, slash: true, deadline: answer, raw: s.leaderCheck},
		{method: "GET", path: wire.PathLeaderCheck + "/", kind: "status", deadline: answer, raw: s.leaderCheck},
		{method: "GET", path: wire.PathRoutedCheck, slash: true, deadline: routedTime, raw: s.routedCheck},
		{method: "GET", path: wire.PathHealth, slash: true, deadline: answer, raw: s.health},
		{method: "GET", path: wire.PathLeads, deadline: answer, raw: s.leads},
		{method: "GET", path: wire.PathLive, deadline: answer, handle: s.live},
		{method: "GET", path: wire.PathReady, deadline: answer, raw: s.ready},
		{method: "GET", path: wire.PathMetrics, deadline: answer, raw: s.exposition},
		{method: "GET", path: wire.PathOpenAPI, limited: true, deadline: answer, raw: s.openAPI},
		{method: "GET", path: wire.PathStatus, limited: true, deadline: answer, handle: s.status},
		{method: "GET", path: wire.PathClusters, limited: true, deadline: answer, handle: s.clusters},
		{method: "GET", path: wire.PathTopology, kind: "cluster", limited: true, deadline: answer, handle: s.topology},
		{method: "GET", path: wire.PathProxies, limited: true, deadline: answer, query: []string{"cluster"}, handle: s.proxies},
		{method: "GET", path: wire.PathRecoveries, limited: true, deadline: answer, query: []string{"cluster"}, handle: s.recoveries},
		{
			method: "GET", path: wire.PathRecoveries + "/", kind: "recovery", limited: true, deadline: answer,
			handle: s.recovery,
		},
		{
			method: "GET", path: wire.PathAudit, limited: true, deadline: answer,
			query: []string{"cluster", "server", "kind", "since", "before", "limit"}, handle: s.audit,
		},
		{method: "GET", path: wire.PathExplain, kind: "cluster", limited: true, deadline: answer, raw: s.explain},
		{method: "POST", path: wire.PathSwitchover, limited: true, deadline: switchover, raw: s.switchover},
		{method: "POST", path: wire.PathWitness, internal: true, deadline: answer, handle: s.witness},
		{method: "POST", path: wire.PathWord, internal: true, deadline: answer, handle: s.word},
		{method: "GET", path: wire.PathWhoAmI, internal: true, deadline: answer, handle: s.whoAmI},
	}, slices.Concat(s.operations(), s.kvCalls(), s.controllerCalls(), s.datacenterCalls(), s.ledgerCalls(), s.sidecarCalls())...)
}

// handle answers one call. It never lets a panic out: fasthttp would end the
// process with it.
func (s *Server) handle(work context.Context, rc *fasthttp.RequestCtx) {
	s.active.Add(1)
	defer s.active.Add(-1)
	r := &request{RequestCtx: rc, ctx: work, path: string(rc.URI().PathOriginal())}
	defer func() {
		if cause := recover(); cause != nil {
			s.log.Error("a handler panicked", slog.String("path", r.path), slog.Any("panic", cause),
				slog.String("stack", string(debug.Stack())))
			rc.Response.Reset()
			s.fail(r, wire.NewError(wire.Internal, "this controller failed to answer", "its log has the reason"))
		}
	}()
	match, err := s.match(r)
	if err != nil {
		s.fail(r, err)
		return
	}
	s.serve(r, match)
}

func (s *Server) serve(r *request, match route) {
	ctx, cancel := context.WithTimeout(r.ctx, match.deadline)
	defer cancel()
	r.ctx = ctx
	if match.internal || match.sidecars {
		if err := s.authenticate(r, match); err != nil {
			s.fail(r, err)
			return
		}
	} else if err := s.admit(r, match); err != nil {
		s.fail(r, err)
		return
	}
	if match.limited {
		select {
		case s.calls <- struct{}{}:
			defer func() { <-s.calls }()
		default:
			s.fail(r, wire.NewError(wire.Busy, fmt.Sprintf("%d calls are being worked on already", s.limits.Calls),
				"try again in a second"))
			return
		}
	}
	if match.raw != nil {
		match.raw(r)
		return
	}
	s.answer(r, match.handle)
}

func (s *Server) answer(r *request, handle handler) {
	value, err := handle(r)
	if err != nil {
		s.fail(r, err)
		return
	}
	s.write(r, fasthttp.StatusOK, value)
}

// match finds the route, and names what is wrong where there is none.
func (s *Server) match(r *request) (route, error) {
	var allowed []string
	for _, candidate := range s.routes {
		name, ok := candidate.matches(r.path)
		if !ok {
			continue
		}
		if method := string(r.Method()); method != candidate.method && (method != "HEAD" || candidate.method != "GET") {
			allowed = append(allowed, candidate.method)
			continue
		}
		return candidate, s.checkTarget(r, candidate, name)
	}
	if len(allowed) > 0 {
		r.Response.Header.Set("Allow", strings.Join(allowed, ", "))
		return route{}, wire.NewError(wire.MethodNotAllowed,
			fmt.Sprintf("%.20q is not a method of %s", r.Method(), clip(r.path)), "use "+strings.Join(allowed, " or "))
	}
	return route{}, wire.NewError(wire.NotFound, fmt.Sprintf("there is nothing at %s", clip(r.path)),
		"the calls are "+s.calledNames())
}

// calledNames lists the calls that anybody may make.
func (s *Server) calledNames() string {
	var names []string
	for _, r := range s.routes {
		if !r.internal && !r.sidecars {
			names = append(names, strings.TrimPrefix(r.method+" ", "GET ")+r.path+strings.ToUpper(r.kind))
		}
	}
	return strings.Join(names, ", ")
}

func (t route) matches(path string) (name string, ok bool) {
	if !strings.HasSuffix(t.path, "/") {
		return "", path == t.path || t.slash && path == t.path+"/"
	}
	name, ok = strings.CutPrefix(path, t.path)
	return name, ok && name != ""
}

func (s *Server) checkTarget(r *request, t route, name string) error {
	if t.kind != "" {
		plain, err := url.PathUnescape(name)
		if err != nil {
			return wire.NewError(wire.BadRequest, fmt.Sprintf("the %s in the path: %v", t.kind, err), "escape it as in a URL")
		}
		if err := wire.CheckName(t.kind, plain); err != nil {
			return wire.NewError(wire.BadRequest, err.Error(), "")
		}
		r.name = plain
	}
	seen := map[string]bool{}
	for key := range r.QueryArgs().All() {
		name := string(key)
		if !slices.Contains(t.query, name) {
			return wire.NewError(wire.BadRequest, fmt.Sprintf("query parameter %s is not known here", clip(name)), "")
		}
		if seen[name] {
			return wire.NewError(wire.BadRequest, fmt.Sprintf("query parameter %q is given twice", name), "")
		}
		seen[name] = true
	}
	return nil
}

// fail writes err. What is not a *wire.Error stays in the log: it may speak of
// things that are nobody's business outside.
func (s *Server) fail(r *request, err error) {
	var answer *wire.Error
	switch {
	case errors.As(err, &answer):
	case errors.Is(err, context.DeadlineExceeded):
		s.log.Warn("a call ran into its deadline", slog.String("path", clip(r.path)), slog.Any("error", err))
		answer = wire.NewError(wire.Timeout, "the work did not end within the deadline of this call",
			"ask again; a recovery goes on by itself and is listed under recoveries")
	case errors.Is(err, context.Canceled):
		answer = wire.NewError(wire.Unavailable, "this controller is stopping", "ask another controller")
	default:
		s.log.Error("a call failed", slog.String("path", clip(r.path)), slog.Any("error", err))
		answer = wire.NewError(wire.Internal, fmt.Sprintf("controller %s failed to answer", s.config.SelfID),
			"its log has the reason")
	}
	s.write(r, answer.Code.Status(), answer)
}

func (s *Server) write(r *request, status int, value any) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		s.log.Error("an answer cannot be written as JSON", slog.String("path", clip(r.path)), slog.Any("error", err))
		status = fasthttp.StatusInternalServerError
		body.Reset()
		body.WriteString(`{"code":"internal","message":"the answer cannot be written as JSON"}`)
	}
	s.send(r, status, body.Bytes())
}

// send writes a reply, and signs that of an internal call.
func (s *Server) send(r *request, status int, body []byte) {
	r.SetStatusCode(status)
	r.SetContentType("application/json")
	r.SetBody(body)
	if nonce := r.Request.Header.Peek(wire.HeaderNonce); len(nonce) > 0 && strings.HasPrefix(r.path, "/internal/") {
		if secret := s.secretFor(r.path); secret != "" {
			r.Response.Header.Set(wire.HeaderSignature, wire.SignReply(secret, string(nonce), status, body))
		}
	}
}

// unreadable answers a request that could not be read.
func (s *Server) unreadable(rc *fasthttp.RequestCtx, err error) {
	r := &request{RequestCtx: rc}
	var header *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		s.fail(r, wire.NewError(wire.TooLarge, fmt.Sprintf("the body has more than %d bytes", s.limits.Body), ""))
		s.drain(rc.Conn())
	case errors.As(err, &header):
		s.fail(r, wire.NewError(wire.TooLarge, fmt.Sprintf("the header has more than %d bytes", s.limits.Header), ""))
		s.drain(rc.Conn())
	case errors.As(err, &network) && network.Timeout():
		s.fail(r, wire.NewError(wire.RequestTimeout, fmt.Sprintf("the request was not complete after %s", s.limits.Read), ""))
	default:
		s.fail(r, wire.NewError(wire.BadRequest, "this is not an HTTP request that can be read", ""))
	}
}

// drain reads on for a moment: a connection closed on unread bytes is reset,
// and the client never learns why.
func (s *Server) drain(conn net.Conn) {
	const most, patience = 4 << 20, 100 * time.Millisecond
	end := time.Now().Add(10 * patience)
	buffer := make([]byte, 32<<10)
	for got := 0; got < most && time.Now().Before(end); {
		if conn.SetReadDeadline(time.Now().Add(patience)) != nil {
			return
		}
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		got += n
	}
}

func clip(text string) string {
	const most = 80
	if len(text) > most {
		return fmt.Sprintf("%q...", text[:most])
	}
	return fmt.Sprintf("%q", text)
}
