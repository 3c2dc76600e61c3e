package verbs

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/integrations/mysql/dialect"
	"switchyard/integrations/mysql/link"
)

// settle is how long a thread may take to show that it runs, or has stopped.
const settle = 2 * time.Second

// StopReceiver stops the thread that receives and leaves the one that applies
// running, starting it first if need be: on MariaDB a replica whose threads were
// both stopped drops, at its next start, what it received and did not apply. One
// that is found with both stopped is therefore left alone there.
func (s *Session) StopReceiver(ctx context.Context) error {
	status, err := s.status(ctx)
	if err != nil || status == nil {
		return err
	}
	if status.IO == topology.ThreadStopped && !s.d.KeepsRelayLog {
		return nil
	}
	if status.SQL != topology.ThreadRunning {
		if err := s.startApplier(ctx, status); err != nil {
			return err
		}
	}
	if status.IO == topology.ThreadStopped {
		return nil
	}
	stop, err := s.stopReceiver(ctx)
	if err != nil {
		return err
	}
	if err := s.conn.Exec(ctx, stop); err != nil {
		return fmt.Errorf("stop the IO thread: %w", err)
	}
	return s.until(ctx, "the IO thread has stopped", func(st *dialect.Status) (bool, error) {
		return st == nil || st.IO == topology.ThreadStopped, nil
	})
}

// startApplier starts the applier, which was found in the state before, and
// sees that it stays up: one that fails again is seen running for a moment. It
// has stayed up once it got further, has nothing to do, or after a second.
func (s *Session) startApplier(ctx context.Context, before *dialect.Status) error {
	if err := s.conn.Exec(ctx, s.d.StartApplier()); err != nil {
		return fmt.Errorf("start the SQL thread: %w", err)
	}
	begun := time.Now()
	return s.until(ctx, "the SQL thread runs", func(st *dialect.Status) (bool, error) {
		switch {
		case st == nil:
			return false, ErrNotReplica
		case st.SQL == topology.ThreadStopped && st.SQLErrno != 0:
			return false, applierError(st)
		case st.SQL != topology.ThreadRunning:
			return false, nil
		case st.AppliedTo != before.AppliedTo, time.Since(begun) > settle/2:
			return true, nil
		}
		executed, err := s.executed(ctx)
		return err == nil && executed.Contains(st.Received), err
	})
}

func applierError(st *dialect.Status) error {
	if st.SQLErrno != 0 {
		return fmt.Errorf("%w: error %d: %s", ErrApplierStopped, st.SQLErrno, st.SQLError)
	}
	return ErrApplierStopped
}

// until reads the status until it is as wanted.
func (s *Session) until(ctx context.Context, what string, check func(*dialect.Status) (bool, error)) error {
	wait, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for {
		status, err := s.status(ctx)
		if err != nil {
			return err
		}
		if ok, err := check(status); ok || err != nil {
			return err
		}
		if err := pause(wait, 2*time.Millisecond); err != nil {
			return fmt.Errorf("wait until %s: %w", what, err)
		}
	}
}

// patience is for how long a statement that need not wait may go unanswered.
const patience = 2 * time.Second

// answered runs what talks to the server, for at most limit: a server that
// froze must not keep us until ctx ends.
func answered(ctx context.Context, limit time.Duration, talk func(context.Context) error) error {
	bound, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := talk(bound)
	if err != nil && ctx.Err() == nil && bound.Err() != nil {
		return fmt.Errorf("%w (for %v): %w", ErrNoAnswer, limit, err)
	}
	return err
}

// WaitApplied waits until the server has applied all of received. It gives up
// before ctx ends only if the applier does not run, or with ErrNoAnswer.
func (s *Session) WaitApplied(ctx context.Context, received gtid.Set) error {
	slice := 200 * time.Millisecond // after each, the applier is looked at
	if s.d.WholeSeconds {
		slice = time.Second
	}
	wait, err := s.d.Wait(received.Position(), slice)
	if err != nil {
		return err
	}
	for {
		var executed gtid.Set
		var status *dialect.Status
		err := answered(ctx, patience, func(ctx context.Context) (err error) {
			if executed, err = s.executed(ctx); err != nil || executed.Contains(received) {
				return err
			}
			status, err = s.status(ctx)
			return err
		})
		switch {
		case err != nil:
			return err
		case executed.Contains(received):
			return nil
		case status == nil:
			return fmt.Errorf("%w, and lacks %s", ErrNotReplica, received.Subtract(executed))
		case status.SQL != topology.ThreadRunning:
			return fmt.Errorf("%w (lacking %s)", applierError(status), received.Subtract(executed))
		}
		begun := time.Now()
		err = answered(ctx, slice+patience, func(ctx context.Context) error { return s.conn.Exec(ctx, wait) })
		if err != nil {
			return fmt.Errorf("wait until all is applied: %w", err)
		}
		// The server can know the position by other names and answer at once.
		if time.Since(begun) < time.Millisecond {
			if err := pause(ctx, 2*time.Millisecond); err != nil {
				return err
			}
		}
	}
}

// Detach makes the server forget its source. It refuses while there is
// something received that is not applied: that would be lost.
func (s *Session) Detach(ctx context.Context) error {
	status, err := s.status(ctx)
	if err != nil || status == nil {
		return err
	}
	// Both stopped: MariaDB will drop the rest of the relay log whatever we do.
	if dropped := !s.d.KeepsRelayLog && stopped(status); !dropped {
		executed, err := s.executed(ctx)
		if err != nil {
			return err
		}
		if !executed.Contains(status.Received) {
			return fmt.Errorf("%w: %s", ErrNotApplied, status.Received.Subtract(executed))
		}
	}
	if err := s.conn.Exec(ctx, s.d.Stop()); err != nil {
		return fmt.Errorf("stop replication: %w", err)
	}
	if err := s.conn.Exec(ctx, s.d.Reset()); err != nil {
		return fmt.Errorf("forget the source: %w", err)
	}
	if status, err = s.status(ctx); err != nil {
		return err
	}
	if status != nil {
		return fmt.Errorf("%w: the source is still %s", ErrNotTaken, status.Source)
	}
	return nil
}

func stopped(st *dialect.Status) bool {
	return st.IO == topology.ThreadStopped && st.SQL == topology.ThreadStopped
}

// StartReplica starts both threads and sees that they run; the receiver may
// still be connecting.
func (s *Session) StartReplica(ctx context.Context) error {
	status, err := s.status(ctx)
	if err != nil {
		return err
	}
	if status == nil {
		return ErrNotReplica
	}
	if status.IO != topology.ThreadStopped && status.SQL == topology.ThreadRunning {
		return nil
	}
	return s.start(ctx)
}

func (s *Session) start(ctx context.Context) error {
	if err := s.conn.Exec(ctx, s.d.Start()); err != nil {
		return fmt.Errorf("start replication: %w", err)
	}
	return s.until(ctx, "both threads run", func(st *dialect.Status) (bool, error) {
		switch {
		case st == nil:
			return false, ErrNotReplica
		case st.SQL == topology.ThreadStopped && st.SQLErrno != 0:
			return false, applierError(st)
		case st.IO == topology.ThreadStopped && st.IOErrno != 0:
			return false, fmt.Errorf("the replica's IO thread stopped: error %d: %s", st.IOErrno, st.IOError)
		}
		return st.IO != topology.ThreadStopped && st.SQL == topology.ThreadRunning, nil
	})
}

// Repoint makes the server replicate from source by GTID, with the configured
// credentials and options. If holds is not empty, it is what the source is known
// to hold, and a server with anything else is refused with ErrDiverged.
//
// Nothing is drained first. What was received and not applied is dropped with
// the relay log, and that is right both ways: what the new source has too is
// fetched from it again, and what it lacks must not be applied here.
func (s *Session) Repoint(ctx context.Context, source topology.Key, holds gtid.Set) error {
	statement, err := s.d.ChangeSource(s.pointer(source))
	if err != nil {
		return fmt.Errorf("point to %s: %w", source, err)
	}
	if done, err := s.pointed(ctx, source); err != nil || done {
		return err
	}
	if err := s.compare(ctx, holds); err != nil {
		return err
	}
	if err := s.conn.Exec(ctx, s.d.Stop()); err != nil {
		return fmt.Errorf("stop replication: %w", err)
	}
	// The applier may have gone on until just now.
	if err := s.compare(ctx, holds); err != nil {
		return err
	}
	if adopt := s.d.AdoptOwnWrites(); adopt != "" {
		if err := s.conn.Exec(ctx, adopt); err != nil {
			return fmt.Errorf("begin after the server's own writes: %w", err)
		}
	}
	if err := s.conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("point to %s: %w", source, masked(s.conn.Address, err))
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	status, err := s.status(ctx)
	if err != nil {
		return err
	}
	if status == nil || status.Source != source || !status.UsesGTID {
		return fmt.Errorf("%w: the source is not %s by GTID", ErrNotTaken, source)
	}
	return nil
}

func (s *Session) compare(ctx context.Context, holds gtid.Set) error {
	if holds.IsEmpty() {
		return nil
	}
	executed, err := s.executed(ctx)
	if err != nil {
		return err
	}
	if !holds.Contains(executed) {
		return fmt.Errorf("%w: %s", ErrDiverged, executed.Subtract(holds))
	}
	return nil
}

// masked keeps the server's number and drops its words, which quote the
// statement, with the password in it.
func masked(address topology.Key, err error) error {
	if number := link.ServerError(err); number != 0 {
		return fmt.Errorf("%s: the server refused with error %d", address, number)
	}
	return err
}

func (s *Session) pointer(source topology.Key) dialect.Pointer {
	r := s.cfg.Replication
	p := dialect.Pointer{
		Host: source.Host, Port: source.Port, User: r.User, ConnectRetry: r.ConnectRetry,
		RetryCount: r.RetryCount, Heartbeat: r.HeartbeatPeriod, TLS: r.TLS, CA: r.CA, Cert: r.Cert, Key: r.Key,
	}
	if r.Password != nil {
		p.Password = r.Password()
	}
	return p
}

// pointed tells whether the server already replicates from source as it
// should. The password cannot be read back; but the receiver is connected with it.
func (s *Session) pointed(ctx context.Context, source topology.Key) (bool, error) {
	st, err := s.status(ctx)
	if err != nil || st == nil {
		return false, err
	}
	r := s.cfg.Replication
	if st.Source != source || !st.UsesGTID || st.User != r.User ||
		st.IO != topology.ThreadRunning || st.SQL != topology.ThreadRunning ||
		st.ConnectRetry != max(time.Second, r.ConnectRetry.Truncate(time.Second)) ||
		s.d.RetryCount && st.RetryCount != r.RetryCount {
		return false, nil
	}
	if !r.sameTLS(st) {
		return false, nil
	}
	period, err := s.heartbeat(ctx, st)
	return period == r.HeartbeatPeriod.Truncate(time.Millisecond), err
}

// sameTLS tells whether the receiver has the TLS options that are configured.
func (r Replication) sameTLS(st *dialect.Status) bool {
	same := func(configured, set string) bool { return configured == "" || configured == set }
	switch r.TLS {
	case dialect.TLSKeep:
		return true
	case dialect.TLSOff:
		return !st.TLS
	default:
		return st.TLS && st.TLSVerify == (r.TLS == dialect.TLSVerify) &&
			same(r.CA, st.CA) && same(r.Cert, st.Cert) && same(r.Key, st.Key)
	}
}

func (s *Session) heartbeat(ctx context.Context, st *dialect.Status) (time.Duration, error) {
	if s.d.Heartbeat == "" {
		return st.HeartbeatPeriod, nil
	}
	row, err := s.conn.QueryRow(ctx, s.d.Heartbeat)
	if err != nil {
		return 0, fmt.Errorf("read the heartbeat period: %w", err)
	}
	return dialect.Seconds(row["period"])
}

func serverID(row link.Row) (uint32, error) {
	id, err := strconv.ParseUint(row["server_id"], 10, 32)
	if err != nil {
		return 0, fmt.Errorf("server_id %q: %w", row["server_id"], err)
	}
	return uint32(id), nil
}
