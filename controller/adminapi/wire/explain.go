package wire

import (
	"time"

	"switchyard/controller/topology"
)

// Explanation is what the leader would do about a cluster now, and what holds
// it back.
type Explanation struct {
	Cluster string `json:"cluster"`
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
	Candidates     []Candidate   `json:"candidates,omitempty"`
	Blocks         []Block       `json:"blocks,omitempty"`
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
}

// Block is something that would hold a recovery back, whatever is found.
type Block struct {
	// Kind names it, for programs, as Reason would: anti-flap, recovery-open,
	// recovery-disabled.
	Kind string `json:"kind"`
	// Until is when it ends by itself; zero where it does not.
	Until    time.Time `json:"until,omitzero"`
	Sentence string    `json:"sentence"`
}
