package publisher

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// addresses are a host's lowest address of each kind; empty for none.
type addresses struct{ v4, v6 string }

// hosts finds addresses, and remembers them for when the resolver fails: a
// master's name is published at once, with or without them.
type hosts struct {
	lookup  Lookup
	timeout time.Duration

	mu    sync.Mutex
	known map[string]addresses
}

// find returns the addresses of a host; with the error, those that were found
// the last time, if ever.
func (h *hosts) find(ctx context.Context, host string) (addresses, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addressesOf([]netip.Addr{addr}), nil
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	addrs, err := h.lookup(ctx, "ip", host)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		return h.known[host], fmt.Errorf("resolve %s: %w", host, err)
	}
	found := addressesOf(addrs)
	h.known[host] = found
	return found, nil
}

func addressesOf(addrs []netip.Addr) addresses {
	var found addresses
	// Sorted, so that the order of a resolver's answers changes nothing.
	sorted := make([]netip.Addr, 0, len(addrs))
	for _, addr := range addrs {
		sorted = append(sorted, addr.Unmap().WithZone(""))
	}
	slices.SortFunc(sorted, netip.Addr.Compare)
	for _, addr := range sorted {
		switch {
		case addr.Is4() && found.v4 == "":
			found.v4 = addr.String()
		case addr.Is6() && found.v6 == "":
			found.v6 = addr.String()
		}
	}
	return found
}
