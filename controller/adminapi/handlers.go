package adminapi

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"switchyard/controller/adminapi/wire"
)

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

// clusterOf is the query parameter of a call that is about one cluster or all.
func clusterOf(r *request) (string, error) {
	cluster := string(r.QueryArgs().Peek("cluster"))
	if cluster != "" {
		if err := wire.CheckName("cluster", cluster); err != nil {
			return "", wire.NewError(wire.BadRequest, err.Error(), "")
		}
	}
	return cluster, nil
}

func (s *Server) proxies(r *request) (any, error) {
	cluster, err := clusterOf(r)
	if err != nil {
		return nil, err
	}
	return s.service.Proxies(r.ctx, cluster)
}

func (s *Server) recoveries(r *request) (any, error) {
	cluster, err := clusterOf(r)
	if err != nil {
		return nil, err
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
	s.attribute(r, &wanted)
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

// list makes an empty answer [] and not null.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
