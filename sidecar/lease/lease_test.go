package lease_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"switchyard/router/routes"
	"switchyard/sidecar/lease"
)

const (
	ms    = lease.Instant(time.Millisecond)
	grant = 10 * time.Second
	// full is how long that counts, by the slowest of clocks.
	full = lease.Instant(grant - grant/500)
)

func config() lease.Config {
	return lease.Config{
		Controllers: []string{"c1", "c2", "c3"}, Peers: []string{"db2", "db3"},
		Fence: 400 * time.Millisecond, Kill: 100 * time.Millisecond,
	}
}

func start(t *testing.T, cfg lease.Config, book lease.Book) *lease.Lease {
	t.Helper()
	l, err := lease.New(cfg, book, "boot-1")
	must(t, err)
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func granted(t *testing.T, l *lease.Lease, sent lease.Instant, controllers ...string) {
	t.Helper()
	for _, c := range controllers {
		must(t, l.Granted(lease.Grant{Controller: c, Sent: sent, Duration: grant, Epoch: epoch(1)}))
	}
}

func deposed(t *testing.T, l *lease.Lease, sent lease.Instant, number uint64, controllers ...string) {
	t.Helper()
	for _, c := range controllers {
		must(t, l.Refused(lease.Refusal{Controller: c, Sent: sent, Epoch: epoch(number), Deposed: true}))
	}
}

func followed(t *testing.T, l *lease.Lease, sent lease.Instant, peers ...string) {
	t.Helper()
	for _, p := range peers {
		must(t, l.Answered(lease.Answer{Peer: p, Sent: sent, Follows: true}))
	}
}

func epoch(number uint64) routes.Epoch { return routes.Epoch{Generation: 1, Number: number} }

func want(t *testing.T, l *lease.Lease, now lease.Instant, server lease.Server, action lease.Action) lease.Decision {
	t.Helper()
	d := l.Decide(now, server)
	if d.Action != action {
		t.Fatalf("at %s: %s (%s), want %s", time.Duration(now), d.Action, d.Reason, action)
	}
	return d
}

// TestAMajorityAtOneTime: grants of a majority that never overlapped are none.
func TestAMajorityAtOneTime(t *testing.T) {
	l := start(t, config(), lease.Book{})
	granted(t, l, 0, "c1")
	granted(t, l, 9000*ms, "c2")
	d := want(t, l, 9001*ms, lease.Writable, lease.Hold)
	if d.Until != full {
		t.Errorf("until %s", time.Duration(d.Until))
	}
	granted(t, l, full, "c2")
	want(t, l, full, lease.Writable, lease.Kill)
}

// TestBookIsACopy: what was remembered does not change behind whoever keeps it.
func TestBookIsACopy(t *testing.T) {
	l := start(t, config(), lease.Book{})
	granted(t, l, 0, "c1", "c2")
	want(t, l, 1*ms, lease.Writable, lease.Hold)
	want(t, l, full, lease.Writable, lease.Kill)
	before := l.Book()
	kept := fmt.Sprintf("%+v %+v", before, *before.Fence)
	granted(t, l, full+1, "c1")
	want(t, l, full+2, lease.ReadOnly, lease.Fenced)
	if now := fmt.Sprintf("%+v %+v", before, *before.Fence); now != kept {
		t.Errorf("was %s\nis  %s", kept, now)
	}
}

// TestCutOffMaster is the way of a server that nobody hears any more.
func TestCutOffMaster(t *testing.T) {
	l := start(t, config(), lease.Book{})
	want(t, l, 0, lease.Writable, lease.Unleased)
	granted(t, l, 1000*ms, "c1")
	want(t, l, 1001*ms, lease.Writable, lease.Unleased)
	granted(t, l, 1000*ms, "c2")
	d := want(t, l, 1002*ms, lease.Writable, lease.Hold)
	end := 1000*ms + full
	if d.Until != end || d.Next != end-500*ms {
		t.Errorf("until %s, next %s", time.Duration(d.Until), time.Duration(d.Next))
	}
	want(t, l, d.Next-1, lease.Writable, lease.Hold)
	d = want(t, l, d.Next, lease.Writable, lease.Fence)
	if d.By != end-100*ms || d.Next != d.By {
		t.Errorf("by %s, next %s", time.Duration(d.By), time.Duration(d.Next))
	}
	want(t, l, d.By-1, lease.Silent, lease.Fence)
	want(t, l, d.By, lease.Silent, lease.Kill)
	want(t, l, d.By, lease.Writable, lease.Kill)
	want(t, l, d.By, lease.ReadOnly, lease.Fenced)
	want(t, l, d.By+1, lease.Silent, lease.Fenced) // it was read back, and hangs now
}

func TestFenceStandsUntilAMajorityGrantsAgain(t *testing.T) {
	l := start(t, config(), lease.Book{})
	granted(t, l, 0, "c1", "c2", "c3")
	d := want(t, l, 1*ms, lease.Writable, lease.Hold)
	fence := d.Next
	want(t, l, fence, lease.Writable, lease.Fence)
	want(t, l, fence+1*ms, lease.ReadOnly, lease.Fenced)

	// Asked for before the fence, answered after it.
	granted(t, l, fence-1*ms, "c1", "c2", "c3")
	followed(t, l, fence+2*ms, "db2", "db3")
	want(t, l, fence+3*ms, lease.ReadOnly, lease.Fenced)
	granted(t, l, fence+4*ms, "c1")
	want(t, l, fence+5*ms, lease.ReadOnly, lease.Fenced)
	// Made writable by hand meanwhile, or started so: the same fence again.
	d = want(t, l, fence+6*ms, lease.Writable, lease.Fence)
	if d.By != fence+406*ms {
		t.Errorf("by %s", time.Duration(d.By-fence))
	}
	want(t, l, d.By, lease.Writable, lease.Kill)
	want(t, l, d.By+50*ms, lease.Gone, lease.Fenced)
	want(t, l, d.By+60*ms, lease.Starting, lease.Fenced)
	want(t, l, d.By+70*ms, lease.Silent, lease.Fence) // it may have started writable
	// A restart of the sidecar changes nothing.
	l = start(t, config(), stored(t, l.Book()))
	want(t, l, d.By+80*ms, lease.Silent, lease.Fence)
	granted(t, l, d.By+90*ms, "c2", "c3")
	want(t, l, d.By+91*ms, lease.ReadOnly, lease.Hold)
}

// stored is what a book is after it was on disk.
func stored(t *testing.T, book lease.Book) lease.Book {
	t.Helper()
	text, err := json.Marshal(book)
	must(t, err)
	var read lease.Book
	must(t, json.Unmarshal(text, &read))
	return read
}

func TestPeersKeepALeaseAndBeginNone(t *testing.T) {
	l := start(t, config(), lease.Book{})
	followed(t, l, 0, "db2", "db3")
	want(t, l, 1*ms, lease.Writable, lease.Unleased)
	granted(t, l, 0, "c1", "c2")
	want(t, l, 2*ms, lease.Writable, lease.Hold)
	// One peer and this one are a majority of three; the controllers are gone.
	now := lease.Instant(0)
	for range 100 {
		now += 5000 * ms
		followed(t, l, now, "db3")
		d := want(t, l, now+1, lease.Writable, lease.Hold)
		if d.Until != now+full {
			t.Fatalf("until %s", time.Duration(d.Until))
		}
	}
	must(t, l.Answered(lease.Answer{Peer: "db3", Sent: now + 2, Follows: false}))
	followed(t, l, now+1, "db3") // asked before, heard after
	want(t, l, now+3, lease.Writable, lease.Fence)
}

// TestTooFewPeersAreNoMajority is the twin: half of the cluster is too little.
func TestTooFewPeersAreNoMajority(t *testing.T) {
	for _, test := range []struct {
		peers, follow int
		action        lease.Action
	}{
		{1, 0, lease.Fence}, {1, 1, lease.Hold}, {2, 0, lease.Fence}, {2, 1, lease.Hold},
		{3, 1, lease.Fence}, {3, 2, lease.Hold}, {4, 1, lease.Fence}, {4, 2, lease.Hold},
	} {
		cfg := config()
		cfg.Peers = []string{"db2", "db3", "db4", "db5"}[:test.peers]
		l := start(t, cfg, lease.Book{})
		granted(t, l, 0, "c1", "c2")
		want(t, l, 1, lease.Writable, lease.Hold)
		followed(t, l, 5000*ms, cfg.Peers[:test.follow]...)
		want(t, l, 5001*ms, lease.Writable, lease.Hold)
		want(t, l, full-500*ms, lease.Writable, test.action)
	}
}

func TestWithoutPeersThereIsNoMajorityOfThem(t *testing.T) {
	cfg := config()
	cfg.Peers = nil
	l := start(t, cfg, lease.Book{})
	granted(t, l, 0, "c1", "c2")
	d := want(t, l, 1, lease.Writable, lease.Hold)
	want(t, l, d.Next, lease.Writable, lease.Fence)
}

func TestDeposed(t *testing.T) {
	l := start(t, config(), lease.Book{})
	granted(t, l, 0, "c1", "c2", "c3")
	followed(t, l, 0, "db2", "db3")
	want(t, l, 1*ms, lease.Writable, lease.Hold)
	deposed(t, l, 100*ms, 2, "c1")
	want(t, l, 101*ms, lease.Writable, lease.Hold) // two of three grant
	deposed(t, l, 100*ms, 2, "c2")
	// Peers that have not heard of it yet do not count; it is fenced at once.
	d := want(t, l, 102*ms, lease.Writable, lease.Fence)
	if d.By != 502*ms || !strings.Contains(d.Reason, "deposed") {
		t.Errorf("by %s: %s", time.Duration(d.By), d.Reason)
	}
}

// TestOlderEpochDeposesNobody: a controller that is behind refuses.
func TestOlderEpochDeposesNobody(t *testing.T) {
	for number, action := range map[uint64]lease.Action{1: lease.Hold, 2: lease.Fence} {
		l := start(t, config(), lease.Book{})
		granted(t, l, 0, "c1", "c2", "c3")
		followed(t, l, 0, "db2", "db3")
		want(t, l, 1*ms, lease.Writable, lease.Hold)
		deposed(t, l, 100*ms, number, "c1", "c2")
		want(t, l, 101*ms, lease.Writable, action)
	}
}

func TestAnswersThatOvertakeEachOther(t *testing.T) {
	l := start(t, config(), lease.Book{})
	granted(t, l, 0, "c1", "c2")
	want(t, l, 1*ms, lease.Writable, lease.Hold)
	deposed(t, l, 200*ms, 2, "c1", "c2", "c3")
	granted(t, l, 100*ms, "c1", "c2", "c3") // asked before, heard after
	want(t, l, 201*ms, lease.Writable, lease.Fence)
}

// TestLateIsKilled: after a suspended host wakes, or a sidecar that hung goes
// on, nothing is tried that takes time.
func TestLateIsKilled(t *testing.T) {
	l := start(t, config(), lease.Book{})
	granted(t, l, 0, "c1", "c2")
	followed(t, l, 0, "db2", "db3")
	want(t, l, 1*ms, lease.Writable, lease.Hold)
	followed(t, l, 60_000*ms, "db2", "db3") // nor do peers bring back what has ended
	want(t, l, 60_001*ms, lease.Writable, lease.Kill)
}

func TestReboot(t *testing.T) {
	l := start(t, config(), lease.Book{})
	granted(t, l, 50_000*ms, "c1", "c2")
	followed(t, l, 50_000*ms, "db2", "db3")
	want(t, l, 50_001*ms, lease.Writable, lease.Hold)
	again, err := lease.New(config(), stored(t, l.Book()), "boot-2")
	must(t, err)
	// Instants of the last boot would look like the future.
	want(t, again, 10*ms, lease.Starting, lease.Fenced)
	followed(t, again, 20*ms, "db2", "db3")
	want(t, again, 30*ms, lease.Writable, lease.Fence)
	granted(t, again, 40*ms, "c1", "c2")
	want(t, again, 41*ms, lease.Writable, lease.Hold)

	never, err := lease.New(config(), lease.Book{Boot: "boot-1"}, "boot-2")
	must(t, err)
	want(t, never, 10*ms, lease.Writable, lease.Unleased)
}

// TestPeersCountAsLongAsTheShortestGrant: the most impatient promoter waits no longer.
func TestPeersCountAsLongAsTheShortestGrant(t *testing.T) {
	l := start(t, config(), lease.Book{})
	granted(t, l, 0, "c1", "c2")
	must(t, l.Granted(lease.Grant{Controller: "c3", Duration: 5 * time.Second, Epoch: epoch(1)}))
	want(t, l, 1*ms, lease.Writable, lease.Hold)
	followed(t, l, 9000*ms, "db2")
	d := want(t, l, 9001*ms, lease.Writable, lease.Hold)
	if d.Until != 9000*ms+full/2 {
		t.Errorf("until %s", time.Duration(d.Until))
	}
}

func TestFirstGrantThatCameTooLateLeavesTheServerAlone(t *testing.T) {
	l := start(t, config(), lease.Book{})
	granted(t, l, 0, "c1", "c2")
	want(t, l, full, lease.Writable, lease.Unleased)
}

func TestBadInputIsRefusedAndChangesNothing(t *testing.T) {
	l := start(t, config(), lease.Book{})
	for _, test := range []struct {
		err  error
		want string
	}{
		{l.Granted(lease.Grant{Controller: "c9", Duration: grant}), "c9"},
		{l.Granted(lease.Grant{Controller: "c1", Duration: 500 * time.Millisecond}), "lengthen"},
		{l.Granted(lease.Grant{Controller: "c1", Duration: -1}), "lengthen"},
		{l.Granted(lease.Grant{Controller: "c1", Duration: 1<<63 - 1}), "at most an hour"},
		{l.Refused(lease.Refusal{Controller: ""}), "controllers"},
		{l.Answered(lease.Answer{Peer: "c1", Follows: true}), "peers"},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%v, want %q in it", test.err, test.want)
		}
	}
	if book := l.Book(); len(book.Voices)+len(book.Answers) != 0 {
		t.Errorf("kept: %+v", book)
	}
	for field, change := range map[string]func(*lease.Config){
		"controllers: none": func(c *lease.Config) { c.Controllers = nil },
		"controllers: \"c":  func(c *lease.Config) { c.Controllers = []string{"c1", "c1"} },
		"peers":             func(c *lease.Config) { c.Peers = []string{""} },
		"fence":             func(c *lease.Config) { c.Fence = 0 },
		"kill":              func(c *lease.Config) { c.Kill = -1 },
	} {
		cfg := config()
		change(&cfg)
		if _, err := lease.New(cfg, lease.Book{}, "b"); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestShortestIsOfUse: a lease of that length is held for a moment.
func TestShortestIsOfUse(t *testing.T) {
	cfg := config()
	l := start(t, cfg, lease.Book{})
	for _, c := range []string{"c1", "c2"} {
		must(t, l.Granted(lease.Grant{Controller: c, Duration: cfg.Shortest()}))
	}
	want(t, l, 0, lease.Writable, lease.Hold)
}
