// Package rejoin tends the servers of a cluster that are not where they
// belong: a deposed master that came back is fenced, compared, and made a
// replica or quarantined; a replica that still follows a deposed master is
// repointed.
package rejoin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"switchyard/controller/executor"
	"switchyard/controller/plan"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Ledger is what is remembered.
type Ledger interface {
	State() ledger.State
	Propose(ctx context.Context, cmd ledger.Command) error
	VerifyLeader(ctx context.Context) error
}

// Looker makes observations that begin after the call.
type Looker interface {
	Look(ctx context.Context, keys []topology.Key, fresh map[topology.Key]bool) topology.View
}

// Config is the rejoiner's settings.
type Config struct {
	// SemiSync says whether a cluster's replicas acknowledge.
	SemiSync func(cluster string) bool
	// Address is where a server can be connected to.
	Address func(k topology.Key) topology.Key
	Now     func() time.Time
}

// Rejoiner brings servers back. Between two turns it keeps only what it could
// not do.
type Rejoiner struct {
	cfg    Config
	ledger Ledger
	looker Looker
	hands  executor.Hands
	log    *slog.Logger

	mu sync.Mutex
	// stuck says why servers could not be brought back when last tried.
	stuck map[topology.Key]trouble
}

type trouble struct {
	why string
	at  time.Time
}

// forgetAfter is how long what could not be done is told of. It is tried again
// more often than that, unless another controller leads by now or somebody else
// has put the server right.
const forgetAfter = 30 * time.Second

// New returns a rejoiner.
func New(cfg Config, l Ledger, looker Looker, hands executor.Hands, log *slog.Logger) *Rejoiner {
	return &Rejoiner{cfg: cfg, ledger: l, looker: looker, hands: hands, log: log, stuck: map[topology.Key]trouble{}}
}

// Problems says, in order, which servers could not be brought back, and why.
func (r *Rejoiner) Problems() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, t := range r.stuck {
		if r.cfg.Now().Sub(t.at) < forgetAfter {
			out = append(out, t.why)
		}
	}
	slices.Sort(out)
	return out
}

// note remembers how the last attempt on a server ended.
func (r *Rejoiner) note(k topology.Key, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.stuck, k)
	if err != nil {
		r.stuck[k] = trouble{why: err.Error(), at: r.cfg.Now()}
	}
	return err
}

// Wanted returns, in order, the servers of c that a turn should look at.
func Wanted(s ledger.State, c ledger.Cluster) (deposed, members []topology.Key) {
	for k, srv := range s.Servers {
		switch {
		case srv.Cluster != c.Name || k == c.Master:
		case srv.Standing == ledger.Member:
			members = append(members, k)
		default:
			deposed = append(deposed, k)
		}
	}
	slices.SortFunc(deposed, topology.Key.Compare)
	slices.SortFunc(members, topology.Key.Compare)
	return deposed, members
}

// Deposed tends the servers that are not in good standing. It looks at them
// anew, so that one that thaws is fenced before its next periodic probe.
func (r *Rejoiner) Deposed(ctx context.Context, c ledger.Cluster) error {
	deposed, _ := Wanted(r.ledger.State(), c)
	if len(deposed) == 0 {
		return nil
	}
	// In this order: what the master has is read after what they have.
	theirs := r.looker.Look(ctx, deposed, nil)
	var all []error
	for _, k := range deposed {
		o := theirs.Observations[k]
		if o.Instance == nil {
			continue
		}
		all = append(all, r.note(k, r.tend(ctx, c, k, o.Instance)))
	}
	return errors.Join(all...)
}

// Strays repoints members whose source is a server that was deposed, and those
// that the last recovery lost, and ends the downtime of those that were lost once
// they follow the master again. It also puts the master's semi-sync right, where a
// recovery had to do with fewer acknowledgements than are wanted. Who was detached,
// or is in somebody's downtime, is left alone.
func (r *Rejoiner) Strays(ctx context.Context, c ledger.Cluster, snap topology.Snapshot) error {
	state := r.ledger.State()
	deposed, members := Wanted(state, c)
	lost := lostBy(state, c)
	all := []error{r.restoreSemiSync(ctx, c, snap)}
	for _, k := range members {
		srv := snap.Servers[k]
		o, ok := snap.Sight(k)
		if !ok || o.Instance == nil || srv.Last == nil || r.waits(state, k) {
			continue
		}
		inDowntime := state.Downtimes[k].Reason == ledger.LostInRecovery
		if inDowntime && srv.Source == c.Master && runs(o.Instance.Replication) {
			all = append(all, r.found(ctx, c, k))
			continue
		}
		stray := o.Instance.Replication != nil && srv.Source != c.Master &&
			(slices.Contains(deposed, srv.Source) || slices.Contains(lost, k) || inDowntime)
		if stray {
			all = append(all, r.note(k, r.tend(ctx, c, k, o.Instance)))
		}
	}
	return errors.Join(all...)
}

// waits reports whether a server is to be left where it is: somebody detached it,
// or has it in downtime for a reason of his own.
func (r *Rejoiner) waits(s ledger.State, k topology.Key) bool {
	d, ok := s.Downtimes[k]
	given := ok && d.Active(r.cfg.Now()) && d.Reason != ledger.LostInRecovery
	return given || !s.Servers[k].DetachedFrom.IsZero()
}

func runs(i *topology.Replication) bool {
	return i != nil && i.IO == topology.ThreadRunning && i.SQL == topology.ThreadRunning
}

// found ends the downtime of a server that was lost and follows the master again.
func (r *Rejoiner) found(ctx context.Context, c ledger.Cluster, k topology.Key) error {
	r.log.Info("a lost server follows the master again", "cluster", c.Name, "instance", k.String())
	return r.ledger.Propose(ctx, ledger.EndDowntime{
		Server: k, By: executor.Owner, Reason: "it follows the master again", At: r.cfg.Now(),
	})
}

// tend fences one server, and rejoins it if it holds nothing extra. One that is to
// be left alone is fenced all the same where it may be writable.
func (r *Rejoiner) tend(ctx context.Context, c ledger.Cluster, k topology.Key, i *topology.Instance) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	state := r.ledger.State()
	standing, waits := state.Servers[k].Standing, r.waits(state, k)
	if closed(i) && (waits || standing == ledger.Quarantined && !r.cured(ctx, c, i)) {
		return nil
	}
	lead := func(ctx context.Context) error { return executor.LeadAt(ctx, r.ledger, c.Name, c.Epoch) }
	if err := lead(ctx); err != nil {
		return fmt.Errorf("rejoin %s: %w", k, err)
	}
	session, err := r.hands.Open(ctx, r.cfg.Address(k))
	if err != nil {
		return fmt.Errorf("rejoin %s: %w", k, err)
	}
	defer func() { _ = session.Close() }()
	session = executor.Guard(session, lead)
	if !i.ReadOnly {
		r.log.Warn("a deposed master is writable: fencing it", "cluster", c.Name, "instance", k.String())
	}
	// Also where it is read-only already: clients that pass that may be left, and
	// what waits for an acknowledgement must not get one when it becomes a replica.
	if standing != ledger.Member || !i.ReadOnly {
		if err := executor.Fence(ctx, session); err != nil {
			return fmt.Errorf("fence %s, which was deposed: %w", k, err)
		}
	}
	if waits {
		return nil
	}
	return r.compare(ctx, c, k, session)
}

// closed reports whether a server holds all users that it can hold.
func closed(i *topology.Instance) bool {
	return i.ReadOnly && (i.SuperReadOnly || !i.CanSuperReadOnly)
}

// cured reports whether a quarantined server holds nothing extra any more, as
// after it was rebuilt.
func (r *Rejoiner) cured(ctx context.Context, c ledger.Cluster, i *topology.Instance) bool {
	theirs := r.looker.Look(ctx, []topology.Key{c.Master}, nil).Observations[c.Master].Instance
	return theirs != nil && theirs.Executed.Contains(i.Executed)
}

// compare rejoins a fenced server as a replica, or quarantines it with the list
// of what it holds and the cluster lacks.
func (r *Rejoiner) compare(ctx context.Context, c ledger.Cluster, k topology.Key, s executor.Session) error {
	// First, so that what it gets from others meanwhile is in the master's set.
	if err := s.StopReceiver(ctx); err != nil {
		return fmt.Errorf("rejoin %s: %w", k, err)
	}
	mine := r.looker.Look(ctx, []topology.Key{k}, nil).Observations[k].Instance
	theirs := r.looker.Look(ctx, []topology.Key{c.Master}, nil).Observations[c.Master].Instance
	if mine == nil || theirs == nil {
		return nil
	}
	if err := executor.LeadAt(ctx, r.ledger, c.Name, c.Epoch); err != nil {
		return fmt.Errorf("rejoin %s: %w", k, err)
	}
	if extra := mine.Executed.Subtract(theirs.Executed); !extra.IsEmpty() {
		r.log.Warn("quarantined: it holds transactions that the cluster lacks",
			"cluster", c.Name, "instance", k.String(), "extra", extra.String())
		return r.ledger.Propose(ctx, ledger.SetStanding{
			Server: k, Standing: ledger.Quarantined, Extra: listed(extra.String()), At: r.cfg.Now(),
		})
	}
	// Where the master has to do without for now, because nobody acknowledges, this
	// is how somebody comes to.
	_, owed := executor.Owed(r.ledger.State(), c.Name)
	if r.cfg.SemiSync(c.Name) || owed > 0 {
		if err := s.SetSemiSync(ctx, executor.SemiSync{Replica: true}); err != nil {
			return fmt.Errorf("rejoin %s: %w", k, err)
		}
	}
	if err := s.Repoint(ctx, c.Master, theirs.Executed); err != nil {
		return fmt.Errorf("rejoin %s: %w", k, err)
	}
	// It acknowledges from now on: a failover that begins before its next probe
	// must know that it replicates.
	r.looker.Look(ctx, []topology.Key{k}, nil)
	r.log.Info("rejoined as a replica", "cluster", c.Name, "instance", k.String(), "master", c.Master.String())
	if r.ledger.State().Servers[k].Standing == ledger.Member {
		return nil
	}
	return r.ledger.Propose(ctx, ledger.SetStanding{Server: k, Standing: ledger.Member, At: r.cfg.Now()})
}

// listed keeps what is remembered of extra transactions short enough for the
// ledger; the server itself has the rest.
func listed(extra string) string {
	const limit = 16 << 10
	if len(extra) > limit {
		return extra[:limit] + "..."
	}
	return extra
}

// lostBy are the servers that the cluster's newest recovery could not bring to
// its new master. Where that recovery has dealt with them, their downtime says
// for how long they count as lost.
func lostBy(s ledger.State, c ledger.Cluster) []topology.Key {
	var newest ledger.Recovery
	for _, rec := range s.Recoveries {
		if rec.Cluster == c.Name && rec.OfMaster() && !rec.Open() && rec.Epoch.Compare(newest.Epoch) > 0 {
			newest = rec
		}
	}
	for _, step := range newest.Steps {
		if step.Name == string(plan.DetachLost) && step.Outcome == ledger.StepDone {
			return nil
		}
	}
	return newest.Lost
}
