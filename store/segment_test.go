package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
)

const smallSegment = 64 << 10

func openRaw(t testing.TB, dir string) *wal.WAL {
	t.Helper()
	log, err := wal.Open(dir, wal.WithSegmentSize(smallSegment), wal.WithLogger(newRaftLogger(quiet())))
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func logEntry(index uint64) *raft.Log {
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: []byte(fmt.Sprint(index, strings.Repeat("x", 1500)))}
}

// caughtRotating makes a log whose first file is full and has its index, and whose
// next file is not begun: what is there when the process ends between the two. It
// returns the file, and the last entry in it.
func caughtRotating(t testing.TB) (dir, file string, last uint64) {
	t.Helper()
	dir = t.TempDir()
	log := openRaw(t, dir)
	files := func() []string {
		all, err := filepath.Glob(filepath.Join(dir, "*.wal"))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for len(files()) < 2 {
		last++
		if err := log.StoreLog(logEntry(last)); err != nil {
			t.Fatal(err)
		}
		if last > 100 {
			t.Fatal("no second file is begun")
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	meta := &metadb.BoltMetaDB{}
	state, err := meta.Load(dir)
	if err != nil || len(state.Segments) != 2 {
		t.Fatalf("%+v, %v", state, err)
	}
	last = state.Segments[0].MaxIndex
	state.Segments = state.Segments[:1]
	state.Segments[0].SealTime, state.Segments[0].MaxIndex, state.Segments[0].IndexStart = time.Time{}, 0, 0
	state.NextSegmentID--
	if err := errors.Join(meta.CommitState(state), meta.Close(), os.Remove(files()[1])); err != nil {
		t.Fatal(err)
	}
	return dir, files()[0], last
}

// goesOn opens a log, which must hold all entries up to one, and take more.
func goesOn(t testing.TB, label, dir string, least, most uint64) {
	t.Helper()
	log := openRaw(t, dir)
	defer func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}()
	last, err := log.LastIndex()
	if err != nil || last < least || last > most {
		t.Fatalf("%s: it ends at %d, want %d to %d: %v", label, last, least, most, err)
	}
	for index := uint64(1); index <= last; index++ {
		var got raft.Log
		if err := log.GetLog(index, &got); err != nil || string(got.Data) != string(logEntry(index).Data) {
			t.Fatalf("%s: entry %d is %.20q, %v", label, index, got.Data, err)
		}
	}
	// Over the end of the next file, too.
	for index := last + 1; index <= last+60; index++ {
		if err := log.StoreLog(logEntry(index)); err != nil {
			t.Fatalf("%s: entry %d: %v", label, index, err)
		}
	}
}

func TestALogCaughtRotatingGoesOn(t *testing.T) {
	dir, _, last := caughtRotating(t)
	// Without help it does not, which is why there is any; once it does, there need be none.
	log := openRaw(t, dir)
	if err := log.StoreLog(logEntry(last + 1)); !errors.Is(err, wal.ErrSealed) {
		t.Errorf("raft-wal goes on by itself: %v", err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // The second time there is nothing to do.
		if err := finishRotation(dir, smallSegment); err != nil {
			t.Fatal(err)
		}
	}
	goesOn(t, "with its whole index", dir, last, last)
}

// The write of the last entry and of the index may be torn anywhere: what was
// committed before is there, and the log goes on.
func TestATornIndexIsRemoved(t *testing.T) {
	made, path, last := caughtRotating(t)
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	end, err := readSegment(file)
	if err := errors.Join(err, file.Close()); err != nil || end.index == 0 || end.previous == nil {
		t.Fatalf("%+v, %v", end, err)
	}
	from, to := end.previous.end(), end.last.end()
	for at := from; at < to; at += 8 + (to-from)/12/8*8 {
		dir := filepath.Join(t.TempDir(), "log")
		copyDir(t, made, dir)
		torn, err := os.OpenFile(filepath.Join(dir, filepath.Base(path)), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(wipe(torn, at), torn.Close(), finishRotation(dir, smallSegment)); err != nil {
			t.Fatal(err)
		}
		goesOn(t, fmt.Sprintf("torn at %d of %d to %d", at, from, to), dir, last-1, last-1)
	}
	// Bytes that were not written although those after them were.
	dir := filepath.Join(t.TempDir(), "log")
	copyDir(t, made, dir)
	holed, err := os.OpenFile(filepath.Join(dir, filepath.Base(path)), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = holed.WriteAt(make([]byte, 64), from+128)
	if err := errors.Join(err, holed.Close(), finishRotation(dir, smallSegment)); err != nil {
		t.Fatal(err)
	}
	goesOn(t, "with a hole", dir, last-1, last-1)
}
