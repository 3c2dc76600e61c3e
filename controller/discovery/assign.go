package discovery

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"switchyard/controller/topology"
)

// Assign says which cluster each server belongs to. Servers joined by
// replication are one cluster. It has the name that the ledger (remembered)
// or the configuration gives to one of its servers; else what the operator's
// query answered on its master; else what the pattern takes from the master's
// host; else one made from the master's host and port. Where two names meet,
// each named server keeps its own, and the others none. The second result is
// what is wrong, a sentence each.
func (n *Namer) Assign(servers []topology.Server, remembered map[topology.Key]string) (
	map[topology.Key]string, []string,
) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := assignment{of: map[topology.Key]string{}, own: map[topology.Key]string{}, holds: map[string]bool{}}
	for _, remark := range n.remarks {
		a.problems = append(a.problems, remark)
	}
	for key, name := range n.rules.clusters {
		a.own[n.resolve(key)] = name
	}
	for key, name := range remembered {
		key = n.resolve(normalise(key))
		if configured, ok := a.own[key]; ok && configured != name {
			a.problem("%s: the ledger has it in cluster %s and the configuration in %s: the ledger's holds",
				key, name, configured)
		}
		a.own[key] = name
	}
	var nameless [][]topology.Server
	for _, component := range components(servers) {
		if !a.byOwnNames(component) {
			nameless = append(nameless, component)
		}
	}
	a.derive(nameless, n.rules)
	a.twins(servers)
	slices.Sort(a.problems)
	return a.of, slices.Compact(a.problems)
}

type assignment struct {
	of, own  map[topology.Key]string
	holds    map[string]bool // names that the ledger or the configuration has given
	problems []string
}

func (a *assignment) problem(format string, args ...any) {
	a.problems = append(a.problems, fmt.Sprintf(format, args...))
}

// byOwnNames assigns a component by the names that its servers were given, and
// reports whether there was any.
func (a *assignment) byOwnNames(component []topology.Server) bool {
	var names []string
	for _, s := range component {
		if name, ok := a.own[s.Key]; ok {
			names = append(names, name)
			a.holds[name] = true
			a.of[s.Key] = name
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	switch len(names) {
	case 0:
		return false
	case 1:
		for _, s := range component {
			a.of[s.Key] = names[0]
		}
	default:
		a.problem("servers of the clusters %s replicate from one another: separate them, or give them one name; "+
			"until then only the servers known by name are in a cluster", strings.Join(names, " and "))
	}
	return true
}

// derive names the components whose servers were given no name. Two that come
// to the same name are not one cluster, so neither gets it.
func (a *assignment) derive(nameless [][]topology.Server, r rules) {
	claims := map[string][][]topology.Server{}
	for _, component := range nameless {
		master, seen := masterOf(component)
		if !seen {
			continue
		}
		name, from := deriveName(master, component, r)
		if err := CheckName(name); err != nil {
			a.problem("%s: %s: %v: the cluster of %s stays without a name", master.Key, from, err, master.Key)
			continue
		}
		claims[name] = append(claims[name], component)
	}
	for name, components := range claims {
		if len(components) > 1 || a.holds[name] {
			for _, component := range components {
				master, _ := masterOf(component)
				a.problem("%s: its cluster would be called %s, as is another that it is not connected to: "+
					"it stays without a name", master.Key, name)
			}
			continue
		}
		for _, s := range components[0] {
			a.of[s.Key] = name
		}
	}
}

func deriveName(master topology.Server, component []topology.Server, r rules) (name, from string) {
	hint := ""
	if master.Last != nil {
		hint = master.Last.ClusterHint
	} else if i := slices.IndexFunc(component, func(s topology.Server) bool { return s.Last != nil }); i >= 0 {
		hint = component[i].Last.ClusterHint
	}
	if hint != "" {
		return hint, "the cluster name query"
	}
	if r.clusterPattern != nil {
		if m := r.clusterPattern.FindStringSubmatch(master.Key.Host); m != nil && m[1] != "" {
			return m[1], "the cluster pattern"
		}
	}
	return nameAfter(master.Key), "its host and port"
}

// nameAfter makes a legal name of a key. What had to be cut off is told apart
// by a hash.
func nameAfter(k topology.Key) string {
	name := strings.Map(func(r rune) rune {
		if CheckName("x"+string(r)) != nil {
			return '-'
		}
		return r
	}, fmt.Sprintf("%s-%d", k.Host, k.Port))
	if len(name) > 64 {
		h := fnv.New32a()
		h.Write([]byte(k.String())) // a hash's Write returns no error
		name = fmt.Sprintf("%s-%08x", name[:55], h.Sum32())
	}
	return name
}

// masterOf returns the server at the top of a component: one that replicates
// from nobody in it, a writable one and one that was seen first. Where there is
// a ring it is chosen among that. Without any server that was ever seen there is
// none.
func masterOf(component []topology.Server) (topology.Server, bool) {
	in := map[topology.Key]bool{}
	seen := false
	for _, s := range component {
		in[s.Key] = true
		seen = seen || s.Last != nil
	}
	if !seen {
		return topology.Server{}, false
	}
	sources := map[topology.Key]topology.Key{}
	for _, s := range component {
		if in[s.Source] && s.Source != s.Key {
			sources[s.Key] = s.Source
		}
	}
	rank := func(s topology.Server) int {
		rank := 0
		if _, replica := sources[s.Key]; replica && !inRing(s.Key, sources) {
			rank += 4
		}
		if s.Last == nil {
			rank += 2
		}
		if s.Last == nil || s.Last.ReadOnly {
			rank++
		}
		return rank
	}
	return slices.MinFunc(component, func(x, y topology.Server) int { return rank(x) - rank(y) }), true
}

// inRing reports whether who follows the sources from k comes back to it.
func inRing(k topology.Key, sources map[topology.Key]topology.Key) bool {
	at := sources[k]
	for range len(sources) {
		if at == k {
			return true
		}
		at = sources[at]
	}
	return false
}

// components groups servers that are joined by replication, in order.
func components(servers []topology.Server) [][]topology.Server {
	parent := make(map[topology.Key]topology.Key, len(servers))
	for _, s := range servers {
		parent[s.Key] = s.Key
	}
	find := func(k topology.Key) topology.Key {
		for parent[k] != k {
			parent[k] = parent[parent[k]]
			k = parent[k]
		}
		return k
	}
	for _, s := range servers {
		if _, ok := parent[s.Source]; ok {
			parent[find(s.Key)] = find(s.Source)
		}
	}
	sorted := slices.Clone(servers)
	slices.SortFunc(sorted, func(x, y topology.Server) int { return x.Key.Compare(y.Key) })
	index := map[topology.Key]int{}
	var out [][]topology.Server
	for _, s := range sorted {
		root := find(s.Key)
		i, ok := index[root]
		if !ok {
			i = len(out)
			index[root] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], s)
	}
	return out
}

// twins reports servers that share what must be their own.
func (a *assignment) twins(servers []topology.Server) {
	uuids, ids := map[string][]string{}, map[string][]string{}
	for _, s := range servers {
		if s.Last == nil {
			continue
		}
		if s.Last.UUID != "" {
			uuids[s.Last.UUID] = append(uuids[s.Last.UUID], s.Key.String())
		}
		if name, ok := a.of[s.Key]; ok {
			id := fmt.Sprintf("server_id %d in cluster %s", s.Last.ServerID, name)
			ids[id] = append(ids[id], s.Key.String())
		}
	}
	for uuid, keys := range uuids {
		if len(keys) > 1 {
			slices.Sort(keys)
			a.problem("%s have the same server_uuid %s: remove auto.cnf from the copies' data directories and restart them",
				strings.Join(keys, " and "), uuid)
		}
	}
	for id, keys := range ids {
		if len(keys) > 1 {
			slices.Sort(keys)
			a.problem("%s have the same %s: give each its own", strings.Join(keys, " and "), id)
		}
	}
}
