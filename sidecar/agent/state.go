package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// stateVersion is the version of the state file that this release writes, and
// the only one that it reads.
const stateVersion = 1

// maxState bounds what is read: clusters are few.
const maxState = 4 << 20

// state is the file in which the tables outlive this process. It is the promise
// that a withdrawal which was confirmed is not taken back, so nothing in it is
// guessed: a file that is not understood in full is refused.
type state struct {
	Version int `json:"version"`
	// Sidecar is whose file it is.
	Sidecar  string `json:"sidecar"`
	Clusters []held `json:"clusters"`
}

// errState is wrapped by the refusal of a state file.
var errState = errors.New("it says which routes this sidecar has confirmed, and cannot be guessed: put it back as it was, " +
	"or remove it; without it the proxies are left as they are until the leader of the controllers says where they lead")

// loadState reads the file; none is no error, and no tables.
func loadState(path, sidecar string) (map[string]held, error) {
	tables := map[string]held{}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return tables, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state file: %w: %w", err, errState)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxState+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("state file %s: %w: %w", path, err, errState)
	}
	s, err := parseState(data, sidecar)
	if err != nil {
		return nil, fmt.Errorf("state file %s: %w: %w", path, err, errState)
	}
	for _, h := range s.Clusters {
		tables[h.Table.Cluster] = h
	}
	return tables, nil
}

func parseState(data []byte, sidecar string) (state, error) {
	if len(data) > maxState {
		return state{}, fmt.Errorf("it has more than %d bytes", maxState)
	}
	// The version comes first: a later release may have other fields.
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return state{}, err
	}
	if version.Version != stateVersion {
		return state{}, fmt.Errorf("it is of version %d, and this release reads version %d", version.Version, stateVersion)
	}
	var s state
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return state{}, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return state{}, errors.New("there are bytes after its end")
	}
	if s.Sidecar != sidecar {
		return state{}, fmt.Errorf("it is the file of the sidecar %q, and this one is %q: each needs a state_dir of its own", s.Sidecar, sidecar)
	}
	seen := map[string]bool{}
	for _, h := range s.Clusters {
		if err := h.Table.Validate(); err != nil {
			return state{}, err
		}
		if seen[h.Table.Cluster] {
			return state{}, fmt.Errorf("it has cluster %s twice", h.Table.Cluster)
		}
		if h.Partial && h.Table.Writer == nil {
			return state{}, fmt.Errorf("its table of cluster %s is from the directory, and names nobody", h.Table.Cluster)
		}
		seen[h.Table.Cluster] = true
	}
	return s, nil
}

// saveState replaces the file as a whole, and returns once that is on disk.
func saveState(path, sidecar string, tables map[string]held) (err error) {
	s := state{Version: stateVersion, Sidecar: sidecar, Clusters: make([]held, 0, len(tables))}
	for _, h := range tables {
		s.Clusters = append(s.Clusters, h)
	}
	slices.SortFunc(s.Clusters, func(a, b held) int { return strings.Compare(a.Table.Cluster, b.Table.Cluster) })
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	if err := replace(path, append(data, '\n')); err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	return nil
}

// replace puts data in the place of a file as a whole, and returns once that is
// on disk. The file before becomes the spare one that the next is written into:
// a withdrawal needs no new block, and so is held on a disk that is full, too.
func replace(path string, data []byte) error {
	spare, before := path+".new", path+".old"
	// A crash may have left a second name of the file itself.
	if err := remove(before); err != nil {
		return err
	}
	if err := unshare(path, spare); err != nil {
		return err
	}
	if err := writeSynced(spare, data); err != nil {
		return err
	}
	if err := os.Link(path, before); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(spare, path); err != nil {
		return err
	}
	err := os.Rename(before, spare)
	if errors.Is(err, fs.ErrNotExist) {
		err = writeSynced(spare, data) // this was the first
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// unshare removes the spare file if it is the file itself.
func unshare(path, spare string) error {
	a, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	b, errSpare := os.Stat(spare)
	switch {
	case err != nil:
		return err
	case errors.Is(errSpare, fs.ErrNotExist):
		return nil
	case errSpare != nil:
		return errSpare
	case os.SameFile(a, b):
		return os.Remove(spare)
	}
	return nil
}

// writeSynced writes over what a file has, and keeps its blocks.
func writeSynced(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Truncate(int64(len(data)))
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
