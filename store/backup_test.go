package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"switchyard/router/routes"
	"switchyard/store/codec"
	"switchyard/store/ledger"
)

// backedUp returns a backup of a ledger with some clusters.
func backedUp(t *testing.T) []byte {
	t.Helper()
	s := open(t, configs(t, 1)[0])
	leader(t, s)
	propose(t, s, adopt(1), adopt(2))
	data, err := s.Backup(bounded(t), false)
	if err != nil {
		t.Fatal(err)
	}
	closeNow(t, s)
	return data
}

func restore(cfg Config, data []byte, generation uint64) (Restoration, error) {
	return Restore(context.Background(), cfg, data, generation, quiet())
}

func TestOnlyTheLeaderBacksUpUnlessAskedForItsOwn(t *testing.T) {
	all := openAll(t, configs(t, 3))
	lead := leader(t, all...)
	propose(t, lead, adopt(1))
	data, err := lead.Backup(bounded(t), false)
	if err != nil {
		t.Fatal(err)
	}
	head, state, err := codec.DecodeBackup(data)
	if err != nil || !reflect.DeepEqual(state, lead.State()) || !head.Leader || head.Index == 0 {
		t.Fatalf("%+v, %v", head, err)
	}
	follower := others(all, lead)[0]
	if _, err := follower.Backup(bounded(t), false); !errors.Is(err, ErrNotLeader) {
		t.Errorf("a follower: %v", err)
	}
	eventually(t, "the follower follows", func() bool { return knows(follower, 1) })
	data, err = follower.Backup(bounded(t), true)
	if err != nil {
		t.Fatal(err)
	}
	if head, _, err := codec.DecodeBackup(data); err != nil || head.Leader || head.Controller != follower.cfg.ID {
		t.Errorf("%+v, %v", head, err)
	}
}

// TestRestoredLedgerIssuesNoEpochTwice goes on from a backup after a failover that
// the backup does not know.
func TestRestoredLedgerIssuesNoEpochTwice(t *testing.T) {
	cfgs := configs(t, 1)
	old := open(t, cfgs[0])
	leader(t, old)
	propose(t, old, adopt(1))
	data, err := old.Backup(bounded(t), false)
	if err != nil {
		t.Fatal(err)
	}
	claim := ledger.ClaimRecovery{Cluster: "shop-1", RecoveryKind: ledger.Switchover, Finding: "asked", Old: server(1),
		ExpectEpoch: old.State().Clusters["shop-1"].Epoch, Leader: "c1", At: noon}
	propose(t, old, claim)
	issued := old.State().Clusters["shop-1"].Epoch
	closeNow(t, old)

	cfg := cfgs[0]
	cfg.DataDir = filepath.Join(t.TempDir(), "new")
	cfg.Now = func() time.Time { return noon.Add(time.Hour) }
	done, err := restore(cfg, data, 0)
	if err != nil || done.Generation != uint64(noon.Add(time.Hour).Unix()) || !reflect.DeepEqual(done.Held, []string{"shop-1"}) {
		t.Fatalf("%+v, %v", done, err)
	}
	s := open(t, cfg)
	leader(t, s)
	if state := s.State(); len(state.Clusters) != 0 || len(state.Held) != 1 {
		t.Fatalf("it acts before anything was adopted: %+v", state)
	}
	if err := s.Propose(bounded(t), claim); err == nil {
		t.Error("a recovery of a cluster was claimed that is not adopted anew")
	}
	propose(t, s, adopt(1))
	if got := s.State().Clusters["shop-1"].Epoch; got.Compare(issued) <= 0 || got.Generation != done.Generation {
		t.Errorf("epoch %s after %s", got, issued)
	}
	// It is there after a restart, from SQLite and from raft's files.
	closeNow(t, s)
	again := open(t, cfg)
	leader(t, again)
	if got := again.State(); got.Clusters["shop-1"].Epoch.Compare(routes.Epoch{}) <= 0 || len(got.Held) != 0 {
		t.Errorf("after a restart: %+v", got)
	}
	propose(t, again, adopt(7))
}

// TestRestoreOnAllControllers has all three begin with the same entry.
func TestRestoreOnAllControllers(t *testing.T) {
	data, cfgs := backedUp(t), configs(t, 3)
	first, err := restore(cfgs[0], data, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range cfgs[1:] {
		// Later, on a machine with another clock.
		cfg.Now = func() time.Time { return noon.Add(24 * time.Hour) }
		if done, err := restore(cfg, data, first.Generation); err != nil || !reflect.DeepEqual(done, first) {
			t.Fatalf("%+v, %v", done, err)
		}
	}
	all := openAll(t, cfgs)
	for _, s := range all {
		if !reflect.DeepEqual(s.State(), all[0].State()) {
			t.Errorf("%s begins with another state", s.cfg.ID)
		}
	}
	lead := leader(t, all...)
	propose(t, lead, adopt(1), adopt(9))
	for _, s := range all {
		eventually(t, s.cfg.ID+" follows", func() bool { return knows(s, 9) && len(s.State().Held) == 1 })
	}
}

// TestRestoreOnOneController has two fresh ones join, also after they have begun a
// ledger of their own meanwhile: what was restored wins.
func TestRestoreOnOneController(t *testing.T) {
	data := backedUp(t)
	for _, begun := range []bool{false, true} {
		cfgs := configs(t, 3)
		for i := range cfgs { // they elect by themselves, more than once
			cfgs[i].Timeouts = Timeouts{Heartbeat: 800 * time.Millisecond, Election: 800 * time.Millisecond, LeaderLease: 700 * time.Millisecond}
		}
		done, err := restore(cfgs[0], data, 0)
		if err != nil {
			t.Fatal(err)
		}
		all := []*Store{nil, open(t, cfgs[1]), nil}
		if begun {
			all[2] = open(t, cfgs[2])
			adopted(t, 5, all[1:]...)
		}
		all[0] = open(t, cfgs[0])
		if !begun {
			all[2] = open(t, cfgs[2])
		}
		for _, s := range all {
			eventually(t, s.cfg.ID+" has the restored ledger", func() bool {
				return s.State().Generation == done.Generation && len(s.State().Held) == 2 && !knows(s, 5)
			})
		}
		adopted(t, 1, all...)
		for _, s := range all {
			eventually(t, s.cfg.ID+" follows", func() bool { return knows(s, 1) })
		}
	}
}

func TestRestoreRefusals(t *testing.T) {
	data, cfg := backedUp(t), configs(t, 1)[0]
	foreign, early, joining := cfg, cfg, cfg
	foreign.LedgerID, joining.Join = "test", true
	early.Now = func() time.Time { return noon.Add(-time.Hour) }
	damaged := bytes.Clone(data)
	damaged[len(data)/2] ^= 1
	for name, tc := range map[string]struct {
		cfg        Config
		data       []byte
		generation uint64
		want       string
	}{
		"another name":      {foreign, data, 0, `of the cluster of controllers "prod", and name is "test"`},
		"one that joins":    {joining, data, 0, "remove join"},
		"damaged":           {cfg, damaged, 0, "its checksum does not fit"},
		"cut":               {cfg, data[:len(data)-1], 0, "damaged"},
		"newer":             {cfg, bytes.Replace(data, []byte("backup 1"), []byte("backup 2"), 1), 0, "use the release that wrote it"},
		"no backup":         {cfg, []byte("hello\n"), 0, "does not begin as a backup"},
		"old generation":    {cfg, data, uint64(noon.Unix()), "epochs of it may have been issued"},
		"no time":           {cfg, data, 1 << 62, "want seconds since 1970"},
		"clock that is old": {early, data, 0, "behind the backup"},
	} {
		if _, err := restore(tc.cfg, tc.data, tc.generation); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: want %q, got %v", name, tc.want, err)
		}
		if _, err := os.Stat(tc.cfg.DataDir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the data directory was touched: %v", name, err)
		}
	}
	for _, name := range []string{"words.json", stateName, filepath.Join(raftName, metaName), filepath.Join(snapshotsName, "x")} {
		cfg.DataDir = t.TempDir()
		path := filepath.Join(cfg.DataDir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := restore(cfg, data, 0); err == nil || !strings.Contains(err.Error(), "not empty") {
			t.Errorf("%s is there: %v", name, err)
		}
	}
	// A controller that runs holds its directory, and one that has run is not empty.
	cfg.DataDir = filepath.Join(t.TempDir(), "data")
	open(t, cfg)
	if _, err := restore(cfg, data, 0); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a directory in use: %v", err)
	}
}

// TestRestoreThatBrokeOff is refused at the next start, and not taken for a new
// controller's directory.
func TestRestoreThatBrokeOff(t *testing.T) {
	data, cfg := backedUp(t), configs(t, 1)[0]
	if _, err := restore(cfg, data, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(cfg.DataDir, snapshotsName)), os.Remove(filepath.Join(cfg.DataDir, stateName))); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(cfg, quiet()); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v, %v", s, err)
	}
}
