package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"switchyard/controller/topology"
	"switchyard/store/quorum"
)

func controller(n int, voter bool) Controller {
	return Controller{ID: fmt.Sprintf("c%d", n), Raft: fmt.Sprintf("10.0.0.%d:7401", n), API: fmt.Sprintf("http://10.0.0.%d:7400", n),
		DataCenter: "dc1", Voter: voter}
}

func founders(n int) []Controller {
	var out []Controller
	for i := range n {
		out = append(out, controller(i+1, true))
	}
	return out
}

// began is a ledger in which a change is under way.
func began(t testing.TB, s State, kind ChangeKind, c Controller) State {
	t.Helper()
	return applied(t, s, BeginControllerChange{Expect: s.Controllers.Number, Founders: founders(3), Change: kind, Controller: c, By: "kim",
		Until: noon.Add(time.Hour), At: noon})
}

func applied(t testing.TB, s State, cmd Command) State {
	t.Helper()
	next, _, err := Apply(s, cmd)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func advanced(t testing.TB, s State, step ControllersStep, note string) State {
	t.Helper()
	return applied(t, s, AdvanceControllers{Expect: s.Controllers.Number, Step: step, Note: note, Leader: "c1", At: noon})
}

func TestControllersAreReplaced(t *testing.T) {
	s := applied(t, State{}, Bootstrap{ID: "prod", Generation: 7})
	if s.Controllers.Number != 0 || s.Controllers.Councils().Agreed([]string{"c1"}) {
		t.Fatalf("%+v", s.Controllers)
	}
	voters := func(want ...string) {
		t.Helper()
		if got := s.Controllers.Voters(); !slices.Equal(got, want) {
			t.Fatalf("%v vote, want %v", got, want)
		}
	}
	councils := func(want ...string) {
		t.Helper()
		var got []string
		for _, c := range s.Controllers.Councils() {
			got = append(got, strings.Join(c, " "))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("councils %q, want %q", got, want)
		}
	}
	s = began(t, s, AddController, controller(4, true))
	voters("c1", "c2", "c3")
	councils("c1 c2 c3")
	s = advanced(t, s, WidenControllers, "")
	voters("c1", "c2", "c3", "c4")
	councils("c1 c2 c3 c4", "c1 c2 c3")
	s = advanced(t, s, CloseControllers, "")
	councils("c1 c2 c3 c4")
	s = began(t, s, RemoveController, Controller{ID: "c1"})
	voters("c1", "c2", "c3", "c4")
	councils("c1 c2 c3 c4", "c2 c3 c4")
	s = advanced(t, s, CloseControllers, "")
	voters("c2", "c3", "c4")
	councils("c2 c3 c4")
	if former, ok := s.Controllers.Removed("c1"); !ok || former.By != "kim" {
		t.Errorf("%+v", s.Controllers)
	}
	// An id may come back.
	s = began(t, s, AddController, controller(1, false))
	s = advanced(t, s, CloseControllers, "")
	voters("c2", "c3", "c4")
	if _, ok := s.Controllers.Removed("c1"); ok || s.Controllers.Former != nil || len(s.Controllers.Members) != 4 {
		t.Errorf("%+v", s.Controllers)
	}
	// Given its vote later; taken back in time.
	s = began(t, s, AddController, controller(1, true))
	s = advanced(t, s, UndoControllers, "it did not catch up")
	s = advanced(t, s, CloseControllers, "")
	if c, ok := s.Controllers.Find("c1"); !ok || c.Voter {
		t.Errorf("a change that was taken back leaves %+v", s.Controllers)
	}
	moved := controller(1, false)
	moved.Raft = "10.9.9.9:7401"
	s = advanced(t, began(t, s, MoveController, moved), CloseControllers, "")
	if c, _ := s.Controllers.Find("c1"); c != moved {
		t.Errorf("%+v", c)
	}
	s = began(t, s, AddController, controller(5, true))
	s = advanced(t, advanced(t, s, UndoControllers, "x"), CloseControllers, "")
	if _, ok := s.Controllers.Find("c5"); ok || len(s.Controllers.Former) != 0 {
		t.Errorf("one whose adding was taken back is there: %+v", s.Controllers)
	}
	for _, e := range s.Audit {
		if e.By != "kim" || !strings.HasSuffix(e.Action, "-controller") {
			t.Errorf("%+v", e)
		}
	}
	if restored, err := Restored(s, 8, "restore", "x", noon); err != nil || restored.Controllers.Number != 0 {
		t.Errorf("%+v %v", restored.Controllers, err)
	}
}

func TestControllersAreRefused(t *testing.T) {
	fresh := applied(t, State{}, Bootstrap{ID: "prod", Generation: 7})
	four := advanced(t, advanced(t, began(t, fresh, AddController, controller(4, true)), WidenControllers, ""), CloseControllers, "")
	adding := began(t, four, AddController, controller(5, true))
	recovering := applied(t, four, AdoptMaster{Cluster: "shop", Master: topology.Key{Host: "db-1", Port: 3306}, At: noon})
	recovering = applied(t, recovering, ClaimRecovery{Cluster: "shop", RecoveryKind: Failover, Finding: "DeadMaster", Old: topology.Key{Host: "db-1", Port: 3306},
		ExpectEpoch: recovering.Clusters["shop"].Epoch, Leader: "c1", At: noon})
	one := fresh
	one = applied(t, one, BeginControllerChange{Founders: founders(1), Change: AddController, Controller: controller(2, false), By: "kim",
		Until: noon.Add(time.Hour), At: noon})
	one = advanced(t, one, CloseControllers, "")
	begin := func(change ChangeKind, c Controller) func(s State) Command {
		return func(s State) Command {
			return BeginControllerChange{Expect: s.Controllers.Number, Founders: founders(3), Change: change, Controller: c, By: "kim",
				Until: noon.Add(time.Hour), At: noon}
		}
	}
	step := func(step ControllersStep, note string) func(s State) Command {
		return func(s State) Command {
			return AdvanceControllers{Expect: s.Controllers.Number, Step: step, Note: note, Leader: "c1", At: noon}
		}
	}
	shared, elsewhere, api := controller(9, true), controller(1, true), controller(9, true)
	shared.Raft, elsewhere.Raft, api.API = controller(1, true).Raft, "10.8.8.8:1", controller(1, true).API
	bad := controller(9, true)
	bad.API = "10.0.0.9:7400"
	for want, tc := range map[string]struct {
		at  State
		cmd func(State) Command
	}{
		"there is a controller c1 already":               {four, begin(AddController, controller(1, true))},
		"an id is used once":                             {four, begin(AddController, elsewhere)},
		"c1 is at the raft address":                      {four, begin(AddController, shared)},
		"c1 is at the http address":                      {four, begin(AddController, api)},
		"want http://HOST:PORT":                          {four, begin(AddController, bad)},
		"controller c1 votes":                            {four, begin(AddController, controller(1, false))},
		"there is no controller c9":                      {four, begin(RemoveController, Controller{ID: "c9"})},
		"there is no controller c8":                      {four, begin(MoveController, controller(8, true))},
		"is at these addresses already":                  {four, begin(MoveController, controller(2, true))},
		"the only one that votes":                        {one, begin(RemoveController, Controller{ID: "c1"})},
		"add controller c5 is under way":                 {adding, begin(RemoveController, Controller{ID: "c1"})},
		"recovery shop-2 has not ended":                  {recovering, begin(RemoveController, Controller{ID: "c1"})},
		"want add, remove or move":                       {four, begin("swap", controller(9, true))},
		"there is no change of set":                      {four, step(CloseControllers, "")},
		"c5 does not vote yet":                           {adding, step(CloseControllers, "")},
		"note is empty":                                  {adding, step(UndoControllers, "")},
		"want widen, undo or close":                      {adding, step("jump", "")},
		"nobody waits for a vote":                        {advanced(t, adding, WidenControllers, ""), step(WidenControllers, "")},
		"cannot be taken back any more":                  {advanced(t, adding, WidenControllers, ""), step(UndoControllers, "late")},
		"the controllers are those of set 3 now, not of": {four, func(State) Command { return begin(AddController, controller(9, true))(State{}) }},
		"founders is empty": {fresh, func(State) Command {
			c := begin(AddController, controller(9, true))(State{}).(BeginControllerChange)
			c.Founders = nil
			return c
		}},
		"founders: nobody votes": {fresh, func(State) Command {
			c := begin(AddController, controller(9, true))(State{}).(BeginControllerChange)
			c.Founders = []Controller{controller(1, false)}
			return c
		}},
	} {
		after, _, err := Apply(tc.at, tc.cmd(tc.at))
		var rejection *Rejection
		if !errors.As(err, &rejection) || !strings.Contains(rejection.Reason, want) {
			t.Errorf("want %q, got %v", want, err)
		}
		if after.Controllers.Number != tc.at.Controllers.Number {
			t.Errorf("%s: it was half done", want)
		}
	}
}

// TestMajoritiesMeet changes controllers at random: who agrees by one set, and who
// agrees by the next, have somebody in common; no step moves more than one vote.
func TestMajoritiesMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, _, err := Apply(State{}, Bootstrap{ID: "prod", Generation: 7})
		if err != nil {
			t.Fatal(err)
		}
		first := founders(rapid.IntRange(1, 5).Draw(t, "founders"))
		for range 40 {
			was := s.Controllers
			if was.Number == 0 {
				was.Members = first
			}
			var cmd Command = AdvanceControllers{Expect: s.Controllers.Number, Note: "x", Leader: "c1", At: noon,
				Step: rapid.SampledFrom([]ControllersStep{WidenControllers, UndoControllers, CloseControllers}).Draw(t, "step")}
			if rapid.Bool().Draw(t, "begin") {
				c := controller(rapid.IntRange(1, 7).Draw(t, "id"), rapid.Bool().Draw(t, "voter"))
				if rapid.IntRange(0, 4).Draw(t, "other address") == 0 {
					c.Raft = fmt.Sprintf("10.1.1.%d:7401", rapid.IntRange(1, 4).Draw(t, "address"))
				}
				cmd = BeginControllerChange{Expect: s.Controllers.Number, Founders: first, Controller: c, By: "kim", Until: noon.Add(1), At: noon,
					Change: rapid.SampledFrom([]ChangeKind{AddController, RemoveController, MoveController}).Draw(t, "change")}
			}
			next, _, err := Apply(s, cmd)
			if err != nil {
				continue
			}
			is := next.Controllers
			if is.Number != s.Controllers.Number+1 || len(is.Voters()) == 0 {
				t.Fatalf("%+v became %+v", was, is)
			}
			meet := false
			for _, a := range was.Councils() {
				for _, b := range is.Councils() {
					meet = meet || quorum.Overlap(a, b)
				}
			}
			if !meet {
				t.Fatalf("%v and %v may decide apart", was.Councils(), is.Councils())
			}
			moved, taken := 0, map[string]bool{}
			for _, m := range is.Members {
				if taken[m.ID] || taken[m.Raft] || taken[m.API] {
					t.Fatalf("%s is there twice: %+v", m.ID, is.Members)
				}
				taken[m.ID], taken[m.Raft], taken[m.API] = true, true, true
				if before, _ := was.Find(m.ID); before.Voter != m.Voter {
					moved++
				}
			}
			for _, m := range was.Members {
				if _, there := is.Find(m.ID); !there && m.Voter {
					moved++
				}
			}
			if moved > 1 {
				t.Fatalf("%v became %v in one step", was.Voters(), is.Voters())
			}
			s = next
		}
	})
}

// The greeting names all controllers in one line, and the sidecars' files no more than
// this.
func TestThereAreNotTooManyControllers(t *testing.T) {
	s := applied(t, State{}, Bootstrap{ID: "prod", Generation: 7})
	for n := 4; n <= maxControllers; n++ {
		s = advanced(t, began(t, s, AddController, controller(n, false)), CloseControllers, "")
	}
	_, _, err := Apply(s, BeginControllerChange{Expect: s.Controllers.Number, Change: AddController, Controller: controller(maxControllers+1, false),
		By: "kim", Until: noon.Add(time.Hour), At: noon})
	if err == nil || !strings.Contains(err.Error(), "remove one first") {
		t.Fatal(err)
	}
}
