package adminapi_test

import (
	"testing"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
)

// Any controller lists them, with a leader or without; only the leader marks.
func TestDatacentersAreListedWithoutALeader(t *testing.T) {
	svc := &service{places: wire.DataCenters{DataCenters: []wire.DataCenter{{DataCenter: "dc2", Servers: 3}}}}
	d := open(t, adminapi.Config{SelfID: "c2"}, svc)
	all := into[wire.DataCenters](t, send(t, "GET", d.url+wire.PathDatacenters, ""))
	if len(all.DataCenters) != 1 || all.DataCenters[0].Servers != 3 {
		t.Errorf("%+v", all)
	}
	wantError(t, send(t, "POST", d.url+wire.PathDatacenterUp, `{"dc":"dc2"}`), 503, wire.NoLeader, "knows no leader")
}
