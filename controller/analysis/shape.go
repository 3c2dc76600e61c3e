package analysis

import (
	"fmt"
	"slices"
	"strings"

	"switchyard/controller/topology"
)

// role is what a server is in its cluster; a server may have several.
type role uint8

const (
	// master: the ledger names it, and it is in no ring of two.
	master role = 1 << iota
	// coMaster: the ledger names it, and another server and it replicate from
	// each other.
	coMaster
	// otherCoMaster is that other server.
	otherCoMaster
	// intermediate: it has replicas and is none of the above.
	intermediate
	// firstTier: it replicates from the ledger's master.
	firstTier
)

// writer is the server that the ledger names.
const writer = master | coMaster

// shape is who is what in a cluster.
type shape struct {
	roles map[topology.Key]role
	// replicas are the direct ones of each server, in order.
	replicas map[topology.Key][]topology.Key
	// ring is a circle of three or more servers, in order, if there is one.
	ring []topology.Key
}

func shapeOf(s topology.Snapshot) shape {
	out := shape{roles: map[topology.Key]role{}, replicas: map[topology.Key][]topology.Key{}}
	keys := s.Keys()
	for _, k := range keys {
		if srv := s.Servers[k]; srv.Last != nil && srv.Last.Replication != nil {
			out.replicas[srv.Source] = append(out.replicas[srv.Source], k)
		}
	}
	own := ringOf(s, s.Master)
	for _, k := range keys {
		if !slices.Contains(out.ring, k) {
			if ring := ringOf(s, k); len(ring) > 2 && len(ring) > len(out.ring) {
				out.ring = ring
			}
		}
		_, outcast := s.Outcasts[k]
		switch {
		case k == s.Master && len(own) == 2:
			out.roles[k] = coMaster
		case k == s.Master:
			out.roles[k] = master
		case len(own) == 2 && slices.Contains(own, k):
			out.roles[k] = otherCoMaster
		case !outcast && len(out.replicas[k]) > 0:
			// Who follows an outcast is brought after the master by the recovery that
			// cast it out.
			out.roles[k] = intermediate
		}
	}
	for _, k := range out.replicas[s.Master] {
		if k != s.Master {
			out.roles[k] |= firstTier
		}
	}
	return out
}

// ringOf returns the servers on the way from k along the sources back to k; nil
// where it does not lead back.
func ringOf(s topology.Snapshot, k topology.Key) []topology.Key {
	var ring []topology.Key
	for at := k; !at.IsZero() && len(ring) <= len(s.Servers); at = s.Servers[at].Source {
		if at == k && len(ring) > 0 {
			return ring
		}
		ring = append(ring, at)
	}
	return nil
}

// whyUnsupported says why no recovery of k is known, or nothing.
func (h shape) whyUnsupported(s topology.Snapshot, k topology.Key) string {
	if slices.Contains(h.ring, k) {
		return ringSentence(h.ring)
	}
	if last := s.Servers[k].Last; last != nil && len(last.Unsupported) > 0 {
		return strings.Join(last.Unsupported, "; ")
	}
	return ""
}

func ringSentence(ring []topology.Key) string {
	names := make([]string, 0, len(ring))
	for _, k := range ring {
		names = append(names, k.String())
	}
	return fmt.Sprintf("%d servers replicate in a ring (%s), and rings of more than two are not supported",
		len(ring), strings.Join(names, " from "))
}
