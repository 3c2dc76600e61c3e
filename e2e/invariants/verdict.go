package invariants

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"switchyard/e2e/workload"
)

// Evidence is all that a judgement rests on.
type Evidence struct {
	Samples []Sample
	// Writes are the acknowledged writes.
	Writes []workload.Write
	// Lost are the acknowledged writes that the last master does not have.
	Lost []workload.Write
	// Masters are the @@server_id of the masters in their order, one per epoch; the first is the one before any switch.
	Masters []uint32
	// SemiSync demands that nothing acknowledged was lost.
	SemiSync bool
}

// Switch is the hand-over from one master to the next, as the application saw it.
type Switch struct {
	From, To uint32
	// LastAck is the old master's last acknowledgement, FirstAck the new one's first.
	LastAck, FirstAck time.Time
}

// Interval is a span of time.
type Interval struct {
	Start, End time.Time
}

// Length is how long the interval lasted.
func (i Interval) Length() time.Duration { return i.End.Sub(i.Start) }

// Verdict is the outcome of a judgement.
type Verdict struct {
	// Violations are sentences, each about one thing that must never happen and did.
	Violations []string
	Switches   []Switch
	// DualWritable are the times in which more than one server was seen writable when asked directly. That is no
	// violation by itself (a thawed master is writable until somebody reaches it), but it has to be short and shown.
	DualWritable []Interval
}

// OK tells whether nothing was violated.
func (v Verdict) OK() bool { return len(v.Violations) == 0 }

// DualWritableTime is the sum of the times in which more than one server was writable.
func (v Verdict) DualWritableTime() time.Duration {
	var total time.Duration
	for _, interval := range v.DualWritable {
		total += interval.Length()
	}
	return total
}

// String renders a verdict for a test's log or the demo.
func (v Verdict) String() string {
	var b strings.Builder
	for _, s := range v.Switches {
		fmt.Fprintf(&b, "server %d handed over to server %d, %v without an acknowledgement\n",
			s.From, s.To, s.FirstAck.Sub(s.LastAck).Round(time.Millisecond))
	}
	fmt.Fprintf(&b, "more than one server writable (asked directly): %v\n", v.DualWritableTime().Round(time.Millisecond))
	for _, violation := range v.Violations {
		fmt.Fprintf(&b, "VIOLATION: %s\n", violation)
	}
	if v.OK() {
		b.WriteString("no invariant was violated\n")
	}
	return b.String()
}

// Judge decides. It is a pure function of the evidence.
func Judge(evidence Evidence) Verdict {
	var verdict Verdict
	writes := slices.Clone(evidence.Writes)
	slices.SortFunc(writes, func(a, b workload.Write) int { return a.Ack.Compare(b.Ack) })
	verdict.Switches, verdict.Violations = judgeWrites(writes, evidence.Masters)
	verdict.Violations = append(verdict.Violations, judgeProxy(evidence.Samples, evidence.Masters)...)
	verdict.Violations = append(verdict.Violations, judgeLoss(evidence, verdict.Switches)...)
	verdict.DualWritable = dualWritable(evidence.Samples)
	return verdict
}

// judgeWrites holds that acknowledgements come from one master after the other: one that comes from an earlier (or an
// unknown) server after a later one has acknowledged is a second writer within an epoch.
func judgeWrites(writes []workload.Write, masters []uint32) (switches []Switch, violations []string) {
	if len(masters) == 0 {
		return nil, []string{"no master was named, so that nothing can be judged: fill Evidence.Masters"}
	}
	position, strays := 0, map[uint32]int{}
	var last time.Time
	for _, write := range writes {
		at := slices.Index(masters[position:], write.Server)
		if at < 0 {
			strays[write.Server]++
			continue
		}
		if at > 0 {
			switches = append(switches, Switch{From: masters[position], To: write.Server, LastAck: last, FirstAck: write.Ack})
			position += at
		}
		last = write.Ack
	}
	for _, server := range slices.Sorted(maps.Keys(strays)) {
		violations = append(violations, fmt.Sprintf("server %d acknowledged %d writes while it was not the master "+
			"(the masters were %v)", server, strays[server], masters))
	}
	return switches, violations
}

// judgeProxy holds the same for what the proxy led to: once a master was served writable, no earlier one may be, on an
// old connection as little as on a new one. A sample that began before the new master's ended proves no order.
func judgeProxy(samples []Sample, masters []uint32) (violations []string) {
	if len(masters) == 0 {
		return nil // judgeWrites has said so.
	}
	var served []Sample
	for _, sample := range samples {
		if sample.Proxy && sample.Err == nil && sample.Writable {
			served = append(served, sample)
		}
	}
	slices.SortFunc(served, func(a, b Sample) int { return a.End.Compare(b.End) })
	var firstSeen time.Time
	position, strays := 0, map[uint32]int{}
	for _, sample := range served {
		at := slices.Index(masters[position:], sample.ServerID)
		switch {
		case at > 0:
			position += at
			firstSeen = sample.End
		case at < 0 && (!slices.Contains(masters[:position], sample.ServerID) || sample.Begin.After(firstSeen)):
			strays[sample.ServerID]++
		}
	}
	for _, server := range slices.Sorted(maps.Keys(strays)) {
		violations = append(violations, fmt.Sprintf("the proxy led %d times to server %d, writable, while it was not the "+
			"master (the masters were %v)", strays[server], server, masters))
	}
	return violations
}

// judgeLoss holds that nothing acknowledged is lost under semi-sync, and that whatever is lost without it was
// acknowledged by a master before its successor's first acknowledgement.
func judgeLoss(evidence Evidence, switches []Switch) (violations []string) {
	if evidence.SemiSync && len(evidence.Lost) > 0 {
		violations = append(violations, fmt.Sprintf("%d acknowledged writes are lost under semi-sync, the first by worker %d "+
			"(number %d)", len(evidence.Lost), evidence.Lost[0].Worker, evidence.Lost[0].Seq))
	}
	if len(switches) == 0 {
		if len(evidence.Lost) > 0 && len(evidence.Masters) == 1 {
			violations = append(violations, fmt.Sprintf("%d acknowledged writes are lost though the master never changed",
				len(evidence.Lost)))
		}
		return violations
	}
	late := 0
	for _, write := range evidence.Lost {
		if !write.Ack.Before(switches[len(switches)-1].FirstAck) {
			late++
		}
	}
	if late > 0 {
		violations = append(violations, fmt.Sprintf("%d lost writes were acknowledged after the last switch", late))
	}
	return violations
}

// dualWritable finds the times in which at least two servers were writable. A server counts as writable from one
// writable sample to the next, if nothing else was seen in between: what lies outside is not known.
func dualWritable(samples []Sample) []Interval {
	type edge struct {
		at    time.Time
		delta int
	}
	var edges []edge
	for _, intervals := range writableIntervals(samples) {
		for _, interval := range intervals {
			edges = append(edges, edge{interval.Start, 1}, edge{interval.End, -1})
		}
	}
	// At the same instant an end comes first: intervals that only touch do not overlap.
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.delta, b.delta)) })
	var found []Interval
	open := 0
	var start time.Time
	for _, e := range edges {
		open += e.delta
		switch {
		case open == 2 && e.delta > 0:
			start = e.at
		case open == 1 && e.delta < 0 && e.at.After(start):
			found = append(found, Interval{Start: start, End: e.at})
		}
	}
	return found
}

// writableIntervals are, for each server asked directly, the spans between neighbouring writable samples.
func writableIntervals(samples []Sample) map[string][]Interval {
	ordered := slices.Clone(samples)
	slices.SortStableFunc(ordered, func(a, b Sample) int { return a.End.Compare(b.End) })
	result := map[string][]Interval{}
	previous := map[string]Sample{}
	for _, sample := range ordered {
		if sample.Proxy {
			continue
		}
		before, seen := previous[sample.Target]
		previous[sample.Target] = sample
		if sample.Err != nil || !sample.Writable {
			continue
		}
		spans := result[sample.Target]
		if seen && before.Err == nil && before.Writable && len(spans) > 0 {
			spans[len(spans)-1].End = sample.End
			continue
		}
		result[sample.Target] = append(spans, Interval{Start: sample.Begin, End: sample.End})
	}
	return result
}
