package relocate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"switchyard/controller/executor"
	"switchyard/controller/gtid"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// again is the least time between two changes of the same server that nobody
// asked for.
const again = 30 * time.Second

// SemiSync puts the number of replicas that acknowledge the master's commits
// right, as far as the policy says: enough of them, by promotion rule and then by
// name, and where it says exact, no more. Who is to begin does so before anybody
// is told to stop.
func (r *Relocator) SemiSync(ctx context.Context, c ledger.Cluster, s topology.Snapshot) error {
	p := r.cfg.Policy(c.Name)
	master, _ := s.Sight(c.Master)
	if p.SemiSyncRepair != policy.SemiSyncEnough && p.SemiSyncRepair != policy.SemiSyncExact ||
		master.Instance == nil || !master.Instance.SemiSync.SourceEnabled {
		return nil
	}
	want := max(1, master.Instance.SemiSync.WaitCount)
	fit := r.acknowledgers(s, c, p)
	acks := func(k topology.Key) bool {
		o, _ := s.Sight(k)
		return o.Instance.SemiSync.ReplicaEnabled
	}
	begin, stop := split(fit, want, p.SemiSyncRepair == policy.SemiSyncExact, acks)
	locked := p.LockedAfter > 0 && master.Still >= p.LockedAfter
	if len(begin) == 0 && len(stop) == 0 && !locked {
		return nil
	}
	sessions := r.sessions(ctx, c.Name)
	defer sessions.Close()
	var all []error
	for _, k := range begin {
		all = append(all, r.acknowledge(ctx, sessions, s, k, true))
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	if locked {
		if err := r.release(ctx, sessions, c, s.Replicas(c.Master), want); err != nil {
			return err
		}
	}
	// Nobody stops while it is not certain that the others have begun.
	if len(stop) == 0 {
		return nil
	}
	for _, k := range begin {
		if o := r.look(ctx, k); o.Instance == nil || !o.Instance.SemiSync.ReplicaEnabled || !receives(o, p) {
			return fmt.Errorf("%s was told to acknowledge, and does not receive yet; the others go on", k)
		}
	}
	for _, k := range stop {
		all = append(all, r.acknowledge(ctx, sessions, s, k, false))
	}
	return errors.Join(all...)
}

// release lets a MariaDB master go on whose commits wait for an acknowledgement
// that cannot come: those who have just begun to acknowledge had received the
// transactions before, are not asked for them again, and nobody else can commit
// meanwhile; their receivers may not even connect before, as that takes a lock of
// the binary log. It is done only once enough of them are seen to hold all that
// the master has, so that what becomes visible is where it was to be.
func (r *Relocator) release(ctx context.Context, sessions *executor.Sessions, c ledger.Cluster, replicas []topology.Key, want int) error {
	deadline := r.cfg.Now().Add(r.cfg.Settle)
	for {
		m := r.look(ctx, c.Master)
		if i := m.Instance; i != nil && (i.Flavor != gtid.MariaDB || i.SemiSync.Waiting == 0) {
			return nil // the next commit is acknowledged, and all before it
		}
		hold := 0
		for _, k := range replicas {
			i := r.look(ctx, k).Instance
			if m.Instance != nil && i != nil && i.SemiSync.ReplicaEnabled && follows(i, c.Master) &&
				i.Received().Contains(m.Instance.Executed) {
				hold++
			}
		}
		if hold >= want {
			return sessions.With(ctx, c.Master, verbTimeout, func(ctx context.Context, s executor.Session) error {
				return s.EndWaiters(ctx)
			})
		}
		if !r.cfg.Now().Before(deadline) {
			return fmt.Errorf("commits on %s (%s) wait, and %d replicas that acknowledge now hold all that it has, of %d that must",
				c.Master, m.Reach, hold, want)
		}
		if err := sleep(ctx, verifyPause); err != nil {
			return err
		}
	}
}

// split says which of the replicas that could acknowledge, best first, begin and
// which stop. Without exact nobody stops, and whoever does it already goes on.
func split(fit []topology.Key, want int, exact bool, acks func(topology.Key) bool) (begin, stop []topology.Key) {
	if exact {
		for n, k := range fit {
			switch {
			case n < want && !acks(k):
				begin = append(begin, k)
			case n >= want && acks(k):
				stop = append(stop, k)
			}
		}
		return begin, stop
	}
	have := 0
	for _, k := range fit {
		if acks(k) {
			have++
		}
	}
	for _, k := range fit {
		if have < want && !acks(k) {
			begin, have = append(begin, k), have+1
		}
	}
	return begin, nil
}

// acknowledgers are the master's direct replicas that could acknowledge, the best
// first: by promotion rule, since who acknowledges is most advanced, then by name.
func (r *Relocator) acknowledgers(s topology.Snapshot, c ledger.Cluster, p policy.Cluster) []topology.Key {
	keys := slices.DeleteFunc(s.Replicas(c.Master), func(k topology.Key) bool {
		_, outcast := s.Outcasts[k]
		_, given := s.Downtimed[k]
		o, _ := s.Sight(k)
		return outcast || given || !receives(o, p) || !o.Instance.SemiSync.Available
	})
	slices.SortStableFunc(keys, func(a, b topology.Key) int {
		return cmp.Or(cmp.Compare(p.Rule(a).Rank(), p.Rule(b).Rank()), a.Compare(b))
	})
	return keys
}

// acknowledge switches the acknowledging of one replica, and leaves alone whether
// it waits for others itself. The verb restarts its receiver, without which
// nothing would change, and refuses where that would cost what was received.
func (r *Relocator) acknowledge(
	ctx context.Context, sessions *executor.Sessions, s topology.Snapshot, k topology.Key, on bool,
) error {
	if !r.due(k) {
		return nil
	}
	o, _ := s.Sight(k)
	err := sessions.With(ctx, k, pointTimeout, func(ctx context.Context, session executor.Session) error {
		return session.SetSemiSync(ctx, executor.SemiSync{Replica: on, Source: o.Instance.SemiSync.SourceEnabled})
	})
	if err == nil {
		r.log.Info("semi-sync was put right", "cluster", s.Cluster, "instance", k.String(), "acknowledges", on)
	}
	return err
}

// RestartReceivers restarts the receivers of the replicas of a master that cannot
// be reached: one whose connection is dead without knowing it then says so. Where
// a restart would tell nothing or cost something, nothing is done.
func (r *Relocator) RestartReceivers(ctx context.Context, c ledger.Cluster, s topology.Snapshot) error {
	var keys []topology.Key
	for _, k := range s.Replicas(c.Master) {
		o, _ := s.Sight(k)
		if o.Instance == nil || o.Instance.Replication == nil || o.Instance.Replication.IO == topology.ThreadStopped {
			continue
		}
		if _, given := s.Downtimed[k]; given {
			continue
		}
		if o.Instance.Flavor == gtid.MariaDB && o.Instance.Replication.UsesGTID {
			continue
		}
		if r.due(k) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	sessions := r.sessions(ctx, c.Name)
	defer sessions.Close()
	errs := make(chan error, len(keys))
	for _, k := range keys {
		go func() {
			errs <- sessions.With(ctx, k, verbTimeout, func(ctx context.Context, session executor.Session) error {
				return session.RestartReceiver(ctx)
			})
		}()
	}
	var all []error
	for range keys {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// due reports whether a server was left alone for long enough, and notes that it
// is not any more.
func (r *Relocator) due(k topology.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	if last, ok := r.tried[k]; ok && now.Sub(last) < again && !now.Before(last) {
		return false
	}
	r.tried[k] = now
	return true
}
