package analysis_test

import (
	"strings"
	"testing"
	"time"

	"switchyard/controller/analysis"
	"switchyard/controller/policy"
	"switchyard/controller/topology/sketch"
)

var rules = policy.Cluster{Controllers: 3, MinStall: 1500 * time.Millisecond, RestartGrace: 5 * time.Second}

const servers = `
server m  exec=0-1-100
server r1 <m exec=0-1-100 recv=0-1-100 %r1
server r2 <m exec=0-1-100 recv=0-1-100 %r2
`

// Each finding has the case that matches and its nearest miss, in which one
// fact is different.
func TestFindings(t *testing.T) {
	for _, c := range []struct {
		name, r1, r2, view string
		want               analysis.Kind
	}{
		{"master answers", "", "", "m=ok r1=ok r2=ok", analysis.NoProblem},
		{"master denies us, so it lives", "", "", "m=denied r1=ok r2=ok", analysis.NoProblem},
		{"too many connections, so it lives", "", "", "m=error r1=ok r2=ok", analysis.NoProblem},
		{"dead", "io=Connecting", "io=Connecting", "m=refused r1=ok r2=ok", analysis.DeadMaster},
		{"dead, receivers stopped", "io=No", "io=No", "m=hung r1=ok r2=ok", analysis.DeadMaster},
		{"one replica receives", "io=Connecting", "", "m=refused r1=ok r2=ok", analysis.UnreachableMaster},
		{"one replica dead too", "io=Connecting", "", "m=refused r1=ok r2=timeout", analysis.DeadMasterAndSomeReplicas},
		{"all replicas dead too", "", "", "m=refused r1=refused r2=timeout", analysis.DeadMasterAndReplicas},
		{"frozen long enough", "stalled=2s", "stalled=1.5s", "m=hung r1=ok r2=ok", analysis.DeadMaster},
		{"frozen not long enough", "stalled=2s", "stalled=1.4s", "m=hung r1=ok r2=ok", analysis.UnreachableMaster},
		{"silent, slow heartbeat", "stalled=2s hb=1s", "stalled=2s", "m=hung r1=ok r2=ok", analysis.UnreachableMaster},
		{"silent, no heartbeat", "stalled=9s hb=0s", "stalled=9s", "m=hung r1=ok r2=ok", analysis.UnreachableMaster},
		{"shut down in order", "io=Connecting", "io=Connecting", "m=refused+orderly r1=ok r2=ok", analysis.MasterRestarting},
		{"in order, replicas receive", "", "", "m=hung+orderly r1=ok r2=ok", analysis.UnreachableMaster},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.NewReplacer("%r1", c.r1, "%r2", c.r2).Replace(servers) + "view c1 " + c.view
			s, err := sketch.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			got := analysis.Analyze(s, rules).Master
			if got.Kind != c.want {
				t.Fatalf("finding %s, want %s\n%s", got.Kind, c.want, strings.Join(got.Evidence, "\n"))
			}
			if len(got.Evidence) == 0 {
				t.Error("a finding without evidence")
			}
		})
	}
}

func TestNoReplicas(t *testing.T) {
	s, err := sketch.Parse("server m exec=0-1-1\nview c1 m=refused")
	if err != nil {
		t.Fatal(err)
	}
	if got := analysis.Analyze(s, rules).Master; got.Kind != analysis.DeadMasterWithoutReplicas {
		t.Fatalf("finding %s", got.Kind)
	}
}

// A clean shutdown is waited for, and not for ever.
func TestRestartGraceEnds(t *testing.T) {
	text := strings.NewReplacer("%r1", "io=Connecting", "%r2", "io=Connecting").Replace(servers) +
		"view c1 m=refused+orderly r1=ok r2=ok"
	s, err := sketch.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		later time.Duration
		want  analysis.Kind
	}{{0, analysis.MasterRestarting}, {3 * time.Second, analysis.MasterRestarting}, {5 * time.Second, analysis.DeadMaster}} {
		s.Views[0].At = sketch.Start.Add(c.later)
		if got := analysis.Analyze(s, rules).Master; got.Kind != c.want {
			t.Errorf("after %s: finding %s, want %s", c.later, got.Kind, c.want)
		}
	}
}

// What any observer sees of a replica counts: one that only another controller
// reaches, and that receives, holds everything back.
func TestReplicaSeenByAnotherController(t *testing.T) {
	text := strings.NewReplacer("%r1", "io=Connecting", "%r2", "").Replace(servers)
	s, err := sketch.Parse(text + "view c1 m=refused r1=ok r2=timeout\nview c2 m=refused r1=ok r2=ok")
	if err != nil {
		t.Fatal(err)
	}
	if got := analysis.Analyze(s, rules).Master; got.Kind != analysis.UnreachableMaster {
		t.Fatalf("finding %s, want UnreachableMaster", got.Kind)
	}
}
