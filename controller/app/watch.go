package app

import (
	"context"
	"log/slog"
	"net"
	"time"

	"switchyard/controller/config"
	"switchyard/controller/discovery"
	"switchyard/controller/failover"
	"switchyard/controller/metrics"
	"switchyard/controller/observer"
	"switchyard/controller/topology"
	"switchyard/controller/witness"
	"switchyard/integrations/mysql/probe"
	"switchyard/store"
)

func newNamer(c *config.File) (*discovery.Namer, error) {
	d := c.Discovery
	cfg := discovery.Config{
		Naming: discovery.Mode(d.Hostname), Seeds: d.Seeds, Clusters: map[string][]topology.Key{},
		ClusterPattern: d.ClusterNamePattern.String(), DataCenters: byText(d.Datacenters), Regions: byText(d.Regions),
		DataCenterPattern: d.DatacenterPattern.String(), RegionPattern: d.RegionPattern.String(),
	}
	for _, pattern := range d.Ignore {
		cfg.Ignore = append(cfg.Ignore, pattern.String())
	}
	for _, cluster := range c.Clusters {
		cfg.Clusters[cluster.Name] = cluster.Seeds
	}
	return discovery.New(cfg, net.DefaultResolver)
}

func byText(in map[topology.Key]string) map[string]string {
	out := make(map[string]string, len(in))
	for k, v := range in {
		out[k.String()] = v
	}
	return out
}

func newObserver(
	c *config.File, prober *probe.Prober, writer *probe.Writer, namer *discovery.Namer, m *metrics.Metrics, log *slog.Logger,
) *observer.Observer {
	cfg := observer.Config{
		ID: c.ID, Seeds: namer.Seeds(), ProbeInterval: c.MySQL.ProbeInterval, ProbeTimeout: c.MySQL.ProbeTimeout,
		UrgentTimeout: min(c.MySQL.ProbeTimeout, 500*time.Millisecond), OnProbe: m.ObserveProbe, ConnectTimeout: c.MySQL.ConnectTimeout,
		WriteInterval: c.MySQL.WriteProbe.Interval, WriteTimeout: c.MySQL.WriteProbe.Timeout,
	}
	if writer != nil {
		cfg.Writer = writer
	}
	return observer.New(cfg, prober, namer, time.Now, log)
}

// sight gives the observer the loop's words.
type sight struct{ *observer.Observer }

// Pictures implements failover.Observer.
func (s sight) Pictures() []failover.Picture {
	var out []failover.Picture
	for _, c := range s.Clusters() {
		p := failover.Picture{Name: c.Name, Servers: c.Servers, UUIDs: c.UUIDs, Ring: c.Ring, RingWritable: c.RingWritable}
		for _, root := range c.Roots {
			if !root.Source.IsZero() {
				p.Strangers = append(p.Strangers, root.Key)
				continue
			}
			if !root.Reachable {
				continue
			}
			p.Roots = append(p.Roots, root.Key)
			if root.Writable {
				p.Writable = append(p.Writable, root.Key)
			}
		}
		out = append(out, p)
	}
	return out
}

// suspicions gives the observer's hints the loop's words until ctx ends.
func (s sight) suspicions(ctx context.Context, out chan<- failover.Suspicion) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case hint := <-s.Suspicions():
			select {
			case out <- failover.Suspicion{Cluster: hint.Cluster, Why: hint.Why, At: hint.At}:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

func newAsker(c *config.File, s *store.Store, way carriage, log *slog.Logger) (*witness.Asker, error) {
	cfg := witness.Config{Self: c.ID, Secret: c.Secret.Reveal(), Timeout: time.Second}
	cfg.Peers = func() []witness.Peer {
		known := s.Controllers()
		var others []witness.Peer
		for _, id := range known.Councils().Everybody() {
			if one, ok := known.Find(id); ok && id != c.ID {
				others = append(others, witness.Peer{ID: id, URL: one.API})
			}
		}
		return others
	}
	return witness.New(cfg, witness.NewClient(way.client), log)
}
