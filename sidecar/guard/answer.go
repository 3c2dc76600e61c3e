package guard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"switchyard/controller/adminapi/wire"
	"switchyard/sidecar/protocol"
)

// Follow answers another sidecar whether the server here receives from its
// server now.
func (g *Guard) Follow(ctx context.Context, q protocol.Follow) (protocol.FollowReply, error) {
	book, s := g.shelf.content(), g.Status()
	reply := protocol.FollowReply{Who: g.who(s), Epoch: book.Known}
	switch word := book.word(q.Server); {
	case q.Cluster != g.cfg.Who.Cluster || strings.EqualFold(q.Server, g.cfg.Who.Server):
		reply.No = protocol.Elsewhere
	case newer(word, q.Epoch):
		reply.No, reply.Epoch = protocol.Parted, word
	case newer(book.Known, q.Epoch):
		reply.No = protocol.NewerEpoch
	default:
		if !g.receives(ctx, q.Who) {
			reply.No = protocol.NotReceiving
			break
		}
		// A word that was given while the server was looked at counts.
		if word := g.shelf.content().word(q.Server); newer(word, q.Epoch) {
			reply.No, reply.Epoch = protocol.Parted, word
		}
	}
	reply.Follows = reply.No == ""
	return reply, nil
}

// receives tells whether the server here receives from who's, by a fresh look.
func (g *Guard) receives(ctx context.Context, who protocol.Who) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	source, err := g.local.Source(ctx)
	if err != nil || !source.Receiving {
		return false
	}
	if source.UUID != "" && who.UUID != "" {
		return source.UUID == who.UUID
	}
	return g.sameServer(ctx, source.Server, who.Server)
}

// sameServer compares two addresses, of which the one is what a replica was
// told and the other what the controllers call the server.
func (g *Guard) sameServer(ctx context.Context, a, b string) bool {
	if strings.EqualFold(a, b) {
		return true
	}
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB {
		return false
	}
	resolve := g.cfg.Resolve
	if resolve == nil {
		resolve = net.DefaultResolver.LookupHost
	}
	all, err := resolve(ctx, hostA)
	if err != nil {
		return false
	}
	others, err := resolve(ctx, hostB)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(all, func(ip string) bool { return slices.Contains(others, ip) })
}

// Part gives a controller the word that the server here follows another no
// more, once that is on the disk.
func (g *Guard) Part(ctx context.Context, q protocol.Part) (protocol.PartReply, error) {
	if q.Cluster != g.cfg.Who.Cluster || strings.EqualFold(q.Server, g.cfg.Who.Server) {
		return protocol.PartReply{}, wire.NewError(wire.BadRequest, fmt.Sprintf("this sidecar stands beside %s of the cluster %s",
			g.cfg.Who.Server, g.cfg.Who.Cluster), "ask the sidecars beside the other servers of the cluster")
	}
	reply := protocol.PartReply{Who: g.who(g.Status())}
	sequence := g.shelf.put(true, func(c *content) {
		if newest := c.newest(); newer(newest, q.Epoch) {
			reply.Epoch = newest
			return
		}
		c.give(q.Server, q.Epoch)
		reply.Parted, reply.Epoch = true, q.Epoch
	})
	if !reply.Parted {
		return reply, nil
	}
	if err := g.shelf.wait(ctx, sequence); err != nil {
		return protocol.PartReply{}, errors.Join(errors.New("no word is given"), err)
	}
	g.log.Info("gave the word to part", "controller", q.Controller, "server", q.Server, "epoch", q.Epoch.String())
	return reply, nil
}
