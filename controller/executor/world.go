package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// announce commits the winner, proven writable, as the cluster's master.
func (r *run) announce(ctx context.Context) (string, error) {
	rec := r.recovery()
	var o topology.Observation
	for range attempts {
		o = r.looker.Look(ctx, []topology.Key{rec.Winner}, nil).Observations[rec.Winner]
		if o.Instance != nil {
			break
		}
	}
	switch {
	case o.Instance == nil:
		return "", fmt.Errorf("the winner does not answer: %s: %s", o.Reach, o.Error)
	case o.Instance.ReadOnly || o.Instance.SuperReadOnly:
		return "", errors.New("the winner is read-only")
	}
	return "epoch " + rec.Epoch.String(), r.propose(ctx, ledger.Announce{
		Recovery: r.id, MasterUUID: o.Instance.UUID, At: r.cfg.Now(),
	})
}

// route moves every proxy; those that do not confirm in time are left to the
// keeper, and the recovery is then not called complete.
func (r *run) route(ctx context.Context) (string, error) {
	table := r.cluster().Routes()
	for deadline := r.cfg.Now().Add(r.cfg.RouteTimeout); ; {
		confirmed, down, unknown := sortReceipts(r.proxies.Push(ctx, table))
		if len(unknown) == 0 {
			return fmt.Sprintf("confirmed by %s%s", count(confirmed, "proxy", "proxies"), downNote(down)), nil
		}
		if !r.cfg.Now().Before(deadline) {
			r.stragglers = unknown
			return fmt.Sprintf("confirmed by %s; not yet: %s", count(confirmed, "proxy", "proxies"), strings.Join(unknown, "; ")), nil
		}
		if err := r.lead(ctx); err != nil {
			return "", err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return "", err
		}
	}
}

// publish tells every Consul that can be reached; the others are told by the
// publisher's audit as soon as they answer.
func (r *run) publish(ctx context.Context) (string, error) {
	confirmed, _, unknown := sortReceipts(r.consuls.Push(ctx, r.cluster().Routes()))
	if len(unknown) == 0 {
		return fmt.Sprintf("named by %s", count(confirmed, "Consul datacenter", "Consul datacenters")), nil
	}
	return fmt.Sprintf("named by %s; not reached: %s", count(confirmed, "Consul datacenter", "Consul datacenters"), strings.Join(unknown, "; ")), nil
}

// followers are the servers that are to replicate from the winner: the old
// master's direct replicas, and the old master itself where it is known to live.
func (r *run) followers() []topology.Key {
	rec := r.recovery()
	keys := r.candidates()
	if !rec.Winner.IsZero() {
		keys = append(keys, r.looker.Snapshot(rec.Cluster, rec.Winner).Replicas(rec.Winner)...)
	}
	if rec.Kind == ledger.Switchover || rec.Undoing {
		keys = append(keys, rec.Old)
	}
	slices.SortFunc(keys, topology.Key.Compare)
	keys = slices.Compact(keys)
	// The old master comes last: while its replicas still follow it, what it gets
	// from the winner would flow through it to them, and a MySQL that is told to
	// stop in the middle of a transaction waits for its rest for a minute.
	slices.SortStableFunc(keys, func(a, b topology.Key) int {
		switch {
		case a == rec.Old && b != rec.Old:
			return 1
		case b == rec.Old && a != rec.Old:
			return -1
		}
		return 0
	})
	return slices.DeleteFunc(keys, func(k topology.Key) bool { return k == rec.Winner })
}

func (r *run) repoint(ctx context.Context) (string, error) {
	rec, keys := r.recovery(), r.followers()
	follow := func(k topology.Key) error { return r.follow(ctx, k, rec.Winner) }
	others := slices.DeleteFunc(slices.Clone(keys), func(k topology.Key) bool { return k == rec.Old })
	failed := r.each(others, follow)
	if slices.Contains(keys, rec.Old) {
		failed = append(failed, r.each([]topology.Key{rec.Old}, follow)...)
	}
	if err := deposedAmong(failed); err != nil {
		return "", err
	}
	for _, f := range failed {
		r.lost.set(f.key, f.err.Error())
	}
	return fmt.Sprintf("%d of %d servers follow it%s", len(keys)-len(failed), len(keys), suffix(failed)), nil
}

// follow makes one server replicate from the winner, if it holds nothing that
// the winner lacks.
func (r *run) follow(ctx context.Context, k, winner topology.Key) error {
	mine := r.looker.Look(ctx, []topology.Key{k}, nil).Observations[k]
	if mine.Instance == nil {
		return fmt.Errorf("%s does not answer: %s", k, mine.Reach)
	}
	used, _, _ := r.semiSync()
	return r.sessions.With(ctx, k, 10*time.Second, func(ctx context.Context, s Session) error {
		if err := s.SetReadOnly(ctx); err != nil {
			return err
		}
		holds, err := r.holds(ctx, s, mine.Instance, winner)
		if err != nil {
			return err
		}
		if used {
			if err := s.SetSemiSync(ctx, SemiSync{Replica: true}); err != nil {
				return err
			}
		}
		// To point it anew to where it points would drop what it received and has
		// not applied, which the winner may not live to send again.
		if i := mine.Instance; follows(i, winner) && i.Replication.UsesGTID && !i.Executed.Contains(i.Received()) {
			return s.StartReplica(ctx)
		}
		return s.Repoint(ctx, winner, holds)
	})
}

// holds is what the winner has, read after the follower stopped receiving: a
// follower can get the winner's newest transactions through others. One that
// replicates from the winner already is not compared.
func (r *run) holds(ctx context.Context, s Session, mine *topology.Instance, winner topology.Key) (gtid.Set, error) {
	if follows(mine, winner) {
		return gtid.Set{}, nil
	}
	if err := s.StopReceiver(ctx); err != nil {
		return gtid.Set{}, err
	}
	theirs := r.looker.Look(ctx, []topology.Key{winner}, nil).Observations[winner]
	if theirs.Instance == nil {
		return gtid.Set{}, fmt.Errorf("%s does not answer: %s", winner, theirs.Reach)
	}
	return theirs.Instance.Executed, nil
}

// follows reports whether i already replicates from source.
func follows(i *topology.Instance, source topology.Key) bool {
	return i.Replication != nil && i.Replication.Source == source
}

// verify looks once more. What it finds does not undo a promotion: it is
// written down, and the loop deals with it.
func (r *run) verify(ctx context.Context) (string, error) {
	rec := r.recovery()
	keys := append(r.followers(), rec.Winner)
	deadline := r.cfg.Now().Add(3 * time.Second)
	for {
		view := r.looker.Look(ctx, keys, nil)
		problems := r.problems(rec, view)
		if len(problems) == 0 {
			return fmt.Sprintf("the winner is writable, and %s from it", count(len(keys)-1-len(r.lost.all()), "server receives", "servers receive")), nil
		}
		if !r.cfg.Now().Before(deadline) {
			r.noteBroken(rec, view)
			return "left to the loop: " + strings.Join(problems, "; "), nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return "", err
		}
	}
}

// noteBroken counts as lost who follows the winner, and whose receiver gave up.
func (r *run) noteBroken(rec ledger.Recovery, view topology.View) {
	for k, o := range view.Observations {
		if k == rec.Winner || k == rec.Old || o.Instance == nil {
			continue
		}
		if why, broken := stoppedReceiving(o.Instance, rec.Winner); broken {
			r.lost.set(k, why)
		}
	}
}

func (r *run) problems(rec ledger.Recovery, view topology.View) []string {
	var out []string
	for k, o := range view.Observations {
		i := o.Instance
		switch {
		case r.lost.has(k):
		case i == nil:
			out = append(out, fmt.Sprintf("%s does not answer: %s", k, o.Reach))
		case k == rec.Winner && i.ReadOnly:
			out = append(out, fmt.Sprintf("the winner %s is read-only", k))
		case k == rec.Winner:
		case !i.ReadOnly:
			out = append(out, fmt.Sprintf("%s is writable beside the winner", k))
		case i.Replication == nil || i.Replication.IO != topology.ThreadRunning:
			out = append(out, fmt.Sprintf("%s does not receive yet", k))
		}
	}
	slices.Sort(out)
	return out
}

// Unseen are, in order, the known servers of a cluster of which the taker of its
// picture has none: where that has just started, it does not even know from whom
// they replicate, and would count them for nothing. Those whose hosts were silent
// when they were tried are left out, since to wait for them takes long.
func Unseen(s ledger.State, snap topology.Snapshot) []topology.Key {
	var keys []topology.Key
	for k, srv := range s.Servers {
		if srv.Cluster != snap.Cluster || k == snap.Master || srv.Standing != ledger.Member || snap.Servers[k].Last != nil {
			continue
		}
		switch o, _ := snap.Sight(k); o.Reach {
		case topology.ReachTimeout, topology.ReachHung, topology.ReachUnresolved:
		default:
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, topology.Key.Compare)
	return keys
}
