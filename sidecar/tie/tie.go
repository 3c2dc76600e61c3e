// Package tie ends a mysqld at the end of its lease even if its sidecar is dead
// or frozen by then: a process of its own holds the server by a pidfd, and is
// told again and again until when the server may live.
package tie

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"switchyard/sidecar/guard"
	"switchyard/sidecar/lease"
)

// The pace of the two.
const (
	// beat is how often the watchdog is told at least, and patience how long it
	// may take to say that it heard.
	beat     = 250 * time.Millisecond
	patience = 500 * time.Millisecond
	// fresh is how old its last word may be.
	fresh = lease.Instant(time.Second)
)

// Held is a process that is held by a pidfd.
type Held interface {
	guard.Process
	// Descriptor returns a pidfd of it, for another process to inherit.
	Descriptor() (*os.File, error)
}

// Config is what a tie is told.
type Config struct {
	// Socket is the path on which the watchdog listens, in a directory that nobody
	// else may enter. It outlives the sidecar, and its next run finds it there.
	Socket string
	// Command starts a watchdog, with the process's id as its last argument.
	Command []string
	Clock   func() lease.Instant
}

// Tie keeps a watchdog and tells it until when its process may live. It
// implements guard.Tie. Use New, then Run.
type Tie struct {
	cfg Config
	log *slog.Logger

	mu      sync.Mutex
	process guard.Process
	at      lease.Instant
	heard   lease.Instant // when the watchdog of process last said that it heard
	wake    chan struct{}

	// What follows is Run's alone.
	conn    net.Conn
	conns   guard.Process // whom conn's watchdog holds
	started []int         // watchdogs to be reaped
	problem string
}

// New returns a tie that holds nobody yet.
func New(cfg Config, log *slog.Logger) *Tie {
	return &Tie{cfg: cfg, log: log, at: lease.Never, wake: make(chan struct{}, 1)}
}

// Bind implements guard.Tie.
func (t *Tie) Bind(p guard.Process, at lease.Instant) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.process == p && t.at == at {
		return
	}
	if t.process != p {
		t.heard = 0
	}
	t.process, t.at = p, at
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Holds implements guard.Tie.
func (t *Tie) Holds(p guard.Process) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.process == p && t.heard != 0 && t.cfg.Clock()-t.heard < fresh
}

// Run tells the watchdog until ctx ends. What it was told last stands.
func (t *Tie) Run(ctx context.Context) error {
	defer t.hangUp()
	for ctx.Err() == nil {
		if err := t.turn(ctx); err != nil && ctx.Err() == nil && err.Error() != t.problem {
			t.problem = err.Error()
			t.log.Error("the server is not tied to its sidecar: the lease is no promise", "error", err)
		}
		timer := time.NewTimer(beat)
		select {
		case <-t.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil
}

func (t *Tie) turn(ctx context.Context) error {
	t.reap()
	t.mu.Lock()
	p, at := t.process, t.at
	t.mu.Unlock()
	if p != t.conns {
		t.hangUp()
	}
	if p == nil {
		return nil
	}
	if t.conn == nil {
		conn, err := t.connect(ctx, p)
		if err != nil {
			return err
		}
		t.conn, t.conns = conn, p
	}
	begun := t.cfg.Clock()
	if err := say(t.conn, at); err != nil {
		t.hangUp()
		return fmt.Errorf("the watchdog: %w", err)
	}
	t.problem = ""
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.process == p {
		t.heard = begun
	}
	return nil
}

func (t *Tie) hangUp() {
	if t.conn != nil {
		_ = t.conn.Close() // nothing is on its way
	}
	t.conn, t.conns = nil, nil
}

// connect finds the watchdog that an earlier run has left, or starts one.
func (t *Tie) connect(ctx context.Context, p guard.Process) (net.Conn, error) {
	if conn, pid, err := dial(ctx, t.cfg.Socket); err == nil {
		if pid == p.PID() {
			return conn, nil
		}
		_ = conn.Close() // it holds a process that is about to be gone
	}
	if err := t.start(p); err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	conn, pid, err := dial(ctx, t.cfg.Socket)
	if err == nil && pid != p.PID() {
		_ = conn.Close() // not ours
		err = fmt.Errorf("it holds the process %d, not %d", pid, p.PID())
	}
	if err != nil {
		return nil, fmt.Errorf("the watchdog: %w", err)
	}
	return conn, nil
}

// Release makes the watchdog that an earlier run may have left end nobody.
func Release(ctx context.Context, socket string) error {
	conn, _, err := dial(ctx, socket)
	if err != nil {
		return nil //nolint:nilerr // there is none
	}
	return errors.Join(say(conn, lease.Never), conn.Close())
}

// dial connects to a watchdog, which says whom it holds.
func dial(ctx context.Context, socket string) (net.Conn, int, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, 0, err
	}
	var pid [8]byte
	err = conn.SetDeadline(time.Now().Add(patience))
	if err == nil {
		_, err = io.ReadFull(conn, pid[:])
	}
	if err != nil {
		return nil, 0, errors.Join(err, conn.Close())
	}
	return conn, int(binary.BigEndian.Uint64(pid[:])), nil
}

// say tells a watchdog until when its process may live, and waits for its echo.
func say(conn net.Conn, at lease.Instant) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	var said, echo [8]byte
	binary.BigEndian.PutUint64(said[:], uint64(at))
	if _, err := conn.Write(said[:]); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, echo[:]); err != nil {
		return err
	}
	if echo != said {
		return errors.New("it heard something else")
	}
	return nil
}
