package adminapi

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/valyala/fasthttp"

	"switchyard/controller/adminapi/wire"
)

func (s *Server) leaderCheck(r *request) {
	leader, id := s.service.Role()
	status := fasthttp.StatusNotFound
	if leader {
		status = fasthttp.StatusOK
	}
	s.write(r, status, wire.LeaderCheck{ID: s.config.SelfID, Leader: leader, LeaderID: id})
}

func (s *Server) live(*request) (any, error) { return wire.Health{OK: true}, nil }

func (s *Server) ready(r *request) {
	if err := s.service.Ready(); err != nil {
		s.write(r, fasthttp.StatusServiceUnavailable, wire.Health{Reason: err.Error()})
		return
	}
	s.write(r, fasthttp.StatusOK, wire.Health{OK: true})
}

func (s *Server) exposition(r *request) {
	if s.metrics == nil {
		s.fail(r, wire.NewError(wire.NotFound, "this controller has no metrics", ""))
		return
	}
	s.metrics(r.RequestCtx)
}

func (s *Server) status(r *request) (any, error) { return s.service.Status(r.ctx) }

func (s *Server) clusters(r *request) (any, error) {
	clusters, err := s.service.Clusters(r.ctx)
	return list(clusters), err
}

func (s *Server) topology(r *request) (any, error) { return s.service.Topology(r.ctx, r.name) }

func (s *Server) recoveries(r *request) (any, error) {
	cluster := string(r.QueryArgs().Peek("cluster"))
	if cluster != "" {
		if err := wire.CheckName("cluster", cluster); err != nil {
			return nil, wire.NewError(wire.BadRequest, err.Error(), "")
		}
	}
	recoveries, err := s.service.Recoveries(r.ctx, cluster)
	return list(recoveries), err
}

func (s *Server) recovery(r *request) (any, error) { return s.service.Recovery(r.ctx, r.name) }

func (s *Server) explain(r *request) {
	if leader, id := s.service.Role(); !leader {
		s.forward(r, id, wire.PathExplain+r.name, nil)
		return
	}
	s.answer(r, func(r *request) (any, error) { return s.service.Explain(r.ctx, r.name) })
}

func (s *Server) switchover(r *request) {
	wanted, err := decodeSwitchover(r.PostBody())
	if err != nil {
		s.fail(r, err)
		return
	}
	if leader, id := s.service.Role(); !leader {
		body, err := json.Marshal(wanted)
		if err != nil {
			s.fail(r, fmt.Errorf("encode the switchover: %w", err))
			return
		}
		s.forward(r, id, wire.PathSwitchover, body)
		return
	}
	s.log.Info("a switchover is asked for", slog.String("cluster", wanted.Cluster), slog.String("to", wanted.To.String()),
		slog.String("by", wanted.By), slog.String("from", r.RemoteAddr().String()))
	s.answer(r, func(r *request) (any, error) { return s.service.Switchover(r.ctx, wanted) })
}

func (s *Server) witness(r *request) (any, error) {
	question, err := decodeWitness(r.PostBody())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.ctx, time.Duration(question.WaitMS)*time.Millisecond)
	defer cancel()
	return s.service.Witness(ctx, question)
}

func (s *Server) whoAmI(*request) (any, error) {
	return wire.WhoAmI{ID: s.config.SelfID, Boot: s.config.Boot, Name: s.config.Name}, nil
}

// authenticate refuses an internal call that no controller made.
func (s *Server) authenticate(r *request) error {
	nonce := string(r.Request.Header.Peek(wire.HeaderNonce))
	got := string(r.Request.Header.Peek(wire.HeaderSignature))
	want := wire.SignRequest(s.config.Secret, string(r.Method()), r.path, nonce, r.PostBody())
	if nonce != "" && wire.VerifySignature(s.config.Secret, got, want) {
		return nil
	}
	s.log.Warn("an internal call was refused: it is not signed with the controllers' shared secret",
		slog.String("path", clip(r.path)), slog.String("from", r.RemoteAddr().String()))
	return wire.NewError(wire.Unauthorized, "this call is for controllers: it is not signed with their shared secret",
		"give all controllers the same secret")
}

// list makes an empty answer [] and not null.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
