package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// The names in a data directory.
const (
	lockName  = "lock"
	stateName = "state.db"
	raftName  = "raft"
	asideName = "aside.json"
	// raft's own snapshot store adds "snapshots" to the directory it is given.
	snapshotsName = "snapshots"
)

// lockDir makes the directory if need be, and holds it until the file returned
// is closed. The lock is the kernel's: it does not outlive the process.
func lockDir(dir string) (*os.File, error) {
	for _, sub := range []string{dir, filepath.Join(dir, raftName)} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return nil, fmt.Errorf("data_dir %s: cannot be made: %w; "+
				"name a directory that the controller's user may create, or create it and make it that user's", dir, err)
		}
	}
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data_dir %s: cannot be written: %w; "+
			"make the directory the controller's user's, or name another", dir, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(fmt.Errorf("data_dir %s: %w: "+
			"stop it, or give this controller a directory of its own", dir, err), file.Close())
	}
	return file, nil
}

// checkRaftFiles looks at the log's files before they are opened: without its
// meta file the log would be taken for a new one, and its segments removed.
func checkRaftFiles(dir string) error {
	entries, err := os.ReadDir(filepath.Join(dir, raftName))
	if err != nil {
		return fmt.Errorf("data_dir %s: %w", dir, err)
	}
	segments := 0
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".wal") {
			segments++
		}
	}
	path := filepath.Join(dir, raftName, metaName)
	switch _, err := os.Stat(path); {
	case errors.Is(err, os.ErrNotExist):
		if segments > 0 {
			return damaged(dir, fmt.Errorf("%s is missing", path))
		}
		return nil
	case err != nil:
		return fmt.Errorf("data_dir %s: %w", dir, err)
	}
	if err := checkMeta(path); err != nil {
		return damaged(dir, err)
	}
	return nil
}
