package wire

// The paths of what concerns the controllers themselves.
const (
	PathControllers    = "/api/v1/controllers"
	PathTransferLeader = "/api/v1/transfer-leader"
	PathVoice          = "/internal/v1/voice"
)

// Member is a controller as raft counts it.
type Member struct {
	ID   string `json:"id"`
	Raft string `json:"raft"`
	// Voter is whether it counts for a majority.
	Voter bool `json:"voter"`
}

// Voice is one controller's part in raft, as it says itself.
type Voice struct {
	ID string `json:"id"`
	// State is leader, follower, candidate or shutdown.
	State string `json:"state"`
	// Leader is whom it follows; empty while it knows no leader.
	Leader       string `json:"leader,omitempty"`
	Term         uint64 `json:"term"`
	AppliedIndex uint64 `json:"applied_index"`
	// LastContactMS is how long ago it heard of the leader: 0 on the leader,
	// negative if never.
	LastContactMS float64 `json:"last_contact_ms"`
	// Members are those that its raft counts.
	Members []Member `json:"members"`
	// Aside is why it takes no part in deciding, and what to do; empty while it does.
	Aside string `json:"aside,omitempty"`
	// Marks are what its ledger is held against those of the others by.
	Marks []Mark `json:"marks,omitempty"`
}

// Mark is the digest of a ledger as it was after one entry of the raft log.
type Mark struct {
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	// Version is that of the digest: those of two versions say nothing of each other.
	Version int    `json:"version"`
	Digest  string `json:"digest"`
}

// The parts that a controller may have in raft.
const (
	Voter    = "voter"
	Nonvoter = "nonvoter"
	// Stranger is in the configuration file, and raft does not count it.
	Stranger = "stranger"
)

// Controllers is one controller's account of all of them.
type Controllers struct {
	// Controller is who answers, and Leader who leads; empty while nobody does.
	Controller string `json:"controller"`
	Leader     string `json:"leader"`
	Term       uint64 `json:"term"`
	// Voters are those that raft counts, Answering those of them that answer, and
	// Majority how many of them must for anything to be decided.
	Voters    int `json:"voters"`
	Answering int `json:"answering"`
	Majority  int `json:"majority"`
	// Set is the number of the set of controllers that Controller knows, 0 for that
	// of its configuration file, and Change the change of it that is under way.
	Set         uint64              `json:"set"`
	Change      *ControllersChange  `json:"change,omitempty"`
	Controllers []ControllerAccount `json:"controllers"`
	Problems    []string            `json:"problems,omitempty"`
}

// ControllerAccount is what is known of one controller. What it said itself is
// there only where it is Reachable.
type ControllerAccount struct {
	Controller
	// Role is voter, nonvoter or stranger.
	Role      string `json:"role"`
	Reachable bool   `json:"reachable"`
	Term      uint64 `json:"term,omitempty"`
	// LastContactMS is how long ago it heard of the leader; nil on the leader,
	// and where it never did.
	LastContactMS *float64 `json:"last_contact_ms,omitempty"`
	AppliedIndex  uint64   `json:"applied_index,omitempty"`
	// Lag is how many entries of the raft log it has applied less than the leader.
	Lag uint64 `json:"lag"`
	// Diverged is whether its ledger differs from that of the majority.
	Diverged bool   `json:"diverged,omitempty"`
	Problem  string `json:"problem,omitempty"`
}

// TransferRequest is the body of POST /api/v1/transfer-leader.
type TransferRequest struct {
	// To is who is to lead; empty for the one that is furthest.
	To string `json:"to,omitempty"`
	// Force hands over in the midst of a recovery, too.
	Force bool `json:"force,omitempty"`
	Asker
}

// Check says what is wrong with r.
func (r TransferRequest) Check() *Error {
	if r.To != "" {
		if err := CheckName("to", r.To); err != nil {
			return badField("to", err.Error(), "see `switchyard controllers list`")
		}
	}
	return r.because(false)
}
