package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"switchyard/store/ledger"
)

// The bounds of what Close waits for.
const (
	transferLimit = 2 * time.Second
	drainLimit    = time.Second
)

// Store is this controller's copy of the ledger, and its voice in raft.
type Store struct {
	cfg    Config
	logger *slog.Logger

	lock      *os.File
	disk      *disk
	stream    *stream
	transport *raft.NetworkTransport
	raft      *raft.Raft
	machine   *machine
	stop      *stopper
	standing  *standing

	changed *broadcast[struct{}]
	leading *leading

	// mu orders proposals before closing: none begins once closed is set.
	mu       sync.RWMutex
	closed   bool
	inFlight sync.WaitGroup
	watching sync.WaitGroup
	done     chan struct{}
	// life ends with done.
	life     context.Context
	end      context.CancelFunc
	closing  sync.Once
	closeErr error
}

// Open locks and checks the data directory, joins the other controllers, and
// returns without waiting for a leader. The caller runs Run, or calls Close.
func Open(cfg Config, logger *slog.Logger) (*Store, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Store{
		cfg: cfg, logger: logger, stop: newStopper(cfg.DataDir), done: make(chan struct{}),
		changed: newBroadcast[struct{}](), leading: newLeading(),
	}
	s.life, s.end = context.WithCancel(context.Background())
	if err := s.open(context.Background()); err != nil {
		s.end()
		return nil, errors.Join(room(s.cfg.DataDir, err), s.release())
	}
	s.watching.Go(s.watchLeadership)
	s.watching.Go(s.tendControllers)
	return s, nil
}

// open acquires in this order, so that a mistake in the configuration is told
// before anything on disk is touched.
func (s *Store) open(ctx context.Context) (err error) {
	if s.lock, err = lockDir(s.cfg.DataDir); err != nil {
		return err
	}
	if s.stream, err = listen(ctx, s.cfg, s.logger); err != nil {
		return err
	}
	logger := newRaftLogger(s.logger)
	if s.disk, err = openDisk(ctx, s.cfg, filepath.Join(s.cfg.DataDir, stateName), logger); err != nil {
		return err
	}
	held := &marks{every: s.cfg.MarkEvery}
	if s.standing, err = openStanding(s.cfg.DataDir, held); err != nil {
		return err
	}
	s.machine = &machine{
		ledgerID: s.cfg.LedgerID, db: s.disk.db, changed: s.changed, stop: s.stop, applied: s.disk.applied,
		marks: held, standing: s.standing, decode: s.cfg.decode,
	}
	state := s.disk.state
	s.machine.current.Store(&state)
	s.machine.whole.Store(&snapshot{state: state, at: s.disk.applied})
	s.stream.known = s.Controllers
	return s.join(logger)
}

// join starts raft.
func (s *Store) join(logger *raftLogger) error {
	conf := s.raftConfig(logger)
	log := &guardedLog{WAL: s.disk.log, fail: s.stop.fail}
	s.transport = s.stream.transport(logger)
	if s.disk.fresh && !s.cfg.Join {
		// Every controller writes the same first entry, so that it does not
		// matter which of them starts first.
		var servers []raft.Server
		for _, id := range s.cfg.members() {
			peer, _ := s.cfg.peer(id)
			servers = append(servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(peer.RaftAddress)})
		}
		err := raft.BootstrapCluster(conf, log, log, s.disk.snapshots, s.transport, raft.Configuration{Servers: servers})
		if err != nil {
			return fmt.Errorf("data directory %s: bootstrap: %w", s.cfg.DataDir, err)
		}
	}
	way := &modest{
		NetworkTransport: s.transport, standing: s.standing, patience: conf.HeartbeatTimeout + 3*conf.ElectionTimeout, started: time.Now(),
	}
	running, err := raft.NewRaft(conf, s.machine, log, log, s.disk.snapshots, way)
	if err != nil {
		return fmt.Errorf("data directory %s: raft: %w", s.cfg.DataDir, err)
	}
	s.raft = running
	way.raft.Store(running)
	s.stream.counted.Store(running)
	log.armed.Store(true)
	return nil
}

func (s *Store) raftConfig(logger *raftLogger) *raft.Config {
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(s.cfg.ID)
	conf.HeartbeatTimeout = s.cfg.Timeouts.Heartbeat
	conf.ElectionTimeout = s.cfg.Timeouts.Election
	conf.LeaderLeaseTimeout = s.cfg.Timeouts.LeaderLease
	conf.CommitTimeout = s.cfg.Timeouts.Commit
	conf.SnapshotInterval = s.cfg.Compaction.Every
	conf.SnapshotThreshold = s.cfg.Compaction.Entries
	conf.TrailingLogs = s.cfg.Compaction.Keep
	// Who is removed hands over first, and stays to say that it was.
	conf.ShutdownOnRemove = false
	// Commands that are proposed while the disk is busy share its next write.
	conf.BatchApplyCh = true
	// The state is SQLite's; openDisk has brought it up to the snapshot.
	conf.NoSnapshotRestoreOnStart = true
	conf.NoLegacyTelemetry = true
	conf.Logger = logger
	return conf
}

// State returns the ledger as far as this controller has applied it. It costs
// nothing, and the State never changes.
func (s *Store) State() ledger.State { return *s.machine.current.Load() }

// Watch returns a channel that gets a value after the ledger has changed, one
// for any number of changes not yet seen, and the function that ends the watch.
func (s *Store) Watch() (<-chan struct{}, func()) { return s.changed.subscribe() }

// Err returns why this controller had to stop taking part, or nil.
func (s *Store) Err() error { return s.stop.err() }

// Run blocks until ctx ends or this controller cannot go on, closes the store,
// and returns why it could not go on.
func (s *Store) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-s.done:
	case <-s.stop.failed:
	}
	return errors.Join(s.stop.err(), s.Close())
}

// Close hands leadership over if it is this controller's, leaves raft, and
// lets go of the data directory. It takes a few seconds at the most.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		if s.stop.err() == nil {
			s.handOver()
			// Raft leaves commands in its queue unanswered when it ends.
			s.drain()
		}
		close(s.done)
		s.end()
		s.watching.Wait()
		s.closeErr = s.release()
		s.drain()
	})
	return s.closeErr
}

// handOver asks the follower that is furthest to take over at once, instead of
// after its heartbeat timeout. Raft does not say which of those that are level
// still live, so that the others are asked after it.
func (s *Store) handOver() {
	if !s.elected() || !slices.ContainsFunc(s.members(), func(m Member) bool { return m.Voter && m.ID != s.cfg.ID }) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), transferLimit)
	defer cancel()
	if err := s.giveAway(ctx); err != nil {
		s.logger.Warn("leadership was not handed over; the others will elect a leader by themselves", "error", err)
	}
}

// giveAway hands leadership to the voter that is furthest, or to any that takes it.
func (s *Store) giveAway(ctx context.Context) error {
	err := s.await(ctx, func() error { return s.raft.LeadershipTransfer().Error() })
	for _, m := range s.members() {
		if err == nil || ctx.Err() != nil || !s.elected() {
			break
		}
		if m.Voter && m.ID != s.cfg.ID {
			err = s.give(ctx, m)
		}
	}
	return err
}

func (s *Store) drain() {
	idle := make(chan struct{})
	go func() {
		s.inFlight.Wait()
		close(idle)
	}()
	timer := time.NewTimer(drainLimit)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}

// release undoes open, as far as it got.
func (s *Store) release() error {
	var errs []error
	switch {
	case s.transport != nil:
		// It closes the stream, and knows then why nothing can be accepted.
		errs = append(errs, s.transport.Close())
	case s.stream != nil:
		errs = append(errs, s.stream.Close())
	}
	if s.raft != nil {
		errs = append(errs, s.raft.Shutdown().Error())
	}
	if s.disk != nil {
		errs = append(errs, s.disk.close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
