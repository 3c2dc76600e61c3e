package app

import (
	"context"
	"fmt"

	"switchyard/controller/bulletin"
	"switchyard/controller/config"
	"switchyard/controller/publisher"
	"switchyard/router/routes"
)

// higher asks the receivers of a cluster that remember epochs: every datacenter's
// Consul, and the sidecars beside proxies. A proxy without a sidecar remembers none.
func higher(c *config.File, p *publisher.Publisher, b *bulletin.Bulletin) func(context.Context, string, routes.Epoch) error {
	return func(ctx context.Context, cluster string, epoch routes.Epoch) error {
		reports := b.Reports()
		clusters, sidecars := map[string]string{}, sidecarsOf(c)
		for _, h := range c.HAProxy {
			clusters[h.Name] = h.Cluster
		}
		for _, q := range c.ProxySQL {
			clusters[q.Name] = q.Cluster
		}
		for name, of := range clusters {
			if of != cluster || sidecars[name] == "" {
				continue
			}
			h, heard := reports[name]
			if !heard || h.Cluster != cluster {
				return fmt.Errorf("the sidecar of proxy %s has not said yet what it knows", name)
			}
			for _, held := range []routes.Epoch{h.Told, h.Epoch} {
				if held.Compare(epoch) > 0 {
					return fmt.Errorf("the sidecar of proxy %s: %w", name,
						&routes.HigherEpochError{Cluster: cluster, Held: held, Offered: epoch})
				}
			}
		}
		return p.Higher(ctx, cluster, epoch)
	}
}
