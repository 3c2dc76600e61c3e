// Package fence is the hands on the mysqld of this host: it takes the right to
// write from it, kills it where that does not take, and knows at once when its
// process ends, and how.
package fence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Session is a connection to the server, over its local socket.
type Session interface {
	// SetReadOnly holds all users that can be held, or returns an error after a
	// short time if commits or locks are in its way.
	SetReadOnly(ctx context.Context) error
	// EndClients ends the clients' connections until none is left or ctx ends.
	EndClients(ctx context.Context) (ended, left int, err error)
	// EndingReveals tells whether the end of a connection makes a commit readable
	// that waits for its acknowledgement.
	EndingReveals(ctx context.Context) (bool, error)
	Close()
}

// Opener connects to the server.
type Opener interface {
	Open(ctx context.Context) (Session, error)
}

// Victim is the server's process.
type Victim interface {
	// Kill sends SIGKILL. A process that is gone is no error.
	Kill() error
	// Wait waits for the end of the process.
	Wait(ctx context.Context) (Exit, error)
	PID() int
}

// Outcome is how a server came to take no writes.
type Outcome int

// The outcomes.
const (
	// None: it may take writes.
	None Outcome = iota
	// ReadOnly was set and read back, and the clients from before were ended.
	ReadOnly
	// Ended: the process is gone.
	Ended
)

// Result is what a fence did.
type Result struct {
	Outcome Outcome
	// Killed is set where the process was killed by us, and Why is what kept
	// read-only from taking.
	Killed bool
	Why    string
	// Ended and Left are clients: whose connection was ended, and who connected
	// since or has not gone yet. They cannot write.
	Ended, Left int
}

// Config is how a server is fenced.
type Config struct {
	// Cut is how long ending the clients may take before read-only is tried (0 is
	// 100 ms), and once more after it.
	Cut time.Duration
	// Again is the pause between two attempts; 0 is 20 ms.
	Again time.Duration
	// Kill is how long a killed process may take to be gone; 0 is one second.
	Kill time.Duration
}

// Fencer fences one server.
type Fencer struct {
	cfg  Config
	open Opener
	log  *slog.Logger
}

// New returns the hands on the server that open connects to.
func New(cfg Config, open Opener, log *slog.Logger) *Fencer {
	cfg.Cut = cmp.Or(cfg.Cut, 100*time.Millisecond)
	cfg.Again = cmp.Or(cfg.Again, 20*time.Millisecond)
	cfg.Kill = cmp.Or(cfg.Kill, time.Second)
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Fencer{cfg: cfg, open: open, log: log}
}

// Fence makes the server read-only by then, or else kills its process. Without
// an error the server takes no writes.
func (f *Fencer) Fence(ctx context.Context, victim Victim, by time.Time) (Result, error) {
	try, cancel := context.WithDeadline(ctx, by)
	defer cancel()
	// A process that ends is as good, and there is nobody left to wait for.
	ended := make(chan error, 1)
	watch, stop := context.WithCancel(try)
	go func() {
		_, err := victim.Wait(watch)
		if err == nil {
			cancel()
		}
		ended <- err
	}()
	result, why := f.readOnly(try)
	stop()
	gone := <-ended == nil
	switch {
	case gone:
		result.Outcome = Ended
		return result, nil
	case why == nil:
		return result, nil
	case ctx.Err() != nil:
		return result, fmt.Errorf("fence: %w", ctx.Err())
	}
	f.log.Warn("read-only did not take in time: the server is killed", "pid", victim.PID(), "err", why)
	killed, err := f.Kill(ctx, victim)
	killed.Why, killed.Ended, killed.Left = why.Error(), result.Ended, result.Left
	return killed, err
}

// Kill ends the process, and returns when it is gone.
func (f *Fencer) Kill(ctx context.Context, victim Victim) (Result, error) {
	if err := victim.Kill(); err != nil {
		return Result{}, fmt.Errorf("kill process %d: %w", victim.PID(), err)
	}
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Kill)
	defer cancel()
	if _, err := victim.Wait(ctx); err != nil {
		return Result{}, fmt.Errorf("process %d was killed and is not gone after %s: %w", victim.PID(), f.cfg.Kill, err)
	}
	return Result{Outcome: Ended, Killed: true}, nil
}

// readOnly tries until ctx ends.
func (f *Fencer) readOnly(ctx context.Context) (Result, error) {
	var last error
	for {
		result, err := f.attempt(ctx)
		if err == nil {
			return result, nil
		}
		// The deadline itself says less than what came before it.
		if last == nil || !errors.Is(err, context.DeadlineExceeded) {
			last = err
		}
		select {
		case <-ctx.Done():
			return result, last
		case <-time.After(f.cfg.Again):
		}
	}
}

// attempt is one try on a connection of its own: one that was lost tells
// nothing about the next.
func (f *Fencer) attempt(ctx context.Context) (Result, error) {
	session, err := f.open.Open(ctx)
	if err != nil {
		return Result{}, err
	}
	defer session.Close()
	reveals, err := session.EndingReveals(ctx)
	if err != nil {
		return Result{}, err
	}
	var result Result
	if !reveals {
		// Whoever holds a lock or is in the middle of a transaction would hold
		// read-only up. Who is left is told from it by read-only itself.
		if result.Ended, _, err = f.cut(ctx, session); err != nil {
			return result, err
		}
	}
	if err := session.SetReadOnly(ctx); err != nil {
		return result, err
	}
	ended, left, err := f.cut(ctx, session)
	result.Ended, result.Left = result.Ended+ended, left
	if err != nil {
		return result, err
	}
	result.Outcome = ReadOnly
	return result, nil
}

// cut ends the clients for as long as it may take. Clients that reconnect
// faster than that are no error: they are not those from before.
func (f *Fencer) cut(ctx context.Context, session Session) (ended, left int, err error) {
	within, cancel := context.WithTimeout(ctx, f.cfg.Cut)
	defer cancel()
	ended, left, err = session.EndClients(within)
	if err != nil && left > 0 && errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return ended, left, err
}
