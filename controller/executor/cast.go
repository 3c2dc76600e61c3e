package executor

import (
	"slices"

	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Outcasts are the servers of a cluster in no good standing, and why.
func Outcasts(s ledger.State, cluster string) map[topology.Key]string {
	out := map[topology.Key]string{}
	for k, srv := range s.Servers {
		if srv.Cluster == cluster && srv.Standing != ledger.Member {
			out[k] = "it is " + string(srv.Standing)
		}
	}
	return out
}

// Former are, in order, the servers that recoveries of a cluster chose and gave
// up since the last one that moved the master: they may be detached from the
// old master, and hold as much as ever.
func Former(s ledger.State, cluster string) []topology.Key {
	var ended ledger.Recovery
	for _, r := range s.Recoveries {
		moved := r.Announced && !r.Undoing && !r.Open()
		if r.Cluster == cluster && moved && r.Epoch.Compare(ended.Epoch) > 0 {
			ended = r
		}
	}
	var keys []topology.Key
	for _, r := range s.Recoveries {
		if r.Cluster == cluster && r.Epoch.Compare(ended.Epoch) > 0 {
			keys = append(append(keys, r.Former...), r.Target, r.Winner)
		}
	}
	slices.SortFunc(keys, topology.Key.Compare)
	master := s.Clusters[cluster].Master
	return slices.DeleteFunc(slices.Compact(keys), func(k topology.Key) bool {
		return k.IsZero() || k == master || s.Servers[k].Standing == ledger.Quarantined
	})
}

// members are, in order, all servers of the recovery's cluster.
func (r *run) members() []topology.Key {
	state, cluster := r.ledger.State(), r.recovery().Cluster
	var keys []topology.Key
	for k, srv := range state.Servers {
		if srv.Cluster == cluster {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, topology.Key.Compare)
	return keys
}

// candidates are the old master's direct replicas, and the servers that this
// recovery or an unfinished one before it has detached from it.
func (r *run) candidates() []topology.Key {
	rec := r.recovery()
	keys := append(r.looker.Snapshot(rec.Cluster, rec.Old).Replicas(rec.Old), Former(r.ledger.State(), rec.Cluster)...)
	slices.SortFunc(keys, topology.Key.Compare)
	return slices.DeleteFunc(slices.Compact(keys), func(k topology.Key) bool { return k == rec.Old })
}
