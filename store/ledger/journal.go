package ledger

import "fmt"

func (d *draft) recordSteps(c RecordSteps) string {
	if c.Recovery == "" {
		return "recovery is empty"
	}
	r, ok := d.state.Recoveries[c.Recovery]
	if !ok {
		return fmt.Sprintf("recovery %q is unknown", cut(c.Recovery, maxName))
	}
	if len(c.Steps) == 0 {
		return "steps is empty"
	}
	if len(r.Steps)+len(c.Steps) > maxSteps {
		return fmt.Sprintf("recovery %s has %d steps, %d more would pass %d", r.ID, len(r.Steps), len(c.Steps), maxSteps)
	}
	steps := make([]Step, len(c.Steps))
	for i, s := range c.Steps {
		if reason := badStep(s); reason != "" {
			return fmt.Sprintf("steps[%d].%s", i, reason)
		}
		s.StartedAt, s.EndedAt = instant(s.StartedAt), instant(s.EndedAt)
		s.Note = cut(s.Note, maxText)
		steps[i] = s
	}
	r.Steps = concat(r.Steps, steps...)
	d.putRecovery(r)
	return ""
}

func badStep(s Step) string {
	switch s.Outcome {
	case StepDone, StepAlready, StepFailed:
	default:
		return fmt.Sprintf("outcome %q: want done, already done or failed", string(s.Outcome))
	}
	if !s.Subject.IsZero() {
		if reason := badKey("subject", s.Subject); reason != "" {
			return reason
		}
	}
	return firstOf(badName("name", s.Name), badName("leader", s.Leader),
		badTime("started_at", s.StartedAt), badTime("ended_at", s.EndedAt))
}
