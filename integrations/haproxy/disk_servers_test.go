//go:build servers

package haproxy_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"switchyard/e2e/stack"
	adapter "switchyard/integrations/haproxy"
)

// TestAFullDiskHoldsUpNoWithdrawal: the file says that nobody is served, also where
// there is no room for another one.
func TestAFullDiskHoldsUpNoWithdrawal(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	s, err := stack.New(ctx, stack.Options{Log: t.Logf})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	disk, err := s.NewDisk(ctx, "disk", 4)
	must(t, err)
	path := filepath.Join(disk.Dir(), "haproxy.cfg")
	must(t, os.WriteFile(path, []byte("backend shop_writer\n  server master 192.0.2.1:3306 disabled\n"), 0o600))
	file, err := newProxy(t, func(*adapter.Config) {}).File(path, "")
	must(t, err)
	for range 2 {
		must(t, file.Keep(ctx, tableOf(2, "10.0.0.2:3306")))
	}
	ballast, err := os.Create(filepath.Join(disk.Dir(), "ballast"))
	must(t, err)
	for size := 1 << 20; size > 0; {
		if _, err = ballast.Write(make([]byte, size)); err == nil {
			err = ballast.Sync()
		}
		if errors.Is(err, syscall.ENOSPC) {
			size /= 2
			continue
		}
		must(t, err)
	}
	must(t, ballast.Close())
	must(t, file.Keep(ctx, tableOf(3, "")))
	if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), "master 192.0.2.1:3306 disabled") {
		t.Errorf("%q, %v", text, err)
	}
	if err := os.WriteFile(filepath.Join(disk.Dir(), "more"), make([]byte, 64<<10), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the disk was not full: %v", err)
	}
}
