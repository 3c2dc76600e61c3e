package ctl_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/ctl"
)

// directories have a cluster's keys in each state, and one value that tries to
// colour the terminal.
func directories() wire.KV {
	at := time.Date(2026, 3, 4, 12, 0, 5, 0, time.UTC)
	entry := func(dc string, state wire.KVState) wire.KVEntry {
		return wire.KVEntry{DataCenter: dc, Cluster: "shop", State: state, Master: "db1.eu:3306", Epoch: epoch(4), Revision: 2,
			WantedMaster: "db1.eu:3306", WantedEpoch: epoch(4), WantedRevision: 3,
			Writers: []wire.KVWriter{{Controller: "c1", ConfirmedAt: at, Repairs: 1}}}
	}
	all := []wire.KVEntry{
		entry("a", wire.KVRight), entry("b", wire.KVMissing), entry("c", wire.KVBehind), entry("d", wire.KVWrong),
		entry("e", wire.KVHigher), entry("f", wire.KVUnread), entry("a", wire.KVKept),
	}
	all[1].Master, all[1].Epoch = "", epoch(0)
	all[1].Epoch.Generation = 0
	all[1].Writers = []wire.KVWriter{{Controller: "c2", Error: "controller c2 does not say how it does: connection refused"}, {Controller: "c3"}}
	all[2].Epoch = epoch(3)
	all[3].Faults = []string{`hostname is "\x1b[31mdb9"`, "missing: port"}
	all[4].Epoch = epoch(5)
	all[4].Writers = []wire.KVWriter{{Controller: "c1", AsLeader: true, Error: "epoch 1.5 is held already"}}
	all[5].Error, all[5].Master, all[5].Epoch = "context deadline exceeded", "", all[1].Epoch
	all[5].Writers = []wire.KVWriter{}
	all[6].Cluster, all[6].WantedMaster = "till", ""
	return wire.KV{Controller: "c1", Leader: "c1", Entries: all}
}

func TestKVText(t *testing.T) {
	leaderless := directories()
	leaderless.Leader, leaderless.Entries = "", leaderless.Entries[:1]
	golden(t, "kv", ctl.KV(directories())+"\n"+ctl.KV(leaderless)+"\n"+ctl.KV(wire.KV{Controller: "c1"}))
}

// shelves is a controller that says of which cluster it was asked.
type shelves struct {
	controller
	clusters []string
}

func (s *shelves) KV(_ context.Context, cluster string) (wire.KV, error) {
	s.clusters = append(s.clusters, cluster)
	return directories(), nil
}

func TestKVCommand(t *testing.T) {
	s := &shelves{controller: controller{id: "c1", leader: "c1"}}
	url := start(t, s, nil)
	for _, line := range []string{"kv", "kv shop"} {
		if out, err := call(t.Context(), nil, append(strings.Fields(line), "--api", url)...); err != nil || out != ctl.KV(directories()) {
			t.Errorf("%s: %v: %s", line, err, out)
		}
	}
	if strings.Join(s.clusters, ",") != ",shop" {
		t.Errorf("asked of %q", s.clusters)
	}
	out, err := call(t.Context(), nil, "kv", "--format", "json", "--api", url)
	if err != nil || !strings.Contains(out, `"state": "higher"`) || !strings.Contains(out, `"as_leader": true`) {
		t.Errorf("%v: %s", err, out)
	}
	for line, want := range map[string]string{"kv a b": `"b" is not known here`, "kv a/b": "cluster"} {
		if _, err := call(t.Context(), nil, append(strings.Fields(line), "--api", url)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}
