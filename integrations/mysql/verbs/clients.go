package verbs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"switchyard/controller/gtid"
	"switchyard/integrations/mysql/dialect"
	"switchyard/integrations/mysql/link"
)

// EndClients kills the connection of every client that is there, again and again
// until none of these is left or ctx ends; then it returns ErrClientsLeft. Who
// comes after that is not waited for: clients that are turned away come back at
// once, and from far away there is never a moment without one. Spared are the
// server's own threads, replication, our own user's and the replication user's
// sessions, and KeepUsers. Queries are never killed alone: on MariaDB that lets a
// commit which waits for its semi-sync acknowledgement answer OK. Even so, on
// MariaDB the end of such a connection makes its commit visible: cut clients off
// at the proxies first.
func (s *Session) EndClients(ctx context.Context) (ended, left int, err error) {
	killed := map[string]bool{}
	var refused error
	var there []string
	// The loop ends a little before ctx, whose end in the midst of a statement
	// would cost the session.
	loop, cancel := beforeEnd(ctx)
	defer cancel()
	for first := true; ; first = false {
		begun := time.Now()
		clients, err := s.clients(ctx)
		if err != nil && ctx.Err() != nil && left > 0 {
			err = fmt.Errorf("%w: %d: %w", ErrClientsLeft, left, err)
		}
		if err != nil {
			return ended, left, err
		}
		if first {
			there = slices.Clone(clients)
		}
		clients = slices.DeleteFunc(clients, func(id string) bool { return !slices.Contains(there, id) })
		ended, left = len(killed), len(clients)
		for _, id := range clients {
			if killed[id] {
				ended-- // killed, and still there
			}
		}
		if left == 0 {
			return ended, 0, nil
		}
		round := time.Since(begun)
		// A kill takes no longer than the list did; how long it does take tells the first.
		ends, takes := ctx, round
		for _, id := range clients {
			if killed[id] || late(ends, takes) {
				continue
			}
			began := time.Now()
			err := s.kill(ctx, id)
			ends, takes = loop, 2*time.Since(began)
			switch {
			case link.Lost(err):
				return ended, left, err
			case err != nil:
				refused = fmt.Errorf("kill connection %s: %w", id, err)
				continue
			}
			killed[id] = true
		}
		err = pause(loop, 5*time.Millisecond)
		if err == nil && late(loop, 2*round) {
			err = context.DeadlineExceeded
		}
		if err != nil {
			return ended, left, errors.Join(fmt.Errorf("%w: %d: %w", ErrClientsLeft, left, err), refused)
		}
	}
}

// late reports whether ctx ends before a statement would that takes so long.
func late(ctx context.Context, takes time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < takes
}

// EndWaiters kills, on MariaDB, the connections whose commits wait for an
// acknowledgement that cannot come any more: a replica that began to acknowledge
// after it had received them is not asked again. Their commits become visible,
// so their transactions must be where they are to be. The others in the same
// group of commits are answered OK. Elsewhere a kill ends no such wait.
func (s *Session) EndWaiters(ctx context.Context) error {
	if s.d.Flavor != gtid.MariaDB {
		return nil
	}
	sets, err := s.conn.Query(ctx, "SELECT ID AS id FROM "+dialect.PlainSessions+
		" WHERE STATE LIKE 'Waiting for semi-sync ACK%' AND COMMAND <> 'Binlog Dump' AND ID <> CONNECTION_ID()")
	if err != nil {
		return fmt.Errorf("list the sessions that wait: %w", err)
	}
	for _, set := range sets {
		for _, row := range set {
			if err := s.kill(ctx, row["id"]); err != nil {
				return fmt.Errorf("kill connection %s: %w", row["id"], err)
			}
		}
	}
	return nil
}

// beforeEnd ends a little before ctx does.
func beforeEnd(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(50*time.Millisecond, time.Until(deadline)/4)))
}

// clients lists the connections that EndClients is to end.
func (s *Session) clients(ctx context.Context) ([]string, error) {
	all, err := s.sessions(ctx, s.d.Sessions)
	if err != nil {
		return nil, err
	}
	own := strconv.FormatUint(s.conn.ID, 10)
	isOwn := func(row link.Row) bool { return row["id"] == own }
	if !slices.ContainsFunc(all, isOwn) {
		// performance_schema may be switched off, and is empty then.
		if all, err = s.sessions(ctx, dialect.PlainSessions); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(all, isOwn) {
			return nil, errors.New("the list of sessions does not even show our own: grant PROCESS")
		}
	}
	keep := append([]string{
		s.cfg.User, s.cfg.Replication.User,
		"system user", "event_scheduler", "unauthenticated user", // who is not in yet cannot write yet
	}, s.cfg.KeepUsers...)
	var ids []string
	for _, row := range all {
		command := row["command"]
		if slices.Contains(keep, row["user"]) || command == "Daemon" || strings.HasPrefix(command, "Binlog Dump") {
			continue
		}
		ids = append(ids, row["id"])
	}
	return ids, nil
}

func (s *Session) sessions(ctx context.Context, table string) ([]link.Row, error) {
	sets, err := s.conn.Query(ctx, "SELECT ID AS id, USER AS user, COMMAND AS command FROM "+table)
	if err != nil {
		return nil, fmt.Errorf("list the sessions: %w", err)
	}
	if len(sets) != 1 {
		return nil, fmt.Errorf("list the sessions: %d answers to one question", len(sets))
	}
	return sets[0], nil
}
