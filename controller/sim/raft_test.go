package sim_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"switchyard/store"
	"switchyard/store/ledger"
)

// The clocks of the pretend raft are those of the product's configuration.
const (
	heartbeatTimeout = 600 * time.Millisecond
	leaseTimeout     = 400 * time.Millisecond
	raftTick         = 60 * time.Millisecond
)

// raft is the log that all controllers have committed, with the state after
// each entry. Who leads is known to the controllers, each for itself.
type raft struct {
	states []ledger.State
	term   uint64
}

func (r *raft) committed() ledger.State { return r.states[len(r.states)-1] }

// member is one controller's part in raft.
type member struct {
	leads bool // raft takes it for the leader
	term  uint64
	// office is true once the leader has applied all that was committed before.
	office  bool
	applied int
	// heard is when it last heard of a leader, or voted; majority when a leader
	// last had one behind it.
	heard, majority time.Duration
	// lazy is how much later than it should a leader without a majority steps down.
	lazy    time.Duration
	pending []*proposal
	waiting []*flight
}

// proposal is a command that was sent, and whose fate is open.
type proposal struct {
	cmd ledger.Command
	f   *flight
	c   *controller
}

// raftTurn lets leaders hear of their followers, and followers of leaders.
func (w *world) raftTurn() {
	for _, c := range w.controllers {
		if c.up && c.raft.leads {
			w.lead(c)
		}
	}
	for _, c := range w.controllers {
		if c.up && !c.raft.leads && w.now()-c.raft.heard > heartbeatTimeout+w.between(0, heartbeatTimeout) {
			w.stand(c, false)
		}
	}
	w.after(raftTick, w.raftTurn)
}

func (w *world) lead(c *controller) {
	peers := w.peers(c)
	for _, p := range peers {
		if p.raft.term > c.raft.term {
			w.stepDown(c, "another term has begun")
			return
		}
	}
	if len(peers)+1 <= len(w.controllers)/2 {
		if w.now()-c.raft.majority > leaseTimeout+c.raft.lazy {
			w.stepDown(c, "it has no majority")
		}
		return
	}
	c.raft.majority, c.raft.heard = w.now(), w.now()
	for _, p := range w.controllers {
		// Who cannot answer hears of it all the same.
		if p == c || !p.up || w.cut(c.id, p.id) || p.raft.term > c.raft.term {
			continue
		}
		if p.raft.leads {
			w.stepDown(p, "there is a newer leader")
		}
		p.raft.heard, p.raft.term = w.now(), c.raft.term
		if p.raft.applied < len(w.raft.states) && w.chance(0.7) {
			p.advance()
		}
	}
	pending := c.raft.pending
	c.raft.pending = nil
	for _, p := range pending {
		w.commit(p)
	}
}

// stand is a candidacy. A peer that has heard of a leader of late does not vote,
// unless that leader has asked for it.
func (w *world) stand(c *controller, asked bool) {
	votes := []*controller{c}
	for _, p := range w.peers(c) {
		if asked || w.now()-p.raft.heard > heartbeatTimeout {
			votes = append(votes, p)
		}
	}
	if len(votes) <= len(w.controllers)/2 {
		return
	}
	w.raft.term++
	for _, v := range votes {
		if v.raft.leads {
			w.stepDown(v, "it voted for another")
		}
		v.raft.term, v.raft.heard = w.raft.term, w.now()
	}
	w.stats.elections++
	w.note("%s is elected in term %d", c.name(), w.raft.term)
	// What a leader of before had sent to one of the voters only is committed now.
	for _, old := range w.controllers {
		pending := old.raft.pending
		old.raft.pending = nil
		for _, p := range pending {
			if w.chance(0.5) {
				w.note("%s: committed by its successor", p.f.name)
				w.stats.survivors++
				w.apply(p.cmd)
			}
		}
	}
	c.raft.leads, c.raft.majority, c.raft.lazy = true, w.now(), 0
	if w.chance(0.3) {
		c.raft.lazy = w.between(0, 2*time.Second)
	}
	life, term := c.life, c.raft.term
	w.after(w.between(2*time.Millisecond, 60*time.Millisecond), func() {
		if c.life == life && c.raft.leads && c.raft.term == term {
			c.advance()
			c.takeOffice(true)
		}
	})
}

func (w *world) stepDown(c *controller, why string) {
	if !c.raft.leads {
		return
	}
	w.note("%s leads no longer: %s", c.name(), why)
	w.deposedDuring()
	c.raft.leads = false
	c.takeOffice(false)
	for _, p := range c.raft.pending {
		p.f.end(nil, fmt.Errorf("%s: %w: leadership was lost", p.cmd.Kind(), store.ErrUnknownOutcome))
	}
	for _, f := range c.raft.waiting {
		f.end(nil, store.ErrNotLeader)
	}
	c.raft.waiting = nil
}

// peers are the controllers that c reaches, and that reach it.
func (w *world) peers(c *controller) []*controller {
	var out []*controller
	for _, p := range w.controllers {
		if p != c && p.up && !w.cut(c.id, p.id) && !w.cut(p.id, c.id) {
			out = append(out, p)
		}
	}
	return out
}

// rules reports whether c leads with a majority behind it now.
func (w *world) rules(c *controller) bool {
	if !c.up || !c.raft.leads {
		return false
	}
	n := 1
	for _, p := range w.peers(c) {
		if p.raft.term > c.raft.term {
			return false
		}
		n++
	}
	return n > len(w.controllers)/2
}

// commit has a command applied if its leader can have it committed now.
func (w *world) commit(p *proposal) {
	c := p.c
	switch {
	case !c.up || !c.raft.leads:
		p.f.end(nil, fmt.Errorf("%s: %w: leadership was lost", p.cmd.Kind(), store.ErrUnknownOutcome))
		return
	case !w.rules(c):
		c.raft.pending = append(c.raft.pending, p)
		return
	}
	err := w.apply(p.cmd)
	c.advance()
	w.acted(c, "commit "+p.cmd.Kind())
	if w.chance(w.cfg.deposing) {
		// It is committed, and its leader never learns of it.
		c.raft.pending = nil
		p.f.end(nil, fmt.Errorf("%s: %w: leadership was lost", p.cmd.Kind(), store.ErrUnknownOutcome))
		w.stepDown(c, "it lost its office with the commit")
		return
	}
	w.after(w.latency(), func() { p.f.end(nil, err) })
}

// apply is what every controller will come to.
func (w *world) apply(cmd ledger.Command) error {
	before := w.raft.committed()
	after, _, err := ledger.Apply(before, cmd)
	if err == nil {
		w.cfg.mutant.epoch(before, after, cmd)
	}
	w.raft.states = append(w.raft.states, after)
	w.note("commit %d %s: %v", len(w.raft.states)-1, w.encode(cmd), outcome(nil, err))
	if err == nil {
		w.check.committed(before, after, cmd)
	}
	return err
}

func (w *world) encode(cmd ledger.Command) string {
	text, err := json.Marshal(cmd)
	if err != nil {
		panic(err)
	}
	return cmd.Kind() + " " + string(text)
}

// Propose implements failover.Ledger.
func (c *controller) Propose(ctx context.Context, cmd ledger.Command) error {
	return <-c.ProposeAsync(ctx, cmd)
}

// ProposeAsync implements failover.Ledger.
func (c *controller) ProposeAsync(ctx context.Context, cmd ledger.Command) <-chan error {
	result := make(chan error, 1)
	switch {
	case ctx.Err() != nil || c.crashed():
		result <- fmt.Errorf("%s was not sent: %w", cmd.Kind(), errors.Join(ctx.Err(), errCrashed))
		return result
	case !c.elected():
		result <- store.ErrNotLeader
		return result
	}
	w := c.w
	call := w.register(c.name()+" propose "+w.encode(cmd), false, func(f *flight) {
		p := &proposal{cmd: cmd, f: f, c: c}
		if choice, ok := cmd.(ledger.ChooseWinner); ok && w.cfg.mutant.early {
			w.server(choice.Winner).readOnly = false
			w.check.madeWritable(c, w.server(choice.Winner))
		}
		w.after(w.inOrder(c.id, "raft"), func() { w.commit(p) })
	})
	go func() {
		_, err := w.wait(ctx, call)
		if ctx.Err() != nil && err != nil && !errors.Is(err, store.ErrUnknownOutcome) {
			err = fmt.Errorf("%s: %w: %w", cmd.Kind(), store.ErrUnknownOutcome, ctx.Err())
		}
		result <- err
	}()
	return result
}

// VerifyLeader implements failover.Ledger.
func (c *controller) VerifyLeader(ctx context.Context) error {
	if c.w.cfg.mutant.alwaysLeads {
		return nil
	}
	return c.majority(ctx, "verify")
}

// Barrier implements failover.Ledger.
func (c *controller) Barrier(ctx context.Context) error { return c.majority(ctx, "barrier") }

func (c *controller) majority(ctx context.Context, what string) error {
	if !c.IsLeader() {
		return store.ErrNotLeader
	}
	w := c.w
	_, err := c.ask(ctx, what, true, func(f *flight) {
		w.after(w.latency(), func() {
			if !c.raft.office {
				f.end(nil, store.ErrNotLeader)
				return
			}
			if !w.rules(c) {
				c.raft.waiting = append(c.raft.waiting, f)
				return
			}
			w.after(w.latency(), func() {
				if !c.raft.office {
					f.end(nil, store.ErrNotLeader)
					return
				}
				c.setVerified()
				f.end(nil, nil)
			})
		})
	})
	return err
}
