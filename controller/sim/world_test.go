package sim_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// cluster is the name of the one cluster.
const cluster = "shop"

// world is everything that the real code touches.
type world struct {
	*scheduler
	t            *testing.T
	cfg          config
	servers      []*server
	proxies      []*proxy
	controllers  []*controller
	dead         []*controller // processes that ended
	consul       consul
	raft         raft
	transactions []*transaction
	seqs         []uint64
	sessions     int
	// islands are sets of names that the rest cannot reach.
	islands []*island
	// apart are machines that cannot reach some others.
	apart []rift
	// severed are lanes between controllers.
	severed []*lanes
	// stays is the server that stays dead for good.
	stays   *server
	losing  int // how many faults make packets go missing now
	links   map[[2]string]time.Duration
	effects int
	armed   []*trap
	healed  bool
	ran     time.Duration // how long the story lasted
	// sidecars are those beside the servers, and books what controllers have on
	// their disks, in worlds with leases.
	sidecars []*sidecar
	books    map[string]*book
	check    *checker
	stats    *stats
}

// absence is when a server last could not be seen.
type absence struct {
	now bool
	at  time.Duration
}

type island struct{ names []string }

// trap is a fault that waits for a moment of a recovery.
type trap struct {
	effects int
	spring  func()
}

// config is what the seed says of a world.
type config struct {
	mariadb, semiSync bool
	waitFor           int
	servers, proxies  int
	antiFlap          time.Duration
	partition         policy.Partition
	// near and far are the usual latencies of a packet; deposing is how likely a
	// commit costs its leader the office, loss how many packets go missing while
	// a fault makes them.
	near, far time.Duration
	deposing  float64
	loss      float64
	adopted   bool
	faults    int
	// tiers: one server replicates from another replica; unlogged: one does not
	// log what it applies; rules are the operator's.
	tiers, unlogged bool
	rules           map[topology.Key]policy.Rule
	backlog         policy.Backlog
	repair          policy.SemiSyncRepair
	// sidecars stand beside all servers, and have what crashed ones wrote last.
	sidecars bool
	// leases: every server has a sidecar that it is tied to.
	leases bool
	mutant mutant
}

func configOf(rng *rand.Rand, m mutant) config {
	pick := func(values ...time.Duration) time.Duration { return values[rng.IntN(len(values))] }
	c := config{
		mariadb: rng.IntN(2) == 0, semiSync: rng.IntN(2) == 0, servers: 3 + rng.IntN(3), proxies: 1 + rng.IntN(2),
		antiFlap: pick(2*time.Second, 8*time.Second, 20*time.Second), partition: policy.PartitionHold,
		near: 100 * time.Microsecond, far: pick(time.Millisecond, 3*time.Millisecond, 12*time.Millisecond),
		loss: 0.02, adopted: rng.IntN(4) > 0, faults: 1 + rng.IntN(4), waitFor: 1, mutant: m,
	}
	if rng.IntN(3) == 0 {
		c.partition = policy.PartitionFailover
	}
	if rng.IntN(3) == 0 {
		c.deposing = 0.02
	}
	if c.servers >= 4 && rng.IntN(4) == 0 {
		c.waitFor = 2
	}
	c.tiers, c.unlogged = c.servers >= 4 && rng.IntN(3) == 0, rng.IntN(6) == 0
	c.rules = map[topology.Key]policy.Rule{}
	for n := range c.servers {
		if rng.IntN(8) == 0 {
			all := []policy.Rule{policy.Must, policy.Prefer, policy.PreferNot, policy.MustNot}
			c.rules[keyOf(n+1)] = all[rng.IntN(len(all))]
		}
	}
	c.backlog, c.repair = policy.BacklogDelay, []policy.SemiSyncRepair{
		policy.SemiSyncLeave, policy.SemiSyncEnough, policy.SemiSyncExact}[rng.IntN(3)]
	return c
}

func (c config) policy(string) policy.Cluster {
	p := policy.Cluster{
		Recover: true, Controllers: 3, AntiFlap: c.antiFlap, RestartGrace: 3 * time.Second,
		MinStall: 1500 * time.Millisecond, Partition: c.partition, SemiSync: policy.SemiSyncAuto, Proxies: c.proxies,
		RecoverIntermediate: true, Backlog: c.backlog, SemiSyncRepair: c.repair, Rules: c.rules, ReasonableLag: 10 * time.Second,
		LockedAfter: 5 * time.Second, LostDowntime: 30 * time.Second,
		SalvageTimeout: 2 * time.Second,
	}
	c.mutant.rules(&p)
	return p
}

// newWorld is a healthy cluster with three controllers, none of which leads yet.
func newWorld(t *testing.T, seed uint64, keep int, m mutant, st *stats) *world {
	w := &world{scheduler: newScheduler(seed, keep), t: t, links: map[[2]string]time.Duration{}, stats: st}
	w.cfg = configOf(w.rng, m)
	w.cfg.sidecars = seed%2 == 0
	w.cfg.leases = w.cfg.partition == policy.PartitionFailover && seed%3 != 0
	w.books = map[string]*book{}
	w.check = newChecker(w)
	for n := range w.cfg.servers {
		w.servers = append(w.servers, w.newServer(n+1))
	}
	m0 := w.servers[0]
	m0.readOnly, m0.semiSource = false, w.cfg.semiSync
	for _, s := range w.servers[1:] {
		s.semiAck = w.cfg.semiSync
		s.follow(m0)
	}
	last := w.servers[len(w.servers)-1]
	if w.cfg.tiers {
		last.follow(w.servers[1])
	}
	w.servers[2].unlogged = w.cfg.unlogged
	for n := range w.cfg.proxies {
		w.proxies = append(w.proxies, &proxy{w: w, name: []string{"p1", "p2"}[n], running: true})
	}
	state := must(ledger.State{}, ledger.Bootstrap{ID: "sim", Generation: 1})
	if w.cfg.adopted {
		state = must(state, ledger.AdoptMaster{Cluster: cluster, Master: m0.key, UUID: m0.uuid, At: time.Now()})
		var names []ledger.ServerName
		for _, s := range w.servers {
			names = append(names, ledger.ServerName{Key: s.key, UUID: s.uuid})
		}
		state = must(state, ledger.RememberServers{Cluster: cluster, Servers: names, At: time.Now()})
	}
	w.raft = raft{states: []ledger.State{state}}
	w.check.committed(ledger.State{}, state, ledger.Bootstrap{})
	for _, id := range []string{"c1", "c2", "c3"} {
		w.controllers = append(w.controllers, w.boot(id, nil))
	}
	if w.cfg.leases {
		for _, s := range w.servers {
			w.sidecars = append(w.sidecars, w.newSidecar(s))
		}
	}
	w.after(0, w.raftTurn)
	return w
}

func must(s ledger.State, cmd ledger.Command) ledger.State {
	next, _, err := ledger.Apply(s, cmd)
	if err != nil {
		panic(err)
	}
	return next
}

func (w *world) server(k topology.Key) *server { return w.byHost(k.Host) }

func (w *world) byHost(host string) *server {
	for _, s := range w.servers {
		if s.key.Host == host {
			return s
		}
	}
	return nil
}

// cut reports whether a packet from a does not reach b.
func (w *world) cut(a, b string) bool {
	for _, i := range w.islands {
		if slices.Contains(i.names, a) != slices.Contains(i.names, b) {
			return true
		}
	}
	return slices.ContainsFunc(w.apart, func(r rift) bool { return r.between(a, b) }) ||
		slices.ContainsFunc(w.severed, func(l *lanes) bool { return slices.Contains(l.cut, [2]string{a, b}) })
}

// latency is how long one packet takes.
func (w *world) latency() time.Duration {
	if w.chance(0.01) {
		return w.between(w.cfg.far, 60*time.Millisecond)
	}
	return w.between(w.cfg.near, w.cfg.far)
}

// lost reports whether a packet goes missing.
func (w *world) lost() bool { return w.losing > 0 && w.chance(w.cfg.loss) }

// inOrder is the latency of a packet that overtakes none sent before it.
func (w *world) inOrder(from, to string) time.Duration {
	at := max(w.now()+w.latency(), w.links[[2]string{from, to}]+2*time.Microsecond)
	w.links[[2]string{from, to}] = at
	return at - w.now()
}

// acted is told of every effect of a controller on the world.
func (w *world) acted(c *controller, what string) {
	w.effects++
	if w.raft.committed().Clusters[cluster].Recovery == "" {
		return
	}
	for _, t := range slices.Clone(w.armed) {
		t.effects--
		if t.effects == 0 {
			w.armed = slices.DeleteFunc(w.armed, func(o *trap) bool { return o == t })
			w.after(w.between(0, 3*time.Millisecond), t.spring)
		}
	}
}

// leader is who leads with a majority, or nil.
func (w *world) leader() *controller {
	for _, c := range w.controllers {
		if c.raft.office && w.rules(c) {
			return c
		}
	}
	return nil
}

// deposedDuring counts a change of leaders by the step that it interrupts.
func (w *world) deposedDuring() {
	c := w.raft.committed().Clusters[cluster]
	if c.Recovery == "" {
		w.stats.deposed["no recovery"]++
		return
	}
	last := "claim"
	if steps := w.raft.committed().Recoveries[c.Recovery].Steps; len(steps) > 0 {
		last = steps[len(steps)-1].Name
	}
	w.stats.deposed["after "+last]++
}

// master is the server that the ledger names; nil before it does.
func (w *world) master() *server {
	return w.server(w.raft.committed().Clusters[cluster].Master)
}

// refresh follows a change of who is alive or reaches whom.
func (w *world) refresh() {
	for _, s := range w.servers {
		flows := s.source != nil && s.alive() && s.source.alive() && !w.cut(s.key.Host, s.source.key.Host)
		if s.flowing && !flows {
			s.silent = w.now()
		}
		s.flowing = flows
		if flows {
			s.pump()
			s.connect()
		}
		s.apply()
		for _, c := range w.controllers {
			now := !s.alive() || s.hostDown || w.cut(c.id, s.key.Host)
			if was := s.lost[c.id]; now || was.now {
				s.lost[c.id] = absence{now: now, at: w.now()}
			}
		}
		unseen := w.unreachable(s)
		if unseen || s.unseen {
			s.disturbed = w.now()
			s.tainted = s.tainted || unseen && !s.unseen && s != w.master()
		}
		s.unseen = unseen
	}
}

// unreachable reports whether some controller cannot see s at this moment.
func (w *world) unreachable(s *server) bool {
	return !s.alive() || s.hostDown || slices.ContainsFunc(w.controllers, func(c *controller) bool { return w.cut(c.id, s.key.Host) })
}

// lastContact is when a receiver last heard of its source.
func (w *world) lastContact(s *server) time.Duration {
	if s.source != nil && s.alive() && s.source.alive() && !w.cut(s.key.Host, s.source.key.Host) {
		return w.now()
	}
	return max(s.silent, s.connectedAt)
}
