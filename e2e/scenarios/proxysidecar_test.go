//go:build servers

package scenarios_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/ctl"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/store/ledger"
)

// sidecars starts a site whose proxies are reached through sidecars only.
func sidecars(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, site.Options{SemiSync: true, Proxies: 2, ProxySQLs: 1, ProxySidecars: &site.ProxySidecars{}})
	t.Cleanup(func() {
		if t.Failed() || os.Getenv("SWITCHYARD_TEST_LOGS") != "" {
			for _, sidecar := range w.Site.ProxySidecars {
				t.Logf("--- %s\n%s", sidecar.Name, sidecar.Output())
			}
		}
	})
	return w
}

// fleet asks what each proxy does.
func (w *world) fleet(ctx context.Context) (map[string]wire.Proxy, error) {
	var all wire.Proxies
	if err := w.Site.Get(ctx, wire.PathProxies+"?cluster="+site.ClusterName, &all); err != nil {
		return nil, err
	}
	if !all.Looks {
		return nil, fmt.Errorf("%s does not lead", all.Controller)
	}
	out := map[string]wire.Proxy{}
	for _, p := range all.Proxies {
		out[p.Name] = p
	}
	return out, nil
}

// followed waits until every proxy leads to the master, and its sidecar says so by itself.
func (w *world) followed(master *stack.Server) {
	w.t.Helper()
	until(w.t, w.ctx, 20*time.Second, "all proxies follow through their sidecars", func(ctx context.Context) error {
		all, err := w.fleet(ctx)
		if err != nil {
			return err
		}
		for _, sidecar := range w.Site.ProxySidecars {
			p := all[sidecar.Beside]
			if p.Way != wire.WaySidecar || p.State != wire.ProxyFollows || !p.Confirmed || p.Serves != master.Key() {
				return fmt.Errorf("%+v", p)
			}
			if r := p.Report; r == nil || r.Sidecar != sidecar.Name || r.Epoch != p.WantedEpoch || r.Sessions != 0 {
				return fmt.Errorf("%s reported %+v, wanted is %s", sidecar.Name, r, p.WantedEpoch)
			}
		}
		return nil
	})
	// What an HAProxy starts with says the same.
	for _, p := range w.Site.Proxies {
		until(w.t, w.ctx, 10*time.Second, "the file is in step", func(context.Context) error {
			text, err := os.ReadFile(filepath.Join(w.Site.Stack.Dir(), p.Name, "haproxy.cfg"))
			if err == nil && !strings.Contains(string(text), "server master "+master.Key()+" ") {
				err = fmt.Errorf("it does not lead to %s:\n%s", master.Key(), text)
			}
			return err
		})
	}
}

func TestSwitchoverThroughSidecars(t *testing.T) {
	w := sidecars(t)
	first, second := w.Site.DB.Master, w.Site.DB.Replicas[0]
	w.followed(first)
	rec, err := switchover(w.ctx, w.Site, second)
	w.must(err)
	t.Log("\n" + ctl.Recovery(rec))
	w.must(w.Load.WaitWriting(w.ctx, 200))
	w.followed(second)
	until(t, w.ctx, 30*time.Second, "the old master is a replica in good standing", func(ctx context.Context) error {
		return standing(ctx, w.Site, first, "replica")
	})

	// A sidecar is killed in the middle of the way back, and started again at once.
	killed := w.Site.ProxySidecar(w.Site.Proxies[1].Name)
	type end struct {
		rec wire.Recovery
		err error
	}
	ended := make(chan end, 1)
	go func() {
		rec, err := switchover(w.ctx, w.Site, first)
		ended <- end{rec, err}
	}()
	until(t, w.ctx, 20*time.Second, "the switchover has begun", func(ctx context.Context) error {
		list, err := w.Site.Recoveries(ctx)
		if err == nil && (len(list) == 0 || list[0].ID == rec.ID) {
			err = errors.New("not yet")
		}
		return err
	})
	w.must(killed.Kill())
	w.must(killed.Wait(w.ctx))
	w.must(killed.Start(w.ctx))
	result := <-ended
	w.must(result.err)
	t.Log("\n" + ctl.Recovery(result.rec))
	if result.rec.Outcome != ledger.Completed {
		t.Fatalf("%+v", result.rec)
	}
	w.must(w.Load.WaitWriting(w.ctx, 200))
	w.followed(first)
	w.end(true, second, first)
}

// TestCrashWithASidecarDown: the proxy whose sidecar is down is unknown, and follows by itself once that is back, also
// before any controller has told it.
func TestCrashWithASidecarDown(t *testing.T) {
	w := sidecars(t)
	w.followed(w.Site.DB.Master)
	down := w.Site.ProxySidecar(w.Site.Proxies[1].Name)
	w.must(down.Kill())
	w.must(down.Wait(w.ctx))
	until(t, w.ctx, 10*time.Second, "the proxy is unknown", func(ctx context.Context) error {
		all, err := w.fleet(ctx)
		if p := all[down.Beside]; err == nil && (p.State != wire.ProxyUnknown || p.Retries == 0 || p.Problem == "") {
			err = fmt.Errorf("%+v", p)
		}
		return err
	})
	w.must(w.Before(w.ctx))
	w.must(w.Site.DB.Master.Kill())
	rec, winner := w.recovered(ledger.Incomplete)
	t.Log("\n" + ctl.Recovery(rec))
	if !strings.Contains(rec.Message, down.Beside) {
		t.Errorf("the straggler is not named: %q", rec.Message)
	}
	all, err := w.fleet(w.ctx)
	w.must(err)
	for name, p := range all {
		if p.Confirmed != (name != down.Beside) {
			t.Errorf("%+v", p)
		}
	}
	w.must(down.Start(w.ctx))
	w.followed(winner)
	w.end(true, winner)
}
