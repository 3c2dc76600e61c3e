package site

import (
	"context"
	"errors"
	"net/http"
	"time"

	"switchyard/controller/adminapi/call"
	"switchyard/controller/adminapi/wire"
	"switchyard/controller/ctl"
)

// Client asks all controllers of the site.
func (s *Site) Client(timeout time.Duration) (*ctl.Client, error) {
	var urls []string
	for _, c := range s.Controllers {
		urls = append(urls, c.URL)
	}
	return s.client(timeout, urls...)
}

// Get reads one path of the API into value.
func (s *Site) Get(ctx context.Context, path string, value any) error {
	client, err := s.Client(5 * time.Second)
	if err != nil {
		return err
	}
	return client.Get(ctx, path, value)
}

// Status is the leader's account of the whole.
func (s *Site) Status(ctx context.Context) (status wire.Status, err error) {
	return status, s.Get(ctx, wire.PathStatus, &status)
}

// Cluster is the leader's account of the site's cluster.
func (s *Site) Cluster(ctx context.Context) (wire.Cluster, error) {
	status, err := s.Status(ctx)
	if err != nil {
		return wire.Cluster{}, err
	}
	for _, c := range status.Clusters {
		if c.Name == ClusterName {
			return c, nil
		}
	}
	return wire.Cluster{}, errors.New("the cluster is not adopted yet")
}

// Leader is the controller that leads.
func (s *Site) Leader(ctx context.Context) (*Controller, error) {
	status, err := s.Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range s.Controllers {
		if c.ID == status.Leader {
			return c, nil
		}
	}
	return nil, errors.New("no controller leads")
}

// Topology is the picture of the site's cluster.
func (s *Site) Topology(ctx context.Context) (t wire.Topology, err error) {
	return t, s.Get(ctx, wire.PathTopology+ClusterName, &t)
}

// Recoveries lists the site's recoveries, the newest first.
func (s *Site) Recoveries(ctx context.Context) (list []wire.Recovery, err error) {
	return list, s.Get(ctx, wire.PathRecoveries, &list)
}

// Recovery is one recovery with its steps.
func (s *Site) Recovery(ctx context.Context, id string) (r wire.Recovery, err error) {
	return r, s.Get(ctx, wire.PathRecoveries+"/"+id, &r)
}

// Explain is what the leader would do now.
func (s *Site) Explain(ctx context.Context) (e wire.Explanation, err error) {
	return e, s.Get(ctx, wire.PathExplain+ClusterName, &e)
}

// StatusOf is one controller's own account, whoever leads.
func (s *Site) StatusOf(ctx context.Context, c *Controller) (status wire.Status, err error) {
	client, err := s.client(2*time.Second, c.URL)
	if err != nil {
		return status, err
	}
	return status, client.Get(ctx, wire.PathStatus, &status)
}

// Leads tells whether a controller says itself that it leads, ready to act.
func (s *Site) Leads(ctx context.Context, c *Controller) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	reply, err := call.Do(ctx, call.Request{Method: http.MethodGet, URL: c.URL + wire.PathLeaderCheck, MaxReply: 64 << 10})
	return err == nil && reply.Status == http.StatusOK, err
}
