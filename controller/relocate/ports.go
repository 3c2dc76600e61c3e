// Package relocate gives replicas another source: those of a dead intermediate
// master, and those that an operator moves, detaches or attaches again. It also
// puts the number of acknowledging replicas right, and restarts receivers so that
// they show whether they can connect.
package relocate

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"switchyard/controller/candidate"
	"switchyard/controller/executor"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Config is the relocator's settings.
type Config struct {
	// Self is this controller's id.
	Self string
	// Policy returns the rules of a cluster.
	Policy func(cluster string) policy.Cluster
	// Sources orders the servers below which an orphan of a dead source may go; nil
	// is by the rules of package candidate.
	Sources func(s topology.Snapshot, dead, orphan topology.Key, p policy.Cluster) candidate.Ranking
	// Settle is how long a replica may take to show that it receives from a new
	// source; 0 is 5 s.
	Settle time.Duration
	// ApplyTimeout bounds how long a replica that is detached may take to apply
	// what it received; 0 is 45 s, which leaves time to take it back.
	ApplyTimeout time.Duration
	// Now is the clock.
	Now func() time.Time
}

// Relocator moves replicas. Between two calls it keeps only what it tried a
// moment ago, so that it does not try that again at once.
type Relocator struct {
	cfg    Config
	ledger executor.Ledger
	looker executor.Looker
	hands  executor.Hands
	log    *slog.Logger

	mu sync.Mutex
	// tried is when a server was last changed unasked outside of a recovery.
	tried map[topology.Key]time.Time
}

// New returns a relocator.
func New(cfg Config, l executor.Ledger, looker executor.Looker, hands executor.Hands, log *slog.Logger) *Relocator {
	if cfg.Sources == nil {
		cfg.Sources = candidate.Sources
	}
	if cfg.Settle <= 0 {
		cfg.Settle = 5 * time.Second
	}
	if cfg.ApplyTimeout <= 0 {
		cfg.ApplyTimeout = 45 * time.Second
	}
	return &Relocator{cfg: cfg, ledger: l, looker: looker, hands: hands, log: log, tried: map[topology.Key]time.Time{}}
}

func refuse(format string, args ...any) error {
	return &executor.Refusal{Reason: fmt.Sprintf(format, args...)}
}

// verbTimeout bounds one quick change of one server, pointTimeout the change of
// its source; verifyPause is between two looks at whether it receives.
const (
	verbTimeout  = 3 * time.Second
	pointTimeout = 10 * time.Second
	verifyPause  = 50 * time.Millisecond
)

// sessions returns sessions for one run on a cluster's servers.
func (r *Relocator) sessions(ctx context.Context, cluster string) *executor.Sessions {
	// Leadership is asked for on the run's time: a server that used up its own
	// deposes nobody.
	epoch := r.ledger.State().Clusters[cluster].Epoch
	lead := func(context.Context) error { return executor.LeadAt(ctx, r.ledger, cluster, epoch) }
	return executor.NewSessions(r.hands, lead, func(k topology.Key) topology.Key {
		return executor.Address(r.looker, r.ledger.State().Clusters[cluster], k)
	})
}

// picture looks at all servers of a cluster now, and returns the picture with
// what was seen.
func (r *Relocator) picture(ctx context.Context, cluster string) topology.Snapshot {
	state := r.ledger.State()
	var keys []topology.Key
	for k, srv := range state.Servers {
		if srv.Cluster == cluster {
			keys = append(keys, k)
		}
	}
	view := r.looker.Look(ctx, keys, nil)
	s := r.looker.Snapshot(cluster, state.Clusters[cluster].Master)
	s.Taker, s.Views = view.Observer, []topology.View{view}
	s.Outcasts = executor.Outcasts(state, cluster)
	s.Downtimed = downtimed(state, cluster, r.cfg.Now())
	return s
}

// downtimed are the servers that somebody put in downtime, and why. One that a
// recovery lost is not among them: bringing it back is what it waits for.
func downtimed(s ledger.State, cluster string, now time.Time) map[topology.Key]string {
	out := map[topology.Key]string{}
	for k, d := range s.Downtimes {
		if s.Servers[k].Cluster == cluster && d.Active(now) && d.Reason != ledger.LostInRecovery {
			out[k] = fmt.Sprintf("it is in downtime (%s: %s)", d.Owner, d.Reason)
		}
	}
	return out
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
