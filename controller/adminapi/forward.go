package adminapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"switchyard/controller/adminapi/call"
	"switchyard/controller/adminapi/wire"
)

// forwardGrace is how much longer than the leader's own deadline a follower
// waits for it, so that the leader's reason arrives and not the follower's.
const forwardGrace = 2 * time.Second

// forwardConnect is how long the leader's host may take to accept a connection:
// one that is cut off answers nothing at all.
const forwardConnect = 2 * time.Second

// forward asks the leader and relays its answer. A call that was forwarded
// once goes no further, whatever the two controllers believe of each other.
func (s *Server) forward(r *request, leaderID, path string, body []byte) {
	deadline, _ := r.ctx.Deadline()
	ctx, cancel := extend(r.ctx, deadline.Add(forwardGrace))
	defer cancel()
	reply, err := s.askLeader(ctx, r, leaderID, path, body)
	if err != nil {
		s.fail(r, err)
		return
	}
	r.SetStatusCode(reply.Status)
	r.SetContentType(reply.ContentType)
	r.SetBody(reply.Body)
}

// askLeader makes one call to the leader's door, until ctx ends.
func (s *Server) askLeader(ctx context.Context, r *request, leaderID, path string, body []byte) (call.Reply, error) {
	if from := r.Request.Header.Peek(wire.HeaderForwarded); len(from) > 0 {
		return call.Reply{}, wire.NewError(wire.NotLeader,
			fmt.Sprintf("controller %s took %s for the leader, which it is not", clip(string(from)), s.config.SelfID),
			"an election is under way: try again in a second")
	}
	if leaderID == "" || leaderID == s.config.SelfID {
		return call.Reply{}, wire.NewError(wire.NoLeader, fmt.Sprintf("controller %s knows no leader", s.config.SelfID),
			"a majority of the controllers must run and reach each other; see switchyard status")
	}
	base, ok := s.peer(leaderID)
	if !ok {
		return call.Reply{}, wire.NewError(wire.NoLeader,
			fmt.Sprintf("controller %s knows no URL of the leader %s", s.config.SelfID, leaderID),
			"add it to the controllers in the configuration")
	}
	method := string(r.Method())
	if r.IsHead() {
		method = "GET" // fasthttp leaves the body away
	}
	reply, err := call.Do(ctx, call.Request{
		Method: method, URL: join(base, path), Body: body, Connect: forwardConnect, MaxReply: r.most, TLS: s.config.PeerTLS,
		Header: s.forwardHeader(r, method, (&url.URL{Path: path}).EscapedPath(), body),
	})
	if err != nil {
		s.log.Warn("a call could not be forwarded to the leader", slog.String("leader", leaderID),
			slog.String("path", clip(r.path)), slog.Any("error", err))
		return call.Reply{}, unanswered(leaderID, err)
	}
	return reply, nil
}

// peer is the base URL of a controller's door.
func (s *Server) peer(id string) (base string, ok bool) {
	if s.config.Peers == nil {
		return "", false
	}
	base, ok = s.config.Peers()[id]
	return base, ok
}

func unanswered(leaderID string, err error) *wire.Error {
	if errors.Is(err, call.ErrUnreachable) {
		return wire.NewError(wire.LeaderUnreachable, fmt.Sprintf("the leader %s cannot be reached: %v", leaderID, err),
			"nothing was done; try again when a leader is elected, or ask the other controllers")
	}
	return wire.NewError(wire.LeaderUnreachable, fmt.Sprintf("the leader %s did not answer: %v", leaderID, err),
		"it may have begun what was asked: look at the recoveries before you ask again")
}

// extend moves the deadline of ctx, and keeps its other ends.
func extend(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			cancel()
		}
	})
	return longer, func() { stop(); cancel() }
}

func join(base, path string) string {
	return strings.TrimSuffix(base, "/") + (&url.URL{Path: path}).EscapedPath()
}
