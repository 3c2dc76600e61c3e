package adminapi

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"switchyard/controller/adminapi/wire"
)

// Ledger is what the controllers remember together: it is backed up, and takes a
// person's word where it was restored.
type Ledger interface {
	// Backup returns the ledger with all that was committed before the call, which
	// the leader knows; local is for any controller, as far as it knows.
	Backup(ctx context.Context, local bool) ([]byte, error)
	// Adopt is called on the leader only.
	Adopt(ctx context.Context, request wire.AdoptRequest) (wire.Done, error)
}

func (s *Server) ledgerCalls() []route {
	answer := s.limits.Answer
	return []route{
		{method: "GET", path: wire.PathBackup, role: wire.Operator, limited: true, deadline: answer, query: []string{"local"}, raw: s.backup},
		operation(s, wire.PathAdopt, answer, s.service.Adopt),
	}
}

// backup sends one backup at a time: each is held in memory until it is sent.
func (s *Server) backup(r *request) {
	local := false
	switch text := string(r.QueryArgs().Peek("local")); {
	case !r.QueryArgs().Has("local"), text == "false":
	case text == "true":
		local = true
	default:
		s.fail(r, wire.NewError(wire.BadRequest, fmt.Sprintf("query parameter \"local\": %s: want true or false", clip(text)),
			"leave it away for the leader's"))
		return
	}
	var done func()
	select {
	case s.backups <- struct{}{}:
		done = sync.OnceFunc(func() { <-s.backups })
	default:
		s.fail(r, wire.NewError(wire.Busy, "another backup is being made", "try again in a second"))
		return
	}
	if leader, id := s.service.Role(); !leader && !local {
		defer done()
		r.most = wire.MaxBackup
		s.forward(r, id, wire.PathBackup, nil)
		return
	}
	sent := false
	defer func() {
		if !sent {
			done()
		}
	}()
	data, err := s.service.Backup(r.ctx, local)
	switch {
	case err != nil:
		s.fail(r, err)
	case len(data) > wire.MaxBackup:
		s.fail(r, wire.NewError(wire.Refused, fmt.Sprintf("the backup has %d bytes, at most %d are sent", len(data), wire.MaxBackup),
			"stop a follower, and copy its data directory"))
	default:
		r.SetContentType("application/octet-stream")
		sent = true
		r.SetBodyStream(&stream{Reader: bytes.NewReader(data), done: done}, len(data))
	}
}

// stream is a body that says when it was sent, or given up.
type stream struct {
	*bytes.Reader
	done func()
}

// Close implements io.Closer.
func (s *stream) Close() error {
	s.done()
	return nil
}
