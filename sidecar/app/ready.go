package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"switchyard/sidecar/config"
)

// holdName is a file in the state directory that is locked while the server
// beside is not to be started. The kernel takes the lock back from a sidecar
// that dies, so that nobody waits for one.
const holdName = "hold"

// longestHold is how long Ready waits at most.
const longestHold = time.Minute

// hold is that lock, of this process.
type hold struct {
	file *os.File
	held bool
}

func openHold(dir string) (*hold, error) {
	file, err := os.OpenFile(filepath.Join(dir, holdName), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("state_dir: %w; name a directory that this user may write", err)
	}
	return &hold{file: file}, nil
}

// set takes the lock or gives it back. One that somebody who asks has at this
// moment is taken at the next turn.
func (h *hold) set(held bool) error {
	how := syscall.LOCK_UN
	if held {
		how = syscall.LOCK_EX | syscall.LOCK_NB
	}
	if held == h.held {
		return nil
	}
	err := syscall.Flock(int(h.file.Fd()), how)
	switch {
	case err == nil:
		h.held = held
	case errors.Is(err, syscall.EWOULDBLOCK), errors.Is(err, syscall.EINTR):
		err = nil
	}
	return err
}

func (h *hold) close() { _ = h.file.Close() } // and the lock with it

// Ready returns when the sidecar that f configures lets the server beside it be
// started, and after a minute in any case. Where no sidecar runs, that is at once.
func Ready(ctx context.Context, f *config.File) error {
	ctx, cancel := context.WithTimeout(ctx, longestHold)
	defer cancel()
	file, err := os.Open(filepath.Join(f.StateDir, holdName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has never held anybody
	}
	if err != nil {
		return fmt.Errorf("whether the sidecar holds the server off: %w", err)
	}
	defer file.Close()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("whether the sidecar holds the server off: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}
