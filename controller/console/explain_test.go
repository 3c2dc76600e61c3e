package console_test

import (
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/analysis"
	"switchyard/controller/candidate"
	"switchyard/controller/failover"
	"switchyard/controller/policy"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

func (w *world) explain() wire.Explanation {
	w.t.Helper()
	e, err := w.console().Explain(w.t.Context(), "shop")
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// has reports whether text has all parts.
func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not speak of %q", text, part)
		}
	}
}

// The first sentence says why it would act, or why not.
func TestExplainSaysItInOneSentence(t *testing.T) {
	w := newWorld(t)
	w.judged(deadMaster)
	has(t, w.explain().Summary, "the leader acts: ", "promote a:3306")

	w.judged(strings.ReplaceAll(deadMaster, "view c2 m=refused", "view c2 m=ok"))
	has(t, w.explain().Summary, "the leader holds (observers-disagree): ", "m:3306")

	w.judged(trio)
	healthy := w.explain().Summary
	if has(t, healthy, "nothing is done about the master: "); strings.Contains(healthy, "held back") {
		t.Error(healthy)
	}
	w.must(ledger.PauseRecoveries{Cluster: "shop", By: "kim", Reason: "a new rack", At: noon})
	has(t, w.explain().Summary, "nothing is done about the master", "its recovery would be held back (paused)")

	w.explained.Report.Others = []analysis.Finding{
		{Kind: analysis.DeadIntermediateMaster, Subject: key("a")}, {Kind: analysis.UnreachableIntermediateMaster, Subject: key("b")},
	}
	has(t, w.explain().Summary, "beside it DeadIntermediateMaster: a:3306", "and 1 more")
}

// Of a master that lives, those are ranked that a switchover could go to; who is
// merely behind is among them, and the master is looked at last.
func TestExplainSuccessors(t *testing.T) {
	w := newWorld(t)
	rules := w.rules["shop"]
	rules.Rules = map[topology.Key]policy.Rule{key("b"): policy.Prefer}
	w.rules["shop"] = rules
	w.judged(trio)
	e := w.explain()
	if len(e.Candidates) != 2 || e.Candidates[0].Key != key("b") || e.Candidates[0].Place != 1 || e.Candidates[1].Place != 2 ||
		len(w.looked) != 1 || w.looked[0] != key("m") {
		t.Errorf("%+v, looked at %v", e.Candidates, w.looked)
	}
	w.must(ledger.SetPromotionRule{Server: key("b"), Rule: "must_not", By: "kim", At: noon})
	if e = w.explain(); len(e.Candidates) != 2 || e.Candidates[0].Key != key("a") || e.Candidates[1].Place != 0 {
		t.Errorf("%+v", e.Candidates)
	}
	// It has gone since it was judged.
	w.draw(strings.ReplaceAll(trio, "m=ok", "m=refused"))
	if e = w.explain(); len(e.Candidates) != 0 {
		t.Errorf("%+v", e.Candidates)
	}
}

// The candidates say whom they would take from, and the plan where.
func TestExplainConverges(t *testing.T) {
	w := newWorld(t)
	w.judged(deadMaster)
	w.explained.Ranking.Order = []candidate.Choice{{Key: key("b"), Reason: "preferred", Via: key("a")}}
	e := w.explain()
	if e.Candidates[0].Key != key("b") || e.Candidates[0].Via != key("a") {
		t.Errorf("%+v", e.Candidates)
	}
	var converge []wire.PlannedStep
	for _, s := range e.Plan {
		if s.Name == "converge" {
			converge = append(converge, s)
		}
	}
	if len(converge) != 1 || converge[0].Subject != key("b") || !strings.Contains(converge[0].Detail, "from a:3306") {
		t.Errorf("%+v", e.Plan)
	}
}

func TestExplainDurability(t *testing.T) {
	w := newWorld(t)
	w.judged(deadMaster)
	e := w.explain()
	if has(t, e.Durability, "asynchronous replication", "is lost"); e.Proven {
		t.Errorf("%+v", e)
	}
	w.judged(deadMaster)
	for k, s := range w.explained.Snapshot.Servers {
		y := &s.Last.SemiSync
		if k == key("m") {
			*y = topology.SemiSync{SourceEnabled: true, SourceOn: true, AfterSync: true, WaitNoReplica: true, WaitCount: 1, Clients: 2, Timeout: 100 * time.Hour}
			continue
		}
		y.ReplicaEnabled, y.ReplicaOn = true, true
		if o, ok := w.explained.Snapshot.Sight(k); ok {
			o.Instance.SemiSync = *y
		}
	}
	if e = w.explain(); !e.Proven {
		t.Errorf("%q", e.Durability)
	}
	has(t, e.Durability, "no acknowledged write is lost")
	// Where nobody would be promoted nothing can be said.
	w.judged(trio)
	if e = w.explain(); e.Durability != "" || e.Proven {
		t.Errorf("%+v", e)
	}
}

// Findings beside the master's have a verdict of their own.
func TestExplainOthers(t *testing.T) {
	w := newWorld(t)
	w.judged(`
		server m exec=0-1-100
		server a <m exec=0-1-100
		server b <a io=Connecting exec=0-1-90
		server c <m exec=0-1-100
		view c1 m=ok a=refused b=ok c=ok
		view c2 m=ok a=refused b=ok c=ok`)
	dead := analysis.Finding{
		Kind: analysis.DeadIntermediateMaster, Cluster: "shop", Subject: key("a"), Sentence: "a is dead", Evidence: []string{"c1: refused"},
		Answer: analysis.AnswerRelocate, Replicas: 1, Valid: 1,
	}
	semi := analysis.Finding{Kind: analysis.MasterWithTooManySemiSyncReplicas, Subject: key("m"), Answer: analysis.AnswerSemiSync}
	for _, c := range []struct {
		name    string
		finding analysis.Finding
		change  func(p *policy.Cluster)
		act     bool
		reason  string
		part    string
	}{
		{"act", dead, func(p *policy.Cluster) { p.RecoverIntermediate = true }, true, "", "its replicas get another source"},
		{"off", dead, func(*policy.Cluster) {}, false, "recovery-disabled", "recovery.intermediate_clusters"},
		{"paused", dead, func(p *policy.Cluster) { p.RecoverIntermediate, p.Paused = true, "kim paused it" }, false, "paused", "kim"},
		{"one sees it", analysis.Finding{Kind: analysis.DeadIntermediateMaster, Subject: key("a"), Wants: analysis.AnswerRelocate},
			func(p *policy.Cluster) { p.RecoverIntermediate = true }, false, "no-witness-majority", "give its replicas another source"},
		{"reported", analysis.Finding{Kind: analysis.UnreachableIntermediateMaster, Subject: key("a"), Sentence: "s", Replicas: 1, Valid: 1},
			func(p *policy.Cluster) { p.RecoverIntermediate = true }, false, "reported-only", "it is reported"},
		{"semi-sync off", semi, func(p *policy.Cluster) { p.SemiSyncRepair = policy.SemiSyncLeave }, false, "reported-only", "semi_sync_repair"},
		{"semi-sync", semi, func(p *policy.Cluster) { p.SemiSyncRepair = policy.SemiSyncExact }, true, "", "put right"},
		{"semi-sync paused", semi, func(p *policy.Cluster) { p.SemiSyncRepair, p.Paused = policy.SemiSyncExact, "kim paused it" },
			false, "paused", "kim"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rules := w.rules["shop"]
			defer func() { w.rules["shop"] = rules }()
			changed := rules
			c.change(&changed)
			w.rules["shop"] = changed
			w.explained.Report = analysis.Report{Others: []analysis.Finding{c.finding}, Warnings: []analysis.Warning{
				{Code: analysis.BootsWritable, Subject: key("b"), Sentence: "it would boot writable", Evidence: []string{"read_only is absent"}},
			}}
			e := w.explain()
			if len(e.Others) != 1 {
				t.Fatalf("%+v", e)
			}
			o := e.Others[0]
			if o.Finding != string(c.finding.Kind) || o.Subject != c.finding.Subject || (o.Verdict == wire.Act) != c.act || o.Reason != c.reason {
				t.Errorf("%+v", o)
			}
			has(t, o.ReasonSentence, c.part)
			if len(e.Warnings) != 1 || e.Warnings[0].Code != string(analysis.BootsWritable) || e.Warnings[0].Evidence[0] != "read_only is absent" {
				t.Errorf("%+v", e.Warnings)
			}
		})
	}
}

// What operators said, and what happened before, is among the blocks.
func TestBlocksByOperatorsAndHistory(t *testing.T) {
	w := newWorld(t)
	w.must(ledger.PauseRecoveries{By: "lee", Reason: "a new switch", At: noon})
	w.must(ledger.PauseRecoveries{Cluster: "shop", By: "kim", Reason: "a new rack", At: noon})
	w.must(ledger.BeginDowntime{Server: key("m"), Owner: "dba", Reason: "a new disk", At: noon, Until: noon.Add(time.Hour)})
	w.must(ledger.BeginDowntime{Server: key("a"), Owner: "dba", Reason: "elsewhere", At: noon, Until: noon.Add(time.Hour)})
	w.judged(deadMaster)
	w.explained.Verdict = safety.Verdict{Code: safety.HookFailed, Reason: "pre-hook /bin/x failed"}
	blocks := w.explain().Blocks
	want := []struct{ kind, part string }{
		{"paused", "all clusters were paused by lee"}, {"paused", "shop were paused by kim"}, {"downtimed", "owned by dba: a new disk"},
		{"hook-failed", "/bin/x"},
	}
	if len(blocks) != len(want) {
		t.Fatalf("%+v", blocks)
	}
	for i, b := range blocks {
		if has(t, b.Sentence, want[i].part); b.Kind != want[i].kind || (b.Kind == "downtimed") != b.Until.Equal(noon.Add(time.Hour)) {
			t.Errorf("%+v", b)
		}
	}
}

// Crashes in a row hold the next recovery back, until they are far enough apart
// or somebody has acknowledged one.
func TestCascadeIsABlock(t *testing.T) {
	w := newWorld(t)
	rules := w.rules["shop"]
	rules.AntiFlap, rules.CascadeLimit, rules.CascadeWindow = 0, 2, time.Hour
	w.rules["shop"] = rules
	crash := func(winner string, at time.Time) string {
		c := w.state.Clusters["shop"]
		w.must(ledger.ClaimRecovery{
			Cluster: "shop", RecoveryKind: ledger.Failover, Finding: "DeadMaster", Old: c.Master, ExpectEpoch: c.Epoch, Leader: "c1",
			Automatic: true, OldProvenDead: true, At: at,
		})
		id := w.state.Clusters["shop"].Recovery
		w.must(ledger.ChooseWinner{Recovery: id, Winner: key(winner), At: at})
		w.must(ledger.Announce{Recovery: id, At: at})
		w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Completed, At: at})
		return id
	}
	crash("a", noon.Add(-50*time.Minute))
	w.judged(deadMaster)
	if b := w.explain().Blocks; len(b) != 0 {
		t.Errorf("one crash is no cascade: %+v", b)
	}
	second := crash("b", noon.Add(-10*time.Minute))
	w.judged(deadMaster)
	b := w.explain().Blocks
	if len(b) != 1 || b[0].Kind != "cascade" || !b[0].Until.Equal(noon.Add(10*time.Minute)) {
		t.Fatalf("%+v", b)
	}
	has(t, b[0].Sentence, "2 masters have crashed within 1h", "switchyard ack --cluster shop")
	w.must(ledger.AckRecovery{Recovery: second, By: "kim", Comment: "a bad batch", At: noon})
	if b := w.explain().Blocks; len(b) != 0 {
		t.Errorf("it was acknowledged: %+v", b)
	}
}

// What the loop judged by the views of all controllers counts more than what
// can be told from the master's.
func TestExplainRelocations(t *testing.T) {
	w := newWorld(t)
	w.judged(trio)
	f := analysis.Finding{Kind: analysis.DeadIntermediateMaster, Subject: key("a"), Wants: analysis.AnswerRelocate}
	seen := f
	seen.Answer, seen.Evidence = analysis.AnswerRelocate, []string{"c2: refused"}
	w.explained.Report.Others = []analysis.Finding{f}
	w.explained.Relocations = []failover.Relocation{{
		Finding: seen, Verdict: safety.Verdict{Act: true, Reason: "all agree"}, Sources: map[topology.Key]candidate.Ranking{
			key("y"): {Order: []candidate.Choice{{Key: key("m"), Reason: "it has all"}}},
			key("x"): {Excluded: []candidate.Exclusion{{Key: key("m"), Reason: "purged"}}},
		},
	}}
	e := w.explain()
	if len(e.Others) != 1 {
		t.Fatalf("%+v", e)
	}
	o := e.Others[0]
	if o.Verdict != wire.Act || o.ReasonSentence != "all agree" || o.Answer != "relocate" || o.Evidence[0] != "c2: refused" ||
		len(o.Moves) != 2 || o.Moves[0].Server != key("x") || !o.Moves[0].To.IsZero() || o.Moves[1].To != key("m") || o.Moves[1].Reason != "it has all" {
		t.Errorf("%+v", o)
	}
	has(t, o.Moves[0].Reason, "purged")
}
