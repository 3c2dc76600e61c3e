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

// ErrNotYet is wrapped by a receiver that answers, and did not follow the table
// in time.
var ErrNotYet = errors.New("it answers, and does not follow yet")

// Proof is what a proxy was read back to do with its writer.
type Proof struct {
	// Address is where the writer leads. A proxy that knows its servers by name
	// gives Host, as host:port, in its place.
	Address netip.AddrPort `json:"address"`
	Host    string         `json:"host,omitempty"`
	// Serving is true while the proxy opens new connections to Address.
	Serving bool `json:"serving"`
	// Sessions counts the connections of clients that the writer carries.
	Sessions int `json:"sessions"`
	// Holds is true when all of the above is what the table in question says.
	Holds bool `json:"holds"`
	// Warning is what works against us in this proxy, and does not keep it from
	// following: sentences with their remedies.
	Warning string `json:"warning,omitempty"`
	// Readers is how it does with its readers; nil where it carries none. They do
	// not count for Holds: whoever waits for a master to be withdrawn or announced
	// waits for no reader.
	Readers *ReadersProof `json:"readers,omitempty"`
}

// ReadersHold reports whether the readers, too, are as the table says.
func (p Proof) ReadersHold() bool { return p.Readers == nil || p.Readers.Holds }

// String says it in a few words, for a journal.
func (p Proof) String() string {
	where := p.Host
	if p.Address.IsValid() {
		where = p.Address.String()
	}
	switch {
	case p.Serving:
		return fmt.Sprintf("serving %s with %d sessions", where, p.Sessions)
	case where == "":
		return fmt.Sprintf("serving nobody with %d sessions", p.Sessions)
	}
	return fmt.Sprintf("withdrawn from %s with %d sessions", where, p.Sessions)
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
