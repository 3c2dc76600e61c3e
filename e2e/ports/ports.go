// Package ports gives tests addresses that they bind later, and again after a
// restart. Tests of several packages run at the same time, in processes of their own:
// an address that is merely free for the moment is taken by another one's test.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"testing"
)

// registry is where a port is claimed: whoever listens there has the same port
// of the loopback address to itself.
const registry = "127.77.0.1"

// Free returns n loopback addresses that belong to the test until it ends.
func Free(t testing.TB, n int) []string {
	t.Helper()
	from, to := outside(os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"))
	addresses := make([]string, 0, n)
	for tries := 0; len(addresses) < n; tries++ {
		address, err := claim(t, from+rand.IntN(to-from))
		if err == nil {
			addresses = append(addresses, address)
		} else if tries > 1000 {
			t.Fatal(err)
		}
	}
	return addresses
}

// claim takes a port for the test; it fails where another has it, or something
// else listens there.
func claim(t testing.TB, port int) (string, error) {
	t.Helper()
	held, err := net.Listen("tcp4", fmt.Sprintf("%s:%d", registry, port))
	if err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		_ = held.Close()
		return "", err
	}
	t.Cleanup(func() {
		if err := held.Close(); err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String(), listener.Close()
}

// outside returns a range of ports, without its end, that the system does not
// give to whoever asks for any, as each outgoing connection does. Text is the
// range that it does give.
func outside(text []byte, err error) (from, to int) {
	const usual, usualEnd, enough = 15000, 30000, 2000
	var low, high int
	if err != nil {
		return usual, usualEnd
	}
	if _, err := fmt.Sscan(string(text), &low, &high); err != nil {
		return usual, usualEnd
	}
	switch {
	case low >= usualEnd || high < usual:
		return usual, usualEnd
	case low >= usual+enough:
		return usual, low
	case high < 1<<16-enough:
		return high + 1, 1 << 16
	case low >= 2048+enough:
		return 2048, low
	}
	return usual, usualEnd
}
