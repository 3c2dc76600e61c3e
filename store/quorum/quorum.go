// Package quorum counts the controllers that agree. It is pure.
package quorum

import "slices"

// Councils are sets of voters. A decision needs a majority of each of them: there
// is one, and while the voters are being changed there are two.
type Councils [][]string

// Majority is how many of n voters must agree.
func Majority(n int) int { return n/2 + 1 }

// Agreed reports whether by has a majority of every council. Nobody counts who is
// in none of them; without a council nobody can agree.
func (c Councils) Agreed(by []string) bool {
	for _, council := range c {
		if len(among(council, by)) < Majority(len(council)) {
			return false
		}
	}
	return len(c) > 0
}

// Everybody are those who are in any council, in order.
func (c Councils) Everybody() []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(c...))))
}

// Bound reports whether every majority of voters shares a member with every
// agreement of c: what the agreement forbids, no such majority can do.
func (c Councils) Bound(voters []string) bool {
	return slices.ContainsFunc(c, func(council []string) bool { return Overlap(council, voters) })
}

// Overlap reports whether every majority of a has a member in common with every
// majority of b. Two that avoid each other take first those that the other lacks.
func Overlap(a, b []string) bool {
	common := len(among(a, b))
	left := Majority(len(a)) - (len(a) - common)
	right := Majority(len(b)) - (len(b) - common)
	return max(left, 0)+max(right, 0) > common
}

// among are those of all that are in some, each once.
func among(all, some []string) []string {
	var out []string
	for _, id := range all {
		if slices.Contains(some, id) && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}
