package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/publisher"
	"switchyard/router/routes"
)

func TestAuditRepairsAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dc1 := newShelf("dc1")
		p := newPublisher(t, publisher.Config{Datacenter: "dc1"}, &book{tables: []routes.Table{table(5, "db1")}}, dc1)
		defer audit(t, p)()
		synctest.Wait()
		want := dc1.get("shop")
		for range 2 {
			dc1.set(func(s *shelf) { delete(s.held, "shop") })
			time.Sleep(3 * time.Second)
			if got := dc1.get("shop"); got != want {
				t.Fatalf("not repaired: %+v", got)
			}
		}
		wrong := want
		wrong.Master.Host = "by-hand"
		dc1.set(func(s *shelf) { s.held["shop"] = wrong })
		time.Sleep(3 * time.Second)
		if got := dc1.get("shop"); got != want {
			t.Fatalf("not repaired: %+v", got)
		}
		if status := p.Status()[0]; status.Repairs != 3 || status.Epoch.Number != 5 || status.ConfirmedAt.IsZero() {
			t.Errorf("status %+v", status)
		}
		if _, writes := dc1.counts(); writes != 4 {
			t.Errorf("%d writes: what is right must not be written", writes)
		}
	})
}

func TestHigherEpochIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dc1 := newShelf("dc1")
		higher := routes.Record{Cluster: "shop", Epoch: routes.Epoch{Generation: 2, Number: 1}}
		dc1.held["shop"] = higher
		ledger := &book{tables: []routes.Table{table(5, "db1")}}
		p := newPublisher(t, publisher.Config{Datacenter: "dc1"}, ledger, dc1)
		defer audit(t, p)()
		time.Sleep(10 * time.Second)
		status := p.Status()[0]
		if dc1.get("shop") != higher || !status.Held || !status.Reachable || status.Epoch != higher.Epoch ||
			status.LastError == "" {
			t.Errorf("status %+v, held %+v", status, dc1.get("shop"))
		}
		if got := ledger.confirmations(); len(got) != 0 {
			t.Errorf("confirmed %v", got)
		}
		next := table(1, "db1")
		next.Epoch.Generation = 3
		ledger.set(func(b *book) { b.tables = []routes.Table{next} })
		time.Sleep(3 * time.Second)
		if status := p.Status()[0]; status.Held || status.LastError != "" || status.Epoch != next.Epoch {
			t.Errorf("status %+v", status)
		}
	})
}

// lagging is a ledger whose first answer in each audit is a moment old.
type lagging struct {
	*book
	asked atomic.Int64
	old   routes.Table
}

func (l *lagging) Tables() []routes.Table {
	if l.asked.Add(1)%2 == 1 {
		return []routes.Table{l.old}
	}
	return l.book.Tables()
}

func TestALaggingViewIsNoAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dc1 := newShelf("dc1")
		dc1.held["shop"] = routes.Record{Cluster: "shop", Epoch: table(6, "").Epoch}
		ledger := &lagging{book: &book{tables: []routes.Table{table(6, "db2")}}, old: table(5, "db1")}
		p, err := publisher.New(publisher.Config{Datacenter: "dc1", Lookup: resolves}, []publisher.Directory{dc1}, ledger,
			time.Now, discard())
		if err != nil {
			t.Fatal(err)
		}
		defer audit(t, p)()
		time.Sleep(11 * time.Second) // No audit begins at that moment.
		if ledger.asked.Load() < 4 {
			t.Fatalf("the ledger was asked %d times", ledger.asked.Load())
		}
		if status := p.Status()[0]; status.Held || status.LastError != "" {
			t.Errorf("status %+v", status)
		}
	})
}

func TestAddressesAreLeftWhenTheResolverFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		broken.Store(true)
		lookup := func(ctx context.Context, network, host string) ([]netip.Addr, error) {
			if broken.Load() {
				return nil, errors.New("no resolver")
			}
			return resolves(ctx, network, host)
		}
		dc1 := newShelf("dc1")
		full := routes.Record{Cluster: "shop", Epoch: table(5, "").Epoch, Revision: 2, Master: routes.Server{Host: "db1", Port: 3306},
			IPv4: "10.0.0.1", IPv6: "fd00::1"}
		dc1.held["shop"] = full
		ledger := &book{tables: []routes.Table{table(5, "db1")}}
		p := newPublisher(t, publisher.Config{Datacenter: "dc1", Lookup: lookup}, ledger, dc1)
		defer audit(t, p)()
		time.Sleep(5 * time.Second)
		if got := dc1.get("shop"); got != full {
			t.Errorf("a resolver that fails has emptied the addresses: %+v", got)
		}
		// A new master is named at once, without addresses, and they follow.
		ledger.set(func(b *book) { b.tables = []routes.Table{table(6, "db2")} })
		if receipt := p.Push(t.Context(), table(6, "db2"))[0]; receipt.Answer != routes.Confirmed {
			t.Fatalf("receipt %+v", receipt)
		}
		if got := dc1.get("shop"); got.Master.Host != "db2" || got.IPv4 != "" || got.IPv6 != "" {
			t.Errorf("published %+v", got)
		}
		broken.Store(false)
		time.Sleep(3 * time.Second)
		if got := dc1.get("shop"); got.IPv4 != "10.0.0.1" || got.IPv6 != "fd00::1" {
			t.Errorf("the addresses did not follow: %+v", got)
		}
	})
}

func TestSlowResolverDoesNotHoldUpAPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dc1 := newShelf("dc1")
		lookup := func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		p := newPublisher(t, publisher.Config{Datacenter: "dc1", Lookup: lookup}, &book{}, dc1)
		began := time.Now()
		p.Push(t.Context(), table(5, "db1"))
		if took := time.Since(began); took != 100*time.Millisecond || dc1.get("shop").Epoch.Number != 5 {
			t.Errorf("published after %s: %+v", took, dc1.get("shop"))
		}
	})
}

// TestResolversThatDisagreeComeToRest: two controllers of one datacenter see
// other addresses for the same host.
func TestResolversThatDisagreeComeToRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dc1 := newShelf("dc1")
		for i := range 2 {
			lookup := func(context.Context, string, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", i+1))}, nil
			}
			ledger := &book{tables: []routes.Table{table(5, "db1")}}
			p := newPublisher(t, publisher.Config{Datacenter: "dc1", Lookup: lookup}, ledger, dc1)
			defer audit(t, p)()
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		_, before := dc1.counts()
		time.Sleep(time.Minute)
		if _, after := dc1.counts(); after != before || before > 10 {
			t.Errorf("%d writes in the first minute, %d in the second", before, after-before)
		}
	})
}

func TestAddressesAsHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dc1 := newShelf("dc1")
		p := newPublisher(t, publisher.Config{Datacenter: "dc1"}, &book{}, dc1)
		for host, want := range map[string][2]string{"10.1.2.3": {"10.1.2.3", ""}, "fd00::7": {"", "fd00::7"},
			"db1": {"10.0.0.1", "fd00::1"}} {
			p.Push(t.Context(), table(5, host))
			if got := dc1.get("shop"); got.IPv4 != want[0] || got.IPv6 != want[1] {
				t.Errorf("%s: %+v", host, got)
			}
		}
	})
}
