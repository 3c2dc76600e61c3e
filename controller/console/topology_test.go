package console_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/analysis"
	"switchyard/controller/failover"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

func (w *world) topology() wire.Topology {
	w.t.Helper()
	out, err := w.console().Topology(w.t.Context(), "shop")
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) node(name string) wire.Node {
	w.t.Helper()
	for _, n := range w.topology().Nodes {
		if n.Key == key(name) {
			return n
		}
	}
	w.t.Fatalf("%s is not shown", name)
	return wire.Node{}
}

func TestTopology(t *testing.T) {
	w := newWorld(t)
	w.draw(`
		server m exec=0-1-100 dc=east
		server a <m exec=0-1-100 lag=3s
		server b <m exec=0-1-90
		view c1 m=ok a=ok b=ok`)
	m := w.at("m").Last
	m.Region, m.SemiSync.SourceOn, m.Problems = "eu", true, []string{"odd"}
	a := w.at("a").Last
	a.SuperReadOnly, a.SemiSync.ReplicaOn = true, true
	rules := w.rules["shop"]
	rules.Rules = map[topology.Key]policy.Rule{key("a"): policy.Prefer, key("b"): policy.Neutral}
	w.rules["shop"] = rules
	stranger := *w.at("b")
	stranger.Key, stranger.Cluster = key("x"), "other"
	w.servers = append(w.servers, stranger)

	out := w.topology()
	if out.Cluster != "shop" || out.Master != key("m") || out.Epoch.Number != 1 || out.Revision != 1 || out.Writable != 1 ||
		out.Withdrawn || len(out.Problems) != 0 || len(out.Nodes) != 3 {
		t.Errorf("%+v", out)
	}
	n := w.node("m")
	if n.Role != wire.RoleMaster || n.Status != wire.NodeOK || n.DataCenter != "east" || n.Region != "eu" || n.ReadOnly ||
		n.SemiSync != wire.SemiSyncSource || n.LagMS != nil || *n.LastSeenMS != 1500 || n.Version != "10.11.6-MariaDB" ||
		!n.LogBin || !n.GTID || n.BinlogFormat != "ROW" || !slices.Equal(n.Problems, []string{"odd"}) || !n.Parent.IsZero() {
		t.Errorf("%+v", n)
	}
	n = w.node("a")
	if n.Role != wire.RoleReplica || n.Status != wire.NodeOK || n.Parent != key("m") || !n.ReadOnly || !n.SuperReadOnly ||
		n.SemiSync != wire.SemiSyncReplica || *n.LagMS != 3000 || n.Rule != "prefer" {
		t.Errorf("%+v", n)
	}
	if n = w.node("b"); n.Rule != "" || n.SemiSync != wire.SemiSyncNone || n.LagMS != nil {
		t.Errorf("%+v", n)
	}
	_, err := w.console().Topology(t.Context(), "other")
	refused(t, err, wire.NotFound, 404)
}

func TestNodeStatus(t *testing.T) {
	for _, c := range []struct {
		name, draw string
		change     func(*world)
		status     wire.NodeStatus
		reason     string
	}{
		{"replica", "server a <m", nil, wire.NodeOK, ""},
		{"not looked at", "server a <m", func(w *world) { w.at("a").Seen = topology.Observation{} }, wire.NodeUnchecked, ""},
		{"down", "server a <m", func(w *world) {
			w.at("a").Seen.Reach, w.at("a").Seen.Error = topology.ReachRefused, "nothing listens"
		}, wire.NodeUnreachable, "refused: nothing listens"},
		{"replicates from nobody", "server a", nil, wire.NodeNonReplicating, "it replicates from nobody"},
		{"receiver", "server a <m io=Connecting", func(w *world) { w.at("a").Last.Replication.IOError = "denied" },
			wire.NodeNonReplicating, "receiver Connecting: denied"},
		{"receiver stopped", "server a <m io=No", nil, wire.NodeNonReplicating, "receiver stopped"},
		{"applier", "server a <m sql=No", func(w *world) { w.at("a").Last.Replication.SQLError = "duplicate key" },
			wire.NodeNonReplicating, "applier stopped: duplicate key"},
		{"lag", "server a <m lag=11s", nil, wire.NodeLag, ""},
		{"a little lag", "server a <m lag=10s", nil, wire.NodeOK, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.draw("server m\n" + c.draw + "\nview c1 m=ok a=ok")
			if c.change != nil {
				c.change(w)
			}
			if n := w.node("a"); n.Status != c.status || n.Reason != c.reason {
				t.Errorf("%s %q", n.Status, n.Reason)
			}
		})
	}
}

func TestServersThatWereNeverRead(t *testing.T) {
	w := newWorld(t)
	w.draw(trio)
	w.at("b").Last, w.at("b").Seen.Instance, w.at("b").Seen.Reach = nil, nil, topology.ReachDenied
	n := w.node("b")
	if n.Status != wire.NodeUnreachable || !strings.HasPrefix(n.Reason, "denied") || n.LastSeenMS != nil || n.Errant != "" {
		t.Errorf("%+v", n)
	}
	if out := w.topology(); out.Writable != 1 {
		t.Errorf("writable %d", out.Writable)
	}
}

// Only servers that answer count as writable.
func TestWritable(t *testing.T) {
	w := newWorld(t)
	w.draw(strings.ReplaceAll(trio, "a <m", "a"))
	out := w.topology()
	if out.Writable != 2 || !slices.Equal(out.Problems, []string{"2 servers are writable: only the master should be"}) {
		t.Errorf("%d %q", out.Writable, out.Problems)
	}
	w.at("m").Seen.Reach = topology.ReachHung
	if out = w.topology(); out.Writable != 1 || len(out.Problems) != 0 {
		t.Errorf("%d %q", out.Writable, out.Problems)
	}
	w.claim(ledger.Failover, noon)
	if out = w.topology(); !out.Withdrawn || len(out.Problems) != 1 || !strings.Contains(out.Problems[0], "withdrawn") {
		t.Errorf("%+v", out)
	}
}

func TestRoles(t *testing.T) {
	w := newWorld(t)
	w.draw(trio)
	w.promote()
	w.must(ledger.SetStanding{Server: key("b"), Standing: ledger.Quarantined, Extra: "0-3-7", At: noon})
	for name, want := range map[string]wire.Role{"a": wire.RoleMaster, "m": wire.RoleDeposed, "b": wire.RoleQuarantined} {
		if n := w.node(name); n.Role != want {
			t.Errorf("%s is %s, want %s", name, n.Role, want)
		}
	}
	if n := w.node("b"); n.Errant != "0-3-7" {
		t.Errorf("what it is quarantined for is not shown: %+v", n)
	}
	if n := w.node("a"); n.Status != wire.NodeOK {
		t.Errorf("%+v", n) // the picture may still be of before the promotion
	}
}

// Pictures are of different moments: what a replica has from its master beyond
// the master's picture is merely newer. What anybody else wrote is errant.
func TestErrant(t *testing.T) {
	for _, c := range []struct{ name, master, replica, want string }{
		{"behind", "0-1-100", "0-1-90", ""},
		{"newer than the master's picture", "0-1-100", "0-1-105", ""},
		{"its own", "0-1-100", "0-1-100,0-2-101", "0-2-101"},
		{"its own, and newer", "0-1-100", "0-1-105,0-2-103", "0-2-103"},
		{"a third server's", "0-1-100", "0-1-100,0-9-105", "0-9-105"},
		{"another domain's", "0-1-100", "0-1-100,5-2-1", "5-2-1"},
		{"the master has it, too", "0-1-100,0-2-99", "0-1-100,0-2-99", ""},
		{
			"mysql", "11111111-1111-1111-1111-111111111111:1-100",
			"11111111-1111-1111-1111-111111111111:1-105,22222222-2222-2222-2222-222222222222:1-3",
			"22222222-2222-2222-2222-222222222222:1-3",
		},
		{
			"mysql, newer", "11111111-1111-1111-1111-111111111111:1-100,22222222-2222-2222-2222-222222222222:1-3",
			"11111111-1111-1111-1111-111111111111:1-105,22222222-2222-2222-2222-222222222222:1-3", "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.draw("server m exec=" + c.master + "\nserver a <m exec=" + c.replica + "\nview c1 m=ok a=ok")
			w.at("m").Last.UUID = "11111111-1111-1111-1111-111111111111"
			if n := w.node("a"); n.Errant != c.want {
				t.Errorf("errant %q, want %q", n.Errant, c.want)
			}
			if n := w.node("m"); n.Errant != "" {
				t.Errorf("the master is errant: %q", n.Errant)
			}
		})
	}
}

// Without a picture of the master there is nothing to compare with.
func TestErrantWithoutTheMaster(t *testing.T) {
	w := newWorld(t)
	w.draw(trio)
	m := w.snapshot.Servers[key("m")]
	m.Last = nil
	w.snapshot.Servers[key("m")] = m
	if n := w.node("a"); n.Errant != "" {
		t.Errorf("%q", n.Errant)
	}
	if got := *w.node("a").LastSeenMS; got != (1500 * time.Millisecond).Milliseconds() {
		t.Errorf("last seen %d ms ago", got)
	}
}

// What operators and recoveries said of a server stands beside it.
func TestNodesThatAreSpokenOf(t *testing.T) {
	w := newWorld(t)
	w.draw(trio)
	w.must(ledger.BeginDowntime{Server: key("a"), Owner: "dba", Reason: "backup", At: noon, Until: noon.Add(time.Hour)})
	w.must(ledger.BeginDowntime{Server: key("b"), Owner: "c1", Reason: ledger.LostInRecovery, At: noon, Until: noon.Add(time.Hour)})
	w.must(ledger.SetDetached{Server: key("b"), From: key("m"), By: "c1", Reason: "it lacks a binary log", At: noon})
	w.must(ledger.SetPromotionRule{Server: key("a"), Rule: "must_not", By: "kim", Until: noon.Add(time.Minute), At: noon})
	w.must(ledger.SetPromotionRule{Server: key("m"), Rule: "must", By: "kim", Until: noon, At: noon.Add(-time.Minute)}) // has run out
	w.must(ledger.PauseRecoveries{By: "lee", Reason: "a new switch", At: noon})
	a := w.node("a")
	if a.Downtime == nil || a.Downtime.Owner != "dba" || !a.Downtime.Until.Equal(noon.Add(time.Hour)) || a.Lost || a.Rule != "must_not" ||
		a.RuleBy != "kim" || !a.RuleUntil.Equal(noon.Add(time.Minute)) {
		t.Errorf("%+v", a)
	}
	b := w.node("b")
	if !b.Lost || b.Downtime == nil || b.DetachedFrom != key("m") || b.DetachedReason != "it lacks a binary log" {
		t.Errorf("%+v", b)
	}
	if m := w.node("m"); m.Downtime != nil || m.Rule != "" || m.RuleBy != "" || m.Lost || !m.DetachedFrom.IsZero() {
		t.Errorf("%+v", m)
	}
	if out := w.topology(); len(out.Paused) != 1 || out.Paused[0].By != "lee" {
		t.Errorf("%+v", out.Paused)
	}
	w.must(ledger.BeginDowntime{Server: key("a"), Owner: "dba", Reason: "backup", At: noon.Add(-time.Hour), Until: noon})
	if a = w.node("a"); a.Downtime != nil {
		t.Errorf("a downtime that has run out is shown: %+v", a.Downtime)
	}
}

// reported makes the loop's last report of shop.
func (w *world) reported(r analysis.Report) {
	w.last["shop"] = failover.Assessment{Cluster: w.state.Clusters["shop"], Report: r, Finding: r.Master}
}

func TestFindingsAndWarningsOfNodes(t *testing.T) {
	w := newWorld(t)
	w.draw(trio)
	w.at("m").Seen.Write = &topology.WriteSight{Trouble: topology.TroubleDiskFull}
	w.reported(analysis.Report{
		Master: analysis.Finding{Kind: analysis.MasterStalledWrites, Subject: key("m")},
		Others: []analysis.Finding{{Kind: analysis.DeadIntermediateMaster, Subject: key("a")}},
		Warnings: []analysis.Warning{
			{Code: analysis.BootsWritable, Subject: key("b"), Sentence: "it would boot writable"},
			{Code: analysis.NoLoggingReplicas, Sentence: "nobody logs"},
		},
	})
	if m := w.node("m"); m.Finding != string(analysis.MasterStalledWrites) || m.Trouble != topology.TroubleStalled {
		t.Errorf("%+v", m)
	}
	if a := w.node("a"); a.Finding != string(analysis.DeadIntermediateMaster) || len(a.Warnings) != 0 {
		t.Errorf("%+v", a)
	}
	if b := w.node("b"); b.Finding != "" || len(b.Warnings) != 1 || b.Warnings[0].Sentence != "it would boot writable" {
		t.Errorf("%+v", b)
	}
	if out := w.topology(); len(out.Warnings) != 1 || out.Warnings[0].Code != string(analysis.NoLoggingReplicas) {
		t.Errorf("%+v", out.Warnings)
	}
	// What a follower found is of another time; what it sees is its own.
	w.leads = false
	if m := w.node("m"); m.Finding != "" || m.Trouble != topology.TroubleDiskFull {
		t.Errorf("%+v", m)
	}
	if out := w.topology(); len(out.Warnings) != 0 {
		t.Errorf("%+v", out.Warnings)
	}
}

// TestSidecarsAreShown: which servers have one, and whether one may count on the
// master's.
func TestSidecarsAreShown(t *testing.T) {
	w := newWorld(t)
	w.draw("server m exec=0-1-100\nserver a <m exec=0-1-100\nview c1 m=ok a=ok")
	problem := func() string { return strings.Join(w.topology().Problems, "; ") }
	if got := problem(); got != "" || w.node("m").Sidecar != nil {
		t.Errorf("without sidecars: %q", got)
	}
	w.sidecars = map[topology.Key]*wire.DatabaseSidecar{key("a"): {Name: "side-a", Holding: "unleased", NoPromise: "it holds no lease"}}
	if got := problem(); !strings.Contains(got, "has no sidecar, as other servers have") {
		t.Errorf("%q", got)
	}
	w.sidecars[key("m")] = &wire.DatabaseSidecar{Name: "side-m", Holding: "held", NoPromise: "its server may outlive it"}
	if got := problem(); !strings.Contains(got, "nothing promises") || !strings.Contains(got, "may outlive it") {
		t.Errorf("%q", got)
	}
	w.sidecars[key("m")].NoPromise = ""
	if got := problem(); got != "" || w.node("m").Sidecar.Name != "side-m" || w.node("a").Sidecar.Holding != "unleased" {
		t.Errorf("%q, %+v", got, w.node("a").Sidecar)
	}
	clusters, err := w.console().Clusters(t.Context())
	if err != nil || len(clusters[0].Problems) != 0 {
		t.Errorf("%v %+v", err, clusters)
	}
}
