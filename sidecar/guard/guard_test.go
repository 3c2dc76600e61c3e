package guard_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/sidecar/fence"
	"switchyard/sidecar/lease"
	"switchyard/sidecar/protocol"
)

// inWorld runs a test on the pretend clock.
func inWorld(t *testing.T, controllers, peers int, test func(*testing.T, *world)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, controllers, peers)
		w.dir = dir
		test(t, w)
	})
}

// TestWhoWasNeverGrantedAnythingIsLeftAlone, whatever the controllers are.
func TestWhoWasNeverGrantedAnythingIsLeftAlone(t *testing.T) {
	for _, m := range []mode{silent, hung, lost, unready, no, deposed} {
		inWorld(t, 3, 2, func(t *testing.T, w *world) {
			w.all(w.controllers, m)
			g, stop := w.sidecar()
			defer stop()
			time.Sleep(time.Minute)
			if s := g.Status(); s.Holding != protocol.Unleased || !w.writable() || w.is(func() bool { return w.opened != 0 }) {
				t.Errorf("mode %d: %+v, writable: %v", m, s, w.writable())
			}
		})
	}
}

// TestHeldUntilNobodyAnswers: read-only before the end, by whichever way the
// controllers are lost.
func TestHeldUntilNobodyAnswers(t *testing.T) {
	for _, m := range []mode{silent, hung, lost, unready} {
		inWorld(t, 3, 0, func(t *testing.T, w *world) {
			_, stop := w.sidecar()
			defer stop()
			w.held()
			time.Sleep(time.Minute)
			if !w.writable() {
				t.Fatal("fenced while it was granted")
			}
			// One of three lost, and one that is late, are no majority.
			w.all(w.controllers[:1], hung)
			w.all(w.controllers[1:2], late)
			time.Sleep(time.Minute)
			if !w.writable() {
				t.Fatal("fenced while a majority granted")
			}
			w.all(w.controllers, m)
			begun := time.Now()
			w.until(grantFor, "read-only", func() bool { return !w.writable() })
			if end := w.ends(); time.Now().After(end) {
				t.Errorf("mode %d: at the end and later", m)
			}
			if took := time.Since(begun); m != lost && took < grantFor/4 {
				t.Errorf("mode %d: after %s, of %s", m, took, grantFor)
			}
		})
	}
}

// TestALeaseIsRenewedInTimeHoweverSeldomItIsToBe: what is configured may be longer
// than what the controllers grant leaves.
func TestALeaseIsRenewedInTimeHoweverSeldomItIsToBe(t *testing.T) {
	inWorld(t, 3, 1, func(t *testing.T, w *world) {
		w.every = 10 * time.Second
		_, stop := w.sidecar()
		defer stop()
		w.held()
		time.Sleep(time.Minute)
		if !w.writable() || w.is(func() bool { return w.opened != 0 }) {
			t.Error("fenced while all of them grant")
		}
		// One answer that is lost costs nothing.
		w.all(w.controllers, lost)
		time.Sleep(time.Second)
		w.all(w.controllers, yes)
		time.Sleep(time.Minute)
		if !w.writable() || w.is(func() bool { return w.opened != 0 }) {
			t.Error("fenced by a short interruption")
		}
	})
}

// TestControllersThatWereAllRestartedFenceNobody: they have forgotten what they
// granted, and say so.
func TestControllersThatWereAllRestartedFenceNobody(t *testing.T) {
	inWorld(t, 3, 0, func(t *testing.T, w *world) {
		_, stop := w.sidecar()
		defer stop()
		w.held()
		for range 5 {
			w.all(w.controllers, unready)
			time.Sleep(1500 * time.Millisecond)
			w.all(w.controllers, yes)
			time.Sleep(2 * time.Second)
		}
		if !w.writable() {
			t.Error("fenced")
		}
	})
}

// TestPeersKeepTheLease, also when all controllers refuse at once without
// knowing of a successor; and who is deposed is fenced whatever they say.
func TestPeersKeepTheLease(t *testing.T) {
	for _, m := range []mode{silent, no} {
		inWorld(t, 3, 2, func(t *testing.T, w *world) {
			_, stop := w.sidecar()
			defer stop()
			w.all(w.peers[:1], yes)
			w.held()
			time.Sleep(3 * time.Second)
			w.all(w.controllers, m)
			time.Sleep(time.Minute)
			if !w.writable() {
				t.Fatalf("mode %d: fenced while a majority follows", m)
			}
			w.all(w.peers, no)
			w.until(grantFor, "read-only", func() bool { return !w.writable() })
		})
	}
	inWorld(t, 3, 2, func(t *testing.T, w *world) {
		_, stop := w.sidecar()
		defer stop()
		w.all(w.peers, yes)
		w.held()
		w.all(w.controllers, deposed)
		w.until(3*time.Second, "read-only", func() bool { return !w.writable() })
	})
}

// stuck hands return when they are released, whatever they are told.
type stuck chan struct{}

func (s stuck) Fence(context.Context, fence.Victim, time.Time) (fence.Result, error) {
	<-s
	return fence.Result{}, context.Canceled
}

// TestTheKillWaitsForNoFence: it comes when it is due.
func TestTheKillWaitsForNoFence(t *testing.T) {
	for name, change := range map[string]func(*world){
		"the server hangs":       func(w *world) { w.hangs = true },
		"read-only is blocked":   func(w *world) { w.blocked = fmt.Errorf("blocked") },
		"the fence itself hangs": func(*world) {},
	} {
		inWorld(t, 3, 0, func(t *testing.T, w *world) {
			w.start(killIn / 2)
			release := make(stuck)
			if name == "the fence itself hangs" {
				w.hands = release
			}
			_, stop := w.sidecar()
			defer stop()
			defer close(release)
			w.held()
			w.do(func() { change(w) })
			w.all(w.controllers, silent)
			w.until(grantFor, name+": gone", func() bool { return !w.writable() })
			if time.Now().After(w.ends()) {
				t.Errorf("%s: after the end", name)
			}
			if w.is(func() bool { return w.readOnly }) {
				t.Errorf("%s: it was not killed", name)
			}
		})
	}
}

// TestAFenceStandsOverRestarts of the server, the sidecar and the host, until a
// majority grants again; it is never made writable here.
func TestAFenceStandsOverRestarts(t *testing.T) {
	inWorld(t, 3, 0, func(t *testing.T, w *world) {
		_, stop := w.sidecar()
		w.held()
		w.all(w.controllers, silent)
		w.until(grantFor, "read-only", func() bool { return !w.writable() })
		for _, restart := range []func(){
			func() {},
			func() { stop(); _, stop = w.sidecar() },
			func() { stop(); w.boot = "boot-2"; _, stop = w.sidecar() },
			func() { close(w.process.end); time.Sleep(time.Second); w.start(0) },
		} {
			restart()
			w.do(func() { w.readOnly = false })
			w.until(2*time.Second, "read-only again", func() bool { return !w.writable() })
		}
		w.all(w.controllers, unready)
		w.until(3*time.Second, "told", func() bool { return w.tells("c2").State == protocol.ReadOnly })
		if q := w.tells("c2"); q.Holding != protocol.Fenced {
			t.Errorf("%+v", q)
		}
		w.all(w.controllers[:2], yes)
		w.until(3*time.Second, "held", func() bool { return w.tells("c2").Holding == protocol.Held })
		time.Sleep(time.Minute)
		if w.writable() {
			t.Error("it was made writable")
		}
		w.do(func() { w.readOnly = false })
		time.Sleep(time.Minute)
		if !w.writable() {
			t.Error("fenced while it is granted")
		}
		stop()
	})
}

// TestASidecarThatWasAwayKillsNobody: it asks the controllers first, and fences
// if they do not grant.
func TestASidecarThatWasAwayKillsNobody(t *testing.T) {
	for _, m := range []mode{yes, silent} {
		inWorld(t, 3, 0, func(t *testing.T, w *world) {
			_, stop := w.sidecar()
			w.held()
			stop()
			time.Sleep(time.Hour)
			w.all(w.controllers, m)
			process := w.process
			_, stop = w.sidecar()
			defer stop()
			if m == silent {
				w.until(2*fenceIn, "read-only", func() bool { return !w.writable() })
			}
			time.Sleep(time.Minute)
			if w.writable() != (m == yes) || w.is(func() bool { return w.opened != 0 }) != (m == silent) {
				t.Errorf("mode %d: writable: %v", m, w.writable())
			}
			select {
			case <-process.end:
				t.Errorf("mode %d: killed", m)
			default:
			}
		})
	}
}

// TestASidecarThatIsBackLateAsksBeforeItFences: what is left of its lease is as long
// as a fence, or less; half of it is the controllers'.
func TestASidecarThatIsBackLateAsksBeforeItFences(t *testing.T) {
	for _, m := range []mode{yes, silent} {
		inWorld(t, 3, 0, func(t *testing.T, w *world) {
			_, stop := w.sidecar()
			w.held()
			time.Sleep(2 * time.Second) // the book has what is held
			stop()
			stopped := time.Now()
			time.Sleep(grantFor - fenceIn - killIn - 200*time.Millisecond)
			w.all(w.controllers, m)
			_, stop = w.sidecar()
			defer stop()
			if m == silent {
				w.until(time.Until(stopped.Add(grantFor)), "read-only", func() bool { return !w.writable() })
			}
			time.Sleep(time.Minute)
			if w.writable() != (m == yes) || w.is(func() bool { return w.opened != 0 }) != (m == silent) {
				t.Errorf("mode %d: writable: %v, sessions: %d", m, w.writable(), w.opened)
			}
		})
	}
}

// TestALeaseIsHeldOnceItIsOnDisk: with a disk that takes nothing it is not
// reported, and ended in time all the same.
func TestALeaseIsHeldOnceItIsOnDisk(t *testing.T) {
	inWorld(t, 3, 0, func(t *testing.T, w *world) {
		if err := os.Mkdir(filepath.Join(w.dir, "database.json.new"), 0o700); err != nil {
			t.Fatal(err)
		}
		g, stop := w.sidecar()
		defer stop()
		w.all(w.controllers, yes)
		time.Sleep(20 * time.Second)
		if s := g.Status(); s.Holding != protocol.Unleased || s.Action != lease.Hold || w.is(func() bool { return w.promised }) {
			t.Errorf("%+v", s)
		}
		w.all(w.controllers, silent)
		w.until(grantFor, "read-only", func() bool { return !w.writable() })
		if err := os.Remove(filepath.Join(w.dir, "database.json.new")); err != nil {
			t.Fatal(err)
		}
		w.all(w.controllers, yes)
		w.until(5*time.Second, "held", func() bool { return w.tells("c1").Holding == protocol.Held })
	})
}

// TestABookThatIsNotOurs is refused, with what to do.
func TestABookThatIsNotOurs(t *testing.T) {
	good := `{"version":1,"cluster":"shop","server":"db-a:3306","granted":{"generation":1,"number":1},"known":{"generation":1,"number":1},` +
		`"lease":{"boot":"b","held":true,"until":1,"for":1}}`
	for name, test := range map[string]struct{ book, want string }{
		"broken":         {good[:len(good)-1], "remove the file"},
		"empty":          {"", "remove the file"},
		"of nobody":      {`{"version":1}`, "it is incomplete"},
		"unknown field":  {strings.Replace(good, `"held"`, `"healed"`, 1), "remove the file"},
		"another":        {strings.Replace(good, "db-a", "db-b", 1), "give each sidecar a state_dir of its own"},
		"later":          {strings.Replace(good, `"version":1`, `"version":2`, 1), "reads version 1"},
		"bytes after it": {good + "{}", "after top-level value"},
		"good":           {good, ""},
	} {
		inWorld(t, 1, 0, func(t *testing.T, w *world) {
			if err := os.WriteFile(w.config().Book, []byte(test.book), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := newGuard(w)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v, want %q", name, err, test.want)
			}
		})
	}
}

// TestAnExitIsReportedToEach, for as long as it may take, with its age.
func TestAnExitIsReportedToEach(t *testing.T) {
	inWorld(t, 3, 0, func(t *testing.T, w *world) {
		_, stop := w.sidecar()
		defer stop()
		w.held()
		w.all(w.controllers[1:2], silent)
		w.all(w.controllers[2:], hung)
		time.Sleep(5 * time.Second)
		close(w.process.end)
		w.until(50*time.Millisecond, "told", func() bool { return w.is(func() bool { return len(w.exits["c1"]) == 1 }) })
		time.Sleep(5 * time.Second)
		w.all(w.controllers[1:2], yes)
		w.until(3*time.Second, "told again", func() bool { return w.is(func() bool { return len(w.exits["c2"]) == 1 }) })
		var e protocol.Exit
		w.do(func() { e = w.exits["c2"][0] })
		if e.Kind != protocol.Killed || e.Status != 9 || e.PID != 4711 || e.AgoMS < 4900 || e.AgoMS > 8000 {
			t.Errorf("%+v", e)
		}
		time.Sleep(time.Minute) // the third is given up
		w.all(w.controllers, yes)
		time.Sleep(10 * time.Second)
		if w.is(func() bool { return len(w.exits["c3"]) != 0 }) {
			t.Errorf("reported after a minute")
		}
		w.start(0)
		w.until(3*time.Second, "found again", func() bool { return w.tells("c1").State != protocol.Gone })
	})
}

// TestClientsOfAFencedServerAreEndedAsTheyCome, until it is a replica again.
func TestClientsOfAFencedServerAreEndedAsTheyCome(t *testing.T) {
	inWorld(t, 3, 0, func(t *testing.T, w *world) {
		_, stop := w.sidecar()
		defer stop()
		w.held()
		w.all(w.controllers, deposed)
		w.until(3*time.Second, "read-only", func() bool { return !w.writable() })
		time.Sleep(time.Second)
		none := func() bool { return w.is(func() bool { return w.clients == 0 }) }
		for range 20 {
			w.do(func() { w.clients = 64 })
			w.until(300*time.Millisecond, "ended", none)
			for range 5 { // they come back at once, and are ended at once
				w.do(func() { w.clients = 64 })
				w.until(20*time.Millisecond, "outrun", none)
			}
			time.Sleep(time.Second)
		}
		w.do(func() { w.replica, w.receives = true, source("db-b:3306", true) })
		time.Sleep(2 * time.Second)
		w.do(func() { w.clients = 64 })
		time.Sleep(10 * time.Second)
		if none() {
			t.Error("the readers of a replica were ended")
		}
	})
}

// TestAServerThatStartsIsNotKilledBehindItsFence, and one that says nothing for
// long is.
func TestAServerThatStartsIsNotKilledBehindItsFence(t *testing.T) {
	inWorld(t, 1, 0, func(t *testing.T, w *world) {
		_, stop := w.sidecar()
		defer stop()
		w.held()
		w.all(w.controllers, deposed)
		w.until(3*time.Second, "read-only", func() bool { return !w.writable() })
		close(w.process.end)
		time.Sleep(time.Second)
		w.do(func() { w.hangs, w.readOnly = true, false })
		w.start(0)
		time.Sleep(30 * time.Second)
		if !w.writable() {
			t.Fatal("killed while it starts")
		}
		w.until(time.Minute, "killed", func() bool { return !w.writable() })
		w.start(0)
		time.Sleep(time.Second)
		w.do(func() { w.hangs = false })
		w.until(3*time.Second, "read-only", func() bool { return !w.writable() })
		if !w.is(func() bool { return w.process.pid == 4713 && w.readOnly }) {
			t.Error("it was killed again")
		}
	})
}
