package ctl_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchyard/controller/ctl"
	"switchyard/store/codec"
	"switchyard/store/ledger"
)

// saver gives a backup, whole or damaged.
type saver struct {
	*controller
	data  []byte
	local bool
}

func (s *saver) Backup(_ context.Context, local bool) ([]byte, error) {
	s.local = local
	return s.data, nil
}

func TestBackupIsWrittenWholeOrNotAtAll(t *testing.T) {
	state, _, err := ledger.Apply(ledger.State{}, ledger.Bootstrap{ID: "prod", Generation: 7})
	if err != nil {
		t.Fatal(err)
	}
	head := codec.BackupHead{Index: 41, Controller: "c1", Leader: true, TakenAt: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	data, err := codec.EncodeBackup(head, state)
	if err != nil {
		t.Fatal(err)
	}
	s := &saver{controller: &controller{id: "c1", leader: "c1"}, data: data}
	env := map[string]string{ctl.Environment: start(t, s, nil)}
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.backup")
	out, err := call(t.Context(), env, "backup", "--out", path)
	if err != nil || !strings.Contains(out, `the ledger of "prod", generation 7, up to entry 41, by c1 at 2026-03-04T05:06:07Z`) || s.local {
		t.Errorf("%v: %s", err, out)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != string(data) {
		t.Errorf("%v: %d bytes of %d", err, len(got), len(data))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v: everybody may read it: %v", err, info)
	}
	if _, err := call(t.Context(), env, "backup", "--out", path); err == nil || !strings.Contains(err.Error(), "it exists") {
		t.Errorf("overwritten: %v", err)
	}
	if _, err := call(t.Context(), env, "backup", "--local", "--out", filepath.Join(dir, "own")); err != nil || !s.local {
		t.Errorf("%v, local %t", err, s.local)
	}
	s.data = data[:len(data)-9]
	if _, err := call(t.Context(), env, "backup", "--out", filepath.Join(dir, "cut")); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("what was cut was kept: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 2 {
		t.Errorf("%v: left are %q", err, left)
	}
}
