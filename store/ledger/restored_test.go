package ledger

import (
	"strings"
	"testing"
	"time"

	"switchyard/controller/topology"
	"switchyard/router/routes"
)

// backedUp is a ledger in the midst of a failover of "shop", with "blog" at peace.
func backedUp(t *testing.T) State {
	t.Helper()
	at := time.Unix(100, 0)
	var s State
	for _, cmd := range []Command{
		Bootstrap{ID: "prod", Generation: 7},
		AdoptMaster{Cluster: "shop", Master: topology.Key{Host: "a", Port: 1}, At: at},
		RememberServers{Cluster: "shop", Servers: []ServerName{{Key: topology.Key{Host: "b", Port: 1}}}, At: at},
		AdoptMaster{Cluster: "blog", Master: topology.Key{Host: "x", Port: 1}, At: at},
		RememberServers{Cluster: "blog", Servers: []ServerName{{Key: topology.Key{Host: "y", Port: 1}}}, At: at},
		ClaimRecovery{Cluster: "shop", RecoveryKind: Failover, Finding: "DeadMaster", Old: topology.Key{Host: "a", Port: 1},
			ExpectEpoch: routes.Epoch{Generation: 7, Number: 1}, Leader: "c1", At: at},
	} {
		next, _, err := Apply(s, cmd)
		if err != nil {
			t.Fatal(err)
		}
		s = next
	}
	return s
}

func TestRestoredLedgerHoldsItsClusters(t *testing.T) {
	before := backedUp(t)
	s, err := Restored(before, 99, "kim", "the disks burnt", time.Unix(200, 0))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Clusters) != 0 || len(s.Held) != 2 || s.Generation != 99 || before.Generation != 7 || len(before.Clusters) != 2 {
		t.Fatalf("%+v", s)
	}
	if r := s.Recoveries["shop-2"]; r.Outcome != Failed || before.Recoveries["shop-2"].Outcome != "" {
		t.Errorf("the open recovery is %+v", r)
	}
	// Nothing can be claimed, nor said of readers.
	for _, cmd := range []Command{
		ClaimRecovery{Cluster: "blog", RecoveryKind: Failover, Finding: "DeadMaster", Old: topology.Key{Host: "x", Port: 1},
			ExpectEpoch: routes.Epoch{Generation: 7, Number: 1}, Leader: "c1", At: time.Unix(201, 0)},
		SetReaders{Cluster: "blog", ExpectEpoch: routes.Epoch{Generation: 7, Number: 1}, By: "c1", At: time.Unix(201, 0)},
	} {
		if _, _, err := Apply(s, cmd); err == nil || !strings.Contains(err.Error(), "unknown") {
			t.Errorf("%s: %v", cmd.Kind(), err)
		}
	}
}

func TestRestoredClustersAreAdoptedAnew(t *testing.T) {
	s, err := Restored(backedUp(t), 99, "kim", "", time.Unix(200, 0))
	if err != nil {
		t.Fatal(err)
	}
	at, x, y := time.Unix(300, 0), topology.Key{Host: "x", Port: 1}, topology.Key{Host: "y", Port: 1}
	for _, tc := range []struct {
		cmd  AdoptMaster
		want string
	}{
		{AdoptMaster{Cluster: "blog", Master: y, At: at}, "a person has to say"},
		{AdoptMaster{Cluster: "shop", Master: topology.Key{Host: "a", Port: 1}, At: at}, "was withdrawn"},
		{AdoptMaster{Cluster: "new", Master: topology.Key{Host: "n", Port: 1}, By: "kim", At: at}, "adopted unasked"},
	} {
		if _, _, err := Apply(s, tc.cmd); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("want %q, got %v", tc.want, err)
		}
	}
	same, _, err := Apply(s, AdoptMaster{Cluster: "blog", Master: x, At: at})
	if err != nil {
		t.Fatal(err)
	}
	if c := same.Clusters["blog"]; c.Epoch != (routes.Epoch{Generation: 99, Number: 2}) || c.Revision != 1 || c.Withdrawn || len(same.Held) != 1 {
		t.Errorf("%+v, held %v", c, same.Held)
	}
	other, changes, err := Apply(s, AdoptMaster{Cluster: "blog", Master: y, By: "kim", Reason: "I failed it over", At: at})
	if err != nil {
		t.Fatal(err)
	}
	if other.Servers[x].Standing != Deposed || other.Servers[y].Standing != Member || other.Clusters["blog"].Master != y || len(s.Held) != 2 {
		t.Errorf("%+v", other)
	}
	said := false
	for _, c := range changes {
		if h, ok := c.Value.(Header); ok {
			said = len(h.Held) == 1
		}
	}
	if last := other.Audit[len(other.Audit)-1]; last.By != "kim" || last.Kind != AuditOperator || !said {
		t.Errorf("%+v, header written: %t", last, said)
	}
}

// No epoch that was ever issued is issued again, also from a backup of a ledger that
// was restored itself.
func TestGenerationsOnlyRise(t *testing.T) {
	s := backedUp(t)
	for _, generation := range []uint64{0, 6, 7} {
		if _, err := Restored(s, generation, "kim", "", time.Unix(200, 0)); err == nil {
			t.Errorf("generation %d was taken after 7", generation)
		}
	}
	s.Held = map[string]Cluster{"old": {Name: "old", Epoch: routes.Epoch{Generation: 50, Number: 1}}}
	if got := s.NextGeneration(); got != 51 {
		t.Errorf("the next generation is %d", got)
	}
	again, err := Restored(s, 51, "kim", "", time.Unix(200, 0))
	if err != nil || len(again.Held) != 3 {
		t.Errorf("%+v, %v", again.Held, err)
	}
}
