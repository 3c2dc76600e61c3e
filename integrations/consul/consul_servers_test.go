//go:build servers

package consul

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"switchyard/e2e/stack"
	"switchyard/router/routes"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newStack(t *testing.T) (*stack.Stack, context.Context) {
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
	return s, ctx
}

// newReal starts a Consul. The timeout is long where a test is not about it.
func newReal(t *testing.T, timeout time.Duration) (*stack.Consul, *Consul, context.Context) {
	t.Helper()
	s, ctx := newStack(t)
	real, err := s.StartConsul(ctx, "dc1")
	must(t, err)
	return real, newConsul(t, Config{Datacenter: "dc1", Address: real.Address(), Timeout: timeout}), ctx
}

func publish(t *testing.T, ctx context.Context, c *Consul, r routes.Record, want bool) {
	t.Helper()
	if was, err := c.Publish(ctx, r); err != nil || (was != nil) != want {
		t.Fatalf("Publish(%s) = %v, %v; want changed %v", r.Epoch, was, err, want)
	}
}

// raw returns the key itself, as any other program sees it.
func raw(t *testing.T, ctx context.Context, c *Consul, key string) *api.KVPair {
	t.Helper()
	found, _, err := c.client.KV().Get(key, (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	must(t, err)
	return found
}

func check(t *testing.T, ctx context.Context, c *Consul, want map[string]string) {
	t.Helper()
	for key, value := range want {
		if found := raw(t, ctx, c, key); found == nil || string(found.Value) != value {
			t.Errorf("%s holds %v, want %q", key, found, value)
		}
	}
}

func TestLayoutAndOrder(t *testing.T) {
	_, c, ctx := newReal(t, 10*time.Second)
	if got, err := c.Read(ctx, "shop"); err != nil || !got.Epoch.IsZero() {
		t.Fatalf("Read() of nothing = %+v, %v", got, err)
	}
	first := record(3, "db1")
	publish(t, ctx, c, first, true)
	check(t, ctx, c, map[string]string{
		"mysql/master/shop": "db1:3306", "mysql/master/shop/hostname": "db1", "mysql/master/shop/port": "3306",
		"mysql/master/shop/ipv4": "10.0.0.1", "mysql/master/shop/ipv6": "", "mysql/master/shop/epoch": "1.3",
		"mysql/master/shop/revision": "1.3.2"})
	if got, err := c.Read(ctx, "shop"); err != nil || got != first {
		t.Fatalf("Read() = %+v, %v; want %+v", got, err, first)
	}

	before := raw(t, ctx, c, "mysql/master/shop/epoch").ModifyIndex
	publish(t, ctx, c, first, false)
	if after := raw(t, ctx, c, "mysql/master/shop/epoch").ModifyIndex; after != before {
		t.Errorf("what was right was written again")
	}

	publish(t, ctx, c, record(4, "db2"), true)
	var higher *routes.HigherEpochError
	changed, err := c.Publish(ctx, first)
	if !errors.As(err, &higher) || changed != nil || higher.Held.Number != 4 || higher.Offered.Number != 3 {
		t.Fatalf("an older epoch: %v, %v", changed, err)
	}
	all := raw(t, ctx, c, "mysql/master/shop").ModifyIndex
	for key, value := range map[string]string{"": "db2:3306", "/hostname": "db2", "/epoch": "1.4"} {
		found := raw(t, ctx, c, "mysql/master/shop"+key)
		if found == nil || string(found.Value) != value || found.ModifyIndex != all {
			t.Errorf("shop%s: %+v; want %q, written in the one transaction %d", key, found, value, all)
		}
	}

	next := record(1, "db3")
	next.Epoch.Generation = 2
	publish(t, ctx, c, next, true)
	check(t, ctx, c, map[string]string{"mysql/master/shop": "db3:3306", "mysql/master/shop/epoch": "2.1"})
}

func TestKeysWithoutAnEpochAreTakenOver(t *testing.T) {
	_, c, ctx := newReal(t, 10*time.Second)
	for key, value := range map[string]string{"": "old:3306", "/hostname": "old", "/port": "3306",
		"/ipv4": "10.9.9.9", "/ipv6": ""} {
		_, err := c.client.KV().Put(&api.KVPair{Key: "mysql/master/shop" + key, Value: []byte(value)}, nil)
		must(t, err)
	}
	publish(t, ctx, c, record(1, "db1"), true)
	check(t, ctx, c, map[string]string{"mysql/master/shop": "db1:3306", "mysql/master/shop/hostname": "db1",
		"mysql/master/shop/ipv4": "10.0.0.1", "mysql/master/shop/epoch": "1.1"})
}

func TestWhatWasChangedByHandIsRepaired(t *testing.T) {
	_, c, ctx := newReal(t, 10*time.Second)
	want := record(5, "db1")
	publish(t, ctx, c, want, true)
	for _, key := range []string{"", "/hostname", "/port", "/ipv4", "/ipv6", "/epoch", "/revision"} {
		_, err := c.client.KV().Delete("mysql/master/shop"+key, nil)
		must(t, err)
		publish(t, ctx, c, want, true)
		_, err = c.client.KV().Put(&api.KVPair{Key: "mysql/master/shop" + key, Value: []byte("0.by.hand")}, nil)
		must(t, err)
		publish(t, ctx, c, want, true)
		if got, err := c.Read(ctx, "shop"); err != nil || got != want {
			t.Fatalf("shop%s: repaired to %+v, %v", key, got, err)
		}
		publish(t, ctx, c, want, false)
	}
	_, err := c.client.KV().Put(&api.KVPair{Key: "mysql/master/shop/epoch", Value: []byte("1.6")}, nil)
	must(t, err)
	var higher *routes.HigherEpochError
	if changed, err := c.Publish(ctx, want); !errors.As(err, &higher) || changed != nil {
		t.Fatalf("a higher epoch set by hand: %v, %v", changed, err)
	}
	check(t, ctx, c, map[string]string{"mysql/master/shop/epoch": "1.6"})
}

// TestConcurrentPublishersNeverGoBack lets a hundred publishers of random epochs
// loose on one cluster, and watches.
func TestConcurrentPublishersNeverGoBack(t *testing.T) {
	real, c, ctx := newReal(t, 30*time.Second)
	second := newConsul(t, Config{Datacenter: "dc1", Address: real.Address(), Timeout: 30 * time.Second})
	records := make([]routes.Record, 100)
	var highest routes.Epoch
	for i := range records {
		r := record(rand.Uint64N(1000), "")
		r.Epoch.Generation = 1 + rand.Uint64N(3)
		r.Master.Host = "db-" + r.Epoch.String()
		records[i] = r
		if r.Epoch.Compare(highest) > 0 {
			highest = r.Epoch
		}
	}
	watched, stopWatch := context.WithCancel(ctx)
	var watcher, publishers sync.WaitGroup
	var seen int
	watcher.Go(func() {
		var last routes.Record
		for watched.Err() == nil {
			got, err := c.Read(ctx, "shop")
			if err != nil {
				t.Errorf("watch: %v", err)
				return
			}
			if got.Epoch.Compare(last.Epoch) < 0 {
				t.Errorf("it went back from %s to %s", last.Epoch, got.Epoch)
			}
			if !got.Epoch.IsZero() && got.Master.Host != "db-"+got.Epoch.String() {
				t.Errorf("epoch %s with another one's master %s", got.Epoch, got.Master)
			}
			if got.Epoch != last.Epoch {
				seen++
			}
			last = got
		}
	})
	for i, r := range records {
		publishers.Go(func() {
			_, err := []*Consul{c, second}[i%2].Publish(ctx, r)
			var higher *routes.HigherEpochError
			switch {
			case err == nil:
			case !errors.As(err, &higher):
				t.Errorf("%s: %v", r.Epoch, err)
			case r.Epoch == highest || higher.Held.Compare(r.Epoch) <= 0:
				t.Errorf("%s was refused for %s", r.Epoch, higher.Held)
			}
		})
	}
	publishers.Wait()
	stopWatch()
	watcher.Wait()
	got, err := c.Read(ctx, "shop")
	if err != nil || got.Epoch != highest || got.Master.Host != "db-"+highest.String() {
		t.Errorf("it ends with %+v, %v; want %s", got, err, highest)
	}
	t.Logf("%d epochs were seen on the way to %s", seen, highest)
}

func TestDownHungAndRestarted(t *testing.T) {
	real, c, ctx := newReal(t, 300*time.Millisecond)
	patient := newConsul(t, Config{Datacenter: "dc1", Address: real.Address(), Timeout: 20 * time.Second})
	publish(t, ctx, patient, record(1, "db1"), true)

	must(t, real.Freeze())
	began := time.Now()
	if _, err := c.Publish(ctx, record(2, "db2")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hung: %v, want a deadline exceeded", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("hung: it took %s to give up", took)
	}
	must(t, real.Thaw())
	if _, err := patient.Publish(ctx, record(3, "db3")); err != nil {
		t.Fatalf("thawed: %v", err)
	}

	must(t, real.Kill())
	must(t, real.Wait(ctx))
	if changed, err := c.Publish(ctx, record(4, "db4")); err == nil || changed != nil {
		t.Errorf("down: %v, %v", changed, err)
	}
	if _, err := c.Read(ctx, "shop"); err == nil {
		t.Error("down: it was read")
	}
	must(t, real.Start(ctx))
	if got, err := patient.Read(ctx, "shop"); err != nil || got.Epoch.Number != 3 {
		t.Fatalf("restarted: %+v, %v; want epoch 3 kept", got, err)
	}
	publish(t, ctx, patient, record(4, "db4"), true)
}

func TestWrongDatacenterIsNamed(t *testing.T) {
	real, _, ctx := newReal(t, 10*time.Second)
	c := newConsul(t, Config{Datacenter: "elsewhere", Address: real.Address(), Timeout: 10 * time.Second})
	if _, err := c.Publish(ctx, record(1, "db1")); err == nil || !strings.Contains(err.Error(), "elsewhere") ||
		!strings.Contains(err.Error(), "No path to datacenter") {
		t.Errorf("Publish() = %v", err)
	}
}

func TestOverTLS(t *testing.T) {
	real, _, ctx := newReal(t, 10*time.Second)
	target, err := url.Parse(real.Address())
	must(t, err)
	door := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }})
	defer door.Close()
	roots := x509.NewCertPool()
	roots.AddCert(door.Certificate())
	trusting := newConsul(t, Config{Datacenter: "dc1", Address: door.URL, Timeout: 10 * time.Second,
		TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}})
	publish(t, ctx, trusting, record(1, "db1"), true)
	strict := newConsul(t, Config{Datacenter: "dc1", Address: door.URL, Timeout: 10 * time.Second})
	var unknown *tls.CertificateVerificationError
	if _, err := strict.Publish(ctx, record(2, "db2")); !errors.As(err, &unknown) {
		t.Errorf("a certificate of nobody: %v", err)
	}
	trusting.Close()
}

// TestToken starts a Consul that denies by default.
func TestToken(t *testing.T) {
	const manager = "11111111-2222-3333-4444-555555555555"
	s, ctx := newStack(t)
	ip, err := s.IP(8300, 8301, 8302, stack.ConsulPort, 8502, 8503, 8600)
	must(t, err)
	cache, err := stack.CacheDir()
	must(t, err)
	config := fmt.Sprintf("node_name = \"one\"\ndatacenter = \"dc1\"\ndata_dir = %q\nbind_addr = %q\nclient_addr = %q\n"+
		"server = true\nbootstrap_expect = 1\ndisable_update_check = true\nperformance { raft_multiplier = 1 }\n"+
		"acl { enabled = true default_policy = \"deny\" tokens { initial_management = %q } }\n",
		filepath.Join(s.Dir(), "acl-data"), ip, ip, manager)
	process, err := s.StartProcess(ctx, stack.ProcessSpec{Name: "acl", Path: filepath.Join(cache, "consul"),
		Args: []string{"agent", "-config-file=consul.hcl"}, Files: map[string]string{"consul.hcl": config}})
	must(t, err)
	base := Config{Datacenter: "dc1", Address: fmt.Sprintf("http://%s:%d", ip, stack.ConsulPort), Timeout: 10 * time.Second}
	admin, err := New(Config{Datacenter: base.Datacenter, Address: base.Address, Timeout: time.Second, Token: manager},
		slog.New(slog.DiscardHandler))
	must(t, err)
	defer admin.Close()
	var token *api.ACLToken
	must(t, process.WaitFor(ctx, "taking tokens", func(ctx context.Context) error {
		options := new(api.WriteOptions).WithContext(ctx)
		policy, _, err := admin.client.ACL().PolicyCreate(&api.ACLPolicy{Name: "switchyard",
			Rules: `key_prefix "mysql/master/" { policy = "write" }`}, options)
		if err == nil {
			token, _, err = admin.client.ACL().TokenCreate(&api.ACLToken{
				Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}, options)
		}
		return err
	}))

	allowed := base
	allowed.Token = token.SecretID
	publish(t, ctx, newConsul(t, allowed), record(1, "db1"), true)
	outside := allowed
	outside.Prefix = "other"
	wrong := base
	wrong.Token = "99999999-2222-3333-4444-555555555555"
	for name, config := range map[string]Config{"no token": base, "outside of the policy": outside, "unknown token": wrong} {
		_, err := newConsul(t, config).Publish(ctx, record(2, "db2"))
		if err == nil || !strings.Contains(err.Error(), "Permission denied") && !strings.Contains(err.Error(), "ACL not found") {
			t.Errorf("%s: %v", name, err)
		} else if config.Token != "" && strings.Contains(err.Error(), config.Token) {
			t.Errorf("%s: the error tells the token: %v", name, err)
		}
	}
	reader := func(config Config, rules string) *Consul {
		options := new(api.WriteOptions).WithContext(ctx)
		policy, _, err := admin.client.ACL().PolicyCreate(&api.ACLPolicy{Name: "reader-" + config.Prefix, Rules: rules}, options)
		must(t, err)
		token, _, err := admin.client.ACL().TokenCreate(&api.ACLToken{
			Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}, options)
		must(t, err)
		config.Token = token.SecretID
		return newConsul(t, config)
	}
	may := reader(base, `key_prefix "mysql/master/" { policy = "read" }`)
	if got, _, err := may.Watch(ctx, "shop", 0, time.Second); err != nil || got.Epoch.Number != 1 {
		t.Errorf("Watch() with a token that may read = %+v, %v", got, err)
	}
	if _, _, err := newConsul(t, wrong).Watch(ctx, "shop", 0, time.Second); err == nil || strings.Contains(err.Error(), wrong.Token) {
		t.Errorf("Watch() with an unknown token: %v", err)
	}
	if _, _, err := newConsul(t, base).Watch(ctx, "shop", 0, time.Second); err == nil {
		t.Error("watched without a token")
	}
	if got, err := newConsul(t, allowed).Read(ctx, "shop"); err != nil || got.Epoch.Number != 1 {
		t.Errorf("Read() = %+v, %v", got, err)
	}
}
