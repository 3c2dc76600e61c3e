package wire

import "time"

// DatabaseSidecar is the sidecar beside a server, as the controller that answers
// has heard it.
type DatabaseSidecar struct {
	// Name is empty where it was not heard since that controller started.
	Name string `json:"name,omitempty"`
	// HeardMS is how long ago it renewed last.
	HeardMS *int64 `json:"heard_ms,omitempty"`
	// Holding is what it said that it holds: held, fenced or unleased.
	Holding string `json:"holding,omitempty"`
	// GrantedUntil is when the last grant of that controller ends, or has ended.
	GrantedUntil time.Time `json:"granted_until,omitzero"`
	// Tied is whether the server does not outlive it.
	Tied bool `json:"tied"`
	// NoPromise is why nobody may count on it; empty where one may.
	NoPromise string `json:"no_promise,omitempty"`
	// LastExit says how the server's process ended last.
	LastExit   string    `json:"last_exit,omitempty"`
	LastExitAt time.Time `json:"last_exit_at,omitzero"`
}
