package bulletin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/router/routes"
	"switchyard/sidecar/protocol"
)

// book is a ledger that is changed by hand.
type book struct {
	mu     sync.Mutex
	tables []routes.Table
	subs   map[chan struct{}]bool
	leader string
	leads  func() error
}

func newBook(tables ...routes.Table) *book {
	return &book{tables: tables, subs: map[chan struct{}]bool{}, leader: "c2"}
}

func (b *book) Tables() []routes.Table {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tables
}

func (b *book) Leader() string              { return b.leader }
func (b *book) Leads(context.Context) error { return b.leads() }

func (b *book) Watch() (<-chan struct{}, func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	sub := make(chan struct{}, 1)
	b.subs[sub] = true
	return sub, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subs, sub)
	}
}

func (b *book) set(tables ...routes.Table) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tables = tables
	for sub := range b.subs {
		select {
		case sub <- struct{}{}:
		default:
		}
	}
}

func (b *book) watchers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs)
}

func table(cluster string, number, revision uint64) routes.Table {
	return routes.Table{Cluster: cluster, Epoch: routes.Epoch{Generation: 1, Number: number}, Revision: revision,
		Writer: &routes.Server{Host: "db1", Port: 3306}}
}

func knows(tables ...routes.Table) protocol.Watch {
	q := protocol.Watch{Sidecar: "edge-a", Run: "r", Datacenter: "west", WaitMS: 10_000}
	for _, t := range tables {
		q.Known = append(q.Known, protocol.Known{Cluster: t.Cluster, Epoch: t.Epoch, Revision: t.Revision})
	}
	return q
}

func newBulletin(b *book, closing <-chan struct{}, waiters int) *Bulletin {
	return New(Config{Self: "c1", Now: time.Now, Waiters: waiters}, b, closing)
}

func names(t protocol.Tables) string {
	var all []string
	for _, table := range t.Tables {
		all = append(all, fmt.Sprintf("%s %s/%d", table.Cluster, table.Epoch, table.Revision))
	}
	return strings.Join(all, ", ")
}

func TestWhatIsNewerIsToldAtOnce(t *testing.T) {
	ledger := newBook(table("till", 4, 1), table("shop", 2, 3), routes.Table{Cluster: "fresh"})
	for name, test := range map[string]struct {
		known []routes.Table
		want  string
	}{
		"never told":        {[]routes.Table{{Cluster: "shop"}}, "shop 1.2/3"},
		"an older epoch":    {[]routes.Table{table("shop", 1, 9)}, "shop 1.2/3"},
		"an older revision": {[]routes.Table{table("shop", 2, 2)}, "shop 1.2/3"},
		"both":              {[]routes.Table{{Cluster: "shop"}, {Cluster: "till"}}, "shop 1.2/3, till 1.4/1"},
		"one of two":        {[]routes.Table{table("shop", 2, 3), table("till", 3, 1)}, "till 1.4/1"},
		"all of it":         {[]routes.Table{table("shop", 2, 3), table("till", 4, 1)}, ""},
		"a newer one":       {[]routes.Table{table("shop", 3, 0)}, ""},
		"no such cluster":   {[]routes.Table{{Cluster: "other"}}, ""},
		"not adopted yet":   {[]routes.Table{{Cluster: "fresh"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, began := newBulletin(ledger, nil, 1), time.Now()
				got, err := b.Watch(t.Context(), knows(test.known...))
				if err != nil || names(got) != test.want || got.Controller != "c1" || got.Leader != "c2" {
					t.Errorf("%+v, %v, want %q", got, err, test.want)
				}
				if _, err := protocol.Encode(got); err != nil {
					t.Errorf("it cannot be sent: %v", err)
				}
				if took := time.Since(began); (took == 0) != (test.want != "") || took > 10*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

func TestAWaitEndsWithWhatIsNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger := newBook(table("shop", 2, 1), table("till", 1, 1))
		b := newBulletin(ledger, nil, 4)
		got := make(chan protocol.Tables)
		began := time.Now()
		go func() {
			reply, err := b.Watch(t.Context(), knows(table("shop", 2, 1)))
			if err != nil {
				t.Error(err)
			}
			got <- reply
		}()
		synctest.Wait()
		time.Sleep(time.Second)
		ledger.set(table("shop", 2, 1), table("till", 2, 1)) // a cluster that was not asked for
		synctest.Wait()
		time.Sleep(time.Second)
		ledger.set(table("shop", 3, 0), table("till", 2, 1))
		if reply := <-got; names(reply) != "shop 1.3/0" || time.Since(began) != 2*time.Second {
			t.Errorf("%s after %s", names(reply), time.Since(began))
		}
		if n := ledger.watchers(); n != 0 {
			t.Errorf("%d watches are left", n)
		}
	})
}

func TestWaitersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger := newBook(table("shop", 2, 1))
		b := newBulletin(ledger, nil, 2)
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() {
				if reply, err := b.Watch(t.Context(), knows(table("shop", 2, 1))); err != nil || len(reply.Tables) != 0 {
					t.Errorf("%+v, %v", reply, err)
				}
			})
		}
		synctest.Wait()
		var busy *wire.Error
		if _, err := b.Watch(t.Context(), knows(table("shop", 2, 1))); !errors.As(err, &busy) || busy.Code != wire.Busy {
			t.Errorf("a third waits: %v", err)
		}
		// Who lacks something is never turned away.
		if reply, err := b.Watch(t.Context(), knows(table("shop", 1, 1))); err != nil || len(reply.Tables) != 1 {
			t.Errorf("%+v, %v", reply, err)
		}
		group.Wait()
		if _, err := b.Watch(t.Context(), knows(table("shop", 2, 1))); err != nil {
			t.Errorf("after the others: %v", err)
		}
	})
}

func TestAWaitEndsWithItsControllerOrItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closing := make(chan struct{})
		b := newBulletin(newBook(table("shop", 2, 1)), closing, 2)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, err := b.Watch(ctx, knows(table("shop", 2, 1)))
			ended <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		began := time.Now()
		go func() {
			_, err := b.Watch(t.Context(), knows(table("shop", 2, 1)))
			ended <- err
		}()
		synctest.Wait()
		close(closing)
		if err := <-ended; err != nil || time.Since(began) != 0 {
			t.Errorf("closing: %v after %s", err, time.Since(began))
		}
	})
}

func TestReportsAreRememberedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulletin(newBook(table("shop", 2, 1)), nil, 2)
		q := knows(table("shop", 1, 1))
		q.Reports = []protocol.Report{{Proxy: "ha1", Cluster: "shop", Sessions: 3, Problem: "3 sessions are left"}}
		for range 2 {
			if _, err := b.Watch(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			q.Reports[0].Sessions = 1
		}
		got := b.Reports()
		if h := got["ha1"]; len(got) != 1 || h.Sessions != 1 || h.Sidecar != "edge-a" || h.Datacenter != "west" ||
			h.Told.Number != 1 || !h.At.Equal(time.Now()) {
			t.Errorf("%+v", got)
		}
		time.Sleep(reportLife + time.Second)
		if got := b.Reports(); len(got) != 0 {
			t.Errorf("still %+v", got)
		}
	})
}

// TestWhoKnowsNothingIsToldByAVerifiedLeader: one that was deposed without knowing,
// or that has yet to learn what its predecessor said, must not pass for the leader.
func TestWhoKnowsNothingIsToldByAVerifiedLeader(t *testing.T) {
	ledger := newBook(table("shop", 5, 2))
	ledger.leader = "c1"
	b := newBulletin(ledger, nil, 0)
	asked := 0
	ledger.leads = func() error { asked++; return errors.New("deposed") }
	reply, err := b.Watch(t.Context(), knows(table("shop", 5, 1)))
	if err != nil || reply.Leader != "c1" || asked != 0 {
		t.Errorf("who knows an older table: %+v, %v, verified %d times", reply, err, asked)
	}
	forgot := knows(routes.Table{Cluster: "shop"})
	if reply, err = b.Watch(t.Context(), forgot); err != nil || reply.Leader != "" || len(reply.Tables) != 1 || asked != 1 {
		t.Errorf("told by one that does not lead: %+v, %v", reply, err)
	}
	ledger.leads = func() error { ledger.set(table("shop", 6, 1)); return nil }
	if reply, err = b.Watch(t.Context(), forgot); err != nil || reply.Leader != "c1" || names(reply) != "shop 1.6/1" {
		t.Errorf("%+v, %v: want what is known after the verification", reply, err)
	}
}
