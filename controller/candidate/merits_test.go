package candidate

import (
	"testing"

	"pgregory.net/rapid"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// The comparison is antisymmetric and transitive, and equal only to itself.
func TestMeritsAreAStrictOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := field{version: version{10, 11}, format: 2, old: &topology.Instance{DataCenter: "0", Region: "0"}}
		draw := func(host string) merits {
			some := func(name string, words ...string) string { return rapid.SampledFrom(words).Draw(t, name) }
			i := &topology.Instance{
				Key: topology.Key{Host: host, Port: 1}, DataCenter: some("dc", "0", "1"), Region: some("region", "0", "1"),
				Version: some("version", "10.11.1", "11.4.2"), BinlogFormat: some("format", "ROW", "STATEMENT", ""),
				Workers: rapid.IntRange(0, 2).Draw(t, "workers"), KeepsOrder: rapid.Bool().Draw(t, "order"),
			}
			f.policy = policy.Cluster{Rules: map[topology.Key]policy.Rule{i.Key: policy.Rule(some("rule", "must", "prefer_not"))}}
			if rapid.Bool().Draw(t, "via") {
				return f.merits(i, i)
			}
			return f.merits(i, nil)
		}
		a, b, c := draw("a"), draw("b"), draw("c")
		if a.compare(a) != 0 || a.compare(b) == 0 || a.compare(b) != -b.compare(a) {
			t.Fatalf("%v and %v: %d and %d", a, b, a.compare(b), b.compare(a))
		}
		if a.compare(b) < 0 && b.compare(c) < 0 && a.compare(c) >= 0 {
			t.Fatalf("%v before %v before %v, and not before it", a, b, c)
		}
		if len(a.numbers) != len(b.numbers) {
			t.Fatalf("%v and %v are measured differently", a, b)
		}
	})
}

func TestVersions(t *testing.T) {
	for text, want := range map[string]version{
		"8.0.36": {8, 0}, "10.11.6-MariaDB-log": {10, 11}, "9.7": {9, 7}, "8.4-rc": {8, 4}, "": {}, "x.y": {}, "5": {},
	} {
		if got := versionOf(&topology.Instance{Version: text}); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}
