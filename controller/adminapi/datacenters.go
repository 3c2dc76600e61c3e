package adminapi

import (
	"context"

	"switchyard/controller/adminapi/wire"
)

// Datacenters is what is asked about whole datacenters. Marks are made on the
// leader only.
type Datacenters interface {
	Datacenters(ctx context.Context) (wire.DataCenters, error)
	DatacenterDown(ctx context.Context, request wire.DatacenterDownRequest) (wire.Done, error)
	DatacenterUp(ctx context.Context, request wire.DatacenterUpRequest) (wire.Done, error)
}

func (s *Server) datacenterCalls() []route {
	answer := s.limits.Answer
	return []route{
		{
			method: "GET", path: wire.PathDatacenters, limited: true, deadline: answer,
			handle: func(r *request) (any, error) { return s.service.Datacenters(r.ctx) },
		},
		operation(s, wire.PathDatacenterDown, answer, s.service.DatacenterDown),
		operation(s, wire.PathDatacenterUp, answer, s.service.DatacenterUp),
	}
}
