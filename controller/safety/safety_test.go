package safety_test

import (
	"strings"
	"testing"
	"time"

	"switchyard/controller/analysis"
	"switchyard/controller/candidate"
	"switchyard/controller/policy"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/controller/topology/sketch"
)

// world is one case: what must hold, and its twin, which differs in one fact
// and must act.
type world struct {
	text   string
	policy func(*policy.Cluster)
	input  func(*safety.Input)
}

const dead = `
server m  exec=0-1-100 dc=east
server r1 <m exec=0-1-100 io=Connecting
server r2 <m exec=0-1-100 io=Connecting
view c1 m=refused r1=ok r2=ok
view c2 m=refused r1=ok r2=ok
view c3 m=refused r1=ok r2=ok
`

func judge(t *testing.T, w world) safety.Verdict {
	t.Helper()
	s, err := sketch.Parse(w.text)
	if err != nil {
		t.Fatal(err)
	}
	p := policy.Cluster{
		Recover: true, Controllers: 3, MinStall: 1500 * time.Millisecond, RestartGrace: 5 * time.Second,
		Proxies: 1, AntiFlap: 10 * time.Minute, CutOff: policy.CutOffHold, Rules: map[topology.Key]policy.Rule{},
	}
	if w.policy != nil {
		w.policy(&p)
	}
	in := safety.Input{
		Finding: analysis.Analyze(s, p), Snapshot: s, Ranking: candidate.Rank(s, s.Master, nil, p), Policy: p, Now: sketch.Start,
	}
	if w.input != nil {
		w.input(&in)
	}
	return safety.Judge(in)
}

func with(old, replacement string) world {
	if !strings.Contains(dead, old) {
		panic("no such fact: " + old)
	}
	return world{text: strings.ReplaceAll(dead, old, replacement)}
}

func TestActsOnADeadMaster(t *testing.T) {
	v := judge(t, world{text: dead})
	if !v.Act || !strings.Contains(v.Reason, "3 of 3 controllers") {
		t.Fatalf("%+v", v)
	}
}

func TestHoldsAndItsTwinActs(t *testing.T) {
	for _, c := range []struct {
		code       safety.Code
		hold, twin world
	}{
		{safety.NoProblem, with("view c1 m=refused", "view c1 m=ok"), world{text: dead}},
		{safety.MasterReadOnly,
			world{text: strings.NewReplacer("server m  exec", "server m  readonly exec", "m=refused", "m=ok").Replace(dead)},
			world{text: dead}},
		{safety.ReplicasReplicating, with("r2 <m exec=0-1-100 io=Connecting", "r2 <m exec=0-1-100"), world{text: dead}},
		{safety.RestartGrace, with("view c2 m=refused", "view c2 m=refused+orderly"), world{text: dead}},
		{safety.NoReplicas,
			world{text: "server m exec=0-1-1\nview c1 m=refused\nview c2 m=refused"},
			world{text: "server m exec=0-1-1\nserver r1 <m io=No exec=0-1-1\nview c1 m=refused r1=ok\nview c2 m=refused r1=ok"}},
		{safety.AllReplicasDead, with("r1=ok r2=ok", "r1=timeout r2=refused"), with("r1=ok r2=ok", "r1=timeout r2=ok")},
		{safety.RecoveryDisabled,
			world{text: dead, policy: func(p *policy.Cluster) { p.Recover = false }}, world{text: dead}},
		{safety.RecoveryOpen,
			world{text: dead, input: func(in *safety.Input) { in.OpenRecovery = "shop-7" }}, world{text: dead}},
		{safety.AntiFlap,
			world{text: dead, input: func(in *safety.Input) { in.LastAutomatic = sketch.Start.Add(-9 * time.Minute) }},
			world{text: dead, input: func(in *safety.Input) { in.LastAutomatic = sketch.Start.Add(-10 * time.Minute) }}},
		{safety.AntiFlap, // a clock that jumped back a little
			world{text: dead, input: func(in *safety.Input) { in.LastAutomatic = sketch.Start.Add(time.Minute) }},
			world{text: dead, input: func(in *safety.Input) { in.LastAutomatic = sketch.Start.Add(time.Hour) }}},
		{safety.NoWitnessMajority,
			world{text: dead, policy: func(p *policy.Cluster) { p.Controllers = 7 }},
			world{text: dead, policy: func(p *policy.Cluster) { p.Controllers = 5 }}},
		{safety.ObserversDisagree, with("view c3 m=refused", "view c3 m=ok"), world{text: dead}},
		{safety.ObserversDisagree, with("view c3 m=refused", "view c3 m=error"), world{text: dead}},
		{safety.MasterCutOff, with("m=refused", "m=timeout"), with("view c1 m=refused", "view c1 m=timeout")},
		{safety.MasterCutOff, with("m=refused", "m=timeout"), world{
			text:   strings.ReplaceAll(dead, "m=refused", "m=timeout"),
			policy: func(p *policy.Cluster) { p.CutOff = policy.CutOffFailover },
		}},
		{safety.NoProxies,
			world{text: strings.ReplaceAll(dead, "m=refused", "m=hung"), policy: func(p *policy.Cluster) { p.Proxies = 0 }},
			world{text: strings.ReplaceAll(dead, "m=refused", "m=hung")}},
		{safety.NoProxies,
			world{text: strings.ReplaceAll(dead, "m=refused", "m=hung"), policy: func(p *policy.Cluster) { p.Proxies = 0 }},
			world{text: dead, policy: func(p *policy.Cluster) { p.Proxies = 0 }}},
		{safety.IncomparableGTID,
			world{text: strings.NewReplacer("r1 <m exec=0-1-100", "r1 <m exec=0-1-100,0-8-101",
				"r2 <m exec=0-1-100", "r2 <m exec=0-1-100,0-9-101").Replace(dead)},
			with("r1 <m exec=0-1-100", "r1 <m exec=0-1-100,0-8-101")},
		{safety.AheadNotPromotable,
			with("r1 <m exec=0-1-100", "r1 <m exec=0-1-101 nobinlog"), with("r1 <m exec=0-1-100", "r1 <m exec=0-1-101")},
		{safety.NoCandidate,
			world{text: strings.ReplaceAll(dead, "io=Connecting", "io=Connecting nogtid")},
			with("r1 <m exec=0-1-100 io=Connecting", "r1 <m exec=0-1-100 io=Connecting nogtid")},
	} {
		t.Run(string(c.code), func(t *testing.T) {
			v := judge(t, c.hold)
			if v.Act || v.Code != c.code || v.Reason == "" {
				t.Errorf("must hold with %s: %+v", c.code, v)
			}
			if v := judge(t, c.twin); !v.Act {
				t.Errorf("the twin must act: %+v", v)
			}
		})
	}
}
