package observer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"switchyard/controller/topology"
)

// Root is a server of a cluster that replicates from none of its servers.
type Root struct {
	Key topology.Key
	// Reachable is whether it answered the last attempt, and Writable whether
	// it then took writes.
	Reachable bool
	Writable  bool
	// Source is whom it claims to replicate from, where that is a server which
	// nobody knows; zero for none.
	Source topology.Key
}

// ClusterPicture is what was found of one cluster.
type ClusterPicture struct {
	Name string
	// Servers are those that were ever seen, or that the ledger remembers.
	Servers []topology.Key
	// Roots are those among them that could be its master.
	Roots []Root
	// Ring are those that replicate from one another in a circle, in order: each
	// replicates from the one after it, and the last from the first. Two are
	// co-masters. Where there are several circles, they follow one another.
	Ring []topology.Key
	// RingWritable are those of the ring that answered the last attempt and then
	// took writes.
	RingWritable []topology.Key
	// UUIDs has the @@server_uuid of each server that has one.
	UUIDs map[topology.Key]string
}

// InstancePicture is what is known of one server.
type InstancePicture struct {
	topology.Server
	// Cluster is empty for a server that belongs to none.
	Cluster string
	// Seen is the last attempt; its Begun is zero where there was none yet.
	Seen topology.Observation
	// Age is how long ago Last was read; 0 without one.
	Age time.Duration
}

// Snapshot returns the picture of one cluster as it was last seen by this
// observer. master is whom the ledger names.
func (o *Observer) Snapshot(cluster string, master topology.Key) topology.Snapshot {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	snapshot := topology.Snapshot{
		Cluster: cluster, Master: master, At: now, Taker: o.cfg.ID, Servers: map[topology.Key]topology.Server{},
	}
	view := topology.View{Observer: o.cfg.ID, At: now, Observations: map[topology.Key]topology.Observation{}}
	of, _ := o.assigned()
	for _, s := range o.servers {
		if of[s.key] != cluster || !s.counts() {
			continue
		}
		snapshot.Servers[s.key] = o.picture(s)
		if !s.seen.Begun.IsZero() {
			view.Observations[s.key] = s.observation(now)
		}
	}
	if _, known := snapshot.Servers[master]; !known && !master.IsZero() {
		snapshot.Servers[master] = topology.Server{Key: master}
	}
	snapshot.Views = []topology.View{view}
	return snapshot
}

// counts reports whether s is a server of its cluster and not merely a name.
func (s *server) counts() bool { return s.last != nil || s.remembered != "" }

// picture is s as others may see it; a source that nobody knows is left out.
func (o *Observer) picture(s *server) topology.Server {
	out := topology.Server{Key: s.key, Last: s.last, LastSeen: s.lastSeen}
	if source := o.servers[o.sourceOf(s)]; source != nil && source.counts() {
		out.Source = source.key
	}
	return out
}

// sourceOf returns the canonical name of the server from which s replicates by
// its last picture; zero for none. A name under which nobody was ever seen is
// looked up by the server_uuid that the replica noted.
func (o *Observer) sourceOf(s *server) topology.Key {
	if s.last == nil || s.last.Replication == nil {
		return topology.Key{}
	}
	r := s.last.Replication
	key, _ := o.namer.Resolve(r.Source)
	if named := o.servers[key]; r.SourceUUID == "" || named != nil && named.counts() {
		return key
	}
	var found []topology.Key
	for _, other := range o.servers {
		if other.last != nil && other.last.UUID == r.SourceUUID {
			found = append(found, other.key)
		}
	}
	if len(found) == 1 {
		return found[0]
	}
	return key
}

// assigned returns the cluster of each server, and what is wrong with that.
func (o *Observer) assigned() (map[topology.Key]string, []string) {
	if o.clusters != nil {
		return o.clusters, o.remarks
	}
	servers := make([]topology.Server, 0, len(o.servers))
	remembered := map[topology.Key]string{}
	for _, s := range o.servers {
		servers = append(servers, topology.Server{
			Key: s.key, Last: s.last, LastSeen: s.lastSeen, Source: o.sourceOf(s),
		})
		if s.remembered != "" {
			remembered[s.key] = s.remembered
		}
	}
	o.clusters, o.remarks = o.namer.Assign(servers, remembered)
	if o.clusters == nil {
		o.clusters = map[topology.Key]string{}
	}
	return o.clusters, o.remarks
}

// Clusters returns what was found, by name.
func (o *Observer) Clusters() []ClusterPicture {
	o.mu.Lock()
	defer o.mu.Unlock()
	of, _ := o.assigned()
	found := map[string]*ClusterPicture{}
	for _, key := range o.keys() {
		s := o.servers[key]
		name := of[key]
		if name == "" || !s.counts() {
			continue
		}
		c := found[name]
		if c == nil {
			c = &ClusterPicture{Name: name, UUIDs: map[topology.Key]string{}}
			found[name] = c
		}
		c.Servers = append(c.Servers, key)
		if s.last != nil && s.last.UUID != "" {
			c.UUIDs[key] = s.last.UUID
		}
		if root, ok := o.rootOf(s); ok {
			c.Roots = append(c.Roots, root)
		}
	}
	out := make([]ClusterPicture, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		c := found[name]
		c.Ring = o.ring(c.Servers)
		for _, key := range c.Ring {
			if o.servers[key].writable() {
				c.RingWritable = append(c.RingWritable, key)
			}
		}
		out = append(out, *c)
	}
	return out
}

// ring returns the circles among servers. Each server has one source at most, so
// whoever follows the sources ends at a root, or goes in a circle.
func (o *Observer) ring(servers []topology.Key) []topology.Key {
	var ring []topology.Key
	done := map[topology.Key]bool{}
	for _, start := range servers {
		var path []topology.Key
		key := start
		for !key.IsZero() && !done[key] {
			done[key] = true
			path = append(path, key)
			s := o.servers[key]
			if s == nil {
				break
			}
			key = o.picture(s).Source
		}
		if n := slices.Index(path, key); n >= 0 {
			ring = append(ring, path[n:]...)
		}
	}
	return ring
}

// writable reports whether s answered the last attempt, and then took writes.
func (s *server) writable() bool {
	return s.seen.Reach == topology.ReachOK && s.last != nil && !s.last.ReadOnly && !s.last.SuperReadOnly
}

func (o *Observer) rootOf(s *server) (Root, bool) {
	if s.last == nil || !o.picture(s).Source.IsZero() {
		return Root{}, false
	}
	root := Root{Key: s.key, Reachable: s.seen.Reach == topology.ReachOK}
	root.Writable = s.writable()
	if s.last.Replication != nil {
		root.Source = s.last.Replication.Source
	}
	return root, true
}

// Instances returns every server that is watched, in order.
func (o *Observer) Instances() []InstancePicture {
	o.mu.Lock()
	defer o.mu.Unlock()
	of, _ := o.assigned()
	now := o.now()
	out := make([]InstancePicture, 0, len(o.servers))
	for _, key := range o.keys() {
		s := o.servers[key]
		p := InstancePicture{Server: o.picture(s), Cluster: of[key], Seen: s.observation(now)}
		if s.last != nil {
			p.Age = max(0, now.Sub(s.lastSeen))
		}
		out = append(out, p)
	}
	return out
}

// Problems returns what the operator should look at, a sentence each, in order.
func (o *Observer) Problems() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, remarks := o.assigned()
	out := slices.Clone(remarks)
	if o.crowded {
		out = append(out, fmt.Sprintf("more than %d servers were found: the others are not watched", o.cfg.MaxServers))
	}
	replicasOf := map[topology.Key][]string{}
	for _, key := range o.keys() {
		if source := o.sourceOf(o.servers[key]); !source.IsZero() {
			replicasOf[source] = append(replicasOf[source], key.String())
		}
	}
	for _, key := range o.keys() {
		out = append(out, o.servers[key].problems(replicasOf[key], o.now())...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (s *server) problems(replicas []string, now time.Time) []string {
	var out []string
	if s.failures > 0 {
		failure := fmt.Sprintf("%s: %s: %s", s.key, s.seen.Reach, s.seen.Error)
		if s.last == nil && s.remembered == "" && len(replicas) > 0 {
			failure = fmt.Sprintf("%s replicates from %s, which is unknown and cannot be seen: %s: %s",
				strings.Join(replicas, " and "), s.key, s.seen.Reach, s.seen.Error)
		}
		out = append(out, failure)
	} else if s.last != nil {
		for _, remark := range s.last.Problems {
			out = append(out, fmt.Sprintf("%s: %s", s.key, remark))
		}
	}
	if s.masterOf != "" && s.unarmed.why != "" && now.Sub(s.unarmed.since) > unarmedLimit {
		out = append(out, fmt.Sprintf("%s: no tripwire on this master: %s", s.key, s.unarmed.why))
	}
	if s.masterOf != "" && s.writing.why != "" && s.seen.Reach == topology.ReachOK && s.last != nil && !s.last.ReadOnly {
		out = append(out, fmt.Sprintf("%s: no write can be tried on this master: %s", s.key, s.writing.why))
	}
	return out
}

func (o *Observer) keys() []topology.Key {
	return slices.SortedFunc(maps.Keys(o.servers), topology.Key.Compare)
}
