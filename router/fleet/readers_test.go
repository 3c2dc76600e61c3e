package fleet_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/router/routes"
)

// reading is a proxy whose writer is always as it should be, and whose readers are
// while they were told last; with broken ones they never are.
func reading(broken bool) (p *pretend, forget func()) {
	var held atomic.Uint64
	proof := func(table routes.Table) (routes.Proof, error) {
		readers := &routes.ReadersProof{Serving: []string{"db2:3306"}, Holds: !broken && held.Load() == table.Revision}
		if !readers.Holds {
			readers.Problem = "its readers are elsewhere"
		}
		return routes.Proof{Holds: true, Serving: table.Writer != nil, Readers: readers}, nil
	}
	p = &pretend{name: "p1", read: func(_ context.Context, table routes.Table) (routes.Proof, error) { return proof(table) }}
	p.apply = func(_ context.Context, table routes.Table) (routes.Proof, error) {
		held.Store(table.Revision)
		return proof(table)
	}
	return p, func() { held.Store(0) }
}

func TestReadersThatStrayArePutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, forget := reading(false)
		ledger := newBook(table(1, 1))
		f := newFleet(t, ledger, proxy)
		defer keep(t, f)()
		time.Sleep(time.Second)
		forget()
		time.Sleep(2 * time.Second)
		if got := len(proxy.tables()); got != 2 {
			t.Errorf("told %d times, want once and again when its readers had strayed", got)
		}
		if got := ledger.repairs(); len(got) != 1 || !strings.Contains(got[0], "reading from db2:3306") {
			t.Errorf("repaired %q", got)
		}
		// A later revision is no straying.
		ledger.set(func(b *book) { b.table = table(1, 2) })
		time.Sleep(time.Second)
		if got := ledger.repairs(); len(got) != 1 || !f.Status()[0].Proof.ReadersHold() {
			t.Errorf("repaired %q, status %+v", got, f.Status()[0])
		}
	})
}

// TestReadersNeverSpoilAWriter: whoever waits for a master waits for no reader.
func TestReadersNeverSpoilAWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, _ := reading(true)
		ledger := newBook(table(1, 1))
		f := newFleet(t, ledger, proxy)
		if receipt := f.Push(t.Context(), table(1, 1))[0]; receipt.Answer != routes.Confirmed {
			t.Errorf("receipt %+v", receipt)
		}
		stop := keep(t, f)
		time.Sleep(5 * time.Second)
		status := f.Status()[0]
		if !status.Holds || len(f.Unknown("shop")) != 0 || status.LastError != "" || status.Proof.ReadersHold() {
			t.Errorf("status %+v", status)
		}
		if got := ledger.confirmations(); !slices.Equal(got, []string{"p1 1.1/1"}) || len(ledger.repairs()) != 0 {
			t.Errorf("confirmed %v, repaired %v", got, ledger.repairs())
		}
		if got := len(proxy.tables()); got < 8 {
			t.Errorf("its readers were tried %d times in 5 s", got)
		}
		// Now the attempt itself fails, right after the proxy was read to lead to its writer.
		stop()
		proxy.apply = func(context.Context, routes.Table) (routes.Proof, error) {
			return routes.Proof{}, errors.New("cut off")
		}
		stop = keep(t, f)
		time.Sleep(2 * time.Second)
		if status := f.Status()[0]; !status.Holds || len(f.Unknown("shop")) != 0 {
			t.Errorf("status %+v", status)
		}
		stop()
	})
}

// TestARepairIsRecordedHoweverOftenItWasTried: also if the attempt that succeeded is one whose answer was lost.
func TestARepairIsRecordedHoweverOftenItWasTried(t *testing.T) {
	for name, through := range map[string]bool{"the second attempt is through": false, "the first attempt's answer is lost": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy, forget := reading(false)
				apply := proxy.apply
				var fail atomic.Bool
				proxy.apply = func(ctx context.Context, table routes.Table) (routes.Proof, error) {
					if !fail.CompareAndSwap(true, false) {
						return apply(ctx, table)
					}
					if through {
						_, _ = apply(ctx, table) // the answer is lost
					}
					return routes.Proof{}, errors.New("no answer")
				}
				ledger := newBook(table(1, 1))
				f := newFleet(t, ledger, proxy)
				defer keep(t, f)()
				time.Sleep(time.Second)
				fail.Store(true)
				forget()
				time.Sleep(5 * time.Second)
				if got := ledger.repairs(); len(got) != 1 || !strings.Contains(got[0], "reading from db2:3306") {
					t.Errorf("repaired %q", got)
				}
				if status := f.Status()[0]; status.Repairs != 1 || !status.Proof.ReadersHold() {
					t.Errorf("status %+v", status)
				}
			})
		})
	}
}
