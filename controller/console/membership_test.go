package console_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/store/ledger"
)

func change(what, id string) wire.ControllersRequest {
	return wire.ControllersRequest{Change: what, ID: id, Raft: id + ":7401", API: "http://" + id + ":7400", Asker: wire.Asker{By: "kim", Reason: "a new rack"}}
}

func TestChangeControllers(t *testing.T) {
	for id, part := range map[string]string{
		"add c4":    "c4 is being added: it counts once it has caught up; of 4 voters no more may be lost than of 3",
		"remove c3": "c3 is being removed: it is counted until no lease of its granting is left; of 2 voters no more may be lost than of 1",
		"move c2":   "c2 is looked for at c2:7401 and http://c2:7400 from now on: once `switchyard controllers list` shows no change under way, restart it",
	} {
		w, c := sitting(t)
		what, who, _ := strings.Cut(id, " ")
		done, err := w.console().ChangeControllers(t.Context(), change(what, who))
		if err != nil || !done.Changed || !strings.Contains(done.Sentence, part) || done.By != "kim" {
			t.Errorf("%s: %v %+v", id, err, done)
		}
		if len(c.changes) != 1 {
			t.Fatalf("%s: %+v", id, c.changes)
		}
		got := c.changes[0]
		want := ledger.Controller{ID: who, Raft: who + ":7401", API: "http://" + who + ":7400", Voter: true}
		if got.Controller != want || got.Change != ledger.ChangeKind(what) || got.By != "kim" || got.Reason != "a new rack" ||
			got.Until.Sub(got.At) < time.Minute {
			t.Errorf("%s: %+v", id, got)
		}
	}
	w, c := sitting(t)
	without := change("add", "c4")
	without.Nonvoter = true
	if done, err := w.console().ChangeControllers(t.Context(), without); err != nil || !strings.Contains(done.Sentence, "without a vote") || c.changes[0].Controller.Voter {
		t.Errorf("%v %+v %+v", err, done, c.changes)
	}
}

func TestChangeControllersIsRefused(t *testing.T) {
	adding := ledger.Controllers{Number: 4, Change: &ledger.ControllerChange{Kind: ledger.AddController, ID: "c4", By: "kim", Since: noon}}
	for want, test := range map[string]struct {
		request wire.ControllersRequest
		set     func(w *world, c *council)
	}{
		"without c2 only 1 of 2 voters would answer, and 2 must": {change("remove", "c2"), func(_ *world, c *council) {
			c.silent["c3"] = errors.New("connection refused")
		}},
		"while c2 moves only 1 of 3 voters would answer, and 2 must": {change("move", "c2"), func(_ *world, c *council) {
			c.silent["c3"] = errors.New("connection refused")
		}},
		"c1 leads":                          {change("move", "c1"), nil},
		"to add controller c4 is under way": {change("remove", "c2"), func(w *world, _ *council) { w.state.Controllers = adding }},
		"recovery shop-7 is under way": {change("add", "c4"), func(w *world, _ *council) {
			w.state.Recoveries = map[string]ledger.Recovery{"shop-7": {ID: "shop-7", Cluster: "shop"}}
		}},
		"there is a controller c9 already": {change("add", "c9"), func(_ *world, c *council) {
			c.fails = &ledger.Rejection{Command: "x", Reason: "there is a controller c9 already"}
		}},
	} {
		w, c := sitting(t)
		if test.set != nil {
			test.set(w, c)
		}
		_, err := w.console().ChangeControllers(t.Context(), test.request)
		var told *wire.Error
		if !errors.As(err, &told) || told.Code != wire.Conflict || !strings.Contains(told.Message, want) || told.Remedy == "" {
			t.Errorf("%s: got %v", want, err)
		}
		if c.fails == nil && len(c.changes) != 0 {
			t.Errorf("%s: it was begun", want)
		}
	}
	// Removing the one that is being added takes that back.
	w, c := sitting(t)
	w.state.Controllers = adding
	done, err := w.console().ChangeControllers(t.Context(), change("remove", "c4"))
	if err != nil || !strings.Contains(done.Sentence, "taken back") || !slices.Equal(c.undone, []string{"kim removed it again: a new rack"}) {
		t.Errorf("%v %+v %q", err, done, c.undone)
	}
	if all := list(t, w); all.Set != 4 || all.Change == nil || all.Change.ID != "c4" {
		t.Errorf("%+v", all)
	}
}

func TestOneThatWasRemovedIsNotReady(t *testing.T) {
	w, c := sitting(t)
	if err := w.console().Ready(); err != nil {
		t.Fatal(err)
	}
	c.outside = `controller "c1" was removed: stop it`
	if err := w.console().Ready(); err == nil || !strings.Contains(err.Error(), "was removed") {
		t.Error(err)
	}
	status, err := w.console().Status(t.Context())
	if err != nil || !slices.Contains(status.Problems, c.outside) {
		t.Errorf("%v %q", err, status.Problems)
	}
}
