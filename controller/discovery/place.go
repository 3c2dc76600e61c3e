package discovery

import (
	"regexp"
	"strings"

	"switchyard/controller/topology"
)

// placer finds one kind of place, a datacenter or a region, for servers.
type placer struct {
	fixed   map[string]string
	pattern *regexp.Regexp
}

func newPlacer(field string, fixed map[string]string, text string) (placer, error) {
	p := placer{fixed: make(map[string]string, len(fixed))}
	for server, place := range fixed {
		p.fixed[strings.ToLower(server)] = place
	}
	var err error
	p.pattern, err = pattern(field, text)
	return p, err
}

// place goes by what is fixed for any of the server's names, then by the
// pattern on its host, then by what the operator's query answered.
func (p placer) place(key, address topology.Key, answered string) string {
	for _, k := range []topology.Key{key, address} {
		for _, name := range []string{k.String(), k.Host} {
			if place, ok := p.fixed[name]; ok {
				return place
			}
		}
	}
	if p.pattern != nil {
		if m := p.pattern.FindStringSubmatch(key.Host); m != nil && m[1] != "" {
			return m[1]
		}
	}
	return answered
}
