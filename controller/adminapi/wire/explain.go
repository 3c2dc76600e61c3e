package wire

import (
	"time"

	"switchyard/controller/topology"
)

// Explanation is what the leader would do about a cluster now, and what holds
// it back.
type Explanation struct {
	Cluster string `json:"cluster"`
	// Summary says in one sentence why the leader would act, or why not.
	Summary string `json:"summary"`
	// Finding names what analysis finds; empty for nothing wrong.
	Finding string `json:"finding,omitempty"`
	// Sentence says the finding in words.
	Sentence string       `json:"sentence"`
	Subject  topology.Key `json:"subject,omitzero"`
	Evidence []string     `json:"evidence,omitempty"`
	// Verdict is act or hold; empty where nothing is to be judged.
	Verdict Verdict `json:"verdict,omitempty"`
	// Reason names why, for programs, and ReasonSentence says it in words.
	Reason         string        `json:"reason,omitempty"`
	ReasonSentence string        `json:"reason_sentence,omitempty"`
	Plan           []PlannedStep `json:"plan,omitempty"`
	// Candidates are ranked for a failover or, where nothing is found, for a
	// switchover.
	Candidates []Candidate `json:"candidates,omitempty"`
	// Durability says whether anything acknowledged could be lost, and by what
	// that is known; empty where nobody would be promoted.
	Durability string `json:"durability,omitempty"`
	// Proven is whether Durability proves that nothing acknowledged is lost.
	Proven bool    `json:"durability_proven,omitempty"`
	Blocks []Block `json:"blocks,omitempty"`
	// Others are findings about co-masters and intermediate masters, the most
	// urgent first.
	Others []Found `json:"others,omitempty"`
	// Warnings are about the structure; nothing is done about them.
	Warnings []Warning `json:"warnings,omitempty"`
}

// Found is one finding beside the master's, and whether it would be acted on.
type Found struct {
	Finding  string       `json:"finding"`
	Subject  topology.Key `json:"subject"`
	Sentence string       `json:"sentence"`
	Evidence []string     `json:"evidence,omitempty"`
	// Answer is what would be done about it; empty for nothing.
	Answer         string  `json:"answer,omitempty"`
	Verdict        Verdict `json:"verdict"`
	Reason         string  `json:"reason,omitempty"`
	ReasonSentence string  `json:"reason_sentence,omitempty"`
	// Moves are where each of its replicas would go.
	Moves []PlannedMove `json:"moves,omitempty"`
}

// PlannedMove is where a replica of a dead intermediate master would go.
type PlannedMove struct {
	Server topology.Key `json:"server"`
	// To is zero where no server may take it; then Reason says why.
	To     topology.Key `json:"to,omitzero"`
	Reason string       `json:"reason,omitempty"`
}

// Warning is something about a cluster's structure that will hurt one day.
type Warning struct {
	Code    string       `json:"code"`
	Subject topology.Key `json:"subject,omitzero"`
	// Sentence says what, and the remedy.
	Sentence string   `json:"sentence"`
	Evidence []string `json:"evidence,omitempty"`
}

// Verdict is whether the leader would act.
type Verdict string

// The verdicts.
const (
	Act  Verdict = "act"
	Hold Verdict = "hold"
)

// PlannedStep is one step that a recovery would take.
type PlannedStep struct {
	Name    string       `json:"name"`
	Subject topology.Key `json:"subject,omitzero"`
	Detail  string       `json:"detail,omitempty"`
}

// Candidate is one server's place in the ranking.
type Candidate struct {
	Key topology.Key `json:"key"`
	// Place counts from 1; 0 is excluded.
	Place int `json:"place"`
	// Reason is why it stands there, or why it is excluded.
	Reason string `json:"reason,omitempty"`
	// Via is the server from which it would first take what it lacks.
	Via topology.Key `json:"via,omitzero"`
}

// Block is something that would hold a recovery back, whatever is found.
type Block struct {
	// Kind names it, for programs, as Reason would: recovery-disabled, paused,
	// downtimed, recovery-open, anti-flap, cascade, hook-failed.
	Kind string `json:"kind"`
	// Until is when it ends by itself; zero where it does not.
	Until    time.Time `json:"until,omitzero"`
	Sentence string    `json:"sentence"`
}
