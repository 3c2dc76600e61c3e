package console

import (
	"time"

	"switchyard/controller/hooks"
	"switchyard/controller/plan"
	"switchyard/store/ledger"
)

// Phases is how long each phase of a recovery took, in milliseconds: of steps
// that ran side by side, from the first beginning to the last end. The operator's
// commands of each moment are a phase of their own.
func Phases(r ledger.Recovery) map[string]float64 {
	type span struct{ begun, ended time.Time }
	spans := map[string]span{}
	for _, s := range r.Steps {
		name := s.Name
		switch {
		case name == "notice", name == "see", name == "agree", name == "claim", hooks.Moment(name).Known():
		case name == "rewind":
			continue // a mark in the journal, and no work of any phase
		default:
			name = plan.Name(s.Name).Phase()
		}
		p, ok := spans[name]
		if !ok || s.StartedAt.Before(p.begun) {
			p.begun = s.StartedAt
		}
		if s.EndedAt.After(p.ended) {
			p.ended = s.EndedAt
		}
		spans[name] = p
	}
	out := make(map[string]float64, len(spans))
	for name, p := range spans {
		out[name] = float64(p.ended.Sub(p.begun).Microseconds()) / 1000
	}
	return out
}
