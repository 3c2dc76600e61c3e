package observer

import (
	"context"
	"fmt"

	"switchyard/controller/topology"
)

// place returns the server to which a successful attempt belongs. Mostly that
// is the one that was meant; but a server may turn out to have another name,
// to be known already, or to have taken over an address. The lock is held.
func (o *Observer) place(s *server, a attempt) *server {
	found := a.seen.Instance
	if found.Key == s.key {
		return s
	}
	other := o.servers[found.Key]
	mine := s.last == nil || same(s.last, found)
	switch {
	case other == nil && mine:
		o.rename(s, found.Key)
		return s
	case other == nil:
		o.ensure(found.Key)
		if other = o.servers[found.Key]; other == nil {
			return s // too many servers: this one is at least not lost
		}
		other.address = a.address
		return other
	case other.last != nil && !same(other.last, found) && other.address != a.address && mine:
		// It only claimed the name; the owner of the address is found now.
		o.rename(other, other.address)
		o.rename(s, found.Key)
		return s
	case mine:
		o.merge(s, other)
		return other
	default:
		return other
	}
}

// misled records that the address of s now leads to another server, as a
// virtual address does; s is looked for under its own name from now on.
func (o *Observer) misled(s *server, a attempt, owner *server) {
	if a.turn < s.turn {
		return
	}
	s.turn = a.turn
	if s.address != s.key {
		s.address = s.key
		o.changed()
	}
	seen := a.seen
	seen.Key, seen.Instance, seen.Reach = s.key, nil, topology.ReachError
	seen.Error = fmt.Sprintf("%s answers as %s", a.address, owner.key)
	o.store(s, seen)
}

// Intervals, in failed probes, of what is done for servers that do not answer.
const (
	matchEvery  = 10
	forgetEvery = 600
)

// tidy looks what a server is that does not answer: another name of one that
// is known, or one that nobody names any more.
func (o *Observer) tidy(ctx context.Context, s *server) {
	o.mu.Lock()
	failures, key, unseen := s.failures, s.key, s.last == nil
	var others []topology.Key
	if failures > 0 && s.remembered == "" && unseen && failures%matchEvery == 1 {
		for _, other := range o.servers {
			if other != s && other.counts() {
				others = append(others, other.key)
			}
		}
	}
	needed := s.remembered != ""
	o.mu.Unlock()
	if needed || failures == 0 {
		return
	}
	if len(others) > 0 {
		matchCtx, cancel := context.WithTimeout(ctx, o.cfg.ProbeTimeout)
		defer cancel()
		if o.namer.Match(matchCtx, key, others) {
			o.mu.Lock()
			defer o.mu.Unlock()
			if name, _ := o.namer.Resolve(key); o.servers[name] != nil && o.servers[name] != s {
				o.merge(s, o.servers[name])
			}
			return
		}
	}
	if failures%forgetEvery == 0 {
		o.mu.Lock()
		defer o.mu.Unlock()
		if !s.seed && !o.named(s) {
			o.log.Info("server is forgotten: it does not answer, and nobody names it", "instance", s.key)
			o.drop(s)
		}
	}
}

// named reports whether any other server names s.
func (o *Observer) named(s *server) bool {
	for _, other := range o.servers {
		if other == s || other.last == nil {
			continue
		}
		names := other.last.Replicas
		if r := other.last.Replication; r != nil {
			names = append(names[:len(names):len(names)], r.Source)
		}
		for _, name := range names {
			if key, _ := o.namer.Resolve(name); key == s.key {
				return true
			}
		}
	}
	return false
}

// forget tells the prober when a server is dropped, unless another is probed
// at the same address.
func (o *Observer) forget(s *server) {
	o.mu.Lock()
	used, address := !s.gone, s.address
	for _, other := range o.servers {
		used = used || other.address == address
	}
	o.mu.Unlock()
	if !used {
		o.prober.Forget(address)
	}
}
