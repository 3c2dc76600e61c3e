package adminapi

import (
	"context"
	"encoding/json"
	"fmt"

	"switchyard/controller/adminapi/call"
	"switchyard/controller/adminapi/wire"
)

// word gives this controller's word. Members that it does not know are passed
// over: while controllers are upgraded one by one, the newer ones must be heard.
func (s *Server) word(r *request) (any, error) {
	if s.config.Word == nil {
		return nil, wire.NewError(wire.Unavailable, "this controller grants no leases", "")
	}
	var wanted wire.WordRequest
	if err := json.Unmarshal(r.PostBody(), &wanted); err != nil {
		return nil, wire.NewError(wire.BadRequest, err.Error(), "")
	}
	return s.config.Word(r.ctx, wanted)
}

// Word asks the controller whose door is at base for its word. A reply that is
// not signed with the shared secret is an error.
func (p Peers) Word(ctx context.Context, base string, q wire.WordRequest) (wire.WordReply, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return wire.WordReply{}, fmt.Errorf("encode the question: %w", err)
	}
	var reply wire.WordReply
	err = p.do(ctx, call.Request{Method: "POST", URL: join(base, wire.PathWord), Body: body}, wire.PathWord, &reply)
	return reply, err
}
