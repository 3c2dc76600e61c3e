package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/executor"
	"switchyard/controller/failover"
	"switchyard/store/ledger"
)

// Switchover implements adminapi.Operator.
func (c *Console) Switchover(ctx context.Context, req wire.SwitchoverRequest) (wire.Recovery, error) {
	if err := c.member(req.Cluster, req.To); err != nil {
		return wire.Recovery{}, err
	}
	rec, err := c.loop.Switchover(ctx, req.Cluster, req.To, cmp.Or(req.By, nobody), req.Reason)
	return c.ended(req.Cluster, rec, err)
}

// ended answers a recovery that somebody asked for.
func (c *Console) ended(cluster string, rec ledger.Recovery, err error) (wire.Recovery, error) {
	if err == nil {
		return wire.NewRecovery(rec, Phases(rec)), nil
	}
	err = c.failed(cluster, err)
	if told := (*wire.Error)(nil); rec.ID != "" && !errors.As(err, &told) {
		err = wire.NewError(wire.Failed, fmt.Sprintf("recovery %s: %v", rec.ID, err), "see `switchyard recoveries "+rec.ID+"`")
	}
	return wire.Recovery{}, err
}

// failed turns the loop's errors into the door's.
func (c *Console) failed(cluster string, err error) error {
	var refusal *failover.Refusal
	var rejection *ledger.Rejection
	switch {
	case errors.Is(err, failover.ErrNoCluster):
		return c.noCluster(cluster)
	case errors.As(err, &refusal):
		return wire.NewError(wire.Refused, refusal.Reason, "nothing was moved; `switchyard explain "+cluster+"` says more")
	case errors.As(err, &rejection):
		return wire.NewError(wire.Conflict, rejection.Error(), "nothing was moved")
	case errors.Is(err, executor.ErrDeposed):
		return wire.NewError(wire.NotLeader, "this controller lost its leadership meanwhile; the next leader finishes or undoes it",
			"see `switchyard recoveries`")
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		return wire.NewError(wire.Timeout, err.Error(), "see `switchyard recoveries` and `switchyard audit`")
	}
	return err
}
