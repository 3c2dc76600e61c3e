// Package analysis names what is wrong with a cluster. It matches the facts of
// one snapshot against one table of rules, first match wins. It is pure.
package analysis

import (
	"fmt"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// Kind is the name of a finding, as operators know it.
type Kind string

// The findings, by the names that the field uses.
const (
	// NoProblem: nothing is wrong with the master.
	NoProblem Kind = "NoProblem"
	// NoWriteableMaster: the master answers and is read-only.
	NoWriteableMaster Kind = "NoWriteableMaster"
	// MasterRestarting: the master ended its connections in order a moment ago.
	MasterRestarting Kind = "MasterRestarting"
	// DeadMasterWithoutReplicas: the master is dead and nobody replicates from it.
	DeadMasterWithoutReplicas Kind = "DeadMasterWithoutReplicas"
	// DeadMasterAndReplicas: the master and all of its replicas are dead.
	DeadMasterAndReplicas Kind = "DeadMasterAndReplicas"
	// UnreachableMaster: the master cannot be reached, and replicas receive from it.
	UnreachableMaster Kind = "UnreachableMaster"
	// DeadMasterAndSomeReplicas: the master and some of its replicas are dead.
	DeadMasterAndSomeReplicas Kind = "DeadMasterAndSomeReplicas"
	// DeadMaster: the master is dead, and all of its replicas answer.
	DeadMaster Kind = "DeadMaster"
)

// Finding is what is wrong, with whom, and by what evidence.
type Finding struct {
	Kind    Kind
	Cluster string
	Subject topology.Key
	// Sentence says the finding in words.
	Sentence string
	// Evidence has a sentence for each thing that an observer saw.
	Evidence []string
	// Recoverable is true where promoting a replica is the answer.
	Recoverable bool
	// Replicas, Valid and Replicating count the master's direct replicas: all,
	// those that answered somebody, and those that still receive from it.
	Replicas, Valid, Replicating int
}

// rule is one row: a name, a sentence, a match, and whether promotion answers it.
type rule struct {
	kind        Kind
	sentence    string
	recoverable bool
	match       func(facts) bool
}

// rules returns the table; the order is the priority.
func rules() []rule {
	return []rule{
		{NoWriteableMaster, "the master answers and is read-only", false,
			func(f facts) bool { return f.taker.Instance != nil && f.taker.Instance.ReadOnly }},
		{NoProblem, "the master answers", false,
			func(f facts) bool { return !f.seen || !f.taker.Reach.Dead() }},
		{DeadMasterWithoutReplicas, "the master is dead and has no replicas", false,
			func(f facts) bool { return len(f.replicas) == 0 }},
		{UnreachableMaster, "the master cannot be reached, and replicas receive from it", false,
			func(f facts) bool { return len(f.replicating) > 0 }},
		{MasterRestarting, "the master was shut down in order and may come back", false,
			func(f facts) bool { return f.orderly }},
		{DeadMasterAndReplicas, "the master and all of its replicas are dead", false,
			func(f facts) bool { return len(f.valid) == 0 }},
		{DeadMasterAndSomeReplicas, "the master and some of its replicas are dead, and no other replica receives", true,
			func(f facts) bool { return len(f.valid) < len(f.replicas) }},
		{DeadMaster, "the master is dead, and none of its replicas receives", true,
			func(facts) bool { return true }},
	}
}

// Analyze names what is wrong with the master of s.
func Analyze(s topology.Snapshot, p policy.Cluster) Finding {
	f := gather(s, p)
	for _, r := range rules() {
		if !r.match(f) {
			continue
		}
		return Finding{
			Kind: r.kind, Cluster: s.Cluster, Subject: s.Master, Recoverable: r.recoverable,
			Sentence: fmt.Sprintf("%s: %s (%d replicas, %d answer, %d receive)",
				s.Master, r.sentence, len(f.replicas), len(f.valid), len(f.replicating)),
			Evidence: f.evidence,
			Replicas: len(f.replicas), Valid: len(f.valid), Replicating: len(f.replicating),
		}
	}
	return Finding{Kind: NoProblem, Cluster: s.Cluster, Subject: s.Master}
}
