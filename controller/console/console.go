// Package console answers what is asked at the HTTP door, from what the
// controller remembers, sees and would do.
package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/failover"
	"switchyard/controller/observer"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// Ledger is what is remembered, and who leads.
type Ledger interface {
	State() ledger.State
	IsLeader() bool
	Leader() (id string, ok bool)
	// Raft says this controller's raft state and term.
	Raft() (state string, term uint64)
}

// Observer is what this controller sees.
type Observer interface {
	Snapshot(cluster string, master topology.Key) topology.Snapshot
	Look(ctx context.Context, keys []topology.Key, fresh map[topology.Key]bool) topology.View
	Instances() []observer.InstancePicture
	Problems() []string
}

// Loop is what this controller would do, and does for operators.
type Loop interface {
	Explain(ctx context.Context, cluster string) (failover.Assessment, error)
	Last(cluster string) (failover.Assessment, bool)
	Problems() map[string]string
	Switchover(ctx context.Context, cluster string, to topology.Key, by string) (ledger.Recovery, error)
}

// Rejoiner says which servers could not be brought back, and why.
type Rejoiner interface{ Problems() []string }

// Receivers says how the proxies, or the Consuls, do.
type Receivers func() []Receiver

// Receiver is one party that follows a cluster's routes.
type Receiver struct {
	Name, Cluster string
	// Holds is true while it was last seen to follow Epoch and Revision.
	Holds    bool
	Epoch    routes.Epoch
	Revision uint64
	At       time.Time
	Problem  string
}

// Config is what the console is told at the start.
type Config struct {
	Self, Boot, Version string
	Controllers         []wire.Controller
	Policy              func(cluster string) policy.Cluster
	Now                 func() time.Time
	// Peers asks each controller what it is: leader, follower or unreachable, by
	// its id. Nil leaves those unknown that neither lead nor answer.
	Peers func(ctx context.Context) map[string]string
}

// peersTime is how long a status waits for the other controllers.
const peersTime = 500 * time.Millisecond

// Console implements the door's service.
type Console struct {
	cfg              Config
	ledger           Ledger
	observer         Observer
	loop             Loop
	rejoiner         Rejoiner
	proxies, consuls Receivers
}

// New returns a console.
func New(cfg Config, l Ledger, o Observer, loop Loop, r Rejoiner, proxies, consuls Receivers) *Console {
	return &Console{cfg: cfg, ledger: l, observer: o, loop: loop, rejoiner: r, proxies: proxies, consuls: consuls}
}

// Role implements adminapi.Leadership.
func (c *Console) Role() (leader bool, leaderID string) {
	id, _ := c.ledger.Leader()
	return c.ledger.IsLeader(), id
}

// Ready implements adminapi.Leadership.
func (c *Console) Ready() error {
	if _, ok := c.ledger.Leader(); !ok {
		return errors.New("no leader is known")
	}
	if c.ledger.State().Generation == 0 {
		return errors.New("the ledger is empty yet")
	}
	return nil
}

// Status implements adminapi.Pictures.
func (c *Console) Status(ctx context.Context) (wire.Status, error) {
	clusters, err := c.Clusters(ctx)
	if err != nil {
		return wire.Status{}, err
	}
	state, term := c.ledger.Raft()
	leader, _ := c.ledger.Leader()
	out := wire.Status{
		Controller: c.cfg.Self, Version: c.cfg.Version, State: state, Ledger: c.ledger.State().ID,
		Leader: leader, Term: term, Clusters: clusters,
		Proxies: c.receivers(c.proxies()), Consul: c.receivers(c.consuls()),
		Problems: slices.Concat(c.observer.Problems(), c.rejoiner.Problems()),
	}
	peers := c.peers(ctx)
	for _, peer := range c.cfg.Controllers {
		switch peer.ID {
		case leader:
			peer.State = "leader"
		case c.cfg.Self:
			peer.State = state
		default:
			peer.State = cmp.Or(peers[peer.ID], "unknown")
		}
		out.Controllers = append(out.Controllers, peer)
	}
	out.Problems = slices.AppendSeq(out.Problems, maps.Values(c.loop.Problems()))
	slices.Sort(out.Problems)
	return out, nil
}

func (c *Console) peers(ctx context.Context) map[string]string {
	if c.cfg.Peers == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, peersTime)
	defer cancel()
	return c.cfg.Peers(ctx)
}

// receivers compares what each holds with what it is to hold.
func (c *Console) receivers(in []Receiver) []wire.Receiver {
	state := c.ledger.State()
	out := make([]wire.Receiver, 0, len(in))
	for _, r := range in {
		want := state.Clusters[r.Cluster]
		out = append(out, wire.Receiver{
			Name: r.Name, Cluster: r.Cluster, Epoch: r.Epoch, Revision: r.Revision, At: r.At, Problem: r.Problem,
			Confirmed: r.Holds && r.Epoch == want.Epoch && r.Revision >= want.Revision,
		})
	}
	return out
}

// Clusters implements adminapi.Pictures.
func (c *Console) Clusters(context.Context) ([]wire.Cluster, error) {
	state := c.ledger.State()
	out := make([]wire.Cluster, 0, len(state.Clusters))
	for _, name := range slices.Sorted(maps.Keys(state.Clusters)) {
		k := state.Clusters[name]
		v := wire.Cluster{
			Name: name, Master: k.Master, Epoch: k.Epoch, Revision: k.Revision, Withdrawn: k.Withdrawn,
			Automatic: c.cfg.Policy(name).Recover, Recovery: k.Recovery, LastAutomatic: k.LastAutomatic,
		}
		// What was found of a former master says nothing of this one.
		if a, ok := c.loop.Last(name); ok && c.ledger.IsLeader() && a.Cluster.Master == k.Master {
			v.Finding = finding(a)
		}
		for _, i := range c.observer.Instances() {
			if i.Cluster != name {
				continue
			}
			v.Servers++
			if o := i.Seen; o.Reach == topology.ReachOK && o.Instance != nil {
				v.Reachable++
				if !o.Instance.ReadOnly {
					v.Writable++
				}
			}
		}
		if v.Writable > 1 {
			v.Problems = append(v.Problems, fmt.Sprintf("%d servers are writable", v.Writable))
		}
		out = append(out, v)
	}
	return out, nil
}

// Recoveries implements adminapi.History.
func (c *Console) Recoveries(_ context.Context, cluster string) ([]wire.Recovery, error) {
	out := []wire.Recovery{}
	for _, r := range c.ledger.State().Recoveries {
		if cluster == "" || r.Cluster == cluster {
			w := wire.NewRecovery(r, Phases(r))
			w.Steps = nil
			out = append(out, w)
		}
	}
	slices.SortFunc(out, func(a, b wire.Recovery) int {
		if n := b.StartedAt.Compare(a.StartedAt); n != 0 {
			return n
		}
		return b.Epoch.Compare(a.Epoch)
	})
	return out, nil
}

// Recovery implements adminapi.History.
func (c *Console) Recovery(_ context.Context, id string) (wire.Recovery, error) {
	r, ok := c.ledger.State().Recoveries[id]
	if !ok {
		return wire.Recovery{}, wire.NewError(wire.NotFound, fmt.Sprintf("there is no recovery %q", id),
			"see `switchyard recoveries` for those that are kept")
	}
	return wire.NewRecovery(r, Phases(r)), nil
}

// Witness implements adminapi.Witness: what this controller sees, by attempts
// begun after it was asked.
func (c *Console) Witness(ctx context.Context, req wire.WitnessRequest) (wire.WitnessReply, error) {
	wait := time.Duration(req.WaitMS) * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	fresh := map[topology.Key]bool{}
	if master := c.ledger.State().Clusters[req.Cluster].Master; !master.IsZero() {
		fresh[master] = true
	}
	view := c.observer.Look(ctx, req.Servers, fresh)
	return wire.WitnessReply{Witness: c.cfg.Self, Boot: c.cfg.Boot, View: view}, nil
}

func (c *Console) noCluster(name string) error {
	return wire.NewError(wire.NotFound, fmt.Sprintf("there is no cluster %q", name),
		"see `switchyard clusters` for those that are known")
}
