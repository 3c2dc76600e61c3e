package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ownName is the file by which a sidecar has its state_dir to itself.
const ownName = "own.lock"

// own makes the directory if need be, and holds it until the file returned is
// closed: two sidecars in one would forget each other's promises. The lock is
// the kernel's, and does not outlive the process.
func own(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state_dir: %w; name a directory that this user may make and write", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, ownName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state_dir: %w; name a directory that this user may write", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("another sidecar runs in it")
		}
		return nil, errors.Join(fmt.Errorf("state_dir %s: %w; stop it, or give this sidecar a directory of its own", dir, err), file.Close())
	}
	return file, nil
}
