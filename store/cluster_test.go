package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"switchyard/controller/topology"
	"switchyard/e2e/ports"
	"switchyard/store/ledger"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// patience is how long a condition may take; it is only used up by failures.
const patience = 90 * time.Second

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// configs describes n controllers named c1, c2, ...
func configs(t testing.TB, n int) []Config {
	t.Helper()
	var peers []Peer
	for i, address := range ports.Free(t, n) {
		peers = append(peers, Peer{ID: fmt.Sprintf("c%d", i+1), RaftAddress: address, API: "http://" + address, DataCenter: "dc1"})
	}
	var all []Config
	for _, peer := range peers {
		all = append(all, Config{
			ID: peer.ID, LedgerID: "prod", DataDir: filepath.Join(t.TempDir(), "data"), Bind: peer.RaftAddress, Peers: peers,
			Secret: "of-three",
			Timeouts: Timeouts{
				// Long enough that a busy machine does not depose a leader; openAll does
				// not wait for the first one to come by itself.
				Heartbeat: 4 * time.Second, Election: 4 * time.Second, LeaderLease: 3500 * time.Millisecond,
				Network: 10 * time.Second,
			},
			Compaction: Compaction{SegmentBytes: 256 << 10},
			Now:        func() time.Time { return noon },
		})
	}
	if n == 1 {
		all[0].Timeouts = quick()
	}
	return all
}

// brisk are the timeouts of controllers whose leader changes often in a test, and may change once more on a busy machine.
func brisk() Timeouts {
	return Timeouts{Heartbeat: 1200 * time.Millisecond, Election: 1200 * time.Millisecond, LeaderLease: time.Second, Network: 10 * time.Second}
}

// quick are the timeouts of a controller that is alone: nobody deposes it.
func quick() Timeouts {
	return Timeouts{Heartbeat: 20 * time.Millisecond, Election: 20 * time.Millisecond, LeaderLease: 20 * time.Millisecond}
}

func open(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func openAll(t testing.TB, cfgs []Config) []*Store {
	t.Helper()
	var all []*Store
	for _, cfg := range cfgs {
		all = append(all, open(t, cfg))
	}
	elect(t, all...)
	return all
}

// elect has one stand for election now and not when its time has come.
func elect(t testing.TB, all ...*Store) {
	t.Helper()
	for _, s := range all[1:] {
		request := raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(s.cfg.ID)}}
		to := all[0].cfg
		err := s.transport.TimeoutNow(raft.ServerID(to.ID), raft.ServerAddress(to.Advertise), &request, &raft.TimeoutNowResponse{})
		if err == nil {
			return
		}
		t.Logf("%s was not told to stand for election: %v", to.ID, err)
	}
}

func closeNow(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// leader waits until one of the stores leads and is ready.
func leader(t testing.TB, among ...*Store) *Store {
	t.Helper()
	var found *Store
	eventually(t, "a leader with a ledger", func() bool {
		for _, s := range among {
			// Raft answers late where followers come back just then; it is asked again.
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			leads := s.IsLeader() && s.State().Generation != 0 && s.VerifyLeader(ctx) == nil
			cancel()
			if leads {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func server(n int) topology.Key { return topology.Key{Host: "db", Port: uint16(n)} }

func adopt(n int) ledger.Command {
	return ledger.AdoptMaster{Cluster: fmt.Sprintf("shop-%d", n), Master: server(n), At: noon}
}

func propose(t testing.TB, s *Store, commands ...ledger.Command) {
	t.Helper()
	for _, cmd := range commands {
		if err := s.Propose(bounded(t), cmd); err != nil {
			t.Fatalf("%s: %v", cmd.Kind(), err)
		}
	}
}

// adopted proposes to whoever leads until it is there: a leader may be deposed
// meanwhile.
func adopted(t testing.TB, n int, among ...*Store) {
	t.Helper()
	eventually(t, fmt.Sprintf("shop-%d is adopted", n), func() bool {
		s := leader(t, among...)
		return s.Propose(bounded(t), adopt(n)) == nil || knows(s, n)
	})
}

func knows(s *Store, n int) bool {
	_, ok := s.State().Clusters[fmt.Sprintf("shop-%d", n)]
	return ok
}

func others(all []*Store, without *Store) []*Store {
	var rest []*Store
	for _, s := range all {
		if s != without {
			rest = append(rest, s)
		}
	}
	return rest
}

func TestThreeControllers(t *testing.T) {
	cfgs := configs(t, 3)
	all := openAll(t, cfgs)
	first := leader(t, all...)
	propose(t, first, adopt(1))
	if !knows(first, 1) {
		t.Fatal("Propose returned before the leader had applied the command")
	}
	for _, s := range all {
		eventually(t, s.cfg.ID+" follows", func() bool { return knows(s, 1) })
		if got := s.State().Generation; got != uint64(noon.Unix()) {
			t.Errorf("%s: generation %d", s.cfg.ID, got)
		}
		eventually(t, s.cfg.ID+" knows the leader", func() bool { id, ok := s.Leader(); return ok && id == first.cfg.ID })
	}
	follower := others(all, first)[0]
	for name, err := range map[string]error{
		"Propose": follower.Propose(bounded(t), adopt(2)), "VerifyLeader": follower.VerifyLeader(bounded(t)),
		"Barrier": follower.Barrier(bounded(t)),
	} {
		if !errors.Is(err, ErrNotLeader) {
			t.Errorf("%s on a follower: %v", name, err)
		}
	}
	var rejection *ledger.Rejection
	err := first.Propose(bounded(t), ledger.Announce{Recovery: "shop-9", At: noon})
	if !errors.As(err, &rejection) || !strings.Contains(rejection.Reason, "unknown") {
		t.Errorf("a command that the ledger refuses: %v", err)
	}

	// The leader leaves: another takes over, with everything, at once.
	changes, cancel := follower.LeaderChanges()
	defer cancel()
	if <-changes {
		t.Error("a follower began as the leader")
	}
	closeNow(t, first)
	if err := first.Propose(bounded(t), adopt(2)); !errors.Is(err, ErrClosed) {
		t.Errorf("Propose after Close: %v", err)
	}
	rest := others(all, first)
	second := leader(t, rest...)
	if err := second.Barrier(bounded(t)); err != nil || !knows(second, 1) {
		t.Fatalf("after the barrier the new leader knows it: %t, %v", knows(second, 1), err)
	}
	if second == follower {
		eventually(t, "the subscriber hears of it", func() bool { return <-changes })
	}
	propose(t, second, adopt(2))

	// It returns, with its state, and catches up.
	back := open(t, first.cfg)
	if !knows(back, 1) {
		t.Error("the state was not there before the first contact")
	}
	eventually(t, "the one that returned catches up", func() bool { return knows(back, 2) })
	stats := back.Stats()
	if stats.State != "follower" || stats.Term < 2 || len(stats.Peers) != 3 || stats.AppliedIndex == 0 {
		t.Errorf("stats: %+v", stats)
	}
}

func TestFollowerFarBehindGetsASnapshot(t *testing.T) {
	cfgs := configs(t, 3)
	for i := range cfgs {
		cfgs[i].Compaction = Compaction{Every: 20 * time.Millisecond, Entries: 20, Keep: 5, SegmentBytes: 64 << 10}
	}
	all := openAll(t, cfgs)
	lead := leader(t, all...)
	propose(t, lead, adopt(1))
	late := others(all, lead)[0]
	eventually(t, "the follower follows", func() bool { return knows(late, 1) })
	closeNow(t, late)

	var results []<-chan error
	for n := 2; n <= 400; n++ {
		// Long, so that the log takes several segments: raft-wal still reads what
		// was cut as long as its segment is there.
		results = append(results, lead.ProposeAsync(bounded(t), ledger.AdoptMaster{
			Cluster: fmt.Sprintf("shop-%d", n), Master: server(n), UUID: strings.Repeat("u", 255), At: noon,
		}))
	}
	for _, result := range results {
		if err := <-result; err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the leader cuts its log", func() bool {
		first, err := lead.disk.log.FirstIndex()
		return err == nil && first > 350
	})
	back := open(t, late.cfg)
	eventually(t, "the follower has it all", func() bool { return knows(back, 400) && knows(back, 2) })
	if list, err := back.disk.snapshots.List(); err != nil || len(list) == 0 {
		t.Errorf("no snapshot was installed: %v, %v", list, err)
	}
	propose(t, lead, adopt(401))
	eventually(t, "the follower goes on", func() bool { return knows(back, 401) })
	closeNow(t, back)
	again := open(t, late.cfg)
	if !knows(again, 400) {
		t.Error("what the snapshot brought is gone after a restart")
	}
}

func TestWithoutQuorum(t *testing.T) {
	all := openAll(t, configs(t, 3))
	lead := leader(t, all...)
	rest := others(all, lead)
	for _, s := range rest {
		// Not Close: that would be an orderly farewell of a follower, too.
		if err := s.transport.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ctx := bounded(t)
	err := lead.Propose(ctx, adopt(1))
	if !errors.Is(err, ErrUnknownOutcome) || ctx.Err() != nil {
		t.Errorf("Propose without a majority: %v, %v", err, ctx.Err())
	}
	if err := lead.VerifyLeader(ctx); !errors.Is(err, ErrNotLeader) {
		t.Errorf("VerifyLeader without a majority: %v", err)
	}
	eventually(t, "it steps down", func() bool { return !lead.IsLeader() })
	if err := lead.Propose(ctx, adopt(2)); !errors.Is(err, ErrNotLeader) {
		t.Errorf("Propose after stepping down: %v", err)
	}
	if knows(lead, 1) {
		t.Error("a command without a majority was applied")
	}
}

func TestContextEndsAProposal(t *testing.T) {
	all := openAll(t, configs(t, 3))
	lead := leader(t, all...)
	done, cancel := context.WithCancel(context.Background())
	cancel()
	if err := lead.Propose(done, adopt(1)); err == nil || errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("a context that had ended: %v", err)
	}
	for _, s := range others(all, lead) {
		if err := s.transport.Close(); err != nil {
			t.Fatal(err)
		}
	}
	short, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := lead.Propose(short, adopt(2)); !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a context that ends while waiting: %v", err)
	}
}

func TestPipelineKeepsItsOrder(t *testing.T) {
	s := open(t, configs(t, 1)[0])
	leader(t, s)
	propose(t, s, ledger.AdoptMaster{Cluster: "shop", Master: server(1), At: noon})
	propose(t, s, ledger.ClaimRecovery{
		Cluster: "shop", RecoveryKind: ledger.Switchover, Finding: "asked", Old: server(1),
		ExpectEpoch: s.State().Clusters["shop"].Epoch, Leader: "c1", At: noon,
	})
	var results []<-chan error
	for n := range 300 {
		step := ledger.Step{
			Name: fmt.Sprint(n), Leader: "c1", StartedAt: noon, EndedAt: noon, Outcome: ledger.StepDone,
		}
		results = append(results, s.ProposeAsync(bounded(t), ledger.RecordSteps{Recovery: "shop-2", Steps: []ledger.Step{step}}))
	}
	for _, result := range results {
		if err := <-result; err != nil {
			t.Fatal(err)
		}
	}
	for n, step := range s.State().Recoveries["shop-2"].Steps {
		if step.Name != fmt.Sprint(n) {
			t.Fatalf("step %d is %s", n, step.Name)
		}
	}
	if got := len(s.State().Recoveries["shop-2"].Steps); got != 300 {
		t.Fatalf("%d steps", got)
	}
}
