package console_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/console"
	"switchyard/store/ledger"
)

func (w *world) down(name string) {
	w.must(ledger.MarkDatacenterDown{Datacenter: name, By: "kim", Reason: "power", Until: noon.Add(time.Hour), At: noon})
}

const map3 = `
server m exec=0-1-9 dc=dc1
server a <m exec=0-1-9 dc=dc2
server b <m exec=0-1-9 dc=dc3
view c1 m=ok a=ok b=ok`

func TestDatacenters(t *testing.T) {
	w := newWorld(t)
	w.draw(map3)
	w.down("dc2")
	w.must(ledger.MarkDatacenterDown{Datacenter: "gone", By: "lee", Reason: "sold", Until: noon.Add(time.Hour), At: noon})
	got, err := w.console().Datacenters(t.Context())
	want := []wire.DataCenter{
		{DataCenter: "dc1", Controllers: []string{"c1"}, Leads: true, Servers: 1, Masters: []string{"shop"}},
		{DataCenter: "dc2", Controllers: []string{"c2", "c3"}, Servers: 1, Masters: []string{}, Down: &wire.DataCenterDown{
			DataCenter: "dc2", By: "kim", Reason: "power", Begun: noon, Until: noon.Add(time.Hour),
		}},
		{DataCenter: "dc3", Controllers: []string{}, Servers: 1, Masters: []string{}},
		{DataCenter: "gone", Controllers: []string{}, Masters: []string{}, Down: &wire.DataCenterDown{
			DataCenter: "gone", By: "lee", Reason: "sold", Begun: noon, Until: noon.Add(time.Hour),
		}},
	}
	if err != nil || !reflect.DeepEqual(got.DataCenters, want) {
		t.Errorf("%v %+v, want %+v", err, got.DataCenters, want)
	}
}

func TestDatacenterDownAndUp(t *testing.T) {
	w := newWorld(t)
	w.draw(map3)
	c := w.console()
	ask := func(name string) wire.DatacenterDownRequest {
		return wire.DatacenterDownRequest{DataCenter: name, Duration: wire.Duration(2 * time.Hour), Asker: kim}
	}
	d, err := c.DatacenterUp(t.Context(), wire.DatacenterUpRequest{DataCenter: "dc1", Asker: kim})
	said(t, d, err, false, "dc1 is not marked down")
	d, err = c.DatacenterDown(t.Context(), ask("dc1"))
	said(t, d, err, true, "dc1 is marked down until 2026-03-04T14:00:00Z (2h)", "the master of shop is there", "`switchyard switchover`")
	d, err = c.DatacenterDown(t.Context(), ask("dc3"))
	said(t, d, err, true, "no server there is promoted unasked")
	if strings.Contains(d.Sentence, "the master of") || len(w.state.Datacenters) != 2 {
		t.Errorf("%q %+v", d.Sentence, w.state.Datacenters)
	}
	var told *wire.Error
	if _, err := c.DatacenterDown(t.Context(), ask("dc9")); !errors.As(err, &told) || told.Code != wire.NotFound || told.Remedy != "those that are known: dc1, dc2, dc3" {
		t.Errorf("%v", err)
	}
	if _, err := c.DatacenterUp(t.Context(), wire.DatacenterUpRequest{DataCenter: "dc9"}); !errors.As(err, &told) || told.Code != wire.NotFound {
		t.Errorf("%v", err)
	}
	s, err := c.Status(t.Context())
	if err != nil || len(s.Down) != 2 || s.Down[0].DataCenter != "dc1" || !slices.ContainsFunc(s.Problems, func(p string) bool {
		return strings.HasPrefix(p, "c1 leads, and its datacenter dc1 is marked down by kim until ")
	}) {
		t.Errorf("%v %+v %q", err, s.Down, s.Problems)
	}
	// Of one of which nothing is known any more, too.
	w.must(ledger.MarkDatacenterDown{Datacenter: "gone", By: "lee", Reason: "sold", Until: noon.Add(time.Hour), At: noon})
	d, err = c.DatacenterUp(t.Context(), wire.DatacenterUpRequest{DataCenter: "gone", Asker: kim})
	said(t, d, err, true, "gone is no longer marked down; it was by lee: sold")
	w.proposing = console.ErrNotLeader
	if _, err := c.DatacenterDown(t.Context(), ask("dc2")); !errors.As(err, &told) || told.Code != wire.NotLeader {
		t.Errorf("%v", err)
	}
}

// Leadership is not handed into a datacenter that is marked down, whoever asks.
func TestNobodyInADownDatacenterIsHandedLeadership(t *testing.T) {
	w, c := sitting(t)
	w.down("dc2")
	var told *wire.Error
	for to, part := range map[string]string{"c2": "c2 cannot lead: its datacenter dc2 is marked down by kim", "": "c3: its datacenter dc2 is marked down"} {
		if _, err := w.console().TransferLeader(t.Context(), wire.TransferRequest{To: to}); !errors.As(err, &told) || told.Code != wire.Conflict || !strings.Contains(told.Message, part) {
			t.Errorf("to %q: %v", to, err)
		}
	}
	if len(c.handed) != 0 {
		t.Errorf("handed to %q", c.handed)
	}
	w.down("dc1")
	if all := list(t, w); len(all.Problems) != 1 || !strings.Contains(all.Problems[0], "c1 leads, and its datacenter dc1 is marked down by kim") {
		t.Errorf("%q", all.Problems)
	}
}
