package haproxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"switchyard/router/haproxy"
	"switchyard/router/routes"
)

// talk is one conversation with a runtime API. It breaks off with the context
// that it was opened with, which its methods are given too, to say why.
type talk struct {
	conn   net.Conn
	reader *bufio.Reader
	stop   func() bool
	// deadline is the context's. Nothing is sent after it: whoever gave it may
	// count on that, even if this process was stopped for a while, and its
	// timers have yet to run.
	deadline time.Time
	// unanswered is true while something was sent whose answer has not come.
	unanswered bool
	// greeted is true once HAProxy was asked to keep the connection open.
	greeted bool
}

// prompt ends each answer of the interactive mode, in which one connection
// carries many commands. In the other one HAProxy hangs up after each.
const prompt = "\n> "

// maxAnswer bounds what one answer may take of our memory.
const maxAnswer = 4 << 20

// dial opens a conversation; ctx must have a deadline.
func dial(ctx context.Context, target haproxy.Target) (*talk, error) {
	conn, err := new(net.Dialer).DialContext(ctx, target.Network, target.Address)
	if errors.Is(err, syscall.ECONNREFUSED) {
		// The host answered, and nobody listens. Nothing else counts as proof of
		// a dead proxy: a missing socket may be a wrong path, a timeout anything.
		return nil, fmt.Errorf("%w: %w", routes.ErrNotRunning, err)
	}
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	t := &talk{conn: conn, reader: bufio.NewReader(conn)}
	if deadline, ok := ctx.Deadline(); ok {
		t.deadline = deadline
		if err := conn.SetDeadline(deadline); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("set the deadline: %w", err)
		}
	}
	// The end of the context ends whatever read or write is under way.
	t.stop = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return t, nil
}

func (t *talk) close() {
	t.stop()
	// What was not answered may not have got through, and the kernel would go on
	// sending it for minutes: it would be carried out when somebody else has long
	// said something newer.
	if conn, ok := t.conn.(*net.TCPConn); ok && t.unanswered {
		_ = conn.SetLinger(0) // of a connection that is gone, nothing is sent
	}
	_ = t.conn.Close() // there is no error that would matter
}

// exchange sends the commands in one write and returns their answers. HAProxy
// carries them out in order, so no round trip is spent between them.
func (t *talk) exchange(ctx context.Context, commands ...string) ([]string, error) {
	lines := commands
	if !t.greeted {
		lines = append([]string{"prompt"}, commands...)
	}
	if err := t.send(strings.Join(lines, "\n") + "\n"); err != nil {
		return nil, fmt.Errorf("send %q: %w", commands, cause(ctx, err))
	}
	answers := make([]string, 0, len(lines))
	for _, line := range lines {
		answer, err := t.answer()
		if err != nil {
			return nil, fmt.Errorf("answer to %q: %w", line, cause(ctx, err))
		}
		answers = append(answers, answer)
	}
	t.unanswered = false
	if !t.greeted {
		t.greeted = true
		if answers[0] != "" {
			return nil, &haproxy.RefusedError{Command: lines[0], Answer: answers[0]}
		}
		answers = answers[1:]
	}
	return answers, nil
}

func (t *talk) send(text string) error {
	if !t.deadline.IsZero() && !time.Now().Before(t.deadline) {
		return context.DeadlineExceeded
	}
	t.unanswered = true
	_, err := t.conn.Write([]byte(text))
	return err
}

// cause prefers the reason why a connection was broken off to what that did.
func cause(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return context.DeadlineExceeded // the connection's timer ran before the context's
	}
	return err
}

func (t *talk) answer() (string, error) {
	var text []byte
	for !bytes.HasSuffix(text, []byte(prompt)) {
		part, err := t.reader.ReadSlice(' ')
		text = append(text, part...)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return "", fmt.Errorf("after %d bytes: %w", len(text), err)
		}
		if len(text) > maxAnswer {
			return "", fmt.Errorf("more than %d bytes", maxAnswer)
		}
	}
	return string(text[:len(text)-len(prompt)]), nil
}

// look reads what the slot shows.
func (t *talk) look(ctx context.Context, slot haproxy.Backend) (haproxy.State, error) {
	answers, err := t.exchange(ctx, haproxy.ReadBack(slot)...)
	if err != nil {
		return haproxy.State{}, err
	}
	return haproxy.ParseState(slot, answers)
}

// lookReaders reads what the slots of readers show.
func (t *talk) lookReaders(ctx context.Context, readers haproxy.Readers) ([]haproxy.State, error) {
	answers, err := t.exchange(ctx, haproxy.ReadBackReaders(readers)...)
	if err != nil {
		return nil, err
	}
	return haproxy.ParseReaders(readers, answers)
}

// run sends commands that must all be carried out.
func (t *talk) run(ctx context.Context, commands []string) error {
	answers, err := t.exchange(ctx, commands...)
	if err != nil {
		return err
	}
	for i, command := range commands {
		if err := haproxy.Accepted(command, answers[i]); err != nil {
			return err
		}
	}
	return nil
}

const (
	firstPause = 200 * time.Microsecond
	lastPause  = 10 * time.Millisecond
)

// carry sends a phase's commands, and looks until the slot shows what they
// were to bring about.
func (t *talk) carry(ctx context.Context, slot haproxy.Backend, phase haproxy.Phase) (haproxy.State, error) {
	commands, looks, pause, unmet := phase.Commands, 0, firstPause, ""
	for {
		state, err := t.attempt(ctx, slot, commands)
		if err != nil && unmet != "" && ctx.Err() != nil {
			return state, fmt.Errorf("%s: %s: %w: %w", phase.Name, unmet, routes.ErrNotYet, err)
		}
		if err != nil {
			return state, fmt.Errorf("%s: %w", phase.Name, err)
		}
		unmet = phase.Expect.Unmet(state)
		if unmet == "" {
			if looks++; looks >= phase.Expect.Looks {
				return state, nil
			}
			commands = nil
			continue
		}
		looks, commands = 0, phase.Again
		select {
		case <-ctx.Done():
			return state, fmt.Errorf("%s: %s: %w: %w", phase.Name, unmet, routes.ErrNotYet, context.Cause(ctx))
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

func (t *talk) attempt(ctx context.Context, slot haproxy.Backend, commands []string) (haproxy.State, error) {
	answers, err := t.exchange(ctx, append(append([]string(nil), commands...), haproxy.ReadBack(slot)...)...)
	if err != nil {
		return haproxy.State{}, err
	}
	for i, command := range commands {
		if err := haproxy.Accepted(command, answers[i]); err != nil {
			return haproxy.State{}, err
		}
	}
	return haproxy.ParseState(slot, answers[len(commands):])
}
