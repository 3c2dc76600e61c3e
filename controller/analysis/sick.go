package analysis

import (
	"fmt"
	"strings"
	"time"

	"switchyard/controller/topology"
)

// writeSight is what one observer's write probe says.
type writeSight struct {
	observer string
	topology.WriteSight
}

func sayWrite(w topology.WriteSight) string {
	switch {
	case w.Trouble == "":
		return "a write succeeds"
	case w.For == 0:
		return fmt.Sprintf("it takes no more writes from here: %s: %s", w.Trouble, w.Error)
	}
	text := fmt.Sprintf("no write has succeeded for %s: %s", w.For.Round(time.Millisecond), w.Trouble)
	if w.Error != "" {
		text += ": " + w.Error
	}
	return text
}

// writes is what an observation says of the master's writes: what the write
// probe found, or else what shows without one. That is a server that turned away
// one connection too many, and commits that wait for an acknowledgement while
// the binary log stands still. Without a probe nobody knows for how long, so that
// such a sight is reported and never the ground of a failover.
func (f facts) writes(o topology.Observation) (topology.WriteSight, bool) {
	stuck := o.Instance != nil && o.Instance.SemiSync.SourceOn && o.Instance.SemiSync.Waiting > 0 &&
		f.policy.LockedAfter > 0 && o.Still >= f.policy.LockedAfter
	switch {
	case o.Reach.Dead():
	case o.Write != nil:
		return *o.Write, true
	case o.Reach == topology.ReachError && strings.Contains(strings.ToLower(o.Error), "too many connections"):
		return topology.WriteSight{Trouble: topology.TroubleConnections, Error: o.Error}, true
	case stuck:
		return topology.WriteSight{Trouble: topology.TroubleSemiSync, Error: fmt.Sprintf(
			"sessions that wait: %d, and the binary log has stood still for %s",
			o.Instance.SemiSync.Waiting, o.Still.Round(time.Millisecond))}, true
	}
	return topology.WriteSight{}, false
}

// sick reports whether the master has this trouble: the taker's write probe
// says so, or that of another where the taker has none.
func (f facts) sick(t topology.Trouble) bool {
	if w, ok := f.writes(f.taker); ok {
		return w.Trouble == t
	}
	for _, w := range f.sights {
		if w.Trouble == t {
			return true
		}
	}
	return false
}

// ripe reports whether a trouble is to be answered by a failover now: the
// policy names it, a majority of the controllers has seen it for that long, and
// no write of another succeeds. A session that is held open writes on while the
// server takes no more connections, so there it does not speak against it.
func (f facts) ripe(t topology.Trouble) bool {
	after, named := f.policy.FailoverAfter[t]
	if !named || after <= 0 || !f.sick(t) {
		return false
	}
	var agree []string
	for _, w := range f.sights {
		switch {
		case w.Trouble == t && w.For >= after:
			agree = append(agree, w.observer)
		case w.Trouble == "" && t != topology.TroubleConnections:
			return false
		}
	}
	return f.policy.Agreed(agree)
}

// troubleOf returns the trouble that a finding is named after, if it is.
func troubleOf(k Kind) (topology.Trouble, bool) {
	switch k {
	case MasterFullDisk:
		return topology.TroubleDiskFull, true
	case MasterReadOnlyDisk:
		return topology.TroubleReadOnlyDisk, true
	case MasterTooManyConnections:
		return topology.TroubleConnections, true
	case MasterStuckSemiSync:
		return topology.TroubleSemiSync, true
	case MasterStalledWrites:
		return topology.TroubleStalled, true
	}
	return "", false
}

// wantsFailover reports whether an observer has seen the trouble of a finding
// for as long as the policy asks, so that only the others' word is missing. What
// a locked semi-sync master suffers from may be told by another name.
func (f facts) wantsFailover(k Kind) bool {
	if _, named := troubleOf(k); !named && k != LockedSemiSyncMaster && k != LockedSemiSyncMasterHypothesis {
		return false
	}
	for _, w := range f.sights {
		if after, named := f.policy.FailoverAfter[w.Trouble]; w.Trouble != "" && named && after > 0 && w.For >= after {
			return true
		}
	}
	return false
}

// waitsForMore reports whether commits need more acknowledging replicas than
// there are.
func (f facts) waitsForMore() bool {
	i := f.taker.Instance
	return i != nil && i.SemiSync.SourceEnabled && i.SemiSync.SourceOn && i.SemiSync.Clients < i.SemiSync.WaitCount
}

// locked reports whether commits have waited in vain for long: a session waits,
// and the binary log has stood still. A master to which nobody writes stands
// still too, and is not locked.
func (f facts) locked() bool {
	if !f.waitsForMore() {
		return false
	}
	waits := f.taker.Instance.SemiSync.Waiting > 0 || f.sick(topology.TroubleSemiSync) || f.sick(topology.TroubleStalled)
	return waits && f.policy.LockedAfter > 0 && f.taker.Still >= f.policy.LockedAfter
}

// tooManyAcknowledge reports whether more replicas acknowledge than a commit
// waits for.
func (f facts) tooManyAcknowledge() bool {
	i := f.taker.Instance
	return i != nil && i.SemiSync.SourceEnabled && i.SemiSync.SourceOn && i.SemiSync.WaitCount > 0 &&
		i.SemiSync.Clients > i.SemiSync.WaitCount
}
