package haproxy

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// State is what a proxy shows of the slot that carries the writer.
type State struct {
	Address netip.AddrPort
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
	version, rest, _ := strings.Cut(strings.TrimSpace(answer), "\n")
	if version != serversStateVersion {
		if _, err := strconv.Atoi(version); err == nil {
			return State{}, fmt.Errorf("columns of version %s: only version %s is understood", version, serversStateVersion)
		}
		return State{}, fmt.Errorf("answered %q", shorten(strings.TrimSpace(answer)))
	}
	header, rest, _ := strings.Cut(rest, "\n")
	names := strings.Fields(strings.TrimPrefix(header, "#"))
	for line := range strings.Lines(rest) {
		row, err := newRow(names, strings.Fields(line))
		if err != nil {
			return State{}, err
		}
		if row["be_name"] != b.Backend || row["srv_name"] != b.Server {
			continue
		}
		return serverState(row)
	}
	return State{}, fmt.Errorf("backend %s has no server %s: correct its name", b.Backend, b.Server)
}

func serverState(row map[string]string) (State, error) {
	operational, errOperational := strconv.Atoi(row["srv_op_state"])
	admin, errAdmin := strconv.Atoi(row["srv_admin_state"])
	port, errPort := strconv.ParseUint(row["srv_port"], 10, 16)
	if err := errors.Join(errOperational, errAdmin, errPort); err != nil {
		return State{}, err
	}
	state := State{Operational: operational, Admin: admin}
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
	header, rest, _ := strings.Cut(strings.TrimSpace(answer), "\n")
	if !strings.HasPrefix(header, "# pxname,") {
		return 0, fmt.Errorf("answered %q", shorten(strings.TrimSpace(answer)))
	}
	names := strings.Split(strings.TrimPrefix(header, "# "), ",")
	reader := csv.NewReader(strings.NewReader(rest))
	reader.FieldsPerRecord = -1
	lines, err := reader.ReadAll()
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(lines, func(line []string) bool {
		return len(line) > 1 && line[0] == b.Backend && line[1] == b.Server
	})
	if i < 0 {
		return 0, fmt.Errorf("backend %s has no server %s: correct its name", b.Backend, b.Server)
	}
	row, err := newRow(names, lines[i])
	if err != nil {
		return 0, err
	}
	// This counts from the moment a session has chosen the slot, connected or not.
	sessions, err := strconv.Atoi(row["scur"])
	if err != nil {
		return 0, fmt.Errorf("column scur: %w", err)
	}
	return sessions, nil
}
