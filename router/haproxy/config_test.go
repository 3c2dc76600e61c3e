package haproxy_test

import (
	"strings"
	"testing"

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
	for name, config := range map[string]haproxy.WriterConfig{"config.golden": entrance(), "config-unix.golden": overUnix} {
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
