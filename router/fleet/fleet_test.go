package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"switchyard/router/fleet"
	"switchyard/router/routes"
)

// pretend is a proxy that does what its functions say, and writes down which
// tables it was made to follow.
type pretend struct {
	name  string
	apply func(ctx context.Context, table routes.Table) (routes.Proof, error)
	read  func(ctx context.Context, table routes.Table) (routes.Proof, error)

	mu      sync.Mutex
	applied []routes.Table
	reads   int
	inside  int
	overlap bool
}

func (p *pretend) Name() string  { return p.name }
func (*pretend) Cluster() string { return "shop" }

func (p *pretend) Apply(ctx context.Context, table routes.Table) (routes.Proof, error) {
	p.mu.Lock()
	p.applied = append(p.applied, table)
	p.inside++
	p.overlap = p.overlap || p.inside > 1
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.inside--
		p.mu.Unlock()
	}()
	return p.apply(ctx, table)
}

func (p *pretend) Read(ctx context.Context, table routes.Table) (routes.Proof, error) {
	p.mu.Lock()
	p.reads++
	p.mu.Unlock()
	return p.read(ctx, table)
}

func (p *pretend) tables() []routes.Table {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.applied)
}

func (p *pretend) looks() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reads
}

func follows(context.Context, routes.Table) (routes.Proof, error) {
	return routes.Proof{Holds: true}, nil
}

func dead(context.Context, routes.Table) (routes.Proof, error) {
	return routes.Proof{}, fmt.Errorf("connect: %w", routes.ErrNotRunning)
}

func hangs(ctx context.Context, _ routes.Table) (routes.Proof, error) {
	<-ctx.Done()
	return routes.Proof{}, ctx.Err()
}

func slow(ctx context.Context, _ routes.Table) (routes.Proof, error) {
	select {
	case <-time.After(100 * time.Millisecond):
		return routes.Proof{Holds: true}, nil
	case <-ctx.Done():
		return routes.Proof{}, ctx.Err()
	}
}

// memory is a proxy that remembers what it was told until it forgets.
func memory(name string) (p *pretend, forget func()) {
	var mu sync.Mutex
	var held routes.Table
	p = &pretend{name: name}
	p.apply = func(_ context.Context, table routes.Table) (routes.Proof, error) {
		mu.Lock()
		defer mu.Unlock()
		held = table
		return routes.Proof{Holds: true, Serving: table.Writer != nil}, nil
	}
	p.read = func(_ context.Context, table routes.Table) (routes.Proof, error) {
		mu.Lock()
		defer mu.Unlock()
		return routes.Proof{Holds: held.Epoch == table.Epoch && held.Revision == table.Revision}, nil
	}
	return p, func() {
		mu.Lock()
		defer mu.Unlock()
		held = routes.Table{}
	}
}

// book is a ledger.
type book struct {
	mu        sync.Mutex
	table     routes.Table
	leads     func() error
	confirm   func() error
	confirmed []string
	repaired  []string
}

func newBook(table routes.Table) *book {
	return &book{table: table, leads: func() error { return nil }, confirm: func() error { return nil }}
}

func (b *book) Tables() []routes.Table {
	b.mu.Lock()
	defer b.mu.Unlock()
	return []routes.Table{b.table}
}

func (b *book) Leads(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.leads()
}

func (b *book) Confirm(_ context.Context, proxy string, table routes.Table) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.confirm(); err != nil {
		return err
	}
	b.confirmed = append(b.confirmed, fmt.Sprintf("%s %s/%d", proxy, table.Epoch, table.Revision))
	return nil
}

func (b *book) Repaired(_ context.Context, proxy string, table routes.Table, was string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.confirm(); err != nil {
		return err
	}
	b.repaired = append(b.repaired, fmt.Sprintf("%s %s/%d was %s", proxy, table.Epoch, table.Revision, was))
	return nil
}

func (b *book) set(change func(*book)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
}

func (b *book) confirmations() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.confirmed)
}

func (b *book) repairs() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.repaired)
}

func table(number, revision uint64) routes.Table {
	return routes.Table{Cluster: "shop", Epoch: routes.Epoch{Generation: 1, Number: number}, Revision: revision,
		Writer: &routes.Server{Host: "db1", Port: 3306}}
}

func newFleet(t interface {
	Helper()
	Fatal(args ...any)
}, ledger *book, proxies ...fleet.Proxy) *fleet.Fleet {
	t.Helper()
	f, err := fleet.New(fleet.Config{}, proxies, ledger, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestNewRefuses(t *testing.T) {
	one, _ := memory("p1")
	two, _ := memory("p1")
	log := slog.New(slog.DiscardHandler)
	if _, err := fleet.New(fleet.Config{}, []fleet.Proxy{one, two}, newBook(table(1, 1)), time.Now, log); err == nil ||
		!strings.Contains(err.Error(), "p1") {
		t.Errorf("two of a name: %v", err)
	}
	if _, err := fleet.New(fleet.Config{Interval: -1}, nil, newBook(table(1, 1)), time.Now, log); err == nil ||
		!strings.Contains(err.Error(), "interval") {
		t.Errorf("a negative interval: %v", err)
	}
}

func TestPushReachesAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxies := []fleet.Proxy{&pretend{name: "hung", apply: hangs}, &pretend{name: "dead", apply: dead},
			&pretend{name: "liar", apply: func(context.Context, routes.Table) (routes.Proof, error) { return routes.Proof{}, nil }}}
		want := []routes.Answer{routes.Unknown, routes.Down, routes.Unknown}
		for i := range 50 {
			proxies = append(proxies, &pretend{name: fmt.Sprintf("slow%d", i), apply: slow})
			want = append(want, routes.Confirmed)
		}
		f := newFleet(t, newBook(table(1, 1)), proxies...)
		began := time.Now()
		receipts := f.Push(t.Context(), table(1, 1))
		if took := time.Since(began); took != 300*time.Millisecond {
			t.Errorf("it took %s: the hung proxy must cost its timeout and no more", took)
		}
		for i, receipt := range receipts {
			if receipt.Receiver != proxies[i].Name() || receipt.Answer != want[i] {
				t.Errorf("receipt %d: %+v, want %s", i, receipt, want[i])
			}
			if (receipt.Err == nil) != (receipt.Answer == routes.Confirmed) {
				t.Errorf("receipt %d: an error must say why it is not confirmed: %+v", i, receipt)
			}
			if receipt.Answer == routes.Confirmed && receipt.Took != 100*time.Millisecond {
				t.Errorf("receipt %d: took %s", i, receipt.Took)
			}
		}
		if other := f.Push(t.Context(), routes.Table{Cluster: "other", Epoch: routes.Epoch{Number: 1}}); len(other) != 0 {
			t.Errorf("proxies of another cluster were told: %v", other)
		}
	})
}

func TestNothingIsSentUnlessThisControllerLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, _ := memory("p1")
		ledger := newBook(table(1, 1))
		ledger.leads = func() error { return errors.New("deposed") }
		f := newFleet(t, ledger, proxy)
		receipts := f.Push(t.Context(), table(1, 1))
		if len(receipts) != 1 || receipts[0].Answer != routes.Unknown || !strings.Contains(receipts[0].Err.Error(), "deposed") {
			t.Errorf("receipts %+v", receipts)
		}
		run(t, f, 5*time.Second)
		if len(proxy.tables()) != 0 || proxy.looks() != 0 || len(ledger.confirmations()) != 0 {
			t.Errorf("the proxy was touched: %v, %d looks", proxy.tables(), proxy.looks())
		}
		if status := f.Status()[0]; status.Reachable || status.Holds || !strings.Contains(status.LastError, "does not lead") {
			t.Errorf("status %+v", status)
		}
	})
}

// run lets the keeper work for a while, in the bubble's time.
func run(t *testing.T, f *fleet.Fleet, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := f.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestTablesNeverGoBack pushes tables in any order, to a proxy that may fail.
func TestTablesNeverGoBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fails := false
		proxy := &pretend{name: "p1", apply: func(ctx context.Context, tb routes.Table) (routes.Proof, error) {
			if fails {
				return routes.Proof{}, errors.New("timeout")
			}
			return follows(ctx, tb)
		}}
		f := newFleet(t, newBook(table(1, 1)), proxy)
		var newest routes.Table
		for range rapid.IntRange(1, 12).Draw(t, "pushes") {
			next := table(rapid.Uint64Range(1, 3).Draw(t, "number"), rapid.Uint64Range(0, 3).Draw(t, "revision"))
			fails = rapid.Bool().Draw(t, "fails")
			receipt := f.Push(context.Background(), next)[0]
			if older := newest.Newer(next); older != errors.Is(receipt.Err, fleet.ErrOlder) {
				t.Fatalf("after %v, %v got %+v", newest, next, receipt)
			} else if !older {
				newest = next
			}
		}
		tables := proxy.tables()
		for i := range tables[1:] {
			if tables[i].Newer(tables[i+1]) {
				t.Fatalf("%v was sent after %v", tables[i+1], tables[i])
			}
		}
	})
}

func TestConcurrentPushesKeepOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy := &pretend{name: "p1", apply: func(context.Context, routes.Table) (routes.Proof, error) {
			time.Sleep(time.Millisecond)
			return routes.Proof{Holds: true}, nil
		}}
		f := newFleet(t, newBook(table(1, 1)), proxy)
		var pushes sync.WaitGroup
		for i := range 100 {
			pushes.Go(func() { f.Push(t.Context(), table(uint64(1+i*7%10), uint64(i*13%10))) })
		}
		pushes.Wait()
		tables := proxy.tables()
		for i := range tables[1:] {
			if tables[i].Newer(tables[i+1]) {
				t.Fatalf("%v was sent after %v", tables[i+1], tables[i])
			}
		}
		if proxy.overlap {
			t.Error("two changes of one proxy overlapped")
		}
		if last := tables[len(tables)-1]; last.Epoch.Number != 10 {
			t.Errorf("the last one is %v", last)
		}
	})
}
