package proxysql

import (
	"fmt"
	"slices"
	"strings"

	"switchyard/router/routes"
)

// Step is what is to be done next, until Next finds nothing more to do.
type Step struct {
	// Name is "drain", "close", "kill" or "open"; empty when the proxy follows.
	Name string
	// Why says what the proxy lacks.
	Why      string
	Commands []Command
	// Aside counts the rows of others that were edited and not loaded. They are
	// kept out of the load, and put back as they were.
	Aside int
}

// Command is one admin statement.
type Command struct {
	SQL string
	// MayFail is set where a refusal is as good: a session that ended by itself.
	MayFail bool
}

// Next says what brings the proxy nearer to the table; an empty step means that
// it was read back to follow it. Whatever the proxy was, the order is the same:
// first nobody but the wanted server is left in the hostgroup, in any layer; then
// the sessions on others end; and only then the wanted row goes in.
//
// With drain, a planned withdrawal begins softly: nobody new gets to the old
// server, and what is under way there may end. The caller bounds that.
func Next(slot Slot, table routes.Table, state State, drain bool) (Step, error) {
	if err := slot.Validate(); err != nil {
		return Step{}, err
	}
	if err := checkTable(table); err != nil {
		return Step{}, err
	}
	var want []Row
	if table.Writer != nil {
		want = []Row{slot.row(*table.Writer)}
	}
	if step := soften(slot, state); drain && table.Planned && want == nil && step.Name != "" {
		return step, nil
	}
	if why := strangers(slot, want, state); why != "" {
		return change(slot, state, "close", why, keys(want), nil), nil
	}
	if left, why := sessionsLeft(slot, want, state); why != "" {
		return Step{Name: "kill", Why: why, Commands: left}, nil
	}
	if why := missing(slot, want, state); why != "" {
		return change(slot, state, "open", why, nil, want), nil
	}
	return Step{}, nil
}

// offlineSoft lets what is under way on a server end, and lets nobody new in.
const offlineSoft = "OFFLINE_SOFT"

// soften returns what is to be done, or waited for, before the hostgroup can be
// emptied without hurting anybody. Its one row must be in memory too: a load would
// drop it there and then otherwise. The disk is withdrawn at once, as nothing is
// under way there.
func soften(slot Slot, state State) Step {
	serving, memory := live(state.Runtime, slot.Hostgroup), ours(state.Memory, slot)
	if len(serving) != 1 || len(memory) != 1 || serving[0].Server != memory[0].Server {
		return Step{}
	}
	if serving[0].Status != offlineSoft {
		row := memory[0]
		row.Status = offlineSoft
		step := change(slot, state, "drain", fmt.Sprintf("the runtime has %s", row.Server), nil, []Row{row})
		disk := slices.IndexFunc(step.Commands, func(c Command) bool { return strings.HasPrefix(c.SQL, "INSERT INTO disk.") })
		step.Commands = slices.Delete(step.Commands, disk, disk+1)
		return step
	}
	if used := state.InUse(slot); used > 0 {
		return Step{Name: "drain", Why: fmt.Sprintf("%d connections are in use", used)}
	}
	return Step{}
}

func keys(rows []Row) []Server {
	var out []Server
	for _, row := range rows {
		out = append(out, row.Server)
	}
	return out
}

// layers are the three that must agree, by the name that operators know.
func layers(slot Slot, state State) []struct {
	name string
	rows []Row
} {
	return []struct {
		name string
		rows []Row
	}{
		{"the runtime", live(state.Runtime, slot.Hostgroup)},
		// Here a row is one, whatever its status says: a load would bring it back.
		{"memory", ours(state.Memory, slot)}, {"the disk", ours(state.Disk, slot)},
	}
}

func ours(rows []Row, slot Slot) []Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Hostgroup != slot.Hostgroup })
}

// strangers says which server other than the wanted one a layer has.
func strangers(slot Slot, want []Row, state State) string {
	for _, layer := range layers(slot, state) {
		for _, row := range layer.rows {
			if !slices.Contains(keys(want), row.Server) {
				return fmt.Sprintf("%s has %s", layer.name, row.Server)
			}
		}
	}
	return ""
}

// missing says which layer does not have exactly the wanted row.
func missing(slot Slot, want []Row, state State) string {
	for _, layer := range layers(slot, state) {
		for _, row := range want {
			i := slices.IndexFunc(layer.rows, func(r Row) bool { return r.Server == row.Server })
			if i < 0 {
				return fmt.Sprintf("%s lacks %s", layer.name, row.Server)
			}
			if have := layer.rows[i]; have != row && !(layer.name == "the runtime" && shunnedOnly(have, row)) {
				return fmt.Sprintf("%s has %s with other attributes (status %s, weight %d, max_connections %d, use_ssl %d)",
					layer.name, row.Server, layer.rows[i].Status, layer.rows[i].Weight, layer.rows[i].MaxConnections, layer.rows[i].UseSSL)
			}
		}
	}
	return ""
}

// shunnedOnly reports whether ProxySQL itself has set the wanted server aside for a
// while, as it could not connect: that is no change of anybody's, and ends by itself.
func shunnedOnly(have, want Row) bool {
	want.Status = Shunned
	return have == want
}

// sessionsLeft returns what ends the sessions on other servers than the wanted.
func sessionsLeft(slot Slot, want []Row, state State) (kills []Command, why string) {
	unwanted := func(s Server) bool { return s.Hostgroup == slot.Hostgroup && !slices.Contains(keys(want), s) }
	var kill []uint64
	for _, session := range state.Sessions {
		if unwanted(session.Server) {
			kill = append(kill, session.ID)
		}
	}
	used := 0
	for _, pool := range state.Pool {
		if !unwanted(pool.Server) || pool.Used == 0 {
			continue
		}
		used += pool.Used
		if len(kill) > 0 {
			continue
		}
		// A session shows the connection that it used last. One that holds another
		// besides is known by the server alone.
		for _, session := range state.Sessions {
			if session.Server.Host == pool.Server.Host && session.Server.Port == pool.Server.Port {
				kill = append(kill, session.ID)
			}
		}
	}
	if used == 0 && len(kill) == 0 {
		return nil, ""
	}
	slices.Sort(kill)
	for _, id := range slices.Compact(kill) {
		kills = append(kills, Command{SQL: fmt.Sprintf("KILL CONNECTION %d", id), MayFail: true})
	}
	return kills, fmt.Sprintf("%d sessions are left", max(used, len(kills)))
}

const load = "LOAD MYSQL SERVERS TO RUNTIME"

// change deletes all of the hostgroup but keep, inserts the rows, and brings that
// into the runtime and onto the disk.
//
// A load brings in the whole table, and a save writes the whole table: so what
// others have edited and not loaded is set aside meanwhile, and the disk is
// written row by row, in place of SAVE MYSQL SERVERS TO DISK.
func change(slot Slot, state State, name, why string, keep []Server, insert []Row) Step {
	step := Step{Name: name, Why: why}
	add := func(statements ...string) {
		for _, sql := range statements {
			step.Commands = append(step.Commands, Command{SQL: sql})
		}
	}
	aside := edited(slot, state)
	step.Aside = len(aside)
	for _, e := range aside {
		add(e.replace(e.memory, e.runtime)...)
	}
	add(rewrite("mysql_servers", slot, keep, insert)...)
	add(load)
	for _, e := range aside {
		add(e.replace(e.runtime, e.memory)...)
	}
	add(rewrite("disk.mysql_servers", slot, keep, insert)...)
	return step
}

func rewrite(table string, slot Slot, keep []Server, insert []Row) []string {
	drop := fmt.Sprintf("DELETE FROM %s WHERE hostgroup_id = %d", table, slot.Hostgroup)
	for _, server := range keep {
		drop += fmt.Sprintf(" AND NOT (hostname = %s AND port = %d)", quote(server.Host), server.Port)
	}
	statements := []string{drop}
	for _, row := range insert {
		statements = append(statements, insertion(table, row))
	}
	return statements
}

func insertion(table string, r Row) string {
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES (%d, %s, %d, %d, %s, %d, %d, %d, %d, %d, %d, %s)", table, columns,
		r.Hostgroup, quote(r.Host), r.Port, r.GTIDPort, quote(r.Status), r.Weight, r.Compression, r.MaxConnections,
		r.MaxReplicationLag, r.UseSSL, r.MaxLatency, quote(r.Comment))
}

// quote writes a text as SQLite reads it: it knows no escape but the doubled quote.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// edit is a row of somebody else's that differs between memory and runtime; nil
// where it is missing there.
type edit struct{ memory, runtime *Row }

// replace makes memory have to, where it has from.
func (edit) replace(from, to *Row) []string {
	var statements []string
	if from != nil {
		statements = append(statements, fmt.Sprintf("DELETE FROM mysql_servers WHERE hostgroup_id = %d AND hostname = %s AND port = %d",
			from.Hostgroup, quote(from.Host), from.Port))
	}
	if to != nil {
		statements = append(statements, insertion("mysql_servers", *to))
	}
	return statements
}

// edited finds what a load would change beyond the slot's hostgroup. It may be an
// operator who has not loaded yet, or a monitor that moved a server in the runtime.
func edited(slot Slot, state State) []edit {
	edits := map[Server]*edit{}
	at := func(s Server) *edit {
		if edits[s] == nil {
			edits[s] = &edit{}
		}
		return edits[s]
	}
	for _, row := range state.Memory {
		if row.Hostgroup != slot.Hostgroup {
			at(row.Server).memory = &row
		}
	}
	for _, row := range state.Runtime {
		if row.Hostgroup == slot.Hostgroup || row.Status == OfflineHard && at(row.Server).memory == nil {
			continue
		}
		// Shunned is ProxySQL's own, passing judgement of a server that is online.
		if row.Status == Shunned {
			row.Status = Online
		}
		at(row.Server).runtime = &row
	}
	var out []edit
	for _, e := range edits {
		if e.memory == nil && e.runtime == nil || e.memory != nil && e.runtime != nil && *e.memory == *e.runtime {
			continue
		}
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b edit) int { return a.server().compare(b.server()) })
	return out
}

func (e edit) server() Server {
	if e.memory != nil {
		return e.memory.Server
	}
	return e.runtime.Server
}
