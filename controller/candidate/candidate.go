// Package candidate says who could take over from a master, in which order,
// and why each of the others could not. It is pure.
package candidate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// Choice is one server that may be promoted.
type Choice struct {
	Key topology.Key
	// Reason says in words why it stands where it stands.
	Reason string
}

// Exclusion is one server that may not be promoted, and why.
type Exclusion struct {
	Key    topology.Key
	Reason string
}

// Ranking is the answer: the best first.
type Ranking struct {
	Order    []Choice
	Excluded []Exclusion
	// Ambiguous is non-empty where two servers each hold what the other lacks,
	// so that any choice would lose something; it names them.
	Ambiguous string
	// Ahead names a server that may not be promoted and holds transactions that
	// no candidate has.
	Ahead string
}

// Best returns the first choice.
func (r Ranking) Best() (Choice, bool) {
	if r.Ambiguous != "" || r.Ahead != "" || len(r.Order) == 0 {
		return Choice{}, false
	}
	return r.Order[0], true
}

// Why says why there is no best choice.
func (r Ranking) Why() string {
	switch {
	case r.Ambiguous != "":
		return "any choice would lose transactions: " + r.Ambiguous
	case r.Ahead != "":
		return r.Ahead
	}
	reasons := make([]string, 0, len(r.Excluded))
	for _, e := range r.Excluded {
		reasons = append(reasons, fmt.Sprintf("%s: %s", e.Key, e.Reason))
	}
	return "no replica may be promoted: " + strings.Join(reasons, "; ")
}

// Rank orders who may take over from old, by the pictures in the taker's view:
// its direct replicas, and former, the servers that an unfinished recovery has
// already detached. Received GTIDs come first (only servers that hold all that
// any of them has received may be promoted, those included that do not answer
// now, as they were last seen), then promotion rule, then the data center of
// old, then what is applied already, then the name.
func Rank(s topology.Snapshot, old topology.Key, former []topology.Key, p policy.Cluster) Ranking {
	var out Ranking
	var pool, silent, eligible []*topology.Instance
	for _, k := range contenders(s, old, former) {
		if why, outcast := s.Outcasts[k]; outcast && !slices.Contains(former, k) {
			out.Excluded = append(out.Excluded, Exclusion{k, why})
			continue
		}
		if o, ok := s.Sight(k); ok && o.Instance != nil {
			pool = append(pool, o.Instance)
			continue
		} else {
			out.Excluded = append(out.Excluded, Exclusion{k, "it does not answer: " + string(o.Reach)})
		}
		if last := s.Servers[k].Last; last != nil {
			silent = append(silent, last)
		}
	}
	if out.Ambiguous = incomparable(pool); out.Ambiguous != "" {
		return out
	}
	for _, i := range pool {
		if reason := unfit(i, p); reason != "" {
			out.Excluded = append(out.Excluded, Exclusion{i.Key, reason})
		} else if ahead := aheadOf(i, slices.Concat(pool, silent)); ahead != nil {
			out.Excluded = append(out.Excluded, Exclusion{i.Key, fmt.Sprintf("it lacks what %s received: %s",
				ahead.Key, excerpt(ahead.Received().Subtract(i.Received())))})
		} else {
			eligible = append(eligible, i)
		}
	}
	if len(eligible) == 0 && len(pool) > 0 {
		out.Ahead = stuck(pool, silent, p)
	}
	out.Order = order(eligible, s, old, p, "holds all that any replica received")
	return out
}

// contenders are, in order, the direct replicas of old and the former winners.
func contenders(s topology.Snapshot, old topology.Key, former []topology.Key) []topology.Key {
	keys := append(s.Replicas(old), former...)
	slices.SortFunc(keys, topology.Key.Compare)
	return slices.DeleteFunc(slices.Compact(keys), func(k topology.Key) bool { return k == old || k.IsZero() })
}

// RankPlanned orders the direct replicas of a living master for a switchover:
// who is a little behind will catch up, so being behind excludes nobody, and
// holding what the master lacks does. The pictures of the replicas must be
// older than written, the set of what the master has.
func RankPlanned(s topology.Snapshot, old topology.Key, written gtid.Set, p policy.Cluster) Ranking {
	var out Ranking
	var eligible []*topology.Instance
	for _, k := range s.Replicas(old) {
		o, ok := s.Sight(k)
		if !ok || o.Instance == nil {
			out.Excluded = append(out.Excluded, Exclusion{k, "it does not answer: " + string(o.Reach)})
			continue
		}
		if why, outcast := s.Outcasts[k]; outcast {
			out.Excluded = append(out.Excluded, Exclusion{k, why})
			continue
		}
		if reason := cmp.Or(unfit(o.Instance, p), unready(o.Instance, written)); reason != "" {
			out.Excluded = append(out.Excluded, Exclusion{k, reason})
			continue
		}
		eligible = append(eligible, o.Instance)
	}
	out.Order = order(eligible, s, old, p, "replicates without an error")
	return out
}

// plannedLag is how far behind the target of a switchover may be: nobody
// writes until it has caught up.
const plannedLag = 5 * time.Second

// unready names what would keep a replica from catching up soon, or "".
func unready(i *topology.Instance, written gtid.Set) string {
	r := i.Replication
	if r == nil {
		return "it replicates from nobody"
	}
	if extra := i.Executed.Subtract(written); !extra.IsEmpty() {
		return "it holds transactions that the master lacks: " + excerpt(extra)
	}
	switch {
	case r.IO != topology.ThreadRunning || r.SQL != topology.ThreadRunning:
		return fmt.Sprintf("it does not replicate: receiver %s, applier %s", r.IO, r.SQL)
	case r.Lag != nil && *r.Lag > plannedLag:
		return fmt.Sprintf("it lags %s, more than %s", *r.Lag, plannedLag)
	}
	return ""
}

// unfit names what makes a server unable to be a master, or "".
func unfit(i *topology.Instance, p policy.Cluster) string {
	r := i.Replication
	switch {
	case p.Rule(i.Key) == policy.MustNot:
		return "its promotion rule is must_not"
	case !i.LogBin:
		return "it has no binary log"
	case !i.LogReplicaUpdates:
		return "it does not log what it applies (log_replica_updates is off)"
	case !i.GTIDMode:
		return "it does not use GTIDs"
	case r != nil && !r.UsesGTID:
		return "it replicates by file and position, not by GTID"
	case p.SemiSync == policy.SemiSyncOn && !i.SemiSync.Available:
		return "it has no semi-sync plugins, and semi_sync is on"
	case r != nil && r.SQLErrno != 0:
		return fmt.Sprintf("its applier stopped with error %d: %s", r.SQLErrno, r.SQLError)
	case p.MaxLag > 0 && r != nil && r.Lag != nil && *r.Lag > p.MaxLag:
		return fmt.Sprintf("it lags %s, more than max_lag %s", *r.Lag, p.MaxLag)
	}
	return ""
}

// incomparable names the first two servers of which neither holds all that the
// other received.
func incomparable(pool []*topology.Instance) string {
	for n, a := range pool {
		for _, b := range pool[n+1:] {
			ra, rb := a.Received(), b.Received()
			if gtid.Compare(ra, rb) == gtid.RelationDiverged {
				return fmt.Sprintf("%s alone has %s, %s alone has %s",
					a.Key, excerpt(ra.Subtract(rb)), b.Key, excerpt(rb.Subtract(ra)))
			}
		}
	}
	return ""
}

func aheadOf(i *topology.Instance, pool []*topology.Instance) *topology.Instance {
	mine := i.Received()
	for _, o := range pool {
		if !mine.Contains(o.Received()) {
			return o
		}
	}
	return nil
}

// stuck says who is most advanced and may not be promoted, or does not answer,
// if that is what keeps out servers that otherwise could be.
func stuck(pool, silent []*topology.Instance, p policy.Cluster) string {
	all := slices.Concat(pool, silent)
	ahead, behind := "", false
	for n, i := range all {
		reason := unfit(i, p)
		if n >= len(pool) {
			reason = "it does not answer now, and that was when it was last seen"
		}
		switch {
		case reason == "":
			behind = true
		case ahead == "" && aheadOf(i, all) == nil:
			ahead = fmt.Sprintf("%s holds all that was received, and may not be promoted: %s", i.Key, reason)
		}
	}
	if !behind {
		return ""
	}
	if ahead == "" {
		return "no server holds all that was received, counting those that do not answer as they were last seen"
	}
	return ahead
}

func order(
	eligible []*topology.Instance, s topology.Snapshot, old topology.Key, p policy.Cluster, merit string,
) []Choice {
	dc := ""
	if last := s.Servers[old].Last; last != nil {
		dc = last.DataCenter
	}
	elsewhere := func(i *topology.Instance) int {
		if i.DataCenter == dc {
			return 0
		}
		return 1
	}
	backlog := func(i *topology.Instance) uint64 { return i.Received().Subtract(i.Executed).Count() }
	slices.SortFunc(eligible, func(a, b *topology.Instance) int {
		return cmp.Or(
			cmp.Compare(p.Rule(a.Key).Rank(), p.Rule(b.Key).Rank()),
			cmp.Compare(elsewhere(a), elsewhere(b)),
			cmp.Compare(backlog(a), backlog(b)),
			a.Key.Compare(b.Key),
		)
	})
	choices := make([]Choice, 0, len(eligible))
	for _, i := range eligible {
		place := "in the master's data center"
		if elsewhere(i) != 0 {
			place = fmt.Sprintf("in data center %q", i.DataCenter)
		}
		choices = append(choices, Choice{i.Key, fmt.Sprintf("%s, has rule %s, and is %s", merit, p.Rule(i.Key), place)})
	}
	return choices
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
