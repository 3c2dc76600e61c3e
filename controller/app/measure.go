package app

import (
	"log/slog"
	"sync/atomic"

	"switchyard/controller/console"
	"switchyard/controller/metrics"
	"switchyard/controller/observer"
	"switchyard/controller/topology"
	"switchyard/store"
)

// gauge reads the state for /metrics. The parts that it reads are built after
// those that count into the metrics, so it is filled last.
type gauge struct {
	read atomic.Pointer[func() metrics.State]
}

func newGauge() *gauge { return &gauge{} }

func newMetrics(g *gauge, log *slog.Logger) (*metrics.Metrics, error) {
	return metrics.New(func() metrics.State {
		if read := g.read.Load(); read != nil {
			return (*read)()
		}
		return metrics.State{}
	}, log)
}

// measure is what one scrape reads.
func measure(s *store.Store, o *observer.Observer, proxies, consuls func() []console.Receiver) metrics.State {
	state, stats := s.State(), s.Stats()
	_, known := s.Leader()
	out := metrics.State{Raft: stats.State, Term: stats.Term, Leader: s.IsLeader(), LeaderKnown: known}
	instances := o.Instances()
	for name, c := range state.Clusters {
		m := metrics.Cluster{Name: name, Epoch: c.Epoch, Withdrawn: c.Withdrawn}
		for _, i := range instances {
			if i.Cluster != name {
				continue
			}
			srv := metrics.Server{Key: i.Key, Reachable: i.Seen.Reach == topology.ReachOK && i.Last != nil}
			if srv.Reachable {
				if !i.Last.ReadOnly {
					m.Writable++
				}
				if r := i.Last.Replication; r != nil {
					srv.Lag = r.Lag
				}
			}
			m.Servers = append(m.Servers, srv)
		}
		out.Clusters = append(out.Clusters, m)
	}
	holding := func(in []console.Receiver) (list []metrics.Receiver) {
		for _, r := range in {
			want := state.Clusters[r.Cluster]
			list = append(list, metrics.Receiver{Name: r.Name, Cluster: r.Cluster,
				Confirmed: r.Holds && r.Epoch == want.Epoch && r.Revision >= want.Revision})
		}
		return list
	}
	out.Proxies, out.Consul = holding(proxies()), holding(consuls())
	return out
}
