package tail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Running reports whether a server works on a data directory: InnoDB locks its
// first file before anything is written, and the kernel takes the lock back
// when the process has ended, however it did.
func Running(dir string) (bool, error) {
	path := filepath.Join(dir, "ibdata1")
	file, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("whether a server works on %s: %w; let the sidecar's user read it", dir, err)
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: 0}
	err = unix.FcntlFlock(file.Fd(), unix.F_GETLK, &lock)
	if err := errors.Join(err, file.Close()); err != nil {
		return false, fmt.Errorf("whether a server works on %s: %w", dir, err)
	}
	return lock.Type != unix.F_UNLCK, nil
}
