//go:build servers

// Package scenarios_test tries the whole of Switchyard from outside, on real servers.
package scenarios_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/invariants"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/e2e/trial"
	"switchyard/store/ledger"
)

// world is a site with an application that writes to it.
type world struct {
	*trial.Trial
	t   *testing.T
	ctx context.Context //nolint:containedctx // it is the test's
}

// newSite starts a site that is observed from outside until the test ends.
func newSite(t *testing.T, o site.Options, tags ...string) (context.Context, *site.Site) {
	t.Helper()
	ctx, s := startSite(t, o, tags...)
	watch(t, s)
	return ctx, s
}

// watch samples all servers and proxies every 10 ms, and fails the test in the end if anything happened that must never
// happen. The masters are those that the controllers say there were.
func watch(t *testing.T, s *site.Site) {
	t.Helper()
	first := s.DB.Master.ServerID()
	observer, err := trial.Watch(s)
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); observer.Run(running) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		list, err := s.Recoveries(ctx)
		stop()
		<-done
		if err != nil {
			t.Errorf("who the masters were is not known: %v", err)
			return
		}
		masters := []uint32{first}
		for _, rec := range slices.Backward(list) {
			if winner, err := s.Server(rec.Winner.String()); err == nil && rec.Announced && winner.ServerID() != masters[len(masters)-1] {
				masters = append(masters, winner.ServerID())
			}
		}
		if v := invariants.Judge(invariants.Evidence{Samples: observer.Samples(), Masters: masters}); !v.OK() {
			t.Errorf("an invariant was violated (masters %v)\n%s", masters, v)
		}
	})
}

// startSite starts a site that ends with the test; what its controllers logged is shown if the test fails.
func startSite(t *testing.T, o site.Options, tags ...string) (context.Context, *site.Site) {
	t.Helper()
	return startSiteFor(t, 2*time.Minute, o, tags...)
}

func startSiteFor(t *testing.T, within time.Duration, o site.Options, tags ...string) (context.Context, *site.Site) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience*within)
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
	if o.Binary, err = st.BuildSwitchyard(ctx, tags...); err != nil {
		t.Fatal(err)
	}
	if o.Flavor == "" {
		o.Flavor = stack.MariaDB
	}
	s, err := site.Start(ctx, st, o)
	if s != nil {
		t.Cleanup(func() { showLogs(t, s) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return ctx, s
}

func showLogs(t *testing.T, s *site.Site) {
	if !t.Failed() && os.Getenv("SWITCHYARD_TEST_LOGS") == "" {
		return
	}
	for _, c := range s.Controllers {
		if c.Process != nil {
			t.Logf("--- %s\n%s", c.ID, c.Output())
		}
	}
	for _, sidecar := range s.Sidecars {
		if sidecar.Process != nil {
			t.Logf("--- %s\n%s", sidecar.Name(), sidecar.Output())
		}
	}
}

func newWorld(t *testing.T, o site.Options, tags ...string) *world {
	t.Helper()
	ctx, s := startSite(t, o, tags...)
	tr, err := trial.Begin(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Trial: tr, t: t, ctx: ctx}
	w.must(tr.Before(ctx))
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// recovered waits for the recovery and checks that it is what was expected.
func (w *world) recovered(outcome ledger.Outcome) (wire.Recovery, *stack.Server) {
	w.t.Helper()
	rec, err := w.Recovered(w.ctx)
	w.must(err)
	if rec.Outcome != outcome {
		w.t.Fatalf("recovery %s: %s: %s", rec.ID, rec.Outcome, rec.Message)
	}
	winner, err := w.Winner(rec)
	w.must(err)
	return rec, winner
}

// end stops the application and fails the test if an invariant was violated.
func (w *world) end(zeroLoss bool, winners ...*stack.Server) trial.Report {
	w.t.Helper()
	report, err := w.End(w.ctx, zeroLoss, winners...)
	w.must(err)
	w.t.Logf("outage %v, %d writes acknowledged (%.0f per second before the fault), %d lost\n%s",
		report.Outage.Round(time.Millisecond), report.Acked, w.Rate, len(report.Lost), report.Verdict)
	if !report.Verdict.OK() {
		w.t.Error("an invariant was violated")
	}
	return report
}

// patience is how much longer than on an idle machine everything may take.
const patience = 3

// until waits for a condition that comes true within a time on an idle machine.
func until(t *testing.T, ctx context.Context, within time.Duration, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience*within)
	defer cancel()
	if err := site.Until(ctx, what, check); err != nil {
		t.Fatal(err)
	}
}

// consulNames waits until Consul names the server, in all keys alike.
func consulNames(t *testing.T, ctx context.Context, s *site.Site, server *stack.Server) {
	t.Helper()
	key := "mysql/master/" + site.ClusterName
	until(t, ctx, 10*time.Second, "Consul names the master", func(ctx context.Context) error {
		cluster, err := s.Cluster(ctx)
		if err != nil {
			return err
		}
		for suffix, want := range map[string]string{
			"": server.Key(), "/hostname": server.Host(), "/port": "3306", "/ipv4": server.Host(), "/ipv6": "",
			"/epoch": cluster.Epoch.String(),
		} {
			if got, err := s.Consul.Get(ctx, key+suffix); err != nil || got != want {
				return fmt.Errorf("%s is %q, want %q: %v", key+suffix, got, want, err)
			}
		}
		return nil
	})
}

// follows waits until a server replicates from another and is read-only.
func follows(t *testing.T, ctx context.Context, replica, master *stack.Server) {
	t.Helper()
	// A MySQL that was stopped in the middle of a transaction waits a minute for its rest.
	until(t, ctx, 100*time.Second, fmt.Sprintf("%s follows %s", replica.Key(), master.Key()), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		status, err := replica.ReplicaStatus(ctx)
		if err != nil {
			return err
		}
		if !status.Running() || status.SourceHost != master.Host() {
			return fmt.Errorf("%+v", status)
		}
		value, err := replica.Value(ctx, "SELECT @@global.read_only")
		if err == nil && value != "1" {
			err = errors.New("it is writable")
		}
		return err
	})
}

// holds waits until the leader explains that it holds for a named reason, by a named finding, and sees to it that
// nothing is recovered for a while.
func holds(t *testing.T, ctx context.Context, s *site.Site, finding, reason string, within time.Duration) wire.Explanation {
	t.Helper()
	var last wire.Explanation
	until(t, ctx, within, "the leader holds with "+reason, func(ctx context.Context) (err error) {
		if last, err = s.Explain(ctx); err != nil {
			return err
		}
		if last.Finding != finding || last.Verdict != wire.Hold || last.Reason != reason {
			return fmt.Errorf("%s %s %s: %s", last.Finding, last.Verdict, last.Reason, last.ReasonSentence)
		}
		return nil
	})
	if len(last.Evidence) == 0 || last.ReasonSentence == "" {
		t.Errorf("a hold without evidence or reason: %+v", last)
	}
	begun := time.Now()
	until(t, ctx, 10*time.Second, "the leader has held for two seconds", func(ctx context.Context) error {
		list, err := s.Recoveries(ctx)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			t.Fatalf("must hold with %s, and began %s", reason, list[0].ID)
		}
		if time.Since(begun) < 2*time.Second {
			return errors.New("not yet")
		}
		return nil
	})
	return last
}

// acts waits until a recovery has completed.
func acts(t *testing.T, ctx context.Context, s *site.Site) wire.Recovery {
	t.Helper()
	var done wire.Recovery
	until(t, ctx, 30*time.Second, "a recovery has completed", func(ctx context.Context) error {
		list, err := s.Recoveries(ctx)
		if err != nil {
			return err
		}
		if len(list) == 0 || list[0].Outcome != ledger.Completed {
			e, err := s.Explain(ctx)
			return fmt.Errorf("%v; the leader says: %s %s (%v)", list, e.Verdict, e.ReasonSentence, err)
		}
		done = list[0]
		return nil
	})
	return done
}

// switchover moves the master to a server, as soon as that is found fit: it may lag for a while, or wait to be compared.
func switchover(ctx context.Context, s *site.Site, to *stack.Server) (rec wire.Recovery, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var asked error
	waited := site.Until(ctx, to.Key()+" may be promoted", func(ctx context.Context) error {
		var refused *wire.Error
		if rec, asked = s.Switchover(ctx, to.Key()); errors.As(asked, &refused) && refused.Code == wire.Refused {
			return asked
		}
		return nil
	})
	switch {
	case waited != nil:
		return rec, waited
	case asked != nil:
		return rec, asked
	case rec.Outcome != ledger.Completed:
		return rec, fmt.Errorf("the switchover is %q: %+v", rec.Outcome, rec)
	}
	return rec, nil
}

// putBack has a proxy spoiled and waits until it is right again, and until that is in the audit. It is spoiled again where
// it is not: what coincides with a change of the controllers' own, or of their leader, is put right without a word.
func putBack(t *testing.T, ctx context.Context, s *site.Site, proxy string, spoil, right func()) {
	t.Helper()
	known := func(ctx context.Context) (n int, err error) {
		var audit wire.Audit
		err = s.Get(ctx, wire.PathAudit, &audit)
		for _, e := range audit.Entries {
			if e.Action == "put-back-proxy" && strings.Contains(e.Reason, "proxy "+proxy+" ") {
				n++
			}
		}
		return n, err
	}
	var before int
	until(t, ctx, 10*time.Second, "there is an audit", func(ctx context.Context) (err error) {
		before, err = known(ctx)
		return err
	})
	var missing error
	for range 3 {
		spoil()
		right()
		waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
		missing = site.Until(waiting, "the repair of "+proxy+" is in the audit", func(ctx context.Context) error {
			if n, err := known(ctx); err != nil || n > before {
				return err
			}
			return errors.New("it is not")
		})
		cancel()
		if missing == nil {
			return
		}
		t.Log(missing)
	}
	t.Fatal(missing)
}

// flavors are those that are to be tried: MySQL 5.6 where it is named.
func flavors(t *testing.T) []stack.Flavor {
	list := []stack.Flavor{stack.MariaDB, stack.MySQL}
	if os.Getenv("MYSQL56_DIR") != "" {
		return append(list, stack.MySQL56)
	}
	t.Log("MYSQL56_DIR names no MySQL 5.6: it is not tried")
	return list
}

func mentions(list []string, text string) bool {
	return strings.Contains(strings.Join(list, "\n"), text)
}
