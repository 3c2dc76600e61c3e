package sim_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"switchyard/router/routes"
)

// proxy is a pretend HAProxy: it leads to one server or to nobody, knows no
// epoch, and boots leading to nobody.
type proxy struct {
	w             *world
	name          string
	running, hung bool
	leads, first  *server
	epoch         routes.Epoch
	queue         []func()
}

// live reports whether p passes connections on, or would as soon as it thaws.
func (p *proxy) live() bool { return p.running }

// stuck has the second proxy go back, when it is told of a new master, to where
// it led first.
func (p *proxy) stuck(table routes.Table) bool {
	if table.Writer == nil || p.name != "p2" {
		return false
	}
	if p.first == nil {
		p.first = p.w.byHost(table.Writer.Host)
	}
	p.leads, p.epoch = p.first, table.Epoch
	return true
}

// remote is one proxy as one controller reaches it.
type remote struct {
	c *controller
	p *proxy
}

// Name implements fleet.Proxy.
func (r remote) Name() string { return r.p.name }

// Cluster implements fleet.Proxy.
func (r remote) Cluster() string { return cluster }

// Apply implements fleet.Proxy.
func (r remote) Apply(ctx context.Context, table routes.Table) (routes.Proof, error) {
	return r.talk(ctx, fmt.Sprintf("apply %s %s", describe(table), r.p.name), func() {
		r.c.w.acted(r.c, "apply "+r.p.name)
		if m := r.c.w.cfg.mutant; m.confirms && r.p.leads != nil || m.misroutes && r.p.stuck(table) {
			return
		}
		r.p.leads, r.p.epoch = nil, table.Epoch
		if table.Writer != nil {
			r.p.leads = r.c.w.byHost(table.Writer.Host)
		}
	}, table)
}

// Read implements fleet.Proxy.
func (r remote) Read(ctx context.Context, table routes.Table) (routes.Proof, error) {
	return r.talk(ctx, fmt.Sprintf("read %s %s", describe(table), r.p.name), nil, table)
}

func describe(t routes.Table) string {
	if t.Writer == nil {
		return fmt.Sprintf("%d/%d=nobody", t.Epoch.Number, t.Revision)
	}
	return fmt.Sprintf("%d/%d=%s", t.Epoch.Number, t.Revision, t.Writer.Host)
}

func (r remote) talk(ctx context.Context, what string, do func(), table routes.Table) (routes.Proof, error) {
	result, err := r.c.ask(ctx, what, false, func(f *flight) {
		w := r.c.w
		if w.lost() {
			w.note("%s: the request is lost", f.name)
			w.fail(f)
			return
		}
		// Two connections to one proxy are served in the order in which they came.
		w.after(w.inOrder(r.c.id, r.p.name), func() { r.arrive(f, do, table) })
	})
	if err != nil {
		return routes.Proof{}, err
	}
	return result.(routes.Proof), nil
}

func (r remote) arrive(f *flight, do func(), table routes.Table) {
	w := r.c.w
	switch {
	case w.cut(r.c.id, r.p.name):
		return
	case !r.p.running:
		w.answer(f, r.c.id, r.p.name, nil, fmt.Errorf("%s: %w", r.p.name, routes.ErrNotRunning))
		return
	case r.p.hung:
		if do != nil && !f.left() {
			r.p.queue = append(r.p.queue, do)
		}
		return
	}
	if do != nil {
		do()
	}
	proof := routes.Proof{Serving: r.p.leads != nil, Holds: true}
	switch {
	case w.cfg.mutant.confirms || w.cfg.mutant.misroutes:
	case table.Writer == nil:
		proof.Holds = r.p.leads == nil
	default:
		proof.Holds = r.p.leads != nil && r.p.leads.key.Host == table.Writer.Host
	}
	if r.p.leads != nil {
		proof.Address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(r.p.leads.id)}), r.p.leads.key.Port)
	}
	w.note("%s: holds %t", f.name, proof.Holds)
	if w.lost() {
		w.note("%s: the reply is lost", f.name)
		w.fail(f)
		return
	}
	w.answer(f, r.c.id, r.p.name, proof, nil)
}

// consul is a pretend directory, which refuses a lower epoch.
type consul struct {
	epoch  routes.Epoch
	master string
}

// Push implements executor.Receivers.
func (d directory) Push(ctx context.Context, table routes.Table) []routes.Receipt {
	w := d.w
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := d.ask(ctx, "publish "+describe(table), false, func(f *flight) {
		w.after(w.latency(), func() {
			if w.cut(d.id, "consul") {
				return
			}
			var err error
			switch {
			case table.Writer == nil:
				err = errors.New("nobody is named")
			case table.Epoch.Compare(w.consul.epoch) < 0:
				err = &routes.HigherEpochError{Cluster: cluster, Held: w.consul.epoch, Offered: table.Epoch}
			default:
				w.consul = consul{table.Epoch, table.Writer.Host}
			}
			w.note("%s: %v", f.name, outcome(nil, err))
			w.answer(f, d.id, "consul", nil, err)
		})
	})
	if err != nil {
		return []routes.Receipt{{Receiver: "dc1", Answer: routes.Unknown, Err: err}}
	}
	return []routes.Receipt{{Receiver: "dc1", Answer: routes.Confirmed}}
}

// directory is the Consul as one controller reaches it.
type directory struct{ *controller }
