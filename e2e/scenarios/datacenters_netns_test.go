//go:build servers && netns

package scenarios_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
)

// The policy says hold: the master that is cut off stops, nobody takes its place, and the leader says why. Afterwards the same one serves.
func TestDatacenterOfTheMasterIsHeld(t *testing.T) {
	w := newContinent(t, "hold", site.Options{})
	w.lead("c1")
	rest := w.by("c2", "c3")
	w.lose(off(dc1)...)
	e := holds(t, w.ctx, rest.Site, "DeadMaster", "master-cut-off", 60*time.Second)
	w.must(seenFrom(e.Evidence, "c2: master", "c3: master"))
	stopped(t, w.ctx, w.first)
	w.heal()
	w.converged()
	if now := w.standing(); now.Master.String() != w.first.Key() {
		t.Errorf("%+v", now)
	}
}

// All controllers hang, and then are killed: the servers keep each other writable.
func TestDatacentersWithoutControllers(t *testing.T) {
	w := newContinent(t, "failover", site.Options{})
	before := w.standing()
	for _, c := range w.Controllers {
		w.must(c.Freeze())
	}
	w.goOn(dc1, dc2, dc3)
	for _, c := range w.Controllers {
		w.must(c.Thaw())
	}
	w.converged()
	w.same(before)
	for _, c := range w.Controllers {
		w.must(c.Kill())
	}
	w.goOn(dc1, dc2, dc3)
	for _, c := range w.Controllers {
		w.must(errors.Join(c.Wait(w.ctx), c.Start(w.ctx)))
	}
	w.converged()
	w.same(before)
}

// What is sent one way is lost: no connection works, and the datacenter of the master is as good as cut off. It may hear
// of what the others did, and must not act.
func TestDatacenterIsCutOffOneWay(t *testing.T) {
	for name, tc := range map[string]struct {
		ways []stack.Way
		o    site.Options
	}{
		"it is not heard":  {from(dc1), site.Options{}},
		"it hears nothing": {to(dc1), site.Options{ProxySidecars: &site.ProxySidecars{}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newContinent(t, "failover", tc.o)
			w.lead("c1")
			w.masterLost(tc.ways)
			w.back()
		})
	}
}

// from are those of off in one direction, from the datacenter, and to those in the other one.
func from(dc string) []stack.Way {
	return slices.DeleteFunc(off(dc), func(way stack.Way) bool { return way.From != dc })
}

func to(dc string) []stack.Way {
	return slices.DeleteFunc(off(dc), func(way stack.Way) bool { return way.To != dc })
}

const (
	controllerHTTP = 7400
	controllerRaft = 7401
	mysqlPort      = 3306
)

// The controllers do not hear each other, and all else works: another one leads, and nothing is recovered.
func TestDatacentersLoseControllerTraffic(t *testing.T) {
	w := newContinent(t, "failover", site.Options{})
	before := w.standing()
	for _, dc := range []string{dc1, dc3} {
		w.lead("c1")
		w.lose(stack.Only(off(dc), controllerHTTP, controllerRaft)...)
		w.goOn(dc1, dc2, dc3)
		if dc == dc1 {
			w.until(30*time.Second, "another one leads", func(ctx context.Context) error {
				status, err := w.by("c2", "c3").Status(ctx)
				if err == nil && (status.Leader == "" || status.Leader == "c1") {
					err = fmt.Errorf("%q leads", status.Leader)
				}
				return err
			})
		}
		w.by("c2").same(before)
		w.heal()
		w.converged()
		w.same(before)
	}
}

// The servers are not reached from elsewhere, and the controllers hear each other: the one beside the master says that it
// lives. Its datacenter writes, the others wait.
func TestDatacentersLoseMySQLTraffic(t *testing.T) {
	for _, leader := range []string{"c1", "c2"} {
		t.Run(leader+" leads", func(t *testing.T) {
			w := newContinent(t, "failover", site.Options{})
			before := w.standing()
			w.lead(leader)
			w.lose(stack.Only(off(dc1), mysqlPort)...)
			w.until(30*time.Second, "it is noticed", func(ctx context.Context) error {
				e, err := w.Explain(ctx)
				if err == nil && (e.Finding == "" || e.Finding == "NoProblem" || e.Verdict == wire.Act) {
					err = fmt.Errorf("%s %s: %s", e.Finding, e.Verdict, e.Sentence)
				}
				t.Logf("%s %s %s: %s %q", e.Finding, e.Verdict, e.Reason, e.ReasonSentence, e.Evidence)
				return err
			})
			w.goOn(dc1)
			w.same(before)
			w.heal()
			w.converged()
			w.same(before)
		})
	}
}

// Links come and go, faster than anybody can be sure of anything. Whoever is master in the end, there was never a second one.
func TestDatacentersWithLinksThatFlap(t *testing.T) {
	w := newContinent(t, "failover", site.Options{})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 30 {
		ways := off(site.DatacenterName(1 + random.IntN(3)))
		if random.IntN(3) == 0 {
			ways = slices.DeleteFunc(ways, func(stack.Way) bool { return random.IntN(2) == 0 })
		}
		w.lose(ways...)
		rest(w.ctx, time.Duration(100+random.IntN(1900))*time.Millisecond)
		w.heal()
		rest(w.ctx, time.Duration(100+random.IntN(900))*time.Millisecond)
	}
	w.converged()
}

// rest is how long a link stays as it is: what is done to the site, and nothing that is waited for.
func rest(ctx context.Context, length time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
}

// With semi-sync, what the master acknowledged before it was cut off is on its successor.
func TestDatacenterOfTheMasterLosesNothing(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			w := newContinent(t, "failover", site.Options{Flavor: flavor, SemiSync: true})
			w.lead("c2")
			rec := w.masterLost(off(dc1))
			w.back()
			winner, err := w.Server(rec.Winner.String())
			w.must(err)
			for name, load := range w.apps {
				lost, err := load.Missing(w.ctx, winner.Root())
				if err != nil || len(lost) > 0 {
					t.Errorf("%d acknowledged writes of the application in %s are lost: %v", len(lost), name, err)
				}
			}
			if lost, err := w.inside.Missing(w.ctx, winner.Root()); err != nil || len(lost) > 0 {
				t.Errorf("%d acknowledged writes beside the master are lost: %v", len(lost), err)
			}
		})
	}
}

// A leader that dies, and one whose datacenter falls silent, is replaced: how soon is measured, and only that it is soon
// enough to be of use is asked for.
func TestDatacenterOfTheLeaderIsReplaced(t *testing.T) {
	const runs = 10
	w := newContinent(t, "failover", site.Options{})
	died, silent := make([]time.Duration, 0, runs), make([]time.Duration, 0, runs)
	for range runs {
		c := w.leading()
		at := time.Now()
		w.must(c.Kill())
		died = append(died, w.replaced(c, at))
		w.must(errors.Join(c.Wait(w.ctx), c.Start(w.ctx)))
		w.follow()
		c = w.leading()
		at = time.Now()
		w.lose(stack.Only(off(w.Datacenter(c.ID)), controllerHTTP, controllerRaft)...)
		silent = append(silent, w.replaced(c, at))
		w.heal()
		w.follow()
	}
	for what, took := range map[string][]time.Duration{"died": died, "fell silent": silent} {
		slices.Sort(took)
		t.Logf("a leader that %s was replaced after %v (median), %v at best, %v at worst of %d: %v", what, took[runs/2], took[0], took[runs-1], runs, took)
		if took[0] > 10*time.Second {
			t.Errorf("a leader that %s was replaced after %v at best", what, took[0])
		}
	}
	w.converged()
}

// leading is the controller that says itself that it leads.
func (w *continent) leading() (c *site.Controller) {
	w.t.Helper()
	w.until(60*time.Second, "somebody leads", func(ctx context.Context) (err error) {
		c, err = w.Leader(ctx)
		return err
	})
	return c
}

// replaced waits until another controller leads, ready to act, and tells for how long there was none.
func (w *continent) replaced(former *site.Controller, since time.Time) time.Duration {
	w.t.Helper()
	w.until(60*time.Second, former.ID+" is replaced", func(ctx context.Context) error {
		for _, c := range w.Controllers {
			if c == former {
				continue
			}
			if leads, err := w.Leads(ctx, c); err == nil && leads {
				return nil
			}
		}
		return errors.New("nobody leads")
	})
	return time.Since(since).Round(time.Millisecond)
}

// follow waits until all controllers follow one.
func (w *continent) follow() {
	w.t.Helper()
	w.until(60*time.Second, "all controllers follow the leader", func(ctx context.Context) error {
		status, err := w.Status(ctx)
		if err != nil {
			return err
		}
		for _, c := range status.Controllers {
			if c.State != "leader" && c.State != "follower" {
				return fmt.Errorf("%s is %s", c.ID, c.State)
			}
		}
		return nil
	})
}

// A datacenter that an operator marks down is left by the leader, and by nobody else: its master goes on.
func TestDatacenterMarkedDownIsLeftByTheLeader(t *testing.T) {
	w := newContinent(t, "failover", site.Options{})
	before := w.standing()
	w.lead("c1")
	client, err := w.Client(10 * time.Second)
	w.must(err)
	var said wire.Done
	w.must(client.Post(w.ctx, wire.PathDatacenterDown, wire.DatacenterDownRequest{DataCenter: dc1,
		Duration: wire.Duration(time.Hour), Asker: wire.Asker{By: "test", Reason: "test"}}, &said))
	w.until(60*time.Second, "another one leads", func(ctx context.Context) error {
		status, err := w.Status(ctx)
		if err == nil && (status.Leader == "" || status.Leader == "c1") {
			err = fmt.Errorf("%q leads", status.Leader)
		}
		return err
	})
	w.unmoved(before, dc1, dc2, dc3)
	w.converged()
}
