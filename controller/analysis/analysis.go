// Package analysis names what is wrong with a cluster. It matches the facts of
// one snapshot against one table of rules, first match wins for each server. It
// is pure.
package analysis

import (
	"cmp"
	"fmt"
	"slices"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
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
	// Answer is what could be done about it.
	Answer Answer
	// Wants is the answer that it would have if enough controllers saw the same:
	// where it is not empty, the others are to be asked.
	Wants Answer
	// Dead is true where the taker could not reach the subject.
	Dead bool
	// Replicas, Valid and Replicating count the subject's direct replicas: all,
	// those that answered somebody, and those that still receive from it.
	Replicas, Valid, Replicating int
}

// Sick reports whether f is about a master that answers and takes no writes,
// or will not for long.
func (f Finding) Sick() bool {
	_, trouble := troubleOf(f.Kind)
	return trouble || f.Kind == LockedSemiSyncMaster || f.Kind == LockedSemiSyncMasterHypothesis
}

// Trouble is what keeps the master that f is about from taking writes; empty for
// a finding of another kind.
func (f Finding) Trouble() topology.Trouble {
	t, _ := troubleOf(f.Kind)
	return t
}

// Answer is what could be done about a finding.
type Answer string

// The answers; most findings have none.
const (
	// AnswerFailover: a replica is promoted.
	AnswerFailover Answer = "failover"
	// AnswerRelocate: the subject's replicas get another source.
	AnswerRelocate Answer = "relocate"
	// AnswerSemiSync: the number of acknowledging replicas is put right.
	AnswerSemiSync Answer = "semi-sync"
)

// Warning is something about a cluster's structure that will hurt one day. It
// is never acted on.
type Warning struct {
	Code    Kind
	Subject topology.Key
	// Sentence says what, and the remedy.
	Sentence string
	Evidence []string
}

// Report is all that was found in one snapshot.
type Report struct {
	// Master is about the cluster's master; NoProblem where nothing is wrong.
	Master Finding
	// Others are about co-masters, intermediate masters and first-tier replicas,
	// the most urgent first; those without a problem are left out.
	Others []Finding
	// Warnings are in the order of the table.
	Warnings []Warning
}

// Analyze names what is wrong with the cluster of s.
func Analyze(s topology.Snapshot, p policy.Cluster) Report {
	shape := shapeOf(s)
	report := Report{Warnings: warn(s, shape)}
	f, table := gather(s, p, shape, s.Master), rules()
	report.Master = f.finding(table, match(f, table))
	report.Others = others(s, p, shape, table, report.Master.Dead)
	return report
}

// others are the findings about servers beside the master.
func others(s topology.Snapshot, p policy.Cluster, shape shape, table []rule, masterDead bool) []Finding {
	type ranked struct {
		place int
		Finding
	}
	var found []ranked
	for _, k := range s.Keys() {
		if shape.roles[k]&writer != 0 || shape.roles[k] == 0 {
			continue
		}
		f := gather(s, p, shape, k)
		if masterDead {
			// Its replicas all fail to connect to it, which is told with it.
			f.roles &^= firstTier
		}
		place := match(f, table)
		if place < 0 || table[place].leaveToDowntime && f.replicasInDowntime() {
			continue
		}
		found = append(found, ranked{place, f.finding(table, place)})
	}
	slices.SortStableFunc(found, func(a, b ranked) int { return cmp.Compare(a.place, b.place) })
	out := make([]Finding, 0, len(found))
	for _, r := range found {
		out = append(out, r.Finding)
	}
	return slices.Clip(out)
}

// match returns the place of the first rule that matches; -1 for none.
func match(f facts, table []rule) int {
	if !f.seen {
		return -1
	}
	return slices.IndexFunc(table, func(r rule) bool {
		return r.roles&f.roles != 0 && r.dead == f.dead() && r.match(f)
	})
}

// finding says what the rule at a place of the table makes of f; nothing is
// wrong at -1.
func (f facts) finding(table []rule, place int) Finding {
	out := Finding{
		Kind: NoProblem, Cluster: f.cluster, Subject: f.subject, Evidence: f.evidence, Dead: f.seen && f.dead(),
		Replicas: len(f.replicas), Valid: f.count(replica.isValid), Replicating: f.count(replica.isReceiving),
	}
	sentence := "it answers"
	if !f.seen {
		sentence = "it has not been looked at yet"
	}
	if place >= 0 {
		r := table[place]
		out.Kind, sentence, out.Answer, out.Wants = r.kind, r.sentence, r.answer(f), r.answer(f)
		if out.Wants == "" && f.wantsFailover(r.kind) {
			out.Wants = AnswerFailover
		}
		if out.Wants != "" && f.unsupported != "" {
			out.Answer, out.Wants = "", ""
			sentence += ", and no recovery is known: " + f.unsupported
		}
	}
	if out.Replicas == 0 && f.roles&writer == 0 {
		out.Sentence = fmt.Sprintf("%s: %s", f.subject, sentence)
		return out
	}
	noun := "replicas"
	if out.Replicas == 1 {
		noun = "replica"
	}
	out.Sentence = fmt.Sprintf("%s: %s (%d %s, %d answer, %d receive)",
		f.subject, sentence, out.Replicas, noun, out.Valid, out.Replicating)
	return out
}
