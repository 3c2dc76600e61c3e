package quarantine_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/quarantine"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

func key(name string) topology.Key { return topology.Key{Host: name, Port: 3306} }

// world is a cluster whose old master m is quarantined, and a is the master.
type world struct {
	mu      sync.Mutex
	state   ledger.State
	leads   bool
	silent  bool
	err     error
	exports int
	audit   []ledger.AuditEntry
}

func newWorld() *world {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &world{leads: true, state: ledger.State{
		Clusters: map[string]ledger.Cluster{"shop": {Name: "shop", Master: key("a")}},
		Servers: map[topology.Key]ledger.Server{
			key("a"): {Key: key("a"), Cluster: "shop", Standing: ledger.Member},
			key("m"): {Key: key("m"), Cluster: "shop", Standing: ledger.Quarantined, Extra: "0-1-7", Since: since},
		},
	}}
}

func (w *world) State() ledger.State { w.mu.Lock(); defer w.mu.Unlock(); return w.state }
func (w *world) IsLeader() bool      { w.mu.Lock(); defer w.mu.Unlock(); return w.leads }

func (w *world) Propose(_ context.Context, cmd ledger.Command) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.audit = append(w.audit, cmd.(ledger.AppendAudit).Entries...)
	return nil
}

func (w *world) Look(_ context.Context, keys []topology.Key, _ map[topology.Key]bool) topology.View {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := topology.View{Observations: map[topology.Key]topology.Observation{}}
	for _, k := range keys {
		if !w.silent {
			set, _ := gtid.ParseMariaDB(1, "0-2-9")
			v.Observations[k] = topology.Observation{Key: k, Instance: &topology.Instance{Key: k, Executed: set}}
		}
	}
	return v
}

func (w *world) Export(_ context.Context, address topology.Key, holds gtid.Set, out io.Writer) (int, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.exports++
	if _, err := io.WriteString(out, "-- "+address.String()+" beyond "+holds.String()); err != nil {
		return 0, "", err
	}
	return 3, "", w.err
}

// run lets a saver work for a time, and returns what files there are then.
func run(t *testing.T, w *world, dir string, d time.Duration) []string {
	t.Helper()
	s := quarantine.New(quarantine.Config{Self: "c1", Dir: dir, Now: time.Now}, w, w, w, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestSavedOnceAndAudited(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "quarantine")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for range 2 { // the second is a restart
			names := run(t, w, dir, time.Minute)
			if len(names) != 1 || names[0] != "shop-m:3306-20260102T030405.000Z.sql" || w.exports != 1 || len(w.audit) != 1 {
				t.Fatalf("files %v, %d exports, audit %+v", names, w.exports, w.audit)
			}
		}
		text, err := os.ReadFile(filepath.Join(dir, "shop-m:3306-20260102T030405.000Z.sql"))
		if err != nil || string(text) != "-- m:3306 beyond 0-2-9" || !strings.Contains(w.audit[0].Reason, "3 transactions") {
			t.Errorf("%s, %v, %+v", text, err, w.audit)
		}
	})
}

// What fails leaves no file behind, is tried again and told of.
func TestNothingHalfWritten(t *testing.T) {
	for name, spoil := range map[string]func(*world){
		"the export fails": func(w *world) { w.err = errors.New("broken by the test") },
		"nobody answers":   func(w *world) { w.silent = true },
		"another leads":    func(w *world) { w.leads = false },
		"it is only deposed": func(w *world) {
			w.state.Servers[key("m")] = ledger.Server{Key: key("m"), Cluster: "shop", Standing: ledger.Deposed}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "quarantine")
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				spoil(w)
				if names := run(t, w, dir, 3*time.Minute); len(names) != 0 || len(w.audit) != 0 {
					t.Errorf("files %v, audit %+v", names, w.audit)
				}
				if name == "the export fails" && (w.exports < 3 || w.exports > 8) {
					t.Errorf("%d attempts in three minutes", w.exports)
				}
			})
		})
	}
}

// A server's name cannot lead out of the directory.
func TestNamesStayInside(t *testing.T) {
	s := quarantine.New(quarantine.Config{Dir: "/data/quarantine", Now: time.Now}, nil, nil, nil, nil)
	for _, host := range []string{"../../etc/passwd", "..", "a/b", "fe80::1%eth0/.."} {
		path := s.Path(ledger.Server{Key: key(host), Cluster: "shop"})
		if filepath.Dir(path) != "/data/quarantine" {
			t.Errorf("%s becomes %s", host, path)
		}
	}
}
