package executor

import (
	"fmt"
	"slices"
	"time"

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

// Downtimed are the servers of a cluster that are in downtime at now, and why.
func Downtimed(s ledger.State, cluster string, now time.Time) map[topology.Key]string {
	out := map[topology.Key]string{}
	for k, d := range s.Downtimed(cluster, now) {
		out[k] = fmt.Sprintf("%s put it in downtime until %s: %s", d.Owner, d.Until.UTC().Format(time.RFC3339), d.Reason)
	}
	return out
}

// Former are, in order, the servers that recoveries of a cluster chose and gave
// up since the last one that moved the master: they may be detached from the
// old master, and hold as much as ever.
func Former(s ledger.State, cluster string) []topology.Key {
	ended := lastMove(s, cluster)
	var keys []topology.Key
	for _, r := range s.Recoveries {
		// A relocation has the epoch of the recovery before it, and chose nobody.
		if r.Cluster == cluster && r.OfMaster() && r.Epoch.Compare(ended.Epoch) > 0 {
			keys = append(append(keys, r.Former...), r.Target, r.Winner)
		}
	}
	return standing(s, cluster, keys)
}

// Left are, in order, the servers that the last recovery which moved the master
// could not bring to it, and the master before. They replicate from nobody, or
// from whom they did before, and may be the only ones that hold what the new
// master took with it.
func Left(s ledger.State, cluster string) []topology.Key {
	move := lastMove(s, cluster)
	return standing(s, cluster, append(slices.Clone(move.Lost), move.Old))
}

// Runners are, in order, those that run for the mastership beside the members
// that replicate from snap's master: former winners, deposed servers that follow
// it already, and those that were left and hold nothing that the master, as it was
// last seen, had not.
func Runners(s ledger.State, snap topology.Snapshot) []topology.Key {
	keys := Former(s, snap.Cluster)
	master := snap.Servers[snap.Master].Last
	for k, srv := range s.Servers {
		if srv.Cluster == snap.Cluster && srv.Standing == ledger.Deposed && !snap.Master.IsZero() && snap.Servers[k].Source == snap.Master {
			keys = append(keys, k)
		}
	}
	before := lastMove(s, snap.Cluster).Old
	for _, k := range Left(s, snap.Cluster) {
		// The master before was given up: it is welcome, and not waited for.
		if o, _ := snap.Sight(k); k == before && o.Instance == nil {
			continue
		}
		if last := snap.Servers[k].Last; master != nil && last != nil && master.Executed.Contains(last.Received()) {
			keys = append(keys, k)
		}
	}
	return standing(s, snap.Cluster, keys)
}

// lastMove is the last ended recovery of a cluster that moved its master.
func lastMove(s ledger.State, cluster string) ledger.Recovery {
	var ended ledger.Recovery
	for _, r := range s.Recoveries {
		moved := r.OfMaster() && r.Announced && !r.Undoing && !r.Open()
		if r.Cluster == cluster && moved && r.Epoch.Compare(ended.Epoch) > 0 {
			ended = r
		}
	}
	return ended
}

// standing sorts keys and leaves out the master and who is quarantined.
func standing(s ledger.State, cluster string, keys []topology.Key) []topology.Key {
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

// candidates are the old master's direct replicas, the servers that this
// recovery or an unfinished one before it has detached from it, and those that
// the one before could not bring to it.
func (r *run) candidates() []topology.Key {
	rec := r.recovery()
	state := r.ledger.State()
	keys := append(r.looker.Snapshot(rec.Cluster, rec.Old).Replicas(rec.Old), Former(state, rec.Cluster)...)
	keys = append(keys, Left(state, rec.Cluster)...)
	slices.SortFunc(keys, topology.Key.Compare)
	return slices.DeleteFunc(slices.Compact(keys), func(k topology.Key) bool { return k == rec.Old })
}
