//go:build servers

package stack_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestDisk(t *testing.T) {
	s, ctx := newStack(t)
	disk, err := s.NewDisk(ctx, "disk", 32)
	must(t, err)
	write := func(name string) error {
		return os.WriteFile(filepath.Join(disk.Dir(), name), make([]byte, 1<<16), 0o600)
	}
	must(t, write("a"))

	must(t, disk.Stall())
	must(t, disk.Stall()) // it is already
	wrote := make(chan error, 1)
	go func() { wrote <- write("b") }()
	select {
	case err := <-wrote:
		t.Errorf("a stalled disk took a write: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	must(t, disk.Resume())
	must(t, <-wrote)
	must(t, disk.Resume())

	must(t, disk.Fill())
	if err := write("c"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk took a write: %v", err)
	}
	must(t, disk.Free())
	must(t, write("c"))

	must(t, disk.Abort(ctx))
	if err := write("d"); !errors.Is(err, syscall.EROFS) {
		t.Errorf("a read-only disk took a write: %v", err)
	}
}
