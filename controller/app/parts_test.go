package app

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
	"switchyard/controller/analysis"
	"switchyard/controller/config"
	"switchyard/controller/console"
	"switchyard/controller/failover"
	"switchyard/controller/hooks"
	"switchyard/controller/metrics"
	"switchyard/controller/observer"
	"switchyard/controller/topology"
	"switchyard/integrations/mysql/dialect"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// Nothing that is asked for may become less than what was asked for, and where
// nothing is asked for a replica keeps what it has.
func TestReplicationTLS(t *testing.T) {
	for mode, want := range map[config.TLSMode]dialect.TLSMode{
		config.TLSDisabled: dialect.TLSKeep, "": dialect.TLSKeep, config.TLSRequired: dialect.TLSRequired,
		config.TLSVerifyCA: dialect.TLSVerify, config.TLSVerifyIdentity: dialect.TLSVerify,
	} {
		if got := replicationTLS(mode); got != want {
			t.Errorf("%q: %v, want %v", mode, got, want)
		}
	}
}

func TestByText(t *testing.T) {
	got := byText(map[topology.Key]string{key("a"): "dc1", {Host: "fe80::1", Port: 3307}: "dc2"})
	if !maps.Equal(got, map[string]string{"a:3306": "dc1", "[fe80::1]:3307": "dc2"}) {
		t.Errorf("%v", got)
	}
	if none := byText(nil); none == nil || len(none) != 0 {
		t.Errorf("%v", none)
	}
}

const naming = `
discovery:
  hostname: hostname
  seeds: ["s:3306"]
  cluster_name_pattern: '^([a-z]+)-db'
  datacenter_pattern: '\.([a-z]+)$'
  region_pattern: '^[^.]+\.([a-z]+)\.'
  ignore: ['^backup', ':3399$']
  datacenters: {"a:3306": dc7}
  regions: {"a:3306": mars}
clusters:
  - {name: shop, seeds: ["m:3306", "a:3306"]}
`

func TestNamerFollowsTheConfiguration(t *testing.T) {
	namer, err := newNamer(file(t, 1, naming))
	if err != nil {
		t.Fatal(err)
	}
	if seeds := namer.Seeds(); !slices.Equal(seeds, []topology.Key{key("a"), key("m"), key("s")}) {
		t.Errorf("seeds %v", seeds)
	}
	for k, want := range map[topology.Key]bool{key("backup1"): true, {Host: "m", Port: 3399}: true, key("m"): false} {
		if _, ignored := namer.Resolve(k); ignored != want {
			t.Errorf("%s is ignored: %v", k, ignored)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	describe := func(address, hostname, report string, id uint32) *topology.Instance {
		return namer.Describe(ctx, key(address), &topology.Instance{
			Hostname: hostname, ReportHost: report, ReportPort: 3306, ServerID: id, UUID: fmt.Sprint("uuid-", id),
		})
	}
	if i := describe("a", "a", "other", 1); i.Key != key("a") || i.DataCenter != "dc7" || i.Region != "mars" {
		t.Errorf("%+v", i)
	}
	found := describe("10.0.0.9", "shoes-db1.eu.west", "other", 2)
	if found.Key != key("shoes-db1.eu.west") || found.DataCenter != "west" || found.Region != "eu" {
		t.Errorf("%+v", found)
	}
	of, problems := namer.Assign([]topology.Server{
		{Key: key("a"), Last: &topology.Instance{Key: key("a")}}, {Key: found.Key, Last: found},
	}, nil)
	if of[key("a")] != "shop" || of[found.Key] != "shoes" {
		t.Errorf("%v, problems %v", of, problems)
	}
}

// Only a server that answers now and replicates from nobody can be the master
// that is adopted.
func TestSightPictures(t *testing.T) {
	c := file(t, 1, numb+`
clusters:
  - {name: shop, seeds: ["m:3306", "a:3306", "r:3306", "x:3306", "gone:3306"]}
  - {name: bar, seeds: ["b:3306"]}
`)
	synctest.Test(t, func(t *testing.T) {
		s := newServers(
			&topology.Instance{Key: key("m")}, replica("a", "m"), &topology.Instance{Key: key("r"), ReadOnly: true},
			replica("x", "stranger"), &topology.Instance{Key: key("gone")}, &topology.Instance{Key: key("b")},
		)
		s.seen[key("x")].ReadOnly = false
		o, stop := watch(t, c, s)
		defer stop()
		time.Sleep(300 * time.Millisecond)
		s.kill("gone")
		time.Sleep(time.Second)
		synctest.Wait()
		all := sight{o}.Pictures()
		if len(all) != 2 || all[0].Name != "bar" || all[1].Name != "shop" {
			t.Fatalf("%+v", all)
		}
		p := all[1]
		if !slices.Equal(p.Roots, []topology.Key{key("m"), key("r")}) || !slices.Equal(p.Writable, []topology.Key{key("m")}) {
			t.Errorf("roots %v, writable %v", p.Roots, p.Writable)
		}
		if len(p.Servers) != 5 || p.UUIDs[key("a")] != "uuid-a" {
			t.Errorf("%+v", p)
		}
		if !slices.Equal(all[0].Writable, []topology.Key{key("b")}) {
			t.Errorf("%+v", all[0])
		}
	})
}

// Of two co-masters the one that takes writes can be adopted.
func TestSightPicturesOfCoMasters(t *testing.T) {
	c := file(t, 1, numb+`
clusters:
  - {name: shop, seeds: ["m:3306", "a:3306"]}
`)
	synctest.Test(t, func(t *testing.T) {
		s := newServers(replica("m", "a"), replica("a", "m"))
		s.seen[key("a")].ReadOnly = false
		o, stop := watch(t, c, s)
		defer stop()
		time.Sleep(time.Second)
		synctest.Wait()
		all := sight{o}.Pictures()
		if len(all) != 1 || len(all[0].Roots) != 0 || len(all[0].Ring) != 2 ||
			!slices.Equal(all[0].RingWritable, []topology.Key{key("a")}) {
			t.Errorf("%+v", all)
		}
	})
}

// Without commands there are no hooks, which is not the same as hooks that do
// nothing: the way of a failure is shorter.
func TestCommands(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	if h := commands(file(t, 1, shop), log); h != nil {
		t.Errorf("%+v", h)
	}
	h := commands(file(t, 1, shop+"hooks: {pre_failover: [\"echo {failedHost}; exit 3\"]}\n"), log)
	if h == nil {
		t.Fatal("no hooks")
	}
	results, err := h.Run(t.Context(), hooks.PreFailover, hooks.Facts{Failed: key("m"), Cluster: "shop"})
	if err == nil || len(results) != 1 || !strings.HasPrefix(results[0].Output, "m") {
		t.Errorf("%v %+v", err, results)
	}
}

// The observer's hints reach the loop; the pipe ends with its context, also
// while nobody takes what it holds.
func TestSuspicionsArePassedOn(t *testing.T) {
	c := file(t, 1, shop)
	synctest.Test(t, func(t *testing.T) {
		s := newServers(&topology.Instance{Key: key("m")}, replica("a", "m"))
		o, stop := watch(t, c, s)
		defer stop()
		o.SetMaster("shop", key("m"))
		hints := make(chan failover.Suspicion)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- sight{o}.suspicions(ctx, hints) }()
		time.Sleep(time.Second)
		s.kill("m")
		began := time.Now()
		hint := <-hints
		if hint.Cluster != "shop" || hint.Why == "" || hint.At.Before(began) || time.Since(began) > time.Second {
			t.Errorf("%+v", hint)
		}
		time.Sleep(time.Second) // the next one waits
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestTables(t *testing.T) {
	t.Parallel()
	c := file(t, 1, shop)
	s := open(t, c)
	tb := tables{s, ledger.Proxy}
	if all := tb.Tables(); len(all) != 0 {
		t.Errorf("%v", all)
	}
	propose(t, s, ledger.AdoptMaster{Cluster: "shop", Master: key("m"), At: time.Now()},
		ledger.AdoptMaster{Cluster: "bar", Master: key("b"), At: time.Now()})
	epoch := s.State().Clusters["shop"].Epoch
	propose(t, s, ledger.ClaimRecovery{
		Cluster: "bar", RecoveryKind: ledger.Failover, Finding: "DeadMaster", Old: key("b"), Leader: "c1", At: time.Now(),
		ExpectEpoch: epoch,
	})
	all := tb.Tables()
	slices.SortFunc(all, func(a, b routes.Table) int { return strings.Compare(a.Cluster, b.Cluster) })
	if len(all) != 2 || all[0].Writer != nil || all[0].Epoch != epoch.Next() || all[1].Writer == nil ||
		all[1].Writer.Host != "m" || all[1].Epoch != epoch || all[1].Revision != 1 {
		t.Errorf("%+v", all)
	}
	if err := tb.Leads(t.Context()); err != nil {
		t.Error(err)
	}
	for _, receiver := range []ledger.Receiver{ledger.Proxy, ledger.Consul} {
		if err := (tables{s, receiver}).Confirm(t.Context(), "ha1", all[1]); err != nil {
			t.Fatal(err)
		}
		got := s.State().Confirmations[ledger.ConfirmationKey{Receiver: receiver, Name: "ha1", Cluster: "shop"}]
		if got.Epoch != epoch || got.Revision != 1 || time.Since(got.At).Abs() > patience {
			t.Errorf("%s: %+v", receiver, got)
		}
	}
	if err := tb.Repaired(t.Context(), "ha1", all[1], "serving db9:3306 with 2 sessions"); err != nil {
		t.Fatal(err)
	}
	audit := s.State().Audit
	if e := audit[len(audit)-1]; e.Kind != ledger.AuditRepair || e.By == "" || e.Cluster != "shop" ||
		!strings.Contains(e.Reason, "ha1") || !strings.Contains(e.Reason, "serving db9:3306") || !strings.Contains(e.Reason, "m:3306") {
		t.Errorf("%+v", e)
	}
	if state, term := (raft{s}).Raft(); !strings.EqualFold(state, "leader") || term == 0 {
		t.Error(state, term)
	}
}

const proxied = `
clusters: [{name: shop, seeds: ['m:3306']}, {name: bar, seeds: ['b:3306']}]
haproxy:
  - {name: ha1, cluster: shop, runtime: "tcp://127.0.0.1:1"}
  - {name: ha2, cluster: bar, runtime: "tcp://127.0.0.1:1"}
`

// The leader says of the proxies what it reads, and any other controller what
// the ledger remembers.
func TestProxiesByWhoIsAsked(t *testing.T) {
	t.Parallel()
	c := file(t, 1, proxied)
	s := open(t, c)
	f, err := newFleet(c, s, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	propose(t, s, ledger.AdoptMaster{Cluster: "shop", Master: key("m"), At: time.Now()})
	epoch := s.State().Clusters["shop"].Epoch
	table := routes.Table{Cluster: "shop", Epoch: epoch, Revision: 1}
	if err := (tables{s, ledger.Proxy}).Confirm(t.Context(), "ha1", table); err != nil {
		t.Fatal(err)
	}
	// The leader has looked at none of them yet, whatever was so once.
	all := proxies(c, f, s)
	if len(all) != 2 || all[0].Name != "ha1" || all[0].Cluster != "shop" || all[0].Holds || all[1].Name != "ha2" || all[1].Holds {
		t.Errorf("the leader: %+v", all)
	}
	if err := s.Close(); err != nil { // it leads no longer, and still remembers
		t.Fatal(err)
	}
	all = proxies(c, f, s)
	if len(all) != 2 || !all[0].Holds || all[0].Epoch != epoch || all[0].Revision != 1 || all[0].At.IsZero() ||
		all[1].Name != "ha2" || all[1].Cluster != "bar" || all[1].Holds {
		t.Errorf("another: %+v", all)
	}
}

func TestMeasure(t *testing.T) {
	t.Parallel()
	c := file(t, 1, shop)
	s := open(t, c)
	propose(t, s, ledger.AdoptMaster{Cluster: "shop", Master: key("m"), At: time.Now()},
		ledger.AdoptMaster{Cluster: "bar", Master: key("b"), At: time.Now()})
	a := replica("a", "m")
	lag := 3 * time.Second
	a.Replication.Lag = &lag
	world := newServers(&topology.Instance{Key: key("m")}, a, replica("c", "m"), &topology.Instance{Key: key("gone")},
		&topology.Instance{Key: key("b")})
	o, stop := watch(t, c, world)
	defer stop()
	o.Learn("shop", key("m"), key("a"), key("c"), key("gone"))
	o.Learn("bar", key("b"))
	seen := func(name string, reach topology.Reach) func() bool {
		return func() bool {
			return slices.ContainsFunc(o.Instances(), func(i observer.InstancePicture) bool {
				return i.Key == key(name) && i.Last != nil && i.Seen.Reach == reach
			})
		}
	}
	for _, name := range []string{"m", "a", "c", "gone", "b"} {
		eventually(t, name, seen(name, topology.ReachOK))
	}
	world.kill("gone")
	eventually(t, "gone is gone", seen("gone", topology.ReachRefused))

	epoch := s.State().Clusters["shop"].Epoch
	receivers := func() []console.Receiver {
		return []console.Receiver{
			{Name: "good", Cluster: "shop", Holds: true, Epoch: epoch, Revision: 1},
			{Name: "old", Cluster: "shop", Holds: true, Epoch: routes.Epoch{Generation: 1}, Revision: 1},
			{Name: "lost", Cluster: "shop", Epoch: epoch, Revision: 1},
			{Name: "behind", Cluster: "shop", Holds: true, Epoch: epoch},
		}
	}
	report := func(ledger.Cluster) analysis.Report {
		return analysis.Report{Master: analysis.Finding{Kind: analysis.NoProblem}}
	}
	got := measure(s, o, report, receivers, func() []console.Receiver { return receivers()[2:3] }, func(k topology.Key) *wire.DatabaseSidecar {
		if k != key("m") {
			return nil
		}
		return &wire.DatabaseSidecar{Holding: "held", NoPromise: "its server may outlive it"}
	})
	if !strings.EqualFold(got.Raft, "leader") || !got.Leader || !got.LeaderKnown || got.Term == 0 || len(got.Clusters) != 2 {
		t.Errorf("%+v", got)
	}
	at := slices.IndexFunc(got.Clusters, func(m metrics.Cluster) bool { return m.Name == "shop" })
	m := got.Clusters[at]
	if m.Epoch != epoch || m.Withdrawn || m.Writable != 1 || len(m.Servers) != 4 {
		t.Errorf("%+v", m)
	}
	if other := got.Clusters[1-at]; other.Name != "bar" || other.Writable != 1 || len(other.Servers) != 1 {
		t.Errorf("%+v", other)
	}
	for _, srv := range m.Servers {
		if is := srv.Key == key("m"); srv.Sidecar != is || srv.Held != is || srv.Promised {
			t.Errorf("%+v", srv)
		}
		if srv.Reachable != (srv.Key != key("gone")) || (srv.Lag != nil) != (srv.Key == key("a")) || srv.Lag != nil && *srv.Lag != lag {
			t.Errorf("%+v", srv)
		}
	}
	var confirmed []string
	for _, r := range got.Proxies {
		if r.Confirmed {
			confirmed = append(confirmed, r.Name)
		}
	}
	if len(got.Proxies) != 4 || !slices.Equal(confirmed, []string{"good"}) || len(got.Consul) != 1 || got.Consul[0].Confirmed {
		t.Errorf("proxies %+v, consul %+v", got.Proxies, got.Consul)
	}
}

// What is found, and what operators said, is counted for one cluster.
func TestCount(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	var state ledger.State
	for _, cmd := range []ledger.Command{
		ledger.Bootstrap{ID: "prod", Generation: 7},
		ledger.AdoptMaster{Cluster: "shop", Master: key("m"), At: now}, ledger.AdoptMaster{Cluster: "bar", Master: key("x"), At: now},
		ledger.RememberServers{Cluster: "shop", At: now, Servers: []ledger.ServerName{{Key: key("a")}, {Key: key("b")}}},
		ledger.BeginDowntime{Server: key("a"), Owner: "dba", Reason: "backup", At: now, Until: now.Add(time.Hour)},
		ledger.BeginDowntime{Server: key("b"), Owner: "c1", Reason: ledger.LostInRecovery, At: now, Until: now.Add(time.Hour)},
		ledger.BeginDowntime{Server: key("m"), Owner: "dba", Reason: "it is over", At: now.Add(-time.Hour), Until: now},
		ledger.BeginDowntime{Server: key("x"), Owner: "dba", Reason: "another's", At: now, Until: now.Add(time.Hour)},
		ledger.PauseRecoveries{Cluster: "shop", By: "kim", Reason: "r", At: now},
		ledger.OpenRelocation{Cluster: "shop", Finding: "DeadIntermediateMaster", Subject: key("a"), Automatic: true, Leader: "c1", At: now},
		ledger.CloseRelocation{Recovery: "shop-r1", Outcome: ledger.Failed, At: now},
		ledger.AppendAudit{Entries: []ledger.AuditEntry{
			{At: now, Kind: ledger.AuditDetection, Cluster: "shop", Server: key("m"), Action: "DeadMaster", By: "c1"},
			{At: now, Kind: ledger.AuditDetection, Cluster: "shop", Server: key("m"), Action: "DeadMaster", By: "c1", Outcome: "ended"},
			{At: now, Kind: ledger.AuditDetection, Cluster: "shop", Server: key("m"), Action: "DeadMaster", By: "c2"},
			{At: now, Kind: ledger.AuditDetection, Cluster: "bar", Server: key("x"), Action: "DeadMaster", By: "c2"},
			{At: now, Kind: ledger.AuditRepair, Cluster: "shop", Server: key("m"), Action: "fence", By: "c2"},
		}},
	} {
		next, _, err := ledger.Apply(state, cmd)
		if err != nil {
			t.Fatal(err)
		}
		state = next
	}
	got := metrics.Cluster{Name: "shop"}
	count(&got, state, analysis.Report{
		Master:   analysis.Finding{Kind: analysis.MasterFullDisk},
		Others:   []analysis.Finding{{Kind: analysis.DeadIntermediateMaster}, {Kind: analysis.DeadIntermediateMaster}},
		Warnings: []analysis.Warning{{Code: analysis.ErrantGTID}, {Code: analysis.BootsWritable}, {Code: analysis.ErrantGTID}},
	}, now)
	want := metrics.Cluster{
		Name: "shop", Downtimed: 2, Lost: 1, Paused: true,
		Findings:       map[string]int{"MasterFullDisk": 1, "DeadIntermediateMaster": 2},
		Warnings:       map[string]int{"ErrantGTIDStructureWarning": 2, "BootsWritableStructureWarning": 1},
		Detections:     map[string]int{"DeadMaster": 2},
		Unacknowledged: map[string]int{"relocate": 1},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// A scrape that comes before the parts are built reads nothing, and is
// answered.
func TestMetricsBeforeTheParts(t *testing.T) {
	g := newGauge()
	m, err := newMetrics(g, quiet())
	if err != nil {
		t.Fatal(err)
	}
	scrape := func() string {
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		if w.Code != 200 {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		return w.Body.String()
	}
	if text := scrape(); !strings.Contains(text, "switchyard_raft_term 0") {
		t.Error(text)
	}
	read := func() metrics.State { return metrics.State{Raft: "leader", Term: 42} }
	g.read.Store(&read)
	if text := scrape(); !strings.Contains(text, "switchyard_raft_term 42") {
		t.Error(text)
	}
}

// tongue is a controller of which only the witness is asked.
type tongue struct{ adminapi.Service }

func (tongue) Witness(_ context.Context, r wire.WitnessRequest) (wire.WitnessReply, error) {
	v := topology.View{Observer: "c2", At: time.Now(), Observations: map[topology.Key]topology.Observation{}}
	for _, k := range r.Servers {
		v.Observations[k] = topology.Observation{Key: k, Reach: topology.ReachRefused, Begun: time.Now(), Ended: time.Now()}
	}
	return wire.WitnessReply{Witness: "c2", Boot: "b2", View: v}, nil
}

// The others are asked at their doors, and this controller is not.
func TestAskerKnowsTheOthers(t *testing.T) {
	t.Parallel()
	c := file(t, 3, shop)
	serve(t, adminapi.Config{Bind: strings.TrimPrefix(c.Controllers[1].HTTP, "http://"), SelfID: "c2", Boot: "b2"}, tongue{})
	a, err := newAsker(c, open(t, c), carriage{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	views, silent := a.Ask(t.Context(), "shop", key("m"), []topology.Key{key("m"), key("a")})
	if len(views) != 1 || views[0].Observer != "c2" || views[0].Observations[key("m")].Reach != topology.ReachRefused {
		t.Errorf("views %+v", views)
	}
	if len(silent) != 1 || !strings.Contains(silent[0].Error(), "c3") {
		t.Errorf("silent %v", silent)
	}
}

// busy takes an address of the machine until the test ends.
func busy(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
}
