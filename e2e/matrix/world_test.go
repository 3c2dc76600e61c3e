//go:build servers

package matrix_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/matrix"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/store/ledger"
)

// world is a site with two HAProxies and two ProxySQLs, and an application of 64 connections through them.
type world struct {
	t    *testing.T
	ctx  context.Context //nolint:containedctx // it is the test's
	site *site.Site
	app  *matrix.Application
	// struck is when the fault came, and before the cluster as it was then.
	struck time.Time
	before wire.Cluster
}

func newWorld(t *testing.T, o site.Options) *world {
	t.Helper()
	o.Proxies, o.ProxySQLs = 2, 2
	w := newSite(t, o)
	w.start(w.doors(), matrix.Crew())
	return w
}

// newSite starts a site without an application.
func newSite(t *testing.T, o site.Options) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	st, err := stack.New(ctx, stack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	if o.Binary, err = st.BuildSwitchyard(ctx); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ctx: ctx}
	if w.site, err = site.Start(ctx, st, o); w.site != nil {
		t.Cleanup(w.showLogs)
	}
	w.must(err)
	return w
}

// start starts an application, and waits until all of it writes.
func (w *world) start(doors []matrix.Door, crew []matrix.Habit) {
	w.t.Helper()
	w.must(w.site.DB.Master.Exec(w.ctx, matrix.Table()...))
	var err error
	w.app, err = matrix.Start(w.ctx, doors, crew)
	w.must(err)
	w.t.Cleanup(w.app.End)
	w.writing(5)
}

func (w *world) doors() (doors []matrix.Door) {
	for _, p := range w.site.Proxies {
		doors = append(doors, matrix.Door{Name: p.Name, Proxy: matrix.HAProxy, Address: p.Listen})
	}
	for _, p := range w.site.ProxySQLs {
		doors = append(doors, matrix.Door{Name: p.Name, Proxy: matrix.ProxySQL, Address: p.Address()})
	}
	return doors
}

func (w *world) showLogs() {
	if !w.t.Failed() && os.Getenv("SWITCHYARD_TEST_LOGS") == "" {
		return
	}
	for _, c := range w.site.Controllers {
		if c.Process != nil {
			w.t.Logf("--- %s\n%s", c.ID, c.Output())
		}
	}
	for _, c := range w.site.ProxySidecars {
		if c.Process != nil {
			w.t.Logf("--- %s\n%s", c.Name, c.Output())
		}
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// until waits for a condition that has to come true within a time.
func (w *world) until(within time.Duration, what string, check func(context.Context) error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, within)
	defer cancel()
	w.must(site.Until(ctx, what, check))
}

// writing waits until every client has so many more writes acknowledged.
func (w *world) writing(more int) {
	w.t.Helper()
	from := time.Now()
	w.until(45*time.Second, fmt.Sprintf("every client has %d more writes acknowledged", more), func(context.Context) error {
		acked := w.app.Acked(from)
		for _, c := range w.app.Clients() {
			if acked[c.Number] < more {
				return fmt.Errorf("%s has %d; errors since: %v", c, acked[c.Number], w.app.Failures(from))
			}
		}
		return nil
	})
}

// brace has what lasts begin, and waits until all of it is under way on the master; then the fault may come.
func (w *world) brace() {
	w.t.Helper()
	lasting, statements := 0, 0
	for _, c := range w.app.Clients() {
		if c.Habit.Lasting() {
			lasting++
		}
		if c.Habit == matrix.LastingStatement {
			statements++
		}
	}
	var err error
	w.before, err = w.site.Cluster(w.ctx)
	w.must(err)
	w.app.Brace()
	w.until(10*time.Second, "what lasts is under way", func(ctx context.Context) error {
		if n := w.app.Braced(); n < lasting {
			return fmt.Errorf("%d of %d", n, lasting)
		}
		running, err := matrix.Sessions(ctx, w.site.DB.Master)
		if err != nil {
			return err
		}
		there := slices.DeleteFunc(running, func(info string) bool { return !strings.Contains(info, "SLEEP(8)") })
		if len(there) < statements {
			return fmt.Errorf("%d of %d statements", len(there), statements)
		}
		return nil
	})
	// A witness that sees nothing before would prove nothing afterwards. After a reload a worker has short connections only.
	seen := map[string]int{}
	w.until(5*time.Second, "every witness has seen paths to the master", func(ctx context.Context) error {
		counts, err := matrix.Paths(ctx, w.site, w.site.DB.Master)
		for witness, count := range counts {
			if seen[witness] = max(seen[witness], count); seen[witness] == 0 {
				err = errors.Join(err, fmt.Errorf("%s: none", witness))
			}
		}
		return err
	})
	w.struck = time.Now()
}

// recovered waits until a recovery has ended as expected.
func (w *world) recovered(outcomes ...ledger.Outcome) wire.Recovery {
	w.t.Helper()
	var ended wire.Recovery
	w.until(time.Minute, "a recovery has ended", func(ctx context.Context) error {
		list, err := w.site.Recoveries(ctx)
		if err != nil {
			return err
		}
		if len(list) == 0 || list[0].Epoch.Compare(w.before.Epoch) <= 0 {
			e, err := w.site.Explain(ctx)
			return fmt.Errorf("none has begun; the leader says: %s %s (%v)", e.Verdict, e.Summary, err)
		}
		if list[0].Open() {
			return fmt.Errorf("%s is open", list[0].ID)
		}
		ended, err = w.site.Recovery(ctx, list[0].ID)
		return err
	})
	for _, step := range ended.Steps {
		w.t.Logf("%8.1f ms %8.1f ms %s %s: %s", step.OffsetMS, step.DurationMS, step.Name, step.Outcome, step.Note)
	}
	if !slices.Contains(outcomes, ended.Outcome) {
		w.t.Fatalf("recovery %s: %s: %s", ended.ID, ended.Outcome, ended.Message)
	}
	return ended
}

// changed reads out of a recovery when its steps were.
func (w *world) changed(rec wire.Recovery) matrix.Change {
	w.t.Helper()
	winner, err := w.site.Server(rec.Winner.String())
	w.must(err)
	old, err := w.site.Server(rec.Old.String())
	w.must(err)
	c := matrix.Change{Old: old.ServerID(), New: winner.ServerID(), Planned: rec.Kind == ledger.Switchover, Begun: w.struck}
	for _, step := range rec.Steps {
		switch step.Name {
		case "withdraw":
			c.Withdrawn = step.EndedAt
		case "promote":
			if c.Promoting.IsZero() {
				c.Promoting = step.StartedAt
			}
			c.Writable = step.EndedAt
		case "route":
			c.Confirmed = step.EndedAt
		}
	}
	if c.Withdrawn.IsZero() || c.Writable.IsZero() || c.Confirmed.IsZero() {
		w.t.Fatalf("the journal lacks a step: %+v", c)
	}
	return c
}

// nobodyLeft waits until no managed path leads to a server any more.
func (w *world) nobodyLeft(server *stack.Server) {
	w.t.Helper()
	w.until(5*time.Second, "no managed path leads to "+server.Key(), func(ctx context.Context) error {
		counts, err := matrix.Paths(ctx, w.site, server)
		maps.DeleteFunc(counts, func(_ string, count int) bool { return count == 0 })
		if err == nil && len(counts) > 0 {
			err = fmt.Errorf("left are %v", counts)
		}
		return err
	})
}

// noSessions waits until a server itself has no session of the application any more.
func (w *world) noSessions(server *stack.Server) {
	w.t.Helper()
	w.until(10*time.Second, "the application has no session on "+server.Key(), func(ctx context.Context) error {
		running, err := matrix.Sessions(ctx, server)
		if err == nil && len(running) > 0 {
			err = fmt.Errorf("%d: %q", len(running), running)
		}
		return err
	})
}

// deposed waits until a former master is read-only, and a replica or in quarantine.
func (w *world) deposed(server *stack.Server) {
	w.t.Helper()
	w.until(60*time.Second, server.Key()+" is read-only, and rejoined or quarantined", func(ctx context.Context) error {
		value, err := server.Value(ctx, "SELECT @@GLOBAL.read_only")
		if err == nil && value != "1" {
			err = errors.New("it is writable")
		}
		if err != nil {
			return err
		}
		topology, err := w.site.Topology(ctx)
		if err != nil {
			return err
		}
		for _, n := range topology.Nodes {
			if n.Key.String() == server.Key() {
				if n.Role == "replica" || n.Role == "quarantined" {
					return nil
				}
				return fmt.Errorf("it is %s: %s %s", n.Role, n.Status, n.Reason)
			}
		}
		return errors.New("it is not in the topology")
	})
}

// verdict ends the application, lets the new master's replicas be, and judges what all servers have.
func (w *world) verdict(c matrix.Change) matrix.Verdict {
	w.t.Helper()
	w.app.End()
	e := matrix.Evidence{Clients: w.app.Clients(), Writes: w.app.Writes(), Failures: w.app.Failures(w.struck), Change: c}
	for _, server := range w.site.Servers() {
		rows, err := matrix.Rows(w.ctx, server)
		w.must(err)
		e.Executions = append(e.Executions, rows...)
	}
	v := matrix.Judge(e)
	for _, text := range v.Violations {
		w.t.Error(text)
	}
	return v
}
