package ledger

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/topology"
	"switchyard/router/routes"
)

var (
	noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	a    = topology.Key{Host: "db-a", Port: 3306}
	b    = topology.Key{Host: "db-b", Port: 3306}
	c    = topology.Key{Host: "db-c", Port: 3306}
)

// run applies commands that must all be accepted.
func run(t *testing.T, s State, commands ...Command) State {
	t.Helper()
	for _, cmd := range commands {
		next, _, err := Apply(s, cmd)
		if err != nil {
			t.Fatalf("%s: %v", cmd.Kind(), err)
		}
		s = next
	}
	return s
}

// refused applies a command that must be rejected for a reason holding want.
func refused(t *testing.T, s State, cmd Command, want string) {
	t.Helper()
	_, changes, err := Apply(s, cmd)
	var rejection *Rejection
	if !errors.As(err, &rejection) {
		t.Fatalf("%#v: want a rejection, got %v", cmd, err)
	}
	if rejection.Command != cmd.Kind() || !strings.Contains(rejection.Reason, want) || len(changes) != 0 {
		t.Fatalf("%s: want a reason with %q and no change, got %q and %v", cmd.Kind(), want, rejection.Reason, changes)
	}
}

func epoch(n uint64) routes.Epoch { return routes.Epoch{Generation: 7, Number: n} }

// shop is a ledger with cluster "shop": master a, replicas b and c.
func shop(t *testing.T) State {
	t.Helper()
	return run(t, State{},
		Bootstrap{ID: "prod", Generation: 7},
		AdoptMaster{Cluster: "shop", Master: a, UUID: "uuid-a", At: noon},
		RememberServers{Cluster: "shop", Servers: []ServerName{{Key: b, UUID: "uuid-b"}, {Key: c}}, At: noon})
}

func claim(kind Kind, n uint64, old topology.Key, at time.Time) ClaimRecovery {
	return ClaimRecovery{
		Cluster: "shop", RecoveryKind: kind, Finding: "DeadMaster", Automatic: kind == Failover,
		Old: old, ExpectEpoch: epoch(n), AntiFlap: time.Hour, Leader: "ctl-1", At: at,
	}
}

func TestFailoverFromClaimToClose(t *testing.T) {
	s := run(t, shop(t), claim(Failover, 1, a, noon))
	r := s.Recoveries["shop-2"]
	if r.Epoch != epoch(2) || r.EpochBefore != epoch(1) || r.OldUUID != "uuid-a" || !r.Open() {
		t.Fatalf("recovery after the claim: %+v", r)
	}
	if table := s.Clusters["shop"].Routes(); table.Writer != nil || table.Epoch != epoch(2) || table.Revision != 1 {
		t.Fatalf("table after the claim: %+v", table)
	}
	refused(t, s, Announce{Recovery: "shop-2", At: noon}, "no winner yet")
	refused(t, s, CloseRecovery{Recovery: "shop-2", Outcome: Completed, At: noon}, "no master was announced")

	s = run(t, s, ChooseWinner{Recovery: "shop-2", Winner: b, Reason: "most GTIDs", At: noon})
	if got := s.Clusters["shop"].Revision; got != 1 {
		t.Fatalf("revision after the choice: %d", got)
	}
	if _, changes, err := Apply(s, ChooseWinner{Recovery: "shop-2", Winner: b, At: noon}); err != nil || changes != nil {
		t.Fatalf("same winner again: %v, %v", changes, err)
	}
	refused(t, s, ChooseWinner{Recovery: "shop-2", Winner: c, At: noon}, "has the winner db-b:3306 already")

	s = run(t, s, Announce{Recovery: "shop-2", At: noon})
	cluster := s.Clusters["shop"]
	if cluster.Master != b || cluster.MasterUUID != "uuid-b" || cluster.Withdrawn || cluster.Revision != 2 {
		t.Fatalf("cluster after the announcement: %+v", cluster)
	}
	if _, changes, err := Apply(s, Announce{Recovery: "shop-2", At: noon}); err != nil || changes != nil {
		t.Fatalf("announced again: %v, %v", changes, err)
	}
	refused(t, s, Rewind{Recovery: "shop-2", At: noon}, "announced db-b:3306 already")

	end := noon.Add(time.Second)
	s = run(t, s, CloseRecovery{Recovery: "shop-2", Outcome: Completed, Lost: []topology.Key{c}, At: end})
	if got := s.Servers[a]; got.Standing != Deposed || !got.Since.Equal(end) {
		t.Fatalf("old master: %+v", got)
	}
	cluster = s.Clusters["shop"]
	if s.Servers[b].Standing != Member || cluster.Recovery != "" || !cluster.LastAutomatic.Equal(end) {
		t.Fatalf("after the close: %+v, %+v", s.Servers[b], cluster)
	}
	if _, changes, err := Apply(s, CloseRecovery{Recovery: "shop-2", Outcome: Completed, At: end}); err != nil || changes != nil {
		t.Fatalf("closed again: %v, %v", changes, err)
	}
	refused(t, s, CloseRecovery{Recovery: "shop-2", Outcome: Failed, At: end}, "ended at")
	refused(t, s, ChooseWinner{Recovery: "shop-2", Winner: c, At: end}, "ended at")
}

func TestClaimNamesWhatIsOff(t *testing.T) {
	s := shop(t)
	refused(t, s, claim(Failover, 4, a, noon), "at epoch 7.1, not 7.4")
	refused(t, s, claim(Failover, 1, b, noon), "is db-a:3306, not db-b:3306")
	unknown := claim(Failover, 1, a, noon)
	unknown.Cluster = "blog"
	refused(t, s, unknown, "cluster blog is unknown")
	refused(t, run(t, s, claim(Failover, 1, a, noon)), claim(Failover, 2, a, noon), "recovery shop-2 of cluster shop is open")
}

func TestAntiFlap(t *testing.T) {
	moved := run(t, shop(t), claim(Failover, 1, a, noon.Add(-3*time.Hour)),
		ChooseWinner{Recovery: "shop-2", Winner: b, At: noon}, Announce{Recovery: "shop-2", At: noon},
		CloseRecovery{Recovery: "shop-2", Outcome: Failed, At: noon})
	for _, tc := range []struct {
		name string
		at   time.Time
		held bool
	}{
		{"a moment later", noon.Add(time.Second), true},
		{"just inside", noon.Add(time.Hour - 1), true},
		{"just outside", noon.Add(time.Hour), false},
		{"clock a little back", noon.Add(-time.Minute), true},
		{"clock back by the window", noon.Add(-time.Hour), false},
		{"clock back by a year", noon.AddDate(-1, 0, 0), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := claim(Failover, 2, b, tc.at)
			if tc.held {
				refused(t, moved, cmd, "the next may start at 2026-03-04T13:00:00Z")
			} else {
				run(t, moved, cmd)
			}
			asked := cmd
			asked.Automatic = false
			run(t, moved, asked)
			reinstate := cmd
			reinstate.RecoveryKind = Reinstate
			run(t, moved, reinstate)
		})
	}
	failed := run(t, shop(t), claim(Failover, 1, a, noon), ChooseWinner{Recovery: "shop-2", Winner: b, At: noon},
		CloseRecovery{Recovery: "shop-2", Outcome: Failed, At: noon})
	if cluster := failed.Clusters["shop"]; !cluster.Withdrawn || cluster.Master != a || !cluster.LastAutomatic.IsZero() {
		t.Fatalf("failed before the announcement: %+v", cluster)
	}
	run(t, failed, claim(Failover, 2, a, noon))
}

func TestOnlyAutomaticFailoversUseTheWindowUp(t *testing.T) {
	asked := claim(Failover, 1, a, noon)
	asked.Automatic = false
	planned := claim(Switchover, 1, a, noon)
	planned.Automatic = true
	for _, cmd := range []ClaimRecovery{asked, planned} {
		s := run(t, shop(t), cmd, ChooseWinner{Recovery: "shop-2", Winner: b, At: noon},
			Announce{Recovery: "shop-2", At: noon}, CloseRecovery{Recovery: "shop-2", Outcome: Completed, At: noon})
		if !s.Clusters["shop"].LastAutomatic.IsZero() {
			t.Errorf("%s, automatic %t: used the window up", cmd.RecoveryKind, cmd.Automatic)
		}
	}
}

// TestPlanned: only what a switchover has withdrawn may end softly, and not once it is undone.
func TestPlanned(t *testing.T) {
	s := run(t, shop(t), claim(Switchover, 1, a, noon))
	planned := func(s State) bool {
		table := s.Routes(s.Clusters["shop"])
		if want := s.Clusters["shop"].Routes(); table.Epoch != want.Epoch || table.Revision != want.Revision {
			t.Fatalf("%+v and %+v", table, want)
		}
		return table.Planned
	}
	if planned(shop(t)) || !planned(s) {
		t.Error("a switchover's withdrawal is not planned, or a table that leads somewhere is")
	}
	undone := run(t, s, ChooseWinner{Recovery: "shop-2", Winner: b, At: noon},
		Rewind{Recovery: "shop-2", Undoing: true, Reason: "late", At: noon})
	if planned(undone) || planned(run(t, shop(t), claim(Failover, 1, a, noon))) {
		t.Error("an undone switchover, or a failover, is planned")
	}
}

func TestRewindUndoesASwitchover(t *testing.T) {
	s := run(t, shop(t), claim(Switchover, 1, a, noon),
		ChooseWinner{Recovery: "shop-2", Winner: b, At: noon},
		Rewind{Recovery: "shop-2", Undoing: true, Reason: "db-b did not catch up", At: noon})
	r, cluster := s.Recoveries["shop-2"], s.Clusters["shop"]
	if r.Epoch != epoch(3) || cluster.Epoch != epoch(3) || !r.Winner.IsZero() || !r.Undoing || !cluster.Withdrawn {
		t.Fatalf("after the rewind: %+v, %+v", r, cluster)
	}
	if got := r.Steps[0]; got.Name != "rewind" || got.Note != "db-b did not catch up" {
		t.Fatalf("the journal does not tell why: %+v", got)
	}
	s = run(t, s, ChooseWinner{Recovery: "shop-2", Winner: a, At: noon}, Announce{Recovery: "shop-2", At: noon},
		CloseRecovery{Recovery: "shop-2", Outcome: Undone, At: noon})
	if got := s.Servers[a].Standing; got != Member {
		t.Fatalf("old master after the undoing: %s", got)
	}
	if got := s.Servers[b].Standing; got != Deposed {
		t.Fatalf("the target after the undoing: %s", got)
	}
	if got := s.Clusters["shop"].Routes(); got.Writer == nil || got.Writer.Host != "db-a" || got.Epoch != epoch(3) {
		t.Fatalf("table after the undoing: %+v", got)
	}
	// The next claim must not take an id or an epoch that the rewind has used.
	next := run(t, s, claim(Switchover, 3, a, noon))
	if _, ok := next.Recoveries["shop-4"]; !ok {
		t.Fatalf("recoveries: %v", next.Recoveries)
	}
	failover := run(t, shop(t), claim(Failover, 1, a, noon))
	refused(t, failover, Rewind{Recovery: "shop-2", Undoing: true, At: noon}, "only a switchover can be undone")
	refused(t, failover, CloseRecovery{Recovery: "shop-2", Outcome: Undone, At: noon}, "cannot be undone")
}

func TestFormerWinnersAreRememberedAndDeposed(t *testing.T) {
	later := noon.Add(time.Minute)
	choose := func(k topology.Key) Command { return ChooseWinner{Recovery: "shop-2", Winner: k, At: noon} }
	rewind := Rewind{Recovery: "shop-2", At: later}
	chosen := run(t, shop(t), claim(Failover, 1, a, noon), choose(b))
	if got := chosen.Servers[b].Standing; got != Member {
		t.Fatalf("a winner that stands: %s", got)
	}
	s := run(t, chosen, rewind, choose(c), rewind, rewind, choose(b), rewind, choose(a), rewind)
	if got := s.Recoveries["shop-2"].Former; !slices.Equal(got, []topology.Key{b, c}) {
		t.Fatalf("former winners: %v", got)
	}
	if s.Servers[a].Standing != Member || s.Servers[b].Standing != Deposed || s.Servers[c].Standing != Deposed ||
		!s.Servers[b].Since.Equal(later) {
		t.Fatalf("after the rewinds: %+v", s.Servers)
	}
	if got := chosen.Recoveries["shop-2"].Former; got != nil {
		t.Fatalf("an older state now has %v", got)
	}

	back := run(t, s, choose(b), Announce{Recovery: "shop-2", At: later})
	if back.Servers[b].Standing != Member || back.Servers[c].Standing != Deposed {
		t.Fatalf("after the announcement: %+v", back.Servers)
	}
	quarantine := SetStanding{Server: b, Standing: Quarantined, Extra: "u:1", At: later}
	refused(t, run(t, s, quarantine), choose(b), "winner db-b:3306 is quarantined")
	kept := run(t, chosen, quarantine, rewind).Servers[b]
	if kept.Standing != Quarantined || kept.Extra != "u:1" {
		t.Fatalf("a quarantine was lifted by a rewind: %+v", kept)
	}
}

func TestFailedBeforeTheAnnouncementDeposesTheWinner(t *testing.T) {
	failed := CloseRecovery{Recovery: "shop-2", Outcome: Failed, At: noon}
	for _, kind := range []Kind{Failover, Switchover} {
		open := run(t, shop(t), claim(kind, 1, a, noon))
		s := run(t, open, ChooseWinner{Recovery: "shop-2", Winner: b, At: noon}, failed)
		if s.Servers[b].Standing != Deposed || s.Servers[a].Standing != Member || s.Servers[c].Standing != Member {
			t.Errorf("%s: %+v", kind, s.Servers)
		}
		for name, s := range map[string]State{
			"the old master": run(t, open, ChooseWinner{Recovery: "shop-2", Winner: a, At: noon}, failed),
			"nobody":         run(t, open, failed),
		} {
			for k, server := range s.Servers {
				if server.Standing != Member {
					t.Errorf("%s, %s chosen: %s is %s", kind, name, k, server.Standing)
				}
			}
		}
	}
}

func TestFailedAfterTheAnnouncementStillDeposes(t *testing.T) {
	s := run(t, shop(t), claim(Failover, 1, a, noon), ChooseWinner{Recovery: "shop-2", Winner: b, At: noon},
		Announce{Recovery: "shop-2", At: noon}, CloseRecovery{Recovery: "shop-2", Outcome: Failed, At: noon})
	if s.Servers[a].Standing != Deposed || s.Clusters["shop"].Master != b {
		t.Fatalf("%+v, %+v", s.Servers[a], s.Clusters["shop"])
	}
}

func TestWinnerMustBelong(t *testing.T) {
	other := topology.Key{Host: "other", Port: 1}
	s := run(t, shop(t), AdoptMaster{Cluster: "blog", Master: other, At: noon}, claim(Failover, 1, a, noon))
	refused(t, s, ChooseWinner{Recovery: "shop-2", Winner: other, At: noon}, "belongs to cluster blog")
	refused(t, s, ChooseWinner{Recovery: "shop-2", Winner: topology.Key{Host: "x", Port: 1}, At: noon}, "is unknown")
	refused(t, s, ChooseWinner{Recovery: "shop-9", Winner: b, At: noon}, `recovery "shop-9" is unknown`)
	refused(t, s, RememberServers{Cluster: "shop", Servers: []ServerName{{Key: other}}, At: noon}, "belongs to cluster blog")
	refused(t, s, AdoptMaster{Cluster: "shop", Master: b, At: noon}, "has the master db-a:3306 already")

	reinstate := run(t, shop(t), claim(Failover, 1, a, noon), CloseRecovery{Recovery: "shop-2", Outcome: Failed, At: noon},
		claim(Reinstate, 2, a, noon))
	refused(t, reinstate, ChooseWinner{Recovery: "shop-3", Winner: b, At: noon}, "nobody else")
}

func TestServersKeepTheirStanding(t *testing.T) {
	later := noon.Add(time.Minute)
	s := run(t, shop(t), SetStanding{Server: b, Standing: Quarantined, Extra: "uuid:1-3", At: noon},
		RememberServers{Cluster: "shop", Servers: []ServerName{{Key: b, UUID: "uuid-b2"}}, At: later})
	if got := s.Servers[b]; got.Standing != Quarantined || got.UUID != "uuid-b2" || !got.Since.Equal(noon) {
		t.Fatalf("remembered again: %+v", got)
	}
	s = run(t, s, SetStanding{Server: b, Standing: Quarantined, Extra: "uuid:1-4", At: later})
	if got := s.Servers[b]; got.Extra != "uuid:1-4" || !got.Since.Equal(noon) {
		t.Fatalf("more extra transactions: %+v", got)
	}
	s = run(t, s, SetStanding{Server: b, Standing: Member, At: later})
	if got := s.Servers[b]; got.Extra != "" || !got.Since.Equal(later) {
		t.Fatalf("member again: %+v", got)
	}
	refused(t, s, SetStanding{Server: a, Standing: Deposed, At: noon}, "is the master of cluster shop")
	refused(t, s, SetStanding{Server: b, Standing: "king", At: noon}, `standing "king"`)
	refused(t, s, SetStanding{Server: b, Standing: Deposed, Extra: "x", At: noon}, "extra")
}

func TestConfirmIsMonotone(t *testing.T) {
	s := run(t, shop(t), claim(Failover, 1, a, noon), ChooseWinner{Recovery: "shop-2", Winner: b, At: noon},
		Announce{Recovery: "shop-2", At: noon})
	at := func(number, revision uint64) Confirm {
		return Confirm{Confirmation{
			Receiver: Proxy, Name: "lb/1", Cluster: "shop", Epoch: epoch(number), Revision: revision, At: noon,
		}}
	}
	s = run(t, s, at(1, 1), at(2, 1), at(2, 2), at(2, 2))
	key := ConfirmationKey{Receiver: Proxy, Name: "lb/1", Cluster: "shop"}
	if got := s.Confirmations[key]; got.Epoch != epoch(2) || got.Revision != 2 {
		t.Fatalf("recorded: %+v", got)
	}
	refused(t, s, at(2, 1), "which is newer than epoch 7.2 revision 1")
	refused(t, s, at(1, 9), "which is newer")
	refused(t, s, at(2, 3), "ahead of the ledger")
	refused(t, s, at(3, 1), "ahead of the ledger")
}

func TestJournalIsBounded(t *testing.T) {
	step := Step{Name: "promote", Leader: "ctl-1", StartedAt: noon, EndedAt: noon, Outcome: StepDone}
	long := step
	long.Note = strings.Repeat("x", 1999) + "é and more"
	s := run(t, shop(t), claim(Failover, 1, a, noon), RecordSteps{Recovery: "shop-2", Steps: []Step{long}})
	if got := s.Recoveries["shop-2"].Steps[0].Note; got != strings.Repeat("x", 1999) {
		t.Fatalf("note of %d bytes ends in %q", len(got), got[len(got)-4:])
	}
	many := make([]Step, 499)
	for i := range many {
		many[i] = step
	}
	s = run(t, s, RecordSteps{Recovery: "shop-2", Steps: many}, CloseRecovery{Recovery: "shop-2", Outcome: Failed, At: noon})
	refused(t, s, RecordSteps{Recovery: "shop-2", Steps: []Step{step}}, "has 500 steps")
	refused(t, s, RecordSteps{Recovery: "shop-2"}, "steps is empty")
	nameless := step
	nameless.Name = ""
	open := run(t, shop(t), claim(Failover, 1, a, noon))
	refused(t, open, RecordSteps{Recovery: "shop-2", Steps: []Step{step, nameless}}, "steps[1].name is empty")
}

func TestHistoryIsPruned(t *testing.T) {
	s := shop(t)
	for n := uint64(1); n <= maxHistory+20; n++ {
		cmd := claim(Switchover, n, a, noon)
		id := "shop-" + epoch(n + 1).String()[2:]
		s = run(t, s, cmd, CloseRecovery{Recovery: id, Outcome: Failed, At: noon})
	}
	if len(s.Recoveries) != maxHistory {
		t.Fatalf("%d recoveries are kept", len(s.Recoveries))
	}
	if _, ok := s.Recoveries["shop-21"]; ok {
		t.Fatal("shop-21 should have been the newest to go")
	}
	if _, ok := s.Recoveries["shop-22"]; !ok {
		t.Fatal("shop-22 should be the oldest that stays")
	}
}
