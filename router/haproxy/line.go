package haproxy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ErrUnfinished is returned for a configuration that ends within the line that
// is to be moved: somebody is writing it.
var ErrUnfinished = errors.New("the configuration ends within a line")

// MoveServer returns a configuration whose line of the slot leads to an address
// or, with the zero one, to nobody: it is disabled, and its address is no
// server's, whoever enables it. All other lines stay as they are.
func MoveServer(text string, b Backend, at netip.AddrPort) (string, error) {
	if at.IsValid() {
		if err := checkAddress(at); err != nil {
			return "", err
		}
	}
	lines := slices.Collect(strings.Lines(text))
	n, err := findServer(lines, b)
	if err != nil {
		return "", err
	}
	if lines[n], err = moveLine(lines[n], b, at); err != nil {
		return "", err
	}
	return strings.Join(lines, ""), nil
}

// ServerLine returns the line of the slot.
func ServerLine(text string, b Backend) (string, error) {
	lines := slices.Collect(strings.Lines(text))
	n, err := findServer(lines, b)
	if err != nil {
		return "", err
	}
	return lines[n], nil
}

func findServer(lines []string, b Backend) (int, error) {
	found, inside := -1, false
	for n, line := range lines {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case slices.Contains(headings(), words[0]):
			inside = (words[0] == "backend" || words[0] == "listen") && len(words) > 1 && words[1] == b.Backend
		case inside && words[0] == "server" && len(words) > 1 && words[1] == b.Server:
			if found >= 0 {
				return 0, fmt.Errorf("haproxy: backend %s has two lines of server %s: remove one", b.Backend, b.Server)
			}
			found = n
		}
	}
	if found < 0 {
		return 0, fmt.Errorf("haproxy: the configuration has no server %s in a backend %s: correct the names, or the path",
			b.Server, b.Backend)
	}
	return found, nil
}

// headings are the words that begin a section.
func headings() []string {
	return []string{"global", "defaults", "frontend", "backend", "listen", "userlist", "peers", "mailers", "resolvers",
		"cache", "ring", "log-forward", "log-profile", "http-errors", "program", "fcgi-app", "traces", "crt-store", "acme"}
}

// moveLine changes the address of a server line and its word "disabled", and
// leaves its other words, its margin and its comment.
func moveLine(line string, b Backend, at netip.AddrPort) (string, error) {
	if !strings.HasSuffix(line, "\n") {
		return "", fmt.Errorf("haproxy: server %s: %w", b, ErrUnfinished)
	}
	body, comment, commented := strings.Cut(strings.TrimRight(line, "\r\n"), "#")
	if strings.ContainsAny(body, "\"'\\") {
		return "", fmt.Errorf("haproxy: the line of server %s has a quote or a backslash: write it without", b)
	}
	words := strings.Fields(body)
	if len(words) < 3 {
		return "", fmt.Errorf("haproxy: the line of server %s has no address: write one, such as %s disabled", b, nowhere)
	}
	words = append(words[:3], slices.DeleteFunc(words[3:], func(w string) bool { return w == "disabled" || w == "enabled" })...)
	words[2] = nowhere
	if at.IsValid() {
		words[2] = at.String()
	} else {
		words = slices.Insert(words, 3, "disabled")
	}
	moved := body[:len(body)-len(strings.TrimLeft(body, " \t"))] + strings.Join(words, " ")
	if commented {
		moved += " #" + comment
	}
	return moved + line[len(strings.TrimRight(line, "\r\n")):], nil
}

// ForgetServer returns a server-state file without the slot, so that what the
// configuration says of it counts after a reload. Other servers stay in it.
func ForgetServer(state string, b Backend) (string, error) {
	lines := slices.Collect(strings.Lines(state))
	if len(lines) < 2 {
		return state, nil
	}
	names := strings.Fields(strings.TrimPrefix(lines[1], "#"))
	if strings.TrimSpace(lines[0]) != serversStateVersion || !slices.Contains(names, "be_name") {
		return "", fmt.Errorf("haproxy: the server-state file begins with %q: only version %s is understood",
			shorten(strings.TrimSpace(lines[0])), serversStateVersion)
	}
	backend, server := slices.Index(names, "be_name"), slices.Index(names, "srv_name")
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool {
		words := strings.Fields(line)
		return len(words) > max(backend, server) && words[backend] == b.Backend && words[server] == b.Server
	}), ""), nil
}
