package candidate

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// longTimeout is a semi-sync timeout that nobody lets run out: with it a commit
// that waits goes on waiting.
const longTimeout = time.Hour

// Durability says whether it is proven that the promotion of winner loses no
// acknowledged write, and by what; or what is known instead. It is proven where
// the old master, as it was last seen, acknowledged no commit that fewer than
// its wait count of replicas had, it cannot have stopped to do so since, and of
// every such set of replicas at least one answers whose all the winner holds.
func Durability(s topology.Snapshot, old topology.Key, former []topology.Key, winner Choice, p policy.Cluster) (proven bool, sentence string) {
	const unless = "what the old master acknowledged and no replica had received is lost"
	server := s.Servers[old]
	if server.Last == nil {
		return false, "nothing is known of the old master's semi-sync: " + unless
	}
	sync := server.Last.SemiSync
	if reason := lossy(sync, s.At.Sub(server.LastSeen), p); reason != "" {
		return false, fmt.Sprintf("%s: %s", reason, unless)
	}
	a := acknowledgersOf(s, old, former)
	want := max(1, sync.WaitCount)
	total := max(a.total, sync.Clients)
	if total < want {
		return false, fmt.Sprintf("commits waited for %d acknowledgements, and only %d replicas are known that give them: %s", want, total, unless)
	}
	if len(a.answering) <= total-want {
		return false, fmt.Sprintf("commits waited for %d of %d acknowledging replicas, and %d of them answer with all they received (%s), "+
			"where %d must: what only the others have is lost", want, total, len(a.answering), names(a.answering), total-want+1)
	}
	var out Ranking
	holds := survey(s, old, former, p, &out).holds(winner)
	for _, i := range a.answering {
		if !holds.Contains(i.Received()) {
			return false, fmt.Sprintf("%s lacks what %s acknowledged: %s", winner.Key, i.Key, excerpt(i.Received().Subtract(holds)))
		}
	}
	// It may have been acknowledged by a master before, when others had it.
	if lacking := server.Last.Executed.Subtract(holds); !lacking.IsEmpty() {
		return false, fmt.Sprintf("%s lacks what the old master was last seen to hold: %s", winner.Key, excerpt(lacking))
	}
	return true, fmt.Sprintf("no acknowledged write is lost: commits waited for %d of %d acknowledging replicas, semi-sync had not "+
		"degraded, and %s holds all that %s received", want, total, winner.Key, names(a.answering))
}

// lossy names what lets a source acknowledge commits that no replica has, or "";
// ago is how long ago its state was read.
func lossy(y topology.SemiSync, ago time.Duration, p policy.Cluster) string {
	switch {
	case !y.SourceEnabled && p.SemiSync == policy.SemiSyncOn:
		return "the old master replicated asynchronously, though semi_sync is on"
	case !y.SourceEnabled:
		return "asynchronous replication"
	case !y.SourceOn:
		return "semi-sync had degraded to asynchronous replication when the old master was last seen"
	case !y.AfterSync:
		return "the old master's semi-sync waited after the commit (AFTER_COMMIT), so that others may have read what is lost"
	case !y.WaitNoReplica:
		return "the old master's semi-sync did not wait with too few replicas (wait_no_replica is off)"
	case y.Timeout < longTimeout && y.Waiting > 0:
		return fmt.Sprintf("commits were waiting for an acknowledgement when the old master was last seen, and its semi-sync "+
			"gives up after %s", y.Timeout)
	case y.Timeout < longTimeout && y.Timeout <= ago:
		return fmt.Sprintf("the old master was last seen %s ago, and its semi-sync gives up after %s, so it may have degraded since",
			ago.Round(time.Millisecond), y.Timeout)
	}
	return ""
}

// acknowledgers are the replicas that acknowledged a master's commits: how many
// there are, and those that answer and still have what they acknowledged.
type acknowledgers struct {
	total     int
	answering []*topology.Instance
}

func acknowledgersOf(s topology.Snapshot, old topology.Key, former []topology.Key) acknowledgers {
	var a acknowledgers
	for _, k := range contenders(s, old, former) {
		last := s.Servers[k].Last
		o, _ := s.Sight(k)
		i := cmp.Or(o.Instance, last)
		if i == nil || !i.SemiSync.ReplicaEnabled && !i.SemiSync.ReplicaOn {
			continue
		}
		a.total++
		if o.Instance != nil && !dropped(i) {
			a.answering = append(a.answering, i)
		}
	}
	return a
}

// dropped reports whether a replica no longer has what it received and did not
// apply: MariaDB drops it once both threads were stopped.
func dropped(i *topology.Instance) bool {
	r := i.Replication
	return i.Flavor == gtid.MariaDB && r != nil && r.IO == topology.ThreadStopped && r.SQL == topology.ThreadStopped &&
		!i.Executed.Contains(r.Received)
}

func names(all []*topology.Instance) string {
	if len(all) == 0 {
		return "none"
	}
	out := make([]string, 0, len(all))
	for _, i := range all {
		out = append(out, i.Key.String())
	}
	return strings.Join(out, ", ")
}
