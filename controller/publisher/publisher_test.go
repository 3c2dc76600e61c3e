package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/publisher"
	"switchyard/router/routes"
)

// shelf is a directory in memory that orders by epoch, as Consul's adapter does.
type shelf struct {
	datacenter string

	mu     sync.Mutex
	held   map[string]routes.Record
	hangs  bool
	slow   time.Duration
	calls  int
	writes int
}

func newShelf(datacenter string) *shelf {
	return &shelf{datacenter: datacenter, held: make(map[string]routes.Record)}
}

func (s *shelf) Datacenter() string { return s.datacenter }

func (s *shelf) Publish(ctx context.Context, record routes.Record) (*routes.Holding, error) {
	s.mu.Lock()
	s.calls++
	if s.hangs {
		s.mu.Unlock()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if s.slow > 0 {
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(s.slow):
		}
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	held := s.held[record.Cluster]
	if held.Epoch.Compare(record.Epoch) > 0 {
		return nil, &routes.HigherEpochError{Cluster: record.Cluster, Held: held.Epoch, Offered: record.Epoch}
	}
	if held == record {
		return nil, nil
	}
	s.held[record.Cluster] = record
	s.writes++
	return &routes.Holding{Record: held}, nil
}

func (s *shelf) Inspect(ctx context.Context, cluster string) (routes.Holding, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hangs {
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
		return routes.Holding{}, ctx.Err()
	}
	return routes.Holding{Record: s.held[cluster]}, nil
}

func (s *shelf) set(change func(*shelf)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *shelf) get(cluster string) routes.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[cluster]
}

func (s *shelf) counts() (calls, writes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls, s.writes
}

// book is a ledger.
type book struct {
	mu        sync.Mutex
	tables    []routes.Table
	leads     error
	refuses   error
	confirmed []string
	notices   []publisher.Notice
}

func (b *book) Tables() []routes.Table {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.tables)
}

func (b *book) Leads(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.leads
}

func (b *book) Confirm(_ context.Context, datacenter string, table routes.Table) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuses != nil {
		return b.refuses
	}
	b.confirmed = append(b.confirmed, fmt.Sprintf("%s %s %s/%d", datacenter, table.Cluster, table.Epoch, table.Revision))
	return nil
}

func (b *book) Notice(_ context.Context, n publisher.Notice) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuses != nil {
		return b.refuses
	}
	b.notices = append(b.notices, n)
	return nil
}

func (b *book) noticed() []publisher.Notice {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.notices)
}

func (b *book) set(change func(*book)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
}

func (b *book) confirmations() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(slices.Values(b.confirmed))
}

func table(number uint64, host string) routes.Table {
	t := routes.Table{Cluster: "shop", Epoch: routes.Epoch{Generation: 1, Number: number}, Revision: 2}
	if host != "" {
		t.Writer = &routes.Server{Host: host, Port: 3306}
	}
	return t
}

func resolves(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("fd00::9"), netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("10.0.0.1"),
		netip.MustParseAddr("fd00::1")}, nil
}

func newPublisher(t *testing.T, config publisher.Config, ledger *book, shelves ...*shelf) *publisher.Publisher {
	t.Helper()
	if config.Lookup == nil {
		config.Lookup = resolves
	}
	directories := make([]publisher.Directory, len(shelves))
	for i, s := range shelves {
		directories[i] = s
	}
	p, err := publisher.New(config, directories, ledger, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// audit runs the loop beside the test until it is stopped.
func audit(t *testing.T, p *publisher.Publisher) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	one, two := newShelf("dc1"), newShelf("dc1")
	log := slog.New(slog.DiscardHandler)
	for want, try := range map[string]struct {
		config      publisher.Config
		directories []publisher.Directory
	}{
		"resolver":        {publisher.Config{}, nil},
		"interval":        {publisher.Config{Lookup: resolves, Interval: -1}, nil},
		"two directories": {publisher.Config{Lookup: resolves}, []publisher.Directory{one, two}},
	} {
		_, err := publisher.New(try.config, try.directories, &book{}, time.Now, log)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New() = %v, want an error with %q", err, want)
		}
	}
}

func TestPushReachesAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dc1, dc2, dc3 := newShelf("dc1"), newShelf("dc2"), newShelf("dc3")
		dc2.hangs = true
		dc3.held["shop"] = routes.Record{Epoch: routes.Epoch{Generation: 1, Number: 9}}
		p := newPublisher(t, publisher.Config{Datacenter: "dc1"}, &book{}, dc1, dc2, dc3)
		began := time.Now()
		receipts := p.Push(t.Context(), table(5, "db1"))
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %s: the hung directory must cost its timeout and no more", took)
		}
		want := []routes.Answer{routes.Confirmed, routes.Unknown, routes.Unknown}
		for i, receipt := range receipts {
			if receipt.Answer != want[i] || (receipt.Err == nil) != (want[i] == routes.Confirmed) {
				t.Errorf("receipt %d: %+v", i, receipt)
			}
		}
		if receipts[0].Took != 0 || receipts[0].Receiver != "dc1" {
			t.Errorf("receipt %+v: the others held it up", receipts[0])
		}
		wantRecord := routes.Record{Cluster: "shop", Epoch: table(5, "").Epoch, Revision: 2, Master: routes.Server{Host: "db1", Port: 3306},
			IPv4: "10.0.0.1", IPv6: "fd00::1"}
		if got := dc1.get("shop"); got != wantRecord {
			t.Errorf("published %+v, want %+v", got, wantRecord)
		}
		status := p.Status()
		if len(status) != 3 || !status[0].Reachable || status[1].Reachable || !status[2].Held || status[2].Epoch.Number != 9 {
			t.Errorf("status %+v", status)
		}
	})
}

func TestWithdrawnTableIsNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dc1 := newShelf("dc1")
		last := routes.Record{Cluster: "shop", Epoch: table(4, "").Epoch, Master: routes.Server{Host: "db0", Port: 3306}}
		dc1.held["shop"] = last
		p := newPublisher(t, publisher.Config{Datacenter: "dc1"}, &book{tables: []routes.Table{table(5, "")}}, dc1)
		if receipts := p.Push(t.Context(), table(5, "")); len(receipts) != 0 {
			t.Errorf("receipts %+v", receipts)
		}
		stop := audit(t, p)
		time.Sleep(10 * time.Second)
		stop()
		if got := dc1.get("shop"); got != last {
			t.Errorf("consumers lost the last master: %+v", got)
		}
	})
}

func TestOnlyTheLeaderPushes(t *testing.T) {
	dc1 := newShelf("dc1")
	p := newPublisher(t, publisher.Config{}, &book{leads: errors.New("deposed")}, dc1)
	receipts := p.Push(t.Context(), table(5, "db1"))
	if len(receipts) != 1 || receipts[0].Answer != routes.Unknown || !strings.Contains(receipts[0].Err.Error(), "deposed") {
		t.Errorf("receipts %+v", receipts)
	}
	if calls, _ := dc1.counts(); calls != 0 {
		t.Error("the directory was touched")
	}
}

func TestWhoKeepsWhich(t *testing.T) {
	for _, leads := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			own, covered, orphan := newShelf("dc1"), newShelf("dc2"), newShelf("dc3")
			ledger := &book{tables: []routes.Table{table(5, "db1")}}
			if !leads {
				ledger.leads = errors.New("a follower")
			}
			config := publisher.Config{Datacenter: "dc1", Controllers: func() []string { return []string{"dc1", "dc2"} }}
			p := newPublisher(t, config, ledger, own, covered, orphan)
			stop := audit(t, p)
			time.Sleep(5 * time.Second)
			stop()
			var got []bool
			for _, s := range []*shelf{own, covered, orphan} {
				got = append(got, s.get("shop").Epoch.Number == 5)
			}
			if want := []bool{true, false, leads}; !slices.Equal(got, want) {
				t.Errorf("leading %v: kept %v, want %v", leads, got, want)
			}
		})
	}
}

func TestPushIsRecordedWhoeverAudits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own, covered := newShelf("dc1"), newShelf("dc2")
		ledger := &book{tables: []routes.Table{table(5, "")}}
		p := newPublisher(t, publisher.Config{Datacenter: "dc1", Controllers: func() []string { return []string{"dc1", "dc2"} }}, ledger, own, covered)
		defer audit(t, p)()
		synctest.Wait()
		ledger.set(func(b *book) { b.tables = []routes.Table{table(6, "db1")} })
		p.Push(t.Context(), table(6, "db1"))
		synctest.Wait() // No time passes: the push itself wakes the audit.
		want := []string{"dc1 shop 1.6/2", "dc2 shop 1.6/2"}
		if got := ledger.confirmations(); !slices.Equal(got, want) {
			t.Errorf("confirmed %v, want %v", got, want)
		}
		time.Sleep(10 * time.Second)
		if got := ledger.confirmations(); !slices.Equal(got, want) {
			t.Errorf("confirmed again: %v", got)
		}
	})
}

func TestConfirmationIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger := &book{tables: []routes.Table{table(5, "db1")}, refuses: errors.New("no quorum")}
		p := newPublisher(t, publisher.Config{Datacenter: "dc1"}, ledger, newShelf("dc1"))
		defer audit(t, p)()
		time.Sleep(10 * time.Second)
		ledger.set(func(b *book) { b.refuses = nil })
		time.Sleep(3 * time.Second)
		if got := ledger.confirmations(); !slices.Equal(got, []string{"dc1 shop 1.5/2"}) {
			t.Errorf("confirmed %v", got)
		}
	})
}

func TestHungDirectoryHoldsUpNobodyAndIsCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung, other := newShelf("dc1"), newShelf("dc2")
		hung.hangs = true
		p := newPublisher(t, publisher.Config{Datacenter: "dc1"}, &book{tables: []routes.Table{table(5, "db1")}}, hung, other)
		defer audit(t, p)()
		synctest.Wait()
		if got := other.get("shop"); got.Epoch.Number != 5 {
			t.Errorf("the other one holds %+v", got)
		}
		time.Sleep(5 * time.Second)
		if status := p.Status()[0]; status.Reachable || status.LastError == "" {
			t.Errorf("status %+v", status)
		}
		hung.set(func(s *shelf) { s.hangs = false })
		time.Sleep(3 * time.Second)
		if got, status := hung.get("shop"), p.Status()[0]; got.Epoch.Number != 5 || !status.Reachable || status.LastError != "" {
			t.Errorf("it holds %+v; status %+v", got, status)
		}
	})
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Whether any directory knows a later epoch is certain only if all were read.
func TestWhoKnowsAHigherEpoch(t *testing.T) {
	east, west := newShelf("east"), newShelf("west")
	p := newPublisher(t, publisher.Config{Datacenter: "east", Timeout: 50 * time.Millisecond}, &book{}, east, west)
	ask := func() error { return p.Higher(t.Context(), "shop", table(2, "").Epoch) }
	east.held["shop"] = routes.Record{Cluster: "shop", Epoch: table(2, "").Epoch}
	if err := ask(); err != nil {
		t.Errorf("nobody knows a higher one: %v", err)
	}
	west.set(func(s *shelf) { s.held["shop"] = routes.Record{Cluster: "shop", Epoch: table(3, "").Epoch} })
	var higher *routes.HigherEpochError
	if err := ask(); !errors.As(err, &higher) || higher.Held != table(3, "").Epoch || !strings.Contains(err.Error(), "west") {
		t.Errorf("west knows one: %v", err)
	}
	west.set(func(s *shelf) { s.hangs = true })
	if err := ask(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("west does not answer: %v", err)
	}
}
