package console_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/console"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// council is three controllers, of which c1 leads.
type council struct {
	voices map[string]wire.Voice
	silent map[string]error
	// handed is whom leadership was given; leads and fails are what came of it.
	handed []string
	leads  string
	fails  error
	aside  string
	// outside is why c1 has no part; changes and undone are what was begun and taken back.
	outside string
	changes []ledger.BeginControllerChange
	undone  []string
}

func (c *council) Aside() string { return c.aside }

func (c *council) Outside() string { return c.outside }

func (c *council) Change(_ context.Context, change ledger.BeginControllerChange) error {
	c.changes = append(c.changes, change)
	return c.fails
}

func (c *council) Undo(_ context.Context, why string) error {
	c.undone = append(c.undone, why)
	return c.fails
}

func (c *council) Voice() wire.Voice {
	own := c.voices["c1"]
	own.ID = ""
	return own
}

func (c *council) TransferLeader(_ context.Context, id string) (string, error) {
	c.handed = append(c.handed, id)
	if c.leads != "" {
		return c.leads, c.fails
	}
	return id, c.fails
}

func (c *council) ask(_ context.Context, id string) (wire.Voice, error) {
	return c.voices[id], c.silent[id]
}

func members(ids ...string) []wire.Member {
	var out []wire.Member
	for _, id := range ids {
		name, nonvoter := strings.CutSuffix(id, "-")
		out = append(out, wire.Member{ID: name, Raft: name + ":7400", Voter: !nonvoter})
	}
	return out
}

func sitting(t *testing.T) (*world, *council) {
	all := members("c1", "c2", "c3")
	c := &council{silent: map[string]error{}, voices: map[string]wire.Voice{
		"c1": {ID: "c1", State: "leader", Leader: "c1", Term: 4, AppliedIndex: 120, Members: all},
		"c2": {ID: "c2", State: "follower", Leader: "c1", Term: 4, AppliedIndex: 117, LastContactMS: 8, Members: all},
		"c3": {ID: "c3", State: "follower", Leader: "c1", Term: 4, AppliedIndex: 119, LastContactMS: 9, Members: all},
	}}
	w := newWorld(t)
	w.members, w.voice = c, c.ask
	return w, c
}

// change replaces what one of them says.
func (c *council) change(id string, how func(*wire.Voice)) {
	v := c.voices[id]
	how(&v)
	c.voices[id] = v
}

func list(t *testing.T, w *world) wire.Controllers {
	t.Helper()
	all, err := w.console().Controllers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func find(t *testing.T, all wire.Controllers, id string) wire.ControllerAccount {
	t.Helper()
	at := slices.IndexFunc(all.Controllers, func(c wire.ControllerAccount) bool { return c.ID == id })
	if at < 0 {
		t.Fatalf("%s is not listed: %+v", id, all)
	}
	return all.Controllers[at]
}

func TestControllers(t *testing.T) {
	w, c := sitting(t)
	all := list(t, w)
	if all.Controller != "c1" || all.Leader != "c1" || all.Term != 4 || all.Voters != 3 || all.Answering != 3 || all.Majority != 2 ||
		len(all.Controllers) != 3 || len(all.Problems) != 0 {
		t.Errorf("%+v", all)
	}
	first, second := find(t, all, "c1"), find(t, all, "c2")
	if first.State != "leader" || first.LastContactMS != nil || first.Lag != 0 || first.API != "http://c1" || !first.Reachable {
		t.Errorf("%+v", first)
	}
	if second.State != "follower" || second.Role != wire.Voter || *second.LastContactMS != 8 || second.AppliedIndex != 117 || second.Lag != 3 {
		t.Errorf("%+v", second)
	}

	c.silent["c3"] = errors.New("connection refused")
	all = list(t, w)
	third := find(t, all, "c3")
	if third.Reachable || third.State != "unreachable" || third.Problem != "connection refused" || third.Role != wire.Voter || third.Lag != 0 {
		t.Errorf("%+v", third)
	}
	if all.Voters != 3 || all.Answering != 2 || len(all.Problems) != 1 || !strings.Contains(all.Problems[0], "none may be lost") {
		t.Errorf("%+v", all)
	}
	c.silent["c2"] = errors.New("connection refused")
	if all = list(t, w); all.Answering != 1 || len(all.Problems) != 1 || !strings.Contains(all.Problems[0], "nothing is decided") {
		t.Errorf("%+v", all)
	}
	// Somebody else at its address is not it.
	delete(c.silent, "c2")
	c.change("c2", func(v *wire.Voice) { v.ID = "c9" })
	if two := find(t, list(t, w), "c2"); two.Reachable || !strings.Contains(two.Problem, "c9 answers") {
		t.Errorf("%+v", two)
	}
}

// A leader of an older term is one that has not heard yet.
func TestTheNewestTermSaysWhoLeads(t *testing.T) {
	w, c := sitting(t)
	for _, id := range []string{"c2", "c3"} {
		c.change(id, func(v *wire.Voice) { v.Term, v.Leader, v.AppliedIndex = 5, "c3", 130 })
	}
	c.change("c3", func(v *wire.Voice) { v.State, v.LastContactMS = "leader", 0 })
	all := list(t, w)
	if all.Leader != "c3" || all.Term != 5 || find(t, all, "c1").State != "leader" || find(t, all, "c1").Term != 4 || find(t, all, "c1").Lag != 10 {
		t.Errorf("%+v", all)
	}
	for id := range c.voices {
		c.change(id, func(v *wire.Voice) { v.State, v.Leader, v.LastContactMS = "candidate", "", -1 })
	}
	all = list(t, w)
	if two := find(t, all, "c2"); all.Leader != "" || two.Problem != "it knows no leader" || two.LastContactMS != nil {
		t.Errorf("%+v", all)
	}
}

// What raft counts is what is listed, and what differs from it is told.
func TestDisagreementsAboutMembersAreTold(t *testing.T) {
	w, c := sitting(t)
	for id := range c.voices {
		c.change(id, func(v *wire.Voice) { v.Members = members("c1", "c2", "c4-") })
	}
	all := list(t, w)
	if all.Voters != 2 || all.Majority != 2 || find(t, all, "c3").Role != wire.Stranger || find(t, all, "c4").Role != wire.Nonvoter ||
		find(t, all, "c4").Raft != "c4:7400" || find(t, all, "c4").Reachable {
		t.Errorf("%+v", all)
	}
	if len(all.Problems) != 1 || !strings.Contains(all.Problems[0], "the controllers are to be c1, c2, c3, and raft counts c1, c2, c4") {
		t.Errorf("%q", all.Problems)
	}
	w, c = sitting(t)
	c.change("c2", func(v *wire.Voice) { v.Members = members("c1", "c2") })
	if all := list(t, w); len(all.Problems) != 1 || !strings.Contains(all.Problems[0], "c2 counts the controllers c1, c2, and c1 counts c1, c2, c3") {
		t.Errorf("%q", all.Problems)
	}
}

func TestTransferLeader(t *testing.T) {
	for to, want := range map[string]string{"c2": "c2", "": "c3"} {
		w, c := sitting(t)
		done, err := w.console().TransferLeader(t.Context(), wire.TransferRequest{To: to, Asker: wire.Asker{By: "kim", Reason: "a new rack"}})
		if err != nil || !done.Changed || done.By != "kim" || done.Sentence != want+" leads now, in the place of c1" {
			t.Errorf("to %q: %v %+v", to, err, done)
		}
		if !slices.Equal(c.handed, []string{want}) || len(w.state.Audit) != 1 {
			t.Fatalf("to %q: handed to %q, audit %+v", to, c.handed, w.state.Audit)
		}
		e := w.state.Audit[0]
		if e.Kind != ledger.AuditOperator || e.Action != "transfer-leader" || e.By != "kim" || e.Reason != "a new rack" || e.Outcome != "" ||
			!slices.Equal(e.Evidence, []string{"from c1 to " + want}) || !e.At.Equal(noon) {
			t.Errorf("%+v", e)
		}
	}
	w, c := sitting(t)
	done, err := w.console().TransferLeader(t.Context(), wire.TransferRequest{To: "c1"})
	if err != nil || done.Changed || len(c.handed) != 0 || len(w.state.Audit) != 0 {
		t.Errorf("to itself: %v %+v", err, done)
	}
}

func TestTransferLeaderIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		to   string
		how  func(*world, *council)
		code wire.Code
		part string
	}{
		"unknown":      {"c9", func(*world, *council) {}, wire.NotFound, `no controller "c9"`},
		"silent":       {"c2", func(_ *world, c *council) { c.silent["c2"] = errors.New("timeout") }, wire.Conflict, "c2 cannot lead: timeout"},
		"far behind":   {"c2", func(_ *world, c *council) { c.change("c1", func(v *wire.Voice) { v.AppliedIndex = 9000 }) }, wire.Conflict, "8883 entries behind"},
		"lost":         {"c2", func(_ *world, c *council) { c.change("c2", func(v *wire.Voice) { v.Leader = "" }) }, wire.Conflict, "it knows no leader"},
		"campaigning":  {"c2", func(_ *world, c *council) { c.change("c2", func(v *wire.Voice) { v.State = "candidate" }) }, wire.Conflict, "candidate"},
		"all silent":   {"", func(_ *world, c *council) { c.silent["c2"], c.silent["c3"] = errors.New("gone"), errors.New("out") }, wire.Conflict, "c2: gone; c3: out"},
		"not recorded": {"c2", func(w *world, _ *council) { w.proposing = console.ErrNotLeader }, wire.NotLeader, "nothing was changed"},
		"no vote": {"c3", func(_ *world, c *council) {
			c.change("c1", func(v *wire.Voice) { v.Members = members("c1", "c2", "c3-") })
		}, wire.Conflict, "c3 cannot lead: it is no voter"},
		"recovery": {"c2", func(w *world, _ *council) { w.claim(ledger.Failover, noon) }, wire.Conflict, "recovery shop-2 is under way"},
	} {
		t.Run(name, func(t *testing.T) {
			w, c := sitting(t)
			test.how(w, c)
			before := len(w.state.Audit)
			_, err := w.console().TransferLeader(t.Context(), wire.TransferRequest{To: test.to})
			var told *wire.Error
			if !errors.As(err, &told) || told.Code != test.code || !strings.Contains(told.Error(), test.part) {
				t.Errorf("%v", err)
			}
			if len(c.handed) != 0 || len(w.state.Audit) != before {
				t.Errorf("handed to %q, audit %+v", c.handed, w.state.Audit)
			}
		})
	}
	w, c := sitting(t)
	w.claim(ledger.Failover, noon)
	if _, err := w.console().TransferLeader(t.Context(), wire.TransferRequest{To: "c2", Force: true}); err != nil || len(c.handed) != 1 {
		t.Errorf("forced in a recovery: %v, handed to %q", err, c.handed)
	}
}

// A transfer that came to nothing says so, to who asked and in the audit.
func TestTransferLeaderFails(t *testing.T) {
	for part, how := range map[string]func(*council){
		"leadership transfer timeout": func(c *council) { c.fails = errors.New("leadership transfer timeout") },
		"c3 leads now":                func(c *council) { c.leads = "c3" },
	} {
		w, c := sitting(t)
		how(c)
		_, err := w.console().TransferLeader(t.Context(), wire.TransferRequest{To: "c2"})
		var told *wire.Error
		if !errors.As(err, &told) || told.Code != wire.Failed || !strings.Contains(told.Message, part) {
			t.Errorf("%v", err)
		}
		if n := len(w.state.Audit); n != 2 || !strings.Contains(w.state.Audit[1].Outcome, part) {
			t.Errorf("%+v", w.state.Audit)
		}
	}
}

func TestNoAccountOfControllers(t *testing.T) {
	c := newWorld(t).console()
	_, list := c.Controllers(t.Context())
	_, transfer := c.TransferLeader(t.Context(), wire.TransferRequest{})
	for _, err := range []error{list, transfer} {
		var told *wire.Error
		if !errors.As(err, &told) || told.Code != wire.Unavailable {
			t.Errorf("%v", err)
		}
	}
}

// Who has another ledger than the majority is named in the list, does not get
// leadership, and says so at its own door.
func TestLedgersAreCompared(t *testing.T) {
	w, c := sitting(t)
	mark := func(id, digest string) {
		c.change(id, func(v *wire.Voice) { v.Marks = []wire.Mark{{Index: 100, Term: 4, Version: 1, Digest: digest}} })
	}
	mark("c1", "a")
	mark("c2", "a")
	if all := list(t, w); len(all.Problems) != 0 || find(t, all, "c3").Diverged {
		t.Errorf("one that says nothing is held to differ: %+v", all)
	}
	mark("c3", "x")
	all := list(t, w)
	third := find(t, all, "c3")
	if !third.Diverged || !strings.Contains(third.Problem, "majority (c1, c2) at raft entry 100") || !strings.Contains(third.Problem, "data_dir") {
		t.Errorf("%+v", third)
	}
	if find(t, all, "c1").Diverged || find(t, all, "c2").Diverged {
		t.Errorf("%+v", all)
	}
	var refusal *wire.Error
	_, err := w.console().TransferLeader(t.Context(), wire.TransferRequest{To: "c3", Asker: wire.Asker{By: "kim"}})
	if !errors.As(err, &refusal) || refusal.Code != wire.Conflict || !strings.Contains(refusal.Message, "differs") {
		t.Errorf("%v", err)
	}
	if _, err := w.console().TransferLeader(t.Context(), wire.TransferRequest{Asker: wire.Asker{By: "kim"}}); err != nil || !slices.Equal(c.handed, []string{"c2"}) {
		t.Errorf("%v, handed to %v", err, c.handed)
	}

	mark("c2", "y")
	if all := list(t, w); len(all.Problems) != 1 || !strings.Contains(all.Problems[0], "nobody is blamed") || find(t, all, "c3").Diverged {
		t.Errorf("%+v", all)
	}
	c.change("c3", func(v *wire.Voice) { v.Aside = "its ledger differs: remove it" })
	if third := find(t, list(t, w), "c3"); !third.Diverged || third.Problem != "its ledger differs: remove it" {
		t.Errorf("%+v", third)
	}
	verdict, err := w.console().Concord(t.Context())
	if err != nil || verdict.Split == "" {
		t.Errorf("%+v, %v", verdict, err)
	}

	c.aside = "its ledger differs: remove it"
	if err := w.console().Ready(); err == nil || !strings.Contains(err.Error(), c.aside) {
		t.Errorf("it is ready: %v", err)
	}
	_, err = w.console().Witness(t.Context(), wire.WitnessRequest{Asker: "c2", Cluster: "shop", Servers: []topology.Key{key("m")}, WaitMS: 700})
	if !errors.As(err, &refusal) || refusal.Code != wire.Unavailable || w.looked != nil {
		t.Errorf("it gives an account: %v", err)
	}
}
