package probe

import (
	"context"
	"errors"
	"time"

	"switchyard/controller/topology"
	"switchyard/integrations/mysql/link"
)

// tripwireKeepAlive is how often the kernel asks whether the other host is
// there: nothing else notices one that vanished from under an idle query.
const tripwireKeepAlive = 5 * time.Second

// Hold keeps an idle query open on the server at address, on a connection of
// its own, until it ends, and says how. A killed process breaks it, but so does
// KILL CONNECTION everywhere, and a clean shutdown of MariaDB; a clean shutdown of
// MySQL and KILL QUERY end it in order. It returns an error and no end where the
// query could not be started (an *Error), or was ended by ctx or by Close.
func (p *Prober) Hold(ctx context.Context, address topology.Key) (topology.TripEnd, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(p.ctx, cancel)
	defer stop()

	cfg := p.link()
	cfg.KeepAlive = tripwireKeepAlive
	conn, err := link.Dial(ctx, cfg, address)
	if err != nil {
		return topology.TripEnd{}, err
	}
	defer conn.Close()
	p.held(address, conn)
	defer p.ended(address, conn)
	err = conn.Exec(ctx, conn.Dialect.Tripwire())
	end := topology.TripEnd{Kind: topology.TripOrderly, At: p.cfg.Now()}
	switch {
	case ctx.Err() != nil:
		return topology.TripEnd{}, ctx.Err()
	case err != nil:
		end.Error = err.Error()
		var failed *link.Error
		if link.ServerError(err) == 0 && errors.As(err, &failed) {
			end.Kind = topology.TripBroken
		}
	}
	return end, nil
}

// nudgeTime is how long the host of a server that does not answer is given to
// acknowledge a few bytes.
const nudgeTime = 50 * time.Millisecond

func (p *Prober) held(address topology.Key, conn *link.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wires[address] = conn
}

func (p *Prober) ended(address topology.Key, conn *link.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wires[address] == conn {
		delete(p.wires, address)
	}
}

// refine tells a server that hangs on a living host from a host that does not
// answer. New connections alone cannot: once a frozen server's queue of them is
// full, the kernel drops further ones. The tripwire is open all the time.
func (p *Prober) refine(address topology.Key, err error) error {
	var failed *link.Error
	if !errors.As(err, &failed) || failed.Reach() != topology.ReachTimeout {
		return err
	}
	p.mu.Lock()
	conn := p.wires[address]
	p.mu.Unlock()
	if conn == nil || !conn.Nudge(nudgeTime) {
		return err
	}
	return failed.Hung()
}
