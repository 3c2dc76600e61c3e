package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"switchyard/store/ledger"
	"switchyard/store/sqlite"
)

// disk is what the data directory holds, once it has been made to agree.
type disk struct {
	log       *wal.WAL
	snapshots *raft.FileSnapshotStore
	db        *sqlite.DB
	state     ledger.State
	applied   sqlite.Position
	fresh     bool
}

func (d *disk) close() error {
	var errs []error
	if d.log != nil {
		errs = append(errs, d.log.Close())
	}
	if d.db != nil {
		errs = append(errs, d.db.Close())
	}
	return errors.Join(errs...)
}

// openDisk opens the three keepers of a data directory (raft's log, raft's
// snapshots, SQLite) and proves that they fit together.
func openDisk(ctx context.Context, cfg Config, statePath string, logger *raftLogger) (*disk, error) {
	d := &disk{}
	if err := d.open(ctx, cfg, statePath, logger); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *disk) open(ctx context.Context, cfg Config, statePath string, logger *raftLogger) (err error) {
	d.db, err = sqlite.Open(ctx, sqlite.Config{Path: statePath, LedgerID: cfg.LedgerID, NodeID: cfg.ID})
	if err == nil {
		d.state, d.applied, err = d.db.Load(ctx)
	}
	switch {
	case errors.Is(err, sqlite.ErrForeign):
		return foreign(cfg.DataDir, err)
	case errors.Is(err, sqlite.ErrNewer):
		return newer(cfg.DataDir, err)
	case errors.Is(err, sqlite.ErrDamaged):
		return damaged(cfg.DataDir, err)
	case err != nil:
		return fmt.Errorf("data directory %s: %w", cfg.DataDir, err)
	}
	if d.log, err = openLog(cfg, logger); err != nil {
		return err
	}
	if d.snapshots, err = raft.NewFileSnapshotStoreWithLogger(cfg.DataDir, 2, logger); err != nil {
		return fmt.Errorf("data directory %s: %w", cfg.DataDir, err)
	}
	return d.reconcile(ctx, cfg)
}

// reconcile brings the state up to the snapshot if it is behind, and refuses a
// directory in which something is missing.
func (d *disk) reconcile(ctx context.Context, cfg Config) error {
	found, err := walk(d.log, d.applied.Index, cfg.decode)
	if err != nil {
		return distrusted(cfg.DataDir, err)
	}
	meta, err := d.newestSnapshot(ctx)
	if err != nil {
		return distrusted(cfg.DataDir, err)
	}
	if err := d.agree(found, meta); err != nil {
		return damaged(cfg.DataDir, err)
	}
	if d.state.ID != "" && d.state.ID != cfg.LedgerID {
		return foreign(cfg.DataDir, fmt.Errorf("it holds the ledger %q, not %q", d.state.ID, cfg.LedgerID))
	}
	configuration := found.configuration
	if !found.configured {
		configuration = meta.Configuration
	}
	d.fresh = found.last == 0 && meta.Index == 0
	if d.fresh {
		// Raft sets the first term before it writes the first entry; a process
		// that ended in between begins again.
		return d.log.SetUint64([]byte("CurrentTerm"), 0)
	}
	// Once the controllers were changed by command, the file need not name them.
	if d.state.Controllers.Number == 0 && !found.changed && !cfg.Join {
		if err := sameMembers(cfg, configuration); err != nil {
			return foreign(cfg.DataDir, err)
		}
	}
	if found.last != 0 && found.last < meta.Index {
		// The process ended between keeping a leader's snapshot and cutting the log.
		if err := d.log.DeleteRange(found.first, found.last); err != nil {
			return fmt.Errorf("data directory %s: cut the raft log: %w", cfg.DataDir, err)
		}
	}
	return nil
}

// newestSnapshot reads the newest snapshot, if any, to its end, and takes its
// state if it is ahead of SQLite's.
func (d *disk) newestSnapshot(ctx context.Context) (raft.SnapshotMeta, error) {
	list, err := d.snapshots.List()
	if err != nil || len(list) == 0 {
		return raft.SnapshotMeta{}, err
	}
	meta, source, err := d.snapshots.Open(list[0].ID)
	if err != nil {
		return raft.SnapshotMeta{}, fmt.Errorf("snapshot %s: %w", list[0].ID, err)
	}
	state, at, err := readSnapshot(source)
	if err = errors.Join(err, source.Close()); err != nil {
		return raft.SnapshotMeta{}, fmt.Errorf("snapshot %s: %w", meta.ID, err)
	}
	if at.Index > d.applied.Index {
		if err := d.db.Replace(ctx, state, at); err != nil {
			return raft.SnapshotMeta{}, fmt.Errorf("snapshot %s: %w", meta.ID, err)
		}
		d.state, d.applied = state, at
	}
	return *meta, nil
}

// agree finds entries that should be there and are not. A log that was cut is
// not told by itself: its end looks like a write that a crash interrupted.
func (d *disk) agree(found contents, meta raft.SnapshotMeta) error {
	last := max(found.last, meta.Index)
	term, err := d.log.GetUint64([]byte("CurrentTerm"))
	if err != nil {
		return fmt.Errorf("raft's term cannot be read: %w", err)
	}
	switch {
	case d.applied.Index > last:
		return fmt.Errorf("the raft log ends at entry %d, but entry %d was applied once", last, d.applied.Index)
	case found.last != 0 && found.first > meta.Index+1:
		return fmt.Errorf("the raft log begins at entry %d and the snapshot ends at %d", found.first, meta.Index)
	case term < max(found.lastTerm, d.applied.Term, meta.Term):
		return fmt.Errorf("raft's term is %d, older than its entries", term)
	case last == 0 && term > 1:
		return fmt.Errorf("the raft log is empty, but this controller has taken part in term %d", term)
	}
	if d.applied.Index < max(found.first, 1) || d.applied.Index > found.last {
		return nil
	}
	var entry raft.Log
	if err := d.log.GetLog(d.applied.Index, &entry); err != nil {
		return fmt.Errorf("raft entry %d cannot be read: %w", d.applied.Index, err)
	}
	if entry.Term != d.applied.Term {
		return fmt.Errorf("raft entry %d is of term %d, the one applied was of term %d",
			entry.Index, entry.Term, d.applied.Term)
	}
	return nil
}

// sameMembers holds the list of controllers in the configuration against the
// one that raft has agreed on. Addresses may differ: the configuration's count.
func sameMembers(cfg Config, configuration raft.Configuration) error {
	var ids []string
	for _, server := range configuration.Servers {
		ids = append(ids, string(server.ID))
	}
	slices.Sort(ids)
	if !slices.Equal(ids, cfg.members()) {
		return fmt.Errorf("it is of the controllers %q, and peers lists %q; correct peers, "+
			"or give this controller a data directory of its own", ids, cfg.members())
	}
	return nil
}

// readAll bounds what is taken into memory for a snapshot.
func readAll(source io.Reader) ([]byte, error) {
	const limit = 1 << 30
	data, err := io.ReadAll(io.LimitReader(source, limit+1))
	if err == nil && len(data) > limit {
		err = errors.New("it is longer than 1 GiB")
	}
	return data, err
}
