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

// place is how near a source stands to the one that died; the order is that of
// preference.
type place int

const (
	nearCandidate place = iota // the dead one's sibling, in its data center, and an operator likes it
	nearSibling
	orphanAhead
	farCandidate
	farSibling
	grandparent
	clusterMaster
)

func (p place) String() string {
	return [...]string{
		"the dead server's sibling in its data center, and preferred", "the dead server's sibling in its data center",
		"another orphan, which is ahead", "the dead server's sibling in another data center, and preferred",
		"the dead server's sibling in another data center", "the dead server's own source", "the cluster's master",
	}[p]
}

// source is one server that an orphan may come to replicate from.
type source struct {
	place
	instance *topology.Instance
	// late is 1 where it has yet to get something that the orphan has.
	late, rule int
}

func (a source) compare(b source) int {
	return cmp.Or(
		cmp.Compare(a.place, b.place), cmp.Compare(a.late, b.late), cmp.Compare(a.rule, b.rule),
		compareBool(delayed(a.instance), delayed(b.instance)), a.instance.Key.Compare(b.instance.Key),
	)
}

// kin is a dead source, and an orphan of it that looks for another one.
type kin struct {
	snapshot  topology.Snapshot
	policy    policy.Cluster
	dead      topology.Key
	deadLast  *topology.Instance
	orphan    *topology.Instance
	ancestors []topology.Key // of dead, the nearest first
	// masterHolds is what the cluster's master has; empty if it does not answer.
	masterHolds gtid.Set
}

// Sources orders the servers that orphan, a replica of the dead intermediate
// master, may replicate from: siblings of the dead one, other orphans that are
// ahead, the dead one's own source, and the cluster's master. All pictures are
// the taker's.
func Sources(s topology.Snapshot, dead, orphan topology.Key, p policy.Cluster) Ranking {
	var out Ranking
	k := kin{snapshot: s, policy: p, dead: dead, deadLast: s.Servers[dead].Last, ancestors: ancestors(s, dead)}
	if o, ok := s.Sight(orphan); ok && o.Instance != nil {
		k.orphan = o.Instance
	} else {
		out.exclude(orphan, "it does not answer itself: %s", o.Reach)
		return out
	}
	if o, ok := s.Sight(s.Master); ok && o.Instance != nil {
		k.masterHolds = o.Instance.Executed
	}
	var found []source
	for _, key := range k.relatives() {
		src, reason := k.judge(key)
		if reason != "" {
			out.exclude(key, "%s", reason)
			continue
		}
		found = append(found, src)
	}
	slices.SortFunc(found, source.compare)
	for _, src := range found {
		reason := fmt.Sprintf("it is %s, and holds all that %s has", src.place, orphan)
		if src.late > 0 {
			reason = fmt.Sprintf("it is %s, and has yet to get what %s has", src.place, orphan)
		}
		out.Order = append(out.Order, Choice{Key: src.instance.Key, Reason: reason})
	}
	return out
}

// ancestors returns the sources of k up to the top, the nearest first; a ring
// ends where it began.
func ancestors(s topology.Snapshot, k topology.Key) []topology.Key {
	var out []topology.Key
	for at := s.Servers[k].Source; !at.IsZero() && at != k && !slices.Contains(out, at); at = s.Servers[at].Source {
		out = append(out, at)
	}
	return out
}

// relatives are, in order, the servers that come into question.
func (k kin) relatives() []topology.Key {
	var keys []topology.Key
	if len(k.ancestors) > 0 {
		keys = append(k.snapshot.Replicas(k.ancestors[0]), k.ancestors[0])
	}
	keys = append(keys, k.snapshot.Replicas(k.dead)...)
	keys = append(keys, k.snapshot.Master)
	slices.SortFunc(keys, topology.Key.Compare)
	return slices.DeleteFunc(slices.Compact(keys), func(key topology.Key) bool {
		return key.IsZero() || key == k.dead || key == k.orphan.Key
	})
}

// judge says where a server stands, or what keeps the orphan from replicating
// from it.
func (k kin) judge(key topology.Key) (source, string) {
	s := k.snapshot
	if why, outcast := s.Outcasts[key]; outcast {
		return source{}, why
	}
	o, ok := s.Sight(key)
	if !ok || o.Instance == nil {
		return source{}, "it does not answer: " + cmp.Or(string(o.Reach), "it was not looked at")
	}
	src := source{instance: o.Instance, place: k.place(o.Instance), rule: k.policy.Rule(key).Rank()}
	if why, downtimed := s.Downtimed[key]; downtimed && !k.upstream(src) {
		return source{}, "it is in downtime: " + why
	}
	reason := cmp.Or(k.unable(src), k.unlike(src))
	if reason != "" {
		return source{}, reason
	}
	src.late, reason = k.missing(src)
	return src, reason
}

func (k kin) place(i *topology.Instance) place {
	source := k.snapshot.Servers[i.Key].Source
	near := k.orphan.DataCenter == i.DataCenter
	if k.deadLast != nil {
		near = k.deadLast.DataCenter == i.DataCenter
	}
	liked := k.policy.Rule(i.Key).Rank() < policy.Neutral.Rank()
	switch {
	case source == k.dead:
		return orphanAhead
	case len(k.ancestors) > 0 && i.Key == k.ancestors[0]:
		return grandparent
	case i.Key == k.snapshot.Master:
		return clusterMaster
	case near && liked:
		return nearCandidate
	case near:
		return nearSibling
	case liked:
		return farCandidate
	}
	return farSibling
}

// upstream reports whether the dead server got its data through the source.
func (k kin) upstream(src source) bool {
	return src.place == grandparent || src.place == clusterMaster
}

// unable names what keeps a server from being the orphan's source, or "".
func (k kin) unable(src source) string {
	i, r := src.instance, src.instance.Replication
	switch {
	case slices.Contains(ancestors(k.snapshot, i.Key), k.orphan.Key):
		return fmt.Sprintf("it gets its own data through %s", k.orphan.Key)
	case k.orphan.Replication != nil && !k.orphan.Replication.UsesGTID:
		return fmt.Sprintf("%s replicates by file and position, not by GTID", k.orphan.Key)
	case len(i.Unsupported) > 0:
		return "Switchyard does not recover such a server: " + strings.Join(i.Unsupported, "; ")
	case !k.upstream(src) && k.policy.Rule(i.Key) == policy.MustNot:
		return "its promotion rule is must_not"
	case src.place != orphanAhead && i.Key != k.snapshot.Master && (r == nil || r.IO != topology.ThreadRunning):
		return "it does not receive anything itself"
	case r != nil && r.SQL != topology.ThreadRunning:
		return fmt.Sprintf("its applier is %s", r.SQL)
	case r != nil && r.Delay > max(k.orphanDelay(), k.policy.ReasonableLag):
		return fmt.Sprintf("its applier is delayed by %s", r.Delay)
	}
	return cannotServe(i, k.orphan, r != nil)
}

func (k kin) orphanDelay() time.Duration {
	if r := k.orphan.Replication; r != nil {
		return r.Delay
	}
	return 0
}

// unlike names filters through which the orphan would get other data than it
// got through the dead server, or "".
func (k kin) unlike(src source) string {
	filters := func(key topology.Key) string {
		if last := k.snapshot.Servers[key].Last; last != nil {
			return last.Filters
		}
		return ""
	}
	dead := filters(k.dead)
	if k.upstream(src) {
		for _, key := range k.ancestors {
			if key == src.instance.Key {
				break
			}
			dead = cmp.Or(dead, filters(key))
		}
		if dead != "" {
			return fmt.Sprintf("it sends what the replication filters below it (%s) kept from %s", dead, k.orphan.Key)
		}
		return ""
	}
	want := dead
	if src.place == orphanAhead {
		want = "" // it got its data through the dead server itself
	}
	if src.instance.Filters != want {
		return fmt.Sprintf("its replication filters (%s) are not those of the dead server (%s)",
			cmp.Or(src.instance.Filters, "none"), cmp.Or(want, "none"))
	}
	return ""
}

// missing names what the orphan has and the source neither has nor gets, or "";
// late is 1 where it has yet to get it.
func (k kin) missing(src source) (late int, reason string) {
	mine, theirs := k.orphan.Executed, src.instance.Received()
	switch {
	case src.place == orphanAhead && gtid.Compare(theirs, k.orphan.Received()) != gtid.RelationAhead:
		return 0, "it is an orphan itself, and not ahead"
	case theirs.Contains(mine):
		return 0, ""
	case k.upstream(src) || !k.masterHolds.Contains(mine):
		return 0, fmt.Sprintf("it lacks what %s holds: %s", k.orphan.Key, excerpt(mine.Subtract(theirs)))
	case src.instance.Flavor == gtid.MariaDB:
		return 0, fmt.Sprintf("it has yet to get what %s holds, and MariaDB refuses a replica that is ahead: %s",
			k.orphan.Key, excerpt(mine.Subtract(theirs)))
	}
	return 1, ""
}
