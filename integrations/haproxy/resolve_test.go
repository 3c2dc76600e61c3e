package haproxy

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/router/haproxy"
	"switchyard/router/routes"
)

// TestAResolverThatHangsHoldsUpNobody: neither a master that had an address before,
// nor a withdrawal whose readers cannot be found.
func TestAResolverThatHangsHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := false
		lookup := func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
			if hangs {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
		}
		p, err := New(Config{Name: "ha1", Cluster: "shop", Target: "tcp://127.0.0.1:1", Lookup: lookup,
			Backend: haproxy.Backend{Backend: "shop_writer", Server: "master"},
			Readers: haproxy.Readers{Backend: "shop_readers", Slots: 2}}, time.Now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.resolve(t.Context(), "db1.example"); err != nil {
			t.Fatal(err)
		}
		hangs = true
		time.Sleep(addressLife + time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if at, err := p.resolve(ctx, "db1.example"); err != nil || at.String() != "10.0.0.1" || time.Since(began) > againTime {
			t.Errorf("a known host: %s, %v after %s", at, err, time.Since(began))
		}
		if _, err := p.resolve(ctx, "never.example"); err == nil {
			t.Error("a host that never had an address was found")
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		within, done := share(ctx)
		defer done()
		want, remarks := p.readers(within, routes.Table{Readers: []routes.Reader{
			{Server: routes.Server{Host: "a.example", Port: 1}, Weight: 1}, {Server: routes.Server{Host: "b.example", Port: 1}, Weight: 1}}})
		if took := time.Since(began); len(want) != 0 || len(remarks) != 2 || took > 200*time.Millisecond {
			t.Errorf("readers %v, %q after %s, and a push waits 300 ms for all", want, remarks, took)
		}
	})
}
