package haproxy

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"switchyard/router/routes"
)

// Phase is one step of a change: commands that are sent in order, and what
// must be read back before the next phase may begin.
type Phase struct {
	Name     string
	Commands []string
	// Again is sent before every further look while Expect is not met.
	Again  []string
	Expect Expect
}

// Expect is what a phase must be read back to have reached.
type Expect struct {
	// Serving asks for a slot that takes connections; otherwise it must be in
	// maintenance and carry no session.
	Serving bool
	// Address is where the slot must lead; the zero one is not looked at.
	Address netip.AddrPort
	// Looks is how many times in a row it must be seen.
	Looks int
}

// Plan returns the phases that make the slot b follow the table; at is the
// address of its writer, and not looked at when the table withdraws.
//
// The order is what keeps two masters apart: maintenance first, so that nobody
// new gets in; then the sessions are shut, because a move leaves established
// ones where they are; then the address, which HAProxy changes after it has
// answered and which is therefore read back; and only then ready.
func Plan(b Backend, table routes.Table, at netip.AddrPort) ([]Phase, error) {
	if err := b.Validate(); err != nil {
		return nil, err
	}
	if err := table.Validate(); err != nil {
		return nil, fmt.Errorf("haproxy: %w", err)
	}
	shut := []string{"shutdown sessions server " + b.String()}
	// HAProxy shuts the sessions of a server that enters maintenance only when
	// it was up until then, so the second command is never left out.
	maint := []string{"set server " + b.String() + " state maint", shut[0]}
	if table.Writer == nil {
		// A session that had chosen the slot before the maintenance can appear
		// in it after the shutdown: one look is not enough.
		return []Phase{{Name: "withdraw", Commands: maint, Again: shut, Expect: Expect{Looks: 2}}}, nil
	}
	at = unmap(at)
	if err := checkAddress(at); err != nil {
		return nil, err
	}
	move := fmt.Sprintf("set server %s addr %s port %d", b, at.Addr(), at.Port())
	ready := []string{"set server " + b.String() + " state ready"}
	return []Phase{
		{Name: "move", Commands: append(maint, move), Again: shut, Expect: Expect{Address: at, Looks: 1}},
		{Name: "open", Commands: ready, Expect: Expect{Serving: true, Address: at, Looks: 1}},
	}, nil
}

// Goal is what a proxy that follows the table is read back to show; at is as
// for Plan.
func Goal(table routes.Table, at netip.AddrPort) Expect {
	if table.Writer == nil {
		return Expect{Looks: 1}
	}
	return Expect{Serving: true, Address: unmap(at), Looks: 1}
}

// ReadBack returns the two commands whose answers ParseState reads.
func ReadBack(b Backend) []string {
	// Type 4 are servers; the id -1 takes all of them.
	return []string{"show servers state " + b.Backend, "show stat " + b.Backend + " 4 -1"}
}

// Unmet says what the state lacks of what is expected, or "" when nothing.
func (e Expect) Unmet(s State) string {
	switch {
	case e.Address.IsValid() && s.Address != e.Address:
		return fmt.Sprintf("it leads to %s and not to %s", s.Address, e.Address)
	case e.Serving && !s.Serving():
		return fmt.Sprintf("it does not serve (operational state %d, administrative state %d)", s.Operational, s.Admin)
	case !e.Serving && !s.Maint():
		return fmt.Sprintf("it is not in maintenance (operational state %d, administrative state %d)", s.Operational, s.Admin)
	case !e.Serving && s.Sessions != 0:
		return strconv.Itoa(s.Sessions) + " sessions are left"
	}
	return ""
}

// RefusedError is a command that HAProxy did not carry out.
type RefusedError struct {
	Command string
	Answer  string
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("haproxy refused %q: %q", e.Command, e.Answer)
}

// Accepted returns a *RefusedError unless the answer is one that HAProxy gives
// to a command that changes something and was carried out. HAProxy marks no
// answer as an error, so all that is not known to be good is taken as bad.
func Accepted(command, answer string) error {
	answer = strings.TrimSpace(answer)
	if answer == "" {
		return nil
	}
	if strings.HasPrefix(command, "set server ") && strings.Contains(command, " addr ") {
		for _, good := range []string{"IP changed from", "port changed from", "no need to change", "nothing changed"} {
			if strings.HasPrefix(answer, good) {
				return nil
			}
		}
	}
	return &RefusedError{Command: command, Answer: shorten(answer)}
}

// shorten keeps an unexpected answer from filling a log.
func shorten(answer string) string {
	const most = 200
	if len(answer) > most {
		return strings.ToValidUTF8(answer[:most], "") + "..."
	}
	return answer
}

func unmap(at netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}
