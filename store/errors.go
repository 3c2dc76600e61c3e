// Package store keeps the ledger on several controllers at once: raft orders
// the commands, a pure state machine applies them, SQLite holds the result.
package store

import (
	"errors"
	"fmt"
	"syscall"

	"switchyard/store/sqlite"
)

var (
	// ErrNotLeader is returned for what only the leader may do. Nothing was sent.
	ErrNotLeader = errors.New("this controller is not the leader")
	// ErrUnknownOutcome is wrapped when a command was sent and its fate is not
	// known: it may be applied now, later, or never. Sending it again is right,
	// since a command that is repeated changes nothing or is rejected.
	ErrUnknownOutcome = errors.New("the command was sent, but its outcome is unknown")
	// ErrClosed is returned once the store was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrLocked is wrapped when another process uses the data directory.
	ErrLocked = errors.New("another process is using it")
	// ErrForeign is wrapped when the data directory belongs to another
	// controller or another cluster of controllers.
	ErrForeign = errors.New("it belongs to another controller")
	// ErrDamaged is wrapped when the data directory cannot be trusted any more.
	ErrDamaged = errors.New("its content is damaged")
	// ErrNewer is wrapped when what is whole cannot be read: a newer release wrote it.
	ErrNewer = errors.New("a newer release wrote it")
)

// damaged says what is wrong with a data directory, and the way out of it.
func damaged(dir string, cause error) error {
	return fmt.Errorf("data directory %s: %w: %w; while a majority of the other controllers is up and in step, "+
		"take this one out (`switchyard controllers remove`), remove the directory, start it with join: true and add it again "+
		"(a single controller has to be restored from a backup)", dir, ErrDamaged, cause)
}

// newer says what this release cannot read. To remove the directory would not help:
// the others would send the same again.
func newer(dir string, cause error) error {
	return fmt.Errorf("data directory %s: %w: %w; nothing is lost: run the release that the other controllers run", dir, ErrNewer, cause)
}

// distrusted is damaged, or newer where that is the cause.
func distrusted(dir string, cause error) error {
	if errors.Is(cause, ErrNewer) {
		return newer(dir, cause)
	}
	return damagedOrFull(dir, cause)
}

// errNoNextFile is wrapped where raft's log could not begin a file: raft-wal only logs
// why, and it is the space in nearly all cases.
var errNoNextFile = errors.New("there may be no space")

// full reports whether there was no space.
func full(err error) bool {
	return errors.Is(err, sqlite.ErrFull) || errors.Is(err, errNoNextFile) ||
		errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EFBIG) || errors.Is(err, syscall.EDQUOT)
}

// damagedOrFull is damaged, except where there was no space.
func damagedOrFull(dir string, cause error) error {
	if full(cause) {
		return fmt.Errorf("data directory %s: %w", dir, cause)
	}
	return damaged(dir, cause)
}

// room adds to an error for want of space what is to be done.
func room(dir string, err error) error {
	if !full(err) {
		return err
	}
	return fmt.Errorf("%w; make room for data_dir %s and start this controller again: what was acknowledged is kept", err, dir)
}

func foreign(dir string, cause error) error {
	return fmt.Errorf("data directory %s: %w: %w", dir, ErrForeign, cause)
}
