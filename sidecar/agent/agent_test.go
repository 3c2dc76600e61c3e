package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/router/routes"
	"switchyard/sidecar/protocol"
)

func TestOneCallMovesAllProxiesOfTheCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		defer h.run()()
		a := h.apply(table(5, 2, "a"))
		if !a.Proof.Holds || !a.Proof.Serving || a.Epoch != epoch(5) || a.Revision != 2 || a.Older || a.Sidecar != "edge" || a.Digest == "" {
			t.Fatalf("%+v", a)
		}
		synctest.Wait()
		h.serve("a")
		if a := h.apply(table(6, 1, "")); !a.Proof.Holds || a.Proof.Serving {
			t.Fatalf("%+v", a)
		}
		synctest.Wait()
		h.serve("")
		// A reply that was lost is asked for again, and nothing is done twice.
		_, before := h.proxy.serves()
		if a := h.read(table(6, 1, "")); !a.Proof.Holds {
			t.Errorf("%+v", a)
		}
		if _, after := h.proxy.serves(); after != before {
			t.Errorf("a question was carried out")
		}
	})
}

func TestOlderIsRefusedAndChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		defer h.run()()
		h.apply(table(6, 1, ""))
		for _, late := range []routes.Table{table(5, 2, "a"), table(5, 99, "a")} {
			for _, a := range []protocol.Applied{h.apply(late), h.read(late)} {
				if !a.Older || a.Proof.Holds || a.Epoch != epoch(6) || a.Revision != 1 || !strings.Contains(a.Problem, "refused") {
					t.Errorf("%+v", a)
				}
			}
		}
		if a := h.apply(table(6, 1, "x")); !a.Older || !strings.Contains(a.Problem, "two ledgers") {
			t.Errorf("%+v", a)
		}
		h.apply(table(6, 1, "x"))
		if n := h.log.count("contradicts"); n != 1 {
			t.Errorf("alarmed %d times, want once", n)
		}
		synctest.Wait()
		h.serve("")
		// The next table ends the dispute.
		if a := h.apply(table(6, 2, "b")); a.Problem != "" || !a.Proof.Holds {
			t.Errorf("%+v", a)
		}
	})
}

func TestATableThatIsFollowedByChanceIsNotConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		defer h.run()()
		h.apply(table(5, 1, ""))
		h.proxy.change(func(p *pretend) { p.follows = table(5, 2, "a") })
		if a := h.read(table(5, 2, "a")); a.Proof.Holds || a.Older || !strings.Contains(a.Problem, "not told") {
			t.Errorf("%+v", a)
		}
	})
}

func TestWhoIsNotHere(t *testing.T) {
	h := newHost(t)
	if err := h.start(); err != nil {
		t.Fatal(err)
	}
	_, err := h.agent.Apply(t.Context(), protocol.Apply{Controller: "c", Proxy: "nobody", Table: table(5, 1, "")})
	var failure *wire.Error
	if !errors.As(err, &failure) || failure.Code != wire.NotFound {
		t.Errorf("%v", err)
	}
	till := table(5, 1, "")
	till.Cluster = "till"
	_, err = h.agent.Read(t.Context(), protocol.Read{Controller: "c", Proxy: "hap", Table: till})
	if !errors.As(err, &failure) || failure.Code != wire.BadRequest {
		t.Errorf("%v", err)
	}
}

func TestDriftIsPutBackAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		defer h.run()()
		h.apply(table(5, 2, "a"))
		h.proxy.change(func(p *pretend) { p.follows = table(4, 2, "old") })
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		h.serve("a")
		if n := h.log.count("left its route"); n != 1 {
			t.Errorf("logged %d times, want once", n)
		}
		a := h.read(table(5, 2, "a"))
		if a.Repairs != 1 || a.Strayed == nil || a.Strayed.Host != "old:3306" || !a.Proof.Holds || a.Problem != "" {
			t.Errorf("%+v", a)
		}
		reports := h.agent.reports()
		if len(reports) != 2 || !strings.Contains(reports[0].Problem, "put back") || strings.Contains(reports[1].Problem, "put back") ||
			reports[0].Epoch != epoch(5) || reports[0].Digest != reports[1].Digest || reports[0].Digest == "" {
			t.Errorf("%+v", reports)
		}
	})
}

func TestANewerTableOvertakesOneThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		defer h.run()()
		h.apply(table(4, 2, "a"))
		h.proxy.change(func(p *pretend) { p.slow = epoch(5) })
		hung := make(chan protocol.Applied, 1)
		go func() { hung <- h.apply(table(5, 2, "b")) }()
		synctest.Wait()
		began := time.Now()
		if a := h.apply(table(6, 1, "")); !a.Proof.Holds {
			t.Errorf("%+v", a)
		}
		if took := time.Since(began); took > 50*time.Millisecond {
			t.Errorf("it waited %s for an older table", took)
		}
		if a := <-hung; a.Proof.Holds {
			t.Errorf("an overtaken table was confirmed: %+v", a)
		}
		time.Sleep(time.Second)
		h.serve("")
	})
}

func TestANewerTableOvertakesHoweverItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		defer h.run()()
		h.apply(table(4, 2, "a"))
		h.proxy.change(func(p *pretend) { p.slow = epoch(5) })
		// The sidecar's own work gives way to a call.
		h.controllers[0].say("c1", table(5, 2, "b"))
		synctest.Wait()
		began := time.Now()
		if a := h.apply(table(6, 1, "")); !a.Proof.Holds || time.Since(began) > 50*time.Millisecond {
			t.Errorf("%+v after %s", a, time.Since(began))
		}
		// A call gives way to what a controller answers.
		h.proxy.change(func(p *pretend) { p.slow = epoch(7) })
		hung := make(chan protocol.Applied, 1)
		go func() { hung <- h.apply(table(7, 2, "c")) }()
		synctest.Wait()
		began = time.Now()
		h.controllers[0].say("c1", table(8, 2, "d"))
		if a := <-hung; a.Proof.Holds || a.Epoch != epoch(8) || time.Since(began) > 50*time.Millisecond {
			t.Errorf("%+v after %s", a, time.Since(began))
		}
		synctest.Wait()
		h.serve("d")
	})
}

func TestWhoWaitedForHisTurnMayHaveBeenOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		defer h.run()()
		h.proxy.change(func(p *pretend) { p.deaf = 100 * time.Millisecond })
		answers := make([]chan protocol.Applied, 3)
		for n := range answers {
			answers[n] = make(chan protocol.Applied, 1)
			go func() { answers[n] <- h.apply(table(5+uint64(n), 1, "")) }()
			synctest.Wait()
		}
		for n, answer := range answers {
			if a := <-answer; n == 1 && (!a.Older || a.Proof.Holds) || n == 2 && !a.Proof.Holds || a.Epoch != epoch(7) {
				t.Errorf("%d: %+v", n, a)
			}
		}
	})
}

func TestWhatIsProvenNotToRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		defer h.run()()
		h.apply(table(4, 2, "a"))
		h.proxy.change(func(p *pretend) { p.err = fmt.Errorf("refused: %w", routes.ErrNotRunning) })
		if a := h.apply(table(5, 1, "")); !a.NotRunning || a.Proof.Holds || a.Epoch != epoch(5) {
			t.Errorf("%+v", a)
		}
		// It comes back with what it had, and is told before anybody asks.
		h.proxy.change(func(p *pretend) { p.err = nil })
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		h.serve("")
		h.proxy.change(func(p *pretend) { p.err = errors.New("no answer") })
		if a := h.apply(table(5, 2, "b")); a.NotRunning || a.Proof.Holds || !strings.Contains(a.Problem, "no answer") {
			t.Errorf("%+v", a)
		}
	})
}

func TestSessionsThatAreLeftAreNoConfirmation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		defer h.run()()
		h.apply(table(4, 2, "a"))
		h.proxy.change(func(p *pretend) { p.left = 3 })
		if a := h.apply(table(5, 1, "")); a.Proof.Holds || a.Proof.Sessions != 3 {
			t.Errorf("%+v", a)
		}
		if r := h.agent.reports()[0]; r.Sessions != 3 || !r.Epoch.IsZero() {
			t.Errorf("%+v", r)
		}
		h.proxy.change(func(p *pretend) { p.left = 0 })
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if r := h.agent.reports()[0]; r.Sessions != 0 || r.Epoch != epoch(5) || r.Problem != "" {
			t.Errorf("%+v", r)
		}
	})
}

func TestWhatAProxyStartsWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, book := newHost(t), &notebook{}
		h.keeper = book
		defer h.run()()
		h.apply(table(4, 2, "a"))
		synctest.Wait()
		if !is(book.read(), table(4, 2, "a")) {
			t.Errorf("it starts with %s", place(book.read()))
		}
		// A withdrawal is in it before it is confirmed.
		book.change(func(n *notebook) { n.slow = 50 * time.Millisecond })
		if a := h.apply(table(5, 1, "")); !a.Proof.Holds || a.Problem != "" || !is(book.read(), table(5, 1, "")) {
			t.Errorf("%+v, and it starts with %s", a, place(book.read()))
		}
		h.apply(table(5, 2, "b"))
		time.Sleep(time.Second)
		// One that cannot be written is not confirmed, and not waited for either.
		book.change(func(n *notebook) { n.err, n.slow = errors.New("no space left"), 0 })
		began := time.Now()
		if a := h.apply(table(6, 1, "")); a.Proof.Holds || !strings.Contains(a.Problem, "no space left") || time.Since(began) > time.Second {
			t.Errorf("%+v after %s", a, time.Since(began))
		}
		book.change(func(n *notebook) { n.err, n.slow = nil, time.Minute })
		began = time.Now()
		if a := h.apply(table(7, 1, "")); a.Proof.Holds || !strings.Contains(a.Problem, "in step") || time.Since(began) > time.Second {
			t.Errorf("%+v after %s", a, time.Since(began))
		}
		// A process that is gone is not harmless with a file that leads to the old master.
		book.change(func(n *notebook) { n.err, n.slow = errors.New("no space left"), 0 })
		h.proxy.change(func(p *pretend) { p.err = fmt.Errorf("refused: %w", routes.ErrNotRunning) })
		if a := h.apply(table(8, 1, "")); a.NotRunning {
			t.Errorf("%+v", a)
		}
		book.change(func(n *notebook) { n.err = nil })
		time.Sleep(5 * time.Second)
		if a := h.apply(table(8, 1, "")); !a.NotRunning || !is(book.read(), table(8, 1, "")) {
			t.Errorf("%+v, and it starts with %s", a, place(book.read()))
		}
	})
}

// TestAReloadThatHadReadTheFileBefore comes up with the old master after the proxy
// was withdrawn, and while its file is written.
func TestAReloadThatHadReadTheFileBefore(t *testing.T) {
	for _, down := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h, book := newHost(t), &notebook{}
			h.keeper = book
			defer h.run()()
			h.apply(table(4, 2, "a"))
			synctest.Wait()
			book.change(func(n *notebook) { n.slow = 50 * time.Millisecond })
			if down {
				h.proxy.change(func(p *pretend) { p.err = fmt.Errorf("refused: %w", routes.ErrNotRunning) })
			}
			time.AfterFunc(30*time.Millisecond, func() {
				h.proxy.change(func(p *pretend) { p.err, p.follows = nil, table(4, 2, "a") })
			})
			if a := h.apply(table(5, 1, "")); a.Proof.Holds || a.NotRunning {
				t.Errorf("down %t: %+v", down, a)
			}
			synctest.Wait()
			h.serve("")
		})
	}
}

func TestControllersGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.controllers[0].say("c1", table(5, 2, "a"))
		stop := h.run()
		defer stop()
		time.Sleep(time.Second)
		h.serve("a")
		for _, c := range h.controllers {
			c.fail(errGone)
		}
		time.Sleep(time.Minute)
		h.serve("a")
		if n := h.log.count("No controller answers"); n != 1 {
			t.Errorf("said %d times, want once", n)
		}
		if a := h.read(table(5, 2, "a")); !a.Proof.Holds || !strings.Contains(a.Problem, "no controller has answered") {
			t.Errorf("%+v", a)
		}
		asked := 0
		for _, c := range h.controllers {
			asked += c.count()
		}
		if asked > 200 {
			t.Errorf("asked %d times within a minute", asked)
		}
		// A restart meanwhile comes back with what was said last.
		stop()
		h.proxy.change(func(p *pretend) { p.follows = table(1, 2, "former") })
		defer h.run()()
		time.Sleep(10 * time.Millisecond)
		h.serve("a")
		for _, c := range h.controllers {
			c.fail(nil)
			c.say("c2", table(6, 2, "b"))
		}
		time.Sleep(5 * time.Second)
		h.serve("b")
		if a := h.read(table(6, 2, "b")); a.Problem != "" || !a.Proof.Holds {
			t.Errorf("%+v", a)
		}
	})
}

func TestAWatchGoesWhereTheLeaderIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.controllers[0].say("c3")
		h.controllers[2].say("c3", table(5, 2, "a"))
		defer h.run()()
		time.Sleep(time.Minute)
		h.serve("a")
		if first, second, led := h.controllers[0].count(), h.controllers[1].count(), h.controllers[2].count(); first > 2 || second > 0 || led < 5 || led > 30 {
			t.Errorf("asked %d, %d and %d times", first, second, led)
		}
		q := h.controllers[2].last()
		if len(q.Known) != 1 || q.Known[0] != (protocol.Known{Cluster: "shop", Epoch: epoch(5), Revision: 2}) || len(q.Reports) != 2 || q.WaitMS != 5000 {
			t.Errorf("%+v", q)
		}
		if _, err := protocol.Encode(q); err != nil {
			t.Error(err)
		}
		// It is gone: another one knows the next.
		h.controllers[2].fail(errGone)
		h.controllers[0].say("c1", table(6, 2, "b"))
		time.Sleep(time.Second)
		h.serve("b")
	})
}

func TestAControllerThatRepeatsItselfIsNotAskedInATightLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.controllers = h.controllers[:1]
		// A follower's word is not enough to begin with, and it says it again and again.
		h.controllers[0].say("", table(5, 2, "a"))
		defer h.run()()
		time.Sleep(10 * time.Second)
		if n := h.controllers[0].count(); n > 30 {
			t.Errorf("asked %d times in 10 s", n)
		}
		h.serve("")
		h.controllers[0].say("c1", table(5, 2, "a"))
		time.Sleep(time.Second)
		h.serve("a")
	})
}

func TestTheDirectoryMovesWhoKnowsOnlyAnOlderEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		for _, c := range h.controllers {
			c.fail(errGone)
		}
		defer h.run()()
		// It alone is not believed.
		h.directory.put(table(5, 2, "a"))
		time.Sleep(time.Second)
		h.serve("")
		h.apply(table(5, 2, "a", "b", "c"))
		// A withdrawal of the next epoch stands against the record of this one.
		h.apply(table(6, 1, "", "b", "c"))
		h.directory.put(table(5, 2, "a"))
		time.Sleep(time.Second)
		h.serve("")
		h.directory.put(table(6, 2, "b"))
		time.Sleep(time.Second)
		h.serve("b")
		if got := h.agent.held("shop"); !got.Partial || len(got.Table.Readers) != 1 || got.Table.Readers[0].Host != "c" {
			t.Errorf("%+v", got)
		}
		// A record whose revision is not known counts for nothing.
		h.directory.put(table(7, 0, "x"))
		time.Sleep(5 * time.Second)
		h.serve("b")
		if n := h.log.count("directory cannot be followed"); n != 1 {
			t.Errorf("said %d times, want once", n)
		}
		h.directory.put(table(7, 2, "c"))
		time.Sleep(5 * time.Second)
		h.serve("c")
		// A controller that is back says the readers.
		h.controllers[1].fail(nil)
		h.controllers[1].say("", table(7, 2, "c", "d"))
		time.Sleep(10 * time.Second)
		if got := h.agent.held("shop"); got.Partial || len(got.Table.Readers) != 1 || got.Table.Readers[0].Host != "d" {
			t.Errorf("%+v", got)
		}
	})
}

func TestRunEndsWithAllThatItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.keeper = &notebook{slow: time.Hour}
		h.proxy.slow = epoch(5)
		h.controllers[0].say("c1", table(5, 2, "a"))
		stop := h.run()
		time.Sleep(time.Second)
		began := time.Now()
		stop() // synctest fails if a goroutine is left
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("it took %s", took)
		}
	})
}

func TestACallEndsWithItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		defer h.run()()
		h.proxy.change(func(p *pretend) { p.slow = epoch(5) })
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		began := time.Now()
		a, err := h.agent.Apply(ctx, protocol.Apply{Controller: "c", Proxy: "hap", Table: table(5, 2, "a")})
		if err != nil || a.Proof.Holds || a.Epoch != epoch(5) || time.Since(began) > 350*time.Millisecond {
			t.Errorf("%+v, %v after %s", a, err, time.Since(began))
		}
		h.proxy.change(func(p *pretend) { p.slow = routes.Epoch{} })
		time.Sleep(3 * time.Second)
		h.serve("a")
	})
}
