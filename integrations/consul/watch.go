package consul

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"switchyard/router/routes"
)

// MaxWait is the longest that one blocking query waits; Consul takes 10 minutes
// at most.
const MaxWait = 10 * time.Minute

// Watch returns what the keys of a cluster hold once they have changed since
// index, or when wait has passed; index 0 is for what they hold now. The index
// that it returns is for the next call. A record of the zero epoch says that
// there is none yet.
//
// The index is forgotten (0 comes back) after an error, and where Consul's own
// went backwards, as it does when its state was restored: the next call then
// begins anew. What is read may say the same as before: an index moves for more
// reasons than a change.
func (c *Consul) Watch(ctx context.Context, cluster string, index uint64, wait time.Duration) (routes.Record, uint64, error) {
	keys, err := c.keys(cluster)
	if err != nil {
		return routes.Record{}, 0, c.named(err)
	}
	wait = min(max(wait, time.Second), MaxWait)
	next, err := c.changed(ctx, keys[keyEpoch], index, wait)
	if err != nil {
		return routes.Record{}, 0, c.named(err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	held, err := c.read(ctx, keys)
	if err != nil {
		return routes.Record{}, 0, c.named(err)
	}
	if next < index {
		next = 0
	}
	return held.record(cluster), next, nil
}

// changed returns once the epoch's key has an index above the given one, or
// wait has passed. Every change of a record writes that key.
func (c *Consul) changed(ctx context.Context, key string, index uint64, wait time.Duration) (uint64, error) {
	limit := c.config.Timeout
	if index > 0 {
		// Consul adds up to a sixteenth, so that not all come back at once.
		limit += wait + wait/16
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	options := &api.QueryOptions{RequireConsistent: true, WaitIndex: index, WaitTime: wait}
	_, meta, err := c.client.KV().Get(key, options.WithContext(ctx))
	if err != nil {
		return 0, fmt.Errorf("watch %s: %w", key, cause(ctx, err))
	}
	if meta.LastIndex == 0 {
		// A next call with index 0 would not wait, and this would run in a circle.
		return 0, fmt.Errorf("watch %s: the answer has no index: check that the address is Consul's", key)
	}
	return meta.LastIndex, nil
}
