package executor

import (
	"slices"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// StepRestored is the journal's name for the end of a makeshift: the master waits
// for as many acknowledgements as are wanted, or was seen to.
const StepRestored = "restore-semi-sync"

// Owed is how many acknowledgements a commit on a cluster's master is to wait for
// by the recovery that made it the master, and that recovery; 0 where that is
// settled, or nothing is known.
func Owed(s ledger.State, cluster string) (recovery string, acks int) {
	var newest ledger.Recovery
	for _, r := range s.Recoveries {
		moved := r.OfMaster() && !r.Open() && r.Announced
		if r.Cluster == cluster && moved && r.Epoch.Compare(newest.Epoch) > 0 {
			newest = r
		}
	}
	settled := slices.ContainsFunc(newest.Steps, func(s ledger.Step) bool {
		return s.Name == StepRestored && s.Outcome == ledger.StepDone
	})
	if settled || newest.Winner != s.Clusters[cluster].Master {
		return newest.ID, 0
	}
	return newest.ID, newest.Acks
}

// acks is how many acknowledgements a commit on the winner is to wait for; it is
// committed with the winner, since whoever is the leader later may not have seen
// what the old master was set to.
func (r *run) acks(winner topology.Key) int {
	used, acks, _ := r.semiSyncOf(winner)
	if !used {
		return 0
	}
	return acks
}

// semiSync says whether the winner is to wait for acknowledgements, for how
// many, and if not, why not.
func (r *run) semiSync() (used bool, acks int, why string) {
	return r.semiSyncOf(r.recovery().Winner)
}

func (r *run) semiSyncOf(winner topology.Key) (used bool, acks int, why string) {
	if r.policy.SemiSync == policy.SemiSyncOff {
		return false, 0, "semi_sync is off"
	}
	rec := r.recovery()
	snap := r.looker.Snapshot(rec.Cluster, rec.Old)
	used, acks = r.policy.SemiSync == policy.SemiSyncOn, 1
	for k, s := range snap.Servers {
		if s.Last == nil {
			continue
		}
		if k == rec.Old && s.Last.SemiSync.SourceEnabled {
			used, acks = true, max(acks, s.Last.SemiSync.WaitCount)
		}
		used = used || s.Last.SemiSync.ReplicaEnabled
	}
	// The old master may itself have had to do with fewer.
	_, owed := Owed(r.ledger.State(), rec.Cluster)
	if wanted := max(owed, rec.Acks); wanted > 0 {
		used, acks = true, max(acks, wanted)
	}
	if !used {
		return false, 0, "the cluster does not use semi-sync"
	}
	if last := snap.Servers[winner].Last; r.policy.SemiSync == policy.SemiSyncAuto && last != nil && !last.SemiSync.Available {
		return false, 0, "the winner has no semi-sync plugins"
	}
	return true, acks, ""
}
