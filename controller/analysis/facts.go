package analysis

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// facts is what the rules are matched against: what the views of a snapshot
// say of one server and of its direct replicas.
type facts struct {
	cluster string
	subject topology.Key
	roles   role
	policy  policy.Cluster
	// taker is how the snapshot's taker sees the subject; seen is false where it
	// has not looked.
	taker topology.Observation
	seen  bool
	// reached are the observers that reach the subject.
	reached []string
	// sights are what the observers' write probes say, by observer.
	sights []writeSight
	// replicas are the direct ones by their last pictures, without the other
	// co-master's own source.
	replicas []replica
	// orderly is true where the subject ended a tripwire itself within the grace.
	orderly bool
	// unsupported says why no recovery of the subject is known; empty for none.
	unsupported string
	// evidence has one sentence for each thing seen.
	evidence []string
}

// replica is what all observers together say of a direct replica.
type replica struct {
	key topology.Key
	// valid: it answered somebody. receiving: somebody saw it take events.
	// replicating: and apply them. failing: it applies, and tries in vain to
	// receive. lagging and delayed are by its picture, downtimed by the ledger.
	valid, receiving, replicating, failing, lagging, delayed, downtimed bool
}

func (r replica) isValid() bool       { return r.valid }
func (r replica) isReceiving() bool   { return r.receiving }
func (r replica) isReplicating() bool { return r.replicating }
func (r replica) isFailing() bool     { return r.failing }
func (r replica) isLagging() bool     { return r.lagging }
func (r replica) isDelayed() bool     { return r.delayed }
func (r replica) isDowntimed() bool   { return r.downtimed }

func (f facts) count(is func(replica) bool) int {
	n := 0
	for _, r := range f.replicas {
		if is(r) {
			n++
		}
	}
	return n
}

// dead reports whether the taker could not reach the subject.
func (f facts) dead() bool { return f.taker.Reach.Dead() }

// replicasInDowntime reports whether all replicas are in downtime.
func (f facts) replicasInDowntime() bool {
	return len(f.replicas) > 0 && f.count(replica.isDowntimed) == len(f.replicas)
}

func gather(s topology.Snapshot, p policy.Cluster, shape shape, subject topology.Key) facts {
	f := facts{
		cluster: s.Cluster, subject: subject, roles: shape.roles[subject], policy: p,
		unsupported: shape.whyUnsupported(s, subject),
	}
	f.taker, f.seen = s.Sight(subject)
	f.addSubject(s)
	for _, k := range shape.replicas[subject] {
		// The master counts as nobody's replica: it is not moved with them.
		if k != s.Master {
			f.addReplica(s, k)
		}
	}
	if f.replicasInDowntime() {
		f.evidence = append(f.evidence, "all of its replicas are in downtime")
	}
	return f
}

func (f *facts) addSubject(s topology.Snapshot) {
	name := "server"
	if f.roles&writer != 0 {
		name = "master"
	}
	for _, v := range s.Views {
		o, ok := v.Observations[f.subject]
		if !ok {
			continue
		}
		f.evidence = append(f.evidence, sentenceOf(v.Observer, name, o))
		if !o.Reach.Dead() {
			f.reached = append(f.reached, v.Observer)
		}
		if f.roles&writer == 0 && o.Instance != nil && o.Instance.Replication != nil {
			_, why := stateOf(o, f.policy)
			f.evidence = append(f.evidence, fmt.Sprintf("%s: %s %s", v.Observer, f.subject, why))
		}
		if t := o.Tripwire; t.Kind == topology.TripOrderly && o.Reach.Dead() && f.policy.RestartGrace > 0 {
			if since := v.At.Sub(t.At); since >= 0 && since < f.policy.RestartGrace {
				f.orderly = true
				f.evidence = append(f.evidence, fmt.Sprintf(
					"%s: the master ended its connections in order %s ago", v.Observer, since.Round(time.Millisecond)))
			}
		}
		if w, ok := f.writes(o); ok {
			f.sights = append(f.sights, writeSight{v.Observer, w})
			f.evidence = append(f.evidence, fmt.Sprintf("%s: %s", v.Observer, sayWrite(w)))
		}
	}
	if why, ok := s.Downtimed[f.subject]; ok {
		f.evidence = append(f.evidence, fmt.Sprintf("%s is in downtime: %s", f.subject, why))
	}
}

func (f *facts) addReplica(s topology.Snapshot, k topology.Key) {
	_, downtimed := s.Downtimed[k]
	r := replica{key: k, downtimed: downtimed}
	looked := false
	for _, v := range s.Views {
		o, ok := v.Observations[k]
		if !ok {
			continue
		}
		looked = true
		if o.Reach != topology.ReachOK || o.Instance == nil {
			f.evidence = append(f.evidence, sentenceOf(v.Observer, "replica", o))
			continue
		}
		state, why := stateOf(o, f.policy)
		f.evidence = append(f.evidence, fmt.Sprintf("%s: replica %s %s", v.Observer, k, why))
		r.valid = true
		r.receiving = r.receiving || state.receiving
		r.replicating = r.replicating || state.replicating
		r.failing = r.failing || state.failing
		r.lagging = r.lagging || state.lagging
		r.delayed = r.delayed || state.delayed
	}
	r.failing = r.failing && !r.receiving
	if !looked {
		f.evidence = append(f.evidence, fmt.Sprintf("nobody looked at replica %s", k))
	}
	if downtimed {
		f.evidence = append(f.evidence, fmt.Sprintf("replica %s is in downtime: %s", k, s.Downtimed[k]))
	}
	f.replicas = append(f.replicas, r)
}

// stateOf says how one answering replica stands to its source, and by what.
func stateOf(o topology.Observation, p policy.Cluster) (replica, string) {
	r := o.Instance.Replication
	var state replica
	receiving, why := receives(o, p)
	state.receiving = receiving
	if r == nil {
		return state, why
	}
	applies := r.SQL == topology.ThreadRunning
	state.replicating = receiving && applies
	state.failing = !receiving && applies && triesInVain(r)
	state.lagging = p.ReasonableLag > 0 && r.Lag != nil && *r.Lag > p.ReasonableLag
	state.delayed = r.Delay > 0
	if !applies {
		why += fmt.Sprintf(", and does not apply: its applier is %q", r.SQL)
		if r.SQLError != "" {
			why += ": " + r.SQLError
		}
	}
	if state.lagging {
		why += fmt.Sprintf(", and lags %s", r.Lag.Round(time.Millisecond))
	}
	return state, why
}

// triesInVain reports whether a receiver that does not receive wants to: it
// retries, it hears nothing, or it gave up after an error of the connection. One
// that somebody stopped does not.
func triesInVain(r *topology.Replication) bool {
	switch r.IO {
	case topology.ThreadConnecting, topology.ThreadRunning:
		return true
	}
	return gaveUp(r)
}

// gaveUp reports whether a receiver stopped because it could not connect.
func gaveUp(r *topology.Replication) bool {
	if r.IO != topology.ThreadStopped {
		return false
	}
	switch r.IOErrno {
	case 1040, 1045, 1129, 1130, 2002, 2003, 2005, 2006, 2013, 2026:
		return true
	}
	text := strings.ToLower(r.IOError)
	return strings.Contains(text, "error connecting to") || strings.Contains(text, "error reconnecting to")
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
func Witnesses(s topology.Snapshot) (dead, alive []string) { return WitnessesOf(s, s.Master) }

// WitnessesOf does the same for any server.
func WitnessesOf(s topology.Snapshot, k topology.Key) (dead, alive []string) {
	for _, v := range s.Views {
		o, ok := v.Observations[k]
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
