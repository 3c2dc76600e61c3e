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
	// Propose commits a command. Beside ErrNotLeader and ErrUnknownOutcome its
	// error may be a *ledger.Rejection.
	Propose(ctx context.Context, cmd ledger.Command) error
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
	Switchover(ctx context.Context, cluster string, to topology.Key, by, reason string) (ledger.Recovery, error)
	Actor
}

// Rejoiner says which servers could not be brought back, and why.
type Rejoiner interface{ Problems() []string }

// Receivers says how the proxies, or the Consuls, do.
type Receivers func() []Receiver

// Receiver is one party that follows a cluster's routes.
type Receiver struct {
	Name, Cluster string
	// Kind is what a proxy is: haproxy or proxysql.
	Kind string
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
	// Controllers are those that there are, now.
	Controllers func() []wire.Controller
	Policy      func(cluster string) policy.Cluster
	Now         func() time.Time
	// Peers asks each controller what it is: leader, follower or unreachable, by
	// its id. Nil leaves those unknown that neither lead nor answer.
	Peers func(ctx context.Context) map[string]string
	// Members is this controller's part in raft, and Voice asks another one, by its
	// id, for its own. Without them there is no account of the controllers.
	Members Members
	Voice   func(ctx context.Context, id string) (wire.Voice, error)
	// Miscounts are the database sidecars that count other controllers than there
	// are, a sentence each. It may be nil.
	Miscounts func() []string
	// Backup makes a backup of the ledger; nil where there is none.
	Backup func(ctx context.Context, local bool) ([]byte, error)
	// Fleet is what is known of each proxy, without what the ledger wants of it;
	// nil where there is none.
	Fleet func() []wire.Proxy
	// Directories are the datacenters' key-value stores; nil where there is none.
	Directories Directories
	// Sidecar is what is known of the sidecar beside a server, nil where none is
	// configured. It may be nil itself.
	Sidecar func(server topology.Key) *wire.DatabaseSidecar
}

// sidecar is the one beside a server, or nil.
func (c *Console) sidecar(server topology.Key) *wire.DatabaseSidecar {
	if c.cfg.Sidecar == nil {
		return nil
	}
	return c.cfg.Sidecar(server)
}

// promise says what is wrong with the lease of a cluster's master: nothing where
// no server of the cluster has a sidecar, or where it can be counted on.
func (c *Console) promise(state ledger.State, k ledger.Cluster) string {
	some := false
	for key, srv := range state.Servers {
		some = some || srv.Cluster == k.Name && c.sidecar(key) != nil
	}
	s := c.sidecar(k.Master)
	switch {
	case !some:
		return ""
	case s == nil:
		return fmt.Sprintf("the master %s has no sidecar, as other servers have: nothing stops it where it is cut off", k.Master)
	case s.NoPromise != "":
		return fmt.Sprintf("nothing promises that the master %s is stopped where it is cut off: its sidecar: %s", k.Master, s.NoPromise)
	}
	return ""
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
	if c.cfg.Members != nil && c.cfg.Members.Outside() != "" {
		return errors.New(c.cfg.Members.Outside())
	}
	if _, ok := c.ledger.Leader(); !ok {
		return errors.New("no leader is known")
	}
	if c.ledger.State().Generation == 0 {
		return errors.New("the ledger is empty yet")
	}
	if c.cfg.Members != nil {
		if aside := c.cfg.Members.Aside(); aside != "" {
			return errors.New("this controller stands aside: " + aside)
		}
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
	for _, peer := range c.cfg.Controllers() {
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
	out.Pauses = pauses(c.ledger.State())
	if c.cfg.Members != nil && c.cfg.Members.Outside() != "" {
		out.Problems = append(out.Problems, c.cfg.Members.Outside())
	}
	if c.cfg.Miscounts != nil {
		out.Problems = append(out.Problems, c.cfg.Miscounts()...)
	}
	out.Down = downs(c.ledger.State(), c.cfg.Now())
	if where := c.misplaced(leader); where != "" {
		out.Problems = append(out.Problems, where)
	}
	unadopted := c.loop.Problems()
	for name, held := range c.ledger.State().Held {
		if _, said := unadopted[name]; !said {
			out.Problems = append(out.Problems, held.Aside())
		}
	}
	out.Problems = slices.AppendSeq(out.Problems, maps.Values(unadopted))
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
			Name: r.Name, Kind: r.Kind, Cluster: r.Cluster, Epoch: r.Epoch, Revision: r.Revision, At: r.At, Problem: r.Problem,
			Confirmed: r.Holds && r.Epoch == want.Epoch && r.Revision >= want.WriterSince(),
		})
	}
	return out
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
		return wire.Recovery{}, noRecovery(id)
	}
	return wire.NewRecovery(r, Phases(r)), nil
}

// Witness implements adminapi.Witness: what this controller sees, by attempts
// begun after it was asked.
func (c *Console) Witness(ctx context.Context, req wire.WitnessRequest) (wire.WitnessReply, error) {
	if c.cfg.Members != nil && c.cfg.Members.Aside() != "" {
		return wire.WitnessReply{}, wire.NewError(wire.Unavailable, "this controller stands aside and gives no account: "+c.cfg.Members.Aside(), "")
	}
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
	if held, ok := c.ledger.State().Held[name]; ok {
		return wire.NewError(wire.Conflict, held.Aside(),
			"`switchyard status` says what it waits for; `switchyard adopt "+name+"` ends it")
	}
	return wire.NewError(wire.NotFound, fmt.Sprintf("there is no cluster %q", name),
		"see `switchyard clusters` for those that are known")
}
