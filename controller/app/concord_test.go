package app

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/mattn/go-sqlite3" // The driver by which a ledger is changed behind its controller's back.

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/config"
	"switchyard/controller/ctl"
)

// whole is one controller of several that run, and its door.
type whole struct {
	t    *testing.T
	file *config.File
	door *ctl.Client
	stop func()
}

func startWhole(t *testing.T, c *config.File) *whole {
	t.Helper()
	w := &whole{t: t, file: c}
	var err error
	if w.door, err = ctl.NewClient([]string{c.Self().HTTP}, patience); err != nil {
		t.Fatal(err)
	}
	w.start()
	return w
}

func (w *whole) start() {
	w.t.Helper()
	wait, stop := run(w.t, w.file)
	w.stop = func() {
		w.t.Helper()
		w.stop = func() {}
		stop()
		if err := wait(); err != nil {
			w.t.Errorf("%s ended with %v", w.file.ID, err)
		}
	}
}

func (w *whole) get(path string, into any) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	return w.door.Get(ctx, path, into)
}

func (w *whole) list() (all wire.Controllers) {
	if err := w.get(wire.PathControllers, &all); err != nil {
		return wire.Controllers{}
	}
	return all
}

func (w *whole) account(id string) wire.ControllerAccount {
	for _, c := range w.list().Controllers {
		if c.ID == id {
			return c
		}
	}
	return wire.ControllerAccount{}
}

// tamper changes a record in a ledger whose controller does not run.
func tamper(t *testing.T, c *config.File, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite3", filepath.Join(c.DataDir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	done, err := db.ExecContext(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := done.RowsAffected(); err != nil || n != 1 {
		t.Fatalf("%d records were changed, %v", n, err)
	}
}

// A controller whose ledger is not the others' finds that out, says so wherever one
// looks, and is never handed leadership; with a new data directory it is well again.
func TestADivergedControllerStandsAside(t *testing.T) {
	t.Parallel()
	files := three(t)
	all := map[string]*whole{}
	for _, c := range files {
		w := startWhole(t, c)
		defer func() { w.stop() }()
		all[c.ID] = w
	}
	first := all["c1"]
	eventually(t, "a pause is committed", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var done wire.Done
		return first.door.Post(ctx, wire.PathPause, wire.PauseRequest{Asker: wire.Asker{By: "kim", Reason: "a trial"}}, &done) == nil
	})
	var leader string
	eventually(t, "all have it", func() bool {
		list := first.list()
		leader = list.Leader
		for _, c := range list.Controllers {
			if c.AppliedIndex == 0 || c.Lag != 0 || c.Problem != "" || c.Diverged {
				return false
			}
		}
		return leader != "" && len(list.Controllers) == 3
	})
	bad, good := all["c2"], all["c3"]
	if leader == "c2" {
		bad, good = good, bad
	}
	id := bad.file.ID

	bad.stop()
	tamper(t, bad.file, `UPDATE pauses SET record = json_replace(record, '$.reason', 'a trick'), sum = NULL`)
	bad.start()
	eventually(t, "its door says that it is not well, and what to do", func() bool {
		var health wire.NodeHealth
		err := bad.get(wire.PathHealth, &health)
		return err != nil && strings.Contains(err.Error(), "differs from that of the majority") && strings.Contains(err.Error(), "empty its data_dir")
	})
	for _, w := range all {
		eventually(t, "every list names it, and no other", func() bool {
			for other := range all {
				if w.account(other).Diverged != (other == id) {
					return false
				}
			}
			return strings.Contains(w.account(id).Problem, "data_dir")
		})
	}
	// While there is an election, the refusal is another one.
	eventually(t, "it is refused leadership for its ledger", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var done wire.Done
		err := good.door.Post(ctx, wire.PathTransferLeader, wire.TransferRequest{To: id, Asker: wire.Asker{By: "kim"}}, &done)
		if err == nil {
			t.Errorf("it was handed leadership: %+v", done)
		}
		return err == nil || strings.Contains(err.Error(), "differs")
	})

	// Over a restart, before anything can be compared, it is the same.
	bad.stop()
	bad.start()
	eventually(t, "it stands aside at once", func() bool { return strings.Contains(bad.account(id).Problem, "differs") })
	bad.stop()
	if err := os.RemoveAll(bad.file.DataDir); err != nil {
		t.Fatal(err)
	}
	bad.start()
	eventually(t, "it is well again", func() bool {
		var health wire.NodeHealth
		return bad.get(wire.PathHealth, &health) == nil && health.Details.Healthy && bad.account(id).Lag == 0 &&
			!good.account(id).Diverged && !bad.account(id).Diverged
	})
	eventually(t, "its ledger is compared", func() bool {
		own, other := bad.account(id), good.account(id)
		return own.AppliedIndex != 0 && own.AppliedIndex == other.AppliedIndex && !own.Diverged && !other.Diverged
	})
}
