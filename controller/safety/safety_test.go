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
		Proxies: 1, AntiFlap: 10 * time.Minute, Partition: policy.PartitionHold, Rules: map[topology.Key]policy.Rule{},
	}
	if w.policy != nil {
		w.policy(&p)
	}
	in := safety.Input{
		Finding: analysis.Analyze(s, p).Master, Snapshot: s, Ranking: candidate.Rank(s, s.Master, nil, p), Policy: p, Now: sketch.Start,
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

// crashes is a dead master after n others that crashed, the last one so long ago.
func crashes(n int, ago time.Duration) world {
	return world{
		text:   dead,
		policy: func(p *policy.Cluster) { p.CascadeLimit, p.CascadeWindow = 2, time.Hour },
		input: func(in *safety.Input) {
			for range n {
				in.Crashes = append(in.Crashes, sketch.Start.Add(-ago))
			}
		},
	}
}

// semisync is a dead master of a cluster in which semi_sync is on, and r1 has
// the plugins; words are added to the servers that they begin with.
func semisync(words ...string) world {
	text := strings.Replace(dead, "r1 <m", "r1 <m semisync", 1)
	for _, w := range words {
		name, rest, _ := strings.Cut(w, " ")
		for _, word := range strings.Fields(rest) {
			switch word {
			case "downtime":
				text = strings.Replace(text, "view c1", "downtime "+name+" a new disk\nview c1", 1)
			case name + "=timeout":
				text = strings.ReplaceAll(text, name+"=ok", word)
			default:
				text = strings.Replace(text, name+" <m", name+" <m "+word, 1)
				text = strings.Replace(text, "server "+name+"  ", "server "+name+"  "+word+" ", 1)
			}
		}
	}
	return world{text: text, policy: func(p *policy.Cluster) {
		p.SemiSync = policy.SemiSyncOn
		p.Rules[sketch.Key("r1")] = policy.Must
	}}
}

// leased is a master that is cut off, with what is known of its lease.
func leased(l *safety.Lease) world {
	return world{
		text:   strings.ReplaceAll(dead, "m=refused", "m=timeout"),
		policy: func(p *policy.Cluster) { p.Partition = policy.PartitionFailover },
		input:  func(in *safety.Input) { in.Lease = l },
	}
}

// silentProxy is a dead master to which a proxy may lead that does not answer.
func silentProxy(p policy.Proxies, l *safety.Lease) world {
	return world{
		text: dead, policy: func(c *policy.Cluster) { c.UnreachableProxies = p },
		input: func(in *safety.Input) { in.Lease, in.Unknown = l, []string{"ha2"} },
	}
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
		{safety.NoProblem,
			world{text: strings.NewReplacer("m=refused", "m=ok", " io=Connecting", "").Replace(dead)}, world{text: dead}},
		{safety.ReportedOnly, with("m=refused", "m=ok"), world{text: dead}},
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
			policy: func(p *policy.Cluster) { p.Partition = policy.PartitionFailover },
		}},
		{safety.NoLease, leased(&safety.Lease{Missing: "not tied"}), leased(&safety.Lease{Promise: "held"})},
		{safety.NoLease, leased(&safety.Lease{Missing: "not tied"}), leased(nil)},
		{safety.NoLease, leased(&safety.Lease{Missing: "not tied"}), world{ // its host answers somebody
			text:   strings.Replace(leased(nil).text, "view c1 m=timeout", "view c1 m=refused", 1),
			policy: leased(nil).policy, input: leased(&safety.Lease{Missing: "not tied"}).input,
		}},
		{safety.ProxiesUnreachable, silentProxy(policy.ProxiesStrict, nil), silentProxy(policy.ProxiesFast, nil)},
		{safety.ProxiesUnreachable, silentProxy(policy.ProxiesStrict, &safety.Lease{Missing: "not tied"}),
			silentProxy(policy.ProxiesStrict, &safety.Lease{Promise: "held"})},
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
		{safety.Paused,
			world{text: dead, policy: func(p *policy.Cluster) { p.Paused = "kim: a migration" }}, world{text: dead}},
		{safety.Downtimed,
			with("view c1", "downtime m a new disk\nview c1"), with("view c1", "downtime r2 a new disk\nview c1")},
		{safety.Cascade, crashes(2, 59*time.Minute), crashes(2, time.Hour)},
		{safety.Cascade, crashes(2, 0), crashes(1, 0)},
		{safety.Cascade, crashes(2, -time.Minute), crashes(2, -2*time.Hour)},           // clocks that jumped
		{safety.Cascade, crashes(2, 0), world{text: dead, input: crashes(9, 0).input}}, // no limit
		{safety.HookFailed,
			world{text: dead, input: func(in *safety.Input) { in.HookFailed = "PreFailover: exit 1" }}, world{text: dead}},
		{safety.TooFewAcknowledgers, semisync(""), semisync("r2 semisync")},
		{safety.TooFewAcknowledgers, semisync("r2 semisync", "m wait=2 source"), semisync("r2 semisync", "m wait=1 source")},
		{safety.TooFewAcknowledgers, semisync("r2 semisync downtime"), semisync("r2 semisync")},
		{safety.TooFewAcknowledgers, semisync("r2 semisync version=10.6.1"), semisync("r2 semisync version=10.11.1")},
		{safety.TooFewAcknowledgers, semisync("r2 semisync r2=timeout"), semisync("r2 semisync")},
		{safety.TooFewAcknowledgers, semisync(""), world{text: semisync("").text}},
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

// The witnesses of a sick master are those that see its trouble. (That they have
// seen it for long enough is for the finding to say.)
func TestWitnessesOfASickMaster(t *testing.T) {
	const sick = `
server m  exec=0-1-100
server r1 <m exec=0-1-100
view c1 m=ok+full-disk:1m r1=ok
view c2 m=ok+full-disk:1m r1=ok
view c3 m=ok r1=ok
`
	for _, c := range []struct {
		old, new string
		proxies  int
		kind     analysis.Kind
		code     safety.Code
	}{
		{"", "", 1, analysis.MasterFullDisk, ""},
		{"", "", 0, analysis.MasterFullDisk, safety.NoProxies},
		{"view c3 m=ok", "view c3 m=ok+writes", 1, analysis.MasterFullDisk, safety.ObserversDisagree},
		{"view c3 m=ok", "view c3 m=refused", 1, analysis.MasterFullDisk, ""},
		{"view c2 m=ok+full-disk:1m", "view c2 m=ok", 1, analysis.MasterFullDisk, safety.NoWitnessMajority},
		{"view c2 m=ok+full-disk:1m", "view c2 m=ok+stalled-writes:1m", 1, analysis.MasterFullDisk, safety.NoWitnessMajority},
		{"view c2 m=ok+full-disk:1m", "view c2 m=refused+full-disk:1m", 1, analysis.MasterFullDisk, safety.NoWitnessMajority},
		{"", "", 1, analysis.MasterTooManyConnections, safety.NoWitnessMajority},
	} {
		w := world{text: strings.Replace(sick, c.old, c.new, 1), policy: func(p *policy.Cluster) { p.Proxies = c.proxies }}
		w.input = func(in *safety.Input) {
			in.Finding = analysis.Finding{Kind: c.kind, Answer: analysis.AnswerFailover, Cluster: "shop", Subject: sketch.Key("m"), Sentence: "m: it is sick"}
		}
		if v := judge(t, w); v.Act != (c.code == "") || v.Code != c.code {
			t.Errorf("%s: %+v, want %q", c.new, v, c.code)
		}
	}
	// A session that is held open writes on while nobody else can connect.
	w := world{text: strings.NewReplacer("full-disk", "too-many-connections", "view c3 m=ok", "view c3 m=ok+writes").Replace(sick)}
	w.input = func(in *safety.Input) {
		in.Finding = analysis.Finding{Kind: analysis.MasterTooManyConnections, Answer: analysis.AnswerFailover, Sentence: "m: it is sick"}
	}
	if v := judge(t, w); !v.Act {
		t.Errorf("%+v", v)
	}
}
