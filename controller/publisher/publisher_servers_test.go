//go:build servers

package publisher_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/publisher"
	"switchyard/e2e/stack"
	"switchyard/integrations/consul"
	"switchyard/router/routes"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// country is two datacenters, each with a real Consul.
type country struct {
	consuls     []*stack.Consul
	directories []publisher.Directory
}

func newCountry(t *testing.T) (*country, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	s, err := stack.New(ctx, stack.Options{Log: t.Logf})
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the stack: %v", err)
		}
	})
	c := &country{}
	for _, datacenter := range []string{"dc1", "dc2"} {
		process, err := s.StartConsul(ctx, datacenter)
		must(t, err)
		directory, err := consul.New(consul.Config{Datacenter: datacenter, Address: process.Address()}, discard())
		must(t, err)
		t.Cleanup(directory.Close)
		c.consuls, c.directories = append(c.consuls, process), append(c.directories, directory)
	}
	return c, ctx
}

func waitFor(t *testing.T, ctx context.Context, what string, reached func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !reached() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not reached", what)
		case <-ticker.C:
		}
	}
}

func (c *country) names(ctx context.Context, i int, key, want string) func() bool {
	return func() bool {
		got, err := c.consuls[i].Get(ctx, "mysql/master/shop"+key)
		return err == nil && got == want
	}
}

// byHand is what an operator's script does: one request, no compare-and-set.
func (c *country) byHand(t *testing.T, ctx context.Context, method, key, value string) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, c.consuls[0].Address()+"/v1/kv/mysql/master/shop"+key,
		strings.NewReader(value))
	must(t, err)
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	must(t, response.Body.Close())
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s", method, key, response.Status)
	}
}

func oneConfirmed(t *testing.T, receipts []routes.Receipt) {
	t.Helper()
	if receipts[0].Answer != routes.Confirmed || receipts[1].Answer != routes.Unknown {
		t.Errorf("receipts %+v", receipts)
	}
}

func TestRealDirectoriesAreKept(t *testing.T) {
	country, ctx := newCountry(t)
	ledger := &book{tables: []routes.Table{table(5, "db1")}}
	p, err := publisher.New(publisher.Config{Datacenter: "dc1", Controllers: func() []string { return []string{"dc1"} }, Lookup: resolves,
		Interval: 200 * time.Millisecond}, country.directories, ledger, time.Now, discard())
	must(t, err)
	defer audit(t, p)()
	for i := range country.consuls {
		waitFor(t, ctx, "published at first", country.names(ctx, i, "", "db1:3306"))
		waitFor(t, ctx, "with its addresses", country.names(ctx, i, "/ipv4", "10.0.0.1"))
	}

	t.Run("changed by hand", func(t *testing.T) {
		country.byHand(t, ctx, http.MethodPut, "", "by-hand:1")
		waitFor(t, ctx, "put right", country.names(ctx, 0, "", "db1:3306"))
		country.byHand(t, ctx, http.MethodDelete, "?recurse", "")
		for key, want := range map[string]string{"": "db1:3306", "/hostname": "db1", "/port": "3306", "/epoch": "1.5"} {
			waitFor(t, ctx, "brought back", country.names(ctx, 0, key, want))
		}
		waitFor(t, ctx, "counted", func() bool { return p.Status()[0].Repairs == 2 })
	})
	t.Run("one hangs during a failover", func(t *testing.T) {
		must(t, country.consuls[1].Freeze())
		ledger.set(func(b *book) { b.tables = []routes.Table{table(6, "db2")} })
		began := time.Now()
		receipts := p.Push(ctx, table(6, "db2"))
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("the hung one held it up for %s", took)
		}
		oneConfirmed(t, receipts)
		if !country.names(ctx, 0, "/epoch", "1.6")() {
			t.Error("confirmed, and not there")
		}
		must(t, country.consuls[1].Thaw())
		waitFor(t, ctx, "caught up", country.names(ctx, 1, "", "db2:3306"))
	})
	t.Run("one is down during a failover", func(t *testing.T) {
		must(t, country.consuls[1].Kill())
		must(t, country.consuls[1].Wait(ctx))
		ledger.set(func(b *book) { b.tables = []routes.Table{table(7, "db1")} })
		receipts := p.Push(ctx, table(7, "db1"))
		oneConfirmed(t, receipts)
		waitFor(t, ctx, "seen", func() bool { return !p.Status()[1].Reachable })
		must(t, country.consuls[1].Start(ctx))
		waitFor(t, ctx, "caught up", country.names(ctx, 1, "/epoch", "1.7"))
		waitFor(t, ctx, "confirmed", func() bool { return slices.Contains(ledger.confirmations(), "dc2 shop 1.7/2") })
	})
	t.Run("a higher epoch", func(t *testing.T) {
		country.byHand(t, ctx, http.MethodPut, "/epoch", "2.1")
		waitFor(t, ctx, "held", func() bool { return p.Status()[0].Held })
		ledger.set(func(b *book) { b.tables = []routes.Table{table(8, "db2")} })
		if receipt := p.Push(ctx, table(8, "db2"))[0]; receipt.Answer != routes.Unknown {
			t.Errorf("receipt %+v", receipt)
		}
		if !country.names(ctx, 0, "", "db1:3306")() || !country.names(ctx, 0, "/epoch", "2.1")() {
			t.Error("what is held was written to")
		}
	})
}
