package workload

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

func acks(ms ...int) []Write {
	var writes []Write
	for i, m := range ms {
		writes = append(writes, Write{Seq: int64(i), Begin: at(m - 1), Ack: at(m)})
	}
	return writes
}

func TestLongestGap(t *testing.T) {
	for _, test := range []struct {
		name     string
		acks     []Write
		from, to int
		want     int
		open     bool
	}{
		{"steady", acks(0, 10, 20, 30), 0, 30, 10, false},
		{"one outage", acks(0, 10, 510, 520), 0, 520, 500, false},
		{"the larger one lies before the window", acks(0, 500, 510, 600, 610), 505, 610, 90, false},
		{"the larger one lies after the window", acks(0, 10, 20, 500), 0, 15, 10, false},
		{"began before the window", acks(0, 300, 310), 100, 310, 300, false},
		{"ended after the window", acks(0, 10, 400), 0, 100, 390, false},
		{"never ended", acks(0, 10), 0, 1000, 990, true},
		{"never began", acks(), 0, 1000, 1000, true},
		{"first write late", acks(700, 710), 0, 710, 700, false},
		{"all before the window", acks(0, 10), 100, 200, 190, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := LongestGap(test.acks, at(test.from), at(test.to))
			if got.Length() != time.Duration(test.want)*time.Millisecond || got.Open != test.open {
				t.Errorf("gap %v (open %v), want %d ms (open %v)", got.Length(), got.Open, test.want, test.open)
			}
		})
	}
}

// A gap found is a real one: nothing was acknowledged inside of it, and no longer one lies wholly in the window.
func TestLongestGapProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOfN(rapid.IntRange(0, 1000), 0, 30).Draw(t, "acks")
		writes := acks(times...)
		sortByAck(writes)
		from := rapid.IntRange(0, 999).Draw(t, "from")
		to := rapid.IntRange(from+1, 1001).Draw(t, "to")
		gap := LongestGap(writes, at(from), at(to))
		for i, write := range writes {
			if write.Ack.After(gap.Start) && write.Ack.Before(gap.End) {
				t.Fatalf("write at %v lies inside the gap %v to %v", write.Ack, gap.Start, gap.End)
			}
			if i > 0 && !writes[i-1].Ack.Before(at(from)) && !write.Ack.After(at(to)) &&
				write.Ack.Sub(writes[i-1].Ack) > gap.Length() {
				t.Fatalf("a longer gap ends at %v", write.Ack)
			}
		}
	})
}

func TestRate(t *testing.T) {
	if got := Rate(acks(0, 100, 200, 300, 1000), at(0), at(500)); got != 8 {
		t.Errorf("rate %v, want 8 per second (4 writes in half a second)", got)
	}
	if got := Rate(acks(1), at(5), at(5)); got != 0 {
		t.Errorf("rate %v over an empty window, want 0", got)
	}
}
