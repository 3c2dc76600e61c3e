package safety_test

import (
	"strings"
	"testing"

	"switchyard/controller/analysis"
	"switchyard/controller/policy"
	"switchyard/controller/safety"
	"switchyard/controller/topology/sketch"
)

const deadIntermediate = `
server m  exec=0-1-100
server i  <m exec=0-1-100
server r1 <i exec=0-1-100 io=Connecting
server r2 <i exec=0-1-100 io=Connecting
view c1 m=ok i=refused r1=ok r2=ok
view c2 m=ok i=refused r1=ok r2=ok
view c3 m=ok i=refused r1=ok r2=ok
`

type orphanage struct {
	change []string // pairs: old, new
	input  func(*safety.RelocationInput)
}

func judgeRelocation(t *testing.T, w orphanage) safety.Verdict {
	t.Helper()
	s, err := sketch.Parse(strings.NewReplacer(w.change...).Replace(deadIntermediate))
	if err != nil {
		t.Fatal(err)
	}
	in := safety.RelocationInput{
		Snapshot: s, Policy: policy.Cluster{RecoverIntermediate: true, Controllers: 3},
		Finding: analysis.Finding{
			Kind: "DeadIntermediateMaster", Answer: analysis.AnswerRelocate, Cluster: "shop", Subject: sketch.Key("i"),
			Sentence: "i:3306: it is dead", Replicas: 2, Valid: 2,
		},
	}
	if w.input != nil {
		w.input(&in)
	}
	return safety.JudgeRelocation(in)
}

func TestActsOnADeadIntermediateMaster(t *testing.T) {
	v := judgeRelocation(t, orphanage{})
	if !v.Act || !strings.Contains(v.Reason, "3 of 3 controllers (c1, c2, c3) agree: its replicas get another source") {
		t.Fatalf("%+v", v)
	}
}

func TestRelocationHoldsAndItsTwinActs(t *testing.T) {
	set := func(f func(*safety.RelocationInput)) orphanage { return orphanage{input: f} }
	change := func(pairs ...string) orphanage { return orphanage{change: pairs} }
	for _, c := range []struct {
		code       safety.Code
		hold, twin orphanage
	}{
		{safety.NoProblem, set(func(in *safety.RelocationInput) { in.Finding.Kind = analysis.NoProblem }), orphanage{}},
		{safety.ReportedOnly, set(func(in *safety.RelocationInput) { in.Finding.Answer = "" }), orphanage{}},
		{safety.AllReplicasDead,
			set(func(in *safety.RelocationInput) { in.Finding.Answer, in.Finding.Valid = "", 0 }),
			set(func(in *safety.RelocationInput) { in.Finding.Valid = 1 })},
		{safety.RecoveryDisabled,
			set(func(in *safety.RelocationInput) { in.Policy.RecoverIntermediate = false }),
			set(func(in *safety.RelocationInput) { in.Policy.Recover = false })},
		{safety.Paused, set(func(in *safety.RelocationInput) { in.Policy.Paused = "kim: a migration" }), orphanage{}},
		{safety.Downtimed, change("view c1", "downtime i a new disk\nview c1"), change("view c1", "downtime m a new disk\nview c1")},
		{safety.RecoveryOpen, set(func(in *safety.RelocationInput) { in.OpenRecovery = "shop-7" }), orphanage{}},
		{safety.RecoveryOpen, set(func(in *safety.RelocationInput) { in.OpenRelocation = "shop-r7" }), orphanage{}},
		{safety.NoWitnessMajority,
			change("c2 m=ok i=refused r1=ok r2=ok", "c2 m=ok i=ok", "c3 m=ok i=refused r1=ok r2=ok", "c3 m=ok i=ok"),
			change("c3 m=ok i=refused r1=ok r2=ok", "c3 m=ok i=ok")},
		{safety.NoWitnessMajority, // it answers, and its replicas fail to connect
			change("i=refused", "i=ok", "r2 <i exec=0-1-100 io=Connecting", "r2 <i exec=0-1-100"), change("i=refused", "i=ok")},
		{safety.NoSource,
			change("m=ok", "m=timeout"), change("m=ok", "m=timeout", "server r1", "server s <m exec=0-1-100\nserver r1", "view c1", "view c1 s=ok")},
		{safety.NoSource,
			change("r1 <i exec=0-1-100", "r1 <i exec=0-1-100,0-3-101", "r2 <i exec=0-1-100", "r2 <i exec=0-1-100,0-4-102"),
			change("r1 <i exec=0-1-100", "r1 <i exec=0-1-100,0-3-101")},
		{safety.NoSource,
			change("view c1", "downtime r1 a backup\ndowntime r2 a backup\nview c1"), change("view c1", "downtime r1 a backup\nview c1")},
		{safety.HookFailed, set(func(in *safety.RelocationInput) { in.HookFailed = "PreFailover: exit 1" }), orphanage{}},
	} {
		t.Run(string(c.code), func(t *testing.T) {
			if v := judgeRelocation(t, c.hold); v.Act || v.Code != c.code || v.Reason == "" {
				t.Errorf("must hold with %s: %+v", c.code, v)
			}
			if v := judgeRelocation(t, c.twin); !v.Act {
				t.Errorf("the twin must act: %+v", v)
			}
		})
	}
}
