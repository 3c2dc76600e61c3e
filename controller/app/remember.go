package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
	"switchyard/controller/config"
	"switchyard/controller/console"
	"switchyard/controller/publisher"
	"switchyard/router/routes"
	"switchyard/store"
	"switchyard/store/ledger"
)

func openStore(c *config.File, way carriage, log *slog.Logger) (*store.Store, error) {
	cfg, peers := storeConfig(c), way.peers(c)
	cfg.Progress = func(ctx context.Context, one ledger.Controller) (uint64, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		voice, err := peers.Voice(ctx, one.API)
		if err == nil && voice.ID != one.ID {
			err = fmt.Errorf("%.40q answers there", voice.ID)
		}
		return voice.AppliedIndex, err
	}
	return store.Open(cfg, log)
}

// Restore makes the empty data directory of this controller, which does not run,
// hold the ledger of a backup.
func Restore(ctx context.Context, c *config.File, backup []byte, generation uint64) (store.Restoration, error) {
	return store.Restore(ctx, storeConfig(c), backup, generation, newLogger(c))
}

func storeConfig(c *config.File) store.Config {
	self := c.Self()
	cfg := store.Config{
		ID: c.ID, LedgerID: c.Name, DataDir: c.DataDir, Bind: c.Bind.Raft, Advertise: self.Raft,
		Secret: c.Secret.Reveal(),
		Timeouts: store.Timeouts{
			Heartbeat: c.Raft.HeartbeatTimeout, Election: c.Raft.ElectionTimeout,
			LeaderLease: c.Raft.LeaderLeaseTimeout, Commit: c.Raft.CommitTimeout,
		},
		Now: time.Now, Join: c.Join, Settle: c.Sidecars.Lease + c.Sidecars.Fence,
	}
	if c.Raft.TLS.Enabled() {
		cfg.TLS = c.Raft.TLS.Build
	}
	for _, peer := range c.Controllers {
		cfg.Peers = append(cfg.Peers, store.Peer{ID: peer.ID, RaftAddress: peer.Raft, API: peer.HTTP, DataCenter: peer.Datacenter})
	}
	return cfg
}

// tables is the ledger as the fleet and the publisher follow it.
type tables struct {
	store    *store.Store
	receiver ledger.Receiver
}

// Tables returns what each cluster's receivers are to follow now.
func (t tables) Tables() []routes.Table {
	if t.store.Aside() != "" {
		return nil // What this ledger says may not be so: nobody is told.
	}
	state := t.store.State()
	out := make([]routes.Table, 0, len(state.Clusters))
	for _, c := range state.Clusters {
		out = append(out, state.Routes(c))
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

// Repaired writes into the audit that a receiver was put back.
func (t tables) Repaired(ctx context.Context, name string, table routes.Table, was string) error {
	self, _ := t.store.Leader()
	wanted := "nobody is to be served"
	if table.Writer != nil {
		wanted = table.Writer.String() + " is to be served"
	}
	return t.store.Propose(ctx, ledger.AppendAudit{Entries: []ledger.AuditEntry{{
		At: time.Now(), Kind: ledger.AuditRepair, Cluster: table.Cluster, Action: "put-back-proxy", By: self,
		Reason: fmt.Sprintf("proxy %s left its route without having been told: it was %s, and %s", name, was, wanted),
	}}})
}

// shelf is the ledger as the publisher follows it: what a controller that does
// not lead has for the audit, it tells the leader.
type shelf struct {
	tables
	self, datacenter string
	urls             func() map[string]string
	peers            adminapi.Peers
}

// Notice implements publisher.Ledger.
func (s shelf) Notice(ctx context.Context, n publisher.Notice) error {
	notice := wire.Notice{Controller: s.self, DataCenter: n.Datacenter, Cluster: n.Table.Cluster, Epoch: n.Table.Epoch, Was: n.Was,
		Held: n.Held, Times: n.Times}
	if n.Table.Writer != nil {
		notice.Master = n.Table.Writer.String()
	}
	if s.store.IsLeader() {
		return s.noticed(ctx, notice)
	}
	leader, _ := s.store.Leader()
	base, ok := s.urls()[leader]
	if !ok || leader == s.self {
		return fmt.Errorf("tell the leader what was found in the directory of %s: no leader is known", n.Datacenter)
	}
	return s.peers.Notice(ctx, base, notice)
}

// noticed writes into the audit what a controller found in a directory.
func (t tables) noticed(ctx context.Context, n wire.Notice) error {
	entry := ledger.AuditEntry{At: time.Now(), Kind: ledger.AuditRepair, Cluster: n.Cluster, Action: "put-back-consul", By: n.Controller,
		Reason: fmt.Sprintf("Consul of %s was changed by somebody else: it said %s; it says %s of epoch %s again", n.DataCenter, n.Was,
			n.Master, n.Epoch)}
	if n.Held {
		entry.Action, entry.Outcome = "hold-consul", "nothing is written to it"
		entry.Reason = fmt.Sprintf("Consul of %s holds %s, which is higher than the ledger's %s: find out who wrote it", n.DataCenter, n.Was, n.Epoch)
	}
	if n.Times > 1 {
		entry.Reason += fmt.Sprintf(" (%d times since the last entry of it)", n.Times)
	}
	return t.store.Propose(ctx, ledger.AppendAudit{Entries: []ledger.AuditEntry{entry}})
}

// raft gives the store the console's words.
type raft struct{ *store.Store }

// Propose implements console.Ledger.
func (r raft) Propose(ctx context.Context, cmd ledger.Command) error {
	return consoles(r.Store.Propose(ctx, cmd))
}

// consoles puts the store's errors into the console's words.
func consoles(err error) error {
	switch {
	case errors.Is(err, store.ErrNotLeader):
		return fmt.Errorf("%w: %w", console.ErrNotLeader, err)
	case errors.Is(err, store.ErrUnknownOutcome):
		return fmt.Errorf("%w: %w", console.ErrUnknownOutcome, err)
	}
	return err
}

// Voice implements console.Members.
func (r raft) Voice() wire.Voice {
	stats := r.Stats()
	voice := wire.Voice{
		State: stats.State, Leader: stats.Leader, Term: stats.Term, AppliedIndex: stats.AppliedIndex,
		LastContactMS: float64(stats.LastContact.Microseconds()) / 1000, Aside: r.Aside(),
	}
	marks, err := r.Marks()
	if err != nil {
		// Without them it is not known, and the others go on without it.
		marks = nil
	}
	for _, m := range marks {
		voice.Marks = append(voice.Marks, wire.Mark(m))
	}
	for _, m := range stats.Members {
		voice.Members = append(voice.Members, wire.Member{ID: m.ID, Raft: m.RaftAddress, Voter: m.Voter})
	}
	return voice
}

// Change implements console.Members.
func (r raft) Change(ctx context.Context, change ledger.BeginControllerChange) error {
	return consoles(r.ChangeControllers(ctx, change))
}

// Undo implements console.Members.
func (r raft) Undo(ctx context.Context, why string) error {
	return consoles(r.UndoControllers(ctx, why))
}

// Backup makes a backup, as the console wants it.
func (r raft) Backup(ctx context.Context, local bool) ([]byte, error) {
	data, err := r.Store.Backup(ctx, local)
	if errors.Is(err, store.ErrNotLeader) {
		err = fmt.Errorf("%w: %w", console.ErrNotLeader, err)
	}
	return data, err
}

// Raft implements console.Ledger.
func (r raft) Raft() (state string, term uint64) {
	stats := r.Stats()
	return stats.State, stats.Term
}
