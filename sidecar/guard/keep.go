package guard

import (
	"context"
	"errors"
	"reflect"
	"time"

	"switchyard/sidecar/fence"
	"switchyard/sidecar/lease"
	"switchyard/sidecar/protocol"
)

// stale is how old the last look may be until the server counts as silent.
const stale = 2 * time.Second

// keep decides, whenever something was heard or seen, and when it is time. It
// waits for nothing else: neither for the disk, nor for a fence.
func (g *Guard) keep(ctx context.Context) {
	defer g.callOff()
	for ctx.Err() == nil {
		wait := g.decide(ctx)
		timer := time.NewTimer(wait)
		select {
		case event := <-g.events:
			event()
		case <-g.shelf.done:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// decide asks the lease and has it carried out. It returns when to do so again
// at the latest: a timer stands still while the host is suspended, and so it is
// a short one.
func (g *Guard) decide(ctx context.Context) time.Duration {
	now := g.clock()
	if g.server != lease.Gone && now-g.seenAt > lease.Instant(stale) {
		g.server = lease.Silent
	}
	d := g.lease.Decide(now, g.server)
	g.remember()
	if d.Action != g.was {
		g.log.Info("the lease", "action", d.Action.String(), "was", g.was.String(), "reason", d.Reason)
		g.was = d.Action
	}
	switch d.Action {
	case lease.Fence:
		g.fence(ctx, d.By, now)
	case lease.Kill:
		g.kill(now)
	case lease.Hold, lease.Unleased:
		g.callOff()
	}
	g.bind(d, now)
	g.publish(d)
	switch left := time.Duration(d.Next - now); {
	case d.Action == lease.Kill:
		return 5 * time.Millisecond
	case d.Next == lease.Never || left > tick:
		return tick
	default:
		return max(left, 0)
	}
}

// remember hands the lease's book to the shelf. What is in force longer than
// what stands there may be lost: the server is then fenced earlier.
func (g *Guard) remember() {
	next, last := g.lease.Book(), g.shelf.content().Lease
	if reflect.DeepEqual(next, last) {
		return
	}
	g.shelf.put(!sameTerms(next, last), func(c *content) { c.Lease = next })
}

// sameTerms tells whether two books differ in nothing but what was heard.
func sameTerms(a, b lease.Book) bool {
	return a.Boot == b.Boot && a.Held == b.Held && a.For == b.For && reflect.DeepEqual(a.Fence, b.Fence)
}

// publish sets what the controllers are told. A lease counts as held only once
// a restart would know of it.
func (g *Guard) publish(d lease.Decision) {
	disk := g.shelf.onDisk()
	next := Status{
		Action: d.Action, Reason: d.Reason, Until: d.Until, UUID: g.uuid, State: state(g.server), Epoch: g.shelf.content().Known,
		Holding: protocol.Unleased, every: g.every(), held: d.Action == lease.Hold, Tied: g.tie != nil && g.process != nil && g.tie.Holds(g.process),
	}
	switch book := g.lease.Book(); {
	case d.Action == lease.Hold && disk.Lease.Held && disk.Lease.Fence == nil && disk.Lease.Boot == book.Boot && disk.Lease.For <= book.For:
		next.Holding = protocol.Held
	case d.Action != lease.Hold && d.Action != lease.Unleased, disk.Lease.Fence != nil:
		next.Holding = protocol.Fenced
	}
	// A server that was made a replica again has readers, who are no old clients.
	next.cut = g.server == lease.ReadOnly && !g.replica && (d.Action == lease.Fenced || g.deposed())
	g.mu.Lock()
	last := g.status
	g.status = next
	g.mu.Unlock()
	if last.Holding != next.Holding || last.State != next.State || last.Tied != next.Tied {
		for _, c := range g.renew {
			wake(c)
		}
	}
	if next.cut && !last.cut {
		wake(g.cut)
	}
}

// every is how often to ask, so that three questions are asked in what a grant
// leaves before a fence begins, however seldom it is configured.
func (g *Guard) every() time.Duration {
	left := g.lease.Book().For - g.cfg.Lease.Longest()
	if left <= 0 {
		return g.cfg.Renew // nothing was granted yet
	}
	return max(min(g.cfg.Renew, left/3), tick)
}

// deposed tells whether a majority of the controllers says that another server
// is the master.
func (g *Guard) deposed() bool {
	n := 0
	for _, v := range g.lease.Book().Voices {
		if v.Deposed && v.For == 0 {
			n++
		}
	}
	return n > len(g.cfg.Lease.Controllers)/2
}

func state(s lease.Server) protocol.State {
	switch s {
	case lease.Writable:
		return protocol.Writable
	case lease.ReadOnly:
		return protocol.ReadOnly
	case lease.Starting:
		return protocol.Starting
	case lease.Gone:
		return protocol.Gone
	default:
		return protocol.Silent
	}
}

// bind says until when the server may live without another word from here.
func (g *Guard) bind(d lease.Decision, now lease.Instant) {
	if g.tie == nil {
		return
	}
	at := lease.Never
	switch d.Action {
	case lease.Hold:
		at = d.Until.Add(-g.cfg.Lease.Kill)
	case lease.Fence:
		at = d.By
	case lease.Kill:
		at = now
	}
	g.tie.Bind(g.process, at)
}

// fence begins a fence unless one is under way.
func (g *Guard) fence(ctx context.Context, by, now lease.Instant) {
	if g.fencing != nil || g.process == nil || now < g.graceUntil {
		return
	}
	victim, left := g.process, time.Duration(by-now)
	work, cancel := context.WithCancel(ctx)
	g.fencing = cancel
	g.workers.Go(func() {
		defer cancel()
		result, err := g.hands.Fence(work, victim, time.Now().Add(left))
		g.tell(ctx, func() { g.fenced(victim, result, err) })
	})
}

// fenced notes what a fence did.
func (g *Guard) fenced(victim Process, result fence.Result, err error) {
	g.fencing = nil
	switch {
	case errors.Is(err, context.Canceled):
	case err != nil:
		g.log.Error("the fence failed", "pid", victim.PID(), "error", err)
	default:
		g.log.Warn("fenced", "pid", victim.PID(), "killed", result.Killed, "why", result.Why, "ended", result.Ended, "left", result.Left)
	}
	if err == nil && result.Outcome == fence.ReadOnly && g.process == victim {
		g.server, g.seenAt = lease.ReadOnly, g.clock()
		g.fencedAt = g.seenAt
	}
	wake(g.look)
}

// kill kills, again and again until the process is seen to be gone.
func (g *Guard) kill(now lease.Instant) {
	if now-g.killedAt < lease.Instant(20*time.Millisecond) {
		return
	}
	first := now-g.killedAt > lease.Instant(time.Second)
	g.killedAt = now
	if g.process == nil {
		if first {
			g.log.Error("the server has to be killed, and its process is not found")
		}
		wake(g.look)
		return
	}
	err := g.process.Kill()
	if first {
		g.log.Warn("the server is killed", "pid", g.process.PID(), "error", err)
	}
}

// callOff ends a fence that is under way, and kills nobody.
func (g *Guard) callOff() {
	if g.fencing != nil {
		g.fencing()
	}
}
