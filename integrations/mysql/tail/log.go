// Package tail reads what a server that has crashed wrote last out of its
// binary log on disk, and serves it to one replica as a replication source
// would: in whole transactions, with the GTIDs that they have.
package tail

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxFiles is how many of the newest files are looked at.
const maxFiles = 200

// Log is a server's binary log as it was when it was opened: what is written to
// its files afterwards, or deleted, changes nothing in it.
type Log struct {
	files []logFile // oldest first
	// uuid is the server's, empty where it has none.
	uuid string
}

type logFile struct {
	name string
	file *os.File
	size int64
}

// Open opens the files that a binary log's index names; relative names are
// below dir, the server's data directory.
func Open(index, dir string) (*Log, error) {
	data, err := os.ReadFile(index)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("the index of the binary log: %w; let the sidecar's user read it and the files that it names", err)
	}
	if err != nil {
		return nil, fmt.Errorf("the index of the binary log: %w", err)
	}
	var names []string
	for line := range bytes.Lines(data) {
		// A server that crashed while it made a new file may have left half a name.
		name, whole := strings.CutSuffix(string(line), "\n")
		if name = strings.TrimSpace(name); whole && name != "" {
			names = append(names, name)
		}
	}
	l := &Log{uuid: readUUID(dir)}
	names = names[max(0, len(names)-maxFiles):]
	for _, name := range names {
		if err := l.add(name, dir); err != nil {
			l.Close()
			return nil, err
		}
	}
	if len(l.files) == 0 {
		return nil, fmt.Errorf("the index of the binary log, %s, names no file", index)
	}
	return l, nil
}

func (l *Log) add(name, dir string) error {
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		l.files = nil // it was purged, and with it whatever is older
		return nil
	}
	if err != nil {
		return fmt.Errorf("the binary log: %w; let the sidecar's user read it", err)
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("the binary log: %w", err), file.Close())
	}
	l.files = append(l.files, logFile{name: filepath.Base(path), file: file, size: info.Size()})
	return nil
}

// readUUID reads a MySQL server's own id, which its replicas know it by.
func readUUID(dir string) string {
	data, err := os.ReadFile(filepath.Join(dir, "auto.cnf"))
	if err != nil {
		return "" // MariaDB has none, and replicas can do without
	}
	for line := range strings.Lines(string(data)) {
		if uuid, ok := strings.CutPrefix(strings.TrimSpace(line), "server-uuid="); ok {
			return strings.TrimSpace(uuid)
		}
	}
	return ""
}

// Close closes the files.
func (l *Log) Close() {
	for _, f := range l.files {
		_ = f.file.Close() // they were only read
	}
}
