package adminapi

import (
	"context"
	"encoding/json"
	"fmt"

	"switchyard/controller/adminapi/call"
	"switchyard/controller/adminapi/wire"
)

// Directories answers for the datacenters' key-value stores.
type Directories interface {
	// KV returns what they hold of one cluster, or of all where cluster is empty.
	KV(ctx context.Context, cluster string) (wire.KV, error)
}

// Keeper is this controller's part in the directories.
type Keeper interface {
	// Keeping is what this controller knows of those that it writes.
	Keeping() wire.Keeping
	// Noticed writes into the audit what another controller found.
	Noticed(ctx context.Context, notice wire.Notice) error
}

func (s *Server) kvCalls() []route {
	answer := s.limits.Answer
	routes := []route{
		{method: "GET", path: wire.PathKV, limited: true, deadline: answer, query: []string{"cluster"}, handle: s.kv},
	}
	if s.config.Keeper == nil {
		return routes
	}
	return append(routes,
		route{method: "GET", path: wire.PathKeeping, internal: true, deadline: answer, handle: s.keeping},
		route{method: "POST", path: wire.PathNotice, internal: true, deadline: answer, handle: s.noticed},
	)
}

func (s *Server) kv(r *request) (any, error) {
	cluster, err := clusterOf(r)
	if err != nil {
		return nil, err
	}
	return s.service.KV(r.ctx, cluster)
}

func (s *Server) keeping(*request) (any, error) { return s.config.Keeper.Keeping(), nil }

// noticed takes a notice. Members that it does not know are passed over: while
// controllers are upgraded one by one, the newer ones must be heard.
func (s *Server) noticed(r *request) (any, error) {
	var notice wire.Notice
	if err := json.Unmarshal(r.PostBody(), &notice); err != nil {
		return nil, wire.NewError(wire.BadRequest, err.Error(), "")
	}
	if err := notice.Check(); err != nil {
		return nil, wire.NewError(wire.BadRequest, err.Error(), "")
	}
	if leader, _ := s.service.Role(); !leader {
		return nil, wire.NewError(wire.NotLeader, fmt.Sprintf("controller %s does not lead", s.config.SelfID),
			"tell the leader")
	}
	return wire.Health{OK: true}, s.config.Keeper.Noticed(r.ctx, notice)
}

// Keeping asks the controller whose door is at base what it knows of the
// directories that it writes.
func (p Peers) Keeping(ctx context.Context, base string) (wire.Keeping, error) {
	var keeping wire.Keeping
	err := p.do(ctx, call.Request{Method: "GET", URL: join(base, wire.PathKeeping)}, wire.PathKeeping, &keeping)
	return keeping, err
}

// Notice tells the leader, whose door is at base, what was found in a directory.
func (p Peers) Notice(ctx context.Context, base string, notice wire.Notice) error {
	body, err := json.Marshal(notice)
	if err != nil {
		return fmt.Errorf("encode the notice: %w", err)
	}
	var done wire.Health
	return p.do(ctx, call.Request{Method: "POST", URL: join(base, wire.PathNotice), Body: body}, wire.PathNotice, &done)
}
