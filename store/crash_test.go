package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"switchyard/e2e/ports"
	"switchyard/store/ledger"
)

// childEnv has the order of a process that is a controller of its own, so that it can
// be killed, and run out of space, without the test.
const childEnv = "SWITCHYARD_STORE_CHILD"

// order is what such a process does: it says what it knows, and then commits one
// cluster after the other and says so, for as long as it lives.
type order struct {
	Dir, Address string
	From         int
	// FileLimit is the size that no file may exceed, as if there was no space; 0 is none.
	// It holds from the beginning, or, if Late, from when it leads.
	FileLimit uint64
	Late      bool
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		var o order
		err := json.Unmarshal([]byte(text), &o)
		if err == nil {
			err = o.serve()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "refused:", err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func (o order) config() Config {
	return Config{
		ID: "c1", LedgerID: "prod", DataDir: o.Dir, Bind: o.Address, Peers: []Peer{{ID: "c1", RaftAddress: o.Address}}, Secret: "of-one",
		Timeouts: Timeouts{Heartbeat: 20 * time.Millisecond, Election: 20 * time.Millisecond, LeaderLease: 20 * time.Millisecond},
		// Everything that is written now and then is written all the time.
		Compaction: Compaction{Every: 5 * time.Millisecond, Entries: 40, Keep: 60, SegmentBytes: 64 << 10},
		Now:        func() time.Time { return noon },
	}
}

func (o order) serve() error {
	if !o.Late {
		if err := o.limit(); err != nil {
			return err
		}
	}
	s, err := Open(o.config(), slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	for !s.IsLeader() || s.State().Generation == 0 {
		select {
		case err := <-ended:
			return err
		case <-time.After(time.Millisecond):
		}
	}
	if o.Late {
		if err := o.limit(); err != nil {
			return err
		}
	}
	fmt.Println("knows", strings.Join(names(s.State()), " "))
	var writers sync.WaitGroup
	for writer := range 4 {
		writers.Go(func() {
			for n := o.From + writer; s.Err() == nil; n += 4 {
				cmd := adopt(n%60000 + 1).(ledger.AdoptMaster)
				cmd.Cluster, cmd.UUID = strconv.Itoa(n), strings.Repeat("u", 200)
				if s.Propose(context.Background(), cmd) == nil {
					fmt.Println("acked", n)
				}
			}
		})
	}
	err = <-ended
	writers.Wait()
	return err
}

// limit makes writes fail as on a full disk.
func (o order) limit() error {
	if o.FileLimit == 0 {
		return nil
	}
	// Otherwise the signal ends the process.
	signal.Ignore(syscall.SIGXFSZ)
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: o.FileLimit, Max: o.FileLimit})
}

func names(s ledger.State) []string {
	var out []string
	for name := range s.Clusters {
		out = append(out, name)
	}
	return out
}

// child is such a process as its parent sees it.
type child struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr bytes.Buffer
	lines  chan string
	// acked is what it said, and what it may be held to from now on.
	acked map[string]bool
}

func startChild(t *testing.T, o order, acked map[string]bool) *child {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: exec.Command(self), lines: make(chan string, 1024), acked: acked}
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	c.cmd.Stderr = &c.stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.cmd.Process.Kill() }) // it has ended already, unless the test broke off
	go c.read(out)
	return c
}

func (c *child) read(out io.Reader) {
	defer close(c.lines)
	scanner := bufio.NewScanner(out)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		c.lines <- scanner.Text()
	}
}

// hear takes lines until the child has acknowledged so many, or has ended.
func (c *child) hear(acks int) {
	c.t.Helper()
	patience := time.NewTimer(4 * patience)
	defer patience.Stop()
	for acks > 0 {
		select {
		case line, ok := <-c.lines:
			if !ok {
				return
			}
			word, rest, _ := strings.Cut(line, " ")
			switch word {
			case "knows":
				c.compare(strings.Fields(rest))
			case "acked":
				c.acked[rest] = true
				acks--
			}
		case <-patience.C:
			c.t.Fatalf("it says nothing any more: %s", c.stderr.String())
		}
	}
}

// compare holds what the child knows against all that was ever acknowledged.
func (c *child) compare(known []string) {
	c.t.Helper()
	has := map[string]bool{}
	for _, name := range known {
		has[name] = true
	}
	for name := range c.acked {
		if !has[name] {
			c.t.Fatalf("%s was acknowledged, and is lost (%d of %d are there)", name, len(known), len(c.acked))
		}
	}
}

// end waits for the end of the process and returns what it said last.
func (c *child) end() (state *os.ProcessState, said string) {
	c.t.Helper()
	c.hear(1 << 40)
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	said = c.stderr.String()
	if strings.Contains(said, "panic") || strings.Contains(said, "goroutine ") {
		c.t.Fatalf("it panicked: %s", said)
	}
	return c.cmd.ProcessState, said
}

// TestKilledAtAnyMoment kills a controller that writes, again and again, at moments
// that a seed picks, also while it starts: what it has acknowledged is there.
func TestKilledAtAnyMoment(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	o := order{Dir: filepath.Join(t.TempDir(), "data"), Address: ports.Free(t, 1)[0]}
	acked := map[string]bool{}
	for range kills {
		c := startChild(t, o, acked)
		if dice.IntN(3) == 0 {
			// Somewhere between its first instruction and its first commits.
			time.Sleep(time.Duration(dice.IntN(80)) * time.Millisecond)
		} else {
			c.hear(1 + dice.IntN(120))
			time.Sleep(time.Duration(dice.IntN(3000)) * time.Microsecond)
		}
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if state, said := c.end(); state.Exited() {
			t.Fatalf("it ended by itself: %s", said)
		}
		o.From += 100_000
	}
	if len(acked) < kills {
		t.Errorf("%d were acknowledged: it was never let write", len(acked))
	}
	last := startChild(t, o, acked)
	last.hear(1)
	if err := last.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	last.end()
	t.Logf("%d kills, %d acknowledged", kills, len(acked))
}

// TestNoSpaceLeft lets no file grow beyond a size, as on a disk that is full: the
// controller stops and says why, or does not start, and goes on where it was when
// there is space.
func TestNoSpaceLeft(t *testing.T) {
	for _, limit := range []struct {
		bytes uint64
		late  bool
	}{{16 << 10, false}, {300 << 10, false}, {1, true}, {16 << 10, true}, {60 << 10, true}, {100 << 10, true}, {1 << 20, true}} {
		t.Run(fmt.Sprintf("%d late %t", limit.bytes, limit.late), func(t *testing.T) {
			o := order{Dir: filepath.Join(t.TempDir(), "data"), Address: ports.Free(t, 1)[0]}
			acked := map[string]bool{}
			first := startChild(t, o, acked)
			first.hear(200)
			if err := first.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			first.end()

			o.From, o.FileLimit, o.Late = o.From+100_000, limit.bytes, limit.late
			full := startChild(t, o, acked)
			state, said := full.end()
			if state.ExitCode() != 3 || !strings.Contains(said, "refused: ") || !strings.Contains(said, "make room") {
				t.Errorf("it ended with %s: %s", state, said)
			}
			t.Logf("%d acknowledged; %s", len(acked), said)

			o.From, o.FileLimit = o.From+100_000, 0
			again := startChild(t, o, acked)
			again.hear(100)
			if err := again.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if state, said := again.end(); state.Exited() {
				t.Errorf("it does not go on: %s", said)
			}
		})
	}
}
