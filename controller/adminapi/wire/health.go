package wire

// LeaderCheck is the answer to GET /api/leader-check and /api/routed-leader-check.
type LeaderCheck struct {
	// ID is the controller that answers (the leader, where the check was routed to
	// it), and Leader is whether it leads.
	ID     string `json:"id"`
	Leader bool   `json:"leader"`
	// LeaderID is whom it follows; empty while it knows no leader.
	LeaderID string `json:"leader_id,omitempty"`
}

// Health is the answer to GET /health/leader, /health/live and /health/ready.
type Health struct {
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

// NodeHealth is the answer to GET /api/health. Its names are those that the
// checks of orchestrator's users read.
type NodeHealth struct {
	// Code is OK with status 200, and ERROR with status 500.
	Code    string        `json:"Code"`
	Message string        `json:"Message"`
	Details HealthDetails `json:"Details"`
}

// HealthDetails is what one controller knows of itself and its leader.
type HealthDetails struct {
	Healthy  bool   `json:"Healthy"`
	Hostname string `json:"Hostname"`
	// IsActiveNode and IsRaftLeader both say whether it leads.
	IsActiveNode bool       `json:"IsActiveNode"`
	ActiveNode   ActiveNode `json:"ActiveNode"`
	// Error is why it is not healthy.
	Error string `json:"Error"`
	// RaftLeader is the leader's id, and RaftLeaderURI its door; empty while no
	// leader is known.
	RaftLeader    string `json:"RaftLeader"`
	IsRaftLeader  bool   `json:"IsRaftLeader"`
	RaftLeaderURI string `json:"RaftLeaderURI"`
}

// ActiveNode names the leader.
type ActiveNode struct {
	Hostname string `json:"Hostname"`
}
