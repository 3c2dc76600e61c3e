package agent

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/router/routes"
)

// record writes the fixture anew. What one release has written must be readable
// by all that know its version.
var record = flag.Bool("record", false, "write testdata anew")

const fixture = "testdata/routes.v1.json"

func some() map[string]held {
	till := planned(table(9, 1, ""))
	till.Cluster = "till"
	return map[string]held{"shop": {Table: table(5, 3, "a", "b", "c"), Partial: true}, "till": {Table: till}}
}

func TestTheStateFileIsReadAsItWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.json")
	if *record {
		path = fixture
	}
	if err := saveState(path, "edge", some()); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	frozen, err := os.ReadFile(fixture)
	if err != nil || string(frozen) != string(written) {
		t.Fatalf("%v: it is written as\n%s\nthe fixture has\n%s", err, written, frozen)
	}
	got, err := loadState(fixture, "edge")
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	for cluster, want := range some() {
		if !equal(got[cluster], want) {
			t.Errorf("%s: %+v, want %+v", cluster, got[cluster], want)
		}
	}
	if got, err := loadState(filepath.Join(t.TempDir(), "none"), "edge"); err != nil || len(got) != 0 {
		t.Errorf("no file: %+v, %v", got, err)
	}
}

func TestAStateFileThatIsNotUnderstoodIsRefused(t *testing.T) {
	frozen, err := os.ReadFile(fixture)
	if err != nil {
		t.Fatal(err)
	}
	whole := string(frozen)
	texts := map[string]string{
		"empty":           "",
		"another version": strings.Replace(whole, `"version":1`, `"version":2`, 1),
		"no version":      strings.Replace(whole, `"version":1,`, ``, 1),
		"another field":   strings.Replace(whole, `"version":1`, `"version":1,"also":1`, 1),
		"inner field":     strings.Replace(whole, `"partial":true`, `"partly":true`, 1),
		"more behind":     whole + "{}",
		"no epoch":        strings.Replace(whole, `"number":5`, `"number":0`, 1),
		"twice":           strings.Replace(whole, `"till"`, `"shop"`, 1),
		"partial nobody":  strings.Replace(whole, `"planned":true}`, `"planned":true},"partial":true`, 1),
		"null":            "null",
		"too long":        whole + strings.Repeat(" ", maxState),
	}
	texts["no epoch"] = strings.Replace(texts["no epoch"], `"generation":1`, `"generation":0`, 1)
	for n := 0; n < len(whole)-1; n += 7 {
		texts[fmt.Sprintf("the first %d bytes", n)] = whole[:n]
	}
	for name, text := range texts {
		if text == whole {
			t.Fatalf("%s: it is the fixture", name)
		}
		h := newHost(t)
		if err := os.WriteFile(h.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := h.start(); !errors.Is(err, errState) || !strings.Contains(err.Error(), h.file) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := newHost(t)
	if err := saveState(h.file, "another", some()); err != nil {
		t.Fatal(err)
	}
	if err := h.start(); !errors.Is(err, errState) || !strings.Contains(err.Error(), `"another"`) {
		t.Errorf("the file of another sidecar: %v", err)
	}
}

// TestAProcessThatEndsAnywhere leaves what each of its steps leaves, and starts
// another one.
func TestAProcessThatEndsAnywhere(t *testing.T) {
	for name, leave := range map[string]func(h *host) error{
		"before anything was written": func(*host) error { return nil },
		"within the new file": func(h *host) error {
			return os.WriteFile(h.file+".new", []byte(`{"version":1,"sidec`), 0o600)
		},
		"before the rename": func(h *host) error {
			return saveState(h.file+".new", "edge", map[string]held{"shop": {Table: table(6, 1, "")}})
		},
		"before it was renamed, with a second name": func(h *host) error { return os.Link(h.file, h.file+".old") },
		"with the file as its own spare":            func(h *host) error { return errors.Join(os.Remove(h.file+".new"), os.Link(h.file, h.file+".new")) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			if err := errors.Join(saveState(h.file, "edge", map[string]held{"shop": {Table: table(5, 2, "a")}}), leave(h)); err != nil {
				t.Fatal(err)
			}
			restarted(t, h, "a", table(5, 2, "a"))
		})
	}
	t.Run("before the proxy was told", func(t *testing.T) {
		h := newHost(t)
		h.proxy.follows, h.other.follows = table(5, 2, "a"), table(5, 2, "a")
		if err := saveState(h.file, "edge", map[string]held{"shop": {Table: table(6, 1, "")}}); err != nil {
			t.Fatal(err)
		}
		restarted(t, h, "", table(6, 1, ""))
	})
	t.Run("before the second proxy was told", func(t *testing.T) {
		h := newHost(t)
		h.proxy.follows, h.other.follows = table(6, 2, "b"), table(5, 2, "a")
		if err := saveState(h.file, "edge", map[string]held{"shop": {Table: table(6, 2, "b")}}); err != nil {
			t.Fatal(err)
		}
		restarted(t, h, "b", table(6, 2, "b"))
	})
}

// restarted starts a sidecar that reaches nobody, and says what it comes back with.
func restarted(t *testing.T, h *host, serves string, holds routes.Table) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h.t = t
		h.directory = newShelf()
		for n := range h.controllers {
			h.controllers[n] = newOracle(fmt.Sprintf("c%d", n))
		}
		defer h.run()()
		synctest.Wait() // No time has passed: nobody has answered yet.
		h.serve(serves)
		if a := h.read(holds); !a.Proof.Holds || !is(routes.Table{Cluster: "shop", Epoch: a.Epoch, Revision: a.Revision}, holds) {
			t.Errorf("%+v", a)
		}
		// What it has confirmed is not taken back, whoever says so.
		h.controllers[0].say("c0", table(4, 9, "former"))
		if a := h.apply(table(4, 9, "former")); !a.Older {
			t.Errorf("%+v", a)
		}
		time.Sleep(10 * time.Second)
		h.serve(serves)
		// What was left does not stand in the way of the next.
		for revision := range uint64(3) {
			next := table(90, 1+revision, "")
			if a := h.apply(next); !a.Proof.Holds {
				t.Fatalf("%+v", a)
			}
			if got, err := loadState(h.file, "edge"); err != nil || !is(got["shop"].Table, next) {
				t.Fatalf("%+v, %v", got, err)
			}
		}
	})
}

func TestWhatCannotBeWrittenIsNotApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		defer h.run()()
		h.apply(table(5, 1, ""))
		good := h.agent.config.StateFile
		h.agent.config.StateFile = filepath.Join(filepath.Dir(good), "gone", "routes.json")
		for range 3 {
			if a := h.apply(table(5, 2, "a")); a.Proof.Holds || a.Revision != 1 || !strings.Contains(a.Problem, "state file") {
				t.Errorf("%+v", a)
			}
		}
		if n := h.log.count("cannot be written to disk"); n != 1 {
			t.Errorf("logged %d times, want once", n)
		}
		time.Sleep(time.Second)
		h.serve("")
		h.agent.config.StateFile = good
		if a := h.apply(table(5, 2, "a")); !a.Proof.Holds {
			t.Errorf("%+v", a)
		}
	})
}
