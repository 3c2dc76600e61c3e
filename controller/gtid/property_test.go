package gtid_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"switchyard/controller/gtid"
)

// ids is the dumb second implementation: every transaction by itself.
type ids map[string]bool

func (a ids) union(b ids) ids {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

func (a ids) subtract(b ids) ids {
	out := ids{}
	for id := range a {
		if !b[id] {
			out[id] = true
		}
	}
	return out
}

func (a ids) contains(b ids) bool { return len(b.subtract(a)) == 0 }

// parse reads ids back into a set, one transaction an item.
func (a ids) parse(t *rapid.T) gtid.Set {
	var items []string
	for id := range a {
		items = append(items, id)
	}
	s, err := gtid.ParseMySQL(strings.Join(items, ","))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// drawMySQL draws a set as intervals, and the same as single ids.
func drawMySQL(t *rapid.T, label string) (gtid.Set, ids) {
	model := ids{}
	var items []string
	for range rapid.IntRange(0, 12).Draw(t, label+" intervals") {
		at := rapid.SampledFrom([]string{u1, u2, u1 + ":a", u2 + ":b"}).Draw(t, label+" origin")
		first := rapid.IntRange(1, 40).Draw(t, label+" first")
		last := first + rapid.IntRange(0, 9).Draw(t, label+" size")
		items = append(items, fmt.Sprintf("%s:%d-%d", at, first, last))
		for n := first; n <= last; n++ {
			model[fmt.Sprintf("%s:%d", at, n)] = true
		}
	}
	s, err := gtid.ParseMySQL(strings.Join(items, ",\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s, model
}

func TestMySQLAgreesWithSingleIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, da := drawMySQL(t, "a")
		b, db := drawMySQL(t, "b")
		for _, got := range []struct {
			name string
			set  gtid.Set
			want ids
		}{
			{"a", a, da},
			{"a union b", a.Union(b), da.union(db)},
			{"a minus b", a.Subtract(b), da.subtract(db)},
		} {
			if want := got.want.parse(t); !got.set.Equal(want) || got.set.String() != want.String() {
				t.Fatalf("%s = %s, want %s", got.name, got.set, want)
			}
			if got.set.Count() != uint64(len(got.want)) {
				t.Fatalf("%s counts %d, want %d", got.name, got.set.Count(), len(got.want))
			}
		}
		if a.Contains(b) != da.contains(db) {
			t.Fatalf("%s contains %s: %v", a, b, a.Contains(b))
		}
		if a.Equal(b) != maps.Equal(da, db) {
			t.Fatalf("%s equals %s: %v", a, b, a.Equal(b))
		}
		checkLaws(t, a, b)
	})
}

// gtids is the dumb second implementation for MariaDB: domain, server -> sequence.
type gtids map[[2]uint32]uint64

func (a gtids) add(domain, server uint32, seq uint64) {
	a[[2]uint32{domain, server}] = max(seq, a[[2]uint32{domain, server}])
}

func (a gtids) contains(b gtids, bOwn uint32) bool {
	for at, n := range b {
		have, known := a[at]
		if known && have >= n {
			continue
		}
		below := false
		for other, seq := range a {
			below = below || other[0] == at[0] && n < seq
		}
		if known || !below || bOwn == 0 || at[1] == bOwn {
			return false
		}
	}
	return true
}

func (a gtids) parse(t *rapid.T, own uint32) gtid.Set {
	var items []string
	for at, n := range a {
		items = append(items, fmt.Sprintf("%d-%d-%d", at[0], at[1], n))
	}
	s, err := gtid.ParseMariaDB(own, items...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func drawMariaDB(t *rapid.T, label string) (gtid.Set, gtids, uint32) {
	model := gtids{}
	own := rapid.Uint32Range(0, 3).Draw(t, label+" own")
	lists := make([]string, rapid.IntRange(0, 3).Draw(t, label+" lists"))
	for i := range lists {
		var items []string
		for range rapid.IntRange(0, 4).Draw(t, label+" entries") {
			domain, server := rapid.Uint32Range(0, 2).Draw(t, "domain"), rapid.Uint32Range(1, 4).Draw(t, "server")
			seq := rapid.Uint64Range(1, 6).Draw(t, "seq")
			model.add(domain, server, seq)
			items = append(items, fmt.Sprintf("%d-%d-%d", domain, server, seq))
		}
		lists[i] = strings.Join(items, ",")
	}
	s, err := gtid.ParseMariaDB(own, lists...)
	if err != nil {
		t.Fatal(err)
	}
	return s, model, own
}

func TestMariaDBAgreesWithMaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, da, ownA := drawMariaDB(t, "a")
		b, db, ownB := drawMariaDB(t, "b")
		if want := da.parse(t, ownA); a.String() != want.String() {
			t.Fatalf("parsed %s, want %s", a, want)
		}
		both := maps.Clone(da)
		for at, n := range db {
			both.add(at[0], at[1], n)
		}
		if got, want := a.Union(b), both.parse(t, ownA); !got.Equal(want) || got.String() != want.String() {
			t.Fatalf("%s union %s = %s, want %s", a, b, got, want)
		}
		if a.Contains(b) != da.contains(db, ownB) {
			t.Fatalf("%s contains %s of %d: %v", a, b, ownB, a.Contains(b))
		}
		if a.Equal(b) != maps.Equal(da, db) {
			t.Fatalf("%s equals %s: %v", a, b, a.Equal(b))
		}
		checkLaws(t, a, b)
	})
}

// checkLaws holds for sets of every flavor.
func checkLaws(t *rapid.T, a, b gtid.Set) {
	union, rest := a.Union(b), a.Subtract(b)
	switch {
	case !a.Contains(a) || !a.Contains(gtid.Set{}):
		t.Fatalf("%s does not contain itself and nothing", a)
	case !union.Contains(a) || !union.Contains(b):
		t.Fatalf("%s union %s = %s does not contain both", a, b, union)
	case rest.IsEmpty() != b.Contains(a):
		t.Fatalf("%s minus %s = %q, and contains says %v", a, b, rest, b.Contains(a))
	case !a.Contains(rest):
		t.Fatalf("%s does not contain its part %s", a, rest)
	case !b.Union(rest).Contains(a):
		t.Fatalf("%s union %s does not contain %s", b, rest, a)
	case !union.Equal(b.Union(a)):
		t.Fatalf("%s union %s depends on the order", a, b)
	}
	text, err := a.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var back gtid.Set
	if err := back.UnmarshalText(text); err != nil || !back.Equal(a) || back.Own() != a.Own() || back.Flavor() != a.Flavor() {
		t.Fatalf("%s came back as %s: %v", text, back, err)
	}
}

// TestManyIntervals fails by its time if a merge is worse than linear.
func TestManyIntervals(t *testing.T) {
	const n = 200_000
	var even, odd strings.Builder
	even.WriteString(u1)
	odd.WriteString(u1)
	for i := range n {
		fmt.Fprintf(&even, ":%d", 4*i+2)
		fmt.Fprintf(&odd, ":%d-%d", 4*i+3, 4*i+5)
	}
	best := time.Duration(1 << 62)
	for range 10 { // one time has to do: the machine may be busy
		begun := time.Now()
		mergeMany(t, n, even.String(), odd.String())
		if best = min(best, time.Since(begun)); best < 5*time.Second {
			return
		}
	}
	t.Errorf("took %s at best", best)
}

func mergeMany(t *testing.T, n int, even, odd string) {
	t.Helper()
	a, b := mysql(t, even), mysql(t, odd)
	union := a.Union(b)
	if want := fmt.Sprintf("%s:2-%d", u1, 4*n+1); union.String() != want {
		t.Errorf("union is %.80s, want %s", union, want)
	}
	if !union.Contains(a) || a.Contains(b) || !union.Subtract(a).Equal(b) {
		t.Error("union, contains and subtract disagree")
	}
}
