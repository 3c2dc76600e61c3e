package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"switchyard/router/routes"
	"switchyard/sidecar/fence"
	"switchyard/sidecar/lease"
	"switchyard/sidecar/protocol"
)

func (g *Guard) who(s Status) protocol.Who {
	who := g.cfg.Who
	who.UUID = s.UUID
	return who
}

// renewAt asks one controller for a grant, until ctx ends. A call that hangs
// ends by its own deadline, and holds up no other's.
func (g *Guard) renewAt(ctx context.Context, controller string) {
	for ctx.Err() == nil {
		s := g.Status()
		q := protocol.Renew{
			Who: g.who(s), State: s.State, Holding: s.Holding, Epoch: s.Epoch,
			FenceMS: int((g.cfg.Lease.Longest() + pace + time.Millisecond - 1) / time.Millisecond), Tied: s.Tied,
			Controllers: g.cfg.Lease.Controllers, Peers: g.cfg.Lease.Peers,
		}
		begun, sent := time.Now(), g.clock()
		call, cancel := context.WithTimeout(ctx, answerIn)
		reply, err := g.wire.Renew(call, controller, q)
		cancel()
		if err == nil && reply.Controller != controller {
			err = fmt.Errorf("it is the controller %q: correct controllers[].http", reply.Controller)
		}
		g.tell(ctx, func() { g.hear(controller, sent, reply, err) })
		wait := g.Status().every
		if s.Holding == protocol.Fenced {
			wait /= hurry // a promotion may wait for it
		}
		pause(ctx, wait-time.Since(begun), g.renew[controller])
	}
}

// hear takes a controller's answer.
func (g *Guard) hear(controller string, sent lease.Instant, reply protocol.RenewReply, err error) {
	if err != nil {
		g.note(controller, "does not answer: "+err.Error())
		return
	}
	g.learn(reply)
	switch {
	case reply.Refusal == "":
		err = g.lease.Granted(lease.Grant{
			Controller: controller, Sent: sent, Duration: time.Duration(reply.GrantMS) * time.Millisecond, Epoch: reply.Epoch,
		})
		if err == nil {
			g.note(controller, "grants")
		}
	case reply.Refusal == protocol.NotReady:
		// It has forgotten what it granted, and keeps to it all the same: no answer.
		g.note(controller, "is not ready: "+reply.Detail)
	default:
		err = g.lease.Refused(lease.Refusal{
			Controller: controller, Sent: sent, Epoch: reply.Epoch, Deposed: reply.Refusal == protocol.Deposed,
		})
		if err == nil {
			g.note(controller, fmt.Sprintf("refuses: %s %s", reply.Refusal, reply.Detail))
		}
	}
	if err != nil {
		g.note(controller, err.Error())
	}
}

// learn notes the epochs that a controller speaks of.
func (g *Guard) learn(reply protocol.RenewReply) {
	now := g.shelf.content()
	newer := reply.Epoch.Compare(now.Known) > 0
	granted := reply.Refusal == "" && reply.Epoch.Compare(now.Granted) > 0
	if newer || granted {
		g.shelf.put(true, func(c *content) {
			if newer {
				c.Known = reply.Epoch
			}
			if granted {
				c.Granted = reply.Epoch
			}
		})
	}
}

// note logs what somebody says when it differs from what he said before.
func (g *Guard) note(name, text string) {
	if g.heard[name] != text {
		g.heard[name] = text
		g.log.Info("heard", "from", name, "says", text)
	}
}

// askPeer asks one peer whether its server follows, while a lease is held.
// Nobody waits until the controllers are silent: their refusals would then be
// heard before any answer of a peer's.
func (g *Guard) askPeer(ctx context.Context, peer string) {
	for ctx.Err() == nil {
		begun := time.Now()
		if s, epoch := g.Status(), g.shelf.content().Granted; s.held && !epoch.IsZero() {
			sent := g.clock()
			call, cancel := context.WithTimeout(ctx, answerIn)
			reply, err := g.wire.Follow(call, peer, protocol.Follow{Who: g.who(s), Epoch: epoch})
			cancel()
			if err == nil && (reply.Sidecar != peer || reply.Cluster != g.cfg.Who.Cluster) {
				err = fmt.Errorf("it is the sidecar %q of the cluster %q: correct database.peers[].http", reply.Sidecar, reply.Cluster)
			}
			g.tell(ctx, func() { g.answered(peer, sent, reply, err) })
		}
		pause(ctx, g.Status().every-time.Since(begun), nil)
	}
}

// answered takes a peer's answer.
func (g *Guard) answered(peer string, sent lease.Instant, reply protocol.FollowReply, err error) {
	if err == nil {
		err = g.lease.Answered(lease.Answer{Peer: peer, Sent: sent, Follows: reply.Follows})
	}
	switch {
	case err != nil:
		g.note(peer, "does not answer: "+err.Error())
	case reply.Follows:
		g.note(peer, "follows")
	default:
		g.note(peer, "does not follow: "+string(reply.No))
	}
}

// report tells one controller of the end of the process, for a bounded time.
func (g *Guard) report(ctx context.Context, controller string, pid int, exit fence.Exit, noticed lease.Instant) {
	ctx, cancel := context.WithTimeoutCause(ctx, reportFor, errors.New("it was not told in time"))
	defer cancel()
	kinds := map[fence.Kind]protocol.ExitKind{
		fence.Vanished: protocol.Vanished, fence.Clean: protocol.Clean, fence.Failed: protocol.Failed, fence.Killed: protocol.Killed,
	}
	for wait := 50 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, time.Second) {
		q := protocol.Exit{
			Who: g.who(g.Status()), Kind: kinds[exit.Kind], Status: exit.Status, PID: pid,
			AgoMS: int(time.Duration(g.clock()-noticed) / time.Millisecond),
		}
		call, cancel := context.WithTimeout(ctx, answerIn)
		_, err := g.wire.Exit(call, controller, q)
		cancel()
		if err == nil {
			return
		}
		g.log.Debug("the end of the server is not reported", "to", controller, "error", err)
		pause(ctx, wait, nil)
	}
}

func newer(a, b routes.Epoch) bool { return a.Compare(b) > 0 }
