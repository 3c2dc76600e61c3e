package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
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
	if rapid.IntRange(0, 2).Draw(t, "operator") == 0 {
		return drawOperation(t, s, cluster, server("server"), at)
	}
	switch rapid.IntRange(0, 14).Draw(t, "kind") {
	case 0:
		return AdoptMaster{Cluster: cluster, Master: server("master"), At: at}
	case 1:
		return RememberServers{Cluster: cluster, Servers: []ServerName{{Key: server("one")}, {Key: server("two")}}, At: at}
	case 2, 3:
		return ClaimRecovery{
			Cluster: cluster, RecoveryKind: rapid.SampledFrom([]Kind{Failover, Switchover, Reinstate}).Draw(t, "kind"),
			Finding: "DeadMaster", Evidence: []string{"gone"}, Automatic: rapid.Bool().Draw(t, "automatic"),
			OldProvenDead: rapid.Bool().Draw(t, "dead"),
			Old:           known.Master, ExpectEpoch: known.Epoch, AntiFlap: time.Hour, Leader: "ctl-1", At: at,
		}
	case 4, 5:
		via := topology.Key{}
		if rapid.Bool().Draw(t, "two steps") {
			via = server("via")
		}
		return ChooseWinner{Recovery: id, Winner: server("winner"), Via: via, At: at}
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
	case 11, 12:
		return drawReaders(t, s, cluster, at)
	case 13:
		return JudgeDurability{Recovery: id, Winner: server("winner"), Durability: "proven", At: at}
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

// drawReaders makes one that is apt but for one reader now and then, or for its
// epoch.
func drawReaders(t *rapid.T, s State, cluster string, at time.Time) Command {
	cmd := SetReaders{Cluster: cluster, By: "ctl-1", At: at, ExpectEpoch: s.Clusters[cluster].Epoch,
		Fallback: rapid.Bool().Draw(t, "fallback")}
	if rapid.IntRange(0, 9).Draw(t, "late") == 0 {
		cmd.ExpectEpoch.Number--
	}
	for n := range 4 {
		k := topology.Key{Host: fmt.Sprintf("%s-%d", cluster, n), Port: 3306}
		odd := rapid.IntRange(0, 9).Draw(t, "odd") == 0
		apt := k != s.Clusters[cluster].Master && s.Servers[k].Standing == Member && s.Servers[k].DetachedFrom.IsZero()
		if odd || apt && rapid.Bool().Draw(t, "reads") {
			cmd.Readers = append(cmd.Readers, routes.Reader{Server: routes.Server{Host: k.Host, Port: k.Port},
				Weight: rapid.IntRange(1, 2).Draw(t, "weight")})
		}
	}
	return cmd
}

// reads checks who the readers are: no writer beside others, and none that is
// withdrawn or was given up.
func reads(t *rapid.T, cmd Command, before, after State) {
	for name, c := range after.Clusters {
		table := after.Routes(c)
		if err := table.Validate(); err != nil {
			t.Fatalf("after %s: %v", cmd.Kind(), err)
		}
		if c.WriterSince() > c.Revision {
			t.Fatalf("cluster %+v: its writer is from a later revision", c)
		}
		was := before.Clusters[name]
		for _, r := range c.Readers {
			k := keyOf(r)
			if k == c.Master && (c.Withdrawn || len(c.Readers) > 1 || !c.ReaderFallback && c.Epoch != was.Epoch) {
				t.Fatalf("%s: the master of %+v is among its readers", cmd.Kind(), c)
			}
			if c.Epoch != was.Epoch && after.Servers[k].Standing != Member && before.Servers[k].Standing == Member {
				t.Fatalf("%s: reader %s of %+v was deposed by it", cmd.Kind(), k, c)
			}
		}
		// A receiver that had confirmed the writer still has, whatever was said of readers.
		if c.Epoch == was.Epoch && reflect.DeepEqual(c.Routes().Writer, was.Routes().Writer) && c.WriterSince() != was.WriterSince() {
			t.Fatalf("%s: the writer of %+v, which did not change, is from another revision than of %+v", cmd.Kind(), c, was)
		}
	}
}

// drawOperation makes a command of an operator, a relocation or the audit.
func drawOperation(t *rapid.T, s State, cluster string, k topology.Key, at time.Time) Command {
	by := rapid.SampledFrom([]string{"kim", "ctl-1"}).Draw(t, "by")
	later := at.Add(time.Duration(rapid.IntRange(-1, 60).Draw(t, "for")) * time.Minute)
	id := s.Clusters[cluster].Relocation
	if len(s.Recoveries) > 0 && (id == "" || rapid.IntRange(0, 4).Draw(t, "other") == 0) {
		id = rapid.SampledFrom(keys(s.Recoveries)).Draw(t, "recovery")
	}
	switch rapid.IntRange(0, 13).Draw(t, "operation") {
	case 0:
		why := rapid.SampledFrom([]string{"disk", LostInRecovery}).Draw(t, "why")
		return BeginDowntime{Server: k, Owner: by, Reason: why, Until: later, At: at}
	case 1:
		return EndDowntime{Server: k, By: by, At: at}
	case 2:
		rule := rapid.SampledFrom([]string{"", "prefer", "must_not", "king"}).Draw(t, "rule")
		return SetPromotionRule{Server: k, Rule: rule, By: by, At: at}
	case 3:
		return PauseRecoveries{Cluster: rapid.SampledFrom([]string{"", cluster}).Draw(t, "scope"), By: by, Reason: "x", At: at}
	case 4:
		return ResumeRecoveries{Cluster: rapid.SampledFrom([]string{"", cluster}).Draw(t, "scope"), By: by, At: at}
	case 5:
		return AckRecovery{Recovery: id, By: by, Comment: "seen", At: at}
	case 6, 7, 8:
		return OpenRelocation{
			Cluster: cluster, Finding: "DeadIntermediateMaster", Automatic: true, Subject: k, Leader: "ctl-1", At: at,
		}
	case 9:
		outcome := rapid.SampledFrom([]Outcome{Completed, Failed, Undone}).Draw(t, "outcome")
		return CloseRelocation{Recovery: id, Outcome: outcome, Lost: []topology.Key{k}, At: at}
	case 10:
		from := rapid.SampledFrom([]topology.Key{{}, s.Clusters[cluster].Master}).Draw(t, "from")
		return SetDetached{Server: k, From: from, By: by, At: at}
	case 11:
		return MarkDatacenterDown{Datacenter: rapid.SampledFrom([]string{"dc1", "dc2"}).Draw(t, "dc"), By: by, Reason: "x", Until: later, At: at}
	case 12:
		return MarkDatacenterUp{Datacenter: rapid.SampledFrom([]string{"dc1", "dc2"}).Draw(t, "dc"), By: by, At: at}
	default:
		if rapid.Bool().Draw(t, "prune") {
			return PruneAudit{Before: later}
		}
		return AppendAudit{Entries: []AuditEntry{
			{At: at, Kind: AuditDetection, Action: "DeadMaster", By: by}, {At: later, Kind: AuditHook, Action: "x", By: by},
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
	open, moving := map[string]int{}, map[string]int{}
	for id, r := range s.Recoveries {
		if r.Kind == Relocate {
			if r.Open() {
				moving[r.Cluster]++
			}
			if r.Open() && (s.Clusters[r.Cluster].Relocation != id || s.Clusters[r.Cluster].Epoch != r.Epoch) {
				t.Fatalf("cluster %+v does not follow its open relocation %+v", s.Clusters[r.Cluster], r)
			}
			if r.Announced || r.Epoch != r.EpochBefore || len(r.Former) > 0 {
				t.Fatalf("a relocation passes for more: %+v", r)
			}
			continue
		}
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
		if moving[name] > 1 || (moving[name] == 1) != (c.Relocation != "") || moving[name]+open[name] > 1 {
			t.Fatalf("cluster %s names %q and has %d open relocations", name, c.Relocation, moving[name])
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

// stays checks that what operators and relocations do leaves the routes alone,
// and that a claim leaves no relocation open.
func stays(t *rapid.T, cmd Command, before, after State) {
	switch c := cmd.(type) {
	case AdoptMaster, ClaimRecovery, Rewind, Announce:
		if c, ok := c.(ClaimRecovery); ok && after.Clusters[c.Cluster].Recovery != "" && after.Clusters[c.Cluster].Relocation != "" {
			t.Fatalf("a relocation goes on within a recovery: %+v", after.Clusters[c.Cluster])
		}
		return
	}
	for name, was := range before.Clusters {
		if c, ok := cmd.(SetReaders); ok && c.Cluster == name {
			if is := after.Clusters[name]; is.Epoch != was.Epoch || was.Recovery != "" && is.Revision != was.Revision {
				t.Fatalf("%s within a recovery: %+v became %+v", cmd.Kind(), was, is)
			}
			continue
		}
		if is := after.Clusters[name]; is.Epoch != was.Epoch || !reflect.DeepEqual(is.Routes(), was.Routes()) {
			t.Fatalf("%s moved the routes from %+v to %+v", cmd.Kind(), was, is)
		}
	}
}

// audited checks that the audit's IDs only rise, and that an operator's command
// that changed something has its entry.
func audited(t *rapid.T, cmd Command, before, after State, changes []Change) {
	if after.LastAudit < before.LastAudit {
		t.Fatalf("the newest audit entry was %d, now %d", before.LastAudit, after.LastAudit)
	}
	known := map[uint64]AuditEntry{}
	for _, e := range before.Audit {
		known[e.ID] = e
	}
	last := uint64(0)
	for _, e := range after.Audit {
		was, kept := known[e.ID]
		if e.ID <= last || e.ID > after.LastAudit || kept && !reflect.DeepEqual(was, e) || !kept && e.ID <= before.LastAudit {
			t.Fatalf("%s: after audit entry %d comes %+v, which was %+v", cmd.Kind(), last, e, was)
		}
		last = e.ID
	}
	switch cmd.(type) {
	case BeginDowntime, EndDowntime, SetPromotionRule, PauseRecoveries, ResumeRecoveries, AckRecovery, SetDetached,
		MarkDatacenterDown, MarkDatacenterUp,
		OpenRelocation, CloseRelocation, ClaimRecovery, CloseRecovery:
		if len(changes) > 0 && (last == before.LastAudit || last != after.LastAudit || after.Audit[len(after.Audit)-1].By == "") {
			t.Fatalf("%s left the audit at %+v", cmd.Kind(), after.Audit)
		}
	}
	if len(changes) == 0 && after.LastAudit != before.LastAudit {
		t.Fatalf("%s changed nothing but the audit", cmd.Kind())
	}
}

func TestRandomHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, _, err := Apply(State{}, Bootstrap{ID: "prod", Generation: 7})
		if err != nil {
			t.Fatal(err)
		}
		seen := winners{byEpoch: map[string]topology.Key{}, recovery: map[string]string{}}
		mirror := map[string]string{FamilyHeader + " ": mustJSON(t, Header{ID: "prod", Generation: 7})}
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
			stays(t, cmd, s, next)
			reads(t, cmd, s, next)
			audited(t, cmd, s, next, changes)
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
	want := map[string]string{
		FamilyHeader + " ": mustJSON(t, Header{ID: s.ID, Generation: s.Generation, LastAudit: s.LastAudit}),
	}
	for k, v := range s.Downtimes {
		want[FamilyDowntimes+" "+k.String()] = mustJSON(t, v)
	}
	for k, v := range s.Rules {
		want[FamilyRules+" "+k.String()] = mustJSON(t, v)
	}
	for k, v := range s.Pauses {
		want[FamilyPauses+" "+k] = mustJSON(t, v)
	}
	for k, v := range s.Datacenters {
		want[FamilyDatacenters+" "+k] = mustJSON(t, v)
	}
	for _, v := range s.Audit {
		want[FamilyAudit+" "+strconv.FormatUint(v.ID, 10)] = mustJSON(t, v)
	}
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

func BenchmarkFullAudit(b *testing.B) {
	s := State{ID: "prod", Generation: 7}
	for range maxAudit {
		s.LastAudit++
		s.Audit = append(s.Audit, AuditEntry{ID: s.LastAudit, At: noon, Kind: AuditHook, Action: "x", By: "ctl-1"})
	}
	cmd := PauseRecoveries{By: "kim", Reason: "x", At: noon}
	for b.Loop() {
		if _, _, err := Apply(s, cmd); err != nil {
			b.Fatal(err)
		}
	}
}
