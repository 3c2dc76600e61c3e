package fleet_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/router/fleet"
	"switchyard/router/routes"
)

// keep runs the keeper beside the test until it is stopped.
func keep(t *testing.T, f *fleet.Fleet) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestKeeperTellsConfirmsAndRepairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, forget := memory("p1")
		ledger := newBook(table(3, 2))
		f := newFleet(t, ledger, proxy)
		defer keep(t, f)()
		time.Sleep(time.Second)
		if got := proxy.tables(); len(got) != 1 || got[0].Epoch.Number != 3 {
			t.Fatalf("told %v", got)
		}
		if status := f.Status()[0]; !status.Holds || !status.Reachable || status.Epoch.Number != 3 || status.Revision != 2 ||
			status.ConfirmedAt.IsZero() || status.LastError != "" {
			t.Errorf("status %+v", status)
		}
		for range 3 {
			forget()
			time.Sleep(time.Second)
		}
		if got := len(proxy.tables()); got != 4 {
			t.Errorf("told %d times, want once and again after each of 3 restarts", got)
		}
		// What was put back is recorded, once each time; what was never confirmed before was not put back.
		if got := ledger.repairs(); len(got) != 3 || got[0] != "p1 1.3/2 was serving nobody with 0 sessions" {
			t.Errorf("repaired %q", got)
		}
		ledger.set(func(b *book) { b.table = table(4, 1) })
		time.Sleep(time.Second)
		if got, want := ledger.confirmations(), []string{"p1 1.3/2", "p1 1.4/1"}; !slices.Equal(got, want) {
			t.Errorf("confirmed %v, want %v", got, want)
		}
	})
}

func TestPushIsRecordedByTheKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, _ := memory("p1")
		ledger := newBook(table(1, 1))
		f := newFleet(t, ledger, proxy)
		defer keep(t, f)()
		synctest.Wait()
		ledger.set(func(b *book) { b.table = table(2, 1) })
		f.Push(t.Context(), table(2, 1))
		synctest.Wait() // No time passes: the push itself wakes the keeper.
		if got, want := ledger.confirmations(), []string{"p1 1.1/1", "p1 1.2/1"}; !slices.Equal(got, want) {
			t.Errorf("confirmed %v, want %v", got, want)
		}
	})
}

func TestConfirmationIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, _ := memory("p1")
		ledger := newBook(table(1, 1))
		ledger.confirm = func() error { return errors.New("no quorum") }
		f := newFleet(t, ledger, proxy)
		defer keep(t, f)()
		time.Sleep(10 * time.Second)
		ledger.set(func(b *book) { b.confirm = func() error { return nil } })
		time.Sleep(2 * time.Second)
		if got := ledger.confirmations(); !slices.Equal(got, []string{"p1 1.1/1"}) {
			t.Errorf("confirmed %v", got)
		}
	})
}

func TestRestartedProxyIsServedSoon(t *testing.T) {
	for name, away := range map[string]func(context.Context, routes.Table) (routes.Proof, error){"down": dead, "hung": hangs} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy, forget := memory("p1")
				apply, read := proxy.apply, proxy.read
				var back atomic.Bool
				proxy.read = func(ctx context.Context, table routes.Table) (routes.Proof, error) {
					if !back.Load() {
						return away(ctx, table)
					}
					return read(ctx, table)
				}
				proxy.apply = func(ctx context.Context, table routes.Table) (routes.Proof, error) {
					if !back.Load() {
						return away(ctx, table)
					}
					return apply(ctx, table)
				}
				f := newFleet(t, newBook(table(1, 1)), proxy)
				defer keep(t, f)()
				time.Sleep(time.Minute)
				if status := f.Status()[0]; status.Reachable || status.LastError == "" {
					t.Errorf("away: %+v", status)
				}
				if looks := proxy.looks(); name == "hung" && looks > 32 {
					t.Errorf("a hung proxy was looked at %d times in a minute", looks)
				}
				forget()
				back.Store(true)
				began := time.Now()
				for !f.Status()[0].Holds {
					time.Sleep(10 * time.Millisecond)
				}
				// A look that hangs when the proxy comes back runs into its timeout first.
				limit := map[string]time.Duration{"down": 600 * time.Millisecond, "hung": 2600 * time.Millisecond}[name]
				if took := time.Since(began); took > limit {
					t.Errorf("served after %s", took)
				}
			})
		})
	}
}

func TestHungProxyHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, _ := memory("p1")
		hung := &pretend{name: "hung", apply: hangs, read: hangs}
		f := newFleet(t, newBook(table(1, 1)), hung, proxy)
		defer keep(t, f)()
		time.Sleep(100 * time.Millisecond)
		if status := f.Status(); !status[1].Holds || status[0].Holds {
			t.Errorf("status %+v", status)
		}
	})
}

func TestPushInterruptsTheKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hanging := &pretend{name: "p1", read: hangs, apply: follows}
		f := newFleet(t, newBook(table(1, 1)), hanging)
		defer keep(t, f)()
		time.Sleep(10 * time.Millisecond)
		began := time.Now()
		receipt := f.Push(t.Context(), table(2, 1))[0]
		if took := time.Since(began); receipt.Answer != routes.Confirmed || took != 0 {
			t.Errorf("after %s: %+v", took, receipt)
		}
		synctest.Wait()
		if status := f.Status()[0]; !status.Holds || status.Epoch.Number != 2 {
			t.Errorf("the interrupted look spoiled the status: %+v", status)
		}
	})
}

// TestKeeperDoesNotUndoAPush: the ledger that this controller sees may lag
// behind what it has just pushed.
func TestKeeperDoesNotUndoAPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proxy, _ := memory("p1")
		ledger := newBook(table(1, 1))
		f := newFleet(t, ledger, proxy)
		defer keep(t, f)()
		time.Sleep(time.Second)
		f.Push(t.Context(), table(2, 1))
		time.Sleep(5 * time.Second)
		if got := proxy.tables(); got[len(got)-1].Epoch.Number != 2 {
			t.Errorf("told %v", got)
		}
		if got := ledger.confirmations(); !slices.Equal(got, []string{"p1 1.1/1"}) {
			t.Errorf("confirmed %v: the newer table is not in the ledger yet", got)
		}
	})
}

func TestLeadershipIsVerifiedBeforeARepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		ledger := newBook(table(1, 1))
		ledger.leads = func() error {
			// It leads when the round begins, and no more when the proxy was read.
			if asked.Add(1)%2 == 0 {
				return errors.New("deposed")
			}
			return nil
		}
		proxy, _ := memory("p1")
		f := newFleet(t, ledger, proxy)
		run(t, f, 5*time.Second)
		if got := proxy.tables(); len(got) != 0 {
			t.Errorf("told %v", got)
		}
		if proxy.looks() == 0 {
			t.Error("the proxy was never read")
		}
		if status := f.Status()[0]; !strings.Contains(status.LastError, "deposed") {
			t.Errorf("status %+v", status)
		}
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, newBook(table(1, 1)), &pretend{name: "hung", apply: hangs, read: hangs})
		began := time.Now()
		run(t, f, 100*time.Millisecond)
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("it ended after %s", took)
		}
	})
}

// TestKeeperReadsTheLedgerOnceItLeads: until its leadership is verified, what
// this controller sees of the ledger may be older than what the last leader sent.
func TestKeeperReadsTheLedgerOnceItLeads(t *testing.T) {
	for name, late := range map[string]int{"in the round": 1, "before the repair": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				proxy, _ := memory("p1")
				read, first := proxy.read, routes.Table{}
				proxy.read = func(ctx context.Context, table routes.Table) (routes.Proof, error) {
					if first.Cluster == "" {
						first = table
					}
					return read(ctx, table)
				}
				ledger, asked := newBook(table(1, 1)), 0
				ledger.leads = func() error {
					if asked++; asked == late {
						ledger.table = table(2, 1)
					}
					return nil
				}
				f := newFleet(t, ledger, proxy)
				run(t, f, 2*time.Second)
				if got := proxy.tables(); len(got) != 1 || got[0].Epoch.Number != 2 {
					t.Errorf("told %v, want the newer table and nothing else", got)
				}
				if want := uint64(3 - late); first.Epoch.Number != want {
					t.Errorf("first compared with epoch %s", first.Epoch)
				}
				if got := ledger.confirmations(); !slices.Equal(got, []string{"p1 1.2/1"}) {
					t.Errorf("confirmed %v", got)
				}
			})
		})
	}
}

func TestUnknownProxies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, _ := memory("good")
		ledger := newBook(table(1, 1))
		f := newFleet(t, ledger, good, &pretend{name: "hung", apply: hangs, read: hangs},
			&pretend{name: "dead", apply: dead, read: dead},
			&pretend{name: "liar", apply: func(context.Context, routes.Table) (routes.Proof, error) { return routes.Proof{}, nil },
				read: func(context.Context, routes.Table) (routes.Proof, error) { return routes.Proof{}, nil }})
		if got := f.Unknown("shop"); !slices.Equal(got, []string{"good", "hung", "dead", "liar"}) {
			t.Errorf("before the first look: %v", got)
		}
		run(t, f, 2*time.Second)
		if got := f.Unknown("shop"); !slices.Equal(got, []string{"hung", "liar"}) {
			t.Errorf("unknown: %v", got)
		}
		if got := f.Unknown("other"); len(got) != 0 {
			t.Errorf("of another cluster: %v", got)
		}
		for _, status := range f.Status() {
			if status.Down != (status.Name == "dead") {
				t.Errorf("status %+v", status)
			}
		}
		f.Push(t.Context(), table(2, 1))
		if got := f.Unknown("shop"); !slices.Equal(got, []string{"hung", "liar"}) {
			t.Errorf("after a push: %v", got)
		}
		ledger.set(func(b *book) { b.leads = func() error { return errors.New("deposed") } })
		run(t, f, 5*time.Second)
		if got := f.Unknown("shop"); len(got) != 4 {
			t.Errorf("who does not lead knows of %v only that they are unknown", got)
		}
	})
}

// TestNothingIsSentWhenAnotherMayLead: a proxy that is told directly knows no
// epochs. What is sent to it must end before another leader can withdraw there.
func TestNothingIsSentWhenAnotherMayLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lease = 250 * time.Millisecond
		ledger := newBook(table(1, 1))
		var verified time.Time
		ledger.leads = func() error {
			verified = time.Now()
			time.Sleep(50 * time.Millisecond)
			return nil
		}
		var late []time.Duration
		proxy := &pretend{name: "p1", read: func(context.Context, routes.Table) (routes.Proof, error) { return routes.Proof{}, nil },
			apply: func(ctx context.Context, _ routes.Table) (routes.Proof, error) {
				<-ctx.Done()
				late = append(late, time.Since(verified))
				return routes.Proof{}, context.Cause(ctx)
			}}
		f, err := fleet.New(fleet.Config{Lease: lease}, []fleet.Proxy{proxy}, ledger, time.Now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		f.Push(t.Context(), table(1, 1))
		run(t, f, 3*time.Second)
		if len(late) < 3 {
			t.Errorf("it was sent to %d times", len(late))
		}
		for _, took := range late {
			if took > lease {
				t.Errorf("it was still told %s after the verification, and another may lead from %s on", took, lease)
			}
		}
	})
}
