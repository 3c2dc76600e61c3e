package relocate

import (
	"fmt"
	"slices"

	"switchyard/controller/gtid"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// receives reports whether a replica's receiver runs and gets something: one that
// says that it runs and has neither moved nor heard a heartbeat for long does not.
func receives(o topology.Observation, p policy.Cluster) bool {
	if o.Instance == nil || o.Instance.Replication == nil {
		return false
	}
	r := o.Instance.Replication
	return r.IO == topology.ThreadRunning && o.Stalled < max(p.MinStall, 3*r.HeartbeatPeriod)
}

// unattached says why replicas cannot be put below k, or nothing: k and all that
// it gets its data through must answer and lead to the cluster's master, and none
// of them may be among barred.
func unattached(s topology.Snapshot, k topology.Key, barred ...topology.Key) string {
	for range len(s.Servers) + 1 {
		if slices.Contains(barred, k) {
			return fmt.Sprintf("it gets its data through %s", k)
		}
		if why, outcast := s.Outcasts[k]; outcast {
			return fmt.Sprintf("%s: %s", k, why)
		}
		if o, _ := s.Sight(k); o.Instance == nil {
			return fmt.Sprintf("%s does not answer: %s", k, o.Reach)
		}
		if k == s.Master {
			return ""
		}
		source := s.Servers[k].Source
		if source.IsZero() {
			return fmt.Sprintf("%s is not below the master %s", k, s.Master)
		}
		k = source
	}
	return fmt.Sprintf("%s replicates in a ring", k)
}

// cannotServe says why a server cannot be anybody's source, or nothing.
func cannotServe(i *topology.Instance, master topology.Key) string {
	switch {
	case !i.LogBin:
		return "it has no binary log"
	case i.Key != master && !i.LogReplicaUpdates:
		return "it does not log what it applies (log_replica_updates is off)"
	case !i.GTIDMode:
		return "it does not use GTIDs"
	}
	return ""
}

// lacks says what a source lacks that a replica has executed, or nothing.
func lacks(source, replica *topology.Instance) string {
	extra := replica.Executed.Subtract(source.Executed)
	if extra.IsEmpty() {
		return ""
	}
	return fmt.Sprintf("%s lacks what %s holds: %s", source.Key, replica.Key, excerpt(extra))
}

// foremost are those of orphans that no other of them is ahead of: the others may
// find their place below them.
func foremost(s topology.Snapshot, orphans []topology.Key) []topology.Key {
	received := func(k topology.Key) gtid.Set {
		o, _ := s.Sight(k)
		return o.Instance.Received()
	}
	var out []topology.Key
	for _, k := range orphans {
		mine := received(k)
		if !slices.ContainsFunc(orphans, func(o topology.Key) bool {
			return o != k && gtid.Compare(received(o), mine) == gtid.RelationAhead
		}) {
			out = append(out, k)
		}
	}
	return out
}

// excerpt keeps a GTID set short enough for a sentence.
func excerpt(s gtid.Set) string {
	const limit = 160
	text := s.String()
	if len(text) > limit {
		return text[:limit] + "..."
	}
	return text
}
