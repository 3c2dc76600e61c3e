//go:build servers

package workload_test

import (
	"context"
	"testing"
	"time"

	"switchyard/e2e/stack"
	"switchyard/e2e/workload"
)

// The demo and every end-to-end test stand on this rate: with less traffic, an outage could hide between two writes.
const leastRate = 50

func TestRateIsSustainedWithDurableCommits(t *testing.T) {
	type setting struct {
		flavor   stack.Flavor
		semiSync bool
	}
	settings := []setting{{stack.MariaDB, true}, {stack.MySQL, true}}
	for _, flavor := range stack.Flavors() {
		settings = append(settings, setting{flavor, false})
	}
	for _, test := range settings {
		name := string(test.flavor)
		if test.semiSync {
			name += " semi-sync"
		}
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
			defer cancel()
			_, cluster := start(ctx, t, test.flavor, test.semiSync)
			app := newApp(t, cluster.Master)
			stop := run(ctx, t, app)
			if err := app.WaitWriting(ctx, 300); err != nil {
				t.Fatal(err)
			}
			from := time.Now()
			if err := app.WaitWriting(ctx, 3*leastRate); err != nil {
				t.Fatal(err)
			}
			to := time.Now()
			stop()
			rate := workload.Rate(app.Acked(), from, to)
			t.Logf("%.0f acknowledged writes per second, longest gap %v", rate, app.Outage(from, to).Length())
			if rate < leastRate {
				t.Errorf("%.0f acknowledged writes per second, want at least %d", rate, leastRate)
			}
			for _, replica := range cluster.Replicas {
				if err := stack.WaitCaughtUp(ctx, replica, cluster.Master); err != nil {
					t.Fatal(err)
				}
			}
			for _, server := range cluster.Servers() {
				missing, err := app.Missing(ctx, server.Root())
				if err != nil || len(missing) > 0 {
					t.Errorf("%s misses %d of %d acknowledged writes (%v)", server.Name(), len(missing), app.Count(), err)
				}
			}
		})
	}
}

func TestOutageAndLossAreSeen(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	_, cluster := start(ctx, t, stack.MariaDB, false)
	app := newApp(t, cluster.Master)
	stop := run(ctx, t, app)
	if err := app.WaitWriting(ctx, 300); err != nil {
		t.Fatal(err)
	}
	fault := time.Now()
	if err := cluster.Master.Freeze(); err != nil {
		t.Fatal(err)
	}
	const frozen = 3 * time.Second
	quiet, done := context.WithTimeout(ctx, frozen)
	if err := app.WaitWriting(quiet, 500); err == nil {
		t.Error("500 writes were acknowledged by a frozen server")
	}
	done()
	if err := cluster.Master.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := app.WaitWriting(ctx, 300); err != nil {
		t.Fatal(err)
	}
	stop()
	over := time.Now()
	gap := app.Outage(fault, over)
	// A signal takes its time to reach all threads of a busy server, and so does an acknowledgement under way.
	if gap.Open || gap.Length() < frozen-time.Second || gap.Length() > over.Sub(fault) {
		t.Errorf("outage %v (open %v), the server was frozen for %v", gap.Length(), gap.Open, frozen)
	}
	if app.LastError() == nil {
		t.Error("no worker was told of the outage")
	}
	if err := cluster.Master.Exec(ctx, "DELETE FROM app.writes WHERE worker = 3 ORDER BY seq LIMIT 2"); err != nil {
		t.Fatal(err)
	}
	missing, err := app.Missing(ctx, cluster.Master.Root())
	if err != nil || len(missing) != 2 || missing[0].Worker != 3 || missing[0].Server != cluster.Master.ServerID() {
		t.Errorf("missing %+v (%v), want the two deleted writes of worker 3", missing, err)
	}
}

func start(ctx context.Context, t *testing.T, flavor stack.Flavor, semiSync bool) (*stack.Stack, *stack.Cluster) {
	t.Helper()
	s, err := stack.New(ctx, stack.Options{Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	cluster, err := s.Topology(ctx, flavor, 2, stack.TopologyOptions{SemiSync: semiSync})
	if err != nil {
		t.Fatal(err)
	}
	if err := workload.CreateTable(ctx, cluster.Master.Root(), stack.AppSchema); err != nil {
		t.Fatal(err)
	}
	return s, cluster
}

func newApp(t *testing.T, master *stack.Server) *workload.Workload {
	t.Helper()
	account := stack.AppAccount()
	app, err := workload.New(workload.Config{Address: master.Key(), User: account.User, Password: account.Password,
		Schema: stack.AppSchema})
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// run starts the application; what it returns stops it and waits for it.
func run(ctx context.Context, t *testing.T, app *workload.Workload) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}
