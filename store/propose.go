package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"switchyard/store/codec"
	"switchyard/store/ledger"
)

// maxCommand bounds one entry of the raft log.
const maxCommand = 4 << 20

// Propose sends cmd to the controllers and waits until it is applied here. It
// returns a *ledger.Rejection if the ledger refused it, ErrNotLeader if it was
// not sent, and an error that wraps ErrUnknownOutcome if it was sent and
// leadership, or ctx, ended first.
func (s *Store) Propose(ctx context.Context, cmd ledger.Command) error {
	return <-s.ProposeAsync(ctx, cmd)
}

// ProposeAsync is Propose without the waiting: it returns once the command has
// its place behind those sent before, and the channel gets the one result.
func (s *Store) ProposeAsync(ctx context.Context, cmd ledger.Command) <-chan error {
	result := make(chan error, 1)
	future, err := s.send(ctx, cmd)
	if err != nil {
		result <- err
		return result
	}
	answer := make(chan error, 1)
	go func() {
		defer s.inFlight.Done()
		answer <- outcome(future)
	}()
	go func() {
		select {
		case err := <-answer:
			result <- err
		case <-ctx.Done():
			result <- fmt.Errorf("%s: %w: %w", cmd.Kind(), ErrUnknownOutcome, ctx.Err())
		case <-s.done:
			result <- last(answer, fmt.Errorf("%s: %w: %w", cmd.Kind(), ErrUnknownOutcome, ErrClosed))
		}
	}()
	return result
}

// last prefers an answer that has just come.
func last(answer <-chan error, otherwise error) error {
	select {
	case err := <-answer:
		return err
	default:
		return otherwise
	}
}

// send puts cmd into raft's queue; the caller owes inFlight a Done.
func (s *Store) send(ctx context.Context, cmd ledger.Command) (raft.ApplyFuture, error) {
	data, err := codec.EncodeCommand(cmd)
	if err != nil {
		return nil, err
	}
	if len(data) > maxCommand {
		return nil, fmt.Errorf("%s: the command has %d bytes, at most %d are allowed", cmd.Kind(), len(data), maxCommand)
	}
	wait := s.cfg.Timeouts.Propose
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline))
	}
	if err := ctx.Err(); err != nil || wait <= 0 {
		return nil, fmt.Errorf("%s was not sent: %w", cmd.Kind(), errors.Join(err, context.DeadlineExceeded))
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	if !s.elected() || s.standing.current.Load() != nil || s.expelled() != "" {
		s.inFlight.Done()
		return nil, ErrNotLeader
	}
	return s.raft.ApplyLog(raft.Log{Data: data, Extensions: checksum(data)}, wait), nil
}

// enter counts one more call in flight, unless the store is closing.
func (s *Store) enter() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return ErrClosed
	}
	if err := s.stop.err(); err != nil {
		return err
	}
	s.inFlight.Add(1)
	return nil
}

// outcome waits for raft and tells what became of the command.
func outcome(future raft.ApplyFuture) error {
	if err := future.Error(); err != nil {
		return translate(err)
	}
	if err, ok := future.Response().(error); ok {
		return err
	}
	return nil
}

// translate puts raft's errors into the words of this package.
func translate(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return ErrNotLeader
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("the command was not sent, the leader is busy: %w", context.DeadlineExceeded)
	}
	return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
}

// await runs one of raft's blocking calls, for as long as ctx allows. Those
// calls end with raft at the latest.
func (s *Store) await(ctx context.Context, call func() error) error {
	answer := make(chan error, 1)
	go func() { answer <- call() }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return last(answer, ErrClosed)
	}
}

// VerifyLeader asks a majority whether this controller still leads; nil means
// that it did after the call began, and that State holds all that was committed
// before it became the leader. Until that is so, the error wraps ErrNotLeader.
func (s *Store) VerifyLeader(ctx context.Context) error {
	return s.ask(ctx, "verify leadership", func() error {
		if err := s.inOffice(); err != nil {
			return err
		}
		if err := s.raft.VerifyLeader().Error(); err != nil {
			return err
		}
		// Leadership may have been lost and won again since the first look.
		return s.inOffice()
	})
}

// Barrier waits until all that was committed before is applied here. It serves
// a leader that was just elected, too.
func (s *Store) Barrier(ctx context.Context) error {
	return s.ask(ctx, "barrier", func() error { return s.raft.Barrier(s.cfg.Timeouts.Propose).Error() })
}

func (s *Store) ask(ctx context.Context, what string, call func() error) error {
	if err := s.enter(); err != nil {
		return err
	}
	err := s.await(ctx, func() error {
		defer s.inFlight.Done()
		return call()
	})
	if errors.Is(err, ErrNotLeader) {
		return err
	}
	if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) ||
		errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		return ErrNotLeader
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return s.stop.err()
}
