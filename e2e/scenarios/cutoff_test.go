//go:build servers

package scenarios_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/e2e/workload"
)

// The hosts of a site whose parts are apart: each database server and each controller has one of its own.
const (
	masterHost = "master"
	edgeHost   = "edge" // has the proxy and Consul
)

func controllerHosts() []string { return []string{"k1", "k2", "k3"} }

// apart places the parts of a site with one proxy on hosts.
func apart(o site.Options) site.Options {
	o.Hosts = map[string]string{"ha1": edgeHost, "consul-dc1": edgeHost}
	for i, host := range []string{masterHost, "replica1", "replica2"} {
		db := fmt.Sprintf("db%d", i+1)
		o.Hosts[db], o.Hosts["sc-"+db] = host, host
	}
	for i, host := range controllerHosts() {
		o.Hosts[fmt.Sprintf("c%d", i+1)] = host
	}
	return o
}

// writer starts an application until the test ends, on a host (nil for where the test is), that writes to an address.
func writer(t *testing.T, s *site.Site, from *stack.Host, address string, first int) *workload.Workload {
	t.Helper()
	account := stack.AppAccount()
	config := workload.Config{Address: address, User: account.User, Password: account.Password, Schema: stack.AppSchema,
		FirstWorker: first, Workers: 8, Rate: 200, Timeout: time.Second}
	if from != nil {
		config.Dial = from.Dial
	}
	load, err := workload.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = load.Run(ctx) }() // it ends with an error only where ctx did
	t.Cleanup(func() { stop(); <-done })
	return load
}

// twoWriters are an application on the master's host, which knows the master's address only, and one behind the proxy.
func twoWriters(t *testing.T, ctx context.Context, s *site.Site) (inside, outside *workload.Workload) {
	t.Helper()
	if err := workload.CreateTable(ctx, s.DB.Master.Root(), stack.AppSchema); err != nil {
		t.Fatal(err)
	}
	inside = writer(t, s, s.Net.Host(masterHost), s.DB.Master.Key(), 0)
	outside = writer(t, s, nil, s.Proxies[0].Listen, 100)
	writes(t, ctx, inside, outside)
	return inside, outside
}

// writes waits until these applications have some more writes acknowledged.
func writes(t *testing.T, ctx context.Context, loads ...*workload.Workload) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	for _, load := range loads {
		if err := load.WaitWriting(ctx, 50); err != nil {
			t.Fatal(err)
		}
	}
}

// lose cuts ways of the site's network.
func lose(t *testing.T, ctx context.Context, s *site.Site, ways ...stack.Way) {
	t.Helper()
	if err := s.Net.Cut(ctx, ways...); err != nil {
		t.Fatal(err)
	}
}

// heal ends all cuts.
func heal(t *testing.T, ctx context.Context, s *site.Site) {
	t.Helper()
	if err := s.Net.Heal(ctx); err != nil {
		t.Fatal(err)
	}
}
