package metrics_test

import (
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"switchyard/controller/metrics"
	"switchyard/controller/topology"
	"switchyard/router/routes"
)

func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	m.Handler().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	if recorder.Code != 200 {
		t.Fatalf("status %d: %s", recorder.Code, recorder.Body)
	}
	return recorder.Body.String()
}

func want(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func state() metrics.State {
	lag := 1500 * time.Millisecond
	return metrics.State{
		Raft: "leader", Term: 7, Leader: true, LeaderKnown: true, Aside: true, Split: true, Diverged: 2, Compared: 512,
		Clusters: []metrics.Cluster{{
			Name: "main", Epoch: routes.Epoch{Generation: 2, Number: 5}, Writable: 1,
			Servers: []metrics.Server{
				{Key: topology.Key{Host: "db1", Port: 3306}, Reachable: true},
				{Key: topology.Key{Host: "db2", Port: 3306}, Lag: &lag},
			},
			Downtimed: 2, Readers: 3, Lost: 1, Paused: true, Findings: map[string]int{"DeadIntermediateMaster": 1},
			Warnings:   map[string]int{"ErrantGTIDStructureWarning": 2, "BootsWritableStructureWarning": 1},
			Detections: map[string]int{"DeadMaster": 7}, Unacknowledged: map[string]int{"relocate": 3},
		}},
		Proxies: []metrics.Receiver{{Name: "px1", Cluster: "main", Kind: "haproxy", Confirmed: true},
			{Name: "px2", Cluster: "main", Kind: "proxysql",
				Look: &metrics.Look{Behind: 2500 * time.Millisecond, Retries: 3, Sessions: 64, Repairs: 2}}},
		Consul: []metrics.Receiver{{Name: "dc1", Cluster: "main"}},
	}
}

func TestScrapeReadsTheStateOfTheMoment(t *testing.T) {
	now := state()
	m, err := metrics.New(func() metrics.State { return now }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	want(t, scrape(t, m),
		`switchyard_raft_state{state="leader"} 1`, `switchyard_raft_term 7`, `switchyard_is_leader 1`,
		`switchyard_ledger_aside 1`, `switchyard_ledger_split 1`, `switchyard_ledger_diverged 2`, `switchyard_ledger_compared_index 512`,
		`switchyard_leader_known 1`, `switchyard_epoch{cluster="main"} 5`,
		`switchyard_epoch_generation{cluster="main"} 2`, `switchyard_withdrawn{cluster="main"} 0`,
		`switchyard_writable_servers{cluster="main"} 1`, `switchyard_downtimed_servers{cluster="main"} 2`,
		`switchyard_readers{cluster="main"} 3`,
		`switchyard_lost_servers{cluster="main"} 1`, `switchyard_recoveries_paused{cluster="main"} 1`,
		`switchyard_findings{cluster="main",code="DeadIntermediateMaster"} 1`,
		`switchyard_warnings{cluster="main",code="ErrantGTIDStructureWarning"} 2`,
		`switchyard_warnings{cluster="main",code="BootsWritableStructureWarning"} 1`,
		`switchyard_audited_detections{cluster="main",code="DeadMaster"} 7`,
		`switchyard_unacknowledged_recoveries{cluster="main",kind="relocate"} 3`,
		`switchyard_server_reachable{cluster="main",instance="db1:3306"} 1`,
		`switchyard_server_reachable{cluster="main",instance="db2:3306"} 0`,
		`switchyard_replica_lag_seconds{cluster="main",instance="db2:3306"} 1.5`,
		`switchyard_proxy_confirmed{cluster="main",kind="haproxy",proxy="px1"} 1`,
		`switchyard_consul_confirmed{cluster="main",dc="dc1"} 0`,
		`switchyard_proxy_confirmed{cluster="main",kind="proxysql",proxy="px2"} 0`,
		`switchyard_proxy_behind_seconds{cluster="main",kind="proxysql",proxy="px2"} 2.5`,
		`switchyard_proxy_retries{cluster="main",kind="proxysql",proxy="px2"} 3`,
		`switchyard_proxy_sessions{cluster="main",kind="proxysql",proxy="px2"} 64`,
		`# TYPE switchyard_proxy_repairs_total counter`,
		`switchyard_proxy_repairs_total{cluster="main",kind="proxysql",proxy="px2"} 2`)
	if strings.Contains(scrape(t, m), `proxy_retries{cluster="main",kind="haproxy"`) {
		t.Error("a look at a proxy that nobody looks at")
	}

	now.Clusters[0].Servers = now.Clusters[0].Servers[:1]
	now.Leader, now.Raft = false, "follower"
	now.Clusters[0].Findings, now.Clusters[0].Paused = nil, false
	text := scrape(t, m)
	want(t, text, `switchyard_is_leader 0`, `switchyard_raft_state{state="follower"} 1`,
		`switchyard_recoveries_paused{cluster="main"} 0`)
	for _, gone := range []string{"db2:3306", `state="leader"`, "DeadIntermediateMaster"} {
		if strings.Contains(text, gone) {
			t.Errorf("%s is still exposed after it is gone", gone)
		}
	}
}

func TestObservationsAreCounted(t *testing.T) {
	m, err := metrics.New(func() metrics.State { return metrics.State{} }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	m.ObservePhase("main", "notice", 3*time.Millisecond)
	m.ObservePhase("main", "notice", 40*time.Millisecond)
	m.ObserveRecovery("main", "failover", "completed", 140*time.Millisecond)
	m.ObserveRecovery("main", "switchover", "undone", 2*time.Second)
	m.ObserveRecovery("main", "relocate", "completed", 300*time.Millisecond)
	m.ObserveProbe(2*time.Millisecond, true)
	m.ObserveProbe(time.Second, false)
	m.CountHold("main", "anti-flap")
	want(t, scrape(t, m),
		`switchyard_failover_phase_seconds_bucket{cluster="main",phase="notice",le="0.005"} 1`,
		`switchyard_failover_phase_seconds_count{cluster="main",phase="notice"} 2`,
		`switchyard_recovery_seconds_bucket{cluster="main",kind="failover",outcome="completed",le="0.15"} 1`,
		`switchyard_recovery_seconds_sum{cluster="main",kind="switchover",outcome="undone"} 2`,
		`switchyard_recovery_seconds_count{cluster="main",kind="relocate",outcome="completed"} 1`,
		`switchyard_probe_seconds_count{result="ok"} 1`, `switchyard_probe_seconds_count{result="failed"} 1`,
		`switchyard_holds_total{cluster="main",reason="anti-flap"} 1`)
}

func TestOddStateDoesNotHideTheRest(t *testing.T) {
	odd := state()
	odd.Clusters = append(odd.Clusters, odd.Clusters[0], metrics.Cluster{Name: "a\xffb\n\"c", Writable: 3})
	m, err := metrics.New(func() metrics.State { return odd }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	want(t, scrape(t, m), `switchyard_epoch{cluster="main"} 5`, `switchyard_writable_servers{cluster="a?b\n\"c"} 3`,
		`switchyard_is_leader 1`)
	m.ObservePhase("a\xff", "claim\xff", time.Millisecond)
	want(t, scrape(t, m), `switchyard_failover_phase_seconds_count{cluster="a?",phase="claim?"} 1`)
}

func TestManyRegistriesAndGoroutines(t *testing.T) {
	for range 2 {
		m, err := metrics.New(state, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 100 {
					m.ObserveProbe(time.Millisecond, true)
				}
			})
		}
		all.Wait()
		want(t, scrape(t, m), `switchyard_probe_seconds_count{result="ok"} 400`)
	}
}
