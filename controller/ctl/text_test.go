package ctl_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/ctl"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// golden compares text with a file; UPDATE_GOLDEN=1 writes the file instead.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

func key(text string) topology.Key {
	k, err := topology.ParseKey(text)
	if err != nil {
		panic(err)
	}
	return k
}

func age(ms int64) *int64 { return &ms }

func epoch(n uint64) routes.Epoch { return routes.Epoch{Generation: 1, Number: n} }

func at(ms int) time.Time {
	return time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
}

func replica(at, parent string) wire.Node {
	return wire.Node{
		Key: key(at), Parent: key(parent), Role: wire.RoleReplica, Status: wire.NodeOK, LagMS: age(0),
		Version: "10.11.6-MariaDB-log", ReadOnly: true, LogBin: true, BinlogFormat: "ROW", GTID: true,
		SemiSync: wire.SemiSyncReplica, LastSeenMS: age(300),
	}
}

func healthy() wire.Topology {
	master := replica("db1.eu:3306", "db1.eu:3306")
	master.Parent, master.LagMS, master.ReadOnly = topology.Key{}, nil, false
	master.Role, master.SemiSync = wire.RoleMaster, wire.SemiSyncSource
	leaf := replica("10.0.0.17:13306", "db2.eu:3306")
	leaf.LagMS, leaf.Status, leaf.Rule, leaf.DataCenter = age(12400), wire.NodeLag, "prefer_not", "ams"
	return wire.Topology{
		Cluster: "shop", Master: master.Key, Epoch: epoch(4), Writable: 1,
		Nodes: []wire.Node{leaf, replica("db3.eu:3306", "db1.eu:3306"), replica("db2.eu:3306", "db1.eu:3306"), master},
	}
}

func broken() wire.Topology {
	t := healthy()
	t.Withdrawn, t.Writable, t.Problems = true, 0, []string{"recovery shop-5 is open"}
	dead := &t.Nodes[3]
	dead.Status, dead.Reason, dead.LastSeenMS, dead.SemiSync = wire.NodeUnreachable, "connection refused", age(7300), ""
	stopped := &t.Nodes[1]
	stopped.Status, stopped.Reason, stopped.LagMS = wire.NodeNonReplicating, "IO: error 1236: could not find first log file", nil
	errant := &t.Nodes[2]
	errant.Errant, errant.Problems = "0-9-77", []string{"log_slave_updates is off", "lag query failed:\n\x1b[31mtable missing"}
	old := replica("db0.eu:3306", "db0.eu:3306")
	old.Parent, old.LagMS, old.Role, old.LogBin, old.GTID, old.SemiSync = topology.Key{}, nil, wire.RoleQuarantined, false, false, ""
	orphan := replica("db9.eu:3306", "elsewhere:3306")
	orphan.Version = "5.6.24"
	never := wire.Node{Key: key("db7.eu:3306"), Parent: key("db1.eu:3306"), Role: wire.RoleReplica, Status: wire.NodeUnchecked}
	ringA, ringB := replica("ring-a:3306", "ring-b:3306"), replica("ring-b:3306", "ring-a:3306")
	t.Nodes = append(t.Nodes, old, orphan, never, ringA, ringB)
	return t
}

func recovery() wire.Recovery {
	return wire.NewRecovery(ledger.Recovery{
		ID: "shop-5", Cluster: "shop", Kind: ledger.Failover, Finding: "DeadMaster", Automatic: true,
		Evidence: []string{"db1.eu:3306 refuses connections, seen by c1, c2 and c3", "both replicas lost their source"},
		Old:      key("db1.eu:3306"), OldProvenDead: true, EpochBefore: epoch(4), Epoch: epoch(5),
		Winner: key("db2.eu:3306"), WinnerReason: "received most, same datacenter", Announced: true, Leader: "c1",
		StartedAt: at(0), EndedAt: at(141), Outcome: ledger.Completed, Lost: []topology.Key{key("db3.eu:3306")},
		Steps: []ledger.Step{
			{
				Name: "notice", Subject: key("db1.eu:3306"), Leader: "c1", StartedAt: at(0).Add(-43800 * time.Microsecond),
				EndedAt: at(-30), Outcome: ledger.StepDone,
			},
			{Name: "withdraw", Leader: "c1", StartedAt: at(9), EndedAt: at(31), Outcome: ledger.StepDone, Note: "px1 and px2 confirmed"},
			{
				Name: "promote", Subject: key("db2.eu:3306"), Leader: "c1", StartedAt: at(52), EndedAt: at(52).Add(4200 * time.Microsecond),
				Outcome: ledger.StepDone, Note: "read_only is off",
			},
			{
				Name: "repoint", Subject: key("db3.eu:3306"), Leader: "c1", StartedAt: at(90), EndedAt: at(1190),
				Outcome: ledger.StepFailed, Note: "error 1045\nAccess denied",
			},
		},
	}, map[string]float64{"announce": 20.4, "notice": 2, "see": 11.25, "promote": 4.2, "zzz": 1, "agree": 8, "follow-up": 1100, "apply": 1.5})
}

// told is a cluster of which operators, recoveries and analysis say much.
func told() wire.Topology {
	t := healthy()
	t.Paused = []wire.Pause{{By: "kim", Reason: "a new switch", At: at(0)}, {Cluster: "shop", By: "lee", Reason: "and here", At: at(1)}}
	leaf, third, second, master := &t.Nodes[0], &t.Nodes[1], &t.Nodes[2], &t.Nodes[3]
	leaf.Status, leaf.LagMS, leaf.Lost = wire.NodeNonReplicating, nil, true
	leaf.Downtime = &wire.Downtime{Owner: "c1", Reason: ledger.LostInRecovery, Begun: at(0), Until: at(3_600_000)}
	leaf.DetachedFrom = key("db2.eu:3306")
	third.Downtime = &wire.Downtime{Owner: "dba", Reason: "backup", Begun: at(0), Until: at(60_000)}
	third.DetachedFrom, third.DetachedReason = key("db1.eu:3306"), "a test of restoring"
	second.Finding, second.Rule, second.RuleBy, second.RuleUntil = "DeadIntermediateMaster", "must_not", "kim", at(90_000)
	master.Trouble = topology.TroubleDiskFull
	master.Warnings = []wire.Warning{
		{Code: "FencePassersWarning", Subject: master.Key, Sentence: "app@% may write in spite of read_only: revoke SUPER"},
		{Code: "BootsWritableWarning", Subject: master.Key, Sentence: "it would boot writable:\nset read_only in its option file"},
	}
	t.Warnings = []wire.Warning{{Code: "NoLoggingReplicasStructureWarning", Sentence: "no replica has log_replica_updates"}}
	return t
}

// forced is a recovery that a person forced, with commands around it.
func forced() wire.Recovery {
	return wire.NewRecovery(ledger.Recovery{
		ID: "shop-8", Cluster: "shop", Kind: ledger.Failover, Finding: "UnreachableMaster", By: "kim@desk", Forced: true,
		Evidence: []string{"asked for by kim@desk: the rack burns"}, Old: key("db1.eu:3306"), EpochBefore: epoch(7), Epoch: epoch(8),
		Winner: key("db2.eu:3306"), WinnerReason: "preferred", Via: key("db3.eu:3306"), Announced: true, Leader: "c1",
		Durability: "what db1 alone holds may be lost: it does not answer", StartedAt: at(0), EndedAt: at(900), Outcome: ledger.Completed,
		Ack: &ledger.Ack{By: "lee", Comment: "the rack is out", At: at(60_000)},
		Steps: []ledger.Step{
			{
				Name: "PreFailover", Subject: key("db1.eu:3306"), Leader: "c1", StartedAt: at(0), EndedAt: at(20), Outcome: ledger.StepDone,
				Note: "/etc/hooks/pre {failedHost}: asked the switch\n\x1b[31mport 7 is down\n",
			},
			{
				Name: "PostFailover", Subject: key("db1.eu:3306"), Leader: "c1", StartedAt: at(800), EndedAt: at(810),
				Outcome: ledger.StepFailed, Note: "/etc/hooks/chat: exit status 7: no network",
			},
		},
	}, nil)
}

func relocated() wire.Recovery {
	return wire.NewRecovery(ledger.Recovery{
		ID: "shop-r2", Cluster: "shop", Kind: ledger.Relocate, Finding: "DeadIntermediateMaster", Automatic: true, Leader: "c1",
		Old: key("db4.eu:3306"), EpochBefore: epoch(7), Epoch: epoch(7), Winner: key("db1.eu:3306"), StartedAt: at(0), EndedAt: at(300),
		Outcome: ledger.Completed, Lost: []topology.Key{key("db6.eu:3306")},
	}, nil)
}

func audited() []ledger.AuditEntry {
	return []ledger.AuditEntry{
		{
			ID: 12, At: at(50), Kind: ledger.AuditOperator, Cluster: "shop", Server: key("db3.eu:3306"), Action: "begin-downtime",
			By: "kim@desk", Reason: "a new\ndisk", Evidence: []string{"until noon"},
		},
		{
			ID: 11, At: at(40), Kind: ledger.AuditHook, Cluster: "shop", Recovery: "shop-5", Action: "PostFailover", By: "c1",
			Outcome: "exit status 7", Reason: "/etc/hooks/chat",
		},
		{ID: 10, At: at(0), Kind: ledger.AuditOperator, Action: "pause-recoveries", By: "lee"},
		{
			ID: 9, At: at(0), Kind: ledger.AuditOperator, Cluster: "shop", Server: key("db2.eu:3306"), Action: "set-promotion-rule", By: "lee",
			Evidence: []string{"must_not until noon"},
		},
		{
			ID: 8, At: at(0), Kind: ledger.AuditOperator, Cluster: "shop", Server: key("db2.eu:3306"), Action: "recover", By: "lee",
			Reason: "it burns", Outcome: "refused: it answers: 2 replicas receive", Evidence: []string{"one", "two"},
		},
	}
}

func fleet() []wire.Cluster {
	return []wire.Cluster{
		{Name: "shop", Master: key("db2.eu:3306"), Epoch: epoch(5), Servers: 4, Reachable: 3, Writable: 1, Automatic: true},
		{
			Name: "billing", Master: key("10.0.0.3:3306"), Epoch: epoch(12), Servers: 2, Withdrawn: true,
			Recovery: "billing-12", Finding: "DeadMaster", Problems: []string{"px2 has not confirmed"},
		},
	}
}

func explained() wire.Explanation {
	return wire.Explanation{
		Cluster: "shop", Finding: "DeadMaster", Sentence: "The master is dead and its replicas lost it.",
		Subject: key("db1.eu:3306"), Evidence: []string{"refused"}, Verdict: wire.Hold, Reason: "anti-flap",
		ReasonSentence: "The last automatic recovery ended 2 minutes ago.",
		Plan: []wire.PlannedStep{{Name: "withdraw", Subject: key("db1.eu:3306")}, {Name: "promote", Subject: key("db2.eu:3306")},
			{Name: "repoint", Detail: "all replicas"},
		},
		Candidates: []wire.Candidate{
			{Key: key("db2.eu:3306"), Place: 1, Reason: "received most"}, {Key: key("db3.eu:3306"), Reason: "must_not"},
		},
		Blocks: []wire.Block{
			{Kind: "anti-flap", Until: at(480_000), Sentence: "one automatic recovery in 10m0s"},
			{Kind: "recovery-disabled", Sentence: "recovery.clusters does not match"},
		},
	}
}

func status() wire.Status {
	return wire.Status{
		Controller: "c2", Version: "0.1.0", State: "follower", Ledger: "prod", Leader: "c1", Term: 7, Clusters: fleet(),
		Controllers: []wire.Controller{
			{ID: "c1", State: "leader", API: "http://10.0.0.1:8600", Raft: "10.0.0.1:8601", DataCenter: "ams"},
			{ID: "c2", State: "follower", API: "http://10.0.0.2:8600", Raft: "10.0.0.2:8601"},
		},
		Proxies: []wire.Receiver{
			{Name: "px1", Kind: "haproxy", Cluster: "shop", Epoch: epoch(5), Revision: 2, Confirmed: true, At: at(150)},
			{Name: "px2", Kind: "proxysql", Cluster: "billing", Epoch: epoch(11), Revision: 2, Problem: "connection refused"},
		},
		Consul:   []wire.Receiver{{Name: "ams", Cluster: "shop", Epoch: epoch(5), Revision: 2, Confirmed: true, At: at(160)}},
		Problems: []string{"controllers c2 and c3 answer with one id"},
	}
}

// whole is an explanation with all that one can have.
func whole() wire.Explanation {
	whole := explained()
	whole.Proven = true
	whole.Summary, whole.Durability = "the leader holds (anti-flap): too soon", "nothing that was acknowledged: db2 acknowledged it all"
	whole.Candidates = append([]wire.Candidate{{Key: key("db5.eu:3306"), Place: 1, Reason: "preferred", Via: key("db2.eu:3306")}}, whole.Candidates...)
	whole.Others = []wire.Found{
		{
			Finding: "DeadIntermediateMaster", Subject: key("db4.eu:3306"), Sentence: "It is dead, and its replicas answer.", Answer: "relocate",
			Verdict: wire.Act, ReasonSentence: "two orphans go below db1", Evidence: []string{"c1: refused", "c2: refused"},
			Moves: []wire.PlannedMove{
				{Server: key("db6.eu:3306"), To: key("db1.eu:3306"), Reason: "the same datacenter"}, {Server: key("db7.eu:3306"), Reason: "nobody logs"},
			},
		},
		{
			Finding: "UnreachableIntermediateMaster", Subject: key("db9.eu:3306"), Sentence: "It does not answer.", Verdict: wire.Hold,
			Reason: "paused", ReasonSentence: "kim paused it",
		},
	}
	whole.Warnings = told().Nodes[3].Warnings
	return whole
}

// busy is a status of a cluster about which there is much to say.
func busy() wire.Status {
	urgent := told().Nodes[3].Warnings[0]
	busy := status()
	busy.Pauses = told().Paused
	busy.Clusters = []wire.Cluster{{
		Name: "shop", Master: key("db2.eu:3306"), Epoch: epoch(5), Servers: 6, Reachable: 5, Writable: 1, Automatic: true, Paused: true,
		Relocation: "shop-r2", Finding: "SickMaster", Trouble: topology.TroubleDiskFull, Others: 2, Warnings: 3, Downtimes: 3, Lost: 1,
		Urgent: &urgent,
	}}
	return busy
}

func TestGolden(t *testing.T) {
	open := wire.NewRecovery(ledger.Recovery{
		ID: "shop-6", Cluster: "shop", Kind: ledger.Switchover, Finding: "asked for", By: "kim", Old: key("db2.eu:3306"),
		EpochBefore: epoch(5), Epoch: epoch(6), Undoing: true, Leader: "c2", StartedAt: at(60_000),
	}, nil)
	reinstated := wire.NewRecovery(ledger.Recovery{
		ID: "shop-7", Cluster: "shop", Kind: ledger.Reinstate, Finding: "NoProblem", EpochBefore: epoch(6), Epoch: epoch(7),
		Leader: "c2", StartedAt: at(90_000), EndedAt: at(90_400), Outcome: ledger.Failed, Steps: []ledger.Step{
			{Name: "pick", Leader: "c2", StartedAt: at(90_000), EndedAt: at(90_400), Outcome: ledger.StepFailed},
		},
	}, nil)
	for name, text := range map[string]string{
		"tree-told": ctl.Tree(told()), "status-busy": ctl.Status(busy()), "explain-whole": ctl.Explanation(whole()),
		"recovery-forced": ctl.Recovery(forced()), "recovery-relocate": ctl.Recovery(relocated()),
		"recoveries-kinds": ctl.Recoveries([]wire.Recovery{forced(), relocated()}), "audit": ctl.Audit(audited()),
		"done": ctl.Done(wire.Done{Changed: true, Sentence: "db1 is paused\nnow"}) + ctl.Done(wire.Done{Sentence: "db1 was not paused"}) +
			ctl.Audit(nil),
		"tree-healthy": ctl.Tree(healthy()), "tree-broken": ctl.Tree(broken()),
		"clusters": ctl.Clusters(fleet()), "status": ctl.Status(status()), "status-no-leader": ctl.Status(wire.Status{Controller: "c3"}),
		"recoveries": ctl.Recoveries([]wire.Recovery{open, recovery()}), "recovery": ctl.Recovery(recovery()),
		"recovery-open": ctl.Recovery(open), "explain": ctl.Explanation(explained()),
		"recovery-of-nobody": ctl.Recovery(reinstated),
		"explain-nothing":    ctl.Explanation(wire.Explanation{Cluster: "shop", Sentence: "Nothing is wrong.", Reason: "no-problem"}),
		"explain-nothing-yet": ctl.Explanation(wire.Explanation{
			Cluster: "shop", Sentence: "Nothing is wrong.", Reason: "no-problem", ReasonSentence: "Nothing is wrong.",
			Blocks: explained().Blocks[:1], Candidates: explained().Candidates,
		}),
		"empty": ctl.Clusters(nil) + ctl.Recoveries(nil) + ctl.Tree(wire.Topology{Cluster: "new"}),
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, text) })
	}
}

// However servers point at each other, each is drawn once, on a line of its
// own, and no line carries what a terminal would obey.
func TestTreeDrawsEveryServerOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 8).Draw(t, "servers")
		tree := wire.Topology{Cluster: "c"}
		name := func(i int) topology.Key { return topology.Key{Host: fmt.Sprintf("db%d", i), Port: 3306} }
		for i := range n {
			node := wire.Node{Key: name(i), Status: wire.NodeOK, Version: rapid.String().Draw(t, "version")}
			if parent := rapid.IntRange(-1, 9).Draw(t, "parent"); parent >= 0 {
				node.Parent = name(parent)
			}
			tree.Nodes = append(tree.Nodes, node)
		}
		if n > 0 && rapid.Bool().Draw(t, "known master") {
			tree.Master = name(rapid.IntRange(0, n-1).Draw(t, "master"))
		}
		lines := strings.Split(strings.TrimSuffix(ctl.Tree(tree), "\n"), "\n")[1:]
		if len(lines) != n {
			t.Fatalf("%d servers on %d lines: %q", n, len(lines), lines)
		}
		column := -1
		for i := range n {
			found := 0
			for _, line := range lines {
				label, _, _ := strings.Cut(line, "[")
				if strings.TrimSpace(strings.TrimLeft(label, " +-")) == name(i).String() {
					found++
				}
				if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
					t.Fatalf("control character in %q", line)
				}
				if column < 0 {
					column = len(label)
				}
				if len(label) != column {
					t.Fatalf("brackets are not aligned: %q", lines)
				}
			}
			if found != 1 {
				t.Fatalf("%s is drawn %d times: %q", name(i), found, lines)
			}
		}
	})
}

// TestTreeShowsLeases: what a server's sidecar holds, and how its process ended.
func TestTreeShowsLeases(t *testing.T) {
	picture := healthy()
	picture.Nodes[3].Sidecar = &wire.DatabaseSidecar{Name: "side", Holding: "held", LastExit: "process 42 was ended by signal 9", LastExitAt: at(0)}
	picture.Nodes[0].Sidecar = &wire.DatabaseSidecar{}
	text := ctl.Tree(picture)
	for _, part := range []string{"lease:held", "lease:unheard", "process 42 was ended by signal 9 at"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}
