// Package metrics is what a controller tells Prometheus.
package metrics

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics counts what happens, and reads what is, when it is asked.
type Metrics struct {
	registry *prometheus.Registry
	// phases are of failovers only, recoveries of all kinds.
	phases     *prometheus.HistogramVec
	recoveries *prometheus.HistogramVec
	probes     *prometheus.HistogramVec
	holds      *prometheus.CounterVec
	log        *slog.Logger
}

// failoverBuckets are dense around the budget of a failover: 150 ms at the
// median, 300 ms at p99, 2 s where a server is frozen.
func failoverBuckets() []float64 {
	return []float64{.001, .0025, .005, .01, .02, .03, .05, .075, .1, .15, .2, .3, .5, 1, 2, 5, 10, 30, 60}
}

// New returns Metrics with a registry of its own. read gives the state at each
// scrape; it must be quick and safe for concurrent use.
func New(read func() State, log *slog.Logger) (*Metrics, error) {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "switchyard_failover_phase_seconds", Buckets: failoverBuckets(),
			Help: "How long each phase of a failover took.",
		}, []string{"cluster", "phase"}),
		recoveries: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "switchyard_recovery_seconds", Buckets: failoverBuckets(),
			Help: "How long whole recoveries took, by their kind and outcome.",
		}, []string{"cluster", "kind", "outcome"}),
		probes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "switchyard_probe_seconds",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
			Help:    "How long the probes of the database servers took.",
		}, []string{"result"}),
		holds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchyard_holds_total",
			Help: "How often the judgement on a cluster became a hold, by the reason.",
		}, []string{"cluster", "reason"}),
		log: log,
	}
	for _, c := range []prometheus.Collector{
		m.phases, m.recoveries, m.probes, m.holds, newStateCollector(read),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := m.registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// ObservePhase records how long one phase of a failover took, all of its steps
// together.
func (m *Metrics) ObservePhase(cluster, phase string, took time.Duration) {
	m.phases.WithLabelValues(label(cluster), label(phase)).Observe(took.Seconds())
}

// ObserveRecovery records how long a whole recovery of any kind took, and how
// it ended.
func (m *Metrics) ObserveRecovery(cluster, kind, outcome string, took time.Duration) {
	m.recoveries.WithLabelValues(label(cluster), label(kind), label(outcome)).Observe(took.Seconds())
}

// ObserveProbe records how long a probe took, and whether it read the server.
func (m *Metrics) ObserveProbe(took time.Duration, ok bool) {
	result := "failed"
	if ok {
		result = "ok"
	}
	m.probes.WithLabelValues(result).Observe(took.Seconds())
}

// CountHold records that the judgement on a cluster has become to hold, for a
// named reason.
func (m *Metrics) CountHold(cluster, reason string) {
	m.holds.WithLabelValues(label(cluster), label(reason)).Inc()
}

// Handler answers a scrape.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: errorLog{m.log},
		// One bad sample must not hide all of the others during an incident.
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		Timeout:             5 * time.Second,
	})
}

type errorLog struct{ log *slog.Logger }

// Println implements promhttp.Logger.
func (l errorLog) Println(v ...any) {
	l.log.Warn("metrics: a scrape is not whole", slog.String("error", strings.TrimSpace(fmt.Sprintln(v...))))
}

// label makes text that came from outside fit for a label.
func label(text string) string { return strings.ToValidUTF8(text, "?") }
