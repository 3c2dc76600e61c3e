package workload

import (
	"cmp"
	"slices"
	"time"
)

// Gap is a time in which no write of any worker was acknowledged.
type Gap struct {
	// Start is the last acknowledgement before the gap, End the first one after it.
	Start time.Time
	End   time.Time
	// Open means that no write was acknowledged after the gap: it ends where the window does, not with a recovery.
	Open bool
}

// Length is how long the gap lasted.
func (g Gap) Length() time.Duration { return g.End.Sub(g.Start) }

// Outage is the longest gap between two acknowledged writes of all workers together that touches the window. A window
// that closes (or opens) without a write counts up to its edge, so that a total outage is never reported as none.
func (w *Workload) Outage(from, to time.Time) Gap { return LongestGap(w.Acked(), from, to) }

// LongestGap is Outage over writes that are ordered by acknowledgement.
func LongestGap(writes []Write, from, to time.Time) Gap {
	longest := Gap{Start: from, End: from}
	last := from
	for _, write := range writes {
		if !last.Before(to) {
			break
		}
		gap := Gap{Start: last, End: write.Ack}
		if write.Ack.After(from) && gap.Length() > longest.Length() {
			longest = gap
		}
		last = write.Ack
	}
	if gap := (Gap{Start: last, End: to, Open: true}); last.Before(to) && gap.Length() > longest.Length() {
		longest = gap
	}
	return longest
}

// Rate is the number of acknowledged writes per second in a window.
func Rate(writes []Write, from, to time.Time) float64 {
	seconds := to.Sub(from).Seconds()
	if seconds <= 0 {
		return 0
	}
	count := 0
	for _, write := range writes {
		if !write.Ack.Before(from) && write.Ack.Before(to) {
			count++
		}
	}
	return float64(count) / seconds
}

func sortByAck(writes []Write) {
	slices.SortFunc(writes, func(a, b Write) int {
		return cmp.Or(a.Ack.Compare(b.Ack), cmp.Compare(a.Worker, b.Worker), cmp.Compare(a.Seq, b.Seq))
	})
}
