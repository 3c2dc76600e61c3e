package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"switchyard/router/routes"
	"switchyard/sidecar/lease"
)

// bookVersion is the version of the file, and the only one that is read.
const bookVersion = 1

// spare is the pause between two writes of what may be lost: how long a lease
// lasts that was held before.
const spare = time.Second

// content is what outlives a restart.
type content struct {
	Version int    `json:"version"`
	Cluster string `json:"cluster"`
	Server  string `json:"server"`
	// Granted is the newest epoch in which a lease was granted, and Known the
	// newest of which a controller spoke.
	Granted routes.Epoch `json:"granted"`
	Known   routes.Epoch `json:"known"`
	// Words are those given to the controllers.
	Words []word     `json:"words,omitempty"`
	Lease lease.Book `json:"lease"`
}

// word is the promise to follow a server no more in any epoch before this one.
type word struct {
	Server string       `json:"server"`
	Epoch  routes.Epoch `json:"epoch"`
}

// shelf keeps the book on disk. A disk that hangs holds up whoever waits for
// it, and never the keeper.
type shelf struct {
	path string
	log  *slog.Logger

	mu       sync.Mutex
	now      content
	sequence uint64
	urgent   bool
	// What is on disk.
	kept  content
	saved uint64
	// written is closed and made anew with each write.
	written chan struct{}
	wake    chan struct{}
	// done wakes the keeper.
	done chan struct{}
}

// openShelf reads the book, which need not exist.
func openShelf(path, cluster, server string, log *slog.Logger) (*shelf, error) {
	s := &shelf{
		path: path, log: log, written: make(chan struct{}), wake: make(chan struct{}, 1), done: make(chan struct{}, 1),
		now: content{Version: bookVersion, Cluster: cluster, Server: server},
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		s.now, err = readBook(data)
	}
	if err != nil {
		return nil, fmt.Errorf("the book %s cannot be read: %w; whether the server is fenced is not known: "+
			"make it read-only, see that it is not a deposed master, then remove the file", path, err)
	}
	if s.now.Cluster != cluster || s.now.Server != server {
		return nil, fmt.Errorf("the book %s is of the server %s of the cluster %s, and this sidecar stands beside %s of %s: "+
			"give each sidecar a state_dir of its own, or remove the file if the server was renamed",
			path, s.now.Server, s.now.Cluster, server, cluster)
	}
	s.kept = s.now.clone()
	return s, nil
}

func readBook(data []byte) (content, error) {
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &version); err != nil { // bytes after the end among them
		return content{}, err
	}
	if version.Version != bookVersion {
		return content{}, fmt.Errorf("it has the version %d, and this release reads version %d", version.Version, bookVersion)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var c content
	if err := decoder.Decode(&c); err != nil {
		return content{}, err
	}
	if c.Cluster == "" || c.Server == "" || c.Lease.Held && c.Lease.Boot == "" {
		return content{}, errors.New("it is incomplete")
	}
	return c, nil
}

func (c content) clone() content {
	c.Words = slices.Clone(c.Words)
	c.Lease.Voices, c.Lease.Answers = slices.Clone(c.Lease.Voices), slices.Clone(c.Lease.Answers)
	if c.Lease.Fence != nil {
		stand := *c.Lease.Fence
		c.Lease.Fence = &stand
	}
	return c
}

// newest is the newest epoch that is known, words among them.
func (c content) newest() routes.Epoch {
	newest := c.Known
	for _, w := range c.Words {
		if w.Epoch.Compare(newest) > 0 {
			newest = w.Epoch
		}
	}
	return newest
}

// word is the newest epoch before which server is not followed.
func (c content) word(server string) routes.Epoch {
	for _, w := range c.Words {
		if strings.EqualFold(w.Server, server) {
			return w.Epoch
		}
	}
	return routes.Epoch{}
}

// give sets a word.
func (c *content) give(server string, epoch routes.Epoch) {
	c.Words = slices.DeleteFunc(c.Words, func(w word) bool { return strings.EqualFold(w.Server, server) })
	c.Words = append(c.Words, word{Server: server, Epoch: epoch})
}

// content returns the newest.
func (s *shelf) content() content {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.clone()
}

// onDisk returns what a restart would find.
func (s *shelf) onDisk() content {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.clone()
}

// put changes the book, and returns what to wait for. What is not urgent may
// be written later.
func (s *shelf) put(urgent bool, change func(*content)) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.now)
	s.sequence++
	s.urgent = s.urgent || urgent
	wake(s.wake)
	return s.sequence
}

// wait waits until what put returned is on disk.
func (s *shelf) wait(ctx context.Context, sequence uint64) error {
	for {
		s.mu.Lock()
		saved, written := s.saved, s.written
		s.mu.Unlock()
		if saved >= sequence {
			return nil
		}
		select {
		case <-written:
		case <-ctx.Done():
			return fmt.Errorf("the book %s is not on the disk yet: %w", s.path, context.Cause(ctx))
		}
	}
}

// run writes until ctx ends, and once more then.
func (s *shelf) run(ctx context.Context) {
	defer func() {
		if err := s.write(); err != nil {
			s.log.Error("the book cannot be written", "error", err)
		}
	}()
	var last time.Time
	var failing string
	for ctx.Err() == nil {
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
		for !s.isUrgent() && ctx.Err() == nil && time.Since(last) < spare {
			pause(ctx, spare-time.Since(last), s.wake)
		}
		err := s.write()
		last = time.Now()
		switch {
		case err == nil:
			failing = ""
		case err.Error() != failing:
			failing = err.Error()
			s.log.Error("the book cannot be written: what is held meanwhile is not reported", "error", err)
			fallthrough
		default:
			pause(ctx, spare, nil)
			wake(s.wake)
		}
	}
}

func (s *shelf) isUrgent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.urgent
}

// write puts the newest on the disk, whole or not at all.
func (s *shelf) write() error {
	s.mu.Lock()
	next, sequence := s.now.clone(), s.sequence
	current := s.saved == sequence
	s.urgent = false
	s.mu.Unlock()
	if current {
		return nil
	}
	data, err := json.Marshal(next)
	if err == nil {
		err = replace(s.path, data)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.urgent = true
		return err
	}
	s.saved, s.kept = sequence, next
	close(s.written)
	s.written = make(chan struct{})
	wake(s.done)
	return nil
}

// replace writes a file such that after a crash either the old or the new one
// is there.
func replace(path string, data []byte) (err error) {
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
