package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Operations is what operators ask of the leader beside a switchover; it is
// called on the leader only. Requests were checked.
type Operations interface {
	BeginDowntime(ctx context.Context, request wire.DowntimeRequest) (wire.Done, error)
	EndDowntime(ctx context.Context, request wire.ServerRequest) (wire.Done, error)
	PromotionRule(ctx context.Context, request wire.RuleRequest) (wire.Done, error)
	Pause(ctx context.Context, request wire.PauseRequest) (wire.Done, error)
	Resume(ctx context.Context, request wire.ResumeRequest) (wire.Done, error)
	Ack(ctx context.Context, request wire.AckRequest) (wire.Done, error)
	Move(ctx context.Context, request wire.MoveRequest) (wire.Done, error)
	Detach(ctx context.Context, request wire.DetachRequest) (wire.Done, error)
	Reattach(ctx context.Context, request wire.ServerRequest) (wire.Done, error)
	SetReadOnly(ctx context.Context, request wire.ReadOnlyRequest) (wire.Done, error)
	// Recover and Failover return when the recovery has ended.
	Recover(ctx context.Context, request wire.ServerRequest) (wire.Recovery, error)
	Failover(ctx context.Context, request wire.FailoverRequest) (wire.Recovery, error)
}

// checked is a request that can say what is wrong with it.
type checked interface{ Check() *wire.Error }

// operations are the routes of Operations. What touches servers may take as
// long as a switchover.
func (s *Server) operations() []route {
	quick, long := s.limits.Answer, s.limits.Switchover
	return []route{
		operation(s, wire.PathBeginDowntime, quick, s.service.BeginDowntime),
		operation(s, wire.PathEndDowntime, quick, s.service.EndDowntime),
		operation(s, wire.PathPromotionRule, quick, s.service.PromotionRule),
		operation(s, wire.PathPause, quick, s.service.Pause),
		operation(s, wire.PathResume, quick, s.service.Resume),
		operation(s, wire.PathAck, quick, s.service.Ack),
		operation(s, wire.PathRecover, long, s.service.Recover),
		operation(s, wire.PathFailover, long, s.service.Failover),
		operation(s, wire.PathMove, long, s.service.Move),
		operation(s, wire.PathDetach, long, s.service.Detach),
		operation(s, wire.PathReattach, long, s.service.Reattach),
		operation(s, wire.PathSetReadOnly, long, s.service.SetReadOnly),
	}
}

// operation is the route of one request: it is decoded and checked wherever it
// arrives, and served by the leader.
func operation[Q checked, A any](
	s *Server, path string, deadline time.Duration, serve func(context.Context, Q) (A, error),
) route {
	return route{method: "POST", path: path, limited: true, deadline: deadline, raw: func(r *request) {
		wanted, err := decodeRequest[Q](r.PostBody())
		if err != nil {
			s.fail(r, err)
			return
		}
		if forced(wanted) {
			if err := s.allow(r, wire.Admin); err != nil {
				s.fail(r, err)
				return
			}
		}
		s.attribute(r, &wanted)
		body, err := json.Marshal(wanted)
		if err != nil {
			s.fail(r, fmt.Errorf("encode the request: %w", err))
			return
		}
		if leader, id := s.service.Role(); !leader {
			s.forward(r, id, path, body)
			return
		}
		s.log.Info("something is asked for", slog.String("path", path), slog.String("request", string(body)),
			slog.String("from", r.RemoteAddr().String()))
		s.answer(r, func(r *request) (any, error) { return serve(r.ctx, wanted) })
	}}
}

// decodeRequest reads a request by the names in its type, and checks it.
func decodeRequest[Q checked](body []byte) (Q, error) {
	var q Q
	if err := decodeObject(body, fieldsOf(reflect.ValueOf(&q).Elem())...); err != nil {
		return q, err
	}
	if err := q.Check(); err != nil {
		return q, err
	}
	return q, nil
}

// fieldsOf lists the members of a struct by their JSON names, those of an
// embedded one among them.
func fieldsOf(v reflect.Value) []field {
	var out []field
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			out = append(out, fieldsOf(v.Field(i))...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, field{name, v.Field(i).Addr().Interface()})
	}
	return out
}

func (s *Server) audit(r *request) (any, error) {
	q, err := auditQuery(r)
	if err != nil {
		return nil, err
	}
	a, err := s.service.Audit(r.ctx, q)
	a.Entries = list(a.Entries)
	return a, err
}

// auditQuery reads the query parameters, each of which may be left away.
func auditQuery(r *request) (wire.AuditQuery, error) {
	q := wire.AuditQuery{Limit: 100}
	for _, p := range []struct {
		name string
		read func(text string) error
	}{
		{"cluster", func(text string) error { q.Cluster = text; return wire.CheckName("cluster", text) }},
		{"server", func(text string) (err error) { q.Server, err = topology.ParseKey(text); return err }},
		{"kind", func(text string) (err error) { q.Kind, err = auditKind(text); return err }},
		{"since", func(text string) (err error) { q.Since, q.Ago, err = since(text); return err }},
		{"before", func(text string) (err error) { q.Before, err = entryID(text); return err }},
		{"limit", func(text string) (err error) { q.Limit, err = limit(text); return err }},
	} {
		if !r.QueryArgs().Has(p.name) {
			continue
		}
		if err := p.read(string(r.QueryArgs().Peek(p.name))); err != nil {
			return q, wire.NewError(wire.BadRequest, fmt.Sprintf("query parameter %q: %v", p.name, err), "leave it away for all")
		}
	}
	return q, nil
}

func auditKind(text string) (ledger.AuditKind, error) {
	kinds := wire.AuditKinds()
	names := make([]string, len(kinds))
	for i, k := range kinds {
		if string(k) == text {
			return k, nil
		}
		names[i] = string(k)
	}
	return "", fmt.Errorf("%s is not a kind: want one of %s", clip(text), strings.Join(names, ", "))
}

// since reads a moment, or how long ago it was.
func since(text string) (time.Time, wire.Duration, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, 0, nil
	}
	ago, err := wire.ParseDuration(text)
	if err != nil || ago <= 0 {
		return time.Time{}, 0, fmt.Errorf("%s: want how long ago, as in 2h or 3d, or a time as in 2006-01-02T15:04:05Z", clip(text))
	}
	return time.Time{}, ago, nil
}

func limit(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > wire.MaxAudit {
		return 0, errors.New(clip(text) + ": want 1 to " + strconv.Itoa(wire.MaxAudit))
	}
	return n, nil
}

func entryID(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, errors.New(clip(text) + ": want the id of an entry")
	}
	return n, nil
}
