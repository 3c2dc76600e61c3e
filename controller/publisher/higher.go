package publisher

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"switchyard/router/routes"
)

// Higher asks every directory, and returns nil if none holds a later epoch of the
// cluster. One that does not answer may hold it.
func (p *Publisher) Higher(ctx context.Context, cluster string, epoch routes.Epoch) error {
	ctx, cancel := context.WithTimeout(ctx, p.config.AuditTimeout)
	defer cancel()
	var group errgroup.Group
	for _, t := range p.targets {
		group.Go(func() error {
			held, err := t.directory.Inspect(ctx, cluster)
			if err == nil && held.Epoch.Compare(epoch) > 0 {
				err = &routes.HigherEpochError{Cluster: cluster, Held: held.Epoch, Offered: epoch}
			}
			if err == nil && held.Epoch.IsZero() && !held.Empty() {
				err = fmt.Errorf("what it holds has no epoch that can be read: %s", held)
			}
			if err != nil {
				return fmt.Errorf("the directory of %s: %w", t.directory.Datacenter(), err)
			}
			return nil
		})
	}
	return group.Wait()
}
