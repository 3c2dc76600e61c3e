package consul

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"switchyard/router/routes"
)

// Inspect returns what the keys of a cluster hold, and what is wrong with them
// by themselves: the work of another hand than ours.
func (c *Consul) Inspect(ctx context.Context, cluster string) (routes.Holding, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	keys, err := c.keys(cluster)
	if err != nil {
		return routes.Holding{}, c.named(err)
	}
	held, err := c.read(ctx, keys)
	if err != nil {
		return routes.Holding{}, c.named(err)
	}
	return held.holding(cluster), nil
}

// maxValue is how much of a value that cannot be read is shown.
const maxValue = 60

func (h held) holding(cluster string) routes.Holding {
	out := routes.Holding{Record: h.record(cluster)}
	missing := make([]string, 0, keyCount)
	for i := range h {
		if h[i].index == 0 {
			missing = append(missing, keyName(i))
		}
	}
	if len(missing) == keyCount {
		return out
	}
	if len(missing) > 0 {
		out.Faults = append(out.Faults, "missing: "+strings.Join(missing, ", "))
	}
	bad := func(i int, wrong bool) {
		if wrong && h[i].index != 0 {
			out.Faults = append(out.Faults, fmt.Sprintf("%s is %q", keyName(i), clip(h[i].value)))
		}
	}
	bad(keyEpoch, out.Epoch.IsZero())
	bad(keyPort, out.Master.Port == 0)
	bad(keyHostname, out.Master.Host == "")
	bad(keyMaster, h[keyMaster].value != out.Master.String())
	bad(keyIPv4, !address(h[keyIPv4].value, netip.Addr.Is4))
	bad(keyIPv6, !address(h[keyIPv6].value, netip.Addr.Is6))
	bad(keyRevision, !out.Epoch.IsZero() && parseRevision(h[keyRevision].value, out.Epoch) == 0)
	return out
}

// address reports whether a value is an address of its kind; none is one, too.
func address(value string, kind func(netip.Addr) bool) bool {
	addr, err := netip.ParseAddr(value)
	return value == "" || err == nil && kind(addr)
}

func keyName(i int) string {
	return [keyCount]string{keyEpoch: "epoch", keyMaster: "master", keyHostname: "hostname", keyPort: "port",
		keyIPv4: "ipv4", keyIPv6: "ipv6", keyRevision: "revision"}[i]
}

func clip(text string) string {
	if len(text) > maxValue {
		return text[:maxValue] + "..."
	}
	return text
}
