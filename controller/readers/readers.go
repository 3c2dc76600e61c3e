// Package readers says which replicas of a cluster proxies send readers to, as long
// as this controller leads.
package readers

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Ledger is where the readers are remembered.
type Ledger interface {
	State() ledger.State
	IsLeader() bool
	Propose(ctx context.Context, cmd ledger.Command) error
}

// Observer sees the servers.
type Observer interface {
	Snapshot(cluster string, master topology.Key) topology.Snapshot
}

// Config says how readers are tended.
type Config struct {
	// Self is this controller.
	Self   string
	Policy func(cluster string) policy.Cluster
	Now    func() time.Time
	// Interval is how often the picture is looked at; 0 for 500 ms.
	Interval time.Duration
	// Timeout bounds one change of the ledger; 0 for 2 s.
	Timeout time.Duration
}

// Tender keeps every cluster's readers.
type Tender struct {
	cfg      Config
	ledger   Ledger
	observer Observer
	log      *slog.Logger
	pools    map[string]*pool
}

// New makes a tender; Run sets it to work.
func New(cfg Config, ledger Ledger, observer Observer, log *slog.Logger) *Tender {
	if cfg.Interval == 0 {
		cfg.Interval = 500 * time.Millisecond
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Second
	}
	return &Tender{cfg: cfg, ledger: ledger, observer: observer, log: log, pools: map[string]*pool{}}
}

// Run tends the readers until ctx ends.
func (t *Tender) Run(ctx context.Context) error {
	ticker := time.NewTicker(t.cfg.Interval)
	defer ticker.Stop()
	for {
		t.round(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// round looks at every cluster once. Who does not lead forgets what it saw: a
// leader begins with the readers that there are.
func (t *Tender) round(ctx context.Context) {
	if !t.ledger.IsLeader() {
		clear(t.pools)
		return
	}
	for name, c := range t.ledger.State().Clusters {
		if err := t.tend(ctx, c); err != nil && ctx.Err() == nil {
			t.log.Debug("The readers of a cluster stay as they are.", "cluster", name, "error", err)
		}
	}
}

// tend takes a revision for the readers of one cluster, where they are to change
// and no recovery is open.
func (t *Tender) tend(ctx context.Context, c ledger.Cluster) error {
	rules := t.cfg.Policy(c.Name).Readers
	cmd := ledger.SetReaders{Cluster: c.Name, ExpectEpoch: c.Epoch, By: t.cfg.Self, At: t.cfg.Now()}
	switch {
	case c.Recovery != "":
		return nil
	case rules.Tended:
		p := t.pools[c.Name]
		if p == nil {
			p = &pool{epoch: c.Epoch, servers: map[topology.Key]*since{}}
			t.pools[c.Name] = p
		}
		cmd.Readers, cmd.Reasons = p.next(c, t.ledger.State(), t.observer.Snapshot(c.Name, c.Master), rules)
		cmd.Fallback = rules.Writer
	default:
		cmd.Reasons = []string{"no proxy has readers"}
	}
	if slices.Equal(cmd.Readers, c.Readers) && cmd.Fallback == c.ReaderFallback {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	if err := t.ledger.Propose(ctx, cmd); err != nil {
		return fmt.Errorf("readers of %s: %w", c.Name, err)
	}
	t.log.Info("The readers of a cluster have changed.", "cluster", c.Name, "epoch", c.Epoch, "readers", len(cmd.Readers),
		"reasons", cmd.Reasons)
	return nil
}
