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
	// Aside is whether this controller takes no part in deciding, as its ledger is not
	// the majority's; Diverged counts the controllers whose ledger is not, Compared is
	// the newest entry of the raft log at which a majority's is known to be the same,
	// and Split is whether ledgers differ and none is a majority's.
	Aside, Split bool
	Diverged     int
	Compared     uint64
	Clusters     []Cluster
	Proxies      []Receiver
	Consul       []Receiver
}

// Cluster is the state of one cluster.
type Cluster struct {
	Name      string
	Epoch     routes.Epoch
	Withdrawn bool
	Writable  int
	Servers   []Server
	// Downtimed servers, Lost ones among them that a recovery lost.
	Downtimed, Lost int
	// Readers are those that proxies send readers to.
	Readers int
	// Paused is whether automatic recoveries are paused, of it or of all.
	Paused bool
	// Findings and Warnings count what is found now, by code; only who leads
	// has them. Detections count those that the audit keeps, by code.
	Findings, Warnings, Detections map[string]int
	// Unacknowledged counts the recoveries that have ended and that nobody has
	// acknowledged, by kind.
	Unacknowledged map[string]int
}

// Server is the state of one database server.
type Server struct {
	Key       topology.Key
	Reachable bool
	// Lag is nil where it is not known, and on a master.
	Lag *time.Duration
	// Sidecar is whether one is to stand beside it; Held, whether that was heard to
	// hold a lease, and Promised, whether one may count on it.
	Sidecar, Held, Promised bool
}

// Receiver is whether one follower of a cluster's routes holds the table that
// it is to hold.
type Receiver struct {
	Name    string
	Cluster string
	// Kind is what a proxy is.
	Kind      string
	Confirmed bool
	// Look is what is seen of a proxy; nil where nobody looks.
	Look *Look
}

// Look is what who leads sees of a proxy.
type Look struct {
	// Behind is for how long it has not followed; 0 while it does.
	Behind time.Duration
	// Retries are the attempts since then, Sessions what its writer carries, and
	// Repairs how often it was put back since this process began.
	Retries, Sessions, Repairs int
}

// stateCollector turns a State into samples at each scrape, so that nothing
// stays behind of a server that is gone.
type stateCollector struct {
	read func() State

	raftState, term, leader, leaderKnown       *prometheus.Desc
	epoch, generation, withdrawn, writable     *prometheus.Desc
	reachable, lag, proxyCurrent, consulOnDate *prometheus.Desc
	behind, retries, sessions, repairs         *prometheus.Desc
	downtimed, readers, lost, paused           *prometheus.Desc
	findings, warnings, detections, unacked    *prometheus.Desc
	held, promised                             *prometheus.Desc
	aside, split, diverged, compared           *prometheus.Desc
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
			"cluster", "proxy", "kind"),
		behind: desc("proxy_behind_seconds", "For how long the proxy has not followed its routes, as the leader sees it; 0 while it does.",
			"cluster", "proxy", "kind"),
		retries: desc("proxy_retries", "How often the proxy was tried in vain since it last followed its routes, as the leader sees it.",
			"cluster", "proxy", "kind"),
		sessions: desc("proxy_sessions", "How many connections the proxy's writer carries, as the leader sees it.",
			"cluster", "proxy", "kind"),
		repairs: desc("proxy_repairs_total", "How often this controller put the proxy back, which had left its route by itself.",
			"cluster", "proxy", "kind"),
		consulOnDate: desc("consul_confirmed", "Whether the datacenter's Consul holds the current master.",
			"cluster", "dc"),
		readers:   desc("readers", "How many servers proxies send readers of the cluster to.", "cluster"),
		downtimed: desc("downtimed_servers", "How many servers of the cluster are in downtime.", "cluster"),
		lost:      desc("lost_servers", "How many servers of the cluster a recovery lost.", "cluster"),
		paused:    desc("recoveries_paused", "Whether automatic recoveries of the cluster are paused.", "cluster"),
		findings:  desc("findings", "How many servers have this finding now, as the leader sees it.", "cluster", "code"),
		warnings:  desc("warnings", "How many structure warnings there are now, as the leader sees it.", "cluster", "code"),
		detections: desc("audited_detections", "How many detections of this finding the audit keeps.",
			"cluster", "code"),
		held:     desc("lease_held", "Whether the server's sidecar said that it holds a lease.", "cluster", "instance"),
		promised: desc("lease_promised", "Whether one may count on the server's sidecar to stop it.", "cluster", "instance"),
		aside:    desc("ledger_aside", "Whether this controller stands aside, as its ledger is not the majority's."),
		split:    desc("ledger_split", "Whether the controllers' ledgers differ, and none is a majority's."),
		diverged: desc("ledger_diverged", "How many controllers have a ledger that is not the majority's, as this one sees it."),
		compared: desc("ledger_compared_index", "The newest raft entry at which a majority is known to have the same ledger."),
		unacked: desc("unacknowledged_recoveries", "How many recoveries that have ended nobody has acknowledged.",
			"cluster", "kind"),
	}
}

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.raftState, c.term, c.leader, c.leaderKnown, c.epoch, c.generation, c.withdrawn, c.writable,
		c.reachable, c.lag, c.proxyCurrent, c.consulOnDate, c.downtimed, c.readers, c.lost, c.paused, c.findings, c.warnings,
		c.detections, c.unacked, c.behind, c.retries, c.sessions, c.repairs, c.held, c.promised,
		c.aside, c.split, c.diverged, c.compared,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(out chan<- prometheus.Metric) {
	sample := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		for i := range labels {
			labels[i] = label(labels[i])
		}
		m, err := prometheus.NewConstMetric(d, kind, value, labels...)
		if err != nil {
			m = prometheus.NewInvalidMetric(d, err)
		}
		out <- m
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		sample(d, prometheus.GaugeValue, value, labels...)
	}
	state := c.read()
	if state.Raft != "" {
		gauge(c.raftState, 1, state.Raft)
	}
	gauge(c.term, float64(state.Term))
	gauge(c.leader, truth(state.Leader))
	gauge(c.leaderKnown, truth(state.LeaderKnown))
	gauge(c.aside, truth(state.Aside))
	gauge(c.split, truth(state.Split))
	gauge(c.diverged, float64(state.Diverged))
	gauge(c.compared, float64(state.Compared))
	for _, cluster := range state.Clusters {
		gauge(c.epoch, float64(cluster.Epoch.Number), cluster.Name)
		gauge(c.generation, float64(cluster.Epoch.Generation), cluster.Name)
		gauge(c.withdrawn, truth(cluster.Withdrawn), cluster.Name)
		gauge(c.writable, float64(cluster.Writable), cluster.Name)
		gauge(c.downtimed, float64(cluster.Downtimed), cluster.Name)
		gauge(c.readers, float64(cluster.Readers), cluster.Name)
		gauge(c.lost, float64(cluster.Lost), cluster.Name)
		gauge(c.paused, truth(cluster.Paused), cluster.Name)
		for _, counted := range []struct {
			desc *prometheus.Desc
			by   map[string]int
		}{
			{c.findings, cluster.Findings}, {c.warnings, cluster.Warnings}, {c.detections, cluster.Detections},
			{c.unacked, cluster.Unacknowledged},
		} {
			for name, n := range counted.by {
				gauge(counted.desc, float64(n), cluster.Name, name)
			}
		}
		for _, server := range cluster.Servers {
			gauge(c.reachable, truth(server.Reachable), cluster.Name, server.Key.String())
			if server.Sidecar {
				gauge(c.held, truth(server.Held), cluster.Name, server.Key.String())
				gauge(c.promised, truth(server.Promised), cluster.Name, server.Key.String())
			}
			if server.Lag != nil {
				gauge(c.lag, server.Lag.Seconds(), cluster.Name, server.Key.String())
			}
		}
	}
	for _, proxy := range state.Proxies {
		gauge(c.proxyCurrent, truth(proxy.Confirmed), proxy.Cluster, proxy.Name, proxy.Kind)
		if look := proxy.Look; look != nil {
			gauge(c.behind, look.Behind.Seconds(), proxy.Cluster, proxy.Name, proxy.Kind)
			gauge(c.retries, float64(look.Retries), proxy.Cluster, proxy.Name, proxy.Kind)
			gauge(c.sessions, float64(look.Sessions), proxy.Cluster, proxy.Name, proxy.Kind)
			sample(c.repairs, prometheus.CounterValue, float64(look.Repairs), proxy.Cluster, proxy.Name, proxy.Kind)
		}
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
