package wire

import (
	"fmt"

	"switchyard/controller/topology"
	"switchyard/router/routes"
)

// PathWord is where a controller is asked for its word.
const PathWord = "/internal/v1/word"

// WordRequest asks a controller what it granted the database sidecar of a server
// and, with an epoch, for its word: to grant that server nothing any more before
// another controller's ledger and its own say otherwise in that epoch.
type WordRequest struct {
	Asker   string       `json:"asker"`
	Cluster string       `json:"cluster"`
	Server  topology.Key `json:"server"`
	// Epoch is that of the claimed recovery; zero only asks for the account.
	Epoch routes.Epoch `json:"epoch"`
}

// Check says what is wrong with a request.
func (r WordRequest) Check() error {
	if r.Asker == "" {
		return fmt.Errorf("asker is empty: want the id of the controller that asks")
	}
	if err := CheckName("cluster", r.Cluster); err != nil {
		return err
	}
	if r.Server.IsZero() {
		return fmt.Errorf("server is empty: want HOST:PORT")
	}
	return nil
}

// WordReply is one controller's account of a lease, and its word where it was
// asked for.
type WordReply struct {
	Controller string `json:"controller"`
	// Boot names the process: two controllers of one process count once.
	Boot string `json:"boot"`
	// Given is true if the controller gives its word; Missing is why it does not.
	Given   bool   `json:"given"`
	Missing string `json:"missing,omitempty"`
	// LongestMS is the longest lease that this controller may have granted, and
	// FenceMS the longest fence of the sidecar that it may have granted it to.
	LongestMS int64 `json:"longest_ms"`
	FenceMS   int64 `json:"fence_ms"`
	// Heard is the newest renewal; nil if there was none since this controller
	// started.
	Heard *HeardRenewal `json:"heard,omitempty"`
}

// HeardRenewal is what a database sidecar said when it last renewed.
type HeardRenewal struct {
	Sidecar string `json:"sidecar"`
	Run     string `json:"run"`
	// AgoMS is how long ago it was heard.
	AgoMS   int64  `json:"ago_ms"`
	Holding string `json:"holding"`
	Tied    bool   `json:"tied"`
	// Controllers and Peers are those by whose majorities it keeps the lease.
	Controllers []string `json:"controllers,omitempty"`
	Peers       []string `json:"peers,omitempty"`
	// FencedMS is how long ago it was first heard to have fenced its server, which
	// took writes before; absent if it never was.
	FencedMS *int64 `json:"fenced_ms,omitempty"`
}
