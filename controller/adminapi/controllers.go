package adminapi

import (
	"context"

	"switchyard/controller/adminapi/call"
	"switchyard/controller/adminapi/wire"
)

// Controllers is what is asked about the controllers themselves.
type Controllers interface {
	// Voice is this controller's own part in raft.
	Voice(ctx context.Context) (wire.Voice, error)
	Controllers(ctx context.Context) (wire.Controllers, error)
	// TransferLeader returns once somebody else leads; it is called on the leader
	// only.
	TransferLeader(ctx context.Context, request wire.TransferRequest) (wire.Done, error)
	// ChangeControllers begins to add, remove or move a controller; it is called on
	// the leader only.
	ChangeControllers(ctx context.Context, request wire.ControllersRequest) (wire.Done, error)
}

// controllerCalls are the routes of Controllers. The list is not forwarded: it
// must be had where nobody leads.
func (s *Server) controllerCalls() []route {
	answer := s.limits.Answer
	return []route{
		{
			method: "GET", path: wire.PathControllers, limited: true, deadline: answer,
			handle: func(r *request) (any, error) { return s.service.Controllers(r.ctx) },
		},
		{
			method: "GET", path: wire.PathVoice, internal: true, deadline: answer,
			handle: func(r *request) (any, error) { return s.service.Voice(r.ctx) },
		},
		operation(s, wire.PathTransferLeader, answer, s.service.TransferLeader),
		operation(s, wire.PathChangeControllers, answer, s.service.ChangeControllers),
	}
}

// Voice asks the controller whose door is at base for its part in raft.
func (p Peers) Voice(ctx context.Context, base string) (wire.Voice, error) {
	var voice wire.Voice
	err := p.do(ctx, call.Request{Method: "GET", URL: join(base, wire.PathVoice)}, wire.PathVoice, &voice)
	return voice, err
}
