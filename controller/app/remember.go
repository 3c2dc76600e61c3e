package app

import (
	"context"
	"log/slog"
	"time"

	"switchyard/controller/config"
	"switchyard/router/routes"
	"switchyard/store"
	"switchyard/store/ledger"
)

func openStore(c *config.File, log *slog.Logger) (*store.Store, error) {
	self := c.Self()
	cfg := store.Config{
		ID: c.ID, LedgerID: c.Name, DataDir: c.DataDir, Bind: c.Bind.Raft, Advertise: self.Raft,
		Timeouts: store.Timeouts{
			Heartbeat: c.Raft.HeartbeatTimeout, Election: c.Raft.ElectionTimeout,
			LeaderLease: c.Raft.LeaderLeaseTimeout, Commit: c.Raft.CommitTimeout,
		},
		Now: time.Now,
	}
	for _, peer := range c.Controllers {
		cfg.Peers = append(cfg.Peers, store.Peer{ID: peer.ID, RaftAddress: peer.Raft})
	}
	return store.Open(cfg, log)
}

// tables is the ledger as the fleet and the publisher follow it.
type tables struct {
	store    *store.Store
	receiver ledger.Receiver
}

// Tables returns what each cluster's receivers are to follow now.
func (t tables) Tables() []routes.Table {
	state := t.store.State()
	out := make([]routes.Table, 0, len(state.Clusters))
	for _, c := range state.Clusters {
		out = append(out, c.Routes())
	}
	return out
}

// Leads returns nil only if this controller was verified to lead.
func (t tables) Leads(ctx context.Context) error { return t.store.VerifyLeader(ctx) }

// Confirm records that a receiver was read back to hold the table.
func (t tables) Confirm(ctx context.Context, name string, table routes.Table) error {
	return t.store.Propose(ctx, ledger.Confirm{Confirmation: ledger.Confirmation{
		Receiver: t.receiver, Name: name, Cluster: table.Cluster, Epoch: table.Epoch, Revision: table.Revision, At: time.Now(),
	}})
}

// raft gives the store the console's words.
type raft struct{ *store.Store }

// Raft implements console.Ledger.
func (r raft) Raft() (state string, term uint64) {
	stats := r.Stats()
	return stats.State, stats.Term
}
