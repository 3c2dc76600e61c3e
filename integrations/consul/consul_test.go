package consul

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"switchyard/router/routes"
)

func newConsul(t *testing.T, config Config) *Consul {
	t.Helper()
	c, err := New(config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func record(number uint64, host string) routes.Record {
	return routes.Record{Cluster: "shop", Epoch: routes.Epoch{Generation: 1, Number: number}, Revision: 2,
		Master: routes.Server{Host: host, Port: 3306}, IPv4: "10.0.0.1"}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name   string
		config Config
		want   string
	}{
		{"datacenter", Config{Address: "127.0.0.1:8500"}, "datacenter is empty"},
		{"no address", Config{Datacenter: "dc1"}, "want http://HOST:PORT"},
		{"scheme", Config{Datacenter: "dc1", Address: "ftp://127.0.0.1"}, "want http://HOST:PORT"},
		{"rubbish", Config{Datacenter: "dc1", Address: "http://user:hush@[::1"}, "cannot be read"},
		{"user", Config{Datacenter: "dc1", Address: "http://user:hush@127.0.0.1:8500"}, "use a token"},
		{"timeout", Config{Datacenter: "dc1", Address: "127.0.0.1:8500", Timeout: -1}, "negative"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(test.config, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("New() = %v, want an error with %q", err, test.want)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

func TestKeysStayUnderThePrefix(t *testing.T) {
	for prefix, want := range map[string]string{"": "mysql/master", "/": "mysql/master", "a": "a", "/a//b/": "a/b"} {
		c := newConsul(t, Config{Datacenter: "dc1", Address: "127.0.0.1:8500", Prefix: prefix})
		keys, err := c.keys("shop")
		if err != nil || keys[keyMaster] != want+"/shop" || keys[keyEpoch] != want+"/shop/epoch" {
			t.Errorf("prefix %q: %q, %v", prefix, keys, err)
		}
	}
	c := newConsul(t, Config{Datacenter: "dc1", Address: "127.0.0.1:8500"})
	for _, cluster := range []string{"", "a/b", "/", "..", ".", "a\nb", "a\x00", "\xff", strings.Repeat("a", 300)} {
		if keys, err := c.keys(cluster); err == nil {
			t.Errorf("cluster %q got the keys %q", cluster, keys)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.String().Draw(t, "a"), rapid.StringMatching(`[a-z/.]{1,8}`).Draw(t, "b")
		of := map[string]string{}
		for _, cluster := range []string{a, b} {
			keys, err := c.keys(cluster)
			for _, key := range keys {
				if err == nil && !strings.HasPrefix(key, "mysql/master/") {
					t.Fatalf("%q lies outside of the prefix", key)
				}
				if other, taken := of[key]; err == nil && taken && other != cluster {
					t.Fatalf("clusters %q and %q share the key %q", cluster, other, key)
				}
				if err == nil {
					of[key] = cluster
				}
			}
		}
	})
}

func holding(r routes.Record) held {
	var h held
	for i, value := range values(r) {
		h[i] = pair{value: value, index: 7}
	}
	return h
}

func TestDecide(t *testing.T) {
	now := record(5, "db1")
	changed := func(key int, value string) held {
		h := holding(now)
		h[key].value = value
		return h
	}
	deleted := func(key int) held {
		h := holding(now)
		h[key] = pair{}
		return h
	}
	tests := []struct {
		name   string
		held   held
		write  bool
		higher bool
	}{
		{"nothing there", held{}, true, false},
		{"the same", holding(now), false, false},
		{"lower epoch", holding(record(4, "db0")), true, false},
		{"higher epoch", holding(record(6, "db2")), false, true},
		{"higher generation", changed(keyEpoch, "2.1"), false, true},
		{"lower generation", changed(keyEpoch, "0.99"), true, false},
		{"same epoch, other master", changed(keyMaster, "db9:3306"), true, false},
		{"unreadable epoch", changed(keyEpoch, "five"), true, false},
		{"emptied epoch", changed(keyEpoch, ""), true, false},
		{"deleted epoch", deleted(keyEpoch), true, false},
		{"deleted hostname", deleted(keyHostname), true, false},
		{"changed port", changed(keyPort, "3307"), true, false},
		{"changed ipv4", changed(keyIPv4, ""), true, false},
		// Empty and absent are not the same for a template that reads the key.
		{"deleted ipv6", deleted(keyIPv6), true, false},
		{"deleted revision", deleted(keyRevision), true, false},
		{"revision of another epoch", changed(keyRevision, "1.4.9"), true, false},
		{"unreadable revision", changed(keyRevision, "1.5.x"), true, false},
		{"another revision of the epoch", changed(keyRevision, "1.5.9"), false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			write, err := test.held.decide(now)
			var higher *routes.HigherEpochError
			if write != test.write || errors.As(err, &higher) != test.higher || (err != nil) != test.higher {
				t.Fatalf("decide() = %v, %v; want %v, higher %v", write, err, test.write, test.higher)
			}
		})
	}
}

func TestHeldRecordIsReadBack(t *testing.T) {
	want := record(5, "db1")
	want.IPv6 = "fd00::1"
	if got := holding(want).record("shop"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	stale := holding(want)
	stale[keyRevision].value = "1.4.9"
	if got := stale.record("shop"); got.Revision != 0 {
		t.Errorf("the revision of another epoch was read as %d", got.Revision)
	}
	if got := (held{}).record("shop"); !got.Epoch.IsZero() || got.Master.Port != 0 {
		t.Errorf("nothing was read as %+v", got)
	}
}

func TestRefusesARecordThatIsNone(t *testing.T) {
	c := newConsul(t, Config{Datacenter: "dc1", Address: "127.0.0.1:1"})
	for _, bad := range []routes.Record{{}, {Cluster: "shop"}, {Cluster: "shop", Epoch: routes.Epoch{Generation: 1}}} {
		if changed, err := c.Publish(t.Context(), bad); err == nil || changed != nil {
			t.Errorf("%+v: %v, %v", bad, changed, err)
		}
	}
	if _, err := c.Read(t.Context(), "a/b"); err == nil {
		t.Error("a cluster with a slash was read")
	}
}

// TestSilenceEndsByTheDeadline needs no Consul: a port that accepts and says
// nothing is what an agent without its servers looks like.
func TestSilenceEndsByTheDeadline(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	c := newConsul(t, Config{Datacenter: "dc1", Address: listener.Addr().String(), Token: "hush",
		Timeout: 50 * time.Millisecond})
	_, err = c.Publish(t.Context(), record(1, "db1"))
	if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "hush") {
		t.Errorf("Publish() = %v, want a deadline exceeded without the token", err)
	}
	if _, err := c.Read(t.Context(), "shop"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Read() = %v, want a deadline exceeded", err)
	}
}

func TestFaultsOfWhatIsHeld(t *testing.T) {
	now := record(5, "db1")
	if got := holding(now).holding("shop"); got.Record != now || len(got.Faults) != 0 || got.String() != "db1:3306 of epoch 1.5 at 10.0.0.1" {
		t.Errorf("what we wrote: %+v", got)
	}
	if got := (held{}).holding("shop"); !got.Empty() || got.String() != "nothing" {
		t.Errorf("nothing: %+v", got)
	}
	for key, want := range map[int]string{keyEpoch: "epoch", keyMaster: "master", keyHostname: "hostname", keyPort: "port",
		keyIPv4: "ipv4", keyIPv6: "ipv6", keyRevision: "revision"} {
		changed, deleted := holding(now), holding(now)
		changed[key].value, deleted[key] = "by hand "+strings.Repeat("x", 90), pair{}
		if got := changed.holding("shop"); len(got.Faults) == 0 || got.Empty() || !strings.Contains(got.String(), want) && key != keyHostname {
			t.Errorf("%s changed: %q", want, got.Faults)
		}
		if got := deleted.holding("shop"); len(got.Faults) == 0 || !strings.Contains(got.Faults[0], "missing: "+want) {
			t.Errorf("%s deleted: %q", want, got.Faults)
		}
	}
}
