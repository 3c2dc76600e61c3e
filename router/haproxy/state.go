package haproxy

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// State is what a proxy shows of one slot.
type State struct {
	Address netip.AddrPort
	// Weight is the slot's share of new connections.
	Weight int
	// Operational and Admin are HAProxy's own numbers.
	Operational int
	Admin       int
	// Sessions counts what is established through the slot or on its way.
	Sessions int
}

const (
	operationalStopped = 0
	operationalRunning = 2

	adminForcedMaint = 0x01
	// adminConfigMaint only remembers that the configuration said "disabled".
	adminConfigMaint = 0x04
)

// Maint reports whether the slot was put into maintenance and has stopped.
func (s State) Maint() bool {
	return s.Admin&adminForcedMaint != 0 && s.Operational == operationalStopped
}

// Serving reports whether the slot takes new connections, without any
// administrative reservation (maintenance, drain).
func (s State) Serving() bool {
	return s.Admin&^adminConfigMaint == 0 && s.Operational == operationalRunning
}

// ParseState reads the answers to the commands of ReadBack, in their order.
func ParseState(b Backend, answers []string) (State, error) {
	if len(answers) != 2 {
		return State{}, fmt.Errorf("haproxy: %d answers to read back: want 2", len(answers))
	}
	commands := ReadBack(b)
	state, err := parseServersState(b, answers[0])
	if err != nil {
		return State{}, fmt.Errorf("haproxy: %q: %w", commands[0], err)
	}
	state.Sessions, err = parseSessions(b, answers[1])
	if err != nil {
		return State{}, fmt.Errorf("haproxy: %q: %w", commands[1], err)
	}
	return state, nil
}

// serversStateVersion is the version of the columns that this package reads.
const serversStateVersion = "1"

func parseServersState(b Backend, answer string) (State, error) {
	rows, err := stateRows(answer)
	if err != nil {
		return State{}, err
	}
	for _, row := range rows {
		if row["be_name"] == b.Backend && row["srv_name"] == b.Server {
			return serverState(row)
		}
	}
	return State{}, missing(b)
}

func missing(b Backend) error {
	return fmt.Errorf("backend %s has no server %s: correct its name", b.Backend, b.Server)
}

// stateRows returns the lines of "show servers state", by the names of columns.
func stateRows(answer string) ([]map[string]string, error) {
	version, rest, _ := strings.Cut(strings.TrimSpace(answer), "\n")
	if version != serversStateVersion {
		if _, err := strconv.Atoi(version); err == nil {
			return nil, fmt.Errorf("columns of version %s: only version %s is understood", version, serversStateVersion)
		}
		return nil, fmt.Errorf("answered %q", shorten(strings.TrimSpace(answer)))
	}
	header, rest, _ := strings.Cut(rest, "\n")
	names := strings.Fields(strings.TrimPrefix(header, "#"))
	var rows []map[string]string
	for line := range strings.Lines(rest) {
		row, err := newRow(names, strings.Fields(line))
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func serverState(row map[string]string) (State, error) {
	operational, errOperational := strconv.Atoi(row["srv_op_state"])
	admin, errAdmin := strconv.Atoi(row["srv_admin_state"])
	weight, errWeight := strconv.Atoi(row["srv_uweight"])
	port, errPort := strconv.ParseUint(row["srv_port"], 10, 16)
	if err := errors.Join(errOperational, errAdmin, errWeight, errPort); err != nil {
		return State{}, err
	}
	state := State{Operational: operational, Admin: admin, Weight: weight}
	// A server without an IP address (a name not resolved, a unix socket) shows
	// something else here. It leads to no master: the zero address says so.
	if addr, err := netip.ParseAddr(row["srv_addr"]); err == nil {
		state.Address = netip.AddrPortFrom(addr.Unmap(), uint16(port))
	}
	return state, nil
}

// newRow pairs the names of columns with a line's values. Columns are found by
// name, as new ones are added at the end without a new version.
func newRow(names, values []string) (map[string]string, error) {
	if len(values) < len(names) {
		return nil, fmt.Errorf("a line has %d columns where %d are named", len(values), len(names))
	}
	row := make(map[string]string, len(names))
	for i, name := range names {
		row[name] = values[i]
	}
	return row, nil
}

func parseSessions(b Backend, answer string) (int, error) {
	rows, err := statRows(answer)
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		if row["pxname"] == b.Backend && row["svname"] == b.Server {
			return sessionsOf(row)
		}
	}
	return 0, missing(b)
}

// statRows returns the lines of "show stat", by the names of columns.
func statRows(answer string) ([]map[string]string, error) {
	header, rest, _ := strings.Cut(strings.TrimSpace(answer), "\n")
	if !strings.HasPrefix(header, "# pxname,") {
		return nil, fmt.Errorf("answered %q", shorten(strings.TrimSpace(answer)))
	}
	names := strings.Split(strings.TrimPrefix(header, "# "), ",")
	reader := csv.NewReader(strings.NewReader(rest))
	reader.FieldsPerRecord = -1
	lines, err := reader.ReadAll()
	if err != nil {
		return nil, err
	}
	rows := make([]map[string]string, 0, len(lines))
	for _, line := range lines {
		row, err := newRow(names, line)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// sessionsOf counts from the moment a session has chosen the slot, connected or
// not.
func sessionsOf(row map[string]string) (int, error) {
	sessions, err := strconv.Atoi(row["scur"])
	if err != nil {
		return 0, fmt.Errorf("column scur: %w", err)
	}
	return sessions, nil
}
