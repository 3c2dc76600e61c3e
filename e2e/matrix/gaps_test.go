//go:build servers

package matrix_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"switchyard/e2e/matrix"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/store/ledger"
)

// gap is a site with one kind of proxy in use, of which planned switchovers are measured.
type gap struct {
	flavor stack.Flavor
	mode   mode
	proxy  matrix.Proxy
}

func (g gap) String() string { return fmt.Sprintf("%s %s %s", g.flavor, g.mode, g.proxy) }

func gaps() (list []gap) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		for _, mode := range modes() {
			for _, proxy := range []matrix.Proxy{matrix.HAProxy, matrix.ProxySQL} {
				list = append(list, gap{flavor, mode, proxy})
			}
		}
	}
	return list
}

// measure moves the master forth and back. Where nobody outlasts the drain bound, nobody sees an error through ProxySQL, and through
// HAProxy only those whose connection was open.
func measure(t *testing.T, g gap) (matrix.GapFigure, []matrix.RestFigure) {
	o := site.Options{Flavor: g.flavor, Proxies: 2}
	if g.proxy == matrix.ProxySQL {
		o.Proxies, o.ProxySQLs = 1, 2 // a site has an HAProxy in any case
	}
	w := newSite(t, g.mode.of(o))
	rest := w.atRest(10 * time.Second)
	doors := slices.DeleteFunc(w.doors(), func(d matrix.Door) bool { return d.Proxy != g.proxy })
	w.start(doors, matrix.Calm())
	figure := matrix.GapFigure{Cell: g.String(), Proxy: g.proxy}
	from, to := w.site.DB.Master, w.site.DB.Replicas[0]
	for range 4 {
		var err error
		w.before, err = w.site.Cluster(w.ctx)
		w.must(err)
		w.struck = time.Now()
		_, err = w.site.Switchover(w.ctx, to.Key())
		w.must(err)
		w.recovered(ledger.Completed)
		w.nobodyLeft(from)
		w.writing(3)
		figure.GapsMS = append(figure.GapsMS, matrix.Gaps(w.app.Clients(), w.app.Writes(), w.struck)[g.proxy])
		failures := w.app.Failures(w.struck)
		figure.Errors += len(failures)
		seen := map[int64]int{}
		for _, f := range failures {
			seen[f.Client]++
			if g.proxy == matrix.ProxySQL || f.Stage == matrix.Refused || seen[f.Client] > 1 {
				t.Errorf("%s saw %+v", w.app.Clients()[f.Client-1], f)
			}
		}
		w.deposed(from)
		from, to = to, from
	}
	t.Logf("%+v %+v", figure, rest)
	return figure, rest
}

// atRest measures what the proxies' sidecars take while nothing happens.
func (w *world) atRest(length time.Duration) (figures []matrix.RestFigure) {
	w.t.Helper()
	if len(w.site.ProxySidecars) == 0 {
		return nil
	}
	before, from := map[string]float64{}, time.Now()
	for _, s := range w.site.ProxySidecars {
		seconds, _, err := matrix.Usage(s.Pid())
		w.must(err)
		before[s.Name] = seconds
	}
	w.settled(length)
	for _, s := range w.site.ProxySidecars {
		seconds, rss, err := matrix.Usage(s.Pid())
		w.must(err)
		passed := time.Since(from).Seconds()
		figures = append(figures, matrix.RestFigure{Sidecar: s.Name, CPU: 100 * (seconds - before[s.Name]) / passed, Seconds: passed, RSSKiB: rss})
	}
	return figures
}
