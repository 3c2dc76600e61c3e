package adminapi

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"switchyard/controller/adminapi/wire"
)

// routedTime is how long a routed leader check may take, the way to the leader
// included: the clients that make one wait for a second.
const routedTime = 800 * time.Millisecond

// leaderCheck answers 200 on the leader, and elsewhere 404 or the status that
// the path asks for.
func (s *Server) leaderCheck(r *request) {
	otherwise := fasthttp.StatusNotFound
	if r.name != "" {
		n, err := strconv.Atoi(r.name)
		if err != nil || n < 400 || n > 599 || len(r.name) != 3 {
			s.fail(r, wire.NewError(wire.BadRequest, fmt.Sprintf("the status in the path is %s: want 400 to 599", clip(r.name)),
				"it is what a controller answers that does not lead"))
			return
		}
		otherwise = n
	}
	leader, id := s.service.Role()
	status := otherwise
	if leader {
		status = fasthttp.StatusOK
	}
	s.write(r, status, wire.LeaderCheck{ID: s.config.SelfID, Leader: leader, LeaderID: id})
}

// routedCheck answers 200 where a leader can be reached through this
// controller. It asks the leader itself, by the check that is never forwarded.
func (s *Server) routedCheck(r *request) {
	leader, id := s.service.Role()
	if leader {
		s.write(r, fasthttp.StatusOK, wire.LeaderCheck{ID: s.config.SelfID, Leader: true, LeaderID: id})
		return
	}
	reply, err := s.askLeader(r.ctx, r, id, wire.PathLeaderCheck, nil)
	if err != nil {
		s.fail(r, err)
		return
	}
	var check wire.LeaderCheck
	if err := json.Unmarshal(reply.Body, &check); err != nil || reply.Status != fasthttp.StatusOK || check.ID != id || !check.Leader {
		s.fail(r, wire.NewError(wire.NotLeader, fmt.Sprintf("%s, which controller %s takes for the leader, does not say that it leads", id, s.config.SelfID),
			"an election is under way: try again in a second"))
		return
	}
	s.write(r, fasthttp.StatusOK, check)
}

// health is what the checks of orchestrator's users read: 200 or 500.
func (s *Server) health(r *request) {
	leader, id := s.service.Role()
	base, _ := s.peer(id)
	answer := wire.NodeHealth{Code: "OK", Message: "Application node is healthy", Details: wire.HealthDetails{
		Healthy: true, Hostname: s.config.Name, IsActiveNode: leader, ActiveNode: wire.ActiveNode{Hostname: id},
		RaftLeader: id, IsRaftLeader: leader, RaftLeaderURI: base,
	}}
	status := fasthttp.StatusOK
	if err := s.service.Ready(); err != nil {
		status = fasthttp.StatusInternalServerError
		answer.Code, answer.Message = "ERROR", "Application node is unhealthy: "+err.Error()
		answer.Details.Healthy, answer.Details.Error = false, err.Error()
	}
	s.write(r, status, answer)
}

// leads answers 200 on the leader and 503 elsewhere.
func (s *Server) leads(r *request) {
	leader, id := s.service.Role()
	switch {
	case leader:
		s.write(r, fasthttp.StatusOK, wire.Health{OK: true})
	case id == "" || id == s.config.SelfID:
		s.unwell(r, "no leader is known")
	default:
		s.unwell(r, id+" leads")
	}
}

func (s *Server) live(*request) (any, error) { return wire.Health{OK: true}, nil }

func (s *Server) ready(r *request) {
	if err := s.service.Ready(); err != nil {
		s.unwell(r, err.Error())
		return
	}
	s.write(r, fasthttp.StatusOK, wire.Health{OK: true})
}

func (s *Server) unwell(r *request, reason string) {
	s.write(r, fasthttp.StatusServiceUnavailable, wire.Health{Reason: reason})
}
