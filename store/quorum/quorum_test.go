package quorum_test

import (
	"fmt"
	"math/bits"
	"slices"
	"testing"

	"switchyard/store/quorum"
)

func some(mask int) []string {
	var out []string
	for n := range 6 {
		if mask&(1<<n) != 0 {
			out = append(out, fmt.Sprintf("c%d", n))
		}
	}
	return out
}

// TestOverlap holds the count against all majorities of all sets of up to six.
func TestOverlap(t *testing.T) {
	for a := 1; a < 64; a++ {
		for b := 1; b < 64; b++ {
			want := true
			for p := 1; p < 64; p++ {
				for q := 1; q < 64 && want; q++ {
					if p&^a == 0 && q&^b == 0 && p&q == 0 && 2*bits.OnesCount(uint(p)) > bits.OnesCount(uint(a)) &&
						2*bits.OnesCount(uint(q)) > bits.OnesCount(uint(b)) {
						want = false
					}
				}
			}
			if got := quorum.Overlap(some(a), some(b)); got != want {
				t.Fatalf("%v and %v: %t", some(a), some(b), got)
			}
			if one := bits.OnesCount(uint(a ^ b)); one <= 1 && !want {
				t.Fatalf("%v and %v differ by one, and their majorities may avoid each other", some(a), some(b))
			}
		}
	}
}

func TestAgreed(t *testing.T) {
	three, four := []string{"c1", "c2", "c3"}, []string{"c1", "c2", "c3", "c4"}
	for n, tc := range []struct {
		councils quorum.Councils
		by       []string
		want     bool
	}{
		{nil, three, false},
		{quorum.Councils{three}, nil, false},
		{quorum.Councils{three}, []string{"c1"}, false},
		{quorum.Councils{three}, []string{"c1", "c1"}, false},
		{quorum.Councils{three}, []string{"c1", "c4"}, false},
		{quorum.Councils{three}, []string{"c3", "c1"}, true},
		{quorum.Councils{three, four}, []string{"c1", "c2"}, false},
		{quorum.Councils{three, four}, []string{"c1", "c2", "c4"}, true},
		{quorum.Councils{four, {"c2", "c3", "c4"}}, []string{"c1", "c2", "x"}, false},
		{quorum.Councils{{}}, three, false},
	} {
		if got := tc.councils.Agreed(tc.by); got != tc.want {
			t.Errorf("%d: %v by %v: %t", n, tc.councils, tc.by, got)
		}
	}
	both := quorum.Councils{three, {"c2", "c3", "c4"}}
	if got := both.Everybody(); !slices.Equal(got, four) {
		t.Error(got)
	}
	if !both.Bound(four) || !both.Bound(three) || both.Bound([]string{"c7", "c8", "c9"}) {
		t.Error("a sidecar's list is bound by a council that it overlaps with")
	}
}
