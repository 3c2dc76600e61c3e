package haproxy

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"switchyard/router/routes"
)

// Readers names the slots that carry a cluster's readers: so many servers of one
// backend, reader1 and on, each of which is given the address of a replica, or is
// in maintenance. The zero value is a proxy without readers.
type Readers struct {
	Backend string
	Slots   int
}

// The number of slots: unless told, and at most.
const (
	DefaultReaderSlots = 8
	MaxReaderSlots     = routes.MaxReaders
)

// IsZero reports whether the proxy carries no readers.
func (r Readers) IsZero() bool { return r == Readers{} }

// Slot names one of the servers; the first is 0.
func (r Readers) Slot(n int) Backend {
	return Backend{Backend: r.Backend, Server: "reader" + strconv.Itoa(n+1)}
}

// Validate names the first field that cannot be used.
func (r Readers) Validate() error {
	if r.Slots < 1 || r.Slots > MaxReaderSlots {
		return errors.Join(checkName("readers.backend", r.Backend),
			fmt.Errorf("haproxy: readers.slots is %d: want a number from 1 to %d", r.Slots, MaxReaderSlots))
	}
	return checkName("readers.backend", r.Backend)
}

// Reader is a replica with the address that was found for it.
type Reader struct {
	Address netip.AddrPort
	Weight  int
}

// ReadBackReaders returns the two commands whose answers ParseReaders reads.
func ReadBackReaders(r Readers) []string { return ReadBack(Backend{Backend: r.Backend}) }

// ParseReaders reads the answers to the commands of ReadBackReaders: the states of
// all slots, in their order.
func ParseReaders(r Readers, answers []string) ([]State, error) {
	commands := ReadBackReaders(r)
	if len(answers) != len(commands) {
		return nil, fmt.Errorf("haproxy: %d answers to read back: want %d", len(answers), len(commands))
	}
	states, err := stateRows(answers[0])
	if err != nil {
		return nil, fmt.Errorf("haproxy: %q: %w", commands[0], err)
	}
	stats, err := statRows(answers[1])
	if err != nil {
		return nil, fmt.Errorf("haproxy: %q: %w", commands[1], err)
	}
	slots := make([]State, r.Slots)
	for n := range slots {
		slot := r.Slot(n)
		state := find(states, "be_name", "srv_name", slot)
		stat := find(stats, "pxname", "svname", slot)
		if state == nil || stat == nil {
			return nil, fmt.Errorf("haproxy: backend %s has no server %s: it needs %d of them, reader1 to reader%d",
				slot.Backend, slot.Server, r.Slots, r.Slots)
		}
		var errState, errStat error
		slots[n], errState = serverState(state)
		slots[n].Sessions, errStat = sessionsOf(stat)
		if err := errors.Join(errState, errStat); err != nil {
			return nil, fmt.Errorf("haproxy: %s: %w", slot, err)
		}
	}
	return slots, nil
}

func find(rows []map[string]string, backend, server string, slot Backend) map[string]string {
	i := slices.IndexFunc(rows, func(row map[string]string) bool {
		return row[backend] == slot.Backend && row[server] == slot.Server
	})
	if i < 0 {
		return nil
	}
	return rows[i]
}

// ReadersStep is what brings the slots nearer to the readers that are wanted; Why
// is empty when nothing is left to do. Closes is true where the sessions of a slot
// are ended, since its server is no reader any more.
type ReadersStep struct {
	Why      string
	Commands []string
	Closes   bool
}

// NextReaders says the next step. A slot that leads to nobody who is wanted goes
// into maintenance and its sessions are ended; an empty one in maintenance may be
// given an address; and it takes connections only once it was read back to have it.
// Those who have a slot keep it, and their sessions with it.
func NextReaders(r Readers, want []Reader, slots []State) ReadersStep {
	placed := place(r, want, slots)
	var step ReadersStep
	add := func(why string, commands ...string) {
		step.Why = cmp.Or(step.Why, why)
		step.Commands = append(step.Commands, commands...)
	}
	for n, state := range slots {
		if _, ok := placed[n]; ok || state.Maint() && state.Sessions == 0 {
			continue
		}
		slot := r.Slot(n).String()
		step.Closes = true
		add(fmt.Sprintf("%s leads to %s with %d sessions, which is no reader", slot, state.Address, state.Sessions),
			"set server "+slot+" state maint", "shutdown sessions server "+slot)
	}
	for n, state := range slots {
		reader, ok := placed[n]
		if !ok {
			continue
		}
		slot := r.Slot(n).String()
		if state.Weight != reader.Weight {
			add(fmt.Sprintf("%s has weight %d and not %d", slot, state.Weight, reader.Weight),
				fmt.Sprintf("set server %s weight %d", slot, reader.Weight))
		}
		switch {
		case state.Address != reader.Address:
			add(fmt.Sprintf("%s leads to %s and not to %s", slot, state.Address, reader.Address),
				fmt.Sprintf("set server %s addr %s port %d", slot, reader.Address.Addr(), reader.Address.Port()))
		case !state.Serving():
			add(fmt.Sprintf("%s does not serve (operational state %d, administrative state %d)", slot, state.Operational, state.Admin),
				"set server "+slot+" state ready")
		}
	}
	return step
}

// place gives readers their slots: those that they have, and for the others the
// empty ones. Who finds none waits until one is empty.
func place(r Readers, want []Reader, slots []State) map[int]Reader {
	placed := make(map[int]Reader, len(want))
	var homeless []Reader
	for _, reader := range want {
		n := slices.IndexFunc(slots, func(s State) bool { return s.Address == reader.Address && s.Serving() })
		if n < 0 {
			// As it is right after it was given the address, or while somebody drains it.
			n = slices.IndexFunc(slots, func(s State) bool { return s.Address == reader.Address })
		}
		if n < 0 {
			homeless = append(homeless, reader)
			continue
		}
		placed[n] = reader
	}
	for n, state := range slots {
		if _, taken := placed[n]; !taken && len(homeless) > 0 && state.Maint() && state.Sessions == 0 {
			placed[n], homeless = homeless[0], homeless[1:]
		}
	}
	return placed
}

// Fit are the readers that the slots have room for, the heaviest first, and how
// many are left out. Two that have one address are one.
func (r Readers) Fit(readers []Reader) (fit []Reader, over int) {
	for _, reader := range readers {
		if !slices.ContainsFunc(fit, func(f Reader) bool { return f.Address == reader.Address }) {
			fit = append(fit, reader)
		}
	}
	slices.SortStableFunc(fit, func(a, b Reader) int { return b.Weight - a.Weight })
	over = max(len(fit)-r.Slots, 0)
	return fit[:len(fit)-over], over
}

// CheckReader refuses what must not be given to a proxy as a reader.
func CheckReader(reader Reader) error { return checkAddress(reader.Address) }

// ProofOfReaders is what the slots are seen to do, compared with whom is wanted.
func ProofOfReaders(want []Reader, slots []State) routes.ReadersProof {
	var proof routes.ReadersProof
	var serving []netip.AddrPort
	for _, state := range slots {
		proof.Sessions += state.Sessions
		if !slices.ContainsFunc(want, func(w Reader) bool { return w.Address == state.Address }) {
			proof.Left += state.Sessions
		}
		if state.Serving() && state.Weight > 0 {
			serving = append(serving, state.Address)
		}
	}
	slices.SortFunc(serving, netip.AddrPort.Compare)
	for _, at := range serving {
		proof.Serving = append(proof.Serving, at.String())
	}
	return proof
}
