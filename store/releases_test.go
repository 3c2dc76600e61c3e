package store

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// freeze adds data directories of the present format. Those that are there are never
// written again: they are what was once released.
var freeze = flag.String("freeze", "", "write data directories of this commit to testdata/datadir-NAME, which must not exist; names count on")

// thaw unpacks the data directories of three controllers that were killed, and says
// how they are opened, at addresses of this machine.
func thaw(t *testing.T, name, ledgerID string) []Config {
	t.Helper()
	cfgs := configs(t, 3)
	for i := range cfgs {
		cfgs[i].LedgerID = ledgerID
		dir := t.TempDir()
		if err := unpack(filepath.Join("testdata", "datadir-"+name, cfgs[i].ID+".tar.gz"), dir); err != nil {
			t.Fatal(err)
		}
		cfgs[i].DataDir = filepath.Join(dir, "data")
	}
	return cfgs
}

func unpack(from, to string) (err error) {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	packed, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	archive := tar.NewReader(packed)
	for {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(to, filepath.Clean("/"+head.Name))
		if head.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(path, 0o700); err != nil {
				return err
			}
			continue
		}
		out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, archive)
		if err := errors.Join(err, out.Close()); err != nil {
			return err
		}
	}
}

func pack(from, to string) (err error) {
	file, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	packed, _ := gzip.NewWriterLevel(file, gzip.BestCompression)
	archive := tar.NewWriter(packed)
	return errors.Join(archive.AddFS(os.DirFS(from)), archive.Close(), packed.Close(), file.Close())
}

// goOn opens the three, which must elect a leader, commit, agree and open once more.
func goOn(t *testing.T, cfgs []Config) {
	t.Helper()
	all := openAll(t, cfgs)
	adoptAll(t, 1, 3, all...)
	for _, s := range all {
		eventually(t, s.cfg.ID+" follows", func() bool { return knows(s, 1) && knows(s, 2) && knows(s, 3) })
	}
	agree(t, all...)
	for _, s := range all {
		closeNow(t, s)
	}
	for _, cfg := range cfgs {
		s := open(t, cfg)
		if !knows(s, 3) {
			t.Errorf("%s: what was committed is gone after a restart", cfg.ID)
		}
		closeNow(t, s)
	}
}

// The three controllers of commit f4f0ad5, with MariaDB servers, HAProxy and Consul:
// the first master was killed, the one that had replaced it was replaced as planned,
// and then all controllers were killed by signal 9.
func TestDataDirectoriesOfTheFirstCommit(t *testing.T) {
	cfgs := thaw(t, "f4f0ad5", "site")
	db := func(n int) topology.Key { return topology.Key{Host: fmt.Sprintf("127.0.238.%d", n), Port: 3306} }
	epoch := routes.Epoch{Generation: 1795200060, Number: 3}
	for _, cfg := range cfgs {
		s := open(t, cfg)
		got := s.State()
		shop, failover, switchover := got.Clusters["shop"], got.Recoveries["shop-2"], got.Recoveries["shop-3"]
		if got.ID != "site" || got.Generation != epoch.Generation || len(got.Clusters) != 1 || len(got.Recoveries) != 2 || len(got.Servers) != 3 {
			t.Errorf("%s: %+v", cfg.ID, got)
		}
		if shop.Master != db(3) || shop.Epoch != epoch || shop.Revision != 2 || shop.Withdrawn || shop.Recovery != "" {
			t.Errorf("%s: %+v", cfg.ID, shop)
		}
		if failover.Kind != ledger.Failover || failover.Finding != "DeadMaster" || failover.Old != db(1) || failover.Winner != db(2) ||
			failover.Outcome != ledger.Completed || !failover.Automatic || len(failover.Steps) < 8 {
			t.Errorf("%s: %+v", cfg.ID, failover)
		}
		if switchover.Kind != ledger.Switchover || switchover.Old != db(2) || switchover.Winner != db(3) || switchover.Leader != "c1" ||
			switchover.Outcome != ledger.Completed || !switchover.Announced || len(switchover.Steps) != 13 {
			t.Errorf("%s: %+v", cfg.ID, switchover)
		}
		if v := got.Servers[db(1)]; v.Standing != ledger.Quarantined || v.Extra != "0-1-266" {
			t.Errorf("%s: %+v", cfg.ID, v)
		}
		for _, key := range []ledger.ConfirmationKey{
			{Receiver: ledger.Proxy, Name: "ha1", Cluster: "shop"}, {Receiver: ledger.Consul, Name: "dc1", Cluster: "shop"},
		} {
			if c := got.Confirmations[key]; c.Epoch != epoch || c.Revision != 2 {
				t.Errorf("%s: %+v", cfg.ID, c)
			}
		}
		closeNow(t, s)
	}
	goOn(t, cfgs)
}

// history is what the controllers of later fixtures were told.
func history() []ledger.Command {
	var out []ledger.Command
	for n := 1001; n <= 1120; n++ {
		out = append(out, adopt(n))
	}
	epoch := routes.Epoch{Generation: uint64(noon.Unix()), Number: 1}
	a, b := server(1001), topology.Key{Host: "2001:db8::1", Port: 3307}
	step := ledger.Step{Name: "promote", Subject: b, Leader: "c1", StartedAt: noon, EndedAt: noon, Outcome: ledger.StepDone}
	return append(out,
		ledger.RememberServers{Cluster: "shop-1001", Servers: []ledger.ServerName{{Key: b, UUID: "u-b"}}, At: noon},
		ledger.ClaimRecovery{Cluster: "shop-1001", RecoveryKind: ledger.Failover, Finding: "DeadMaster", Evidence: []string{"gone"},
			Automatic: true, Old: a, ExpectEpoch: epoch, Leader: "c1", At: noon},
		ledger.ChooseWinner{Recovery: "shop-1001-2", Winner: b, Reason: "only one", Durability: "not proven", At: noon},
		ledger.RecordSteps{Recovery: "shop-1001-2", Steps: []ledger.Step{step}},
		ledger.Announce{Recovery: "shop-1001-2", MasterUUID: "u-b", At: noon},
		ledger.CloseRecovery{Recovery: "shop-1001-2", Outcome: ledger.Completed, Lost: []topology.Key{a}, At: noon},
		ledger.SetStanding{Server: a, Standing: ledger.Quarantined, Extra: "u-a:1-3", At: noon},
		ledger.Confirm{Confirmation: ledger.Confirmation{Receiver: ledger.Proxy, Name: "lb/1 é", Cluster: "shop-1001", Epoch: epoch.Next(), Revision: 2, At: noon}},
		ledger.BeginDowntime{Server: a, Owner: "kim", By: "api", Reason: "disk", Until: noon.AddDate(1, 0, 0), At: noon},
		ledger.SetPromotionRule{Server: b, Rule: "prefer", By: "kim", Reason: "fast", At: noon},
		ledger.PauseRecoveries{Cluster: "shop-1002", By: "kim", Reason: "network", At: noon},
		ledger.AckRecovery{Recovery: "shop-1001-2", By: "kim", Comment: "seen", At: noon},
	)
}

// expect holds a state against what history leads to.
func expect(t *testing.T, got ledger.State) {
	t.Helper()
	a, b := server(1001), topology.Key{Host: "2001:db8::1", Port: 3307}
	shop, rec := got.Clusters["shop-1001"], got.Recoveries["shop-1001-2"]
	if got.ID != "prod" || got.Generation != uint64(noon.Unix()) || len(got.Clusters) != 120 || len(got.Servers) != 121 {
		t.Errorf("%q, generation %d, %d clusters, %d servers", got.ID, got.Generation, len(got.Clusters), len(got.Servers))
	}
	if shop.Master != b || shop.MasterUUID != "u-b" || shop.Epoch.Number != 2 || shop.Revision != 2 || shop.Withdrawn {
		t.Errorf("%+v", shop)
	}
	if rec.Outcome != ledger.Completed || rec.Winner != b || len(rec.Steps) != 1 || rec.Durability != "not proven" || rec.Ack == nil ||
		!slices.Equal(rec.Lost, []topology.Key{a}) {
		t.Errorf("%+v", rec)
	}
	if v := got.Servers[a]; v.Standing != ledger.Quarantined || v.Extra != "u-a:1-3" {
		t.Errorf("%+v", v)
	}
	if got.Confirmations[ledger.ConfirmationKey{Receiver: ledger.Proxy, Name: "lb/1 é", Cluster: "shop-1001"}].Revision != 2 {
		t.Errorf("%+v", got.Confirmations)
	}
	if got.Downtimes[a].Owner != "kim" || got.Rules[b].Rule != "prefer" || got.Pauses["shop-1002"].Reason != "network" || len(got.Audit) < 5 {
		t.Errorf("%+v %+v %+v %d", got.Downtimes, got.Rules, got.Pauses, len(got.Audit))
	}
}

// Later fixtures have snapshots, a log that was cut, and every family of records; a
// directory of each is copied while its controller runs, as a crash would leave it.
func TestDataDirectoriesOfLaterCommits(t *testing.T) {
	if *freeze != "" {
		freezeAs(t, *freeze)
	}
	dirs, err := filepath.Glob(filepath.Join("testdata", "datadir-*"))
	if err != nil || len(dirs) < 2 {
		t.Fatalf("%v, %v", dirs, err)
	}
	for _, dir := range dirs {
		name := filepath.Base(dir)[len("datadir-"):]
		if name == "f4f0ad5" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			cfgs := thaw(t, name, "prod")
			for _, cfg := range cfgs {
				s := open(t, cfg)
				expect(t, s.State())
				closeNow(t, s)
			}
			goOn(t, cfgs)
		})
	}
}

func freezeAs(t *testing.T, name string) {
	dir := filepath.Join("testdata", "datadir-"+name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatalf("a fixture is never written again: %v", err)
	}
	cfgs := configs(t, 3)
	for i := range cfgs {
		cfgs[i].Compaction = Compaction{Every: 20 * time.Millisecond, Entries: 50, Keep: 20, SegmentBytes: 64 << 10}
	}
	all := openAll(t, cfgs)
	lead := leader(t, all...)
	propose(t, lead, history()...)
	agree(t, all...)
	for _, s := range all {
		eventually(t, "a snapshot", func() bool { list, err := s.disk.snapshots.List(); return err == nil && len(list) > 0 })
	}
	for _, s := range all {
		// Once with a copy that is whole: nothing changes while it is made.
		copied := filepath.Join(t.TempDir(), "x")
		copyDir(t, s.cfg.DataDir, filepath.Join(copied, "data"))
		if err := pack(copied, filepath.Join(dir, s.cfg.ID+".tar.gz")); err != nil {
			t.Fatal(err)
		}
	}
}
