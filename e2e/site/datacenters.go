package site

import (
	"fmt"
	"strings"
	"time"

	"switchyard/e2e/stack"
)

const (
	// dataCenters is how many there are where there is more than one.
	dataCenters = 3
	// nearest is where all of a site is that has one.
	nearest = "dc1"
)

// Datacenters are dc1 to dc3, each a host of the site's network, with a controller, a Consul, a database server and an
// HAProxy of its own: those of the same number, counted round. It takes root.
type Datacenters struct {
	// Delay is between any two of them, each way.
	Delay time.Duration
}

// DatacenterName is the name of the one with a number, counted from 1 and round.
func DatacenterName(number int) string { return fmt.Sprintf("dc%d", (number-1)%dataCenters+1) }

// spread places all parts, unless the options do.
func (o *Options) spread() {
	if o.Proxies == 0 {
		o.Proxies = dataCenters
	}
	places := map[string]string{}
	for n := range hostsParts {
		dc := DatacenterName(n + 1)
		for _, part := range []string{"db", "sc-db", "c", "ha", "sc-ha", "ps", "sc-ps"} {
			places[fmt.Sprintf("%s%d", part, n+1)] = dc
		}
	}
	for n := range dataCenters {
		dc := DatacenterName(n + 1)
		places["consul-"+dc] = dc
	}
	for part, host := range o.Hosts {
		places[part] = host
	}
	o.Hosts = places
}

// hostsParts is how many parts of a kind may be spread.
const hostsParts = 6

// Datacenter is where a part is, by its name.
func (s *Site) Datacenter(part string) string {
	if s.options.Datacenters == nil {
		return nearest
	}
	return s.options.Hosts[part]
}

func (s *Site) datacenters() []string {
	if s.options.Datacenters == nil {
		return []string{nearest}
	}
	var names []string
	for n := range dataCenters {
		names = append(names, DatacenterName(n+1))
	}
	return names
}

// ConsulOf is the Consul of a part's datacenter.
func (s *Site) ConsulOf(part string) *stack.Consul {
	for _, c := range s.Consuls {
		if c.Datacenter() == s.Datacenter(part) {
			return c
		}
	}
	return s.Consul
}

// placesConfig tells the controllers where the database servers are.
func (s *Site) placesConfig() string {
	if s.options.Datacenters == nil {
		return ""
	}
	var places []string
	for _, server := range s.Servers() {
		places = append(places, fmt.Sprintf("%q: %s", server.Key(), s.Datacenter(server.Name())))
	}
	return "discovery: {datacenters: {" + strings.Join(places, ", ") + "}}\n"
}
