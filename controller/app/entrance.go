package app

import (
	"fmt"
	"strings"

	"switchyard/controller/config"
	proxy "switchyard/integrations/haproxy"
	"switchyard/router/haproxy"
)

// Entrance renders the HAProxy configuration of the one proxy that cluster and
// name (which may be empty) choose.
func Entrance(file *config.File, cluster, name string) (string, error) {
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
	case found[0].Listen == "":
		return "", fmt.Errorf("haproxy: entry %q has no listen; say there where applications connect, as IP:PORT or *:PORT",
			found[0].Name)
	}
	h := found[0]
	target, err := haproxy.ParseTarget(h.Runtime)
	if err != nil {
		return "", err
	}
	return proxy.Render(haproxy.WriterConfig{
		Cluster: h.Cluster, Bind: h.Listen, Runtime: target, MaxConn: h.MaxConn,
		Backend: haproxy.Backend{Backend: h.Backend, Server: h.Server},
	})
}
