package sim_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/executor"
	"switchyard/controller/leases"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/sidecar/lease"
	"switchyard/sidecar/protocol"
)

// The times of the leases.
const (
	leaseTime  = 10 * time.Second
	fenceTime  = 600 * time.Millisecond
	killTime   = 300 * time.Millisecond
	renewEvery = 500 * time.Millisecond
	sideTick   = 100 * time.Millisecond
)

// sidecar stands beside a server and is tied to it: the real lease decides, and
// what it decides is done at once, or not while a commit waits or the server
// hangs.
type sidecar struct {
	w       *world
	s       *server
	lease   *lease.Lease
	boots   int
	was     lease.Action
	parted  map[string]routes.Epoch // by whom it follows no more
	granted routes.Epoch
}

// book is what a controller has on its disk.
type book struct{ data []byte }

func (b *book) Read() ([]byte, error)   { return b.data, nil }
func (b *book) Write(data []byte) error { b.data = data; return nil }

func (w *world) newSidecar(s *server) *sidecar {
	side := &sidecar{w: w, s: s, parted: map[string]routes.Epoch{}}
	side.boot(lease.Book{})
	w.after(w.between(0, renewEvery), side.renew)
	w.after(w.between(0, sideTick), side.turn)
	return side
}

func (d *sidecar) boot(b lease.Book) {
	cfg := lease.Config{Controllers: []string{"c1", "c2", "c3"}, Fence: fenceTime, Kill: killTime}
	for _, o := range d.w.servers {
		if o != d.s {
			cfg.Peers = append(cfg.Peers, o.key.Host)
		}
	}
	l, err := lease.New(cfg, b, fmt.Sprint(d.boots))
	if err != nil {
		panic(err)
	}
	d.lease, d.was = l, lease.Unleased
	if b.Held {
		d.was = lease.Fenced
	}
}

func (d *sidecar) now() lease.Instant { return lease.Instant(time.Hour + d.w.now()) }

func (d *sidecar) state() (lease.Server, protocol.State) {
	switch {
	case !d.s.up:
		return lease.Gone, protocol.Gone
	case d.s.frozen:
		return lease.Silent, protocol.Silent
	case d.s.readOnly:
		return lease.ReadOnly, protocol.ReadOnly
	}
	return lease.Writable, protocol.Writable
}

// turn decides, and does what was decided.
func (d *sidecar) turn() {
	w := d.w
	w.after(sideTick, d.turn)
	if d.s.hostDown {
		if d.was != lease.Unleased || d.lease.Book().Held {
			d.boots++
			d.boot(d.lease.Book())
		}
		return
	}
	server, _ := d.state()
	decision := d.lease.Decide(d.now(), server)
	if decision.Action != d.was {
		w.note("sidecar of %s: %s: %s", d.s.key.Host, decision.Action, decision.Reason)
		d.was = decision.Action
	}
	switch decision.Action {
	case lease.Fence:
		if d.s.alive() && len(d.s.waiting) == 0 {
			d.s.readOnly = true
		}
	case lease.Kill:
		if d.s.up {
			end := w.crash(d.s, false)
			w.refresh()
			w.after(w.between(time.Second, 3*time.Second), func() { end(); w.refresh() })
		}
	}
}

func (d *sidecar) holding() protocol.Holding {
	switch d.was {
	case lease.Hold:
		return protocol.Held
	case lease.Unleased:
		return protocol.Unleased
	}
	return protocol.Fenced
}

// renew asks all controllers and, while a lease is held, all other sidecars.
func (d *sidecar) renew() {
	w := d.w
	w.after(renewEvery, d.renew)
	if d.s.hostDown {
		return
	}
	_, state := d.state()
	q := protocol.Renew{
		Who:   protocol.Who{Sidecar: "side-" + d.s.key.Host, Run: "r", Boot: fmt.Sprint(d.boots), Cluster: cluster, Server: d.s.key.String()},
		State: state, Holding: d.holding(), FenceMS: int((fenceTime + killTime).Milliseconds()), Tied: true,
		Controllers: []string{"c1", "c2", "c3"},
	}
	for _, o := range w.sidecars {
		if o != d {
			q.Peers = append(q.Peers, "side-"+o.s.key.Host)
		}
	}
	sent, boots := d.now(), d.boots
	for n := range w.controllers {
		w.trip2(d.s.key.Host, func() (string, func()) {
			c := w.controllers[n]
			if !c.up {
				return c.id, nil
			}
			reply, err := c.register.Renew(context.Background(), q)
			return c.id, func() {
				if err == nil && boots == d.boots && !d.s.hostDown {
					d.hear(c.id, sent, reply)
				}
			}
		}, w.controllers[n].id)
	}
	for _, o := range w.sidecars {
		if o == d || d.granted.IsZero() || d.was != lease.Hold {
			continue
		}
		w.trip2(d.s.key.Host, func() (string, func()) {
			if o.s.hostDown {
				return o.s.key.Host, nil
			}
			follows := o.s.source == d.s && o.s.io && o.s.connected && o.s.flowing && o.parted[d.s.key.Host].Compare(d.granted) <= 0
			return o.s.key.Host, func() {
				if boots == d.boots {
					_ = d.lease.Answered(lease.Answer{Peer: o.s.key.Host, Sent: sent, Follows: follows})
				}
			}
		}, o.s.key.Host)
	}
}

// trip2 takes a question to somebody and the answer back, if nothing is between
// them then.
func (w *world) trip2(from string, there func() (string, func()), to string) {
	if w.lost() {
		return
	}
	w.after(w.latency(), func() {
		if w.cut(from, to) {
			return
		}
		_, back := there()
		if back == nil || w.lost() {
			return
		}
		w.after(w.latency(), func() {
			if !w.cut(from, to) {
				back()
			}
		})
	})
}

func (d *sidecar) hear(c string, sent lease.Instant, r protocol.RenewReply) {
	var err error
	switch r.Refusal {
	case "":
		err = d.lease.Granted(lease.Grant{Controller: c, Sent: sent, Duration: time.Duration(r.GrantMS) * time.Millisecond, Epoch: r.Epoch})
		if r.Epoch.Compare(d.granted) > 0 {
			d.granted = r.Epoch
		}
	case protocol.NotReady:
	default:
		err = d.lease.Refused(lease.Refusal{Controller: c, Sent: sent, Epoch: r.Epoch, Deposed: r.Refusal == protocol.Deposed})
	}
	if err != nil {
		panic(err)
	}
}

// report has the sidecar of a server tell all controllers that its process is gone.
func (w *world) report(s *server) {
	for _, d := range w.sidecars {
		if d.s != s {
			continue
		}
		e := protocol.Exit{
			Who:  protocol.Who{Sidecar: "side-" + s.key.Host, Run: "r", Boot: fmt.Sprint(d.boots), Cluster: cluster, Server: s.key.String()},
			Kind: protocol.Killed, Status: 9, PID: 1,
		}
		for n := range w.controllers {
			w.trip2(s.key.Host, func() (string, func()) {
				if c := w.controllers[n]; c.up {
					_, _ = c.register.Exit(context.Background(), e)
				}
				return "", nil
			}, w.controllers[n].id)
		}
	}
}

// granting gives a controller its register, and its promoter.
func (c *controller) granting() {
	w := c.w
	if !w.cfg.leases {
		return
	}
	if w.books[c.id] == nil {
		w.books[c.id] = &book{}
	}
	at := map[topology.Key]string{}
	for _, s := range w.servers {
		at[s.key] = s.key.Host
	}
	r, err := leases.New(leases.Config{Self: c.id, Run: c.name(), Lease: leaseTime, Fence: 2 * time.Second, Controllers: []string{"c1", "c2", "c3"}, Sidecars: at, Now: time.Now},
		heard{c}, w.books[c.id], slog.New(slog.DiscardHandler))
	if err != nil {
		panic(err)
	}
	peers := map[string]string{}
	for _, id := range []string{"c1", "c2", "c3"} {
		if id != c.id {
			peers[id] = id
		}
	}
	c.register = r
	c.promoter = leases.NewPromoter(r, func() map[string]string { return peers }, c, c, func(ctx context.Context, d time.Duration) error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// outlasting is what the executor outlasts leases with; nil without any.
func (c *controller) outlasting() executor.Leases {
	switch {
	case c.promoter == nil:
		return nil
	case c.w.cfg.mutant.impatient:
		return impatient{c.promoter}
	}
	return c.promoter
}

// impatient does not wait for the end of a lease.
type impatient struct{ *leases.Promoter }

func (impatient) Outlast(context.Context, string, topology.Key, time.Time, routes.Epoch, func(context.Context) error) (string, error) {
	return "it did not wait", nil
}

// heard gives a controller the words of leases.Ledger.
type heard struct{ *controller }

// Leader implements leases.Ledger.
func (heard) Leader() (string, bool) { return "", false }

// Word implements leases.Peers.
func (c *controller) Word(ctx context.Context, base string, q wire.WordRequest) (wire.WordReply, error) {
	result, err := c.ask(ctx, fmt.Sprintf("word of %s at %s", base, q.Epoch), true, func(f *flight) {
		c.w.trip2(c.id, func() (string, func()) {
			for _, p := range c.w.controllers {
				if p.id == base && p.up {
					reply, err := p.register.Word(context.Background(), q)
					return base, func() { f.end(reply, err) }
				}
			}
			return base, func() { f.end(nil, errors.New("connection refused")) }
		}, base)
	})
	if err != nil {
		return wire.WordReply{}, err
	}
	return result.(wire.WordReply), nil
}

// Part implements leases.Sidecars.
func (c *controller) Part(ctx context.Context, base string, p protocol.Part) (protocol.PartReply, error) {
	result, err := c.ask(ctx, fmt.Sprintf("part %s at %s", base, p.Epoch), true, func(f *flight) {
		c.w.trip2(c.id, func() (string, func()) {
			for _, d := range c.w.sidecars {
				if d.s.key.Host != base || d.s.hostDown {
					continue
				}
				of, _ := topology.ParseKey(p.Server)
				if p.Epoch.Compare(d.parted[of.Host]) > 0 {
					d.parted[of.Host] = p.Epoch
				}
				reply := protocol.PartReply{Who: protocol.Who{Sidecar: "side-" + d.s.key.Host, Cluster: cluster, Server: d.s.key.String()}, Parted: true, Epoch: p.Epoch}
				return base, func() { f.end(reply, nil) }
			}
			return base, nil
		}, base)
	})
	if err != nil {
		return protocol.PartReply{}, err
	}
	return result.(protocol.PartReply), nil
}

// outlived wants a master that is cut off from everybody since before it was given
// up to have been stopped by its sidecar when another one is made writable.
func (k *checker) outlived(c *controller, s *server, old *server) {
	if !k.w.cfg.leases || old == s || !old.alive() || old.readOnly || !k.cutOff || old.thawed > k.claimedAt {
		return
	}
	for _, o := range k.w.controllers {
		if !k.w.cut(o.id, old.key.Host) {
			return
		}
	}
	k.broken(ruleOutlast, "%s is writable, cut off, while %s is made writable by %s", old.key.Host, s.key.Host, c.name())
}
