//go:build servers

package matrix_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/matrix"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/store/ledger"
)

// story is something that goes wrong besides the master, or in its place.
type story struct {
	name    string
	options site.Options
	play    func(*world)
}

// apart is a group that no other process of the machine has: the controllers of a site that runs in it can be cut off alone.
const apart = 54322

func stories() []story {
	return []story{
		{"haproxy reloaded in the middle", site.Options{ProxyMaster: true}, reloadedInTheMiddle},
		{"old worker with live sessions", site.Options{ProxyMaster: true, EditProxy: longLivedWorkers}, oldWorkers},
		{"proxies killed and restarted in the middle", site.Options{}, restartedInTheMiddle},
		{"leader killed while they drain", site.Options{}, leaderKilledDraining},
		{"consul gone", site.Options{}, consulGone},
		{"all controllers gone", site.Options{}, controllersGone},
		{"proxies unreachable when the master crashes", site.Options{ControllerGID: apart}, unreachableAtCrash},
		{"proxies unreachable when the master freezes", site.Options{ControllerGID: apart}, unreachableAtFreeze},
	}
}

// longLivedWorkers takes the bound out by which a worker ends some time after a reload.
func longLivedWorkers(config string) string {
	return strings.Replace(config, "hard-stop-after 1s", "hard-stop-after 1h", 1)
}

// Both HAProxies are reloaded between withdrawal and announcement: their new workers know nothing, and are told.
func reloadedInTheMiddle(w *world) {
	old := w.site.DB.Master
	w.brace()
	w.must(old.Freeze())
	w.withdrawn()
	for _, p := range w.site.Proxies {
		w.must(p.Reload())
	}
	reloaded := time.Now()
	c := w.changed(w.recovered(ledger.Completed, ledger.Incomplete))
	if reloaded.After(c.Confirmed) {
		w.t.Errorf("reloaded at %v, which is not in the middle: it was over at %v", reloaded, c.Confirmed)
	}
	w.thawed(c)
}

// A proxy of each kind is killed between withdrawal and announcement, and comes back with what it has on disk.
func restartedInTheMiddle(w *world) {
	old := w.site.DB.Master
	w.brace()
	w.must(old.Freeze())
	w.withdrawn()
	w.must(w.site.ProxySQLs[0].Restart(w.ctx))
	w.must(w.site.Proxies[0].Restart(w.ctx))
	restarted := time.Now()
	c := w.changed(w.recovered(ledger.Completed, ledger.Incomplete))
	if restarted.After(c.Confirmed) {
		w.t.Logf("restarted at %v, when it was over at %v", restarted, c.Confirmed)
	}
	w.thawed(c)
}

// The leader dies while what is under way on the old master may end: its successor finishes the switchover, or turns it back.
func leaderKilledDraining(w *world) {
	leader, err := w.site.Leader(w.ctx)
	w.must(err)
	w.disturbed(func() { w.must(leader.Kill()) })
}

// disturbed plays a switchover in which something is done while what is under way on the old master may end.
func (w *world) disturbed(disturb func()) {
	w.t.Helper()
	old := w.site.DB.Master
	w.brace()
	asked := make(chan error, 1)
	go func() {
		_, err := w.site.Switchover(w.ctx, w.site.DB.Replicas[1].Key())
		asked <- err
	}()
	w.withdrawn()
	disturb()
	err := <-asked
	rec := w.recovered(ledger.Completed, ledger.Incomplete, ledger.Undone)
	w.confirmed()
	w.writing(3)
	if rec.Winner.String() == old.Key() || !rec.Announced {
		w.t.Logf("turned back: %s %s (%v)", rec.Outcome, rec.Message, err)
		return
	}
	c := w.changed(rec)
	// Who was let end and who was cut is not as promised where the bound was begun twice.
	c.Planned = false
	w.nobodyLeft(old)
	w.noSessions(old)
	w.writing(3)
	v := w.verdict(c)
	if v.Late > 0 || v.Lost > 0 {
		w.t.Errorf("a planned switchover: %d executed late, %d lost", v.Late, v.Lost)
	}
}

// Workers of before a reload keep their sessions for as long as clients stay. They are found by way of the master process, and a
// switchover ends each session of theirs like any other.
func oldWorkers(w *world) {
	old := w.site.DB.Master
	for _, p := range w.site.Proxies {
		w.must(p.Reload())
	}
	w.until(20*time.Second, "each HAProxy has an old worker with sessions", func(ctx context.Context) error {
		for _, p := range w.site.Proxies {
			workers, err := matrix.OldWorkers(ctx, p)
			if err != nil {
				return err
			}
			if len(workers) == 0 {
				return fmt.Errorf("%s has none", p.Name)
			}
			left, err := matrix.Sockets(workers[0], old.Key())
			if err != nil {
				return err
			}
			if left < 8 {
				return fmt.Errorf("%s's has %d", p.Name, left)
			}
		}
		return nil
	})
	w.confirmed()
	w.writing(3)
	w.brace()
	_, err := w.site.Switchover(w.ctx, w.site.DB.Replicas[0].Key())
	w.must(err)
	c := w.changed(w.recovered(ledger.Completed))
	w.nobodyLeft(old)
	w.noSessions(old)
	w.writing(3)
	w.verdict(c)
}

func consulGone(w *world) {
	old := w.site.DB.Master
	w.brace()
	w.must(w.site.Consul.Kill())
	w.must(old.Kill())
	rec := w.recovered(ledger.Completed, ledger.Incomplete)
	c := w.changed(rec)
	w.nobodyLeft(old)
	w.writing(3)
	w.must(w.site.Consul.Start(w.ctx))
	w.until(20*time.Second, "Consul names the new master", func(ctx context.Context) error {
		name, err := w.site.Consul.Get(ctx, "mysql/master/"+site.ClusterName)
		if err == nil && name != rec.Winner.String() {
			err = fmt.Errorf("it names %s", name)
		}
		return err
	})
	w.must(old.Start(w.ctx))
	w.deposed(old)
	w.verdict(c)
}

// Without controllers everything stays as it is: nobody is fenced, and nobody sees an error. When they are back, nothing moves.
func controllersGone(w *world) {
	before, err := w.site.Cluster(w.ctx)
	w.must(err)
	from := time.Now()
	for _, c := range w.site.Controllers {
		w.must(c.Kill())
	}
	w.writing(5)
	w.t.Logf("without controllers for %v", time.Since(from))
	for _, c := range w.site.Controllers {
		w.must(c.Wait(w.ctx))
		w.must(c.Start(w.ctx))
	}
	w.confirmed()
	w.writing(3)
	after, err := w.site.Cluster(w.ctx)
	w.must(err)
	if after.Epoch != before.Epoch || after.Revision != before.Revision || after.Master != before.Master || after.Withdrawn {
		w.t.Errorf("it was %+v, and is %+v", before, after)
	}
	list, err := w.site.Recoveries(w.ctx)
	w.must(err)
	if len(list) > 0 {
		w.t.Errorf("it was recovered: %+v", list)
	}
	value, err := w.site.DB.Master.Value(w.ctx, "SELECT @@GLOBAL.read_only")
	if err != nil || value != "0" {
		w.t.Errorf("the master's read_only is %q, %v", value, err)
	}
	if failures := w.app.Failures(from); len(failures) > 0 {
		w.t.Errorf("%d errors: %v", len(failures), failures[:min(5, len(failures))])
	}
}

// unreachable cuts the controllers, and nobody else, off from one HAProxy and one ProxySQL.
func (w *world) unreachable() (mend func()) {
	w.t.Helper()
	var ends []func() error
	for _, host := range []string{strings.Split(w.site.Proxies[0].Listen, ":")[0], w.site.ProxySQLs[0].Host()} {
		end, err := stack.Cut(host, "owner", "--gid-owner", strconv.Itoa(apart))
		w.must(err)
		w.t.Cleanup(func() { w.must(end()) })
		ends = append(ends, end)
	}
	return func() {
		for _, end := range ends {
			w.must(end())
		}
	}
}

// away is for how long: longer than any pause between two attempts.
const away = 12 * time.Second

// stragglers waits until the status names exactly those that cannot be reached.
func (w *world) stragglers() {
	w.t.Helper()
	w.until(20*time.Second, "the status names who cannot be reached, and why", func(ctx context.Context) error {
		status, err := w.site.Status(ctx)
		if err != nil {
			return err
		}
		for _, p := range status.Proxies {
			lost := p.Name == w.site.Proxies[0].Name || p.Name == w.site.ProxySQLs[0].Name
			if p.Confirmed == lost || lost && p.Problem == "" {
				err = errors.Join(err, fmt.Errorf("%+v", p))
			}
		}
		return err
	})
}

// A master that is proven dead is replaced in spite of proxies that cannot be reached: they lead to nobody who lives. They are
// shown, and told as soon as they are back.
func unreachableAtCrash(w *world) {
	old := w.site.DB.Master
	w.brace()
	mend := w.unreachable()
	w.must(old.Kill())
	rec := w.recovered(ledger.Incomplete)
	for _, name := range []string{w.site.Proxies[0].Name, w.site.ProxySQLs[0].Name} {
		if !strings.Contains(rec.Message, name) {
			w.t.Errorf("the recovery does not name %s: %s", name, rec.Message)
		}
	}
	c := w.changed(rec)
	w.stragglers()
	w.settled(away)
	w.stragglers()
	mend()
	back := time.Now()
	w.confirmed()
	w.t.Logf("told %v after it was back", time.Since(back))
	w.writing(3)
	w.must(old.Start(w.ctx))
	w.deposed(old)
	w.nobodyLeft(old)
	w.verdict(c)
}

// A frozen master may live on, and proxies that cannot be reached lead to it: nobody is promoted before they have withdrawn it.
func unreachableAtFreeze(w *world) {
	old := w.site.DB.Master
	w.brace()
	mend := w.unreachable()
	w.must(old.Freeze())
	w.settled(away)
	for _, server := range w.site.DB.Replicas {
		value, err := server.Value(w.ctx, "SELECT @@GLOBAL.read_only")
		if err != nil || value != "1" {
			w.t.Errorf("%s was made writable: read_only is %q, %v", server.Key(), value, err)
		}
	}
	mended := time.Now()
	mend()
	c := w.changed(w.recovered(ledger.Completed, ledger.Incomplete))
	if c.Promoting.Before(mended) {
		w.t.Errorf("the promotion began at %v, before the proxies could be reached at %v", c.Promoting, mended)
	}
	w.thawed(c)
}

// settled lets a time pass in which nothing is waited for but its end.
func (w *world) settled(length time.Duration) {
	w.t.Helper()
	from := time.Now()
	w.until(length+10*time.Second, length.String()+" have passed", func(context.Context) error {
		if left := length - time.Since(from); left > 0 {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
}

// confirmed waits until the status says of every proxy that it follows.
func (w *world) confirmed() {
	w.t.Helper()
	w.until(30*time.Second, "every proxy is confirmed", func(ctx context.Context) error {
		status, err := w.site.Status(ctx)
		if err != nil {
			return err
		}
		if len(status.Proxies) != len(w.doors()) {
			return fmt.Errorf("the status names %d proxies", len(status.Proxies))
		}
		for _, p := range status.Proxies {
			if !p.Confirmed {
				err = errors.Join(err, fmt.Errorf("%s: %s", p.Name, p.Problem))
			}
		}
		return err
	})
}

// restartedRightAfter kills an HAProxy when its cluster has a new master: it comes back and leads to nobody, is told within two
// seconds or so, and never leads to the old one.
func restartedRightAfter(w *world, rec wire.Recovery) time.Duration {
	w.t.Helper()
	p := w.site.Proxies[0]
	w.must(p.Restart(w.ctx))
	up := time.Now()
	w.leads(p, rec)
	return time.Since(up)
}

// playStory runs one.
func playStory(t *testing.T, s story, flavor stack.Flavor) {
	s.options.Flavor = flavor
	s.play(newWorld(t, s.options))
}
