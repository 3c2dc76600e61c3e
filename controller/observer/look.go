package observer

import (
	"context"
	"sync"
	"time"

	"switchyard/controller/topology"
)

// keptWait is how long a look waits for a kept connection that is in use
// before it makes a new one.
const keptWait = 5 * time.Millisecond

// Look sees servers now: all at once, by attempts begun after the call, each
// within UrgentTimeout. Those named in fresh are seen on a new connection, and
// so are masters: a kept connection says nothing of whether a dead one could
// be reached again.
func (o *Observer) Look(ctx context.Context, keys []topology.Key, fresh map[topology.Key]bool) topology.View {
	view := topology.View{Observer: o.cfg.ID, Observations: make(map[topology.Key]topology.Observation, len(keys))}
	var all sync.WaitGroup
	var mu sync.Mutex
	asked := make(map[topology.Key]bool, len(keys))
	for _, key := range keys {
		if asked[key] {
			continue
		}
		asked[key] = true
		all.Go(func() {
			seen := o.look(ctx, key, fresh[key])
			mu.Lock()
			defer mu.Unlock()
			view.Observations[key] = seen
		})
	}
	all.Wait()
	view.At = o.now()
	return view
}

func (o *Observer) look(ctx context.Context, key topology.Key, fresh bool) topology.Observation {
	name, _ := o.namer.Resolve(key)
	o.mu.Lock()
	s := o.servers[name]
	address := name
	if s != nil {
		address = s.address
		fresh = fresh || s.masterOf != ""
	}
	o.mu.Unlock()

	var seen topology.Observation
	switch {
	case s == nil: // nobody is watched under this name; it is asked all the same
		seen = o.try(ctx, address, true, o.cfg.UrgentTimeout).seen
	case fresh:
		seen = o.remember(s, o.try(ctx, address, true, o.cfg.UrgentTimeout), false)
	default:
		seen = o.remember(s, o.tryAny(ctx, s, address), false)
	}
	seen.Key = key
	return seen
}

// tryAny sees a server on its kept connection or, where that is in use, has
// broken or does not answer, on a new one. All of it stays within UrgentTimeout.
func (o *Observer) tryAny(ctx context.Context, s *server, address topology.Key) attempt {
	deadline := time.Now().Add(o.cfg.UrgentTimeout)
	if !take(ctx, s.kept, keptWait) {
		return o.try(ctx, address, true, time.Until(deadline))
	}
	var kept sync.WaitGroup
	defer kept.Wait()
	keptCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan attempt, 1)
	kept.Go(func() {
		defer func() { <-s.kept }()
		answers <- o.try(keptCtx, address, false, o.cfg.UrgentTimeout)
	})
	patience := time.NewTimer(o.cfg.UrgentTimeout / 4)
	defer patience.Stop()
	select {
	case a := <-answers:
		if !connectionLost(a.seen.Reach) {
			return a
		}
		return o.try(ctx, address, true, time.Until(deadline))
	case <-patience.C:
	}
	// Both are open now: the first good answer ends the other.
	freshCtx, cancelFresh := context.WithCancel(ctx)
	defer cancelFresh()
	fresh := make(chan attempt, 1)
	kept.Go(func() { fresh <- o.try(freshCtx, address, true, time.Until(deadline)) })
	select {
	case a := <-answers:
		if a.seen.Reach == topology.ReachOK {
			return a
		}
		return <-fresh
	case a := <-fresh:
		if a.seen.Reach == topology.ReachOK || a.seen.Reach == topology.ReachRefused {
			return a
		}
		if k := <-answers; k.seen.Reach == topology.ReachOK {
			return k
		}
		return a
	}
}

// connectionLost reports whether an answer may be the fault of a connection
// rather than of the server.
func connectionLost(r topology.Reach) bool {
	return r == topology.ReachBroken || r == topology.ReachTimeout || r == topology.ReachHung
}

// take acquires a place within a time.
func take(ctx context.Context, place chan struct{}, within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case place <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
