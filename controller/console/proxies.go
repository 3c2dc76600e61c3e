package console

import (
	"cmp"
	"context"
	"slices"

	"switchyard/controller/adminapi/wire"
)

// Proxies implements adminapi.Pictures.
func (c *Console) Proxies(_ context.Context, cluster string) (wire.Proxies, error) {
	leader, _ := c.ledger.Leader()
	out := wire.Proxies{Controller: c.cfg.Self, Leader: leader, Looks: c.ledger.IsLeader(), Proxies: []wire.Proxy{}}
	state := c.ledger.State()
	var all []wire.Proxy
	if c.cfg.Fleet != nil {
		all = c.cfg.Fleet()
	}
	known := cluster == ""
	for _, p := range all {
		if known = known || p.Cluster == cluster; cluster != "" && p.Cluster != cluster {
			continue
		}
		want, ok := state.Clusters[p.Cluster]
		p.WantedEpoch, p.WantedRevision = want.Epoch, want.Revision
		p.Confirmed = ok && p.Epoch == want.Epoch && p.Revision >= want.WriterSince() &&
			slices.Contains([]wire.ProxyState{wire.ProxyFollows, wire.ProxyWithdrawn, wire.ProxyRemembered}, p.State)
		out.Proxies = append(out.Proxies, p)
	}
	if _, ok := state.Clusters[cluster]; !known && !ok {
		return wire.Proxies{}, c.noCluster(cluster)
	}
	slices.SortStableFunc(out.Proxies, func(a, b wire.Proxy) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}
