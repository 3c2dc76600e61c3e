package ledger

import "time"

// BeginControllerChange opens a change of the controllers. It is rejected unless
// the set is number Expect and no other change, nor a recovery, is under way; an
// id and an address belong to one controller. One that is added begins without a
// vote; one that is removed is counted until the change is closed.
type BeginControllerChange struct {
	Expect uint64 `json:"expect"`
	// Founders are the controllers of the configuration files, for a ledger that
	// has none yet.
	Founders []Controller `json:"founders,omitempty"`
	Change   ChangeKind   `json:"change"`
	// Controller is who is added, moved or removed; to remove takes the id alone.
	Controller Controller `json:"controller"`
	By         string     `json:"by"`
	Reason     string     `json:"reason,omitempty"`
	Until      time.Time  `json:"until"`
	At         time.Time  `json:"at"`
}

// ControllersStep is a step of an open change.
type ControllersStep string

// The steps of a change.
const (
	// WidenControllers gives the one that is added its vote. Raft does so after it.
	WidenControllers ControllersStep = "widen"
	// UndoControllers turns the change back, where it still can be.
	UndoControllers ControllersStep = "undo"
	// CloseControllers ends the change. Raft counts as the ledger will.
	CloseControllers ControllersStep = "close"
)

// AdvanceControllers makes a step of the open change of set Expect. Every step
// raises the number, so that one that is repeated is rejected.
type AdvanceControllers struct {
	Expect uint64          `json:"expect"`
	Step   ControllersStep `json:"step"`
	// Note is why a change is taken back, or how it went.
	Note   string    `json:"note,omitempty"`
	Leader string    `json:"leader"`
	At     time.Time `json:"at"`
}

// Kind implements Command.
func (BeginControllerChange) Kind() string { return "begin-controller-change" }

// Kind implements Command.
func (AdvanceControllers) Kind() string { return "advance-controllers" }
