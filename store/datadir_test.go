package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"switchyard/e2e/ports"
	"switchyard/store/ledger"
)

// single describes one controller that elects itself quickly.
func single(t testing.TB) Config {
	t.Helper()
	cfg := configs(t, 1)[0]
	cfg.Timeouts = quick()
	cfg.Compaction = Compaction{Every: 10 * time.Millisecond, Entries: 100, Keep: 150, SegmentBytes: 64 << 10}
	return cfg
}

// refuses opens cfg, which must fail with want.
func refuses(t testing.TB, cfg Config, want error, parts ...string) {
	t.Helper()
	s, err := Open(cfg, quiet())
	if err == nil {
		closeNow(t, s)
		t.Fatalf("opened, want %v", want)
	}
	if want != nil && !errors.Is(err, want) {
		t.Fatalf("want %v, got %v", want, err)
	}
	if strings.HasPrefix(err.Error(), "store: ") {
		t.Errorf("whoever opened it says so, too: %v", err)
	}
	for _, part := range append(parts, cfg.DataDir) {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
}

func TestSingleControllerRestarts(t *testing.T) {
	cfg := single(t)
	s := open(t, cfg)
	watch, cancel := s.Watch()
	defer cancel()
	lead := leader(t, s)
	propose(t, lead, adopt(1), adopt(2))
	<-watch
	want := s.State()
	closeNow(t, s)
	again := open(t, cfg)
	if !reflect.DeepEqual(again.State(), want) {
		t.Errorf("%+v came back as %+v", want, again.State())
	}
	leader(t, again)
	if got := again.State().Generation; got != want.Generation {
		t.Errorf("the generation moved from %d to %d", want.Generation, got)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	s := open(t, single(t))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	leader(t, s)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := s.Propose(context.Background(), adopt(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("Propose after Run: %v", err)
	}
}

func TestDataDirectoryIsLocked(t *testing.T) {
	cfg := single(t)
	s := open(t, cfg)
	second := single(t)
	second.DataDir = cfg.DataDir
	refuses(t, second, ErrLocked, "stop it")
	closeNow(t, s)
	closeNow(t, open(t, second))
}

func TestDataDirectoryOfAnother(t *testing.T) {
	cfgs := configs(t, 3)
	cfg := cfgs[0]
	closeNow(t, open(t, cfg))

	ledgerOfOthers := cfg
	ledgerOfOthers.LedgerID = "test"
	refuses(t, ledgerOfOthers, ErrForeign, `"prod"`, `"test"`, "data directory of its own")
	node := cfgs[1]
	node.DataDir = cfg.DataDir
	refuses(t, node, ErrForeign, `"c1"`, `"c2"`)
	fewer := cfg
	fewer.Peers = cfg.Peers[:2]
	refuses(t, fewer, ErrForeign, `["c1" "c2" "c3"]`, "correct peers")

	// SQLite's file, which knows its owner, is gone; the log still tells.
	if err := os.Remove(filepath.Join(cfg.DataDir, stateName)); err != nil {
		t.Fatal(err)
	}
	refuses(t, fewer, ErrForeign, "correct peers")
	moved := cfgs[0]
	moved.Peers = append([]Peer(nil), cfg.Peers...)
	moved.Peers[0].RaftAddress = ports.Free(t, 1)[0]
	moved.Bind, moved.Advertise = moved.Peers[0].RaftAddress, ""
	closeNow(t, open(t, moved))
}

func TestTheLogOfAnotherCluster(t *testing.T) {
	cfg := single(t)
	s := open(t, cfg)
	leader(t, s)
	closeNow(t, s)
	if err := os.Remove(filepath.Join(cfg.DataDir, stateName)); err != nil {
		t.Fatal(err)
	}
	cfg.LedgerID = "test"
	other := open(t, cfg)
	if err := other.Run(bounded(t)); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), `"prod"`) {
		t.Errorf("the log of another cluster: %v", err)
	}
}

func TestUnusableDirectoriesAndAddresses(t *testing.T) {
	cfg := single(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	inFile := cfg
	inFile.DataDir = filepath.Join(file, "data")
	refuses(t, inFile, nil, "data_dir", "name a directory")

	s := open(t, cfg)
	taken := cfg
	taken.DataDir = filepath.Join(t.TempDir(), "other")
	if _, err := Open(taken, quiet()); err == nil || !strings.HasPrefix(err.Error(), "bind.raft") {
		t.Errorf("a port that is taken: %v", err)
	}
	closeNow(t, s)
	elsewhere := cfg
	elsewhere.Bind = "192.0.2.1:7000"
	if _, err := Open(elsewhere, quiet()); err == nil || !strings.HasPrefix(err.Error(), "bind.raft") {
		t.Errorf("an address of another machine: %v", err)
	}
}

// TestUndecodableCommand holds that a controller that does not understand a
// command stops, and applies nothing that comes after it.
func TestUndecodableCommand(t *testing.T) {
	for name, c := range map[string]struct {
		entry  raft.Log
		why    error
		remedy string
	}{
		"unknown kind":    {raft.Log{Data: []byte("\x01{\"kind\":\"dance\",\"command\":{}}")}, ErrNewer, "run the release"},
		"unknown version": {raft.Log{Data: []byte("\x02whatever")}, ErrNewer, "run the release"},
		"unknown field": {raft.Log{Data: []byte("\x01{\"kind\":\"prune-audit\",\"command\":{\"before\":\"2026-03-04T05:06:07Z\",\"moon\":1}}")},
			ErrNewer, "run the release"},
		"damaged bytes": {raft.Log{Data: []byte("\x01{}"), Extensions: []byte("none")}, ErrDamaged, "remove the directory"},
	} {
		t.Run(name, func(t *testing.T) {
			entry := c.entry
			cfg := single(t)
			s := open(t, cfg)
			leader(t, s)
			propose(t, s, adopt(1))
			if entry.Extensions == nil {
				entry.Extensions = checksum(entry.Data)
			}
			future := s.raft.ApplyLog(entry, time.Second)
			if err := future.Error(); err == nil && future.Response() == nil {
				t.Fatal("the command was applied")
			}
			if err := s.Propose(bounded(t), adopt(2)); err == nil {
				t.Error("a command after it was accepted")
			}
			err := s.Run(bounded(t))
			if err == nil || !strings.Contains(err.Error(), "raft entry") || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Run returned %v", err)
			}
			if knows(s, 2) || !knows(s, 1) {
				t.Error("it carried on")
			}
			refuses(t, cfg, c.why, "raft entry", c.remedy)
		})
	}
}

func TestDiskThatFails(t *testing.T) {
	s := open(t, single(t))
	leader(t, s)
	if err := s.disk.db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Propose(bounded(t), adopt(1)); err == nil {
		t.Error("a command was applied without a state to apply it to")
	}
	if err := s.Run(bounded(t)); err == nil || !strings.Contains(err.Error(), "state.db") {
		t.Errorf("Run returned %v", err)
	}
}

func TestLogThatFails(t *testing.T) {
	s := open(t, single(t))
	leader(t, s)
	failing := &guardedLog{WAL: s.disk.log, fail: s.stop.fail}
	failing.armed.Store(true)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// Not the next index: raft-wal refuses it as it would a write error.
		_ = failing.StoreLog(&raft.Log{Index: 1 << 40})
		t.Error("raft would have gone on")
	}()
	<-ended
	if err := s.Run(bounded(t)); err == nil || !strings.Contains(err.Error(), "raft log: append") {
		t.Errorf("Run returned %v", err)
	}
}

// populate makes a data directory with snapshots, several segments and a state
// that is ahead of the snapshot, and returns the state. The directory is copied
// while the controller runs, as a crash would leave it, and after its end.
func populate(t *testing.T) (cfg Config, crashed, stopped string, want ledger.State) {
	t.Helper()
	cfg = single(t)
	s := open(t, cfg)
	leader(t, s)
	for round := range 3 {
		var results []<-chan error
		for n := range 150 {
			results = append(results, s.ProposeAsync(bounded(t), ledger.AdoptMaster{
				Cluster: fmt.Sprintf("shop-%d", 150*round+n+1), Master: server(150*round + n + 1),
				UUID: strings.Repeat("u", 200), At: noon,
			}))
		}
		for _, result := range results {
			if err := <-result; err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "a snapshot", func() bool {
			list, err := s.disk.snapshots.List()
			return err == nil && len(list) > 0 && list[0].Index+100 > uint64(150*(round+1))
		})
	}
	eventually(t, "the log is cut", func() bool {
		first, err := s.disk.log.FirstIndex()
		return err == nil && first > 200
	})
	propose(t, s, adopt(1000), adopt(1001))
	crashed, stopped = filepath.Join(t.TempDir(), "crashed"), filepath.Join(t.TempDir(), "stopped")
	copyDir(t, cfg.DataDir, crashed)
	want = s.State()
	closeNow(t, s)
	copyDir(t, cfg.DataDir, stopped)
	return cfg, crashed, stopped, want
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// files lists what could be damaged.
func files(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	found := map[string]int64{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == lockName {
			return err
		}
		info, err := entry.Info()
		name, relErr := filepath.Rel(dir, path)
		found[name] = info.Size()
		return errors.Join(err, relErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestTruncatedFiles cuts every file of a data directory at several lengths.
// What opens must come up with everything that was acknowledged; whatever else
// must be refused with a way out. A length of -1 removes the file.
func TestTruncatedFiles(t *testing.T) {
	cfg, crashed, stopped, want := populate(t)
	recovered, refused := 0, 0
	for _, image := range []string{crashed, stopped} {
		for name, size := range files(t, image) {
			for _, length := range []int64{-1, 0, 1, 4096, size / 2, size - 1, size} {
				if length > size || length == size && name != stateName {
					continue
				}
				label := fmt.Sprintf("%s of %s cut to %d", name, filepath.Base(image), length)
				opened := survives(t, cfg, image, label, func(dir string) error {
					if length < 0 {
						return os.Remove(filepath.Join(dir, name))
					}
					return os.Truncate(filepath.Join(dir, name), length)
				}, want)
				if opened {
					recovered++
				} else {
					refused++
				}
			}
		}
	}
	t.Logf("%d recovered, %d refused", recovered, refused)
	if recovered < 10 || refused < 10 {
		t.Errorf("%d recovered and %d refused: the cases are not what they were meant to be", recovered, refused)
	}
}

// TestOverwrittenFiles puts a block of rubbish into every file at several places.
func TestOverwrittenFiles(t *testing.T) {
	cfg, _, stopped, want := populate(t)
	recovered, refused := 0, 0
	for name, size := range files(t, stopped) {
		for part := range int64(6) {
			for _, rubbish := range []byte{0x00, 0xFF} {
				label := fmt.Sprintf("%s overwritten with %x at %d/6", name, rubbish, part)
				opened := survives(t, cfg, stopped, label, func(dir string) error {
					file, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
					if err != nil {
						return err
					}
					_, err = file.WriteAt(bytes.Repeat([]byte{rubbish}, int(min(512, size))), size*part/6)
					return errors.Join(err, file.Close())
				}, want)
				if opened {
					recovered++
				} else {
					refused++
				}
			}
		}
	}
	t.Logf("%d recovered, %d refused", recovered, refused)
	if recovered == 0 || refused < 10 {
		t.Errorf("%d recovered and %d refused: the cases are not what they were meant to be", recovered, refused)
	}
}

// survives reports whether a copy of image, after the damage, opens with the
// whole state; if not, it must be refused properly.
func survives(
	t *testing.T, cfg Config, image, label string, damage func(dir string) error, want ledger.State,
) bool {
	t.Helper()
	cfg.DataDir = filepath.Join(t.TempDir(), "data")
	copyDir(t, image, cfg.DataDir)
	if err := damage(cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	s, err := Open(cfg, quiet())
	if err != nil {
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "remove the directory") {
			t.Errorf("%s: %v", label, err)
		}
		return false
	}
	defer closeNow(t, s)
	deadline := time.Now().Add(patience)
	for !reflect.DeepEqual(s.State(), want) || !s.IsLeader() {
		if time.Now().After(deadline) || s.Err() != nil {
			t.Errorf("%s: opened with %d of %d clusters: %v", label, len(s.State().Clusters), len(want.Clusters), s.Err())
			return true
		}
		time.Sleep(time.Millisecond)
	}
	propose(t, s, adopt(2000))
	return true
}
