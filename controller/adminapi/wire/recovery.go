package wire

import (
	"time"

	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// Recovery is one change of a cluster's master, with its journal.
type Recovery struct {
	ID          string       `json:"id"`
	Cluster     string       `json:"cluster"`
	Kind        ledger.Kind  `json:"kind"`
	Finding     string       `json:"finding"`
	Evidence    []string     `json:"evidence,omitempty"`
	Automatic   bool         `json:"automatic"`
	By          string       `json:"by,omitempty"`
	Old         topology.Key `json:"old"`
	OldDead     bool         `json:"old_proven_dead"`
	EpochBefore routes.Epoch `json:"epoch_before"`
	Epoch       routes.Epoch `json:"epoch"`
	Winner      topology.Key `json:"winner,omitzero"`
	// WinnerReason is why the winner was chosen.
	WinnerReason string `json:"winner_reason,omitempty"`
	// Target is whom a person asked to promote.
	Target topology.Key `json:"target,omitzero"`
	// Via is the server from which the winner first took what it lacked.
	Via topology.Key `json:"via,omitzero"`
	// Durability says whether anything acknowledged could be lost, and by what
	// that is known.
	Durability string `json:"durability,omitempty"`
	// Forced is whether a person said to go on in spite of every doubt.
	Forced bool `json:"forced,omitempty"`
	// Ack is absent while nobody has acknowledged it.
	Ack        *ledger.Ack `json:"ack,omitempty"`
	Announced  bool        `json:"announced"`
	Undoing    bool        `json:"undoing,omitempty"`
	Leader     string      `json:"leader"`
	StartedAt  time.Time   `json:"started_at"`
	EndedAt    time.Time   `json:"ended_at,omitzero"`
	DurationMS float64     `json:"duration_ms,omitempty"`
	// Outcome is empty while the recovery is open.
	Outcome ledger.Outcome `json:"outcome"`
	Message string         `json:"message,omitempty"`
	Lost    []topology.Key `json:"lost,omitempty"`
	// Phases is how long each phase took, in milliseconds.
	Phases map[string]float64 `json:"phases_ms,omitempty"`
	Steps  []Step             `json:"steps,omitempty"`
}

// Step is one attempt of one step of a recovery.
type Step struct {
	Name      string       `json:"name"`
	Subject   topology.Key `json:"subject,omitzero"`
	Leader    string       `json:"leader"`
	StartedAt time.Time    `json:"started_at"`
	EndedAt   time.Time    `json:"ended_at"`
	// OffsetMS counts from the start of the recovery.
	OffsetMS   float64            `json:"offset_ms"`
	DurationMS float64            `json:"duration_ms"`
	Outcome    ledger.StepOutcome `json:"outcome"`
	Note       string             `json:"note,omitempty"`
}

// Open reports whether r has not ended.
func (r Recovery) Open() bool { return r.Outcome == "" }

// NewRecovery returns the ledger's r as it crosses the door.
func NewRecovery(r ledger.Recovery, phases map[string]float64) Recovery {
	out := Recovery{
		ID: r.ID, Cluster: r.Cluster, Kind: r.Kind, Finding: r.Finding, Evidence: r.Evidence,
		Automatic: r.Automatic, By: r.By, Old: r.Old, OldDead: r.OldProvenDead,
		EpochBefore: r.EpochBefore, Epoch: r.Epoch, Winner: r.Winner, WinnerReason: r.WinnerReason,
		Announced: r.Announced, Undoing: r.Undoing, Leader: r.Leader,
		StartedAt: r.StartedAt, EndedAt: r.EndedAt, Outcome: r.Outcome, Message: r.Message, Lost: r.Lost,
		Target: r.Target, Via: r.Via, Durability: r.Durability, Forced: r.Forced, Ack: r.Ack,
		Phases: phases,
	}
	if !r.EndedAt.IsZero() {
		out.DurationMS = milliseconds(r.EndedAt.Sub(r.StartedAt))
	}
	for _, s := range r.Steps {
		out.Steps = append(out.Steps, Step{
			Name: s.Name, Subject: s.Subject, Leader: s.Leader, StartedAt: s.StartedAt, EndedAt: s.EndedAt,
			OffsetMS:   milliseconds(s.StartedAt.Sub(r.StartedAt)),
			DurationMS: milliseconds(s.EndedAt.Sub(s.StartedAt)),
			Outcome:    s.Outcome, Note: s.Note,
		})
	}
	return out
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// SwitchoverRequest is the body of POST /api/v1/switchover.
type SwitchoverRequest struct {
	Cluster string `json:"cluster"`
	// To is the new master; empty leaves the choice to the ranking.
	To topology.Key `json:"to,omitzero"`
	// By says who asks, and Reason why, for the record.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}
