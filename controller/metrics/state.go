package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"switchyard/controller/topology"
	"switchyard/router/routes"
)

// State is what is read at each scrape.
type State struct {
	// Raft is this controller's part in the consensus: leader, follower,
	// candidate, or what else it calls itself.
	Raft string
	Term uint64
	// Leader is whether this controller leads, LeaderKnown whether it knows
	// who does.
	Leader      bool
	LeaderKnown bool
	Clusters    []Cluster
	Proxies     []Receiver
	Consul      []Receiver
}

// Cluster is the state of one cluster.
type Cluster struct {
	Name      string
	Epoch     routes.Epoch
	Withdrawn bool
	Writable  int
	Servers   []Server
}

// Server is the state of one database server.
type Server struct {
	Key       topology.Key
	Reachable bool
	// Lag is nil where it is not known, and on a master.
	Lag *time.Duration
}

// Receiver is whether one follower of a cluster's routes holds the table that
// it is to hold.
type Receiver struct {
	Name      string
	Cluster   string
	Confirmed bool
}

// stateCollector turns a State into samples at each scrape, so that nothing
// stays behind of a server that is gone.
type stateCollector struct {
	read func() State

	raftState, term, leader, leaderKnown       *prometheus.Desc
	epoch, generation, withdrawn, writable     *prometheus.Desc
	reachable, lag, proxyCurrent, consulOnDate *prometheus.Desc
}

func newStateCollector(read func() State) *stateCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("switchyard_"+name, help, labels, nil)
	}
	return &stateCollector{
		read:        read,
		raftState:   desc("raft_state", "1 for the raft state that this controller is in.", "state"),
		term:        desc("raft_term", "The raft term."),
		leader:      desc("is_leader", "Whether this controller leads."),
		leaderKnown: desc("leader_known", "Whether this controller knows a leader."),
		epoch:       desc("epoch", "The number of the cluster's epoch.", "cluster"),
		generation:  desc("epoch_generation", "The generation of the cluster's epoch.", "cluster"),
		withdrawn:   desc("withdrawn", "Whether nobody is to be served.", "cluster"),
		writable:    desc("writable_servers", "How many servers of the cluster accept writes.", "cluster"),
		reachable:   desc("server_reachable", "Whether the last probe read the server.", "cluster", "instance"),
		lag:         desc("replica_lag_seconds", "The replica's lag, where it is known.", "cluster", "instance"),
		proxyCurrent: desc("proxy_confirmed", "Whether the proxy was read back to hold the current routes.",
			"cluster", "proxy"),
		consulOnDate: desc("consul_confirmed", "Whether the datacenter's Consul holds the current master.",
			"cluster", "dc"),
	}
}

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.raftState, c.term, c.leader, c.leaderKnown, c.epoch, c.generation, c.withdrawn, c.writable,
		c.reachable, c.lag, c.proxyCurrent, c.consulOnDate,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		for i := range labels {
			labels[i] = label(labels[i])
		}
		m, err := prometheus.NewConstMetric(d, prometheus.GaugeValue, value, labels...)
		if err != nil {
			m = prometheus.NewInvalidMetric(d, err)
		}
		out <- m
	}
	state := c.read()
	if state.Raft != "" {
		gauge(c.raftState, 1, state.Raft)
	}
	gauge(c.term, float64(state.Term))
	gauge(c.leader, truth(state.Leader))
	gauge(c.leaderKnown, truth(state.LeaderKnown))
	for _, cluster := range state.Clusters {
		gauge(c.epoch, float64(cluster.Epoch.Number), cluster.Name)
		gauge(c.generation, float64(cluster.Epoch.Generation), cluster.Name)
		gauge(c.withdrawn, truth(cluster.Withdrawn), cluster.Name)
		gauge(c.writable, float64(cluster.Writable), cluster.Name)
		for _, server := range cluster.Servers {
			gauge(c.reachable, truth(server.Reachable), cluster.Name, server.Key.String())
			if server.Lag != nil {
				gauge(c.lag, server.Lag.Seconds(), cluster.Name, server.Key.String())
			}
		}
	}
	for _, proxy := range state.Proxies {
		gauge(c.proxyCurrent, truth(proxy.Confirmed), proxy.Cluster, proxy.Name)
	}
	for _, consul := range state.Consul {
		gauge(c.consulOnDate, truth(consul.Confirmed), consul.Cluster, consul.Name)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
