package routes

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// ErrNotRunning is wrapped by a receiver whose process is proven not to run:
// it serves nobody, and it will serve nobody when it comes back until it is
// told. A receiver that merely does not answer is something else: unknown.
var ErrNotRunning = errors.New("not running")

// Proof is what a proxy was read back to do with its writer.
type Proof struct {
	// Address is where the writer leads.
	Address netip.AddrPort `json:"address"`
	// Serving is true while the proxy opens new connections to Address.
	Serving bool `json:"serving"`
	// Sessions counts the connections of clients that the writer carries.
	Sessions int `json:"sessions"`
	// Holds is true when all of the above is what the table in question says.
	Holds bool `json:"holds"`
}

// String says it in a few words, for a journal.
func (p Proof) String() string {
	verb := "withdrawn from"
	if p.Serving {
		verb = "serving"
	}
	return fmt.Sprintf("%s %s with %d sessions", verb, p.Address, p.Sessions)
}

// Answer is how a receiver answered a table that was sent to it.
type Answer string

// The answers of a receiver.
const (
	// Confirmed: it was read back to hold the table.
	Confirmed Answer = "confirmed"
	// Down: it is proven not to run, and so serves nobody.
	Down Answer = "down"
	// Unknown: neither; it may still do what an older table said.
	Unknown Answer = "unknown"
)

// Receipt is what came of sending one table to one receiver.
type Receipt struct {
	Receiver string
	Answer   Answer
	// Proof says what was seen, in a few words.
	Proof string
	// Err is why the receiver did not confirm.
	Err  error
	Took time.Duration
}
