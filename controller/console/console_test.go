package console_test

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
	"switchyard/controller/analysis"
	"switchyard/controller/console"
	"switchyard/controller/failover"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

var _ adminapi.Service = (*console.Console)(nil)

const trio = `
	server m exec=0-1-100
	server a <m exec=0-1-100
	server b <m exec=0-1-90
	view c1 m=ok a=ok b=ok`

func TestStatus(t *testing.T) {
	w := newWorld(t)
	w.draw(trio)
	w.observed, w.rejoins = []string{"b: odd"}, []string{"fence x"}
	w.unadopted = map[string]string{"new": "cluster new is not adopted: its master is not clear"}
	first := routes.Epoch{Generation: 7, Number: 1}
	w.proxies = []console.Receiver{{Name: "ha1", Cluster: "shop", Holds: true, Epoch: first, Revision: 1, At: noon}}
	w.consuls = []console.Receiver{{Name: "dc1", Cluster: "shop", Problem: "down"}}
	s, err := w.console().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Controller != "c1" || s.Version != "1.2.3" || s.State != "leader" || s.Term != 4 || s.Ledger != "prod" ||
		s.Leader != "c1" {
		t.Errorf("%+v", s)
	}
	if want := []string{"b: odd", "cluster new is not adopted: its master is not clear", "fence x"}; !slices.Equal(s.Problems, want) {
		t.Errorf("problems %q", s.Problems)
	}
	var states []string
	for _, c := range s.Controllers {
		states = append(states, c.ID+" "+c.State+" "+c.API)
	}
	if got := strings.Join(states, ", "); got != "c1 leader http://c1, c2 unknown http://c2, c3 unknown http://c3" {
		t.Error(got)
	}
	if len(s.Proxies) != 1 || !s.Proxies[0].Confirmed || s.Proxies[0].Name != "ha1" || !s.Proxies[0].At.Equal(noon) {
		t.Errorf("proxies %+v", s.Proxies)
	}
	if len(s.Consul) != 1 || s.Consul[0].Confirmed || s.Consul[0].Problem != "down" {
		t.Errorf("consul %+v", s.Consul)
	}
	if len(s.Clusters) != 1 || s.Clusters[0].Name != "shop" {
		t.Errorf("clusters %+v", s.Clusters)
	}

	w.leads, w.leader = false, "c2"
	if s, err = w.console().Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.State != "follower" || s.Leader != "c2" || s.Controllers[0].State != "follower" || s.Controllers[1].State != "leader" {
		t.Errorf("%+v", s)
	}
}

// The others are asked, for half a second at most; who leads is the ledger's
// to say.
func TestStatusAsksTheOtherControllers(t *testing.T) {
	w := newWorld(t)
	w.leads, w.leader = false, "c2"
	var had time.Duration
	w.peers = func(ctx context.Context) map[string]string {
		if d, ok := ctx.Deadline(); ok {
			had = time.Until(d)
		}
		return map[string]string{"c1": "unreachable", "c2": "follower", "c3": "unreachable"}
	}
	s, err := w.console().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	for _, c := range s.Controllers {
		states = append(states, c.ID+" "+c.State)
	}
	if got := strings.Join(states, ", "); got != "c1 follower, c2 leader, c3 unreachable" {
		t.Error(got)
	}
	if had <= 0 || had > 500*time.Millisecond {
		t.Errorf("they had %s", had)
	}
	w.peers = func(context.Context) map[string]string { return map[string]string{"c1": "follower"} }
	if s, err = w.console().Status(t.Context()); err != nil || s.Controllers[2].State != "unknown" {
		t.Errorf("%v %+v", err, s.Controllers)
	}
}

// A receiver has confirmed only what it is to hold now.
func TestConfirmed(t *testing.T) {
	epoch := func(n uint64) routes.Epoch { return routes.Epoch{Generation: 7, Number: n} }
	another := routes.Epoch{Generation: 6, Number: 2}
	for _, c := range []struct {
		name string
		r    console.Receiver
		want bool
	}{
		{"holds it", console.Receiver{Cluster: "shop", Holds: true, Epoch: epoch(2), Revision: 2}, true},
		{"the ledger's change is not here yet", console.Receiver{Cluster: "shop", Holds: true, Epoch: epoch(2), Revision: 3}, true},
		{"held it once", console.Receiver{Cluster: "shop", Epoch: epoch(2), Revision: 2}, false},
		{"older revision", console.Receiver{Cluster: "shop", Holds: true, Epoch: epoch(2), Revision: 1}, false},
		{"older epoch", console.Receiver{Cluster: "shop", Holds: true, Epoch: epoch(1), Revision: 9}, false},
		{"another ledger's epoch", console.Receiver{Cluster: "shop", Holds: true, Epoch: another, Revision: 2}, false},
	} {
		w := newWorld(t)
		w.promote()
		w.proxies, w.consuls = []console.Receiver{c.r}, []console.Receiver{c.r}
		s, err := w.console().Status(t.Context())
		if err != nil || s.Proxies[0].Confirmed != c.want || s.Consul[0].Confirmed != c.want ||
			s.Proxies[0].Epoch != c.r.Epoch || s.Proxies[0].Revision != c.r.Revision {
			t.Errorf("%s: %v %+v", c.name, err, s.Proxies)
		}
	}
}

// claim opens a recovery, and promote ends one with a as the master.
func (w *world) claim(kind ledger.Kind, at time.Time) string {
	c := w.state.Clusters["shop"]
	w.must(ledger.ClaimRecovery{
		Cluster: "shop", RecoveryKind: kind, Finding: "DeadMaster", Old: c.Master, ExpectEpoch: c.Epoch, Leader: "c1",
		Automatic: true, At: at,
	})
	return w.state.Clusters["shop"].Recovery
}

func (w *world) promote() string {
	id := w.claim(ledger.Failover, noon)
	w.must(ledger.ChooseWinner{Recovery: id, Winner: key("a"), At: noon})
	w.must(ledger.Announce{Recovery: id, At: noon})
	w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Completed, At: noon.Add(time.Second)})
	return id
}

func TestClusters(t *testing.T) {
	w := newWorld(t)
	w.must(ledger.AdoptMaster{Cluster: "bar", Master: key("x"), At: noon})
	w.draw(trio)
	w.last["shop"] = failover.Assessment{Cluster: w.state.Clusters["shop"], Finding: analysis.Finding{Kind: analysis.NoProblem}}
	id := w.claim(ledger.Failover, noon)
	get := func() wire.Cluster {
		t.Helper()
		all, err := w.console().Clusters(t.Context())
		if err != nil || len(all) != 2 || all[0].Name != "bar" || all[0].Servers != 0 || all[0].Automatic {
			t.Fatalf("%v %+v", err, all)
		}
		return all[1]
	}
	want := wire.Cluster{
		Name: "shop", Master: key("m"), Epoch: routes.Epoch{Generation: 7, Number: 2}, Revision: 1, Withdrawn: true, Automatic: true,
		Recovery: id, Servers: 3, Reachable: 3, Writable: 1,
	}
	if got := get(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	w.draw(strings.ReplaceAll(strings.ReplaceAll(trio, "m=ok", "m=refused"), "a <m", "a"))
	w.last["shop"] = failover.Assessment{Cluster: w.state.Clusters["shop"], Finding: analysis.Finding{Kind: analysis.DeadMaster}}
	if got := get(); got.Reachable != 2 || got.Writable != 1 || got.Finding != "DeadMaster" || len(got.Problems) != 0 {
		t.Errorf("%+v", got)
	}
	w.leads = false // its judgements are of another time
	if got := get(); got.Finding != "" {
		t.Errorf("%+v", got)
	}
	w.draw(strings.ReplaceAll(trio, "a <m", "a"))
	if got := get(); got.Writable != 2 || !slices.Equal(got.Problems, []string{"2 servers are writable"}) {
		t.Errorf("%+v", got)
	}
	w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Failed, At: noon})
	if got := get(); got.Recovery != "" || !got.LastAutomatic.IsZero() || !got.Withdrawn {
		t.Errorf("%+v", got)
	}
	w.leads = true
	w.promote()
	if got := get(); got.Finding != "" || got.Master != key("a") || !got.LastAutomatic.Equal(noon.Add(time.Second)) || got.Withdrawn {
		t.Errorf("%+v", got)
	}
}

func TestRoleAndReadiness(t *testing.T) {
	w := newWorld(t)
	if leads, id := w.console().Role(); !leads || id != "c1" {
		t.Error(leads, id)
	}
	if err := w.console().Ready(); err != nil {
		t.Error(err)
	}
	w.leads, w.leader = false, "c3"
	if leads, id := w.console().Role(); leads || id != "c3" {
		t.Error(leads, id)
	}
	w.leader = ""
	if err := w.console().Ready(); err == nil || !strings.Contains(err.Error(), "no leader") {
		t.Error(err)
	}
	w.leader, w.state = "c3", ledger.State{}
	if err := w.console().Ready(); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Error(err)
	}
}

func TestRecoveries(t *testing.T) {
	w := newWorld(t)
	first := w.promote()
	w.must(ledger.AdoptMaster{Cluster: "bar", Master: key("x"), At: noon})
	second := w.claim(ledger.Switchover, noon.Add(time.Minute))
	w.must(ledger.RecordSteps{Recovery: second, Steps: []ledger.Step{
		{Name: "pick", Leader: "c1", StartedAt: noon, EndedAt: noon.Add(5 * time.Millisecond), Outcome: ledger.StepDone},
	}})
	c := w.console()
	for cluster, want := range map[string][]string{"": {second, first}, "shop": {second, first}, "bar": {}, "nobody": {}} {
		all, err := c.Recoveries(t.Context(), cluster)
		if err != nil || all == nil {
			t.Fatalf("%v %+v", err, all)
		}
		ids := []string{}
		for _, r := range all {
			if ids = append(ids, r.ID); r.Steps != nil {
				t.Errorf("the list has the steps of %s", r.ID)
			}
		}
		if !slices.Equal(ids, want) {
			t.Errorf("%q: %v, want %v", cluster, ids, want)
		}
	}
	all, _ := c.Recoveries(t.Context(), "")
	if !reflect.DeepEqual(all[0].Phases, map[string]float64{"pick": 5}) {
		t.Errorf("phases %v", all[0].Phases)
	}
	r, err := c.Recovery(t.Context(), second)
	if err != nil || r.ID != second || r.Kind != ledger.Switchover || len(r.Steps) != 1 || r.Phases["pick"] != 5 || !r.Open() {
		t.Errorf("%v %+v", err, r)
	}
	_, err = c.Recovery(t.Context(), "shop-99")
	refused(t, err, wire.NotFound, 404)
}

// Two recoveries that began in one moment are in the order of their epochs.
func TestRecoveriesOfOneMoment(t *testing.T) {
	w := newWorld(t)
	for range 8 {
		w.must(ledger.CloseRecovery{Recovery: w.claim(ledger.Switchover, noon), Outcome: ledger.Failed, At: noon})
	}
	all, err := w.console().Recoveries(t.Context(), "shop")
	newestFirst := func(a, b wire.Recovery) int { return b.Epoch.Compare(a.Epoch) }
	if err != nil || len(all) != 8 || !slices.IsSortedFunc(all, newestFirst) {
		t.Errorf("%v %+v", err, all)
	}
}

// The steps of a phase that ran side by side count once.
func TestPhases(t *testing.T) {
	at := func(ms float64) time.Time { return noon.Add(time.Duration(ms * float64(time.Millisecond))) }
	step := func(name string, from, to float64) ledger.Step {
		return ledger.Step{Name: name, StartedAt: at(from), EndedAt: at(to)}
	}
	got := console.Phases(ledger.Recovery{Steps: []ledger.Step{
		step("notice", 0, 1), step("see", 1, 3), step("agree", 3, 4.5), step("claim", 4.5, 9),
		step("fence", 10, 35), step("withdraw", 9, 20), step("stop-receiving", 11, 30), // side by side
		step("pick", 35, 40), step("wait-applied", 40, 40.25), step("rewind", 41, 41), step("wait-applied", 50, 60), // twice
		step("acknowledgers", 60, 70), step("promote", 70, 80), step("announce", 80, 85), step("route", 85, 95),
		step("publish", 85, 90), step("repoint", 85, 120), step("verify", 120, 125),
		step("PreFailover", 5, 8), step("PostFailover", 130, 140), step("PostFailover", 140, 170), // the operator's commands
	}})
	want := map[string]float64{
		"notice": 1, "see": 2, "agree": 1.5, "claim": 4.5, "withdraw": 26, "pick": 5, "apply": 20, "promote": 20,
		"announce": 15, "follow-up": 40, "PreFailover": 3, "PostFailover": 40,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if none := console.Phases(ledger.Recovery{}); len(none) != 0 {
		t.Errorf("%v", none)
	}
}

// A witness looks anew at what it is asked about, on a new connection at the
// master, and within the time that it is given.
func TestWitness(t *testing.T) {
	w := newWorld(t)
	w.draw(strings.ReplaceAll(trio, "m=ok", "m=hung"))
	reply, err := w.console().Witness(t.Context(), wire.WitnessRequest{
		Asker: "c2", Cluster: "shop", Servers: []topology.Key{key("m"), key("a")}, WaitMS: 700,
	})
	if err != nil || reply.Witness != "c1" || reply.Boot != "boot1" || reply.View.Observer != "c1" ||
		len(reply.View.Observations) != 2 || reply.View.Observations[key("m")].Reach != topology.ReachHung {
		t.Errorf("%v %+v", err, reply)
	}
	if !slices.Equal(w.looked, []topology.Key{key("m"), key("a")}) || len(w.fresh) != 1 || !w.fresh[key("m")] {
		t.Errorf("looked at %v, fresh %v", w.looked, w.fresh)
	}
	if w.deadline <= 0 || w.deadline > 700*time.Millisecond {
		t.Errorf("it had %s", w.deadline)
	}
	_, err = w.console().Witness(t.Context(), wire.WitnessRequest{Cluster: "other", Servers: []topology.Key{key("a")}})
	if err != nil || len(w.fresh) != 0 {
		t.Errorf("%v, fresh %v", err, w.fresh)
	}
}

// A cluster's line counts what is wrong beside its master, and what was said.
func TestClusterCounts(t *testing.T) {
	w := newWorld(t)
	w.draw(trio)
	w.must(ledger.BeginDowntime{Server: key("a"), Owner: "dba", Reason: "backup", At: noon, Until: noon.Add(time.Hour)})
	w.must(ledger.BeginDowntime{Server: key("b"), Owner: "c1", Reason: ledger.LostInRecovery, At: noon, Until: noon.Add(time.Hour)})
	w.must(ledger.PauseRecoveries{By: "lee", Reason: "a new switch", At: noon})
	w.reported(analysis.Report{
		Master:   analysis.Finding{Kind: analysis.MasterFullDisk, Subject: key("m")},
		Others:   []analysis.Finding{{Kind: analysis.DeadIntermediateMaster, Subject: key("a")}},
		Warnings: []analysis.Warning{{Code: analysis.BootsWritable, Subject: key("b"), Sentence: "s"}, {Code: analysis.ErrantGTID}},
	})
	all, err := w.console().Clusters(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatal(err)
	}
	c := all[0]
	if c.Finding != string(analysis.MasterFullDisk) || c.Trouble != topology.TroubleDiskFull || c.Others != 1 || c.Warnings != 2 ||
		c.Urgent == nil || c.Urgent.Code != string(analysis.BootsWritable) || !c.Paused || c.Downtimes != 2 || c.Lost != 1 {
		t.Errorf("%+v", c)
	}
	s, err := w.console().Status(t.Context())
	if err != nil || len(s.Pauses) != 1 || s.Pauses[0].Reason != "a new switch" || s.Pauses[0].Cluster != "" {
		t.Errorf("%v %+v", err, s.Pauses)
	}
}
