package ledger

import (
	"fmt"
	"time"

	"switchyard/controller/topology"
	"switchyard/router/routes"
)

func (d *draft) adoptMaster(c AdoptMaster) string {
	if reason := firstOf(badCluster(c.Cluster), badKey("master", c.Master), badTime("at", c.At)); reason != "" {
		return reason
	}
	if d.state.Generation == 0 {
		return "the ledger was not bootstrapped yet"
	}
	if known, ok := d.state.Clusters[c.Cluster]; ok {
		if known.Master != c.Master {
			return fmt.Sprintf("cluster %s has the master %s already", c.Cluster, known.Master)
		}
		return ""
	}
	if reason := firstOf(tooLong("reason", c.Reason), tooLong("by", c.By)); reason != "" {
		return reason
	}
	if held, ok := d.state.Held[c.Cluster]; ok {
		return d.readopt(c, held)
	}
	if c.By != "" {
		return fmt.Sprintf("cluster %s is not held by a restored ledger: it is adopted unasked", c.Cluster)
	}
	if reason := d.remember(c.Cluster, ServerName{Key: c.Master, UUID: c.UUID}, c.At); reason != "" {
		return reason
	}
	d.putCluster(Cluster{
		Name:       c.Cluster,
		Master:     c.Master,
		MasterUUID: c.UUID,
		Epoch:      routes.Epoch{Generation: d.state.Generation, Number: 1},
		Revision:   1,
		AdoptedAt:  instant(c.At),
	})
	return ""
}

func (d *draft) rememberServers(c RememberServers) string {
	if reason := firstOf(badCluster(c.Cluster), badTime("at", c.At)); reason != "" {
		return reason
	}
	if _, ok := d.state.Clusters[c.Cluster]; !ok {
		return fmt.Sprintf("cluster %s is unknown", c.Cluster)
	}
	if len(c.Servers) == 0 || len(c.Servers) > maxItems {
		return fmt.Sprintf("servers: there are %d, want 1 to %d", len(c.Servers), maxItems)
	}
	for i, server := range c.Servers {
		reason := firstOf(badKey(fmt.Sprintf("servers[%d]", i), server.Key), d.remember(c.Cluster, server, c.At))
		if reason != "" {
			return reason
		}
	}
	return ""
}

// remember adds one server, or takes the UUID of one that is known.
func (d *draft) remember(cluster string, name ServerName, at time.Time) string {
	if len(name.UUID) > maxName {
		return fmt.Sprintf("uuid of %s has %d bytes, at most %d are allowed", name.Key, len(name.UUID), maxName)
	}
	known, ok := d.state.Servers[name.Key]
	switch {
	case !ok:
		d.putServer(Server{
			Key: name.Key, Cluster: cluster, UUID: name.UUID, Standing: Member, Since: instant(at),
		})
	case known.Cluster != cluster:
		return fmt.Sprintf("%s belongs to cluster %s", name.Key, known.Cluster)
	case name.UUID != "" && known.UUID != name.UUID:
		known.UUID = name.UUID
		d.putServer(known)
	}
	return ""
}

func (d *draft) setStanding(c SetStanding) string {
	if reason := firstOf(badKey("server", c.Server), badTime("at", c.At)); reason != "" {
		return reason
	}
	switch c.Standing {
	case Member, Deposed, Quarantined:
	default:
		return fmt.Sprintf("standing %q: want member, deposed or quarantined", string(c.Standing))
	}
	if c.Extra != "" && c.Standing != Quarantined {
		return "extra: only a quarantined server has extra transactions"
	}
	if len(c.Extra) > maxExtra {
		return fmt.Sprintf("extra has %d bytes, at most %d are allowed", len(c.Extra), maxExtra)
	}
	known, ok := d.state.Servers[c.Server]
	if !ok {
		return fmt.Sprintf("server %s is unknown", c.Server)
	}
	if c.Standing != Member && d.state.Clusters[known.Cluster].Master == c.Server {
		return fmt.Sprintf("%s is the master of cluster %s", c.Server, known.Cluster)
	}
	d.stand(known, c.Standing, c.Extra, c.At)
	return ""
}

// stand gives a server a standing; one that it has already keeps its beginning.
func (d *draft) stand(s Server, standing Standing, extra string, at time.Time) {
	if s.Standing == standing && s.Extra == extra {
		return
	}
	if s.Standing != standing {
		s.Standing, s.Since = standing, instant(at)
	}
	s.Extra = extra
	d.putServer(s)
}

// standKey is stand for a server known by its key.
func (d *draft) standKey(k topology.Key, standing Standing, at time.Time) {
	if s, ok := d.state.Servers[k]; ok {
		d.stand(s, standing, "", at)
	}
}
