package leases_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/sidecar/protocol"
	"switchyard/store/ledger"
)

func controllers(ids ...string) []ledger.Controller {
	var out []ledger.Controller
	for n, id := range ids {
		at := string(rune('1' + n))
		out = append(out, ledger.Controller{ID: id, Raft: "10.0.0." + at + ":7401", API: "http://10.0.0." + at + ":7400", Voter: true})
	}
	return out
}

// set gives the ledger a set of controllers, and an open change of it, if any.
func (w *world) set(change *ledger.ControllerChange, ids ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state.Controllers = ledger.Controllers{Number: w.state.Controllers.Number + 1, Members: controllers(ids...), Change: change}
}

// TestPromiseByTheLedgersSet: a sidecar that counts the controllers of before is
// outlasted as long as no majority of those can avoid one of these.
func TestPromiseByTheLedgersSet(t *testing.T) {
	three := []string{"c1", "c2", "c3"}
	for name, tc := range map[string]struct {
		counts, now []string
		change      *ledger.ControllerChange
		promised    bool
		listed      bool
	}{
		"the same":                 {three, three, nil, true, false},
		"one was added":            {three, []string{"c1", "c2", "c3", "c4"}, nil, true, true},
		"it was told beforehand":   {[]string{"c1", "c2", "c3", "c4"}, three, nil, true, true},
		"one was replaced":         {three, []string{"c2", "c3", "c4"}, nil, false, true},
		"one is being replaced":    {three, []string{"c1", "c2", "c3", "c4"}, &ledger.ControllerChange{Kind: ledger.RemoveController, ID: "c1"}, true, true},
		"two were added":           {three, []string{"c1", "c2", "c3", "c4", "c5"}, nil, false, true},
		"it counts too few":        {[]string{"c1"}, three, nil, false, true},
		"strangers":                {[]string{"x1", "x2", "x3"}, three, nil, false, true},
		"one without a vote more":  {[]string{"c1", "c2", "c3", "c9"}, three, nil, true, true},
		"nobody":                   {nil, three, nil, false, true},
		"the last that is removed": {[]string{"c1", "c2"}, []string{"c1", "c2"}, &ledger.ControllerChange{Kind: ledger.RemoveController, ID: "c2"}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.set(tc.change, tc.now...)
			for id := range w.registers {
				for _, server := range []string{"m", "a", "b"} {
					w.renew(id, renewal(server, func(q *protocol.Renew) { q.Controllers = tc.counts }))
				}
			}
			got := w.promoter().Promise(context.Background(), "shop", key("m"), time.Time{})
			if promised := got.Missing == ""; promised != tc.promised {
				t.Errorf("%+v", got)
			}
			if listed := len(w.registers["c1"].Miscounts()) > 0; listed != tc.listed {
				t.Errorf("%q", w.registers["c1"].Miscounts())
			}
		})
	}
}

// TestWordsOfBothSets: while one is removed, a majority with it and one without it
// must have given their word; one without a vote gives none that counts.
func TestWordsOfBothSets(t *testing.T) {
	outlast := func(w *world, cut ...string) error {
		w.t.Helper()
		for _, id := range cut {
			w.cut[id] = true
		}
		_, _, err := w.outlast(lead)
		return err
	}
	fresh := func() *world {
		w := newWorld(t)
		w.books["c4"] = &book{}
		w.start("c4")
		w.doors["c4"] = "c4"
		w.pass(lease + fence)
		held(w)
		return w
	}
	removing := &ledger.ControllerChange{Kind: ledger.RemoveController, ID: "c4"}
	w := fresh()
	w.set(removing, "c1", "c2", "c3", "c4")
	if err := outlast(w, "c3"); err != nil {
		t.Errorf("three of four, and two of three: %v", err)
	}
	w = fresh()
	w.set(removing, "c1", "c2", "c3", "c4")
	if err := outlast(w, "c3", "c4"); err == nil || !strings.Contains(err.Error(), "2 of 4 controllers") {
		t.Errorf("two of four: %v", err)
	}
	w = fresh()
	w.set(nil, "c1", "c2", "c3")
	w.mu.Lock()
	w.state.Controllers.Members = append(slices.Clone(w.state.Controllers.Members), ledger.Controller{ID: "c4", Raft: "h:1", API: "http://h:2"})
	w.mu.Unlock()
	if err := outlast(w, "c2", "c3"); err == nil || !strings.Contains(err.Error(), "1 of 3 controllers") {
		t.Errorf("one of three, and one without a vote: %v", err)
	}
}
