package analysis

import (
	"fmt"
	"slices"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// facts is what the rules are matched against: what the views of a snapshot
// say of the master and of its direct replicas.
type facts struct {
	master topology.Key
	// taker is how the snapshot's taker sees the master; seen is false where it
	// has not looked.
	taker topology.Observation
	seen  bool
	// replicas are the direct ones by their last pictures; valid of them
	// answered somebody; replicating of those receive from the master.
	replicas, valid, replicating []topology.Key
	// orderly is true where the master ended a tripwire itself within the grace.
	orderly bool
	// evidence has one sentence for each thing seen.
	evidence []string
}

func gather(s topology.Snapshot, p policy.Cluster) facts {
	f := facts{master: s.Master}
	f.taker, f.seen = s.Sight(s.Master)
	for _, v := range s.Views {
		o, ok := v.Observations[s.Master]
		if !ok {
			continue
		}
		f.evidence = append(f.evidence, sentenceOf(v.Observer, "master", o))
		if t := o.Tripwire; t.Kind == topology.TripOrderly && o.Reach.Dead() && p.RestartGrace > 0 {
			if since := v.At.Sub(t.At); since >= 0 && since < p.RestartGrace {
				f.orderly = true
				f.evidence = append(f.evidence, fmt.Sprintf(
					"%s: the master ended its connections in order %s ago", v.Observer, since.Round(time.Millisecond)))
			}
		}
	}
	for _, k := range s.Replicas(s.Master) {
		f.replicas = append(f.replicas, k)
		f.addReplica(s, p, k)
	}
	return f
}

func (f *facts) addReplica(s topology.Snapshot, p policy.Cluster, k topology.Key) {
	valid, receiving := false, false
	for _, v := range s.Views {
		o, ok := v.Observations[k]
		if !ok {
			continue
		}
		if o.Reach == topology.ReachOK && o.Instance != nil {
			valid = true
			r, why := receives(o, p)
			receiving = receiving || r
			f.evidence = append(f.evidence, fmt.Sprintf("%s: replica %s %s", v.Observer, k, why))
			continue
		}
		f.evidence = append(f.evidence, sentenceOf(v.Observer, "replica", o))
	}
	if valid {
		f.valid = append(f.valid, k)
	}
	if receiving {
		f.replicating = append(f.replicating, k)
	}
}

// receives reports whether a replica that answered still takes events from its
// source, and says by what. A receiver that claims to run is believed until
// neither a heartbeat nor its position has moved for three heartbeat periods.
func receives(o topology.Observation, p policy.Cluster) (bool, string) {
	r := o.Instance.Replication
	switch {
	case r == nil:
		return false, "replicates from nobody now"
	case r.IO != topology.ThreadRunning && r.IOError != "":
		return false, fmt.Sprintf("does not receive: its receiver is %q: %s", r.IO, r.IOError)
	case r.IO != topology.ThreadRunning:
		return false, fmt.Sprintf("does not receive: its receiver is %q", r.IO)
	case r.HeartbeatPeriod <= 0:
		return true, "receives: its receiver runs, and it has no heartbeat to tell by"
	}
	limit := max(p.MinStall, 3*r.HeartbeatPeriod)
	if o.Stalled >= limit {
		return false, fmt.Sprintf("does not receive: neither heartbeat nor position moved for %s",
			o.Stalled.Round(time.Millisecond))
	}
	if o.Stalled > 0 {
		return true, fmt.Sprintf("may receive: silent for %s, less than %s", o.Stalled.Round(time.Millisecond), limit)
	}
	return true, "receives"
}

func sentenceOf(observer, role string, o topology.Observation) string {
	took := o.Ended.Sub(o.Begun).Round(100 * time.Microsecond)
	if o.Error == "" {
		return fmt.Sprintf("%s: %s %s: %s after %s", observer, role, o.Key, o.Reach, took)
	}
	return fmt.Sprintf("%s: %s %s: %s after %s: %s", observer, role, o.Key, o.Reach, took, o.Error)
}

// Witnesses sorts the observers of a snapshot by what they see of its master:
// dead, or answering in any way. Those that have not looked are in neither.
func Witnesses(s topology.Snapshot) (dead, alive []string) {
	for _, v := range s.Views {
		o, ok := v.Observations[s.Master]
		switch {
		case !ok:
		case o.Reach.Dead():
			dead = append(dead, v.Observer)
		default:
			alive = append(alive, v.Observer)
		}
	}
	slices.Sort(dead)
	slices.Sort(alive)
	return dead, alive
}

// ProvenDead reports whether the master's process is known to be gone: every
// observer that looked was refused by its living host.
func ProvenDead(s topology.Snapshot) bool {
	return len(s.Views) > 0 && !slices.ContainsFunc(s.Views, func(v topology.View) bool {
		return v.Observations[s.Master].Reach != topology.ReachRefused
	})
}
