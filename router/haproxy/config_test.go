package haproxy_test

import (
	"strings"
	"testing"
	"time"

	"switchyard/router/haproxy"
)

func entrance() haproxy.WriterConfig {
	return haproxy.WriterConfig{Cluster: "shop", Bind: "*:3306",
		Runtime: haproxy.Target{Network: "tcp", Address: "127.0.0.1:9999"}, Backend: slot}
}

func TestSectionsGolden(t *testing.T) {
	overUnix := entrance()
	overUnix.Runtime = haproxy.Target{Network: "unix", Address: "/run/haproxy/admin.sock"}
	overUnix.Bind, overUnix.MaxConn = "[::1]:3306", 500
	held := entrance()
	held.Hold, held.Lua = haproxy.DefaultHold, haproxy.DefaultLua
	reading := held
	reading.Readers = &haproxy.ReaderEntrance{Readers: haproxy.Readers{Backend: "shop_readers", Slots: 2}, Bind: "*:3307"}
	for name, config := range map[string]haproxy.WriterConfig{"config.golden": entrance(), "config-unix.golden": overUnix,
		"config-hold.golden": held, "config-readers.golden": reading} {
		sections, err := config.Sections()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, haproxy.Text(sections))
	}
}

func TestWriterConfigRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*haproxy.WriterConfig)
		want   string
	}{
		{"cluster", func(c *haproxy.WriterConfig) { c.Cluster = "a b" }, "cluster"},
		{"cluster with a line end", func(c *haproxy.WriterConfig) { c.Cluster = "a\nglobal" }, "cluster"},
		{"long cluster", func(c *haproxy.WriterConfig) { c.Cluster = strings.Repeat("c", 300) }, "300 characters"},
		{"backend", func(c *haproxy.WriterConfig) { c.Backend.Backend = "" }, "backend"},
		{"bind", func(c *haproxy.WriterConfig) { c.Bind = "localhost" }, "bind"},
		{"bind port", func(c *haproxy.WriterConfig) { c.Bind = "*:0" }, "port"},
		{"bind with options", func(c *haproxy.WriterConfig) { c.Bind = "127.0.0.1:3306 ssl" }, "bind"},
		{"runtime to the world", func(c *haproxy.WriterConfig) { c.Runtime.Address = "0.0.0.0:9999" }, "asks for no password"},
		{"public runtime", func(c *haproxy.WriterConfig) { c.Runtime.Address = "8.8.8.8:9999" }, "asks for no password"},
		{"runtime by name", func(c *haproxy.WriterConfig) { c.Runtime.Address = "proxy1:9999" }, "IP address"},
		{"runtime network", func(c *haproxy.WriterConfig) { c.Runtime.Network = "udp" }, "tcp://HOST:PORT"},
		{"maxconn", func(c *haproxy.WriterConfig) { c.MaxConn = -1 }, "maxconn"},
		{"hold below zero", func(c *haproxy.WriterConfig) { c.Hold, c.Lua = -time.Second, haproxy.DefaultLua }, "hold -1s"},
		{"hold too short", func(c *haproxy.WriterConfig) { c.Hold, c.Lua = time.Millisecond, haproxy.DefaultLua }, "from 100ms"},
		{"hold too long", func(c *haproxy.WriterConfig) { c.Hold, c.Lua = time.Hour, haproxy.DefaultLua }, "to 1m"},
		{"hold in parts of milliseconds", func(c *haproxy.WriterConfig) {
			c.Hold, c.Lua = time.Second+time.Microsecond, haproxy.DefaultLua
		}, "whole milliseconds"},
		{"hold without a file", func(c *haproxy.WriterConfig) { c.Hold = time.Second }, "absolute path"},
		{"lua with a line end", func(c *haproxy.WriterConfig) { c.Hold, c.Lua = time.Second, "/a\nb" }, "without blanks"},
		{"readers on the writer's port", func(c *haproxy.WriterConfig) { c.Readers = readersOf("shop_readers", c.Bind, 1) }, "readers.bind"},
		{"readers in the writer's backend", func(c *haproxy.WriterConfig) {
			c.Readers = readersOf(c.Backend.Backend, "*:3307", 1)
		}, "readers.backend"},
		{"readers without slots", func(c *haproxy.WriterConfig) { c.Readers = readersOf("shop_readers", "*:3307", 0) }, "readers.slots"},
		{"readers everywhere", func(c *haproxy.WriterConfig) { c.Readers = readersOf("shop_readers", "*", 1) }, "bind \"*\""},
		{"maxconn too large", func(c *haproxy.WriterConfig) { c.MaxConn = 1 << 40 }, "maxconn"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := entrance()
			test.change(&config)
			_, err := config.Sections()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Sections() = %v, want an error with %q", err, test.want)
			}
		})
	}
}

func readersOf(backend, bind string, slots int) *haproxy.ReaderEntrance {
	return &haproxy.ReaderEntrance{Readers: haproxy.Readers{Backend: backend, Slots: slots}, Bind: bind}
}

func TestParseTarget(t *testing.T) {
	for _, text := range []string{"tcp://127.0.0.1:9999", "tcp://proxy1:9999", "tcp://[::1]:9999", "unix:///run/haproxy.sock"} {
		target, err := haproxy.ParseTarget(text)
		if err != nil || target.String() != text {
			t.Errorf("ParseTarget(%q) = %v, %v", text, target, err)
		}
	}
	for _, text := range []string{"", "127.0.0.1:9999", "tcp://", "tcp://host", "tcp://:1", "tcp://host:0", "tcp://host:70000",
		"unix://relative", "unix://", "unix:///a b", "http://host:1"} {
		if target, err := haproxy.ParseTarget(text); err == nil {
			t.Errorf("ParseTarget(%q) = %v, want an error", text, target)
		}
	}
}
