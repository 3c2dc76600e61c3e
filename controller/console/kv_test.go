package console_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/console"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// shelves are directories that hold what the test says.
type shelves struct {
	found   []console.Found
	kept    map[string]console.Kept
	asked   []string
	patient bool
}

func (s *shelves) Look(ctx context.Context, clusters []string) []console.Found {
	s.asked = clusters
	_, s.patient = ctx.Deadline()
	return s.found
}

func (s *shelves) Keeping(context.Context) map[string]console.Kept { return s.kept }

func TestKVIsComparedWithTheLedger(t *testing.T) {
	w := newWorld(t)
	now := w.state.Clusters["shop"]
	record := func(epoch routes.Epoch, host string) routes.Record {
		return routes.Record{Cluster: "shop", Epoch: epoch, Revision: 1, Master: routes.Server{Host: host, Port: 3306}, IPv4: "10.0.0.1"}
	}
	older := routes.Epoch{Generation: now.Epoch.Generation - 1, Number: 9}
	right := record(now.Epoch, now.Master.Host)
	tests := []struct {
		dc      string
		holding routes.Holding
		err     error
		want    wire.KVState
	}{
		{"right", routes.Holding{Record: right}, nil, wire.KVRight},
		{"missing", routes.Holding{Record: routes.Record{Cluster: "shop"}}, nil, wire.KVMissing},
		{"behind", routes.Holding{Record: record(older, "b")}, nil, wire.KVBehind},
		{"another", routes.Holding{Record: record(now.Epoch, "b")}, nil, wire.KVWrong},
		{"broken", routes.Holding{Record: right, Faults: []string{"missing: port"}}, nil, wire.KVWrong},
		{"no epoch", routes.Holding{Record: record(routes.Epoch{}, "m"), Faults: []string{`epoch is "x"`}}, nil, wire.KVWrong},
		{"higher", routes.Holding{Record: record(now.Epoch.Next(), "b")}, nil, wire.KVHigher},
		{"hung", routes.Holding{}, errors.New("deadline"), wire.KVUnread},
	}
	s := &shelves{}
	for _, test := range tests {
		s.found = append(s.found, console.Found{Datacenter: test.dc, Cluster: "shop", Holding: test.holding, Err: test.err})
	}
	w.directories = s
	got, err := w.console().KV(t.Context(), "shop")
	if err != nil || got.Controller != "c1" || got.Leader != "c1" || len(got.Entries) != len(tests) || !s.patient ||
		!slices.Equal(s.asked, []string{"shop"}) {
		t.Fatalf("%+v, %v; asked of %q", got, err, s.asked)
	}
	for _, test := range tests {
		i := slices.IndexFunc(got.Entries, func(e wire.KVEntry) bool { return e.DataCenter == test.dc })
		e := got.Entries[i]
		if e.State != test.want || e.WantedEpoch != now.Epoch || e.WantedMaster != now.Master.String() || (e.Error != "") != (test.err != nil) ||
			len(e.Faults) != len(test.holding.Faults) {
			t.Errorf("%s: %+v, want %s", test.dc, e, test.want)
		}
	}
	if !slices.IsSortedFunc(got.Entries, func(a, b wire.KVEntry) int { return strings.Compare(a.DataCenter, b.DataCenter) }) {
		t.Errorf("in no order: %+v", got.Entries)
	}

	var missing *wire.Error
	if _, err := w.console().KV(t.Context(), "nobodys"); !errors.As(err, &missing) || missing.Code != wire.NotFound {
		t.Errorf("of no cluster: %v", err)
	}
	// While nobody is to be served, the last master is kept.
	w.must(ledger.ClaimRecovery{Cluster: "shop", RecoveryKind: ledger.Failover, Finding: "DeadMaster", Old: now.Master, Leader: "c1",
		At: noon, ExpectEpoch: now.Epoch})
	s.found = s.found[:2]
	got, err = w.console().KV(t.Context(), "")
	if err != nil || got.Entries[0].State != wire.KVKept || got.Entries[1].State != wire.KVKept || got.Entries[0].WantedMaster != "" {
		t.Errorf("withdrawn: %+v, %v", got, err)
	}
	w.directories = nil
	if got, err := w.console().KV(t.Context(), ""); err != nil || got.Entries == nil || len(got.Entries) != 0 {
		t.Errorf("without directories: %+v, %v", got, err)
	}
}

func TestWhoWritesKV(t *testing.T) {
	w := newWorld(t)
	w.leader, w.leads = "c2", false
	s := &shelves{kept: map[string]console.Kept{
		"c1": {Datacenter: "dc1", Records: []wire.KeepingRecord{
			{DataCenter: "dc1", Cluster: "shop", ConfirmedAt: noon, Repairs: 3},
			{DataCenter: "dc1", Cluster: "till", Repairs: 9}, {DataCenter: "dc2", Cluster: "shop", Repairs: 9},
		}},
		"c2": {Records: []wire.KeepingRecord{{DataCenter: "dc3", Cluster: "shop", Error: "it hangs"}}},
		"c3": {Err: errors.New("connection refused")},
	}}
	for _, dc := range []string{"dc1", "dc2", "dc3"} {
		s.found = append(s.found, console.Found{Datacenter: dc, Cluster: "shop"})
	}
	w.directories = s
	got, err := w.console().KV(t.Context(), "shop")
	if err != nil || len(got.Entries) != 3 || got.Leader != "c2" {
		t.Fatalf("%+v, %v", got, err)
	}
	if a := got.Entries[0].Writers; len(a) != 1 || a[0] != (wire.KVWriter{Controller: "c1", ConfirmedAt: noon, Repairs: 3}) {
		t.Errorf("dc1: %+v", a)
	}
	if b := got.Entries[1].Writers; len(b) != 2 || b[0].Controller != "c2" || b[0].Error != "" || b[1].Controller != "c3" ||
		!strings.Contains(b[1].Error, "refused") {
		t.Errorf("dc2: %+v", b)
	}
	if c := got.Entries[2].Writers; len(c) != 1 || c[0] != (wire.KVWriter{Controller: "c2", AsLeader: true, Error: "it hangs"}) {
		t.Errorf("dc3: %+v", c)
	}
	// A controller knows better where it stands than the others' configuration.
	s.kept["c3"] = console.Kept{Datacenter: "dc3"}
	if got, err := w.console().KV(t.Context(), "shop"); err != nil || len(got.Entries[1].Writers) != 1 || len(got.Entries[2].Writers) != 1 ||
		got.Entries[2].Writers[0] != (wire.KVWriter{Controller: "c3"}) {
		t.Errorf("%+v, %v", got, err)
	}
	delete(s.kept, "c3")
	w.leader = ""
	if got, err := w.console().KV(t.Context(), "shop"); err != nil || got.Entries[2].Writers == nil || len(got.Entries[2].Writers) != 0 {
		t.Errorf("without a leader: %+v, %v", got, err)
	}
}
