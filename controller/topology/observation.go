package topology

import "time"

// Reach is how an attempt to talk to a server ended.
type Reach string

// The ways an attempt can end.
const (
	// ReachOK: the server answered the probe.
	ReachOK Reach = "ok"
	// ReachRefused: the host answered that nothing listens; on a living host
	// this proves that the server process is gone.
	ReachRefused Reach = "refused"
	// ReachTimeout: no answer of any kind within the deadline, as from a host
	// that is down or cut off.
	ReachTimeout Reach = "timeout"
	// ReachHung: the host accepted the connection and the server said nothing
	// within the deadline, as a frozen process does.
	ReachHung Reach = "hung"
	// ReachBroken: the connection was made and then lost.
	ReachBroken Reach = "broken"
	// ReachDenied: the server answered and refused this user. The server lives.
	ReachDenied Reach = "denied"
	// ReachError: the server answered with another error (too many
	// connections, starting up, not MySQL). Something lives there.
	ReachError Reach = "error"
	// ReachUnresolved: the name has no address.
	ReachUnresolved Reach = "unresolved"
)

// Dead reports whether r is evidence that the server does not serve. Answers
// of any kind are not.
func (r Reach) Dead() bool {
	return r == ReachRefused || r == ReachTimeout || r == ReachHung || r == ReachBroken || r == ReachUnresolved
}

// HostAnswered reports whether r shows that the host itself can be reached,
// so that a dead server on it is not merely cut off.
func (r Reach) HostAnswered() bool {
	return r == ReachRefused || r == ReachHung || r == ReachBroken
}

// Observation is one attempt of one observer to see one server. Times are the
// observer's own clock and are compared with its own only.
type Observation struct {
	Key   Key
	Reach Reach
	// Error is the reason in words where Reach is not ok.
	Error string
	Begun time.Time
	Ended time.Time
	// Fresh is true when the attempt made a new connection.
	Fresh bool
	// Instance is what this attempt read; nil where it did not succeed.
	Instance *Instance
	// Stalled is, for a replica whose receiver claims to run, how long neither
	// a heartbeat nor the received position has moved, by this observer's
	// samples; 0 while it moves or is not yet known.
	Stalled time.Duration
	// Tripwire is how the idle query held on a master last ended, zero while
	// it holds or none is held.
	Tripwire TripEnd
	// Write is how this observer's write probe of a master stands; nil where it
	// does not run.
	Write *WriteSight `json:",omitempty"`
	// Still is, for a master, how long its binary log has not moved, by this
	// observer's samples.
	Still time.Duration `json:",omitempty"`
}

// Trouble is what keeps a master that answers from taking writes.
type Trouble string

// The troubles, by what the write probe met.
const (
	// TroubleStalled: a write does not return.
	TroubleStalled Trouble = "stalled-writes"
	// TroubleDiskFull: the disk has no space left.
	TroubleDiskFull Trouble = "full-disk"
	// TroubleReadOnlyDisk: the file system is read-only, or fails.
	TroubleReadOnlyDisk Trouble = "read-only-disk"
	// TroubleConnections: the server takes no more connections.
	TroubleConnections Trouble = "too-many-connections"
	// TroubleSemiSync: commits wait for acknowledgements that do not come.
	TroubleSemiSync Trouble = "stuck-semi-sync"
)

// Troubles returns all of them, in order.
func Troubles() []Trouble {
	return []Trouble{TroubleStalled, TroubleDiskFull, TroubleReadOnlyDisk, TroubleConnections, TroubleSemiSync}
}

// WriteSight is how one observer's write probe of a master stands.
type WriteSight struct {
	// Trouble is empty while writes succeed.
	Trouble Trouble `json:",omitempty"`
	// Error is the reason in words.
	Error string `json:",omitempty"`
	// For is how long no write has succeeded since this trouble was met, by this
	// observer's clock.
	For time.Duration `json:",omitempty"`
}

// TripKind is how a tripwire ended.
type TripKind string

// The ends of a tripwire. An end is a hint, never evidence of death.
const (
	// TripBroken: the connection was reset, as when the process is killed.
	TripBroken TripKind = "broken"
	// TripOrderly: the server ended the query itself, as in a clean shutdown.
	TripOrderly TripKind = "orderly"
)

// TripEnd is one end of a tripwire, by the observer's clock.
type TripEnd struct {
	Kind  TripKind `json:",omitempty"`
	At    time.Time
	Error string `json:",omitempty"`
}

// View is what one controller sees of a cluster, in answer to one question.
type View struct {
	// Observer is the controller's id.
	Observer string
	// At is when the view was complete, by the observer's clock.
	At time.Time
	// Observations has one entry for each server asked about.
	Observations map[Key]Observation
}
