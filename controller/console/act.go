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

// Actor is what the loop does for operators beside a switchover. What it
// returns and writes is as for that.
type Actor interface {
	// Force replaces a cluster's master in spite of every doubt.
	Force(ctx context.Context, cluster string, to topology.Key, by, reason string) (ledger.Recovery, error)
	// Recover does for one failed server what would be done unasked, were it not
	// for pauses, downtimes and the anti-flap window.
	Recover(ctx context.Context, instance topology.Key, by, reason string) (ledger.Recovery, error)
	Move(ctx context.Context, instance, below topology.Key, by, reason string) error
	Detach(ctx context.Context, instance topology.Key, by, reason string) error
	Reattach(ctx context.Context, instance topology.Key, by, reason string) error
	SetReadOnly(ctx context.Context, instance topology.Key, on bool, by, reason string) error
}

// Recover implements adminapi.Operations.
func (c *Console) Recover(ctx context.Context, r wire.ServerRequest) (wire.Recovery, error) {
	srv, err := c.server(r.Server)
	if err != nil {
		return wire.Recovery{}, err
	}
	rec, err := c.loop.Recover(ctx, r.Server, cmp.Or(r.By, nobody), r.Reason)
	return c.ended(srv.Cluster, rec, err)
}

// Failover implements adminapi.Operations.
func (c *Console) Failover(ctx context.Context, r wire.FailoverRequest) (wire.Recovery, error) {
	if err := c.member(r.Cluster, r.To); err != nil {
		return wire.Recovery{}, err
	}
	if !r.Force {
		return wire.Recovery{}, c.unforced(ctx, r.Cluster)
	}
	rec, err := c.loop.Force(ctx, r.Cluster, r.To, cmp.Or(r.By, nobody), r.Reason)
	return c.ended(r.Cluster, rec, err)
}

// unforced refuses a failover that nobody forced, and says what would be done.
func (c *Console) unforced(ctx context.Context, cluster string) error {
	e, err := c.Explain(ctx, cluster)
	if err != nil {
		return err
	}
	master := c.ledger.State().Clusters[cluster].Master
	return wire.NewError(wire.Refused, "a failover by hand must be forced; "+e.Summary, fmt.Sprintf(
		"`switchyard recover %s` does it with every check and may be enough, `switchyard switchover %s` moves a living master, "+
			"and --force with --reason replaces the master in spite of every doubt", master, cluster))
}

// Move implements adminapi.Operations.
func (c *Console) Move(ctx context.Context, r wire.MoveRequest) (wire.Done, error) {
	srv, err := c.server(r.Server)
	if err != nil {
		return wire.Done{}, err
	}
	below, err := c.server(r.Below)
	switch {
	case err != nil:
		return wire.Done{}, err
	case r.Server == r.Below:
		return wire.Done{}, wire.NewError(wire.Refused, fmt.Sprintf("%s cannot replicate from itself", r.Server), "name another server")
	case srv.Cluster != below.Cluster:
		return wire.Done{}, wire.NewError(wire.Refused, fmt.Sprintf("%s is of cluster %s, and %s of %s",
			r.Server, srv.Cluster, r.Below, below.Cluster), "name a server of the same cluster")
	}
	return c.acted(wire.Done{
		Action: "move", Server: r.Server, By: r.By,
		Sentence: fmt.Sprintf("%s replicates from %s now", r.Server, r.Below),
	}, func(by string) error { return c.loop.Move(ctx, r.Server, r.Below, by, r.Reason) })
}

// Detach implements adminapi.Operations.
func (c *Console) Detach(ctx context.Context, r wire.DetachRequest) (wire.Done, error) {
	return c.acted(wire.Done{
		Action: "detach", Server: r.Server, By: r.By,
		Sentence: fmt.Sprintf("%s is detached and stays so until `switchyard reattach %s`", r.Server, r.Server),
	}, func(by string) error { return c.loop.Detach(ctx, r.Server, by, r.Reason) })
}

// Reattach implements adminapi.Operations.
func (c *Console) Reattach(ctx context.Context, r wire.ServerRequest) (wire.Done, error) {
	return c.acted(wire.Done{
		Action: "reattach", Server: r.Server, By: r.By,
		Sentence: fmt.Sprintf("%s is attached again", r.Server),
	}, func(by string) error { return c.loop.Reattach(ctx, r.Server, by, r.Reason) })
}

// SetReadOnly implements adminapi.Operations.
func (c *Console) SetReadOnly(ctx context.Context, r wire.ReadOnlyRequest) (wire.Done, error) {
	is := "is read-only"
	if !*r.ReadOnly {
		is = "accepts writes"
	}
	return c.acted(wire.Done{
		Action: "set-read-only", Server: r.Server, By: r.By, Sentence: fmt.Sprintf("%s %s now", r.Server, is),
	}, func(by string) error { return c.loop.SetReadOnly(ctx, r.Server, *r.ReadOnly, by, r.Reason) })
}

// acted has something done to one server, and answers done.
func (c *Console) acted(done wire.Done, act func(by string) error) (wire.Done, error) {
	srv, err := c.server(done.Server)
	if err != nil {
		return wire.Done{}, err
	}
	done.Cluster, done.By, done.Changed = srv.Cluster, cmp.Or(done.By, nobody), true
	if err := c.failed(srv.Cluster, act(done.By)); err != nil {
		if told := (*wire.Error)(nil); !errors.As(err, &told) {
			// The operator is to know what the server said.
			err = wire.NewError(wire.Failed, fmt.Sprintf("%s of %s: %v", done.Action, done.Server, err),
				fmt.Sprintf("look at `switchyard topology %s` for how it is now", srv.Cluster))
		}
		return wire.Done{}, err
	}
	return done, nil
}
