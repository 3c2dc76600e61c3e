package discovery_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"switchyard/controller/discovery"
	"switchyard/controller/topology"
)

// tree is a server with its source, a hint and whether it was ever seen.
type tree struct {
	key, source, hint string
	unseen, readOnly  bool
}

func servers(t fataler, list []tree) []topology.Server {
	t.Helper()
	var out []topology.Server
	for i, s := range list {
		server := topology.Server{Key: key(t, s.key)}
		if !s.unseen {
			server.Last = mysqlServer(fmt.Sprint("uuid-", i), "")
			server.Last.ServerID, server.Last.ClusterHint, server.Last.ReadOnly = uint32(i+1), s.hint, s.readOnly
		}
		if s.source != "" {
			server.Source = key(t, s.source)
			server.Last.Replication = &topology.Replication{Source: server.Source}
		}
		out = append(out, server)
	}
	return out
}

func TestAssign(t *testing.T) {
	main := []tree{{key: "db1.ams", hint: "asked"}, {key: "db2", source: "db1.ams", hint: "other"}, {key: "db3", source: "db2"}}
	pair := func(name string) []tree { return []tree{{key: name + "1"}, {key: name + "2", source: name + "1"}} }
	for _, tc := range []struct {
		what       string
		cfg        discovery.Config
		servers    []tree
		remembered map[string]string
		want       map[string]string
		problem    string
	}{
		{what: "the name that is configured for a server of it",
			cfg:     discovery.Config{Clusters: map[string][]topology.Key{"main": {key(t, "db3")}}},
			servers: main, want: map[string]string{"db1.ams": "main", "db2": "main", "db3": "main"}},
		{what: "the name that the ledger has",
			servers: main, remembered: map[string]string{"db2": "old-name"},
			want: map[string]string{"db1.ams": "old-name", "db2": "old-name", "db3": "old-name"}},
		{what: "the answer of the query on the master",
			cfg:     discovery.Config{ClusterPattern: `\.(\w+)$`},
			servers: main, want: map[string]string{"db1.ams": "asked", "db2": "asked", "db3": "asked"}},
		{what: "the pattern on the master's host",
			cfg:     discovery.Config{ClusterPattern: `\.(\w+)$`},
			servers: []tree{{key: "db1.ams"}, {key: "db2.fra", source: "db1.ams"}},
			want:    map[string]string{"db1.ams": "ams", "db2.fra": "ams"}},
		{what: "the master's host and port",
			cfg:     discovery.Config{ClusterPattern: `\.(\w+)$`},
			servers: []tree{{key: "[fe80::1]:3307"}, {key: "db2", source: "[fe80::1]:3307"}},
			want:    map[string]string{"[fe80::1]:3307": "fe80--1-3307", "db2": "fe80--1-3307"}},
		{what: "replicas of one master that was never seen are one cluster",
			servers: []tree{{key: "gone", unseen: true}, {key: "db2", source: "gone"}, {key: "db3", source: "gone"}},
			want:    map[string]string{"gone": "gone-3306", "db2": "gone-3306", "db3": "gone-3306"}},
		{what: "a ring is named after its writable master",
			servers: []tree{{key: "a", source: "b", readOnly: true}, {key: "b", source: "a"}},
			want:    map[string]string{"a": "b-3306", "b": "b-3306"}},
		{what: "a ring is not named after what hangs below it",
			servers: []tree{{key: "a", source: "c", readOnly: true}, {key: "b", source: "c"}, {key: "c", source: "a", readOnly: true}},
			want:    map[string]string{"a": "a-3306", "b": "a-3306", "c": "a-3306"}},
		{what: "a server that nobody saw is nothing", servers: []tree{{key: "seed", unseen: true}}, want: map[string]string{}},
		{what: "a bad answer is not used",
			servers: []tree{{key: "db1", hint: "a/b c"}, {key: "db2", source: "db1"}},
			want:    map[string]string{}, problem: `db1:3306: the cluster name query: cluster name "a/b c" contains '/'`},
		{what: "two names meet", servers: append(pair("x"), tree{key: "y1", source: "x1"}, tree{key: "y2", source: "y1"}),
			remembered: map[string]string{"x1": "x", "y1": "y"},
			want:       map[string]string{"x1": "x", "y1": "y"}, problem: "clusters x and y replicate from one another"},
		{what: "the ledger wins over the configuration", servers: pair("x"),
			cfg:        discovery.Config{Clusters: map[string][]topology.Key{"new": {key(t, "x1")}}},
			remembered: map[string]string{"x1": "old"},
			want:       map[string]string{"x1": "old", "x2": "old"}, problem: "in cluster old and the configuration in new"},
		{what: "parts of a cluster that were separated keep its name", servers: append(pair("x"), pair("y")...),
			remembered: map[string]string{"x1": "main", "y1": "main"},
			want:       map[string]string{"x1": "main", "x2": "main", "y1": "main", "y2": "main"}},
		{what: "two that come to one name get none",
			servers: []tree{{key: "a", hint: "same"}, {key: "b", hint: "same"}, {key: "c", hint: "own"}},
			want:    map[string]string{"c": "own"}, problem: "b:3306: its cluster would be called same"},
		{what: "a stranger does not join by its answer",
			servers:    []tree{{key: "a"}, {key: "b", hint: "main"}},
			remembered: map[string]string{"a": "main"},
			want:       map[string]string{"a": "main"}, problem: "b:3306: its cluster would be called main"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			n := namer(t, tc.cfg, dns{})
			remembered := map[topology.Key]string{}
			for k, name := range tc.remembered {
				remembered[key(t, k)] = name
			}
			got, problems := n.Assign(servers(t, tc.servers), remembered)
			want := map[topology.Key]string{}
			for k, name := range tc.want {
				want[key(t, k)] = name
			}
			if !maps.Equal(got, want) {
				t.Errorf("assigned %v, want %v", got, want)
			}
			found := slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, tc.problem) })
			if tc.problem == "" && len(problems) > 0 || tc.problem != "" && !found {
				t.Errorf("problems %q, want %q", problems, tc.problem)
			}
		})
	}
}

func TestSameServerIDInACluster(t *testing.T) {
	list := servers(t, []tree{{key: "a"}, {key: "b", source: "a"}, {key: "c"}})
	list[1].Last.ServerID, list[2].Last.ServerID = 1, 1
	_, problems := namer(t, discovery.Config{}, dns{}).Assign(list, nil)
	want := "a:3306 and b:3306 have the same server_id 1 in cluster a-3306: give each its own"
	if !slices.Equal(problems, []string{want}) {
		t.Errorf("problems %q, want only %q", problems, want)
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "A-b_c.9", strings.Repeat("x", 64)} {
		if err := discovery.CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "a b", "a/b", "ä", ".", "..", strings.Repeat("x", 65), "a\n"} {
		if err := discovery.CheckName(name); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
}

func TestAssignLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := namer(t, discovery.Config{}, dns{})
		count := rapid.IntRange(1, 12).Draw(t, "servers")
		name := func(i int) string { return fmt.Sprintf("s%d", i) }
		var list []tree
		remembered := map[topology.Key]string{}
		for i := range count {
			s := tree{key: name(i), hint: rapid.SampledFrom([]string{"", "h1", "bad name"}).Draw(t, "hint")}
			if j := rapid.IntRange(-1, count-1).Draw(t, "source"); j >= 0 {
				s.source = name(j)
			}
			list = append(list, s)
			if r := rapid.SampledFrom([]string{"", "", "r1", "r2"}).Draw(t, "remembered"); r != "" {
				remembered[key(t, name(i))] = r
			}
		}
		all := servers(t, list)
		got, problems := n.Assign(all, remembered)
		shuffled, again := n.Assign(rapid.Permutation(all).Draw(t, "order"), remembered)
		if !maps.Equal(got, shuffled) || !slices.Equal(problems, again) {
			t.Fatalf("the order matters: %v %q, %v %q", got, problems, shuffled, again)
		}
		for k, r := range remembered {
			if got[k] != r {
				t.Fatalf("%s is in %q, the ledger has it in %q", k, got[k], r)
			}
		}
		for _, s := range all {
			if name, ok := got[s.Key]; ok && discovery.CheckName(name) != nil {
				t.Fatalf("%s is in a cluster with the bad name %q", s.Key, name)
			}
			mine, theirs := got[s.Key], got[s.Source]
			if !s.Source.IsZero() && mine != "" && theirs != "" && mine != theirs && remembered[s.Key] != mine {
				t.Fatalf("%s is in %s by nobody's word, and its source in %s", s.Key, mine, theirs)
			}
		}
	})
}
