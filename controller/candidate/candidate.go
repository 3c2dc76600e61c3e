// Package candidate says who could take over from a master, in which order,
// and why each of the others could not. It is pure.
package candidate

import (
	"fmt"
	"slices"
	"strings"

	"switchyard/controller/gtid"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// Choice is one server that may be promoted.
type Choice struct {
	Key topology.Key
	// Reason says in words why it stands where it stands.
	Reason string
	// Via is the server from which it first takes what it lacks, before it is
	// promoted; zero where it holds everything itself.
	Via topology.Key
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
	// Ahead says why servers that otherwise could be promoted may not: who holds
	// transactions that they lack, and why it can neither be promoted nor hand
	// them over.
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

func (r *Ranking) exclude(k topology.Key, format string, args ...any) {
	r.Excluded = append(r.Excluded, Exclusion{k, fmt.Sprintf(format, args...)})
}

// Rank orders who may take over from old, by the pictures in the taker's view:
// its direct replicas, and former, the servers that an unfinished recovery has
// already detached.
//
// A server is complete if it holds all that any of them has received, those
// included that do not answer now, as they were last seen. A complete server
// may be promoted as it is; another one, via a complete one that can hand over
// what it lacks. So nothing received is lost whoever is chosen, and the order
// is the operator's: see merits.
func Rank(s topology.Snapshot, old topology.Key, former []topology.Key, p policy.Cluster) Ranking {
	var out Ranking
	f := survey(s, old, former, p, &out)
	complete := f.complete()
	var choices []merits
	for _, i := range f.pool {
		if reason := f.unfit(i); reason != "" {
			out.exclude(i.Key, "%s", reason)
			continue
		}
		ahead := aheadOf(i, f.all())
		if ahead == nil {
			choices = append(choices, f.merits(i, nil))
			continue
		}
		via, why := f.feeder(i, complete)
		if via == nil {
			out.exclude(i.Key, "it lacks what %s received: %s%s", ahead.Key, excerpt(ahead.Received().Subtract(i.Received())), why)
			continue
		}
		choices = append(choices, f.merits(i, via))
	}
	if len(complete) == 0 {
		out.Ambiguous = incomparable(f.pool)
	}
	if len(choices) == 0 && out.Ambiguous == "" {
		out.Ahead = f.stuck(complete)
	}
	out.Order = f.order(choices, "holds all that any replica received")
	return out
}

// contenders are, in order, the direct replicas of old and the former winners.
func contenders(s topology.Snapshot, old topology.Key, former []topology.Key) []topology.Key {
	keys := append(s.Replicas(old), former...)
	slices.SortFunc(keys, topology.Key.Compare)
	return slices.DeleteFunc(slices.Compact(keys), func(k topology.Key) bool { return k == old || k.IsZero() })
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

// stuck says what keeps out servers that otherwise could be promoted: who holds
// what they lack, and why that is no help. It is empty where there are no such
// servers.
func (f field) stuck(complete []*topology.Instance) string {
	n := slices.IndexFunc(f.pool, func(i *topology.Instance) bool { return f.unfit(i) == "" })
	if n < 0 {
		return ""
	}
	fit := f.pool[n]
	if len(complete) > 0 {
		ahead := complete[0]
		_, why := f.feeder(fit, complete[:1])
		return fmt.Sprintf("%s holds all that was received, and may not be promoted: %s%s", ahead.Key, f.unfit(ahead), why)
	}
	for _, i := range f.silent {
		if aheadOf(i, f.all()) == nil {
			return fmt.Sprintf("%s held all that was received when it was last seen, and does not answer now", i.Key)
		}
	}
	return "no server holds all that was received, counting those that do not answer as they were last seen"
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
