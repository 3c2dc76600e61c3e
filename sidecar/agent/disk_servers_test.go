//go:build servers

package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"switchyard/e2e/stack"
)

// TestAWithdrawalIsHeldOnAFullDisk: who has held a table before needs no room for the next.
func TestAWithdrawalIsHeldOnAFullDisk(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	s, err := stack.New(ctx, stack.Options{Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	disk, err := s.NewDisk(ctx, "disk", 4)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(disk.Dir(), "routes.json")
	save := func(number, revision uint64) error {
		return saveState(path, "edge", map[string]held{"shop": {Table: table(number, revision, "")}})
	}
	if err := save(5, 2); err != nil {
		t.Fatal(err)
	}
	fill(t, filepath.Join(disk.Dir(), "ballast"))
	for number := uint64(6); number < 12; number++ {
		if err := save(number, 1); err != nil {
			t.Fatalf("epoch %d: %v", number, err)
		}
		if got, err := loadState(path, "edge"); err != nil || got["shop"].Table.Epoch.Number != number {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if err := os.WriteFile(filepath.Join(disk.Dir(), "more"), make([]byte, 8192), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk was not full: %v", err)
	}
}

// fill writes until there is no room.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err = file.Write(make([]byte, size)); err == nil {
			err = file.Sync()
		}
		if errors.Is(err, syscall.ENOSPC) {
			size /= 2
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
