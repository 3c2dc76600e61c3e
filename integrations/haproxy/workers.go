package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"switchyard/router/haproxy"
	"switchyard/router/routes"
)

// hangUpper is a connection on which one side can say that it has said all.
type hangUpper interface{ CloseWrite() error }

// askMaster sends commands to the master process and returns all that it
// answers. Each call is a connection: the master has no prompt of its own to
// tell answers apart by, and ends the connection once it has answered.
func (p *Proxy) askMaster(ctx context.Context, commands ...string) (string, error) {
	conn, err := dial(ctx, *p.master)
	if err != nil {
		return "", err
	}
	defer conn.close()
	if err := conn.send(strings.Join(commands, "\n") + "\n"); err != nil {
		return "", fmt.Errorf("send %q: %w", commands[0], cause(ctx, err))
	}
	half, ok := conn.conn.(hangUpper)
	if !ok {
		return "", fmt.Errorf("a connection of kind %T cannot be closed on one side", conn.conn)
	}
	if err := half.CloseWrite(); err != nil && !errors.Is(err, net.ErrClosed) {
		return "", fmt.Errorf("send %q: %w", commands[0], cause(ctx, err))
	}
	answer, err := io.ReadAll(io.LimitReader(conn.reader, maxAnswer+1))
	if err != nil {
		return "", fmt.Errorf("answer to %q: %w", commands[0], cause(ctx, err))
	}
	conn.unanswered = false
	if len(answer) > maxAnswer {
		return "", fmt.Errorf("answer to %q: more than %d bytes", commands[0], maxAnswer)
	}
	return string(answer), nil
}

// askPatiently asks until the context ends: during a reload the master process
// starts itself anew, and for some tens of milliseconds nobody listens.
func (p *Proxy) askPatiently(ctx context.Context, commands ...string) (string, error) {
	for {
		answer, err := p.askMaster(ctx, commands...)
		if err == nil && answer != "" {
			return answer, nil
		}
		if err == nil {
			err = fmt.Errorf("answer to %q: nothing", commands[0])
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(lastPause):
		}
	}
}

// oldSessions lists a slot's sessions in the workers that earlier reloads
// left, by worker. One that ends while it is asked is looked for again.
func (p *Proxy) oldSessions(ctx context.Context, slot haproxy.Backend) (sessions map[int][]string, count int, err error) {
	for {
		sessions, count, err = p.listOldSessions(ctx, slot)
		if !errors.Is(err, haproxy.ErrWorkerSilent) {
			return sessions, count, err
		}
		select {
		case <-ctx.Done():
			return nil, 0, err
		case <-time.After(lastPause):
		}
	}
}

func (p *Proxy) listOldSessions(ctx context.Context, slot haproxy.Backend) (sessions map[int][]string, count int, err error) {
	answer, err := p.askPatiently(ctx, haproxy.ShowProcesses)
	if err != nil {
		return nil, 0, err
	}
	workers, err := haproxy.ParseOldWorkers(answer)
	if err != nil {
		return nil, 0, err
	}
	sessions = make(map[int][]string)
	for _, pid := range workers {
		if answer, err = p.askPatiently(ctx, haproxy.ShowSessions(pid)); err != nil {
			return nil, 0, err
		}
		of, err := haproxy.ParseSessionsOf(slot, answer)
		if err != nil {
			return nil, 0, fmt.Errorf("old worker %d: %w", pid, err)
		}
		if len(of) > 0 {
			sessions[pid] = of
			count += len(of)
		}
	}
	return sessions, count, nil
}

// endOldSessions ends a slot's sessions in old workers, and returns once none
// is seen any more.
func (p *Proxy) endOldSessions(ctx context.Context, slot haproxy.Backend) (left int, err error) {
	if p.master == nil {
		return 0, nil
	}
	pause := firstPause
	// As in the worker itself, a session that had not chosen the slot yet can
	// appear in it after the first look.
	for looks := 0; looks < 2; {
		sessions, count, err := p.oldSessions(ctx, slot)
		if err != nil {
			if left > 0 && ctx.Err() != nil {
				err = fmt.Errorf("%w: %w", routes.ErrNotYet, err)
			}
			return left, fmt.Errorf("old workers: %d sessions were left: %w", left, masterError(err))
		}
		if left = count; left == 0 {
			looks++
			continue
		}
		looks = 0
		for pid, ids := range sessions {
			commands := make([]string, len(ids))
			for i, id := range ids {
				commands[i] = haproxy.ShutSession(pid, id)
			}
			// What it answers proves nothing; the next look does.
			if _, err := p.askPatiently(ctx, commands...); err != nil {
				return left, fmt.Errorf("old worker %d: %w", pid, masterError(err))
			}
		}
		select {
		case <-ctx.Done():
			return left, fmt.Errorf("old workers: %d sessions are left: %w: %w", left, routes.ErrNotYet, context.Cause(ctx))
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
	return 0, nil
}

// current refuses a process that a reload has replaced while it was spoken to: what
// it says is nothing of the one that takes connections now.
func (p *Proxy) current(ctx context.Context, talk *talk) error {
	if p.master == nil {
		return nil
	}
	answer, err := p.askPatiently(ctx, haproxy.ShowProcesses)
	if err != nil {
		return masterError(err)
	}
	workers, err := haproxy.ParseWorkers(answer)
	if err != nil {
		return err
	}
	answers, err := talk.exchange(ctx, haproxy.ShowInfo)
	if err != nil {
		return err
	}
	pid, err := haproxy.ParsePid(answers[0])
	if err != nil {
		return err
	}
	if !slices.Contains(workers, pid) {
		return fmt.Errorf("a reload has replaced process %d meanwhile: %w", pid, routes.ErrNotYet)
	}
	return nil
}

// masterError keeps a master process that is not found from being taken for a
// proxy that is not running: the worker has just answered.
func masterError(err error) error {
	if errors.Is(err, routes.ErrNotRunning) {
		return fmt.Errorf("the master process: nobody listens where the configuration says: %v", err)
	}
	return err
}

// notRunning says whether a refused runtime API means that nobody serves. Where
// a master process answers, it does not: old workers may live, or a reload is
// under way.
func (p *Proxy) notRunning(ctx context.Context, refused error) error {
	if p.master == nil || !errors.Is(refused, routes.ErrNotRunning) {
		return refused
	}
	if _, err := p.askMaster(ctx, haproxy.ShowProcesses); errors.Is(err, routes.ErrNotRunning) {
		return refused
	} else if err != nil {
		return fmt.Errorf("nobody listens for the runtime API, and the master process is not known to be gone: %w", err)
	}
	return errors.New("nobody listens for the runtime API, and its master process runs")
}
