package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"switchyard/controller/topology"
	"switchyard/router/routes"
)

// draw makes a command that is often, but not always, apt for s.
func draw(t *rapid.T, s State) Command {
	cluster := rapid.SampledFrom([]string{"shop", "blog", "a-1"}).Draw(t, "cluster")
	server := func(label string) topology.Key {
		n := rapid.IntRange(0, 3).Draw(t, label)
		return topology.Key{Host: fmt.Sprintf("%s-%d", cluster, n), Port: 3306}
	}
	known := s.Clusters[cluster]
	at := noon.Add(time.Duration(rapid.IntRange(-100, 100).Draw(t, "minutes")) * time.Minute)
	id := known.Recovery
	if len(s.Recoveries) > 0 && rapid.IntRange(0, 9).Draw(t, "stale") == 0 {
		id = rapid.SampledFrom(keys(s.Recoveries)).Draw(t, "recovery")
	}
	switch rapid.IntRange(0, 11).Draw(t, "kind") {
	case 0:
		return AdoptMaster{Cluster: cluster, Master: server("master"), At: at}
	case 1:
		return RememberServers{Cluster: cluster, Servers: []ServerName{{Key: server("one")}, {Key: server("two")}}, At: at}
	case 2, 3:
		return ClaimRecovery{
			Cluster: cluster, RecoveryKind: rapid.SampledFrom([]Kind{Failover, Switchover, Reinstate}).Draw(t, "kind"),
			Finding: "DeadMaster", Evidence: []string{"gone"}, Automatic: rapid.Bool().Draw(t, "automatic"),
			Old: known.Master, ExpectEpoch: known.Epoch, AntiFlap: time.Hour, Leader: "ctl-1", At: at,
		}
	case 4, 5:
		return ChooseWinner{Recovery: id, Winner: server("winner"), At: at}
	case 6:
		return Rewind{Recovery: id, Undoing: rapid.Bool().Draw(t, "undoing"), At: at}
	case 7:
		return Announce{Recovery: id, At: at}
	case 8:
		outcome := rapid.SampledFrom([]Outcome{Completed, Failed, Undone}).Draw(t, "outcome")
		return CloseRecovery{Recovery: id, Outcome: outcome, At: at}
	case 9:
		return RecordSteps{Recovery: id, Steps: []Step{{
			Name: "step", Leader: "ctl-1", StartedAt: at, EndedAt: at, Outcome: StepDone,
		}}}
	case 10:
		standing := rapid.SampledFrom([]Standing{Member, Deposed, Quarantined}).Draw(t, "standing")
		return SetStanding{Server: server("server"), Standing: standing, At: at}
	default:
		return Confirm{Confirmation{
			Receiver: Proxy, Name: "lb", Cluster: cluster, At: at, Revision: known.Revision,
			Epoch: routes.Epoch{Generation: 7, Number: rapid.Uint64Range(0, 9).Draw(t, "epoch")},
		}}
	}
}

func keys(m map[string]Recovery) []string {
	return slices.Sorted(maps.Keys(m))
}

func mustJSON(t *rapid.T, v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// winners remembers what was ever seen, so that nothing of it can change.
type winners struct {
	byEpoch  map[string]topology.Key
	recovery map[string]string
}

func (w winners) check(t *rapid.T, s State) {
	open := map[string]int{}
	for id, r := range s.Recoveries {
		if r.Open() {
			open[r.Cluster]++
			if s.Clusters[r.Cluster].Recovery != id || s.Clusters[r.Cluster].Epoch != r.Epoch {
				t.Fatalf("cluster %+v does not follow its open recovery %+v", s.Clusters[r.Cluster], r)
			}
		}
		at := r.Cluster + " " + r.Epoch.String()
		if other, ok := w.recovery[at]; ok && other != id {
			t.Fatalf("%s and %s share the epoch %s", id, other, at)
		}
		w.recovery[at] = id
		if r.Winner.IsZero() {
			continue
		}
		if other, ok := w.byEpoch[at]; ok && other != r.Winner {
			t.Fatalf("epoch %s had the winner %s, now %s", at, other, r.Winner)
		}
		w.byEpoch[at] = r.Winner
	}
	for name, c := range s.Clusters {
		if open[name] > 1 || (open[name] == 1) != (c.Recovery != "") {
			t.Fatalf("cluster %s names %q and has %d open recoveries", name, c.Recovery, open[name])
		}
		if c.Withdrawn == (c.Routes().Writer != nil) {
			t.Fatalf("withdrawn %t, but the table is %+v", c.Withdrawn, c.Routes())
		}
		if s.Servers[c.Master].Standing != Member || s.Servers[c.Master].Cluster != name {
			t.Fatalf("master of %s: %+v", name, s.Servers[c.Master])
		}
	}
}

// givenUp checks that a winner that was not announced, and is the winner no
// more, is remembered and tended like an old master, whatever came before.
func givenUp(t *rapid.T, before, after State) {
	for id, was := range before.Recoveries {
		is, ok := after.Recoveries[id]
		if !ok {
			continue
		}
		for i, k := range is.Former {
			if k == is.Old || k.IsZero() || slices.Contains(is.Former[:i], k) {
				t.Fatalf("former winners of %s: %v", id, is.Former)
			}
		}
		if len(is.Former) < len(was.Former) || !slices.Equal(is.Former[:len(was.Former)], was.Former) {
			t.Fatalf("former winners of %s were %v, now %v", id, was.Former, is.Former)
		}
		rewound := was.Open() && is.Epoch != was.Epoch
		failed := was.Open() && !is.Open() && !is.Announced
		if was.Winner.IsZero() || was.Winner == was.Old || !rewound && !failed {
			continue
		}
		if rewound && !slices.Contains(is.Former, was.Winner) {
			t.Fatalf("%s forgot %s", id, was.Winner)
		}
		if after.Servers[was.Winner].Standing == Member {
			t.Fatalf("%s gave up %s, which is a member", id, was.Winner)
		}
	}
}

// pardoned checks that a server gets back into good standing only when it is
// asked for, or announced.
func pardoned(t *rapid.T, cmd Command, before, after State) {
	for k, was := range before.Servers {
		if was.Standing == Member || after.Servers[k].Standing != Member {
			continue
		}
		switch c := cmd.(type) {
		case SetStanding:
			if c.Server == k && c.Standing == Member {
				continue
			}
		case Announce:
			if after.Recoveries[c.Recovery].Winner == k {
				continue
			}
		}
		t.Fatalf("%s made %s a member, which was %s", cmd.Kind(), k, was.Standing)
	}
}

// follows checks that nothing went back from one state to the next.
func follows(t *rapid.T, before, after State) {
	for name, was := range before.Clusters {
		is := after.Clusters[name]
		switch order := is.Epoch.Compare(was.Epoch); {
		case order < 0:
			t.Fatalf("epoch of %s fell from %s to %s", name, was.Epoch, is.Epoch)
		case order == 0 && is.Revision < was.Revision:
			t.Fatalf("revision of %s fell from %d to %d", name, was.Revision, is.Revision)
		case order == 0 && is.Revision == was.Revision && !reflect.DeepEqual(is.Routes(), was.Routes()):
			t.Fatalf("two tables of %s share epoch %s revision %d", name, is.Epoch, is.Revision)
		}
		if is.Recovery != was.Recovery && is.Recovery != "" && is.Epoch.Compare(was.Epoch) <= 0 {
			t.Fatalf("recovery %s opened without a new epoch", is.Recovery)
		}
	}
	for k, was := range before.Confirmations {
		if tableOf(was).Newer(tableOf(after.Confirmations[k])) {
			t.Fatalf("confirmation %s fell", k)
		}
	}
}

func TestRandomHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, _, err := Apply(State{}, Bootstrap{ID: "prod", Generation: 7})
		if err != nil {
			t.Fatal(err)
		}
		seen := winners{byEpoch: map[string]topology.Key{}, recovery: map[string]string{}}
		mirror := map[string]string{}
		for range rapid.IntRange(1, 80).Draw(t, "length") {
			cmd := draw(t, s)
			before, asked := mustJSON(t, s), mustJSON(t, cmd)
			next, changes, err := Apply(s, cmd)
			again, changesAgain, errAgain := Apply(s, cmd)
			if mustJSON(t, s) != before || mustJSON(t, cmd) != asked {
				t.Fatalf("%s changed its input", cmd.Kind())
			}
			if !reflect.DeepEqual(next, again) || !reflect.DeepEqual(changes, changesAgain) || !reflect.DeepEqual(err, errAgain) {
				t.Fatalf("%s had two results", cmd.Kind())
			}
			if err != nil {
				var rejection *Rejection
				if !errors.As(err, &rejection) || rejection.Reason == "" || len(changes) != 0 || mustJSON(t, next) != before {
					t.Fatalf("%s: %v with %d changes", cmd.Kind(), err, len(changes))
				}
			}
			seen.check(t, next)
			follows(t, s, next)
			givenUp(t, s, next)
			pardoned(t, cmd, s, next)
			for _, change := range changes {
				mirror[change.Family+" "+change.Key] = mustJSON(t, change.Value)
				if change.Value == nil {
					delete(mirror, change.Family+" "+change.Key)
				}
			}
			compareMirror(t, mirror, next)
			s = next
		}
	})
}

// compareMirror checks that whoever follows the changes holds the whole state.
func compareMirror(t *rapid.T, mirror map[string]string, s State) {
	want := map[string]string{}
	for k, v := range s.Clusters {
		want[FamilyClusters+" "+k] = mustJSON(t, v)
	}
	for k, v := range s.Servers {
		want[FamilyServers+" "+k.String()] = mustJSON(t, v)
	}
	for k, v := range s.Recoveries {
		want[FamilyRecoveries+" "+k] = mustJSON(t, v)
	}
	for k, v := range s.Confirmations {
		want[FamilyConfirmations+" "+k.String()] = mustJSON(t, v)
	}
	if !reflect.DeepEqual(mirror, want) {
		t.Fatalf("the changes lead to %v, the state is %v", mirror, want)
	}
}

func TestZonesDoNotReachTheState(t *testing.T) {
	abroad := noon.In(time.FixedZone("far", 5*3600))
	one := run(t, State{}, Bootstrap{ID: "prod", Generation: 7}, AdoptMaster{Cluster: "shop", Master: a, At: noon})
	two := run(t, State{}, Bootstrap{ID: "prod", Generation: 7}, AdoptMaster{Cluster: "shop", Master: a, At: abroad})
	if !reflect.DeepEqual(one, two) {
		t.Fatalf("%+v differs from %+v", one, two)
	}
}

func BenchmarkApply(b *testing.B) {
	s := State{ID: "prod", Generation: 7, Clusters: map[string]Cluster{}, Servers: map[topology.Key]Server{}}
	s.Recoveries = map[string]Recovery{}
	for i := range 2000 {
		id := fmt.Sprintf("shop-%d", i)
		s.Recoveries[id] = Recovery{ID: id, Cluster: "shop"}
	}
	cmd := ResumeRecovery{Recovery: "shop-7", Leader: "ctl-1", At: noon}
	for b.Loop() {
		if _, _, err := Apply(s, cmd); err != nil {
			b.Fatal(err)
		}
	}
}
