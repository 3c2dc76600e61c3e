//go:build servers

package matrix_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/matrix"
	"switchyard/e2e/site"
	"switchyard/store/ledger"
)

// sidecarStories are about the processes beside the proxies.
func sidecarStories() []story {
	options := sidecar.of(site.Options{})
	reloading := sidecar.of(site.Options{ProxyMaster: true})
	lasting := sidecar.of(site.Options{ProxyMaster: true, EditProxy: longLivedWorkers})
	return []story{
		{"sidecars killed before the master crashes", options, sidecarsDownAtCrash},
		{"sidecars killed before the master freezes", options, sidecarsDownAtFreeze},
		{"sidecars killed between withdrawal and announcement", options, sidecarsKilledWithdrawn},
		{"sidecars killed while they drain", options, sidecarsKilledDraining},
		{"sidecars and controllers killed, sidecars come back alone", options, sidecarsAlone},
		{"haproxy reloaded in the middle, with sidecars", reloading, reloadedInTheMiddle},
		{"old worker with live sessions, with sidecars", lasting, oldWorkers},
		{"consul gone, with sidecars", options, consulGone},
		{"all controllers gone, with sidecars", options, controllersGone},
	}
}

// lame are the sidecars that are killed: one of an HAProxy, one of a ProxySQL.
func (w *world) lame() []*site.ProxySidecar {
	return []*site.ProxySidecar{w.site.ProxySidecar(w.site.Proxies[0].Name), w.site.ProxySidecar(w.site.ProxySQLs[0].Name)}
}

func (w *world) killSidecars() {
	w.t.Helper()
	for _, s := range w.lame() {
		w.must(s.Kill())
		w.must(s.Wait(w.ctx))
	}
}

func (w *world) startSidecars() {
	w.t.Helper()
	for _, s := range w.lame() {
		w.must(s.Start(w.ctx))
	}
}

// A dead sidecar says nothing of its proxy. A master that is proven dead is replaced all the same, and whose sidecar is back
// follows.
func sidecarsDownAtCrash(w *world) {
	old := w.site.DB.Master
	w.brace()
	w.killSidecars()
	w.must(old.Kill())
	rec := w.recovered(ledger.Incomplete)
	c := w.changed(rec)
	w.stragglers()
	w.startSidecars()
	w.confirmed()
	w.nobodyLeft(old)
	w.writing(3)
	w.must(old.Start(w.ctx))
	w.deposed(old)
	w.verdict(c)
}

// A master that may live on is not replaced before the proxies have withdrawn it whose sidecars are dead.
func sidecarsDownAtFreeze(w *world) {
	old := w.site.DB.Master
	w.brace()
	w.killSidecars()
	w.must(old.Freeze())
	w.withdrawn()
	w.settled(3 * time.Second)
	for _, server := range w.site.DB.Replicas {
		value, err := server.Value(w.ctx, "SELECT @@GLOBAL.read_only")
		if err != nil || value != "1" {
			w.t.Errorf("%s was made writable: read_only is %q, %v", server.Key(), value, err)
		}
	}
	back := time.Now()
	w.startSidecars()
	c := w.changed(w.recovered(ledger.Completed, ledger.Incomplete))
	if c.Promoting.Before(back) {
		w.t.Errorf("the promotion began at %v, before the sidecars were back at %v", c.Promoting, back)
	}
	w.thawed(c)
}

// Sidecars that have withdrawn the old master and die before they are told of the new one.
func sidecarsKilledWithdrawn(w *world) {
	old := w.site.DB.Master
	w.brace()
	w.must(old.Freeze())
	w.withdrawn()
	p := w.site.Proxies[0]
	w.until(10*time.Second, p.Name+" has withdrawn the old master", func(ctx context.Context) error {
		text, err := matrix.Runtime(ctx, p, "show servers state")
		if err == nil && strings.Contains(text, " "+old.Host()+" 2 ") {
			err = errors.New(text)
		}
		return err
	})
	w.killSidecars()
	w.startSidecars()
	w.thawed(w.changed(w.recovered(ledger.Completed, ledger.Incomplete)))
}

// Sidecars that die while what is under way on the old master may end: the switchover goes on with those that come back, or is
// turned back.
func sidecarsKilledDraining(w *world) {
	w.disturbed(func() {
		w.killSidecars()
		w.startSidecars()
	})
}

// Without controllers a sidecar that starts again serves what it has on disk, and puts its proxy right by that.
func sidecarsAlone(w *world) {
	old := w.site.DB.Master
	w.brace()
	_, err := w.site.Switchover(w.ctx, w.site.DB.Replicas[1].Key())
	w.must(err)
	rec := w.recovered(ledger.Completed)
	c := w.changed(rec)
	w.confirmed()
	w.writing(3)
	for _, c := range w.site.Controllers {
		w.must(c.Kill())
	}
	w.must(w.site.Consul.Kill())
	w.killSidecars()
	w.must(w.site.Proxies[0].Restart(w.ctx))
	w.startSidecars()
	w.leads(w.site.Proxies[0], rec)
	w.writing(3)
	w.nobodyLeft(old)
	w.must(w.site.Consul.Start(w.ctx))
	for _, c := range w.site.Controllers {
		w.must(c.Wait(w.ctx))
		w.must(c.Start(w.ctx))
	}
	w.confirmed()
	w.writing(3)
	list, err := w.site.Recoveries(w.ctx)
	w.must(err)
	if len(list) != 1 {
		w.t.Errorf("%d recoveries, want the one switchover", len(list))
	}
	c.Planned = false // An HAProxy was killed since.
	w.verdict(c)
}

// leads waits until an HAProxy leads to a recovery's winner; it may never lead to the old master.
func (w *world) leads(p *site.Proxy, rec wire.Recovery) {
	w.t.Helper()
	w.until(10*time.Second, p.Name+" leads to the new master", func(ctx context.Context) error {
		text, err := matrix.Runtime(ctx, p, "show servers state")
		if err != nil {
			return err
		}
		if strings.Contains(text, " "+rec.Old.Host+" ") {
			w.t.Fatalf("%s came back with the old master:\n%s", p.Name, text)
		}
		if !strings.Contains(text, " "+rec.Winner.Host+" ") {
			return errors.New(text)
		}
		return nil
	})
}

// withdrawn waits until the ledger says that nobody is to be served.
func (w *world) withdrawn() {
	w.t.Helper()
	w.until(30*time.Second, "the old master is withdrawn", func(ctx context.Context) error {
		cluster, err := w.site.Cluster(ctx)
		if err == nil && !cluster.Withdrawn {
			err = fmt.Errorf("%+v", cluster)
		}
		return err
	})
}

// thawed ends a story in which the first master was frozen.
func (w *world) thawed(c matrix.Change) {
	w.t.Helper()
	old := w.site.DB.Master
	w.confirmed()
	w.nobodyLeft(old)
	w.writing(3)
	w.must(old.Thaw())
	w.deposed(old)
	w.noSessions(old)
	w.nobodyLeft(old)
	w.verdict(c)
}
