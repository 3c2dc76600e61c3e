package ledger

import (
	"fmt"
	"time"
)

// DatacenterDown is a datacenter that an operator marked down: as long as others
// can, no controller in it leads, and no server in it is promoted unasked.
type DatacenterDown struct {
	Datacenter string    `json:"datacenter"`
	By         string    `json:"by"`
	Reason     string    `json:"reason"`
	Begun      time.Time `json:"begun"`
	Until      time.Time `json:"until"`
}

// Active reports whether d has not run out at now.
func (d DatacenterDown) Active(now time.Time) bool { return now.Before(d.Until) }

// MarkDatacenterDown marks a datacenter down, or changes that.
type MarkDatacenterDown struct {
	Datacenter string    `json:"datacenter"`
	By         string    `json:"by"`
	Reason     string    `json:"reason"`
	Until      time.Time `json:"until"`
	At         time.Time `json:"at"`
}

// MarkDatacenterUp takes that back; taking back what is not there changes nothing.
type MarkDatacenterUp struct {
	Datacenter string    `json:"datacenter"`
	By         string    `json:"by"`
	Reason     string    `json:"reason,omitempty"`
	At         time.Time `json:"at"`
}

// Kind implements Command.
func (MarkDatacenterDown) Kind() string { return "mark-datacenter-down" }

// Kind implements Command.
func (MarkDatacenterUp) Kind() string { return "mark-datacenter-up" }

func (d *draft) markDatacenterDown(c MarkDatacenterDown) string {
	reason := firstOf(badName("datacenter", c.Datacenter), badName("by", c.By), badText("reason", c.Reason), badTime("at", c.At),
		badUntil(c.Until, c.At))
	if reason != "" {
		return reason
	}
	known, had := d.state.Datacenters[c.Datacenter]
	if !had && len(d.state.Datacenters) >= maxItems {
		return fmt.Sprintf("%d datacenters are marked already", len(d.state.Datacenters))
	}
	next := DatacenterDown{Datacenter: c.Datacenter, By: c.By, Reason: c.Reason, Begun: instant(c.At), Until: instant(c.Until)}
	if had && known.Active(c.At) {
		next.Begun = known.Begun
		if next == known {
			return ""
		}
	}
	d.state.Datacenters = own(d, datacentersMap, d.state.Datacenters)
	d.state.Datacenters[c.Datacenter] = next
	d.note(FamilyDatacenters, c.Datacenter, next)
	d.audit(AuditEntry{
		At: c.At, Kind: AuditOperator, Action: c.Kind(), By: c.By, Reason: c.Reason,
		Evidence: []string{fmt.Sprintf("%s, until %s", c.Datacenter, next.Until.Format(time.RFC3339))},
	})
	return ""
}

func (d *draft) markDatacenterUp(c MarkDatacenterUp) string {
	reason := firstOf(badName("datacenter", c.Datacenter), badName("by", c.By), tooLong("reason", c.Reason), badTime("at", c.At))
	if reason != "" {
		return reason
	}
	known, ok := d.state.Datacenters[c.Datacenter]
	if !ok {
		return ""
	}
	d.state.Datacenters = without(d, datacentersMap, d.state.Datacenters, c.Datacenter)
	d.note(FamilyDatacenters, c.Datacenter, nil)
	d.audit(AuditEntry{
		At: c.At, Kind: AuditOperator, Action: c.Kind(), By: c.By, Reason: c.Reason,
		Evidence: []string{fmt.Sprintf("%s was marked down by %s until %s: %s", c.Datacenter, known.By,
			known.Until.Format(time.RFC3339), known.Reason)},
	})
	return ""
}

// Down are the datacenters that are marked down at now.
func (s State) Down(now time.Time) map[string]DatacenterDown {
	out := map[string]DatacenterDown{}
	for name, down := range s.Datacenters {
		if down.Active(now) {
			out[name] = down
		}
	}
	return out
}
