// Package topology is the picture of the world that every judgement is made
// from: what one observer saw of one server, and what all of them saw of a
// cluster. It is pure; values are not changed once made.
package topology

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Key names a server: the host as discovery resolved it, and its port.
type Key struct {
	Host string
	Port uint16
}

// String returns "host:port" (an IPv6 host in brackets), or nothing for the
// zero key.
func (k Key) String() string {
	if k.IsZero() {
		return ""
	}
	return net.JoinHostPort(k.Host, strconv.Itoa(int(k.Port)))
}

// IsZero reports whether k names nothing.
func (k Key) IsZero() bool { return k == Key{} }

// Compare orders keys by host, then by port.
func (k Key) Compare(o Key) int {
	return cmp.Or(strings.Compare(k.Host, o.Host), cmp.Compare(k.Port, o.Port))
}

// MarshalText writes "host:port", or nothing for the zero key.
func (k Key) MarshalText() ([]byte, error) {
	if k.IsZero() {
		return nil, nil
	}
	return []byte(k.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (k *Key) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*k = Key{}
		return nil
	}
	key, err := ParseKey(string(text))
	if err != nil {
		return err
	}
	*k = key
	return nil
}

// DefaultPort is MySQL's registered port, used where a key names none.
const DefaultPort = 3306

// ParseKey reads "host:port", "[v6]:port" or "host".
func ParseKey(text string) (Key, error) {
	if text == "" {
		return Key{}, fmt.Errorf("instance is empty: want HOST:PORT")
	}
	if strings.ContainsAny(text, " \t\r\n/\\'\"`;\x00") {
		return Key{}, fmt.Errorf("instance %q: want HOST:PORT", text)
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		if strings.Contains(text, ":") {
			return Key{}, fmt.Errorf("instance %q: want HOST:PORT: %w", text, err)
		}
		return Key{Host: text, Port: DefaultPort}, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Key{}, fmt.Errorf("instance %q: port %q: want a number from 1 to 65535", text, port)
	}
	if host == "" {
		return Key{}, fmt.Errorf("instance %q: host is empty", text)
	}
	return Key{Host: host, Port: uint16(n)}, nil
}
