//go:build servers

package quorum_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchyard/e2e/stack"
	"switchyard/store/codec"
	"switchyard/store/ledger"
	"switchyard/store/sqlite"
)

// clients send commands at the same time.
const clients = 3

// story is one seed: controllers that are started, and what befalls them.
type story struct {
	seed    uint64
	stack   *stack.Stack
	nodes   []*node
	network *network
	record  *record
	// leader is who was last seen to lead.
	leader atomic.Pointer[node]
	// founders are those of the configuration files.
	founders []peer
	// operator asks for changes of the controllers, for one at a time.
	operator sync.Mutex
	words    int
	// befell is when the schedule began, and clocks is whether that sets any.
	befell time.Time
	clocks bool
}

// build builds the product once for all stories of a test, or takes the program that the flag names.
func build(ctx context.Context, t *testing.T) string {
	t.Helper()
	if *program != "" {
		return *program
	}
	st, err := stack.New(ctx, stack.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, st.Close()) })
	binary, err := st.BuildSwitchyard(ctx)
	must(t, err)
	return binary
}

// newStory starts controllers that have never run, and spare ones beside them that wait to be added.
func newStory(ctx context.Context, t *testing.T, binary string, seed uint64, size, spare int) *story {
	t.Helper()
	st, err := stack.New(ctx, stack.Options{})
	must(t, err)
	s := &story{seed: seed, stack: st, record: newRecord()}
	s.network = newNetwork(func(from, door net.Addr) (string, error) { return owner(s.nodes, from, door) })
	t.Cleanup(func() { must(t, errors.Join(s.network.close(), st.Close())) })
	for i := range size + spare {
		n := &node{id: fmt.Sprintf("c%d", i+1)}
		n.ip, err = st.IP(httpPort, raftPort)
		must(t, err)
		n.door, err = st.IP(httpPort, raftPort)
		must(t, err)
		n.disk, err = st.NewDisk(ctx, n.id+"-disk", diskMegabytes)
		must(t, err)
		s.nodes = append(s.nodes, n)
		if n.peers = append(slices.Clone(s.founders), n.peer()); i < size {
			s.founders = n.peers
		} else {
			n.join = true
		}
	}
	for _, n := range s.nodes {
		if !n.join {
			n.peers = s.founders
		}
	}
	for _, n := range s.nodes {
		n.mu.Lock()
		n.process, err = st.StartController(ctx, binary, n.id, n.config())
		n.starts++
		n.mu.Unlock()
		must(t, err)
	}
	// Only now: who comes through a door is looked for among the processes of all.
	for _, n := range s.nodes {
		must(t, s.open(n, n.door))
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tell lives through a schedule, and returns when all is over and has been looked at.
func (s *story) tell(ctx context.Context, events []event) {
	if !s.progresses(ctx, "begin", s.among(s.founders)) {
		return
	}
	var watching, loading sync.WaitGroup
	watched, stopWatching := context.WithCancel(ctx)
	loaded, stopLoading := context.WithCancel(ctx)
	for _, n := range s.nodes {
		watching.Go(func() { s.watch(watched, n) })
	}
	for client := range clients {
		loading.Go(func() { s.write(loaded, client) })
	}
	loading.Go(func() { s.read(loaded) })
	s.befall(ctx, events)
	healed := time.Now()
	members := s.settled(ctx)
	went := len(members) > 0 && s.progresses(ctx, "heal", members)
	s.record.note("all of them took a command %s after the faults", time.Since(healed).Round(time.Millisecond))
	stopLoading()
	loading.Wait()
	if went {
		s.listed(ctx, members)
		s.othersAreOut(ctx, members)
		s.agree(ctx, members)
	}
	stopWatching()
	watching.Wait()
	s.close(ctx)
	s.counted(members)
}

// befall carries out a schedule. Faults that overlap do so here.
func (s *story) befall(ctx context.Context, events []event) {
	var under sync.WaitGroup
	begun := time.Now()
	s.befell = begun
	s.clocks = slices.ContainsFunc(events, func(e event) bool { return e.kind == stepClock })
	for _, e := range events {
		rest(ctx, time.Until(begun.Add(e.at)))
		under.Go(func() {
			s.record.note("begins: %s", e)
			end, err := s.fault(ctx, e)
			s.record.count("faults: "+e.kind, 1)
			if errors.Is(err, errors.ErrUnsupported) {
				s.record.note("not done: %v", err)
			} else if err != nil {
				s.record.violation("%s: %v", e, err)
			}
			rest(ctx, time.Until(begun.Add(e.at+e.lasts)))
			if err := end(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
				s.record.violation("the end of %s: %v", e, err)
			}
			s.record.note("is over: %s", e)
		})
	}
	under.Wait()
}

// progresses wants each of some controllers to have a command done before long.
func (s *story) progresses(ctx context.Context, when string, all []*node) bool {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for _, n := range all {
		for i := 0; ; i++ {
			c := s.send(context.WithoutCancel(ctx), fmt.Sprintf("%s%s-%s-%d", wordPrefix, when, n.id, i), n)
			if c.outcome == done {
				break
			}
			if ctx.Err() != nil {
				s.record.violation("at the %s no command is taken by %s within %s: %s", when, n.id, bound, c.sentence)
				return false
			}
			rest(ctx, pace)
		}
	}
	return true
}

// agree waits until all members have come to the same entry, and wants the same ledger there, to the byte.
func (s *story) agree(ctx context.Context, members []*node) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for {
		heads, states, err := s.locals(ctx, members)
		level := err == nil
		for _, head := range heads {
			level = level && head.Index == heads[0].Index
		}
		if level {
			s.sameEverywhere("", heads, states)
			return
		}
		if ctx.Err() != nil {
			s.record.violation("the controllers are not level %s after the faults: %+v, %v", bound, heads, err)
			return
		}
		rest(ctx, 50*time.Millisecond)
	}
}

func (s *story) locals(ctx context.Context, members []*node) (heads []codec.BackupHead, states []ledger.State, err error) {
	for _, n := range members {
		head, state, err := s.backup(ctx, n, true)
		if err != nil {
			return heads, states, err
		}
		heads, states = append(heads, head), append(states, state)
	}
	return heads, states, nil
}

// sameEverywhere compares what controllers have at the same entry.
func (s *story) sameEverywhere(where string, heads []codec.BackupHead, states []ledger.State) {
	var first []byte
	for i, state := range states {
		id := heads[i].Controller
		data, err := codec.EncodeState(state)
		if err != nil {
			s.record.violation("%s: %v", id, err)
			continue
		}
		s.record.see(id+where, state.Audit)
		s.record.ofGeneration(id+where, state.Generation)
		if i == 0 {
			first = data
		}
		if heads[i].Index == heads[0].Index && (heads[i].Term != heads[0].Term || !bytes.Equal(data, first)) {
			s.record.violation("%s and %s differ%s at entry %d:\n%s\n%s", heads[0].Controller, id, where, heads[i].Index, first, data)
		}
		s.lastWord(id+where, state)
	}
}

// lastWord wants the register to hold what was written last.
func (s *story) lastWord(where string, state ledger.State) {
	for i := len(state.Audit) - 1; i >= 0; i-- {
		e := state.Audit[i]
		if e.Action != (ledger.PauseRecoveries{}).Kind() {
			continue
		}
		if held := state.Pauses[""].By; held != e.By {
			s.record.violation("%s holds %q, and the last that was written is %q", where, held, e.By)
		}
		return
	}
}

// close ends all controllers, and looks at what they leave on their disks and in their logs.
func (s *story) close(ctx context.Context) {
	if err := s.all(func(n *node) error { return n.end(ctx, true) }); err != nil {
		s.record.violation("the end: %v", err)
	}
	var heads []codec.BackupHead
	var states []ledger.State
	for _, n := range s.nodes {
		head, state, err := n.onDisk(ctx)
		if err != nil {
			s.record.violation("%s: %v", n.id, err)
			continue
		}
		s.record.count("starts", n.starts)
		s.readLog(n)
		if head.Index > 0 { // it has been one of them
			heads, states = append(heads, head), append(states, state)
		}
	}
	s.sameEverywhere(" on its disk", heads, states)
	for _, wrong := range judge(s.record.history()) {
		s.record.violation("%s", wrong)
	}
}

// onDisk is the ledger of a controller that has ended.
func (n *node) onDisk(ctx context.Context) (head codec.BackupHead, state ledger.State, err error) {
	db, err := sqlite.Open(ctx, sqlite.Config{Path: n.dataDir() + "/state.db", LedgerID: ledgerName, NodeID: n.id})
	if err != nil {
		return head, state, err
	}
	state, at, err := db.Load(ctx)
	head = codec.BackupHead{Controller: n.id, Index: at.Index, Term: at.Term}
	return head, state, errors.Join(err, db.Close())
}
