package topology

import (
	"slices"
	"time"
)

// Snapshot is the whole picture of one cluster at one moment: who should be
// the master, what each server last looked like, and what each observer sees
// of it now.
type Snapshot struct {
	Cluster string
	// Master is whom the ledger names.
	Master Key
	// At is the moment of the snapshot by the taker's clock.
	At time.Time
	// Taker is the controller that made the snapshot; its view is among Views.
	Taker string
	// Servers has every known server of the cluster, its last good picture
	// included, however old.
	Servers map[Key]Server
	// Outcasts are servers in no good standing (deposed, quarantined), and why:
	// they are no candidates.
	Outcasts map[Key]string
	// Downtimed are servers in downtime, and why: nothing is done about them
	// unasked.
	Downtimed map[Key]string
	// Views are what the controllers see, the taker's first.
	Views []View
}

// Server is what is remembered of one server.
type Server struct {
	Key Key
	// Last is the last good picture; nil if there never was one.
	Last *Instance
	// LastSeen is when Last was read, by the taker's clock.
	LastSeen time.Time
	// Source is the canonical key of the server that Last replicates from;
	// zero for none or for one that is not known.
	Source Key
}

// Keys returns the known servers in order.
func (s Snapshot) Keys() []Key {
	keys := make([]Key, 0, len(s.Servers))
	for k := range s.Servers {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, Key.Compare)
	return keys
}

// Replicas returns, in order, the servers whose last picture replicates from k.
func (s Snapshot) Replicas(k Key) []Key {
	var out []Key
	for _, key := range s.Keys() {
		if srv := s.Servers[key]; srv.Last != nil && srv.Last.Replication != nil && srv.Source == k {
			out = append(out, key)
		}
	}
	return out
}

// Sight returns the taker's observation of k.
func (s Snapshot) Sight(k Key) (Observation, bool) {
	for _, v := range s.Views {
		if v.Observer == s.Taker {
			o, ok := v.Observations[k]
			return o, ok
		}
	}
	return Observation{}, false
}
