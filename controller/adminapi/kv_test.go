package adminapi_test

import (
	"context"
	"strings"
	"testing"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
)

// keeper remembers what it is told.
type keeper struct {
	keeping wire.Keeping
	told    []wire.Notice
}

func (k *keeper) Keeping() wire.Keeping { return k.keeping }

func (k *keeper) Noticed(_ context.Context, n wire.Notice) error {
	k.told = append(k.told, n)
	return nil
}

func TestKVIsAnswered(t *testing.T) {
	svc := full()
	svc.kv = func(_ context.Context, c string) (wire.KV, error) {
		if c == "unknown" {
			return wire.KV{}, wire.NewError(wire.NotFound, "there is no cluster unknown", "")
		}
		return wire.KV{Controller: "c1", Entries: []wire.KVEntry{{DataCenter: "dc1", Cluster: c, State: wire.KVRight}}}, nil
	}
	d := open(t, adminapi.Config{SelfID: "c1", Secret: secret}, svc)
	for query, c := range map[string]string{"": "", "?cluster=main": "main"} {
		got := into[wire.KV](t, send(t, "GET", d.url+wire.PathKV+query, ""))
		if len(got.Entries) != 1 || got.Entries[0].Cluster != c || !got.Entries[0].State.Right() {
			t.Errorf("%q: %+v", query, got)
		}
	}
	wantError(t, send(t, "GET", d.url+wire.PathKV+"?cluster=unknown", ""), 404, wire.NotFound, "unknown")
	wantError(t, send(t, "GET", d.url+wire.PathKV+"?cluster=a%20b", ""), 400, wire.BadRequest, "cluster")
	wantError(t, send(t, "GET", d.url+wire.PathKV+"?dc=a", ""), 400, wire.BadRequest, `"dc" is not known`)
}

func TestControllersSpeakOfDirectories(t *testing.T) {
	k := &keeper{keeping: wire.Keeping{Controller: "c1", Records: []wire.KeepingRecord{{DataCenter: "dc1", Cluster: "main", Repairs: 2}}}}
	d := open(t, adminapi.Config{SelfID: "c1", Secret: secret, Keeper: k}, full())
	peers := adminapi.NewPeers(secret)
	got, err := peers.Keeping(t.Context(), d.url)
	if err != nil || got.Controller != "c1" || len(got.Records) != 1 || got.Records[0] != k.keeping.Records[0] {
		t.Errorf("keeping %+v, %v", got, err)
	}
	notice := wire.Notice{Controller: "c2", DataCenter: "dc2", Cluster: "main", Master: "db1:3306", Was: "nothing", Times: 1}
	if err := peers.Notice(t.Context(), d.url, notice); err != nil || len(k.told) != 1 || k.told[0] != notice {
		t.Errorf("told %+v, %v", k.told, err)
	}
	for want, spoil := range map[string]func(*wire.Notice){
		"cluster":    func(n *wire.Notice) { n.Cluster = "a b" },
		"controller": func(n *wire.Notice) { n.Controller = "" },
		"dc":         func(n *wire.Notice) { n.DataCenter = strings.Repeat("x", 200) },
		"was":        func(n *wire.Notice) { n.Was = strings.Repeat("x", 9000) },
		"times":      func(n *wire.Notice) { n.Times = 0 },
	} {
		bad := notice
		spoil(&bad)
		if err := peers.Notice(t.Context(), d.url, bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if err := adminapi.NewPeers("another").Notice(t.Context(), d.url, notice); err == nil {
		t.Error("a stranger was heard")
	}
	if _, err := adminapi.NewPeers("another").Keeping(t.Context(), d.url); err == nil {
		t.Error("a stranger was answered")
	}
	follower := open(t, adminapi.Config{SelfID: "c1", Secret: secret, Keeper: k}, &service{leaderID: "c2"})
	if err := peers.Notice(t.Context(), follower.url, notice); err == nil || !strings.Contains(err.Error(), "does not lead") {
		t.Errorf("to a follower: %v", err)
	}
	if len(k.told) != 1 {
		t.Errorf("told %+v", k.told)
	}
}
