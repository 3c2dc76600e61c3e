package relocate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"switchyard/controller/executor"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Each of these is one thing that an operator asks for. An *executor.Refusal means
// that nothing was touched.

// done logs what was done for an operator.
func (r *Relocator) done(c ledger.Cluster, instance topology.Key, what string, args ...any) error {
	r.log.Info("done by hand", "cluster", c.Name, "instance", instance.String(), "what", fmt.Sprintf(what, args...))
	return nil
}

// Move puts a replica below another server of its cluster.
func (r *Relocator) Move(ctx context.Context, c ledger.Cluster, instance, below topology.Key) error {
	c, err := r.idle(c.Name, instance)
	if err != nil {
		return err
	}
	s := r.picture(ctx, c.Name)
	o, err := r.replica(s, c, instance)
	if err != nil {
		return err
	}
	before := s.Servers[instance].Source
	switch srv := r.ledger.State().Servers[below]; {
	case srv.Cluster != c.Name:
		return refuse("%s is no known server of cluster %s", below, c.Name)
	case below == instance:
		return refuse("%s cannot replicate from itself", instance)
	}
	if before == below && o.Instance.Replication.IO == topology.ThreadRunning {
		return r.done(c, instance, "%s is below %s already", instance, below)
	}
	if why := unattached(s, below, instance); why != "" {
		return refuse("%s cannot go below %s: %s", instance, below, why)
	}
	source, _ := s.Sight(below)
	if why := cannotServe(source.Instance, c.Master); why != "" {
		return refuse("%s cannot go below %s: %s", instance, below, why)
	}
	// What the source has is read after what the replica has.
	source = r.look(ctx, below)
	if source.Instance == nil {
		return refuse("%s does not answer: %s", below, source.Reach)
	}
	if why := lacks(source.Instance, o.Instance); why != "" {
		return refuse("%s cannot go below %s: %s", instance, below, why)
	}
	sessions := r.sessions(ctx, c.Name)
	defer sessions.Close()
	if err = r.point(ctx, sessions, instance, below, nil); err == nil {
		err = r.verify(ctx, instance, below)
	}
	if err == nil {
		return r.done(c, instance, "%s replicates from %s, no longer from %s", instance, below, before)
	}
	if errors.Is(err, executor.ErrDeposed) || before.IsZero() || ctx.Err() != nil {
		return err
	}
	if back := r.point(ctx, sessions, instance, before, nil); back != nil {
		return errors.Join(err, fmt.Errorf("and it could not be put back below %s: %w", before, back))
	}
	return fmt.Errorf("%w; it is below %s again", err, before)
}

// Detach makes a replica stop replicating, once it has applied what it
// received; the ledger remembers from whom, and nothing brings it back unasked.
func (r *Relocator) Detach(ctx context.Context, c ledger.Cluster, instance topology.Key, by, reason string) error {
	c, err := r.idle(c.Name, instance)
	if err != nil {
		return err
	}
	s := r.picture(ctx, c.Name)
	known := r.ledger.State().Servers[instance]
	if o, _ := s.Sight(instance); !known.DetachedFrom.IsZero() && o.Instance != nil && o.Instance.Replication == nil {
		return r.done(c, instance, "%s is detached from %s already", instance, known.DetachedFrom)
	}
	o, err := r.replica(s, c, instance)
	if err != nil {
		return err
	}
	from := s.Servers[instance].Source
	if from.IsZero() {
		from = o.Instance.Replication.Source
	}
	// Written down first: whoever comes after a crash in between knows that it was
	// meant, and leaves it alone.
	if err := executor.Propose(ctx, r.ledger, ledger.SetDetached{
		Server: instance, From: from, By: by, Reason: reason, At: r.cfg.Now(),
	}); err != nil {
		return err
	}
	sessions := r.sessions(ctx, c.Name)
	defer sessions.Close()
	err = executor.DetachDrained(ctx, sessions, r.looker, instance, r.cfg.ApplyTimeout)
	if err == nil {
		return r.done(c, instance, "%s is detached from %s", instance, from)
	}
	if errors.Is(err, executor.ErrDeposed) {
		return err
	}
	// Also where this was cut short: a failover that begins now counts the server in.
	back := executor.Propose(context.WithoutCancel(ctx), r.ledger, ledger.SetDetached{Server: instance, By: by, At: r.cfg.Now()})
	start := sessions.With(ctx, instance, verbTimeout, func(ctx context.Context, s executor.Session) error {
		return s.StartReplica(ctx)
	})
	return errors.Join(err, back, start)
}

// Reattach makes a detached server replicate again: from whom it did, if that one
// is still in its place, or from the master.
func (r *Relocator) Reattach(ctx context.Context, c ledger.Cluster, instance topology.Key, by, reason string) error {
	c, err := r.idle(c.Name, instance)
	if err != nil {
		return err
	}
	known := r.ledger.State().Servers[instance]
	if known.DetachedFrom.IsZero() {
		return refuse("%s was not detached", instance)
	}
	s := r.picture(ctx, c.Name)
	o, _ := s.Sight(instance)
	if o.Instance == nil {
		return refuse("%s does not answer: %s", instance, o.Reach)
	}
	if why, outcast := s.Outcasts[instance]; outcast {
		return refuse("%s cannot be attached: %s", instance, why)
	}
	source := known.DetachedFrom
	if unattached(s, source, instance) != "" {
		source = c.Master
	}
	theirs := r.look(ctx, source)
	if theirs.Instance == nil {
		return refuse("%s does not answer: %s", source, theirs.Reach)
	}
	if why := lacks(theirs.Instance, o.Instance); why != "" {
		return refuse("%s cannot be attached to %s: %s", instance, source, why)
	}
	sessions := r.sessions(ctx, c.Name)
	defer sessions.Close()
	// A server without a source is often made writable by hand.
	err = sessions.With(ctx, instance, verbTimeout, func(ctx context.Context, s executor.Session) error {
		return s.SetReadOnly(ctx)
	})
	if err == nil {
		err = r.point(ctx, sessions, instance, source, nil)
	}
	if err != nil {
		return err
	}
	if err := executor.Propose(ctx, r.ledger, ledger.SetDetached{
		Server: instance, By: by, Reason: reason, At: r.cfg.Now(),
	}); err != nil {
		return err
	}
	if err := r.verify(ctx, instance, source); err != nil {
		return err
	}
	// One that a recovery lost is found: nobody needs to bring it anywhere.
	if d := r.ledger.State().Downtimes[instance]; d.Reason == ledger.LostInRecovery {
		if err := executor.Propose(ctx, r.ledger, ledger.EndDowntime{
			Server: instance, By: by, Reason: "it was attached again", At: r.cfg.Now(),
		}); err != nil {
			return err
		}
	}
	return r.done(c, instance, "%s replicates from %s", instance, source)
}

// SetReadOnly makes a server read-only or, only the ledger's master, writable.
func (r *Relocator) SetReadOnly(ctx context.Context, c ledger.Cluster, instance topology.Key, on bool) error {
	c, err := r.idle(c.Name, topology.Key{})
	if err != nil {
		return err
	}
	srv := r.ledger.State().Servers[instance]
	switch {
	case srv.Cluster != c.Name:
		return refuse("%s is no known server of cluster %s", instance, c.Name)
	case !on && instance != c.Master:
		return refuse("%s is not the master of cluster %s, %s is: nobody else may be writable", instance, c.Name, c.Master)
	case !on && c.Withdrawn:
		return refuse("cluster %s is withdrawn since its last recovery: nobody may be writable before the next one", c.Name)
	}
	o := r.look(ctx, instance)
	if o.Instance == nil {
		return refuse("%s does not answer: %s", instance, o.Reach)
	}
	if !on && o.Instance.Replication != nil && !r.peers(ctx, c, o.Instance) {
		return refuse("%s replicates from %s: it cannot be the writable one", instance, o.Instance.Replication.Source)
	}
	sessions := r.sessions(ctx, c.Name)
	defer sessions.Close()
	err = sessions.With(ctx, instance, verbTimeout, func(ctx context.Context, s executor.Session) error {
		if on {
			return s.SetReadOnly(ctx)
		}
		return s.SetWritable(ctx)
	})
	switch {
	case err != nil:
		return err
	case !on:
		return r.done(c, instance, "%s is writable", instance)
	case instance == c.Master:
		return r.done(c, instance, "%s is read-only; it is the master, so nobody can write to cluster %s", instance, c.Name)
	}
	return r.done(c, instance, "%s is read-only", instance)
}

// peers reports whether the master replicates from a co-master of its own, which
// is read-only.
func (r *Relocator) peers(ctx context.Context, c ledger.Cluster, master *topology.Instance) bool {
	s := r.picture(ctx, c.Name)
	source := s.Servers[master.Key].Source
	o, ok := s.Sight(source)
	return ok && o.Instance != nil && o.Instance.ReadOnly && s.Servers[source].Source == master.Key
}

// idle returns a cluster in which nothing is under way, or refuses. A server that
// is given must be one of its replicas.
func (r *Relocator) idle(cluster string, instance topology.Key) (ledger.Cluster, error) {
	state := r.ledger.State()
	c, ok := state.Clusters[cluster]
	switch {
	case !ok:
		return c, refuse("cluster %s is unknown", cluster)
	case c.Recovery != "":
		return c, refuse("recovery %s of cluster %s has not ended", c.Recovery, cluster)
	case c.Relocation != "":
		return c, refuse("relocation %s of cluster %s has not ended", c.Relocation, cluster)
	case instance.IsZero():
		return c, nil
	case state.Servers[instance].Cluster != cluster:
		return c, refuse("%s is no known server of cluster %s", instance, cluster)
	case instance == c.Master:
		return c, refuse("%s is the master of cluster %s: only a switchover moves it", instance, cluster)
	}
	return c, nil
}

// replica returns what a replica in good standing looks like, or refuses.
func (r *Relocator) replica(s topology.Snapshot, c ledger.Cluster, k topology.Key) (topology.Observation, error) {
	o, _ := s.Sight(k)
	why, outcast := s.Outcasts[k]
	switch detached := r.ledger.State().Servers[k].DetachedFrom; {
	case o.Instance == nil:
		return o, refuse("%s does not answer: %s", k, o.Reach)
	case outcast:
		return o, refuse("%s is left to itself: %s", k, why)
	case !detached.IsZero() && o.Instance.Replication == nil:
		return o, refuse("%s is detached from %s: reattach it first", k, detached)
	case o.Instance.Replication == nil:
		return o, refuse("%s replicates from nobody", k)
	case !o.Instance.Replication.UsesGTID:
		return o, refuse("%s replicates by file and position, not by GTID", k)
	case slices.Contains(s.Replicas(k), c.Master):
		return o, refuse("%s is the other master of a pair: %s replicates from it", k, c.Master)
	}
	return o, nil
}
