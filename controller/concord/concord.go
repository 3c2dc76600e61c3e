// Package concord holds the ledgers of the controllers against each other: which of
// them differs from what a majority has. It is pure.
package concord

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"switchyard/controller/adminapi/wire"
)

// Stray is a controller whose ledger is not the majority's.
type Stray struct {
	ID string
	// Index is the entry of the raft log at which it differs: it has Own there, and
	// Holders, a majority of the voters, have Theirs.
	Index       uint64
	Own, Theirs string
	Holders     []string
}

// Verdict is what a comparison has brought.
type Verdict struct {
	// Compared is the newest entry of the raft log at which a majority of the voters
	// is known to have the same ledger; 0 where none is.
	Compared uint64
	// Strays are those that differ, by their ids.
	Strays []Stray
	// Split says that ledgers differ and none of them is a majority's, so that nobody
	// is blamed; empty where that is not so.
	Split string
}

// Of returns what is known against one controller.
func (v Verdict) Of(id string) (Stray, bool) {
	i := slices.IndexFunc(v.Strays, func(s Stray) bool { return s.ID == id })
	if i < 0 {
		return Stray{}, false
	}
	return v.Strays[i], true
}

// place is where ledgers can be compared: digests of two versions say nothing of
// each other.
type place struct {
	version int
	index   uint64
}

// Judge compares what controllers say, by their ids. Only voters make a majority, of
// all voters that there are: who says nothing is not known, and nobody is counted in
// its place. Each is judged by the newest entry at which that can be done.
func Judge(voters []string, said map[string][]wire.Mark) Verdict {
	places := map[place]map[string]string{}
	for id, marks := range said {
		for _, m := range marks {
			at := place{m.Version, m.Index}
			if places[at] == nil {
				places[at] = map[string]string{}
			}
			places[at][id] = fmt.Sprintf("%d:%s", m.Term, m.Digest)
		}
	}
	newest := slices.SortedFunc(maps.Keys(places), func(a, b place) int {
		if a.index != b.index {
			return cmp.Compare(b.index, a.index)
		}
		return b.version - a.version
	})
	var out Verdict
	judged := map[string]bool{}
	for _, at := range newest {
		holders, theirs := majority(voters, places[at])
		if holders == nil {
			if out.Compared == 0 && out.Split == "" {
				out.Split = split(voters, at.index, places[at])
			}
			continue
		}
		out.Compared = max(out.Compared, at.index)
		for id, own := range places[at] {
			if own != theirs && !judged[id] {
				out.Strays = append(out.Strays, Stray{ID: id, Index: at.index, Own: digest(own), Theirs: digest(theirs), Holders: holders})
			}
			judged[id] = true
		}
	}
	slices.SortFunc(out.Strays, func(a, b Stray) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// digest is what a controller said, without the term.
func digest(value string) string {
	_, after, _ := strings.Cut(value, ":")
	return after
}

// byValue are the voters that have each value.
func byValue(voters []string, here map[string]string) map[string][]string {
	out := map[string][]string{}
	for _, id := range slices.Sorted(slices.Values(voters)) {
		if value, ok := here[id]; ok {
			out[value] = append(out[value], id)
		}
	}
	return out
}

// majority are the voters that have the value of more than half of all, or nil.
func majority(voters []string, here map[string]string) (holders []string, value string) {
	for value, ids := range byValue(voters, here) {
		if len(ids) > len(voters)/2 {
			return ids, value
		}
	}
	return nil, ""
}

// split says who has what, where voters differ.
func split(voters []string, index uint64, here map[string]string) string {
	values := byValue(voters, here)
	if len(values) < 2 {
		return ""
	}
	var groups []string
	for value, ids := range values {
		d := digest(value)
		groups = append(groups, fmt.Sprintf("%s: %s", strings.Join(ids, ", "), d[:min(len(d), 12)]))
	}
	slices.Sort(groups)
	return fmt.Sprintf("the controllers' ledgers differ at raft entry %d, and no majority of the %d voters is known to have the same (%s): "+
		"nobody is blamed; look at `switchyard backup --local` of each for the one that is right, and remove the data_dir of those that "+
		"are wrong, one by one", index, len(voters), strings.Join(groups, "; "))
}
