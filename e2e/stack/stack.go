// Package stack starts and stops the real servers that the demo, the tests and the benchmarks share: MariaDB,
// Oracle MySQL 9.7 and 5.6, HAProxy, Consul and Switchyard itself. Everything lives on loopback addresses and in a
// directory of the stack's own; nothing is ever installed here, a missing server is an error that says what to do.
package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Options are what a stack can be told before it starts.
type Options struct {
	// Log receives one line for each thing that is started, killed or ended. Nil means silence.
	Log func(format string, args ...any)
}

// Stack owns a directory, a range of loopback addresses and the processes that were started in it.
type Stack struct {
	dir    string
	log    func(format string, args ...any)
	cache  string
	block  int
	lock   *os.File
	claim  net.Listener
	starts chan func()
	done   chan struct{}

	mu     sync.Mutex
	nextIP int
	names  map[string]bool
	procs  []*Process
	disks  []*Disk
	net    *Net
	places map[string]*Host
	dbs    []interface{ Close() error }
	closed bool
}

const (
	dirPrefix = "switchyard-stack-"
	// claimPort is bound on the last address of a block for as long as a stack holds the block.
	claimPort = 65000
	lastHost  = 250
)

// New makes a stack: a directory, a free block of loopback addresses (127.0.x.0/24), and nothing running in it yet.
func New(ctx context.Context, options Options) (*Stack, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	sweep()
	s := &Stack{log: options.Log, cache: cache, names: map[string]bool{}, places: map[string]*Host{}, nextIP: 1,
		starts: make(chan func()), done: make(chan struct{})}
	if s.log == nil {
		s.log = func(string, ...any) {}
	}
	if s.dir, err = os.MkdirTemp("", dirPrefix); err != nil {
		return nil, fmt.Errorf("make the stack's directory: %w", err)
	}
	if s.lock, err = lockFile(filepath.Join(s.dir, "lock"), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	if err := s.claimBlock(); err != nil {
		return nil, errors.Join(err, s.lock.Close(), os.RemoveAll(s.dir))
	}
	go s.runStarts()
	return s, nil
}

// Dir is the stack's own directory, removed by Close.
func (s *Stack) Dir() string { return s.dir }

// runStarts starts every child from one thread that lives as long as the stack: the kernel sends the parent-death
// signal when the starting thread ends, not when the process does.
func (s *Stack) runStarts() {
	defer close(s.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for start := range s.starts {
		start()
	}
}

func (s *Stack) claimBlock() error {
	// Processes that start together begin at different places, so that they seldom try the same block.
	first := os.Getpid() + int(time.Now().UnixNano()/1000)
	for i := range 250 {
		block := 2 + (first+i)%250
		claim, err := net.Listen("tcp4", net.JoinHostPort(fmt.Sprintf("127.0.%d.254", block), strconv.Itoa(claimPort)))
		if err == nil {
			s.block, s.claim = block, claim
			return nil
		}
	}
	return errors.New("no free block of loopback addresses (127.0.2.0 to 127.0.251.0): end the stacks that still run")
}

// IP hands out a loopback address on which none of the given ports is in use. No address is handed out twice.
func (s *Stack) IP(ports ...int) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.nextIP <= lastHost {
		ip := fmt.Sprintf("127.0.%d.%d", s.block, s.nextIP)
		s.nextIP++
		if portsFree(ip, ports) {
			return ip, nil
		}
	}
	return "", fmt.Errorf("the stack's %d loopback addresses are used up", lastHost)
}

// IPFor hands out an address for a part with this name: on the host where it is placed, or else on loopback.
func (s *Stack) IPFor(part string, ports ...int) (string, error) {
	s.mu.Lock()
	host, net := s.places[part], s.net
	s.mu.Unlock()
	switch {
	case host != nil:
		return host.newAddress() // nobody else is on it
	case net != nil:
		return "", fmt.Errorf("%s is on no host, and would not be reached from any: place it on one", part)
	}
	return s.IP(ports...)
}

func portsFree(ip string, ports []int) bool {
	for _, port := range ports {
		listener, err := net.Listen("tcp4", net.JoinHostPort(ip, strconv.Itoa(port)))
		if err != nil {
			return false
		}
		if err := listener.Close(); err != nil {
			return false
		}
	}
	return true
}

// folder makes a directory for one named part of the stack; a name can be used once.
func (s *Stack) folder(name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", errors.New("the stack is closed")
	}
	if name == "" || name != filepath.Base(name) {
		return "", fmt.Errorf("%q cannot name a part of a stack: use a plain word", name)
	}
	if s.names[name] {
		return "", fmt.Errorf("the stack already has a part named %q", name)
	}
	s.names[name] = true
	dir := filepath.Join(s.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the directory of %s: %w", name, err)
	}
	return dir, nil
}

func (s *Stack) closeLater(db interface{ Close() error }) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dbs = append(s.dbs, db)
}

// Close ends every process of the stack (a frozen one too), waits for each, and removes the directory. What has to be
// kept from a server must have been read before. Calling it again does nothing.
func (s *Stack) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	procs, dbs, disks, net := s.procs, s.dbs, s.disks, s.net
	s.mu.Unlock()

	var failures []error
	for _, d := range disks { // who waits for a stalled one cannot be killed
		failures = append(failures, d.Resume())
	}
	for _, db := range dbs {
		failures = append(failures, db.Close())
	}
	// Nothing in the directory is worth a clean shutdown: all are killed at once, then all are waited for.
	for _, p := range procs {
		failures = append(failures, p.Kill())
	}
	for _, p := range procs {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := p.Wait(ctx); err != nil {
			failures = append(failures, fmt.Errorf("%s (pid %d) did not end: %w", p.Name(), p.Pid(), err))
		}
		cancel()
	}
	close(s.starts)
	<-s.done
	for _, d := range disks {
		failures = append(failures, d.unmount())
	}
	if net != nil {
		failures = append(failures, net.close())
	}
	failures = append(failures, s.claim.Close(), os.RemoveAll(s.dir), s.lock.Close())
	return errors.Join(failures...)
}

// lockFile opens (and makes) a file and takes its advisory lock, which the kernel drops when the process ends.
func lockFile(path string, how int) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock %s: %w", path, err)
	}
	if err := syscall.Flock(int(file.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return file, nil
}

// sweep removes the directories of stacks whose process was killed before it could. It is best effort: a directory
// that is in use, too young to tell, or not ours to remove stays.
func sweep() {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		lock := filepath.Join(dir, "lock")
		info, err := os.Stat(lock)
		if err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		file, err := lockFile(lock, syscall.LOCK_EX|syscall.LOCK_NB)
		if err != nil {
			continue
		}
		unmountLeft(dir)
		if os.RemoveAll(dir) == nil {
			_ = file.Close()
			continue
		}
		_ = file.Close()
	}
}

// unmountLeft unmounts the disks that a killed stack left in its directory.
func unmountLeft(dir string) {
	mounts, err := filepath.Glob(filepath.Join(dir, "*", "mount"))
	if err != nil {
		return
	}
	for _, mount := range mounts {
		_ = syscall.Unmount(mount, syscall.MNT_DETACH) // what is not mounted is fine
	}
}
