package app

import (
	"cmp"
	"fmt"
	"strings"

	"switchyard/controller/config"
	proxy "switchyard/integrations/haproxy"
	"switchyard/router/haproxy"
)

// Entrance renders the HAProxy configuration of the one proxy that cluster and
// name (which may be empty) choose. lua is where HAProxy will find the script
// beside it, unless the file names a place of its own.
func Entrance(file *config.File, cluster, name, lua string) (string, error) {
	var found []config.HAProxy
	var names []string
	for _, h := range file.HAProxy {
		if h.Cluster == cluster && (name == "" || h.Name == name) {
			found, names = append(found, h), append(names, h.Name)
		}
	}
	switch {
	case len(found) == 0 && name != "":
		return "", fmt.Errorf("haproxy: no entry with cluster %q and name %q; add one", cluster, name)
	case len(found) == 0:
		return "", fmt.Errorf("haproxy: no entry with cluster %q; add one", cluster)
	case len(found) > 1:
		return "", fmt.Errorf("haproxy: cluster %q has several entries; choose with --name %s", cluster,
			strings.Join(names, "|"))
	case found[0].Sidecar != "":
		return "", fmt.Errorf("haproxy: entry %q is behind a sidecar, whose own file says how it listens; name that one with --config, "+
			"and add --sidecar", found[0].Name)
	case found[0].Listen == "":
		return "", fmt.Errorf("haproxy: entry %q has no listen; say there where applications connect, as IP:PORT or *:PORT",
			found[0].Name)
	}
	h := found[0]
	if h.Readers.Backend != "" && h.Readers.Listen == "" {
		return "", fmt.Errorf("haproxy: entry %q has no readers.listen; say there where applications connect to read, as IP:PORT or *:PORT",
			h.Name)
	}
	target, err := haproxy.ParseTarget(h.Runtime)
	if err != nil {
		return "", err
	}
	return proxy.Render(haproxy.WriterConfig{
		Cluster: h.Cluster, Bind: h.Listen, Runtime: target, MaxConn: h.MaxConn, Hold: h.Hold, Lua: cmp.Or(h.Lua, lua),
		Backend: haproxy.Backend{Backend: h.Backend, Server: h.Server}, Readers: readerEntrance(h),
	})
}

func readerEntrance(h config.HAProxy) *haproxy.ReaderEntrance {
	if h.Readers.Backend == "" {
		return nil
	}
	return &haproxy.ReaderEntrance{Readers: h.ReaderSlots(), Bind: h.Readers.Listen, MaxConn: h.Readers.MaxConn}
}
