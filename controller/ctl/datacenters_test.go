package ctl_test

import (
	"context"
	"strings"
	"testing"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/ctl"
)

func places() wire.DataCenters {
	return wire.DataCenters{DataCenters: []wire.DataCenter{
		{
			DataCenter: "east", Controllers: []string{"c1", "c2"}, Leads: true, Servers: 4, Masters: []string{"blog", "shop"},
			Down: &wire.DataCenterDown{DataCenter: "east", By: "kim", Reason: "power \x1b[31mworks", Begun: at(0), Until: at(7_200_000)},
		},
		{DataCenter: "west", Controllers: []string{"c3"}},
	}}
}

type placed struct{ controller }

func (p *placed) Datacenters(context.Context) (wire.DataCenters, error) { return places(), nil }

func TestDatacentersList(t *testing.T) {
	golden(t, "datacenters", ctl.Datacenters(places()))
	marked := status()
	marked.Down = []wire.DataCenterDown{*places().DataCenters[0].Down}
	golden(t, "status-datacenter-down", ctl.Status(marked))
	env := map[string]string{ctl.Environment: start(t, &placed{controller{id: "c2"}}, nil)}
	out, err := call(t.Context(), env, "datacenters", "list")
	if err != nil || out != ctl.Datacenters(places()) {
		t.Errorf("%v: %s", err, out)
	}
	if out, err = call(t.Context(), env, "datacenters", "list", "--format", "json"); err != nil || !strings.Contains(out, `"masters": [`) {
		t.Errorf("%v: %s", err, out)
	}
}
