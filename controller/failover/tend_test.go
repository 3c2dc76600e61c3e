package failover_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/failover"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// A deposed server that hangs must not hold up the next failover: whoever tends
// it gives way, and the two are never at the servers together.
func TestTendingGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tend = func(ctx context.Context) error {
			// The bubble's time stands still while the loop waits for this.
			select {
			case <-ctx.Done():
				w.set(func() { w.did("gave way") })
			case <-time.After(15 * time.Second):
			}
			return ctx.Err()
		}
		_, stop := w.start()
		defer stop()
		pass(3500 * time.Millisecond)
		noticed := time.Now()
		w.draw(dead)
		w.suspect()
		did := w.traced()
		at := slices.IndexFunc(did, func(e effect) bool { return e.what == "run shop-2" })
		if at < 1 || did[at-1].what != "gave way" || !did[at].at.Equal(noticed) {
			t.Errorf("noticed at %s: %v", noticed, did)
		}
	})
}

// A deposed master that thaws is fenced though something else takes long on the
// cluster's servers.
func TestDeposedAreTendedBesideTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mover = func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}
		loop, stop := w.start()
		defer stop()
		pass(500 * time.Millisecond)
		moved := make(chan error, 1)
		go func() { moved <- loop.Detach(t.Context(), key("b"), "ann", "a disk") }()
		pass(500 * time.Millisecond)
		before := len(w.effects("deposed"))
		pass(5 * time.Second)
		if n := len(w.effects("deposed")) - before; n < 20 {
			t.Errorf("deposed servers were looked for %d times in 5 s", n)
		}
		select {
		case err := <-moved:
			t.Errorf("it did not take long: %v", err)
		default:
		}
		w.draw(dead)
		w.suspect()
		if err := <-moved; err == nil || len(w.claims()) != 1 {
			t.Errorf("%v, claims %+v", err, w.claims())
		}
	})
}

// Run waits for whoever tends servers, too.
func TestRunWaitsForTheTender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tend = func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(2 * time.Second) // the last statement comes back
			return ctx.Err()
		}
		_, stop := w.start()
		pass(500 * time.Millisecond)
		began := time.Now()
		stop()
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("Run ended %s after it was asked to", took)
		}
	})
}

// Adoption that hangs holds up no suspicion.
func TestAdoptionDoesNotHoldUpAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := found("m")
		p.Name, p.Servers = "new", []topology.Key{key("n")}
		w.pictures = []failover.Picture{p}
		w.before = func(cmd ledger.Command) error {
			if cmd.Kind() == "adopt-master" {
				time.Sleep(5 * time.Second)
				return errors.New("no majority")
			}
			return nil
		}
		_, stop := w.start()
		defer stop()
		pass(1500 * time.Millisecond) // it has begun
		noticed := time.Now()
		w.draw(dead)
		w.suspect()
		if c := w.claims(); len(c) != 1 || !c[0].At.Equal(noticed) {
			t.Errorf("noticed at %s: %+v", noticed, c)
		}
		pass(3 * time.Second)
		if n := len(slices.DeleteFunc(w.kinds(), func(k string) bool { return k != "adopt-master" })); n != 1 {
			t.Errorf("%d adoptions at once", n)
		}
	})
}

// A failover that failed is tried again, though not with every turn.
func TestFailedFailoverPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.recover = w.fail
		_, stop := w.start()
		defer stop()
		w.draw(dead)
		w.suspect()
		pass(4 * time.Second)
		if n := len(w.claims()); n != 1 {
			t.Fatalf("%d attempts in 4 s", n)
		}
		w.set(func() { w.recover = w.promote })
		pass(2 * time.Second)
		if got := w.reported(); len(w.claims()) != 2 || w.State().Clusters["shop"].Master != key("a") ||
			!slices.Equal(got, []string{"shop-2", "shop-3"}) {
			t.Errorf("ended %v, claims %+v", got, w.claims())
		}
	})
}

// A hold is counted when it begins, and not at every look.
func TestHoldsAreCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.start()
		defer stop()
		pass(5 * time.Second)
		for _, world := range []string{cutOff, onlyWeSee, healthy, cutOff} {
			w.draw(world)
			w.suspect()
			pass(5 * time.Second)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		want := []string{"shop master-cut-off", "shop no-witness-majority", "shop master-cut-off"}
		if !slices.Equal(w.held, want) {
			t.Errorf("%v", w.held)
		}
	})
}

// The old master is not served again while somebody may hold more, or may be
// writable beside it.
func TestNotReinstatedBesideOthers(t *testing.T) {
	for _, c := range []struct{ name, x, received string }{
		{"a replica received more", "refused", "0-1-101"},
		{"an outcast is writable", "ok", "0-1-100"},
		{"an outcast hangs", "hung", "0-1-100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.must(ledger.RememberServers{Cluster: "shop", At: time.Now(), Servers: []ledger.ServerName{{Key: key("x")}}})
				w.must(ledger.SetStanding{Server: key("x"), Standing: ledger.Deposed, At: time.Now()})
				w.withdrawn()
				text := "server x exec=0-1-90\n" + strings.ReplaceAll(healthy, "b=ok", "b=ok x="+c.x)
				text = strings.Replace(text, "a <m exec=0-1-100", "a <m exec=0-1-100 recv="+c.received, 1)
				w.draw(text)
				_, stop := w.start()
				defer stop()
				pass(5 * time.Second)
				if len(w.claims()) != 0 {
					t.Fatalf("claims %+v", w.claims())
				}
				w.draw("server x exec=0-1-90 readonly\n" + strings.ReplaceAll(healthy, "b=ok", "b=ok x=ok"))
				pass(time.Second)
				if claims := w.claims(); len(claims) != 1 || claims[0].RecoveryKind != ledger.Reinstate {
					t.Errorf("claims %+v", claims)
				}
			})
		})
	}
}
