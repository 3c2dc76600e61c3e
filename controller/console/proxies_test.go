package console_test

import (
	"errors"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/router/routes"
)

func TestProxiesAreComparedWithTheLedger(t *testing.T) {
	w := newWorld(t)
	epoch := w.state.Clusters["shop"].Epoch
	revision := w.state.Clusters["shop"].Revision
	older := routes.Epoch{Generation: epoch.Generation, Number: epoch.Number - 1}
	at := noon.Add(-time.Minute)
	w.fleet = []wire.Proxy{
		{Name: "z1", Cluster: "other", State: wire.ProxyFollows, Epoch: epoch, Revision: 9},
		{Name: "b", Cluster: "shop", State: wire.ProxyFollows, Epoch: older, Revision: 9},
		{Name: "a", Cluster: "shop", State: wire.ProxyFollows, Epoch: epoch, Revision: revision, ConfirmedAt: at},
		{Name: "c", Cluster: "shop", State: wire.ProxyUnknown, Epoch: epoch, Revision: revision, Retries: 7},
		{Name: "d", Cluster: "shop", State: wire.ProxyRemembered, Epoch: epoch, Revision: revision},
		{Name: "e", Cluster: "shop", State: wire.ProxyDown, Epoch: epoch, Revision: revision},
	}
	got, err := w.console().Proxies(t.Context(), "shop")
	if err != nil || got.Controller != "c1" || got.Looks != w.leads || len(got.Proxies) != 5 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, want := range []struct {
		name      string
		confirmed bool
	}{{"a", true}, {"b", false}, {"c", false}, {"d", true}, {"e", false}} {
		p := got.Proxies[i]
		if p.Name != want.name || p.Confirmed != want.confirmed || p.WantedEpoch != epoch || p.WantedRevision != revision {
			t.Errorf("%+v, want %+v", p, want)
		}
	}
	all, err := w.console().Proxies(t.Context(), "")
	if err != nil || len(all.Proxies) != 6 || all.Proxies[0].Name != "z1" || all.Proxies[0].Confirmed {
		t.Errorf("of all clusters: %+v, %v", all, err)
	}
	var missing *wire.Error
	if _, err := w.console().Proxies(t.Context(), "nobodys"); !errors.As(err, &missing) || missing.Code != wire.NotFound {
		t.Errorf("of no cluster: %v", err)
	}
	w.fleet = nil
	if got, err := w.console().Proxies(t.Context(), "shop"); err != nil || got.Proxies == nil || len(got.Proxies) != 0 {
		t.Errorf("without proxies: %+v, %v", got, err)
	}
}
