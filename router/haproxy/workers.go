package haproxy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A reload leaves the former process, the old worker, with the sessions that it
// has. The runtime API of the new one knows nothing of them; the master process
// passes commands on. What an old worker still obeys was measured on 2.6: it
// refuses all that names a server ("Proxy is disabled."), "shutdown sessions
// server" among it, and ends single sessions.

// ShowProcesses is the command whose answer ParseOldWorkers reads.
const ShowProcesses = "show proc"

// ParseOldWorkers returns the ids of the workers that earlier reloads left.
func ParseOldWorkers(answer string) ([]int, error) {
	answer = strings.TrimSpace(answer)
	if !strings.HasPrefix(answer, "#<PID>") {
		return nil, fmt.Errorf("haproxy: %q: answered %q", ShowProcesses, shorten(answer))
	}
	var old []int
	section, workers := "", false
	for line := range strings.Lines(answer) {
		if heading, ok := strings.CutPrefix(line, "# "); ok {
			section = strings.TrimSpace(heading)
			workers = workers || section == "workers"
			continue
		}
		fields := strings.Fields(line)
		if section != "old workers" || len(fields) == 0 {
			continue
		}
		pid, err := strconv.Atoi(fields[0])
		if err != nil || pid <= 0 {
			return nil, fmt.Errorf("haproxy: %q: %q does not begin with a process id", ShowProcesses, shorten(strings.TrimSpace(line)))
		}
		old = append(old, pid)
	}
	if !workers {
		return nil, fmt.Errorf("haproxy: %q: no list of workers in %q", ShowProcesses, shorten(answer))
	}
	return old, nil
}

// ParseWorkers returns the ids of the workers that take connections: one, as a rule.
func ParseWorkers(answer string) ([]int, error) {
	if _, err := ParseOldWorkers(answer); err != nil {
		return nil, err
	}
	_, list, _ := strings.Cut(answer, "# workers")
	list, _, _ = strings.Cut(list, "\n#")
	var pids []int
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		pid, err := strconv.Atoi(fields[0])
		if err != nil || pid <= 0 {
			return nil, fmt.Errorf("haproxy: %q: %q does not begin with a process id", ShowProcesses, shorten(strings.TrimSpace(line)))
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// ShowInfo is the command whose answer ParsePid reads.
const ShowInfo = "show info"

// ParsePid returns which process has answered.
func ParsePid(answer string) (int, error) {
	for line := range strings.Lines(answer) {
		if text, ok := strings.CutPrefix(line, "Pid: "); ok {
			pid, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil {
				return 0, fmt.Errorf("haproxy: %q: %w", ShowInfo, err)
			}
			return pid, nil
		}
	}
	return 0, fmt.Errorf("haproxy: %q: no Pid in the answer %q", ShowInfo, shorten(strings.TrimSpace(answer)))
}

// ShowSessions is the command whose answer ParseSessionsOf reads.
func ShowSessions(pid int) string { return fmt.Sprintf("@!%d show sess", pid) }

// ShutSession ends one session of an old worker.
func ShutSession(pid int, session string) string {
	return fmt.Sprintf("@!%d shutdown session %s", pid, session)
}

// ErrWorkerSilent is an old worker that the master process does not reach: as a
// rule it is ending at this moment, and the next list lacks it.
var ErrWorkerSilent = errors.New("the master process does not reach it")

// ParseSessionsOf returns the ids of an old worker's sessions of the slot, or of a
// whole backend where it names no server; none if the worker has gone meanwhile.
func ParseSessionsOf(b Backend, answer string) ([]string, error) {
	answer = strings.TrimSpace(answer)
	if strings.HasPrefix(answer, "Can't find the target PID") {
		return nil, nil
	}
	if strings.HasPrefix(answer, "Can't connect to the target CLI") {
		return nil, ErrWorkerSilent
	}
	backend, server := "be="+b.Backend, "srv="+b.Server
	wanted := 2
	if b.Server == "" {
		wanted = 1
	}
	var sessions []string
	for line := range strings.Lines(answer) {
		id, rest, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || !isSession(id) {
			if strings.TrimSpace(line) == "" {
				continue
			}
			return nil, fmt.Errorf("haproxy: show sess: answered %q", shorten(line))
		}
		of := 0
		for field := range strings.FieldsSeq(rest) {
			if field == backend || field == server && b.Server != "" {
				of++
			}
		}
		if of == wanted {
			sessions = append(sessions, id)
		}
	}
	return sessions, nil
}

// isSession reports whether the text is an id as HAProxy writes it, and nothing
// that could carry a second command.
func isSession(id string) bool {
	digits, ok := strings.CutPrefix(id, "0x")
	if !ok {
		return false
	}
	_, err := strconv.ParseUint(digits, 16, 64)
	return err == nil
}
