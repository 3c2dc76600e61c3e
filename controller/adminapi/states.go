package adminapi

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"switchyard/controller/adminapi/call"
	"switchyard/controller/adminapi/wire"
)

// stateTime is how long one controller may take to say whether it leads.
const stateTime = 400 * time.Millisecond

// States asks each controller, all at once, whether it leads: leader, follower
// or unreachable, by its id. peers is the base URL of each one's door. What
// answers as somebody else is not that controller, and so unreachable.
//
// The question is signed, for a door that answers it to nobody else.
func (p Peers) States(ctx context.Context, peers map[string]string) map[string]string {
	var mu sync.Mutex
	var all sync.WaitGroup
	states := make(map[string]string, len(peers))
	for id, base := range peers {
		all.Go(func() {
			state := p.stateOf(ctx, id, base)
			mu.Lock()
			defer mu.Unlock()
			states[id] = state
		})
	}
	all.Wait()
	return states
}

func (p Peers) stateOf(ctx context.Context, id, base string) string {
	const unreachable = "unreachable"
	ctx, cancel := context.WithTimeout(ctx, stateTime)
	defer cancel()
	question := call.Request{Method: "GET", URL: join(base, wire.PathLeaderCheck), MaxReply: 64 << 10}
	reply, _, err := p.send(ctx, question, wire.PathLeaderCheck)
	if err != nil {
		return unreachable
	}
	var check wire.LeaderCheck
	if err := json.Unmarshal(reply.Body, &check); err != nil || check.ID != id {
		return unreachable
	}
	switch reply.Status {
	case http.StatusOK:
		return "leader"
	case http.StatusNotFound:
		return "follower"
	}
	return unreachable
}
