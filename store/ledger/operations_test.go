package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/topology"
)

// same applies a command that must be accepted and change nothing.
func same(t *testing.T, s State, cmd Command) {
	t.Helper()
	if _, changes, err := Apply(s, cmd); err != nil || len(changes) != 0 {
		t.Fatalf("%#v: want no change, got %v and %v", cmd, changes, err)
	}
}

// newest is the last audit entry.
func newest(s State) AuditEntry { return s.Audit[len(s.Audit)-1] }

func TestDowntimeBeginsChangesAndEnds(t *testing.T) {
	begin := BeginDowntime{Server: b, Owner: "kim", Reason: "new disk", Until: noon.Add(time.Hour), At: noon}
	s := run(t, shop(t), begin)
	if got := s.Downtimes[b]; got != (Downtime{b, "kim", "new disk", noon, noon.Add(time.Hour)}) {
		t.Fatalf("downtime: %+v", got)
	}
	if e := newest(s); e.Kind != AuditOperator || e.By != "kim" || e.Server != b || e.Cluster != "shop" ||
		e.Action != "begin-downtime" || e.Reason != "new disk" || !e.At.Equal(noon) {
		t.Fatalf("audit: %+v", e)
	}
	again := begin
	again.At = noon.Add(time.Minute)
	same(t, s, again)
	longer := begin
	longer.At, longer.Until, longer.By = noon.Add(time.Minute), noon.Add(2*time.Hour), "lee"
	s = run(t, s, longer)
	if got := s.Downtimes[b]; !got.Begun.Equal(noon) || !got.Until.Equal(noon.Add(2*time.Hour)) || newest(s).By != "lee" {
		t.Fatalf("prolonged: %+v, %+v", got, newest(s))
	}
	anew := begin
	anew.At, anew.Until = noon.Add(3*time.Hour), noon.Add(4*time.Hour)
	if got := run(t, s, anew).Downtimes[b]; !got.Begun.Equal(anew.At) {
		t.Fatalf("begun anew after it had run out: %+v", got)
	}
	if got := s.Downtimed("shop", noon.Add(2*time.Hour-1)); len(got) != 1 || got[b].Owner != "kim" {
		t.Fatalf("downtimed within: %v", got)
	}
	if got := s.Downtimed("shop", noon.Add(2*time.Hour)); len(got) != 0 {
		t.Fatalf("downtimed after the end: %v", got)
	}
	if got := s.Downtimed("blog", noon); len(got) != 0 {
		t.Fatalf("downtimed in another cluster: %v", got)
	}
	s = run(t, s, EndDowntime{Server: b, By: "lee", Reason: "done", At: noon})
	if s.Downtimes != nil || newest(s).By != "lee" || newest(s).Reason != "done" {
		t.Fatalf("ended: %v, %+v", s.Downtimes, newest(s))
	}
	same(t, s, EndDowntime{Server: b, By: "lee", At: noon})
}

func TestLostReplicaKeepsTheOperatorsDowntime(t *testing.T) {
	lost := BeginDowntime{Server: b, Owner: "ctl-1", Reason: LostInRecovery, Until: noon.Add(time.Hour), At: noon}
	s := run(t, shop(t), lost)
	if newest(s).Kind != AuditRepair {
		t.Fatalf("audit: %+v", newest(s))
	}
	kims := BeginDowntime{Server: b, Owner: "kim", Reason: "disk", Until: noon.Add(time.Minute), At: noon}
	s = run(t, s, kims)
	if s.Downtimes[b].Owner != "kim" {
		t.Fatalf("an operator's word comes first: %+v", s.Downtimes[b])
	}
	same(t, s, lost)
	late := lost
	late.At = noon.Add(time.Minute)
	if got := run(t, s, late).Downtimes[b]; got.Owner != "ctl-1" {
		t.Fatalf("the operator's has run out: %+v", got)
	}
}

func TestPromotionRules(t *testing.T) {
	set := SetPromotionRule{Server: b, Rule: "prefer", By: "kim", Until: noon.Add(time.Hour), At: noon}
	s := run(t, shop(t), set, SetPromotionRule{Server: c, Rule: "must_not", By: "kim", Reason: "slow", At: noon})
	if got := s.ActiveRules("shop", noon); len(got) != 2 || got[b].Rule != "prefer" || got[c].Rule != "must_not" {
		t.Fatalf("rules: %v", got)
	}
	if got := s.ActiveRules("shop", noon.Add(time.Hour)); len(got) != 1 || got[c].Rule != "must_not" {
		t.Fatalf("rules an hour later: %v", got)
	}
	if got := s.ActiveRules("blog", noon); len(got) != 0 || newest(s).Reason != "slow" || newest(s).Server != c {
		t.Fatalf("rules of another cluster: %v, audit %+v", got, newest(s))
	}
	again := set
	again.At = noon.Add(time.Minute)
	same(t, s, again)
	s = run(t, s, SetPromotionRule{Server: b, By: "lee", At: noon}, SetPromotionRule{Server: c, By: "lee", At: noon})
	if s.Rules != nil || newest(s).By != "lee" || newest(s).Evidence[0] != "must_not was taken back" {
		t.Fatalf("taken back: %v, %+v", s.Rules, newest(s))
	}
	same(t, s, SetPromotionRule{Server: b, By: "lee", At: noon})
}

func TestPauses(t *testing.T) {
	s := shop(t)
	if p, ok := s.PausedFor("shop"); ok {
		t.Fatalf("paused by %+v", p)
	}
	all, one := PauseRecoveries{By: "kim", Reason: "network", At: noon}, PauseRecoveries{Cluster: "shop", By: "lee", Reason: "trial", At: noon}
	s = run(t, s, all)
	if p, ok := s.PausedFor("shop"); !ok || p.By != "kim" {
		t.Fatalf("paused by %+v", p)
	}
	s = run(t, s, one)
	if p, ok := s.PausedFor("shop"); !ok || p.By != "lee" {
		t.Fatalf("paused by %+v", p)
	}
	if p, ok := s.PausedFor("blog"); !ok || p.By != "kim" {
		t.Fatalf("another cluster is paused by %+v", p)
	}
	same(t, s, one)
	s = run(t, s, ResumeRecoveries{Cluster: "shop", By: "lee", Reason: "over", At: noon})
	if p, ok := s.PausedFor("shop"); !ok || p.By != "kim" || newest(s).Action != "resume-recoveries" || newest(s).Reason != "over" {
		t.Fatalf("paused by %+v, audit %+v", p, newest(s))
	}
	same(t, s, ResumeRecoveries{Cluster: "shop", By: "lee", At: noon})
	if s = run(t, s, ResumeRecoveries{By: "kim", At: noon}); s.Pauses != nil {
		t.Fatalf("pauses: %v", s.Pauses)
	}
}

// crashes adds n automatic failovers of proven crashes, each an hour after the
// one before, from whoever is the master to b or a.
func crashes(t *testing.T, s State, n int) State {
	t.Helper()
	for range n {
		cluster := s.Clusters["shop"]
		at := noon.Add(time.Duration(cluster.Epoch.Number) * time.Hour)
		cmd := claim(Failover, cluster.Epoch.Number, cluster.Master, at)
		cmd.OldProvenDead = true
		winner := b
		if cluster.Master == b {
			winner = a
		}
		s = run(t, s, cmd)
		id := s.Clusters["shop"].Recovery
		s = run(t, s, ChooseWinner{Recovery: id, Winner: winner, At: at}, Announce{Recovery: id, At: at},
			CloseRecovery{Recovery: id, Outcome: Completed, At: at})
	}
	return s
}

func TestAckEndsTheWindowAndTheCascade(t *testing.T) {
	ack := func(id string) AckRecovery { return AckRecovery{Recovery: id, By: "kim", Comment: "seen", At: noon} }
	s := crashes(t, shop(t), 3) // shop-2, shop-3, shop-4
	if got := s.Crashes("shop"); len(got) != 3 || !got[0].Equal(noon.Add(3*time.Hour)) || !got[2].Equal(noon.Add(time.Hour)) {
		t.Fatalf("crashes: %v", got)
	}
	older := run(t, s, ack("shop-3"))
	if older.Clusters["shop"].LastAutomatic.IsZero() || len(older.Crashes("shop")) != 1 {
		t.Fatalf("an older one acknowledged: %+v, %v", older.Clusters["shop"], older.Crashes("shop"))
	}
	s = run(t, s, ack("shop-4"))
	if !s.Clusters["shop"].LastAutomatic.IsZero() || len(s.Crashes("shop")) != 0 {
		t.Fatalf("the newest one acknowledged: %+v, %v", s.Clusters["shop"], s.Crashes("shop"))
	}
	if got := s.Recoveries["shop-4"].Ack; got == nil || *got != (Ack{"kim", "seen", noon}) || newest(s).Reason != "seen" {
		t.Fatalf("acknowledgement: %+v, audit %+v", got, newest(s))
	}
	same(t, s, ack("shop-4"))
	other := ack("shop-4")
	other.By = "lee"
	refused(t, s, other, "was acknowledged by kim at")
	refused(t, run(t, s, claim(Failover, 4, b, noon)), ack("shop-5"), "has not ended yet")
	refused(t, s, ack("shop-99"), "is unknown")
	if len(crashes(t, s, 1).Crashes("shop")) != 1 {
		t.Fatal("a crash after the acknowledgement does not count")
	}
}

// What is counted, and what lifts the window, is an automatic failover, whether
// its evidence proved the death or not; its nearest misses are not.
func TestOnlyAutomaticFailoversCascade(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*ClaimRecovery)
		moves  bool
		want   int
		lifts  bool
	}{
		{"a crash", func(*ClaimRecovery) {}, true, 2, true},
		{"asked for", func(c *ClaimRecovery) { c.Automatic = false }, true, 1, false},
		{"not proven", func(c *ClaimRecovery) { c.OldProvenDead = false }, true, 2, true},
		{"a switchover", func(c *ClaimRecovery) { c.RecoveryKind = Switchover }, true, 1, false},
		{"moved nothing", func(*ClaimRecovery) {}, false, 1, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := crashes(t, shop(t), 1)
			cmd := claim(Failover, 2, b, noon.Add(9*time.Hour))
			cmd.OldProvenDead = true
			tc.change(&cmd)
			end := CloseRecovery{Recovery: "shop-3", Outcome: Failed, At: noon}
			s = run(t, s, cmd, ChooseWinner{Recovery: "shop-3", Winner: c, At: noon})
			if tc.moves {
				s = run(t, s, Announce{Recovery: "shop-3", At: noon})
			}
			s = run(t, s, end)
			if got := s.Crashes("shop"); len(got) != tc.want {
				t.Errorf("crashes: %v", got)
			}
			s = run(t, s, AckRecovery{Recovery: "shop-3", By: "kim", Comment: "x", At: noon})
			if got := s.Clusters["shop"].LastAutomatic.IsZero(); got != tc.lifts {
				t.Errorf("the window is lifted: %t", got)
			}
		})
	}
}

func relocation(subject topology.Key) OpenRelocation {
	return OpenRelocation{
		Cluster: "shop", Finding: "DeadIntermediateMaster", Evidence: []string{"gone"}, Automatic: true,
		Subject: subject, Leader: "ctl-1", At: noon,
	}
}

func TestRelocationFromBeginningToEnd(t *testing.T) {
	before := shop(t)
	s := run(t, before, relocation(b))
	r := s.Recoveries["shop-r1"]
	if r.Kind != Relocate || r.Old != b || r.OldUUID != "uuid-b" || r.Epoch != epoch(1) || r.EpochBefore != epoch(1) ||
		r.OfMaster() || !r.Open() || s.Clusters["shop"].Relocation != "shop-r1" {
		t.Fatalf("opened: %+v in %+v", r, s.Clusters["shop"])
	}
	if newest(s).Kind != AuditRecovery || newest(s).By != "ctl-1" || newest(s).Recovery != "shop-r1" {
		t.Fatalf("audit: %+v", newest(s))
	}
	for _, cmd := range []Command{
		ChooseWinner{Recovery: "shop-r1", Winner: c, At: noon}, Rewind{Recovery: "shop-r1", At: noon},
		Announce{Recovery: "shop-r1", At: noon}, CloseRecovery{Recovery: "shop-r1", Outcome: Failed, At: noon},
	} {
		refused(t, s, cmd, "recovery shop-r1 is a relocation")
	}
	refused(t, s, relocation(c), "relocation shop-r1 of cluster shop is open")
	step := Step{Name: "repoint", Subject: c, Leader: "ctl-2", StartedAt: noon, EndedAt: noon, Outcome: StepDone}
	s = run(t, s, ResumeRecovery{Recovery: "shop-r1", Leader: "ctl-2", At: noon}, RecordSteps{Recovery: "shop-r1", Steps: []Step{step}})
	end := CloseRelocation{Recovery: "shop-r1", Winner: c, Outcome: Completed, Lost: []topology.Key{b}, At: noon.Add(time.Second)}
	s = run(t, s, end)
	r = s.Recoveries["shop-r1"]
	if r.Leader != "ctl-2" || len(r.Steps) != 1 || r.Winner != c || r.Outcome != Completed || !slices.Equal(r.Lost, end.Lost) {
		t.Fatalf("closed: %+v", r)
	}
	if e := newest(s); e.By != "ctl-2" || e.Outcome != "" || e.Action != "close-relocation" {
		t.Fatalf("audit: %+v", e)
	}
	same(t, s, end)
	failed := end
	failed.Outcome = Failed
	refused(t, s, failed, "ended at")
	is, was := s.Clusters["shop"], before.Clusters["shop"]
	if is.Relocation != "" || is.Epoch != was.Epoch || is.Revision != was.Revision || is.Withdrawn != was.Withdrawn {
		t.Fatalf("the cluster went from %+v to %+v", was, is)
	}
	if s = run(t, s, relocation(c)); s.Clusters["shop"].Relocation != "shop-r2" {
		t.Fatalf("the next: %+v", s.Clusters["shop"])
	}
}

func TestClaimClosesTheRelocation(t *testing.T) {
	for kind, want := range map[Kind]string{
		Failover: "a failover took precedence", Switchover: "a switchover took precedence", Reinstate: "a reinstate took precedence",
	} {
		s := run(t, shop(t), relocation(b), claim(kind, 1, a, noon))
		r, cluster := s.Recoveries["shop-r1"], s.Clusters["shop"]
		if r.Outcome != Failed || r.Message != want || !r.EndedAt.Equal(noon) || cluster.Relocation != "" ||
			cluster.Recovery != "shop-2" || cluster.Relocations != 1 {
			t.Errorf("%s: %+v in %+v", kind, r, cluster)
		}
		refused(t, s, relocation(b), "recovery shop-2 of cluster shop is open")
		refused(t, s, CloseRelocation{Recovery: "shop-r1", Outcome: Completed, At: noon}, "ended at")
		refused(t, s, CloseRelocation{Recovery: "shop-2", Outcome: Completed, At: noon}, "ends by close-recovery")
	}
	s := run(t, shop(t), relocation(b))
	refused(t, s, claim(Failover, 9, a, noon), "at epoch")
	if !s.Recoveries["shop-r1"].Open() {
		t.Fatal("a rejected claim closed the relocation")
	}
}

func TestRelocationsDoNotPushFailoversOut(t *testing.T) {
	s := crashes(t, shop(t), 1)
	for n := range maxHistory + 5 {
		s = run(t, s, relocation(c), CloseRelocation{Recovery: fmt.Sprintf("shop-r%d", n+1), Outcome: Failed, At: noon})
	}
	if _, ok := s.Recoveries["shop-2"]; !ok || len(s.Recoveries) != maxHistory+1 {
		t.Fatalf("%d are kept, the failover: %t", len(s.Recoveries), ok)
	}
	for id, want := range map[string]bool{"shop-r5": false, "shop-r6": true, "shop-r99": true, "shop-r205": true} {
		if _, got := s.Recoveries[id]; got != want {
			t.Errorf("%s is kept: %t", id, got)
		}
	}
}

func TestDetachedIsRemembered(t *testing.T) {
	s := run(t, shop(t), SetDetached{Server: b, From: a, By: "kim", Reason: "to look at", At: noon})
	if got := s.Servers[b]; got.DetachedFrom != a || got.DetachedReason != "to look at" || got.Standing != Member {
		t.Fatalf("detached: %+v", got)
	}
	same(t, s, SetDetached{Server: b, From: a, By: "kim", Reason: "to look at", At: noon})
	back := SetDetached{Server: b, By: "kim", Reason: "looked at", At: noon}
	s = run(t, s, back)
	if got := s.Servers[b]; !got.DetachedFrom.IsZero() || got.DetachedReason != "" || newest(s).Reason != "looked at" {
		t.Fatalf("attached: %+v, audit %+v", got, newest(s))
	}
	same(t, s, back)
}

func TestClaimAndCloseAreAudited(t *testing.T) {
	forced := claim(Failover, 1, a, noon)
	forced.Automatic, forced.Forced, forced.By, forced.Evidence = false, true, "kim", []string{"no answer"}
	s := run(t, shop(t), forced)
	if e := newest(s); e.Kind != AuditOperator || e.By != "kim" || e.Reason != "forced failover: DeadMaster" ||
		e.Recovery != "shop-2" || e.Server != a || !slices.Equal(e.Evidence, forced.Evidence) {
		t.Fatalf("claimed: %+v", e)
	}
	if !s.Recoveries["shop-2"].Forced {
		t.Fatal("the recovery does not say that it was forced")
	}
	s = run(t, s, ChooseWinner{Recovery: "shop-2", Winner: b, Via: c, Durability: "not proven", At: noon})
	if r := s.Recoveries["shop-2"]; r.Via != c || r.Durability != "not proven" {
		t.Fatalf("chosen: %+v", r)
	}
	refused(t, s, JudgeDurability{Recovery: "shop-2", Winner: c, Durability: "proven", At: noon}, "is not db-c")
	refused(t, s, JudgeDurability{Recovery: "shop-3", Winner: b, Durability: "proven", At: noon}, "shop-3")
	refused(t, s, JudgeDurability{Recovery: "shop-2", Winner: b, Durability: strings.Repeat("x", 3000), At: noon}, "durability has 3000 bytes")
	s = run(t, s, JudgeDurability{Recovery: "shop-2", Winner: b, Durability: "proven", At: noon})
	if r := s.Recoveries["shop-2"]; r.Via != c || r.Durability != "proven" {
		t.Fatalf("judged: %+v", r)
	}
	refused(t, run(t, s, Announce{Recovery: "shop-2", At: noon}),
		JudgeDurability{Recovery: "shop-2", Winner: b, Durability: "not proven", At: noon}, "announced db-b:3306 already")
	rewound := run(t, s, Rewind{Recovery: "shop-2", At: noon}).Recoveries["shop-2"]
	if !rewound.Via.IsZero() || rewound.Durability != "" {
		t.Fatalf("rewound: %+v", rewound)
	}
	s = run(t, s, Announce{Recovery: "shop-2", At: noon},
		CloseRecovery{Recovery: "shop-2", Outcome: Incomplete, Message: "lb-2 is late", Lost: []topology.Key{a}, At: noon})
	if e := newest(s); e.Kind != AuditRecovery || e.By != "ctl-1" || e.Outcome != "incomplete" || e.Reason != "lb-2 is late" ||
		!slices.Equal(e.Evidence, []string{"to db-b:3306", "lost db-a:3306"}) {
		t.Fatalf("closed: %+v", e)
	}
}

func TestAuditIsBoundedAndPruned(t *testing.T) {
	entry := func(n int) AuditEntry {
		return AuditEntry{At: noon.Add(time.Duration(n) * time.Second), Kind: AuditHook, Action: "x", By: "ctl-1"}
	}
	s := shop(t)
	for n := range maxAudit / maxItems {
		batch := make([]AuditEntry, maxItems)
		for i := range batch {
			batch[i] = entry(n*maxItems + i)
		}
		s = run(t, s, AppendAudit{Entries: batch})
	}
	if len(s.Audit) != maxAudit || s.Audit[0].ID != 1 {
		t.Fatalf("%d entries from %d on", len(s.Audit), s.Audit[0].ID)
	}
	next, changes, err := Apply(s, AppendAudit{Entries: []AuditEntry{entry(1), entry(2)}})
	if err != nil || len(next.Audit) != maxAudit || next.Audit[0].ID != 3 || newest(next).ID != maxAudit+2 {
		t.Fatalf("%d entries from %d to %d, %v", len(next.Audit), next.Audit[0].ID, newest(next).ID, err)
	}
	var gone []string
	for _, change := range changes {
		if change.Family == FamilyAudit && change.Value == nil {
			gone = append(gone, change.Key)
		}
	}
	if !slices.Equal(gone, []string{"1", "2"}) || s.Audit[0].ID != 1 {
		t.Fatalf("forgotten: %v, an older state begins with %d", gone, s.Audit[0].ID)
	}
	pruned := run(t, next, PruneAudit{Before: noon.Add(10 * time.Second)})
	if len(pruned.Audit) != maxAudit-10 || pruned.Audit[0].ID != 11 || newest(pruned).ID != maxAudit {
		t.Fatalf("%d entries from %d to %d", len(pruned.Audit), pruned.Audit[0].ID, newest(pruned).ID)
	}
	empty := run(t, pruned, PruneAudit{Before: noon.AddDate(1, 0, 0)})
	if empty.Audit != nil || newest(run(t, empty, AppendAudit{Entries: []AuditEntry{entry(1)}})).ID != maxAudit+3 {
		t.Fatalf("%d are left", len(empty.Audit))
	}
	same(t, empty, PruneAudit{Before: noon})
}

func TestEvidenceIsCut(t *testing.T) {
	e := AuditEntry{At: noon, Kind: AuditHook, Action: "x", By: "y", Evidence: []string{
		strings.Repeat("a", maxProof-10), strings.Repeat("é", 100), "never",
	}}
	given := slices.Clone(e.Evidence)
	got := newest(run(t, shop(t), AppendAudit{Entries: []AuditEntry{e}})).Evidence
	if len(got) != 2 || got[0] != given[0] || got[1] != "ééééé" || !slices.Equal(e.Evidence, given) {
		t.Fatalf("%d lines, the last %q", len(got), got[len(got)-1])
	}
}

func TestBadOperations(t *testing.T) {
	s := run(t, shop(t), AdoptMaster{Cluster: "blog", Master: topology.Key{Host: "blog", Port: 1}, At: noon},
		claim(Failover, 1, a, noon), CloseRecovery{Recovery: "shop-2", Outcome: Failed, At: noon})
	far, long, blog := topology.Key{Host: "x", Port: 9}, strings.Repeat("x", 3000), topology.Key{Host: "blog", Port: 1}
	down := BeginDowntime{Server: b, Owner: "kim", Reason: "r", Until: noon.Add(1), At: noon}
	rule := SetPromotionRule{Server: b, Rule: "prefer", By: "kim", At: noon}
	entry := AuditEntry{At: noon, Kind: AuditHook, Action: "x", By: "y"}
	open := run(t, s, relocation(b))
	for _, tc := range []struct {
		state State
		cmd   Command
		want  string
	}{
		{s, with(down, func(c *BeginDowntime) { c.Server = topology.Key{} }), "server is empty"},
		{s, with(down, func(c *BeginDowntime) { c.Server = far }), "server x:9 is unknown"},
		{s, with(down, func(c *BeginDowntime) { c.Owner = "" }), "owner is empty"},
		{s, with(down, func(c *BeginDowntime) { c.Owner = long }), "owner has 3000 bytes"},
		{s, with(down, func(c *BeginDowntime) { c.By = long }), "by has 3000 bytes"},
		{s, with(down, func(c *BeginDowntime) { c.Reason = "" }), "reason is empty"},
		{s, with(down, func(c *BeginDowntime) { c.Reason = long }), "reason has 3000 bytes, at most 2000"},
		{s, with(down, func(c *BeginDowntime) { c.Until = noon }), "until: 2026-03-04T12:00:00Z is not after 2026-03-04T12:00:00Z"},
		{s, with(down, func(c *BeginDowntime) { c.Until = time.Time{} }), "until is the zero time"},
		{s, with(down, func(c *BeginDowntime) { c.At = time.Time{} }), "at is the zero time"},
		{s, EndDowntime{Server: b, At: noon}, "by is empty"},
		{s, EndDowntime{Server: b, By: "kim", Reason: long, At: noon}, "reason has 3000"},
		{s, EndDowntime{By: "kim", At: noon}, "server is empty"},
		{s, with(rule, func(c *SetPromotionRule) { c.Rule = "king" }), `rule "king": want must, prefer`},
		{s, with(rule, func(c *SetPromotionRule) { c.By = "" }), "by is empty"},
		{s, with(rule, func(c *SetPromotionRule) { c.Server = far }), "server x:9 is unknown"},
		{s, with(rule, func(c *SetPromotionRule) { c.Until = noon }), "until"},
		{s, with(rule, func(c *SetPromotionRule) { c.Rule, c.Until = "", noon.Add(1) }), "taken back does not run out"},
		{s, PauseRecoveries{Cluster: "moon", By: "kim", Reason: "r", At: noon}, "cluster moon is unknown"},
		{s, PauseRecoveries{Cluster: "a/b", By: "kim", Reason: "r", At: noon}, `cluster "a/b"`},
		{s, PauseRecoveries{By: "kim", At: noon}, "reason is empty"},
		{s, PauseRecoveries{Reason: "r", At: noon}, "by is empty"},
		{s, ResumeRecoveries{At: noon}, "by is empty"},
		{s, ResumeRecoveries{Cluster: "moon", By: "kim", At: noon}, "cluster moon is unknown"},
		{s, AckRecovery{By: "kim", Comment: "x", At: noon}, "recovery is empty"},
		{s, AckRecovery{Recovery: "shop-2", Comment: "x", At: noon}, "by is empty"},
		{s, AckRecovery{Recovery: "shop-2", By: "kim", At: noon}, "comment is empty"},
		{s, AckRecovery{Recovery: "shop-2", By: "kim", Comment: "x"}, "at is the zero time"},
		{open, AckRecovery{Recovery: "shop-r1", By: "kim", Comment: "x", At: noon}, "has not ended yet"},
		{s, with(relocation(b), func(c *OpenRelocation) { c.Cluster = "moon" }), "cluster moon is unknown"},
		{s, with(relocation(b), func(c *OpenRelocation) { c.Finding = "" }), "finding is empty"},
		{s, with(relocation(b), func(c *OpenRelocation) { c.Leader = "" }), "leader is empty"},
		{s, with(relocation(b), func(c *OpenRelocation) { c.Automatic = false }), "by is empty"},
		{s, relocation(far), "subject x:9 is no known server of cluster shop"},
		{s, relocation(blog), "subject blog:1 is no known server of cluster shop"},
		{s, relocation(a), "subject db-a:3306 is the master of cluster shop"},
		{s, relocation(topology.Key{}), "subject is empty"},
		{open, CloseRelocation{Recovery: "shop-r1", Outcome: Undone, At: noon}, `outcome "undone": want completed, incomplete or failed`},
		{open, CloseRelocation{Recovery: "shop-r1", At: noon}, `outcome ""`},
		{open, CloseRelocation{Recovery: "shop-r1", Outcome: Failed}, "at is the zero time"},
		{open, CloseRelocation{Recovery: "shop-r1", Outcome: Failed, Winner: b, At: noon}, "had to go"},
		{open, CloseRelocation{Recovery: "shop-r1", Outcome: Failed, Winner: blog, At: noon}, "no known server of cluster shop"},
		{open, CloseRelocation{Recovery: "shop-r1", Outcome: Failed, Lost: []topology.Key{{}}, At: noon}, "lost[0] is empty"},
		{open, CloseRelocation{Recovery: "shop-r9", Outcome: Failed, At: noon}, "is unknown"},
		{s, SetDetached{Server: b, From: b, By: "kim", At: noon}, "from: db-b:3306 cannot be detached from itself"},
		{s, SetDetached{Server: far, From: a, By: "kim", At: noon}, "server x:9 is unknown"},
		{s, SetDetached{Server: b, From: topology.Key{Host: "a b", Port: 1}, By: "kim", At: noon}, `from "a b:1"`},
		{s, SetDetached{Server: b, From: a, At: noon}, "by is empty"},
		{s, AppendAudit{}, "entries: there are 0"},
		{s, AppendAudit{Entries: []AuditEntry{entry, with(entry, func(e *AuditEntry) { e.By = "" })}}, "entries[1].by is empty"},
		{s, AppendAudit{Entries: []AuditEntry{with(entry, func(e *AuditEntry) { e.Kind = "rumour" })}}, `entries[0].kind "rumour"`},
		{s, AppendAudit{Entries: []AuditEntry{with(entry, func(e *AuditEntry) { e.ID = 4 })}}, "entries[0].id is 4"},
		{s, AppendAudit{Entries: []AuditEntry{with(entry, func(e *AuditEntry) { e.Action = "" })}}, "entries[0].action is empty"},
		{s, AppendAudit{Entries: []AuditEntry{with(entry, func(e *AuditEntry) { e.Cluster = "a b" })}}, "entries[0].cluster"},
		{s, AppendAudit{Entries: []AuditEntry{with(entry, func(e *AuditEntry) { e.At = time.Time{} })}}, "entries[0].at"},
		{s, PruneAudit{}, "before is the zero time"},
		{s, with(claim(Failover, 2, a, noon), func(c *ClaimRecovery) { c.Forced = true }), "forced: only a person"},
	} {
		refused(t, tc.state, tc.cmd, tc.want)
	}
	chosen := run(t, s, claim(Failover, 2, a, noon), SetStanding{Server: c, Standing: Quarantined, At: noon})
	for via, want := range map[topology.Key]string{
		b: "via db-b:3306 is the winner itself", far: "via x:9 is unknown", blog: "belongs to cluster blog", c: "is quarantined",
	} {
		refused(t, chosen, ChooseWinner{Recovery: "shop-3", Winner: b, Via: via, At: noon}, want)
	}
	refused(t, chosen, ChooseWinner{Recovery: "shop-3", Winner: b, Durability: long, At: noon}, "durability has 3000 bytes")
}

// with is a copy of cmd with a change.
func with[C any](cmd C, change func(*C)) C {
	change(&cmd)
	return cmd
}
