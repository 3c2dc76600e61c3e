package proxysql

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"switchyard/router/routes"
)

// Conflict is a setting of a proxy that works against us.
type Conflict struct {
	// Text is a sentence with the remedy.
	Text string
	// Undoes is true where the proxy may take back by itself what it was told: then
	// nothing that was read back from it can be counted on.
	Undoes bool
}

// Conflicts finds what works against us in a proxy that carries the slot.
func Conflicts(slot Slot, state State) []Conflict {
	var out []Conflict
	for _, pair := range state.Pairs {
		for _, hostgroup := range slot.hostgroups() {
			if pair.Writer == hostgroup || pair.Reader == hostgroup {
				out = append(out, Conflict{Undoes: true, Text: fmt.Sprintf(
					"mysql_replication_hostgroups names hostgroup %d (writer %d, reader %d), so ProxySQL's monitor moves servers there by "+
						"itself, and an old master that comes back writable gets writes; delete that row and LOAD MYSQL SERVERS TO RUNTIME",
					hostgroup, pair.Writer, pair.Reader)})
				break
			}
		}
	}
	if len(state.Peers) > 0 && state.ClusterDiffs != 0 {
		peers := slices.Sorted(slices.Values(state.Peers))
		out = append(out, Conflict{Undoes: true, Text: fmt.Sprintf(
			"ProxySQL Cluster copies mysql_servers from its peers (%s) and may overwrite what this proxy was told; "+
				"SET %s=0, LOAD ADMIN VARIABLES TO RUNTIME and save them, on every peer", strings.Join(peers, ", "), diffsVariable)})
	}
	if state.QueryRetries != 0 {
		out = append(out, Conflict{Text: fmt.Sprintf(
			"%s is %d, so a statement that is under way on the old master is sent to the new one as well, and can be executed twice; "+
				"SET %s=0, LOAD MYSQL VARIABLES TO RUNTIME and save them", retriesVariable, state.QueryRetries, retriesVariable)})
	}
	return out
}

// Harmless reports whether a proxy that starts from these saved rows of the slot
// serves as the writer nobody but the table's. Readers do not count.
func Harmless(slot Slot, table routes.Table, saved []Row) bool {
	return !slices.ContainsFunc(ours(saved, slot), func(r Row) bool {
		return table.Writer == nil || r.Server != slot.row(*table.Writer).Server
	})
}

// ProofOf is what the proxy is seen to do. Whether it holds is the caller's to say.
func ProofOf(slot Slot, state State) routes.Proof {
	proof := routes.Proof{Sessions: state.InUse(slot)}
	if serving := state.Serving(slot); len(serving) > 0 {
		proof.Serving = true
		proof.Address, proof.Host = addressOf(serving[0])
	}
	var warnings []string
	for _, conflict := range Conflicts(slot, state) {
		if !conflict.Undoes {
			warnings = append(warnings, conflict.Text)
		}
	}
	proof.Warning = strings.Join(warnings, "; ")
	return proof
}

// addressOf returns the address, or the name of a server that is known by one.
func addressOf(s Server) (netip.AddrPort, string) {
	if addr, err := netip.ParseAddr(s.Host); err == nil {
		return netip.AddrPortFrom(addr, s.Port), ""
	}
	return netip.AddrPort{}, routes.Server{Host: s.Host, Port: s.Port}.String()
}
