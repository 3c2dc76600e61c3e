//go:build servers

package quorum_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"switchyard/controller/adminapi/wire"
)

// fault begins an event, and returns what ends it.
func (s *story) fault(ctx context.Context, e event) (end func() error, err error) {
	n, other := s.cast(e)
	nothing := func() error { return nil }
	switch e.kind {
	case kill, stop:
		return func() error { return n.start(ctx) }, n.end(ctx, e.kind == stop)
	case killTwice:
		if err := errors.Join(n.end(ctx, false), n.start(ctx)); err != nil {
			return nothing, err
		}
		rest(ctx, e.by) // into its start, or a little after
		return func() error { return n.start(ctx) }, n.end(ctx, false)
	case killAll:
		return func() error { return s.all(func(n *node) error { return n.start(ctx) }) },
			s.all(func(n *node) error { return n.end(ctx, false) })
	case freeze:
		return func() error { return n.freeze(-1) }, n.freeze(1)
	case stepClock:
		return func() error { return n.stepClock(-e.by) }, n.stepClock(e.by)
	case fillDisk:
		return func() error { return n.fill(ctx, -1) }, n.fill(ctx, 1)
	case add, remove, move:
		return nothing, s.change(ctx, e)
	case transfer:
		return nothing, s.transfer(ctx, n, other)
	case reset:
		s.network.reset(func(l link) bool { return l.from == n.id || l.to == n.id })
		return nothing, nil
	case flap:
		return s.flap(ctx, n, e.by), nil
	case slowLinks:
		links := s.links(n, true, true)
		s.network.slow(e.by, links...)
		return func() error { s.network.slow(-e.by, links...); return nil }, nil
	}
	links := s.severed(e.kind, n, other)
	if links == nil {
		return nothing, fmt.Errorf("there is no fault %q", e.kind)
	}
	s.network.cut(1, links...)
	return func() error { s.network.cut(-1, links...); return nil }, nil
}

// severed are the links that a kind of cut is of.
func (s *story) severed(kind string, n, other *node) []link {
	switch kind {
	case isolate:
		return s.links(n, true, true)
	case deafen:
		return s.links(n, false, true)
	case mute:
		return s.links(n, true, false)
	case cutLink:
		return []link{{n.id, other.id}, {other.id, n.id}}
	case cutOneWay:
		return []link{{n.id, other.id}}
	default:
		return nil
	}
}

// cast finds the controllers that an event is about. The other one is never the same.
func (s *story) cast(e event) (n, other *node) {
	for _, one := range s.nodes {
		if one.id == e.who {
			n = one
		}
		if one.id == e.other {
			other = one
		}
	}
	if e.who == leaderRole {
		n = s.leader.Load()
	}
	for _, one := range s.nodes {
		if n == nil && one != other {
			n = one
		}
		if other == n && one != n {
			other = one
		}
	}
	return n, other
}

// links are those from a controller to all others, or to it, or both.
func (s *story) links(n *node, from, to bool) (out []link) {
	for _, one := range s.nodes {
		if one == n {
			continue
		}
		if from {
			out = append(out, link{n.id, one.id})
		}
		if to {
			out = append(out, link{one.id, n.id})
		}
	}
	return out
}

// flap isolates a controller and lets it back, in turns, until it is ended.
func (s *story) flap(ctx context.Context, n *node, every time.Duration) (end func() error) {
	ctx, cancel := context.WithCancel(ctx)
	links := s.links(n, true, true)
	var flapping sync.WaitGroup
	flapping.Go(func() {
		for ctx.Err() == nil {
			s.network.cut(1, links...)
			rest(ctx, every)
			s.network.cut(-1, links...)
			rest(ctx, every)
		}
	})
	return func() error {
		cancel()
		flapping.Wait()
		return nil
	}
}

// transfer asks a controller to have another one lead. What comes of it is what the others believe.
func (s *story) transfer(ctx context.Context, n, to *node) error {
	body, err := json.Marshal(wire.TransferRequest{To: to.id, Asker: wire.Asker{By: "transfer", Reason: "to see it done"}})
	if err != nil {
		return err
	}
	result, said := ask(ctx, n.url()+wire.PathTransferLeader, body)
	s.record.note("leadership to %s: %s", to.id, said)
	if result == done {
		s.record.count("transfers done", 1)
	}
	return nil
}

// all does something with all controllers at once.
func (s *story) all(do func(*node) error) error {
	failures := make([]error, len(s.nodes))
	var doing sync.WaitGroup
	for i, n := range s.nodes {
		doing.Go(func() { failures[i] = do(n) })
	}
	doing.Wait()
	return errors.Join(failures...)
}
