package verbs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"switchyard/integrations/mysql/link"
)

// SetWritable lets all users write.
func (s *Session) SetWritable(ctx context.Context) error {
	readOnly, super, err := s.readOnly(ctx)
	if err != nil || !readOnly && !super {
		return err
	}
	if err := s.conn.Exec(ctx, s.d.ReadOnly(false)); err != nil {
		return fmt.Errorf("make writable: %w", err)
	}
	readOnly, super, err = s.readOnly(ctx)
	if err == nil && (readOnly || super) {
		err = fmt.Errorf("make writable: %w: it is read-only", ErrNotTaken)
	}
	return err
}

// SetReadOnly holds all users that the server can hold. It waits behind commits
// and locks for no longer than the configured LockTimeout, then calls it off
// with ErrBlocked; the session lives on.
func (s *Session) SetReadOnly(ctx context.Context) error {
	if done, err := s.isReadOnly(ctx); err != nil || done {
		return err
	}
	if err := s.bounded(ctx, s.d.ReadOnly(true)); err != nil {
		return fmt.Errorf("make read-only: %w", err)
	}
	done, err := s.isReadOnly(ctx)
	if err == nil && !done {
		err = fmt.Errorf("make read-only: %w: it is writable", ErrNotTaken)
	}
	return err
}

func (s *Session) isReadOnly(ctx context.Context) (bool, error) {
	readOnly, super, err := s.readOnly(ctx)
	return readOnly && (super || !s.d.SuperReadOnly), err
}

func (s *Session) readOnly(ctx context.Context) (readOnly, super bool, err error) {
	row, err := s.conn.QueryRow(ctx, s.d.ReadOnlyState())
	if err != nil {
		return false, false, fmt.Errorf("read read_only: %w", err)
	}
	return row["read_only"] == "1", row["super_read_only"] == "1", nil
}

const (
	errLockWait    = 1205
	errInterrupted = 1317
)

// bounded runs a statement that may wait for locks. lock_wait_timeout counts
// whole seconds, so at LockTimeout a second connection interrupts the statement:
// our own, and no transaction, so that KILL QUERY harms nobody. The server's own
// timeout stays behind it, for when that connection cannot be had; a statement
// that took effect after we gave up would be worse than none.
func (s *Session) bounded(ctx context.Context, statement string) error {
	seconds := int((s.cfg.LockTimeout + time.Second - 1) / time.Second)
	if err := s.conn.Exec(ctx, "SET SESSION lock_wait_timeout = "+strconv.Itoa(seconds)); err != nil {
		return err
	}
	watch, cancel := context.WithCancel(ctx)
	interrupted := make(chan bool, 1)
	go func() { interrupted <- s.interruptAfter(watch, s.cfg.LockTimeout) }()
	err := s.conn.Exec(ctx, statement)
	cancel()
	if <-interrupted {
		// An interrupt that came too late hits the next statement.
		if late := s.conn.Exec(ctx, "DO 0"); late != nil && link.ServerError(late) != errInterrupted {
			return errors.Join(err, late)
		}
	}
	if number := link.ServerError(err); number == errLockWait || number == errInterrupted {
		return fmt.Errorf("%w for %v: %w", ErrBlocked, s.cfg.LockTimeout, err)
	}
	return err
}

// interruptAfter interrupts the session's statement unless ctx ends before. It
// reports whether it sent anything.
func (s *Session) interruptAfter(ctx context.Context, d time.Duration) bool {
	if pause(ctx, d) != nil {
		return false
	}
	conn, err := link.Dial(ctx, linkConfig(s.cfg), s.conn.Address)
	if err != nil {
		s.log.Debug("cannot interrupt a blocked statement", "err", err)
		return false
	}
	defer conn.Close()
	if err := conn.Exec(ctx, "KILL QUERY "+strconv.FormatUint(s.conn.ID, 10)); err != nil {
		s.log.Debug("interrupting a blocked statement", "err", err)
	}
	return true
}
