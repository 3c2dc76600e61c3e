package analysis

import (
	"slices"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// rule is one row of the table.
type rule struct {
	kind Kind
	// roles are the servers that it is about.
	roles role
	// dead is whether it is about servers that the taker cannot reach.
	dead     bool
	sentence string
	match    func(facts) bool
	answer   func(facts) Answer
	// leaveToDowntime leaves the finding out where all replicas are in downtime.
	leaveToDowntime bool
}

// rules returns the table; the order is the priority.
func rules() []rule {
	return slices.Concat(deadMaster(), sickMaster(), masterReplicas(), coMasters(), deadIntermediate(),
		livingIntermediate(), firstTierReplicas())
}

func nothing(facts) Answer { return "" }

func failover(facts) Answer { return AnswerFailover }

func relocate(facts) Answer { return AnswerRelocate }

// whenRipe answers a trouble as the policy says.
func whenRipe(t topology.Trouble) func(facts) Answer {
	return func(f facts) Answer {
		if f.ripe(t) {
			return AnswerFailover
		}
		return ""
	}
}

// repair answers a wrong number of acknowledging replicas as the policy says.
func repair(f facts) Answer {
	if f.policy.SemiSyncRepair == policy.SemiSyncEnough || f.policy.SemiSyncRepair == policy.SemiSyncExact {
		return AnswerSemiSync
	}
	return ""
}

func always(facts) bool { return true }

func disputed(f facts) bool { return len(f.reached) > 0 }

func someReceive(f facts) bool { return f.count(replica.isReceiving) > 0 }

// someReceiveAllLag: the source may be too busy to answer. Replicas that are
// all delayed on purpose say nothing.
func someReceiveAllLag(f facts) bool {
	all := len(f.replicas)
	return someReceive(f) && f.count(replica.isLagging) == all && f.count(replica.isDelayed) < all
}

func noneAnswers(f facts) bool { return f.count(replica.isValid) == 0 }

func allAnswer(f facts) bool { return f.count(replica.isValid) == len(f.replicas) }

func noneReplicates(f facts) bool { return len(f.replicas) > 0 && f.count(replica.isReplicating) == 0 }

func single(f facts) bool { return len(f.replicas) == 1 }

// deadMaster is about the server that the ledger names and that the taker
// cannot reach.
func deadMaster() []rule {
	return []rule{
		{kind: DeadMasterWithoutReplicas, roles: writer, dead: true, answer: nothing,
			sentence: "the master is dead and has no replicas",
			match:    func(f facts) bool { return len(f.replicas) == 0 }},
		{kind: UnreachableMaster, roles: master, dead: true, answer: nothing, match: disputed,
			sentence: "the master cannot be reached from here, and another controller reaches it"},
		{kind: UnreachableCoMaster, roles: coMaster, dead: true, answer: nothing, match: disputed,
			sentence: "the co-master cannot be reached from here, and another controller reaches it"},
		{kind: UnreachableMasterWithLaggingReplicas, roles: master, dead: true, answer: nothing, match: someReceiveAllLag,
			sentence: "the master cannot be reached, replicas receive from it, and all of them lag"},
		{kind: UnreachableMaster, roles: master, dead: true, answer: nothing, match: someReceive,
			sentence: "the master cannot be reached, and replicas receive from it"},
		{kind: UnreachableCoMaster, roles: coMaster, dead: true, answer: nothing, match: someReceive,
			sentence: "the co-master cannot be reached, and replicas receive from it"},
		{kind: MasterRestarting, roles: writer, dead: true, answer: nothing,
			sentence: "the master was shut down in order and may come back",
			match:    func(f facts) bool { return f.orderly }},
		{kind: DeadMasterAndReplicas, roles: writer, dead: true, answer: nothing, match: noneAnswers,
			sentence: "the master and all of its replicas are dead"},
		{kind: DeadMaster, roles: master, dead: true, answer: failover, match: allAnswer,
			sentence: "the master is dead, and none of its replicas receives"},
		{kind: DeadMasterAndSomeReplicas, roles: master, dead: true, answer: failover, match: always,
			sentence: "the master and some of its replicas are dead, and no other replica receives"},
		{kind: DeadCoMaster, roles: coMaster, dead: true, answer: failover, match: allAnswer,
			sentence: "the writable one of two co-masters is dead, and none of its replicas receives"},
		{kind: DeadCoMasterAndSomeReplicas, roles: coMaster, dead: true, answer: failover, match: always,
			sentence: "the writable one of two co-masters and some of its replicas are dead, and no other replica receives"},
	}
}

// sickMaster is about a master that answers, and whether it takes writes.
func sickMaster() []rule {
	sick := func(kind Kind, t topology.Trouble, sentence string) rule {
		return rule{kind: kind, roles: writer, sentence: sentence, answer: whenRipe(t),
			match: func(f facts) bool { return f.sick(t) }}
	}
	// What locks a semi-sync master is told by its own name, until the policy
	// answers the trouble that it makes.
	unlessLocked := func(kind Kind, t topology.Trouble, sentence string) rule {
		return rule{kind: kind, roles: writer, sentence: sentence, answer: whenRipe(t),
			match: func(f facts) bool { return f.sick(t) && (!f.waitsForMore() || f.ripe(t)) }}
	}
	return []rule{
		{kind: NoWriteableMaster, roles: writer, answer: nothing,
			sentence: "the master answers and is read-only",
			match:    func(f facts) bool { return f.taker.Instance != nil && f.taker.Instance.ReadOnly }},
		sick(MasterFullDisk, topology.TroubleDiskFull, "the master answers and takes no writes: its disk is full"),
		sick(MasterReadOnlyDisk, topology.TroubleReadOnlyDisk,
			"the master answers and takes no writes: its file system is read-only or fails"),
		sick(MasterTooManyConnections, topology.TroubleConnections, "the master takes no more connections"),
		unlessLocked(MasterStuckSemiSync, topology.TroubleSemiSync,
			"commits on the master wait for acknowledgements that do not come"),
		unlessLocked(MasterStalledWrites, topology.TroubleStalled, "the master answers, and a write does not return"),
		{kind: LockedSemiSyncMaster, roles: writer, answer: repair, match: facts.locked,
			sentence: "fewer replicas acknowledge than commits on the master wait for, and commits have waited for long"},
		{kind: LockedSemiSyncMasterHypothesis, roles: writer, answer: nothing, match: facts.waitsForMore,
			sentence: "fewer replicas acknowledge than commits on the master wait for"},
		{kind: MasterWithTooManySemiSyncReplicas, roles: writer, answer: repair,
			sentence: "more replicas acknowledge than commits on the master wait for",
			match: func(f facts) bool {
				return f.policy.SemiSyncRepair == policy.SemiSyncExact && f.tooManyAcknowledge()
			}},
	}
}

// masterReplicas is about the replicas of a master that answers.
func masterReplicas() []rule {
	return []rule{
		{kind: MasterSingleReplicaNotReplicating, roles: master, answer: nothing,
			sentence: "the master answers, and its only replica does not replicate",
			match:    func(f facts) bool { return single(f) && allAnswer(f) && noneReplicates(f) }},
		{kind: MasterSingleReplicaDead, roles: master, answer: nothing,
			sentence: "the master answers, and its only replica is dead",
			match:    func(f facts) bool { return single(f) && noneAnswers(f) }},
		{kind: AllMasterReplicasNotReplicating, roles: master, answer: nothing,
			sentence: "the master answers, and none of its replicas replicates",
			match:    func(f facts) bool { return allAnswer(f) && noneReplicates(f) }},
		{kind: AllMasterReplicasNotReplicatingOrDead, roles: master, answer: nothing, match: noneReplicates,
			sentence: "the master answers, and its replicas are dead or do not replicate"},
	}
}

// coMasters is about the replicas of a living co-master, and about the other
// co-master, with what replicates from it besides the master.
func coMasters() []rule {
	replicas := func(f facts) bool { return len(f.replicas) > 0 }
	relocateIfSome := func(f facts) Answer {
		if noneAnswers(f) {
			return ""
		}
		return AnswerRelocate
	}
	return []rule{
		{kind: UnreachableCoMaster, roles: otherCoMaster, dead: true, answer: nothing,
			sentence: "the other co-master cannot be reached from here, and another controller or a replica reaches it",
			match:    func(f facts) bool { return replicas(f) && (disputed(f) || someReceive(f)) }},
		{kind: DeadCoMaster, roles: otherCoMaster, dead: true, answer: relocateIfSome,
			sentence: "the other co-master is dead, and none of its replicas receives",
			match:    func(f facts) bool { return replicas(f) && allAnswer(f) }},
		{kind: DeadCoMasterAndSomeReplicas, roles: otherCoMaster, dead: true, answer: relocateIfSome, match: replicas,
			sentence: "the other co-master and some of its replicas are dead, and no other replica receives"},
		{kind: AllCoMasterReplicasNotReplicating, roles: coMaster | otherCoMaster, answer: nothing, match: noneReplicates,
			sentence: "the co-master answers, and none of its replicas replicates", leaveToDowntime: true},
	}
}

// deadIntermediate is about intermediate masters that the taker cannot reach.
func deadIntermediate() []rule {
	return []rule{
		{kind: UnreachableIntermediateMaster, roles: intermediate, dead: true, answer: nothing, match: disputed,
			sentence: "the intermediate master cannot be reached from here, and another controller reaches it"},
		{kind: UnreachableIntermediateMasterWithLaggingReplicas, roles: intermediate, dead: true, answer: nothing,
			match:    someReceiveAllLag,
			sentence: "the intermediate master cannot be reached, replicas receive from it, and all of them lag"},
		{kind: UnreachableIntermediateMaster, roles: intermediate, dead: true, answer: nothing, match: someReceive,
			sentence: "the intermediate master cannot be reached, and replicas receive from it"},
		{kind: DeadIntermediateMasterAndReplicas, roles: intermediate, dead: true, answer: nothing, match: noneAnswers,
			sentence: "the intermediate master and all of its replicas are dead", leaveToDowntime: true},
		{kind: DeadIntermediateMasterWithSingleReplicaFailingToConnect, roles: intermediate, dead: true, answer: relocate,
			sentence: "the intermediate master is dead, and its only replica tries in vain to receive",
			match:    func(f facts) bool { return single(f) && f.count(replica.isFailing) == 1 }},
		{kind: DeadIntermediateMasterWithSingleReplica, roles: intermediate, dead: true, answer: nothing, match: single,
			sentence: "the intermediate master is dead, and its only replica does not try to receive", leaveToDowntime: true},
		{kind: DeadIntermediateMaster, roles: intermediate, dead: true, answer: relocate, match: allAnswer,
			sentence: "the intermediate master is dead, and none of its replicas receives"},
		{kind: DeadIntermediateMasterAndSomeReplicas, roles: intermediate, dead: true, answer: relocate, match: always,
			sentence:        "the intermediate master and some of its replicas are dead, and no other replica receives",
			leaveToDowntime: true},
	}
}

// livingIntermediate is about the replicas of intermediate masters that answer.
func livingIntermediate() []rule {
	return []rule{
		{kind: AllIntermediateMasterReplicasFailingToConnectOrDead, roles: intermediate, answer: relocate,
			sentence: "the intermediate master answers, and all of its replicas are dead or try in vain to receive from it",
			match: func(f facts) bool {
				failing := f.count(replica.isFailing)
				return len(f.replicas) > 1 && failing > 0 && failing == f.count(replica.isValid)
			}, leaveToDowntime: true},
		{kind: AllIntermediateMasterReplicasNotReplicating, roles: intermediate, answer: nothing, match: noneReplicates,
			sentence: "the intermediate master answers, and none of its replicas replicates", leaveToDowntime: true},
	}
}

// firstTierReplicas is about replicas of a master that answers.
func firstTierReplicas() []rule {
	return []rule{
		{kind: FirstTierReplicaFailingToConnectToMaster, roles: firstTier, answer: nothing,
			sentence: "the master answers, and this replica of it tries in vain to receive",
			match: func(f facts) bool {
				if f.taker.Instance == nil {
					return false
				}
				state, _ := stateOf(f.taker, f.policy)
				return state.failing
			}},
	}
}
