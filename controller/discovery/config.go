// Package discovery names things: it turns what servers call themselves and
// each other into one name for each server, and says to which cluster,
// datacenter and region a server belongs. It talks to nothing but DNS, and to
// that only through the resolver it is given.
package discovery

import (
	"fmt"
	"regexp"
	"slices"

	"switchyard/controller/topology"
)

// Mode is how a server's name is found.
type Mode string

// The modes of naming.
const (
	// ByReportHost: the server's own report_host and report_port. A server
	// that has none is named by the address it was reached at.
	ByReportHost Mode = "report_host"
	// ByHostname: the server's own @@hostname.
	ByHostname Mode = "hostname"
	// ByDNS: the canonical DNS name of the address the server was reached at.
	ByDNS Mode = "dns"
	// ByAddress: the address the server was reached at, as it is.
	ByAddress Mode = "none"
)

// Config is what the operator says about names.
type Config struct {
	// Naming is how servers are named.
	Naming Mode
	// Seeds are servers to start from that belong to no cluster by
	// configuration.
	Seeds []topology.Key
	// Clusters names clusters by servers known to be in them; these are seeds too.
	Clusters map[string][]topology.Key
	// ClusterPattern, a regular expression with one group, takes a cluster's
	// name from its master's host; empty for none.
	ClusterPattern string
	// Ignore are regular expressions; a server whose HOST:PORT matches one is
	// never probed.
	Ignore []string
	// DataCenters and Regions place servers, named HOST or HOST:PORT.
	DataCenters map[string]string
	Regions     map[string]string
	// DataCenterPattern and RegionPattern, with one group each, take the place
	// from a server's host; empty for none.
	DataCenterPattern string
	RegionPattern     string
}

// rules is a Config that was checked and compiled.
type rules struct {
	naming         Mode
	seeds          []topology.Key
	clusters       map[topology.Key]string
	clusterPattern *regexp.Regexp
	ignore         []*regexp.Regexp
	dataCenter     placer
	region         placer
}

func (c Config) compile() (rules, error) {
	r := rules{
		naming:   c.Naming,
		clusters: map[topology.Key]string{},
	}
	switch c.Naming {
	case ByReportHost, ByHostname, ByDNS, ByAddress:
	case "":
		r.naming = ByReportHost
	default:
		return r, fmt.Errorf("naming %q: want report_host, hostname, dns or none", c.Naming)
	}
	for _, seed := range c.Seeds {
		r.seeds = append(r.seeds, normalise(seed))
	}
	if err := r.compileClusters(c.Clusters); err != nil {
		return r, err
	}
	slices.SortFunc(r.seeds, topology.Key.Compare)
	r.seeds = slices.Compact(r.seeds)
	for i, text := range c.Ignore {
		re, err := regexp.Compile(text)
		if err != nil {
			return r, fmt.Errorf("ignore[%d]: %w", i, err)
		}
		r.ignore = append(r.ignore, re)
	}
	var err error
	if r.clusterPattern, err = pattern("cluster_pattern", c.ClusterPattern); err != nil {
		return r, err
	}
	if r.dataCenter, err = newPlacer("datacenter_pattern", c.DataCenters, c.DataCenterPattern); err != nil {
		return r, err
	}
	r.region, err = newPlacer("region_pattern", c.Regions, c.RegionPattern)
	return r, err
}

func (r *rules) compileClusters(clusters map[string][]topology.Key) error {
	for name, servers := range clusters {
		if err := CheckName(name); err != nil {
			return fmt.Errorf("clusters: %w", err)
		}
		for _, server := range servers {
			key := normalise(server)
			if other, taken := r.clusters[key]; taken && other != name {
				first, second := min(name, other), max(name, other)
				return fmt.Errorf("clusters: server %s is in both %s and %s: name it in one of them", key, first, second)
			}
			r.clusters[key] = name
			r.seeds = append(r.seeds, key)
		}
	}
	return nil
}

func (r *rules) ignored(k topology.Key) bool {
	text := k.String()
	return slices.ContainsFunc(r.ignore, func(re *regexp.Regexp) bool { return re.MatchString(text) })
}

// pattern compiles a regular expression with exactly one group; nil for none.
func pattern(field, text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	if re.NumSubexp() != 1 {
		return nil, fmt.Errorf("%s %q has %d groups: want exactly one, around the name", field, text, re.NumSubexp())
	}
	return re, nil
}

// CheckName says what is wrong with a cluster's name; it becomes part of keys
// in Consul and of paths in URLs.
func CheckName(name string) error {
	legal := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
	}
	shown := name
	if len(shown) > 70 {
		shown = shown[:70] + "..."
	}
	switch {
	case name == "":
		return fmt.Errorf("cluster name is empty: want 1 to 64 of A-Z a-z 0-9 . _ -")
	case len(name) > 64:
		return fmt.Errorf("cluster name %q has %d characters: want 1 to 64", shown, len(name))
	case name == "." || name == "..":
		return fmt.Errorf("cluster name %q would be a path: want another", name)
	}
	for _, r := range name {
		if !legal(r) {
			return fmt.Errorf("cluster name %q contains %q: want only A-Z a-z 0-9 . _ -", shown, r)
		}
	}
	return nil
}
