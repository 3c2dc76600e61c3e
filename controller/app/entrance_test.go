package app_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"switchyard/controller/app"
	"switchyard/controller/config"
	"switchyard/router/haproxy"
)

func TestEntranceChoosesOneProxy(t *testing.T) {
	entry := func(name, cluster, listen string) config.HAProxy {
		return config.HAProxy{
			Name: name, Cluster: cluster, Runtime: "tcp://127.0.0.1:9990", Backend: cluster + "_writer",
			Server: "master", Listen: listen, MaxConn: 100,
		}
	}
	file := &config.File{HAProxy: []config.HAProxy{
		entry("px1", "shop", "127.0.0.1:3307"), entry("px2", "shop", "127.0.0.1:3308"),
		entry("px3", "billing", "127.0.0.1:3309"), entry("px4", "silent", ""),
		{Name: "px5", Cluster: "behind", Sidecar: "http://127.0.0.1:7500"},
	}}
	for _, c := range []struct{ cluster, name, want, fault string }{
		{"billing", "", "bind 127.0.0.1:3309", ""},
		{"shop", "px2", "bind 127.0.0.1:3308", ""},
		{"shop", "", "", "--name px1|px2"},
		{"shop", "px3", "", `cluster "shop" and name "px3"`},
		{"other", "", "", `no entry with cluster "other"`},
		{"silent", "", "", "has no listen"},
		{"behind", "", "", "add --sidecar"},
	} {
		text, err := app.Entrance(file, c.cluster, c.name, haproxy.DefaultLua)
		if !strings.Contains(text, c.want) || !strings.Contains(fmt.Sprint(err), c.fault) || (err != nil) != (c.fault != "") {
			t.Errorf("%s %s: %v: %s", c.cluster, c.name, err, text)
		}
		if err == nil && !strings.Contains(text, "disabled") {
			t.Errorf("%s: the writer does not start disabled: %s", c.cluster, text)
		}
	}
}

func TestEntranceForReaders(t *testing.T) {
	entry := config.HAProxy{Name: "px1", Cluster: "shop", Runtime: "tcp://127.0.0.1:9990", Backend: "shop_writer",
		Server: "master", Listen: "127.0.0.1:3307", Readers: config.HAProxyReaders{Backend: "shop_readers", Slots: 2}}
	if _, err := app.Entrance(&config.File{HAProxy: []config.HAProxy{entry}}, "shop", "", ""); !strings.Contains(fmt.Sprint(err), "readers.listen") {
		t.Errorf("without a place to listen on: %v", err)
	}
	entry.Readers.Listen, entry.Readers.MaxConn = "127.0.0.1:3308", 30
	text, err := app.Entrance(&config.File{HAProxy: []config.HAProxy{entry}}, "shop", "", "")
	for _, want := range []string{"bind 127.0.0.1:3308", "server reader2 192.0.2.1:3306 disabled", "maxconn 30\n"} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("want %q: %v: %s", want, err, text)
		}
	}
}

func TestEntranceFindsItsScript(t *testing.T) {
	entry := config.HAProxy{Name: "px1", Cluster: "shop", Runtime: "tcp://127.0.0.1:9990", Backend: "shop_writer",
		Server: "master", Listen: "127.0.0.1:3307", Hold: time.Second}
	for _, c := range []struct{ own, beside, want string }{
		{"", "/srv/switchyard.lua", "lua-load-per-thread /srv/switchyard.lua\n"},
		{"/opt/own.lua", "/srv/switchyard.lua", "lua-load-per-thread /opt/own.lua\n"},
	} {
		entry.Lua = c.own
		text, err := app.Entrance(&config.File{HAProxy: []config.HAProxy{entry}}, "shop", "", c.beside)
		if err != nil || !strings.Contains(text, c.want) {
			t.Errorf("%+v: %v: %s", c, err, text)
		}
	}
}
