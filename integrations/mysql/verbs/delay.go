package verbs

import (
	"context"
	"fmt"
	"strings"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/integrations/mysql/dialect"
)

// Undelay takes the configured delay off the applier, so that what was received
// is applied now, and leaves the applier running.
//
// Where the receiver runs, MySQL since 5.7 needs nothing else. Everywhere else both
// threads must be stopped; then every server drops its relay log with the change
// unless a position in it is named, and MariaDB does at the next start too while it
// replicates by GTID. So there the receiver stays stopped, and the server replicates
// by position until it is pointed again (Repoint does); which transactions were
// applied is recorded by GTID all the same.
func (s *Session) Undelay(ctx context.Context) error {
	status, err := s.status(ctx)
	if err != nil {
		return err
	}
	if status == nil {
		return ErrNotReplica
	}
	if status.Delay == 0 {
		if status.SQL == topology.ThreadRunning {
			return nil
		}
		return s.startApplier(ctx, status)
	}
	if err := s.oneStream(ctx, status); err != nil {
		return err
	}
	if err := s.conn.Exec(ctx, s.d.StopApplier()); err != nil {
		return fmt.Errorf("stop the SQL thread: %w", err)
	}
	// Now that it stands still, it says where it is.
	if status, err = s.status(ctx); err != nil {
		return err
	}
	if status == nil {
		return ErrNotReplica
	}
	if err := s.undelay(ctx, status); err != nil {
		return err
	}
	after, err := s.status(ctx)
	if err != nil {
		return err
	}
	if after == nil || after.Delay != 0 {
		return fmt.Errorf("%w: the delay is still there", ErrNotTaken)
	}
	return s.startApplier(ctx, status)
}

// undelay changes the stopped applier and starts it. All of it is one message to
// the server: nobody who dies here leaves both threads stopped by GTID, from which
// MariaDB's next start would drop what was received.
func (s *Session) undelay(ctx context.Context, status *dialect.Status) error {
	// A receiver that only tries to connect can give up between two statements.
	receives := s.d.DelayAlone && status.IO == topology.ThreadRunning
	change, err := s.d.Undelay(receives, status.RelayFile, status.RelayPos)
	if err != nil {
		return err
	}
	statements := []string{change, s.d.StartApplier()}
	if !receives && status.IO != topology.ThreadStopped {
		stop, err := s.stopReceiver(ctx)
		if err != nil {
			return err
		}
		statements = append([]string{stop}, statements...)
	}
	if err := s.conn.Exec(ctx, strings.Join(statements, "; ")); err != nil {
		return fmt.Errorf("take the delay off: %w", err)
	}
	return nil
}

// oneStream refuses a MariaDB server that applies several domains in parallel:
// when it is stopped each has its own position, and only GTIDs know them.
func (s *Session) oneStream(ctx context.Context, status *dialect.Status) error {
	if s.d.Flavor != gtid.MariaDB {
		return nil
	}
	domains := map[string]bool{}
	for id := range strings.SplitSeq(status.Received.Position(), ",") {
		domain, _, _ := strings.Cut(id, "-")
		domains[domain] = true
	}
	if len(domains) < 2 {
		return nil
	}
	row, err := s.conn.QueryRow(ctx, "SELECT @@global.slave_parallel_threads AS threads")
	if err != nil {
		return fmt.Errorf("read the number of parallel appliers: %w", err)
	}
	if row["threads"] != "0" {
		return ErrParallelDomains
	}
	return nil
}

// RestartReceiver stops and starts the thread that receives, and leaves the one
// that applies alone: so it connects and authenticates anew. It does nothing
// where the receiver was stopped, and refuses MariaDB with GTIDs.
func (s *Session) RestartReceiver(ctx context.Context) error {
	status, err := s.status(ctx)
	if err != nil {
		return err
	}
	switch {
	case status == nil:
		return ErrNotReplica
	case !s.d.KeepsRelayLog && status.UsesGTID:
		return ErrGTIDReceiver
	case status.IO == topology.ThreadStopped:
		return nil
	}
	stop, err := s.stopReceiver(ctx)
	if err != nil {
		return err
	}
	// In one message, so that the receiver is not left stopped by whoever dies here.
	if err := s.conn.Exec(ctx, stop+"; "+s.d.StartReceiver()); err != nil {
		return fmt.Errorf("restart the IO thread: %w", err)
	}
	return s.until(ctx, "the IO thread runs", func(st *dialect.Status) (bool, error) {
		if st == nil {
			return false, ErrNotReplica
		}
		return st.IO != topology.ThreadStopped, nil
	})
}
