package proxysql

import (
	"cmp"
	"fmt"
	"slices"

	"switchyard/router/routes"
)

// readers is the slot of the readers, as far as its rows go.
func (s Slot) readers() Slot {
	s.Hostgroup, s.Reader = s.Reader, NoReader
	return s
}

// readerRows are those that the hostgroup of the readers is to have, and what is to
// be said of those that must not become one.
func (s Slot) readerRows(readers []routes.Reader) (rows []Row, remarks []string) {
	for _, r := range readers {
		if err := checkHost("reader.host", r.Host); err != nil {
			remarks = append(remarks, err.Error())
			continue
		}
		row := s.readers().row(r.Server)
		row.Weight = r.Weight
		rows = append(rows, row)
	}
	return rows, remarks
}

// NextReaders says what brings the hostgroup of the readers nearer to the readers
// that are wanted; an empty step means that it was read back to have them in every
// layer, and no sessions on others. Remarks are sentences on readers that cannot be
// had here. It is for after Next: the writer's hostgroup, and who holds a connection
// there, is left alone.
//
// All of the change is one load, which leaves those alone who stay.
func NextReaders(slot Slot, readers []routes.Reader, state State) (step Step, remarks []string) {
	if slot.Reader == NoReader {
		return Step{}, nil
	}
	want, remarks := slot.readerRows(readers)
	own := slot.readers()
	if why := cmp.Or(strangers(own, want, state), missing(own, want, state)); why != "" {
		return change(own, state, "readers", why, nil, want), remarks
	}
	// One whose session shows another hostgroup, the writer's perhaps, is waited for.
	mine := state
	mine.Sessions = slices.DeleteFunc(slices.Clone(state.Sessions), func(s Session) bool { return s.Server.Hostgroup != own.Hostgroup })
	if left, why := sessionsLeft(own, want, mine); why != "" {
		return Step{Name: "kill readers", Why: why, Commands: left}, remarks
	}
	return Step{}, remarks
}

// ProofOfReaders is what the proxy is seen to do with its readers. Whether it holds
// is the caller's to say.
func ProofOfReaders(slot Slot, readers []routes.Reader, state State) routes.ReadersProof {
	want, _ := slot.readerRows(readers)
	own := slot.readers()
	proof := routes.ReadersProof{Sessions: state.InUse(own)}
	for _, server := range state.Serving(own) {
		proof.Serving = append(proof.Serving, routes.Server{Host: server.Host, Port: server.Port}.String())
	}
	for _, pool := range state.Pool {
		if pool.Server.Hostgroup == own.Hostgroup && !slices.Contains(keys(want), pool.Server) {
			proof.Left += pool.Used
		}
	}
	return proof
}

// String says the step in a few words.
func (s Step) String() string { return fmt.Sprintf("%s: %s", s.Name, s.Why) }
