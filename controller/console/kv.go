package console

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// Directories is what the datacenters' key-value stores hold, and who writes them.
type Directories interface {
	// Look reads all of them now.
	Look(ctx context.Context, clusters []string) []Found
	// Keeping asks every controller, by its id, what it knows of those that it
	// writes.
	Keeping(ctx context.Context) map[string]Kept
}

// Found is what was read of a cluster in one directory, or why it was not.
type Found struct {
	Datacenter, Cluster string
	Holding             routes.Holding
	Err                 error
}

// Kept is one controller's answer, or why there is none.
type Kept struct {
	// Datacenter is where the controller stands, as it says itself.
	Datacenter string
	Records    []wire.KeepingRecord
	Err        error
}

const (
	// kvTime is how long all directories together may take to answer.
	kvTime = 3 * time.Second
	// keepingTime is how long the other controllers may take.
	keepingTime = time.Second
)

// KV implements adminapi.Directories.
func (c *Console) KV(ctx context.Context, cluster string) (wire.KV, error) {
	leader, _ := c.ledger.Leader()
	out := wire.KV{Controller: c.cfg.Self, Leader: leader, Entries: []wire.KVEntry{}}
	clusters := slices.Sorted(maps.Keys(c.ledger.State().Clusters))
	if cluster != "" {
		if !slices.Contains(clusters, cluster) {
			return wire.KV{}, c.noCluster(cluster)
		}
		clusters = []string{cluster}
	}
	if c.cfg.Directories == nil {
		return out, nil
	}
	kept := make(chan map[string]Kept, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, keepingTime)
		defer cancel()
		kept <- c.cfg.Directories.Keeping(ctx)
	}()
	looking, cancel := context.WithTimeout(ctx, kvTime)
	defer cancel()
	found := c.cfg.Directories.Look(looking, clusters)
	keeping := <-kept
	// The ledger is read last: what was read meanwhile is not newer than it, unless
	// this controller is behind.
	state := c.ledger.State()
	for _, f := range found {
		e := compare(f, state.Clusters[f.Cluster])
		e.Writers = c.writers(f, leader, keeping)
		out.Entries = append(out.Entries, e)
	}
	slices.SortStableFunc(out.Entries, func(a, b wire.KVEntry) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.DataCenter, b.DataCenter))
	})
	return out, nil
}

// compare says how what was found stands to what the ledger says.
func compare(f Found, want ledger.Cluster) wire.KVEntry {
	h, table := f.Holding, want.Routes()
	e := wire.KVEntry{
		DataCenter: f.Datacenter, Cluster: f.Cluster, IPv4: h.IPv4, IPv6: h.IPv6, Epoch: h.Epoch, Revision: h.Revision, Faults: h.Faults,
		WantedEpoch: table.Epoch, WantedRevision: table.Revision,
	}
	if h.Master != (routes.Server{}) {
		e.Master = h.Master.String()
	}
	if table.Writer != nil {
		e.WantedMaster = table.Writer.String()
	}
	behind := h.Epoch.Compare(table.Epoch)
	switch {
	case f.Err != nil:
		e.State, e.Error = wire.KVUnread, f.Err.Error()
	case behind > 0:
		e.State = wire.KVHigher
	case table.Writer == nil:
		e.State = wire.KVKept
	case h.Empty():
		e.State = wire.KVMissing
	case h.Epoch.IsZero():
		e.State = wire.KVWrong
	case behind < 0:
		e.State = wire.KVBehind
	case h.Master != *table.Writer, len(h.Faults) > 0:
		e.State = wire.KVWrong
	default:
		e.State = wire.KVRight
	}
	return e
}

// writers are the controllers that keep a directory: those that stand in its
// datacenter or, where there are none, the leader.
func (c *Console) writers(f Found, leader string, keeping map[string]Kept) []wire.KVWriter {
	out := []wire.KVWriter{}
	for _, peer := range c.cfg.Controllers() {
		if cmp.Or(keeping[peer.ID].Datacenter, peer.DataCenter) == f.Datacenter {
			out = append(out, wire.KVWriter{Controller: peer.ID})
		}
	}
	if len(out) == 0 && leader != "" {
		out = append(out, wire.KVWriter{Controller: leader, AsLeader: true})
	}
	for i := range out {
		said := keeping[out[i].Controller]
		if said.Err != nil {
			out[i].Error = fmt.Sprintf("controller %s does not say how it does: %v", out[i].Controller, said.Err)
		}
		for _, r := range said.Records {
			if r.DataCenter == f.Datacenter && r.Cluster == f.Cluster {
				out[i].ConfirmedAt, out[i].Repairs, out[i].Error = r.ConfirmedAt, r.Repairs, r.Error
			}
		}
	}
	return out
}
