package sim_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"switchyard/controller/topology"
)

// accounts is what the other controllers have answered.
type accounts struct {
	views []topology.View
	errs  []error
}

// Ask implements failover.Witnesses.
func (c *controller) Ask(ctx context.Context, _ string, master topology.Key, keys []topology.Key) ([]topology.View, []error) {
	w := c.w
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Host
	}
	result, err := c.ask(ctx, "ask about "+strings.Join(names, ","), true, func(f *flight) {
		q := &question{w: w, f: f, c: c, master: master, keys: keys, got: map[string]topology.View{}}
		for _, p := range w.controllers {
			if p != c {
				q.put(p)
			}
		}
		w.after(askTimeout, q.end)
	})
	if err != nil {
		return nil, []error{err}
	}
	a := result.(accounts)
	return slices.Clone(a.views), a.errs
}

// question is one that is put to all other controllers.
type question struct {
	w      *world
	f      *flight
	c      *controller
	master topology.Key
	keys   []topology.Key
	got    map[string]topology.View
	over   bool
}

// put asks one peer, which looks anew.
func (q *question) put(p *controller) {
	w := q.w
	w.after(w.latency(), func() {
		if !p.up || w.cut(q.c.id, p.id) || w.lost() {
			return
		}
		w.look(p, q.keys, func(seen map[topology.Key]topology.Observation) {
			view := topology.View{Observer: p.id, At: p.clock(), Observations: seen}
			w.after(w.latency(), func() {
				if p.up && !w.cut(p.id, q.c.id) && !w.lost() {
					q.take(view)
				}
			})
		})
	})
}

func (q *question) take(view topology.View) {
	if q.w.cfg.mutant.echo {
		view.Observations = q.c.Snapshot(cluster, q.master).Views[0].Observations
	}
	q.got[view.Observer] = view
	dead := 0
	for _, v := range q.got {
		if v.Observations[q.master].Reach.Dead() {
			dead++
		}
	}
	if len(q.got) == len(q.w.controllers)-1 {
		q.end()
	} else if dead >= len(q.w.controllers)/2 {
		q.w.after(askLinger, q.end)
	}
}

func (q *question) end() {
	if q.over {
		return
	}
	q.over = true
	var a accounts
	for _, p := range q.w.controllers {
		if view, ok := q.got[p.id]; ok {
			a.views = append(a.views, view)
		} else if p.id != q.c.id {
			a.errs = append(a.errs, fmt.Errorf("controller %s: no answer", p.id))
		}
	}
	q.w.note("%s: %d answered", q.f.name, len(a.views))
	q.f.end(a, nil)
}
