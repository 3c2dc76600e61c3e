package concord_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/concord"
)

// marks reads "10:a 20:b", by entry and digest, with /2 for version 2.
func marks(text string) []wire.Mark {
	var out []wire.Mark
	for _, word := range strings.Fields(text) {
		m := wire.Mark{Term: 3, Version: 1}
		word, second := strings.CutSuffix(word, "/2")
		if second {
			m.Version = 2
		}
		index, value, _ := strings.Cut(word, ":")
		if _, err := fmt.Sscan(index, &m.Index); err != nil {
			panic(err)
		}
		m.Digest = value
		out = append(out, m)
	}
	return out
}

func TestJudge(t *testing.T) {
	three, five := "c1 c2 c3", "c1 c2 c3 c4 c5"
	for name, c := range map[string]struct {
		voters   string
		said     map[string]string
		compared uint64
		// strays are as "c3@20".
		strays string
		split  string
	}{
		"all agree":              {three, map[string]string{"c1": "10:a 20:b", "c2": "10:a 20:b", "c3": "10:a"}, 20, "", ""},
		"one differs":            {three, map[string]string{"c1": "10:a 20:b", "c2": "10:a 20:b", "c3": "10:a 20:x"}, 20, "c3@20", ""},
		"it differed, later not": {three, map[string]string{"c1": "10:a 20:b", "c2": "10:a 20:b", "c3": "10:x 20:b"}, 20, "", ""},
		"it is behind, and differs": {three, map[string]string{"c1": "10:a 20:b", "c2": "10:a 20:b", "c3": "10:x"}, 20,
			"c3@10", ""},
		"one is silent":         {three, map[string]string{"c1": "10:a", "c2": "10:a"}, 10, "", ""},
		"two are silent":        {three, map[string]string{"c1": "10:a"}, 0, "", ""},
		"nobody says anything":  {three, nil, 0, "", ""},
		"two differ":            {three, map[string]string{"c1": "10:a", "c2": "10:x"}, 0, "", "c1: a; c2: x"},
		"all differ":            {three, map[string]string{"c1": "10:a", "c2": "10:x", "c3": "10:y"}, 0, "", "c1: a; c2: x; c3: y"},
		"no common entry":       {three, map[string]string{"c1": "10:a", "c2": "11:x", "c3": "12:y"}, 0, "", ""},
		"of two, neither":       {"c1 c2", map[string]string{"c1": "10:a", "c2": "10:x"}, 0, "", "c1: a; c2: x"},
		"of one":                {"c1", map[string]string{"c1": "10:a"}, 10, "", ""},
		"two of five":           {five, map[string]string{"c1": "9:a", "c2": "9:a", "c3": "9:a", "c4": "9:x", "c5": "9:y"}, 9, "c4@9 c5@9", ""},
		"half of four":          {"c1 c2 c3 c4", map[string]string{"c1": "9:a", "c2": "9:a", "c3": "9:x", "c4": "9:x"}, 0, "", "c1, c2: a; c3, c4: x"},
		"two of three that say": {five, map[string]string{"c1": "9:a", "c2": "9:a", "c3": "9:x"}, 0, "", "c1, c2: a; c3: x"},
		"a nonvoter differs":    {"c1 c2", map[string]string{"c1": "9:a", "c2": "9:a", "c3": "9:x"}, 9, "c3@9", ""},
		"nonvoters make no majority": {"c1 c2", map[string]string{"c1": "9:a", "c2": "9:x", "c3": "9:x", "c4": "9:x"}, 0, "",
			"c1: a; c2: x"},
		"releases differ": {three, map[string]string{"c1": "9:a", "c2": "9:a", "c3": "9:x/2"}, 9, "", ""},
		"a split that was settled": {three, map[string]string{"c1": "9:a 20:b", "c2": "9:x 20:b", "c3": "20:b"}, 20,
			"", ""},
		"a new split, agreed before": {three, map[string]string{"c1": "9:a 20:b", "c2": "9:a 20:x", "c3": "9:a"}, 9, "", "c1: b; c2: x"},
	} {
		t.Run(name, func(t *testing.T) {
			said := map[string][]wire.Mark{}
			for id, text := range c.said {
				said[id] = marks(text)
			}
			v := concord.Judge(strings.Fields(c.voters), said)
			var strays []string
			for _, s := range v.Strays {
				strays = append(strays, fmt.Sprintf("%s@%d", s.ID, s.Index))
				if s.Own == s.Theirs || len(s.Holders) <= len(strings.Fields(c.voters))/2 || slices.Contains(s.Holders, s.ID) {
					t.Errorf("%+v", s)
				}
			}
			if v.Compared != c.compared || strings.Join(strays, " ") != c.strays {
				t.Errorf("%+v", v)
			}
			if (v.Split == "") != (c.split == "") || !strings.Contains(v.Split, c.split) || v.Split != "" && !strings.Contains(v.Split, "data_dir") {
				t.Errorf("split: %q", v.Split)
			}
		})
	}
}

// The terms count too: two entries of one index are not the same.
func TestAnotherTermIsAnotherLedger(t *testing.T) {
	other := marks("9:a")
	other[0].Term = 4
	v := concord.Judge([]string{"c1", "c2", "c3"}, map[string][]wire.Mark{"c1": marks("9:a"), "c2": marks("9:a"), "c3": other})
	if s, ok := v.Of("c3"); !ok || s.Index != 9 {
		t.Errorf("%+v", v)
	}
}

// Whatever is said, fewer than half of the voters are blamed, none of whom a majority
// agrees with; and who answers less says no more than it knows.
func TestOnlyAMinorityIsEverBlamed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 7).Draw(t, "voters")
		var voters []string
		said := map[string][]wire.Mark{}
		for i := range n {
			id := fmt.Sprintf("c%d", i+1)
			voters = append(voters, id)
			for index := range uint64(3) {
				if rapid.IntRange(0, 3).Draw(t, "silent") > 0 {
					said[id] = append(said[id], wire.Mark{Index: index + 1, Version: 1, Digest: rapid.SampledFrom([]string{"a", "a", "x"}).Draw(t, "digest")})
				}
			}
		}
		v := concord.Judge(voters, said)
		at := map[uint64]int{}
		for _, s := range v.Strays {
			at[s.Index]++
			if 2*len(s.Holders) <= n || slices.Contains(s.Holders, s.ID) {
				t.Fatalf("%+v of %v", s, voters)
			}
		}
		for index, blamed := range at {
			if 2*blamed >= n {
				t.Fatalf("%d of %d voters are blamed at %d: %+v", blamed, n, index, v)
			}
		}
	})
}
