//go:build servers

package quorum_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"switchyard/e2e/stack"
)

const (
	httpPort, raftPort = 7400, 7401
	secret             = "loopback-only"
	ledgerName         = "quorum"
	// diskMegabytes is room for the files of one controller.
	diskMegabytes = 64
	// bound is how long may take what takes a second or two, on a machine that has other things to do: many election
	// timeouts.
	bound = 2 * time.Minute
)

// node is one controller: a process of the product's own binary, on a disk of its own, behind doors of the network's.
type node struct {
	id, ip, door string
	process      *stack.Process
	disk         *stack.Disk

	// mu makes what is done to the process one thing after the other.
	mu sync.Mutex
	// Faults overlap, so that they are counted.
	downs, frozen, full int
	skew                time.Duration
	// wasFull is whether its disk was full since it started: it may end by itself then.
	wasFull bool
	starts  int

	// peers are those of its configuration file, and join is what that says too.
	peers []peer
	join  bool
	// era is how often its data directory was emptied.
	era atomic.Int32
	// emptied names the removal after which that was done last. Where doubtful is set, nobody knows whether it may yet be
	// added, so that it must keep what it has.
	emptied  string
	doubtful bool
	moves    int
}

// peer is a controller as a configuration file names it.
type peer struct{ id, door string }

func (p peer) raft() string { return fmt.Sprintf("%s:%d", p.door, raftPort) }

func (p peer) http() string { return fmt.Sprintf("http://%s:%d", p.door, httpPort) }

func (n *node) peer() peer { return peer{n.id, n.door} }

// url is its own door, for clients and for those who watch.
func (n *node) url() string { return fmt.Sprintf("http://%s:%d", n.ip, httpPort) }

func (n *node) dataDir() string { return filepath.Join(n.disk.Dir(), "data") }

// config is its configuration file. All controllers find each other through the network's doors. Leases are short, since
// one that is removed is counted for as long.
func (n *node) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nid: %s\ndatacenter: dc1\ndata_dir: %s\nsecret: %s\nlog: {level: debug}\n",
		ledgerName, n.id, n.dataDir(), secret)
	fmt.Fprintf(&b, "bind: {raft: \"%s:%d\", http: \"%s:%d\"}\ncontrollers:\n", n.ip, raftPort, n.ip, httpPort)
	for _, p := range n.peers {
		if p.id == n.id {
			p = n.peer() // the others' may be old
		}
		fmt.Fprintf(&b, "  - {id: %s, raft: \"%s\", http: \"%s\"}\n", p.id, p.raft(), p.http())
	}
	fmt.Fprintf(&b, "join: %t\nsidecars: {secret: sidecars-have-none, lease: 1100ms, fence: 100ms}\n", n.join)
	// Nothing listens there: what the ledger is for is left out here, and nobody but the clients writes it.
	fmt.Fprintf(&b, "clusters:\n  - {name: none, seeds: [\"%s:3306\"]}\n", n.ip)
	b.WriteString("mysql:\n  user: nobody\n  password: nothing\n  replication: {user: nobody, password: nothing}\n")
	return b.String()
}

// settle starts the process if it should run and does not. The caller holds mu.
func (n *node) settle(ctx context.Context) error {
	if n.downs > 0 || n.process.Running() {
		return nil
	}
	n.wasFull = n.full > 0
	n.starts++
	if err := n.process.Start(ctx); err != nil {
		return err
	}
	// With a full disk, or a damaged one, it may end at once.
	if n.skew != 0 {
		if err := n.unlessEnded(n.applyClock()); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	if n.frozen > 0 {
		return n.unlessEnded(n.halt())
	}
	return nil
}

// halt stops all its threads, for which one that waits for its disk may take a while. The caller holds mu.
func (n *node) halt() error {
	for deadline := time.Now().Add(bound); ; {
		err := n.process.Freeze()
		if err == nil || !n.process.Running() || time.Now().After(deadline) {
			return err
		}
	}
}

// end ends it with SIGKILL, or, gently, by asking it to end.
func (n *node) end(ctx context.Context, gently bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.downs++
	if gently {
		ctx, cancel := context.WithTimeout(ctx, bound)
		defer cancel()
		return n.process.Stop(ctx)
	}
	return errors.Join(n.process.Kill(), n.process.Wait(ctx))
}

func (n *node) start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.downs--
	return n.settle(ctx)
}

func (n *node) freeze(by int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frozen += by
	switch {
	case !n.process.Running():
		return nil
	case n.frozen > 0:
		return n.unlessEnded(n.halt())
	default:
		return n.process.Thaw()
	}
}

// unlessEnded forgives what cannot be done with a process that has ended, or is about to.
func (n *node) unlessEnded(err error) error {
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if n.process.Wait(ctx) == nil {
		return nil
	}
	return err
}

func (n *node) stepClock(by time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.skew += by
	if !n.process.Running() {
		return nil
	}
	return n.unlessEnded(n.applyClock())
}

// applyClock gives the process its wall clock, for which it is stopped. The caller holds mu.
func (n *node) applyClock() error {
	for {
		if err := n.halt(); err != nil {
			return err
		}
		err := setClock(n.process.Pid(), n.skew)
		inside := errors.Is(err, errInside)
		if n.frozen == 0 || inside {
			err = errors.Join(err, n.process.Thaw())
		}
		if !inside {
			return err
		}
		if !n.process.Running() {
			return errors.New("it has ended")
		}
		time.Sleep(time.Millisecond) // a moment elsewhere in its code
	}
}

func (n *node) fill(ctx context.Context, by int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.full += by
	if n.full > 0 {
		n.wasFull = true
		return n.disk.Fill()
	}
	return errors.Join(n.disk.Free(), n.settle(ctx))
}

// supervise starts the process again after a full disk has ended it, as systemd would, and tells if anything else did.
func (n *node) supervise(ctx context.Context) (restarted bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.downs > 0 || n.full > 0 || n.process.Running() {
		return false, nil
	}
	if !n.wasFull {
		err = fmt.Errorf("%s ended by itself with %d:\n%s", n.id, n.process.ExitCode(), n.process.Output())
	}
	return true, errors.Join(err, n.settle(ctx))
}

// log is all that it has printed, in all its lives.
func (n *node) log() (string, error) {
	data, err := os.ReadFile(filepath.Join(n.process.Dir(), "output.log"))
	return string(data), err
}
