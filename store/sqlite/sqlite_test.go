package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

var (
	noon = time.Date(2026, 3, 4, 12, 0, 0, 123, time.UTC)
	a    = topology.Key{Host: "db-a", Port: 3306}
	b    = topology.Key{Host: "2001:db8::1", Port: 3306}
)

func history() []ledger.Command {
	epoch := routes.Epoch{Generation: 7, Number: 1}
	step := ledger.Step{Name: "promote", Leader: "c1", StartedAt: noon, EndedAt: noon, Outcome: ledger.StepDone}
	return []ledger.Command{
		ledger.Bootstrap{ID: "prod", Generation: 7},
		ledger.AdoptMaster{Cluster: "shop", Master: a, UUID: "u", At: noon},
		ledger.RememberServers{Cluster: "shop", Servers: []ledger.ServerName{{Key: b}}, At: noon},
		ledger.ClaimRecovery{
			Cluster: "shop", RecoveryKind: ledger.Failover, Finding: "DeadMaster", Old: a, ExpectEpoch: epoch, Leader: "c1", At: noon,
		},
		ledger.ChooseWinner{Recovery: "shop-2", Winner: b, At: noon},
		ledger.RecordSteps{Recovery: "shop-2", Steps: []ledger.Step{step}},
		ledger.Announce{Recovery: "shop-2", At: noon},
		ledger.CloseRecovery{Recovery: "shop-2", Outcome: ledger.Completed, At: noon},
		ledger.Confirm{Confirmation: ledger.Confirmation{
			Receiver: ledger.Proxy, Name: "lb /%é", Cluster: "shop", Epoch: epoch.Next(), Revision: 2, At: noon,
		}},
		ledger.BeginDowntime{Server: a, Owner: "kim", Reason: "disk", Until: noon.Add(time.Hour), At: noon},
		ledger.BeginDowntime{Server: b, Owner: "kim", Reason: "disk", Until: noon.Add(time.Hour), At: noon},
		ledger.EndDowntime{Server: a, By: "kim", At: noon},
		ledger.SetPromotionRule{Server: b, Rule: "prefer", By: "kim", At: noon},
		ledger.PauseRecoveries{By: "kim", Reason: "network", At: noon},
		ledger.PauseRecoveries{Cluster: "shop", By: "kim", Reason: "trial", At: noon},
		ledger.MarkDatacenterDown{Datacenter: "dc1", By: "kim", Reason: "power", Until: noon.Add(time.Hour), At: noon},
		ledger.MarkDatacenterDown{Datacenter: "dc é", By: "kim", Reason: "power", Until: noon.Add(time.Hour), At: noon},
		ledger.MarkDatacenterUp{Datacenter: "dc1", By: "kim", At: noon},
		ledger.AckRecovery{Recovery: "shop-2", By: "kim", Comment: "seen", At: noon},
		ledger.SetDetached{Server: a, From: b, By: "kim", At: noon},
		ledger.OpenRelocation{
			Cluster: "shop", Finding: "DeadIntermediateMaster", Automatic: true, Subject: a, Leader: "c1", At: noon,
		},
		ledger.AppendAudit{Entries: []ledger.AuditEntry{
			{At: noon.Add(-time.Hour), Kind: ledger.AuditHook, Action: "x", By: "c1", Evidence: []string{"é"}},
			{At: noon, Kind: ledger.AuditHook, Action: "y", By: "c1"},
		}},
		ledger.PruneAudit{Before: noon},
	}
}

func open(t testing.TB, path string) *DB {
	t.Helper()
	d, err := Open(context.Background(), Config{Path: path, LedgerID: "prod", NodeID: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// fill applies a history to a new file, one transaction for each command.
func fill(t testing.TB, path string) ledger.State {
	t.Helper()
	d, err := Open(context.Background(), Config{Path: path, LedgerID: "prod", NodeID: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	var s ledger.State
	for i, cmd := range history() {
		next, changes, err := ledger.Apply(s, cmd)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Write(context.Background(), changes, Position{Index: uint64(i + 3), Term: 2}); err != nil {
			t.Fatal(err)
		}
		s = next
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheStateComesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd ?name%20#", "state.db")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	want := fill(t, path)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the file is elsewhere: %v", err)
	}
	got, at, err := open(t, path).Load(context.Background())
	if err != nil || !reflect.DeepEqual(got, want) || at != (Position{Index: uint64(len(history()) + 2), Term: 2}) {
		t.Fatalf("%+v came back as %+v at %+v, %v", want, got, at, err)
	}
	if len(got.Downtimes) != 1 || len(got.Rules) != 1 || len(got.Pauses) != 2 || len(got.Datacenters) != 1 || len(got.Audit) < 11 {
		t.Fatalf("a family is not tried: %+v", got)
	}
}

// A follower takes a whole state from its leader, and must hold the same.
func TestReplaceStoresEveryFamily(t *testing.T) {
	want := fill(t, filepath.Join(t.TempDir(), "state.db"))
	d := open(t, filepath.Join(t.TempDir(), "other.db"))
	if err := d.Replace(context.Background(), want, Position{Index: 90, Term: 3}); err != nil {
		t.Fatal(err)
	}
	got, _, err := d.Load(context.Background())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v came back as %+v, %v", want, got, err)
	}
}

// The newest ID must not be given again once its entry is forgotten.
func TestTheAuditGoesOnCounting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := fill(t, path)
	d := open(t, path)
	next, changes, err := ledger.Apply(s, ledger.PruneAudit{Before: noon.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Write(context.Background(), changes, Position{Index: 90, Term: 2}); err != nil {
		t.Fatal(err)
	}
	got, _, err := d.Load(context.Background())
	if err != nil || len(got.Audit) != 0 || got.LastAudit != s.LastAudit || !reflect.DeepEqual(got, next) {
		t.Fatalf("%+v came back as %+v, %v", next, got, err)
	}
}

// A file that the release before wrote has no tables for what came later.
func TestFileOfTheReleaseBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	first, err := migrations.ReadFile("migrations/001_records.sql")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		string(first), "PRAGMA user_version = 1", `INSERT INTO header VALUES ('', '{"id":"prod","generation":7}')`,
		"INSERT INTO meta VALUES (1, 'prod', 'c1', 9, 2)",
	} {
		if _, err := raw.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	got, at, err := again.Load(context.Background())
	if err != nil || at.Index != 9 || got.Generation != 7 || got.Audit != nil || got.Downtimes != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	_, changes, err := ledger.Apply(got, ledger.PauseRecoveries{By: "kim", Reason: "x", At: noon})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Write(context.Background(), changes, Position{Index: 1, Term: 1}); err != nil {
		t.Fatal(err)
	}
}

func TestReplaceLeavesNothingBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	fill(t, path)
	d := open(t, path)
	var want ledger.State
	for _, cmd := range []ledger.Command{
		ledger.Bootstrap{ID: "prod", Generation: 9}, ledger.AdoptMaster{Cluster: "blog", Master: b, At: noon},
	} {
		next, _, err := ledger.Apply(want, cmd)
		if err != nil {
			t.Fatal(err)
		}
		want = next
	}
	if err := d.Replace(context.Background(), want, Position{Index: 90, Term: 3}); err != nil {
		t.Fatal(err)
	}
	got, at, err := d.Load(context.Background())
	if err != nil || at.Index != 90 || got.Generation != 9 || !reflect.DeepEqual(got.Clusters, want.Clusters) {
		t.Fatalf("%+v at %+v, %v", got, at, err)
	}
	if len(got.Servers) != 1 || len(got.Recoveries) != 0 || len(got.Confirmations) != 0 {
		t.Fatalf("left behind: %+v", got)
	}
	if len(got.Downtimes)+len(got.Rules)+len(got.Pauses)+len(got.Datacenters)+len(got.Audit) != 0 || got.LastAudit != 0 {
		t.Fatalf("left behind: %+v", got)
	}
}

func TestWriteIsAllOrNothing(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "state.db"))
	err := d.Write(context.Background(), []ledger.Change{
		{Family: ledger.FamilyClusters, Key: "shop", Value: ledger.Cluster{Name: "shop"}}, {Family: "moons", Key: "x"},
	}, Position{Index: 5, Term: 1})
	if err == nil || !strings.Contains(err.Error(), `"moons"`) {
		t.Fatalf("an unknown family: %v", err)
	}
	if s, at, err := d.Load(context.Background()); err != nil || len(s.Clusters) != 0 || at.Index != 0 {
		t.Fatalf("half of it was stored: %+v at %+v, %v", s, at, err)
	}
}

func TestDeletedAndRewrittenInOneBatch(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "state.db"))
	first, second := ledger.Cluster{Name: "shop", Revision: 1}, ledger.Cluster{Name: "shop", Revision: 2}
	family := ledger.FamilyClusters
	err := d.Write(context.Background(), []ledger.Change{
		{Family: family, Key: "shop", Value: first}, {Family: family, Key: "shop", Value: second},
		{Family: family, Key: "blog", Value: ledger.Cluster{Name: "blog"}}, {Family: family, Key: "blog"},
	}, Position{Index: 1, Term: 1})
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := d.Load(context.Background())
	if err != nil || len(s.Clusters) != 1 || s.Clusters["shop"].Revision != 2 {
		t.Fatalf("%+v, %v", s.Clusters, err)
	}
}

func TestForeignFilesAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	fill(t, path)
	for _, tc := range []struct {
		cfg  Config
		want string
	}{
		{Config{Path: path, LedgerID: "test", NodeID: "c1"}, `of the cluster of controllers "prod", this one is of "test"`},
		{Config{Path: path, LedgerID: "prod", NodeID: "c2"}, `the controller "c1"'s, this one is "c2"`},
	} {
		_, err := Open(context.Background(), tc.cfg)
		if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "data directory") {
			t.Errorf("want %q, got %v", tc.want, err)
		}
	}
}

func TestDamage(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "state.db")
	fill(t, whole)
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for size := 0; size < len(data); size += 509 {
		path := filepath.Join(t.TempDir(), "state.db")
		if err := os.WriteFile(path, data[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(context.Background(), Config{Path: path, LedgerID: "prod", NodeID: "c1"})
		if size == 0 {
			if err != nil {
				t.Errorf("an empty file is a new one: %v", err)
			} else if err := d.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("cut to %d bytes: %v", size, err)
		}
	}
}

func TestDamagedRecordsAreNamed(t *testing.T) {
	for _, tc := range []struct{ statement, want string }{
		{"UPDATE clusters SET record = '{', sum = NULL", `clusters "shop"`},
		{"UPDATE clusters SET record = '{\"moon\":1}', sum = NULL", `unknown field "moon"`},
		{"UPDATE clusters SET key = 'blog', sum = NULL", `clusters "blog" holds the record of "shop"`},
		{"UPDATE downtimes SET key = 'db-z:1', sum = NULL", `downtimes "db-z:1" holds the record of`},
		{"UPDATE audit SET key = '99', sum = NULL WHERE key = '1'", `audit "99" holds the record of "1"`},
		{"UPDATE clusters SET record = json_replace(record, '$.revision', 9)", `the checksum of clusters "shop" does not fit`},
		{"UPDATE pauses SET key = 'blog' WHERE key = 'shop'", `the checksum of pauses "blog" does not fit`},
		{"UPDATE meta SET applied_index = applied_index - 1", "the checksum of meta does not fit"},
		{"DROP TABLE servers", "no such table: servers"},
		{"DELETE FROM meta", "no rows"},
	} {
		path := filepath.Join(t.TempDir(), "state.db")
		fill(t, path)
		d, err := Open(context.Background(), Config{Path: path, LedgerID: "prod", NodeID: "c1"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.db.Exec(tc.statement); err != nil {
			t.Fatal(err)
		}
		_, _, err = d.Load(context.Background())
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: want %q, got %v", tc.statement, tc.want, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestNewerReleaseAndDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	d := open(t, path)
	if _, err := d.db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := d.migrate(context.Background()); err == nil || !strings.Contains(err.Error(), "newer release") {
		t.Errorf("a file of a newer release: %v", err)
	}
	if _, err := Open(context.Background(), Config{Path: t.TempDir(), LedgerID: "p", NodeID: "c"}); err == nil {
		t.Error("a directory was opened")
	}
}

func BenchmarkWrite(bench *testing.B) {
	d := open(bench, filepath.Join(bench.TempDir(), "state.db"))
	var s ledger.State
	for _, cmd := range history()[:4] {
		next, changes, err := ledger.Apply(s, cmd)
		if err != nil {
			bench.Fatal(err)
		}
		if err := d.Write(context.Background(), changes, Position{}); err != nil {
			bench.Fatal(err)
		}
		s = next
	}
	_, changes, err := ledger.Apply(s, ledger.ChooseWinner{Recovery: "shop-2", Winner: b, At: noon})
	if err != nil {
		bench.Fatal(err)
	}
	for i := 0; bench.Loop(); i++ {
		if err := d.Write(context.Background(), changes, Position{Index: uint64(i), Term: 1}); err != nil {
			bench.Fatal(err)
		}
	}
}
