package app

import (
	"net/netip"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/metrics"
	"switchyard/router/fleet"
	"switchyard/router/routes"
	"switchyard/sidecar/call"
	"switchyard/sidecar/protocol"
	"switchyard/store/ledger"
)

func TestStatesOfProxies(t *testing.T) {
	at := netip.MustParseAddrPort("10.0.0.2:3306")
	for name, test := range map[string]struct {
		status fleet.ProxyStatus
		state  wire.ProxyState
		serves string
	}{
		"follows": {fleet.ProxyStatus{Reachable: true, Holds: true, Proof: routes.Proof{Serving: true, Address: at, Holds: true}},
			wire.ProxyFollows, "10.0.0.2:3306"},
		"follows by name": {fleet.ProxyStatus{Reachable: true, Holds: true, Proof: routes.Proof{Serving: true, Host: "db2:3306", Holds: true}},
			wire.ProxyFollows, "db2:3306"},
		"withdrawn":                {fleet.ProxyStatus{Reachable: true, Holds: true, Proof: routes.Proof{Address: at, Holds: true}}, wire.ProxyWithdrawn, ""},
		"down":                     {fleet.ProxyStatus{Down: true}, wire.ProxyDown, ""},
		"silent":                   {fleet.ProxyStatus{}, wire.ProxyUnknown, ""},
		"elsewhere":                {fleet.ProxyStatus{Reachable: true, Proof: routes.Proof{Serving: true, Address: at}}, wire.ProxyStrays, "10.0.0.2:3306"},
		"nobody, which is wrong":   {fleet.ProxyStatus{Reachable: true}, wire.ProxyStrays, ""},
		"answers, and not in time": {fleet.ProxyStatus{Proof: routes.Proof{Sessions: 2}}, wire.ProxyStrays, ""},
	} {
		if got := stateOf(test.status); got != test.state || serves(test.status.Proof) != test.serves {
			t.Errorf("%s: %s %q, want %s %q", name, got, serves(test.status.Proof), test.state, test.serves)
		}
	}
}

func TestLooksAreAddedByName(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 10, 0, time.UTC)
	list := []metrics.Receiver{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	addLooks(list, []fleet.ProxyStatus{
		{Name: "b", Retries: 3, Repairs: 2, BehindSince: now.Add(-4 * time.Second), Proof: routes.Proof{Sessions: 5}}, {Name: "a"},
	}, now)
	if l := list[1].Look; l == nil || *l != (metrics.Look{Behind: 4 * time.Second, Retries: 3, Repairs: 2, Sessions: 5}) {
		t.Errorf("b: %+v", l)
	}
	if l := list[0].Look; l == nil || *l != (metrics.Look{}) || list[2].Look != nil {
		t.Errorf("%+v", list)
	}
}

// The fleet as it is asked for: by the leader's looks or from the ledger, with
// what the sidecars reported.
func TestFleetByWhoIsAsked(t *testing.T) {
	t.Parallel()
	c := file(t, 1, `
clusters: [{name: shop, seeds: ['m:3306']}]
sidecars: {secret: between-them}
haproxy: [{name: ha1, cluster: shop, runtime: "tcp://127.0.0.1:1"}]
proxysql: [{name: ps1, cluster: shop, sidecar: "http://127.0.0.1:1"}]
`)
	s := open(t, c)
	f, err := newFleet(c, s, call.New("between-them"), quiet())
	if err != nil {
		t.Fatal(err)
	}
	propose(t, s, ledger.AdoptMaster{Cluster: "shop", Master: key("m"), At: time.Now()})
	epoch := s.State().Clusters["shop"].Epoch
	if err := (tables{s, ledger.Proxy}).Confirm(t.Context(), "ha1", routes.Table{Cluster: "shop", Epoch: epoch, Revision: 1}); err != nil {
		t.Fatal(err)
	}
	b := newBulletin(c, s, newTasks())
	if _, err := b.Watch(t.Context(), protocol.Watch{Sidecar: "edge", Run: "r", Datacenter: "dc1", Known: []protocol.Known{{Cluster: "shop"}},
		Reports: []protocol.Report{{Proxy: "ps1", Cluster: "shop", Sessions: 2}}}); err != nil {
		t.Fatal(err)
	}
	all := fleetOf(c, f, s, b)
	if len(all) != 2 || all[0].State != wire.ProxyUnknown || all[0].Way != wire.WayDirect || all[0].Problem == "" || all[0].Since.IsZero() ||
		all[0].Report != nil || all[0].Kind != "haproxy" {
		t.Errorf("the leader: %+v", all)
	}
	if p := all[1]; p.Way != wire.WaySidecar || p.Sidecar != "http://127.0.0.1:1" || p.Kind != "proxysql" || p.Report == nil ||
		p.Report.Sidecar != "edge" || p.Report.Sessions != 2 {
		t.Errorf("the leader: %+v", p)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	all = fleetOf(c, f, s, b)
	if all[0].State != wire.ProxyRemembered || all[0].Epoch != epoch || all[0].Revision != 1 || all[0].ConfirmedAt.IsZero() ||
		all[1].State != wire.ProxyRemembered || !all[1].Epoch.IsZero() || all[1].Report == nil {
		t.Errorf("another: %+v", all)
	}
}
