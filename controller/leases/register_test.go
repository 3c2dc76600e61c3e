package leases_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/leases"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/sidecar/protocol"
	"switchyard/store/ledger"
)

func wantGrant(t *testing.T, r protocol.RenewReply) {
	t.Helper()
	if r.Refusal != "" || r.GrantMS != int(lease.Milliseconds()) {
		t.Errorf("want a grant, got %+v", r)
	}
}

func wantRefusal(t *testing.T, r protocol.RenewReply, reason protocol.Reason, words string) {
	t.Helper()
	if r.Refusal != reason || !strings.Contains(r.Detail, words) {
		t.Errorf("want %s with %q, got %+v", reason, words, r)
	}
}

func TestMasterIsGranted(t *testing.T) {
	w := newWorld(t)
	r := w.renew("c1", renewal("m", nil))
	wantGrant(t, r)
	if r.Controller != "c1" || r.Leader != "c1" || r.Epoch != w.state.Clusters["shop"].Epoch {
		t.Errorf("%+v", r)
	}
}

// TestRefusals: each is by one fact that differs from the renewal that is granted.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		world  func(*world)
		renew  func(*protocol.Renew)
		server string
		reason protocol.Reason
		words  string
	}{
		"a replica":                {server: "a", reason: protocol.Standby, words: "m:3306 is the master"},
		"another cluster":          {renew: func(q *protocol.Renew) { q.Cluster = "other" }, reason: protocol.Unknown, words: `no cluster "other"`},
		"a server nobody knows":    {server: "x", reason: protocol.Unknown, words: "as the ledger knows them"},
		"another server's uuid":    {renew: func(q *protocol.Renew) { q.UUID = "uuid-x" }, reason: protocol.Conflict, words: "uuid-m"},
		"a fence that is too long": {renew: func(q *protocol.Renew) { q.FenceMS = 2001 }, reason: protocol.Conflict, words: "sidecars.fence"},
		"another sidecar": {world: func(w *world) { w.renew("c1", renewal("m", nil)) },
			renew: func(q *protocol.Renew) { q.Sidecar = "stranger" }, reason: protocol.Conflict, words: "side-m renews"},
		"a run that a later one replaced": {world: func(w *world) {
			w.renew("c1", renewal("m", nil))
			w.renew("c1", renewal("m", func(q *protocol.Renew) { q.Run = "r2" }))
		}, reason: protocol.Conflict, words: "a later run"},
		"a controller that stands aside": {world: func(w *world) { w.aside = map[string]string{"c1": "its ledger differs"} },
			reason: protocol.NotReady, words: "its ledger differs"},
		"an empty ledger": {world: func(w *world) { w.behind["c1"] = ledger.State{} }, reason: protocol.NotReady, words: "not read"},
		"a failover of it": {world: func(w *world) { w.claim(ledger.Failover) }, reason: protocol.Deposed,
			words: "promotes another server"},
		"a successor": {world: func(w *world) { w.moved(ledger.Switchover) }, reason: protocol.Deposed, words: "a:3306 is the master"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.server == "" {
				c.server = "m"
				wantGrant(t, w.renew("c2", renewal("m", nil)))
			}
			if c.world != nil {
				c.world(w)
			}
			wantRefusal(t, w.renew("c1", renewal(c.server, c.renew)), c.reason, c.words)
		})
	}
}

// moved has a recovery announce a.
func (w *world) moved(kind ledger.Kind) {
	w.t.Helper()
	w.claim(kind)
	w.must(ledger.ChooseWinner{Recovery: w.recovery(), Winner: key("a"), Reason: "test", At: w.now})
	w.must(ledger.Announce{Recovery: w.recovery(), At: w.now})
}

// TestWinnerIsGrantedAsSoonAsItIsCommitted: it is made writable only after that.
func TestWinnerIsGrantedAsSoonAsItIsCommitted(t *testing.T) {
	w := newWorld(t)
	w.claim(ledger.Failover)
	wantRefusal(t, w.renew("c1", renewal("a", nil)), protocol.Standby, "")
	w.must(ledger.ChooseWinner{Recovery: w.recovery(), Winner: key("a"), Reason: "test", At: w.now})
	wantGrant(t, w.renew("c1", renewal("a", nil)))
	wantRefusal(t, w.renew("c1", renewal("m", nil)), protocol.Deposed, "")
}

// TestPlannedSwitchoverDoesNotFenceTheOldMaster before its clients could end.
func TestPlannedSwitchoverDoesNotFenceTheOldMaster(t *testing.T) {
	w := newWorld(t)
	w.claim(ledger.Switchover)
	w.must(ledger.ChooseWinner{Recovery: w.recovery(), Winner: key("a"), Reason: "test", At: w.now})
	wantGrant(t, w.renew("c1", renewal("m", nil)))
	w.must(ledger.Announce{Recovery: w.recovery(), At: w.now})
	wantRefusal(t, w.renew("c1", renewal("m", nil)), protocol.Deposed, "a:3306")
}

// TestFailedFailoverLeavesTheMasterItsLease, so that it can serve again.
func TestFailedFailoverLeavesTheMasterItsLease(t *testing.T) {
	w := newWorld(t)
	epoch := w.claim(ledger.Failover)
	if r := w.word("c1", epoch); !r.Given {
		t.Fatalf("%+v", r)
	}
	wantRefusal(t, w.renew("c1", renewal("m", nil)), protocol.Deposed, "")
	w.must(ledger.CloseRecovery{Recovery: w.recovery(), Outcome: ledger.Failed, Message: "test", At: w.now})
	wantGrant(t, w.renew("c1", renewal("m", nil)))
}

func TestAnotherSidecarMayFollowOnceTheFirstIsSilent(t *testing.T) {
	w := newWorld(t)
	wantGrant(t, w.renew("c1", renewal("m", nil)))
	stranger := func(q *protocol.Renew) { q.Sidecar = "replacement" }
	w.pass(lease + 1500*time.Millisecond - 1)
	wantRefusal(t, w.renew("c1", renewal("m", stranger)), protocol.Conflict, "")
	w.pass(1)
	wantGrant(t, w.renew("c1", renewal("m", stranger)))
}

// TestAShorterLeaseDoesNotEndALongerOne that was granted before the configuration
// was changed.
func TestAShorterLeaseDoesNotEndALongerOne(t *testing.T) {
	w := newWorld(t)
	w.lease = time.Minute
	w.start("c2")
	w.lease = lease
	w.start("c2")
	epoch := w.claim(ledger.Failover)
	w.pass(time.Minute + fence - 1)
	if r := w.word("c2", epoch); r.Given || !strings.Contains(r.Missing, "started lately") {
		t.Errorf("a grant may be in force: %+v", r)
	}
	w.pass(1)
	if r := w.word("c2", epoch); !r.Given {
		t.Errorf("%+v", r)
	}
	w.start("c2")
	w.pass(lease + fence)
	if r := w.word("c2", epoch); !r.Given {
		t.Errorf("it was over: %+v", r)
	}
}

// TestWordOutlivesARestart: the controller's ledger may be behind what it gave
// its word for.
func TestWordOutlivesARestart(t *testing.T) {
	w := newWorld(t)
	before := w.state
	epoch := w.claim(ledger.Failover)
	w.word("c2", epoch)
	w.behind["c2"], w.behind["c3"] = before, before
	w.start("c2")
	w.start("c3") // which gave none
	wantRefusal(t, w.renew("c2", renewal("m", nil)), protocol.Deposed, "gave its word")
	wantGrant(t, w.renew("c3", renewal("m", nil)))
}

func TestWordIsNotGivenSoonAfterAStart(t *testing.T) {
	w := newWorld(t)
	epoch := w.claim(ledger.Failover)
	w.start("c2")
	w.pass(lease + fence - 1)
	if r := w.word("c2", epoch); r.Given || !strings.Contains(r.Missing, "started lately") {
		t.Errorf("%+v", r)
	}
	w.pass(1)
	if r := w.word("c2", epoch); !r.Given {
		t.Errorf("%+v", r)
	}
}

func TestWordThatCannotBeWrittenIsNotGiven(t *testing.T) {
	w := newWorld(t)
	w.books["c2"].fail = errors.New("no space left on device")
	q := wire.WordRequest{Asker: "c1", Cluster: "shop", Server: key("m"), Epoch: routes.Epoch{Generation: 1, Number: 2}}
	if r, err := w.registers["c2"].Word(context.Background(), q); err == nil || r.Given {
		t.Errorf("%+v, %v", r, err)
	}
	wantGrant(t, w.renew("c2", renewal("m", nil)))
	w.books["c2"].fail = nil
	if r := w.word("c2", q.Epoch); !r.Given {
		t.Errorf("%+v", r)
	}
	wantRefusal(t, w.renew("c2", renewal("m", nil)), protocol.Deposed, "gave its word")
	if r := w.word("c2", routes.Epoch{Generation: 1, Number: 1}); r.Given {
		t.Errorf("its word for an older epoch: %+v", r)
	}
}

func TestAccountIsNoWord(t *testing.T) {
	w := newWorld(t)
	w.renew("c2", renewal("m", nil))
	w.pass(time.Second)
	r := w.word("c2", routes.Epoch{})
	if r.Given || r.LongestMS != 5000 || r.FenceMS != 1500 || r.Heard == nil || r.Heard.AgoMS != 1000 || !r.Heard.Tied || r.Heard.Holding != "held" {
		t.Errorf("%+v %+v", r, r.Heard)
	}
	wantGrant(t, w.renew("c2", renewal("m", nil)))
	// Who was not heard may have been granted what the configuration allows.
	if r := w.word("c3", routes.Epoch{}); r.Heard != nil || r.FenceMS != 2000 {
		t.Errorf("%+v", r)
	}
	for _, q := range []wire.WordRequest{{}, {Asker: "c1"}, {Asker: "c1", Cluster: "shop"}} {
		if _, err := w.registers["c2"].Word(context.Background(), q); err == nil {
			t.Errorf("%+v is answered", q)
		}
	}
}

func TestExitIsAHint(t *testing.T) {
	w := newWorld(t)
	w.renew("c1", renewal("m", nil))
	e := protocol.Exit{Who: renewal("m", nil).Who, Kind: protocol.Killed, Status: 9, PID: 42, AgoMS: 100}
	if noted, err := w.registers["c1"].Exit(context.Background(), e); err != nil || noted.Controller != "c1" {
		t.Fatal(noted, err)
	}
	select {
	case hint := <-w.registers["c1"].Exits():
		if hint.Server != key("m") || hint.Kind != protocol.Killed || !strings.Contains(hint.Why, "signal 9") {
			t.Errorf("%+v", hint)
		}
	default:
		t.Error("nobody was told")
	}
	s, ok := w.registers["c1"].Status(key("m"))
	if !ok || !strings.Contains(s.Exit, "42") || !s.ExitAt.Equal(w.now.Add(-100*time.Millisecond)) || !s.Until.Equal(w.now.Add(lease)) || !s.Tied {
		t.Errorf("%+v", s)
	}
	e.Cluster = "other"
	if _, err := w.registers["c1"].Exit(context.Background(), e); err == nil {
		t.Error("a stranger's report was taken")
	}
}

func TestFileKeepsWhatWasWritten(t *testing.T) {
	f := leases.File(filepath.Join(t.TempDir(), "words.json"))
	if data, err := f.Read(); data != nil || err != nil {
		t.Fatal(data, err)
	}
	for _, text := range []string{"{}", `{"m:3306":{"generation":1,"number":2}}`} {
		if err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if data, err := f.Read(); string(data) != text || err != nil {
			t.Fatal(string(data), err)
		}
	}
	if err := leases.File(filepath.Join(t.TempDir(), "no", "words.json")).Write(nil); err == nil {
		t.Error("written nowhere")
	}
	if _, err := leases.New(leases.Config{Self: "c1", Run: "r", Lease: lease, Fence: fence, Now: time.Now,
		Controllers: []string{"c1"}, Sidecars: map[topology.Key]string{}}, applied{}, &book{data: []byte("?")}, nil); err == nil {
		t.Error("a broken book was read")
	}
	if _, err := leases.New(leases.Config{Self: "c1", Run: "r", Lease: fence, Fence: fence, Now: time.Now, Controllers: []string{"c1"}}, applied{}, &book{}, nil); err == nil {
		t.Error("a lease as short as its fence")
	}
}

func TestShown(t *testing.T) {
	w := newWorld(t)
	r := w.registers["c1"]
	if got := r.Shown(key("x")); got != nil {
		t.Errorf("%+v", got)
	}
	for _, c := range []struct {
		say  func(*protocol.Renew)
		pass time.Duration
		why  string
	}{
		{nil, 0, ""},
		{func(q *protocol.Renew) { q.Tied = false }, 0, "outlive"},
		{func(q *protocol.Renew) { q.Holding = protocol.Unleased }, 0, "no lease"},
		{nil, lease + fence + time.Second, "not heard for 8s"},
	} {
		if got := r.Shown(key("m")); got == nil || c.why == "" && !strings.Contains(got.NoPromise, "not heard since") {
			t.Errorf("%+v", got)
		}
		w.renew("c1", renewal("m", c.say))
		w.pass(c.pass)
		if got := r.Shown(key("m")); !strings.Contains(got.NoPromise, c.why) || (got.NoPromise == "") != (c.why == "") ||
			*got.HeardMS != c.pass.Milliseconds() || got.GrantedUntil.IsZero() {
			t.Errorf("want %q, got %+v", c.why, got)
		}
	}
}
