// Package haproxy knows HAProxy's words: the runtime commands that make a
// proxy follow a routing table, what its answers mean, and the configuration
// that it starts with. It is pure; nothing here speaks to a proxy.
package haproxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"
)

// Backend names the slot that carries a cluster's writer: one server of one
// backend, whose address is moved from master to master.
type Backend struct {
	Backend string
	Server  string
}

// String returns "backend/server", as HAProxy's commands take it.
func (b Backend) String() string { return b.Backend + "/" + b.Server }

// Validate refuses names that HAProxy would not accept. It is also what keeps
// a name from carrying a second command into the runtime API, where a blank,
// a semicolon or a line end would start one.
func (b Backend) Validate() error {
	return errors.Join(checkName("backend", b.Backend), checkName("server", b.Server))
}

// maxName bounds names well below the line length of the runtime API.
const maxName = 128

func checkName(field, name string) error {
	if name == "" {
		return fmt.Errorf("haproxy: %s is empty: name the one that carries the writer", field)
	}
	if len(name) > maxName {
		return fmt.Errorf("haproxy: %s has %d characters: at most %d are allowed", field, len(name), maxName)
	}
	for _, r := range name {
		if !isNameRune(r) {
			return fmt.Errorf("haproxy: %s %q: %q is not allowed; use letters, digits, '_', '.', ':' and '-'", field, name, r)
		}
	}
	return nil
}

func isNameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.:-", r)
}

// Target is where a proxy's runtime API listens.
type Target struct {
	// Network is "tcp" or "unix", and Address what belongs to it.
	Network string
	Address string
}

// String returns the form that ParseTarget reads.
func (t Target) String() string { return t.Network + "://" + t.Address }

// ParseTarget reads "tcp://HOST:PORT" or "unix:///PATH".
func ParseTarget(text string) (Target, error) {
	network, address, _ := strings.Cut(text, "://")
	switch network {
	case "tcp":
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return Target{}, fmt.Errorf("haproxy: runtime API %q: want tcp://HOST:PORT: %w", text, err)
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || host == "" {
			return Target{}, fmt.Errorf("haproxy: runtime API %q: want a host, and a port from 1 to 65535", text)
		}
	case "unix":
		if !path.IsAbs(address) || strings.ContainsAny(address, " \t\r\n\"'#\\") {
			return Target{}, fmt.Errorf("haproxy: runtime API %q: want unix:///PATH, absolute and without blanks", text)
		}
	default:
		return Target{}, fmt.Errorf("haproxy: runtime API %q: want tcp://HOST:PORT or unix:///PATH", text)
	}
	return Target{Network: network, Address: address}, nil
}

// checkAddress refuses what must not be given to a proxy as a master.
func checkAddress(at netip.AddrPort) error {
	switch addr := at.Addr(); {
	case !addr.IsValid() || at.Port() == 0:
		return fmt.Errorf("haproxy: address %s: want an IP address and a port", at)
	case addr.IsUnspecified():
		// HAProxy reads 0.0.0.0 as "wherever the client wanted to go".
		return fmt.Errorf("haproxy: address %s: the unspecified address is no server's", at)
	case addr.Zone() != "":
		return fmt.Errorf("haproxy: address %s: an address with a zone cannot be given to HAProxy", at)
	}
	return nil
}
