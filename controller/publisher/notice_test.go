package publisher_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/publisher"
	"switchyard/router/routes"
)

func TestChangesByHandAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dc1 := newShelf("dc1")
		ledger := &book{tables: []routes.Table{table(5, "db1")}}
		p := newPublisher(t, publisher.Config{Datacenter: "dc1"}, ledger, dc1)
		defer audit(t, p)()
		time.Sleep(time.Second)
		if got := ledger.noticed(); len(got) != 0 {
			t.Fatalf("what was brought at first is told as changed: %+v", got)
		}
		byHand := func(host string) {
			dc1.set(func(s *shelf) {
				wrong := s.held["shop"]
				wrong.Master.Host = host
				s.held["shop"] = wrong
			})
			time.Sleep(2 * time.Second)
		}
		ledger.set(func(b *book) { b.refuses = errors.New("no leader") })
		byHand("by-hand-1")
		byHand("by-hand-2")
		ledger.set(func(b *book) { b.refuses = nil })
		time.Sleep(2 * time.Second)
		got := ledger.noticed()
		if len(got) != 1 || got[0].Times != 2 || got[0].Held || got[0].Datacenter != "dc1" || got[0].Table.Epoch.Number != 5 ||
			!strings.Contains(got[0].Was, "by-hand-2:3306 of epoch 1.5") {
			t.Fatalf("told %+v", got)
		}
		// Who does it again and again does not fill the audit.
		for range 40 {
			byHand("again")
		}
		if got := ledger.noticed(); len(got) < 2 || len(got) > 3 || got[1].Times < 20 {
			t.Errorf("told %+v", got)
		}
	})
}

func TestAHigherEpochIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dc1 := newShelf("dc1")
		dc1.held["shop"] = routes.Record{Cluster: "shop", Epoch: routes.Epoch{Generation: 2, Number: 1}}
		ledger := &book{tables: []routes.Table{table(5, "db1")}}
		p := newPublisher(t, publisher.Config{Datacenter: "dc1"}, ledger, dc1)
		defer audit(t, p)()
		time.Sleep(5 * time.Minute)
		got := ledger.noticed()
		if len(got) != 1 || !got[0].Held || !strings.Contains(got[0].Was, "2.1") {
			t.Errorf("told %+v", got)
		}
	})
}

// TestANewRevisionIsNoChangeByHand: readers come and go, and with them the
// revision, which is not written for it.
func TestANewRevisionIsNoChangeByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dc1 := newShelf("dc1")
		ledger := &book{tables: []routes.Table{table(5, "db1")}}
		p := newPublisher(t, publisher.Config{Datacenter: "dc1"}, ledger, dc1)
		defer audit(t, p)()
		time.Sleep(time.Second)
		next := table(5, "db1")
		next.Revision = 7
		ledger.set(func(b *book) { b.tables = []routes.Table{next} })
		time.Sleep(5 * time.Second)
		if got, status := ledger.noticed(), p.Status()[0]; len(got) != 0 || status.Repairs != 0 {
			t.Errorf("told %+v; status %+v", got, status)
		}
	})
}

// TestAnotherMasterOfTheEpochIsAChange also for a process that has just begun.
func TestAnotherMasterOfTheEpochIsAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dc1 := newShelf("dc1")
		dc1.held["shop"] = routes.Record{Cluster: "shop", Epoch: table(5, "").Epoch, Revision: 2,
			Master: routes.Server{Host: "by-hand", Port: 3306}}
		ledger := &book{tables: []routes.Table{table(5, "db1")}}
		p := newPublisher(t, publisher.Config{Datacenter: "dc1"}, ledger, dc1)
		defer audit(t, p)()
		time.Sleep(time.Second)
		if got := ledger.noticed(); len(got) != 1 || got[0].Times != 1 || !strings.Contains(got[0].Was, "by-hand:3306") {
			t.Errorf("told %+v", got)
		}
	})
}

func TestLookReadsAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dc1, dc2 := newShelf("dc1"), newShelf("dc2")
		dc1.held["shop"] = routes.Record{Cluster: "shop", Epoch: table(5, "").Epoch}
		dc2.hangs = true
		p := newPublisher(t, publisher.Config{Datacenter: "dc1"}, &book{}, dc1, dc2)
		began := time.Now()
		got := p.Look(t.Context(), []string{"shop", "till"})
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %s", took)
		}
		var where []string
		for _, s := range got {
			where = append(where, s.Datacenter+"/"+s.Cluster)
			if (s.Err == nil) != (s.Datacenter == "dc1") {
				t.Errorf("%+v", s)
			}
		}
		if want := []string{"dc1/shop", "dc1/till", "dc2/shop", "dc2/till"}; !slices.Equal(where, want) || got[0].Holding.Epoch.Number != 5 {
			t.Errorf("%+v", got)
		}
		if got := p.Look(t.Context(), nil); len(got) != 0 {
			t.Errorf("of no cluster: %+v", got)
		}
	})
}

// TestASlowDirectoryIsKept: slower than a push may wait, and not than an audit.
func TestASlowDirectoryIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dc1 := newShelf("dc1")
		dc1.slow = 3 * time.Second
		ledger := &book{tables: []routes.Table{table(5, "db1")}}
		p := newPublisher(t, publisher.Config{Datacenter: "dc1", AuditTimeout: 5 * time.Second}, ledger, dc1)
		began := time.Now()
		if receipt := p.Push(t.Context(), table(5, "db1"))[0]; receipt.Answer != routes.Unknown || time.Since(began) != time.Second {
			t.Errorf("after %s: %+v", time.Since(began), receipt)
		}
		defer audit(t, p)()
		time.Sleep(4 * time.Second)
		if got := ledger.confirmations(); len(got) != 1 || dc1.get("shop").Epoch.Number != 5 {
			t.Errorf("confirmed %v, holds %+v", got, dc1.get("shop"))
		}
	})
}
