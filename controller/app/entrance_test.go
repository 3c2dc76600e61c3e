package app_test

import (
	"fmt"
	"strings"
	"testing"

	"switchyard/controller/app"
	"switchyard/controller/config"
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
	}}
	for _, c := range []struct{ cluster, name, want, fault string }{
		{"billing", "", "bind 127.0.0.1:3309", ""},
		{"shop", "px2", "bind 127.0.0.1:3308", ""},
		{"shop", "", "", "--name px1|px2"},
		{"shop", "px3", "", `cluster "shop" and name "px3"`},
		{"other", "", "", `no entry with cluster "other"`},
		{"silent", "", "", "has no listen"},
	} {
		text, err := app.Entrance(file, c.cluster, c.name)
		if !strings.Contains(text, c.want) || !strings.Contains(fmt.Sprint(err), c.fault) || (err != nil) != (c.fault != "") {
			t.Errorf("%s %s: %v: %s", c.cluster, c.name, err, text)
		}
		if err == nil && !strings.Contains(text, "disabled") {
			t.Errorf("%s: the writer does not start disabled: %s", c.cluster, text)
		}
	}
}
