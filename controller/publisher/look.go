package publisher

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"switchyard/router/routes"
)

// Sight is what one directory was read to hold of a cluster.
type Sight struct {
	Datacenter string
	Cluster    string
	Holding    routes.Holding
	// Err is why it could not be read.
	Err error
}

// Look reads every directory at once, also those that others keep. One that does
// not answer costs the time that ctx has, and holds up no other.
func (p *Publisher) Look(ctx context.Context, clusters []string) []Sight {
	sights := make([]Sight, len(p.targets)*len(clusters))
	var all sync.WaitGroup
	for i, t := range p.targets {
		part := sights[i*len(clusters) : (i+1)*len(clusters)]
		all.Go(func() {
			var group errgroup.Group
			group.SetLimit(auditWidth)
			for n, cluster := range clusters {
				group.Go(func() error {
					part[n] = p.look(ctx, t, cluster)
					return nil
				})
			}
			// What went wrong is in each sight.
			_ = group.Wait()
		})
	}
	all.Wait()
	return sights
}

func (p *Publisher) look(ctx context.Context, t *target, cluster string) Sight {
	ctx, cancel := context.WithTimeout(ctx, p.config.AuditTimeout)
	defer cancel()
	holding, err := t.directory.Inspect(ctx, cluster)
	return Sight{Datacenter: t.directory.Datacenter(), Cluster: cluster, Holding: holding, Err: err}
}
