package app

import (
	"log/slog"
	"sync/atomic"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/analysis"
	"switchyard/controller/console"
	"switchyard/controller/metrics"
	"switchyard/controller/observer"
	"switchyard/controller/topology"
	"switchyard/router/fleet"
	"switchyard/sidecar/protocol"
	"switchyard/store"
	"switchyard/store/ledger"
)

// gauge reads the state for /metrics. The parts that it reads are built after
// those that count into the metrics, so it is filled last.
type gauge struct {
	read   atomic.Pointer[func() metrics.State]
	accord atomic.Pointer[accord]
}

func newGauge() *gauge { return &gauge{} }

func newMetrics(g *gauge, log *slog.Logger) (*metrics.Metrics, error) {
	return metrics.New(func() metrics.State {
		read := g.read.Load()
		if read == nil {
			return metrics.State{}
		}
		state := (*read)()
		if a := g.accord.Load(); a != nil {
			verdict := a.Latest()
			state.Aside, state.Compared, state.Split = a.store.Aside() != "", verdict.Compared, verdict.Split != ""
			state.Diverged = len(verdict.Strays)
		}
		return state
	}, log)
}

// measure is what one scrape reads.
func measure(
	s *store.Store, o *observer.Observer, report func(ledger.Cluster) analysis.Report, proxies, consuls func() []console.Receiver,
	sidecar func(topology.Key) *wire.DatabaseSidecar,
) metrics.State {
	state, stats := s.State(), s.Stats()
	_, known := s.Leader()
	out := metrics.State{Raft: stats.State, Term: stats.Term, Leader: s.IsLeader(), LeaderKnown: known}
	instances := o.Instances()
	for name, c := range state.Clusters {
		m := metrics.Cluster{Name: name, Epoch: c.Epoch, Withdrawn: c.Withdrawn, Readers: len(c.Readers)}
		for _, i := range instances {
			if i.Cluster != name {
				continue
			}
			srv := metrics.Server{Key: i.Key, Reachable: i.Seen.Reach == topology.ReachOK && i.Last != nil}
			if side := sidecar(i.Key); side != nil {
				srv.Sidecar, srv.Held, srv.Promised = true, side.Holding == string(protocol.Held), side.NoPromise == ""
			}
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
		count(&m, state, report(c), time.Now())
		out.Clusters = append(out.Clusters, m)
	}
	holding := func(in []console.Receiver) (list []metrics.Receiver) {
		for _, r := range in {
			want := state.Clusters[r.Cluster]
			list = append(list, metrics.Receiver{Name: r.Name, Cluster: r.Cluster, Kind: r.Kind,
				Confirmed: r.Holds && r.Epoch == want.Epoch && r.Revision >= want.WriterSince()})
		}
		return list
	}
	out.Proxies, out.Consul = holding(proxies()), holding(consuls())
	return out
}

// addLooks fills in what is seen of each proxy.
func addLooks(proxies []metrics.Receiver, seen []fleet.ProxyStatus, now time.Time) {
	for i := range proxies {
		for _, p := range seen {
			if p.Name != proxies[i].Name {
				continue
			}
			look := metrics.Look{Retries: p.Retries, Sessions: p.Proof.Sessions, Repairs: p.Repairs}
			if !p.BehindSince.IsZero() {
				look.Behind = now.Sub(p.BehindSince)
			}
			proxies[i].Look = &look
		}
	}
}

// count fills in what is found of a cluster, and what the ledger says of it.
func count(m *metrics.Cluster, state ledger.State, report analysis.Report, now time.Time) {
	_, m.Paused = state.PausedFor(m.Name)
	for _, d := range state.Downtimed(m.Name, now) {
		m.Downtimed++
		if d.Reason == ledger.LostInRecovery {
			m.Lost++
		}
	}
	m.Findings, m.Warnings = map[string]int{}, map[string]int{}
	m.Detections, m.Unacknowledged = map[string]int{}, map[string]int{}
	for _, f := range append([]analysis.Finding{report.Master}, report.Others...) {
		if f.Kind != analysis.NoProblem {
			m.Findings[string(f.Kind)]++
		}
	}
	for _, w := range report.Warnings {
		m.Warnings[string(w.Code)]++
	}
	for _, e := range state.Audit {
		// The entry that ends a detection says so.
		if e.Kind == ledger.AuditDetection && e.Cluster == m.Name && e.Outcome == "" {
			m.Detections[e.Action]++
		}
	}
	for _, r := range state.Recoveries {
		if r.Cluster == m.Name && !r.Open() && r.Ack == nil {
			m.Unacknowledged[string(r.Kind)]++
		}
	}
}
