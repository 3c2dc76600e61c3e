package ctl_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/ctl"
	"switchyard/router/routes"
)

// proxies has a proxy in each state, and one that tries to colour the terminal.
func proxies() wire.Proxies {
	at := func(seconds int) time.Time { return time.Date(2026, 3, 4, 12, 0, seconds, 0, time.UTC) }
	return wire.Proxies{Controller: "c1", Leader: "c1", Looks: true, Proxies: []wire.Proxy{
		{
			Name: "ha1", Kind: "haproxy", Cluster: "shop", Way: wire.WayDirect, State: wire.ProxyFollows, Since: at(0), Serves: "db2:3306",
			Sessions: 64, Epoch: epoch(4), Revision: 2, Confirmed: true, WantedEpoch: epoch(4), WantedRevision: 2, Repairs: 1,
			Warning: "option redispatch would lead elsewhere: remove it",
			Readers: &routes.ReadersProof{Serving: []string{"db3:3306"}, Sessions: 3, Problem: "db4:3306 is not in its configuration"},
		},
		{
			Name: "ha2", Kind: "haproxy", Cluster: "shop", Way: wire.WaySidecar, Sidecar: "http://10.0.0.4:7500", State: wire.ProxyUnknown,
			Since: at(5), Epoch: epoch(3), Revision: 2, WantedEpoch: epoch(4), WantedRevision: 2, Retries: 17, NextLook: at(31),
			Problem: "its sidecar does not answer: \x1b[31mconnection refused",
			Report: &wire.ProxyReport{Sidecar: "edge-b", DataCenter: "west", At: at(29), Epoch: epoch(4), Revision: 1, Sessions: 3,
				Problem: "3 sessions are left"},
		},
		{
			Name: "ps1", Kind: "proxysql", Cluster: "till", Way: wire.WayDirect, State: wire.ProxyWithdrawn, Since: at(7), Epoch: epoch(9),
			Revision: 1, Confirmed: true, WantedEpoch: epoch(9), WantedRevision: 1,
		},
		{
			Name: "ps2", Kind: "proxysql", Cluster: "till", Way: wire.WaySidecar, State: wire.ProxyDown, Since: at(8), WantedEpoch: epoch(9),
			WantedRevision: 1, Retries: 2, Problem: "its sidecar edge-c finds it not running",
			Report: &wire.ProxyReport{Sidecar: "edge-c", At: at(30)},
		},
		{
			Name: "ps3", Kind: "proxysql", Cluster: "till", Way: wire.WayDirect, State: wire.ProxyStrays, Serves: "db9:3306", Since: at(9),
			Sessions: 2, WantedEpoch: epoch(9), WantedRevision: 1, Retries: 1, Problem: "2 sessions are left",
		},
	}}
}

func TestProxiesText(t *testing.T) {
	other := wire.Proxies{Controller: "c2", Proxies: []wire.Proxy{{Name: "ha1", Kind: "haproxy", Cluster: "shop", Way: wire.WayDirect,
		State: wire.ProxyRemembered, Epoch: epoch(4), Revision: 2, Confirmed: true}}}
	golden(t, "proxies", ctl.Proxies(proxies()))
	golden(t, "proxies-remembered", ctl.Proxies(other)+ctl.Proxies(wire.Proxies{Controller: "c2"}))
}

// asked is a controller that says of which cluster it was asked.
type asked struct {
	controller
	clusters []string
}

func (a *asked) Proxies(_ context.Context, cluster string) (wire.Proxies, error) {
	a.clusters = append(a.clusters, cluster)
	if cluster == "missing" {
		return wire.Proxies{}, wire.NewError(wire.NotFound, "there is no cluster missing", "see switchyard clusters")
	}
	return proxies(), nil
}

func TestProxiesCommand(t *testing.T) {
	a := &asked{controller: controller{id: "c1", leader: "c1"}}
	url := start(t, a, nil)
	for _, line := range []string{"proxies", "proxies shop"} {
		if out, err := call(t.Context(), nil, append(strings.Fields(line), "--api", url)...); err != nil || out != ctl.Proxies(proxies()) {
			t.Errorf("%s: %v: %s", line, err, out)
		}
	}
	if strings.Join(a.clusters, ",") != ",shop" {
		t.Errorf("asked of %q", a.clusters)
	}
	out, err := call(t.Context(), nil, "proxies", "--format", "json", "--api", url)
	if err != nil || !strings.Contains(out, `"state": "unknown"`) || !strings.Contains(out, `"sidecar": "edge-b"`) {
		t.Errorf("%v: %s", err, out)
	}
	for line, want := range map[string]string{
		"proxies missing": "no cluster missing", "proxies a b": `"b" is not known here`, "proxies a/b": "cluster", "proxies --format yaml": "text or json",
	} {
		if _, err := call(t.Context(), nil, append(strings.Fields(line), "--api", url)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}
