package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"switchyard/store/codec"
	"switchyard/store/ledger"
)

// maxGeneration is the last second that a time can be written of.
const maxGeneration = 253402300799

// Backup returns the ledger as it is now, with all that was committed before the
// call: only the leader can say that. Local is for any controller, as far as it
// knows, where there is no leader any more.
func (s *Store) Backup(ctx context.Context, local bool) ([]byte, error) {
	if !local {
		if err := s.VerifyLeader(ctx); err != nil {
			return nil, err
		}
	}
	whole := s.machine.whole.Load()
	if whole.state.Generation == 0 {
		return nil, errors.New("the ledger is empty yet: there is nothing to back up")
	}
	return codec.EncodeBackup(codec.BackupHead{
		Index: whole.at.Index, Term: whole.at.Term, Controller: s.cfg.ID, Leader: !local, TakenAt: s.cfg.Now().UTC().Round(0),
	}, whole.state)
}

// Restoration is what Restore did.
type Restoration struct {
	Backup codec.BackupHead
	// Generation is the ledger's from now on.
	Generation uint64
	// Held are the clusters that wait to be adopted anew.
	Held []string
}

// Restore makes the empty data directory of a controller that does not run hold the
// ledger of a backup, under a new generation; 0 is for one by the clock. Whoever
// restores more than one controller gives each the same backup and generation, and
// they begin with the same entry of the raft log: it is of a term that no fresh log
// has, so that a controller that was not restored takes the ledger from them.
func Restore(ctx context.Context, cfg Config, backup []byte, generation uint64, logger *slog.Logger) (done Restoration, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return done, err
	}
	if cfg.Join {
		return done, errors.New("join: true is for a controller that is added to others: those of the configuration file begin " +
			"together after a restore; name those that there are to be in the files of all of them, and remove join")
	}
	head, state, err := codec.DecodeBackup(backup)
	if err != nil {
		return done, err
	}
	if head.Name != cfg.LedgerID {
		return done, fmt.Errorf("the backup is of the cluster of controllers %q, and name is %q: "+
			"give the backup of this one, or correct name", head.Name, cfg.LedgerID)
	}
	if generation, err = newGeneration(cfg.Now(), head, state, generation); err != nil {
		return done, err
	}
	// What two controllers make of one backup must be the same to the byte.
	restored, err := ledger.Restored(state, generation, "switchyard restore",
		fmt.Sprintf("from the backup that %s took at %s", head.Controller, head.TakenAt.Format(time.RFC3339)), time.Unix(int64(generation), 0))
	if err != nil {
		return done, err
	}
	if err := emptyDir(cfg.DataDir); err != nil {
		return done, err
	}
	lock, err := lockDir(cfg.DataDir)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	raftLogger := newRaftLogger(logger)
	at := snapshot{state: restored}
	at.at.Index, at.at.Term = max(head.Index, 1), max(head.Term+1, generation)
	if err := plant(cfg, at, raftLogger); err != nil {
		return done, fmt.Errorf("data directory %s: %w; remove what is in it before you try again", cfg.DataDir, err)
	}
	// It is opened as a controller opens it: that proves it, and fills SQLite.
	disk, err := openDisk(ctx, cfg, filepath.Join(cfg.DataDir, stateName), raftLogger)
	if err != nil {
		return done, err
	}
	done = Restoration{Backup: head, Generation: disk.state.Generation}
	for name := range disk.state.Held {
		done.Held = append(done.Held, name)
	}
	slices.Sort(done.Held)
	return done, disk.close()
}

// newGeneration is above all that the backup has, and all that was issued since, of
// which only the clock tells.
func newGeneration(now time.Time, head codec.BackupHead, state ledger.State, asked uint64) (uint64, error) {
	least := state.NextGeneration()
	switch {
	case asked == 0 && now.Before(head.TakenAt):
		return 0, fmt.Errorf("this machine's clock (%s) is behind the backup, which was taken at %s: "+
			"a new generation goes by the clock; set it right, or give --generation",
			now.UTC().Format(time.RFC3339), head.TakenAt.Format(time.RFC3339))
	case asked == 0:
		return max(uint64(max(now.Unix(), 1)), least), nil
	case asked < least:
		return 0, fmt.Errorf("--generation %d: epochs of it may have been issued; want %d or more", asked, least)
	case asked > maxGeneration:
		return 0, fmt.Errorf("--generation %d: want seconds since 1970, at most %d", asked, maxGeneration)
	}
	return asked, nil
}

// emptyDir refuses a directory that holds anything of a controller.
func emptyDir(dir string) error {
	for _, sub := range []string{dir, filepath.Join(dir, raftName), filepath.Join(dir, snapshotsName)} {
		entries, err := os.ReadDir(sub)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("data_dir %s: %w", dir, err)
		}
		for _, entry := range entries {
			name := entry.Name()
			if sub == dir && (name == lockName || entry.IsDir() && (name == raftName || name == snapshotsName || name == "lost+found")) {
				continue
			}
			return fmt.Errorf("data_dir %s: it is not empty (%s): a ledger is restored into an empty directory only; "+
				"stop the controller and move what is there out of the way", dir, filepath.Join(sub, name))
		}
	}
	return nil
}

// plant writes the state as raft's newest snapshot. The term comes first: a
// directory with a term and without its snapshot is refused as damaged.
func plant(cfg Config, s snapshot, logger *raftLogger) error {
	log, err := openLog(cfg, logger)
	if err != nil {
		return err
	}
	if err := errors.Join(log.SetUint64([]byte("CurrentTerm"), s.at.Term), log.Close()); err != nil {
		return fmt.Errorf("keep the term: %w", err)
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(cfg.DataDir, 2, logger)
	if err != nil {
		return err
	}
	var members raft.Configuration
	for _, id := range cfg.members() {
		peer, _ := cfg.peer(id)
		members.Servers = append(members.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(peer.RaftAddress)})
	}
	_, nowhere := raft.NewInmemTransport(raft.ServerAddress(cfg.Advertise))
	sink, err := snapshots.Create(raft.SnapshotVersionMax, s.at.Index, s.at.Term, members, s.at.Index, nowhere)
	if err != nil {
		return err
	}
	return s.Persist(sink)
}
