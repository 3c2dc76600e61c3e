package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Backup implements adminapi.Ledger.
func (c *Console) Backup(ctx context.Context, local bool) ([]byte, error) {
	if c.cfg.Backup == nil {
		return nil, wire.NewError(wire.NotFound, "this controller makes no backups", "")
	}
	data, err := c.cfg.Backup(ctx, local)
	if errors.Is(err, ErrNotLeader) {
		return nil, wire.NewError(wire.NotLeader, "this controller lost its leadership meanwhile",
			"ask again, or for what one controller knows (--local)")
	}
	return data, err
}

// Adopt implements adminapi.Ledger: a person says who is the master of a cluster
// that a restored ledger holds. It must be seen to take writes.
func (c *Console) Adopt(ctx context.Context, r wire.AdoptRequest) (wire.Done, error) {
	out := wire.Done{Action: "adopt", Cluster: r.Cluster, Server: r.Master, By: cmp.Or(r.By, nobody)}
	state := c.ledger.State()
	held, ok := state.Held[r.Cluster]
	known, adopted := state.Clusters[r.Cluster]
	switch {
	case !ok && adopted && known.Master == r.Master:
		out.Sentence = fmt.Sprintf("%s is the master of cluster %s", r.Master, r.Cluster)
		return out, nil
	case !ok && adopted:
		return out, wire.NewError(wire.Conflict, fmt.Sprintf("%s is the master of cluster %s, which is not held by a restored ledger",
			known.Master, r.Cluster), "use `switchyard switchover` to change it")
	case !ok:
		return out, c.noCluster(r.Cluster)
	}
	seen := c.observer.Look(ctx, []topology.Key{r.Master}, map[topology.Key]bool{r.Master: true}).Observations[r.Master]
	switch {
	case seen.Instance == nil:
		return out, wire.NewError(wire.Refused, fmt.Sprintf("%s does not answer: whether it is the master cannot be seen", r.Master),
			"nothing was changed; name the server that takes the application's writes, or start it")
	case seen.Instance.ReadOnly:
		return out, wire.NewError(wire.Refused, fmt.Sprintf("%s is read-only, and so not the master", r.Master),
			"nothing was changed; name the server that takes the application's writes, or make this one writable")
	}
	if err := c.propose(ctx, ledger.AdoptMaster{
		Cluster: r.Cluster, Master: r.Master, UUID: seen.Instance.UUID, By: out.By, Reason: r.Reason, At: c.cfg.Now(),
	}); err != nil {
		return wire.Done{}, err
	}
	out.Changed = true
	out.Sentence = fmt.Sprintf("%s is the master of cluster %s, at epoch %s; at epoch %s of the backup it was %s",
		r.Master, r.Cluster, c.ledger.State().Clusters[r.Cluster].Epoch, held.Epoch, held.Master)
	return out, nil
}
