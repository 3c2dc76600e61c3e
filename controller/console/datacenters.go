package console

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/store/ledger"
)

// Datacenters implements adminapi.Datacenters.
func (c *Console) Datacenters(context.Context) (wire.DataCenters, error) {
	found := map[string]*wire.DataCenter{}
	at := func(name string) *wire.DataCenter {
		if found[name] == nil {
			found[name] = &wire.DataCenter{DataCenter: name, Controllers: []string{}, Masters: []string{}}
		}
		return found[name]
	}
	leader, _ := c.ledger.Leader()
	for _, one := range c.cfg.Controllers() {
		if one.DataCenter != "" {
			dc := at(one.DataCenter)
			dc.Controllers = append(dc.Controllers, one.ID)
			dc.Leads = dc.Leads || one.ID == leader
		}
	}
	state := c.ledger.State()
	for _, i := range c.observer.Instances() {
		if i.Last == nil || i.Last.DataCenter == "" || i.Cluster == "" {
			continue
		}
		dc := at(i.Last.DataCenter)
		dc.Servers++
		if state.Clusters[i.Cluster].Master == i.Key {
			dc.Masters = append(dc.Masters, i.Cluster)
		}
	}
	for _, down := range downs(state, c.cfg.Now()) {
		at(down.DataCenter).Down = &down
	}
	out := wire.DataCenters{DataCenters: []wire.DataCenter{}}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		slices.Sort(found[name].Masters)
		out.DataCenters = append(out.DataCenters, *found[name])
	}
	return out, nil
}

// DatacenterDown implements adminapi.Datacenters.
func (c *Console) DatacenterDown(ctx context.Context, r wire.DatacenterDownRequest) (wire.Done, error) {
	dc, err := c.datacenter(ctx, r.DataCenter)
	if err != nil {
		return wire.Done{}, err
	}
	now := c.cfg.Now()
	out := wire.Done{Action: "datacenter-down", By: cmp.Or(r.By, nobody), Changed: true, Until: now.Add(time.Duration(r.Duration))}
	cmd := ledger.MarkDatacenterDown{Datacenter: r.DataCenter, By: out.By, Reason: r.Reason, Until: out.Until, At: now}
	if err := c.propose(ctx, cmd); err != nil {
		return wire.Done{}, err
	}
	out.Sentence = fmt.Sprintf("%s is marked down until %s (%s): no controller there leads while another one can, and no server there is "+
		"promoted unasked", r.DataCenter, stamp(out.Until), r.Duration)
	if len(dc.Masters) > 0 {
		out.Sentence += fmt.Sprintf("; the master of %s is there: `switchyard switchover` moves it", strings.Join(dc.Masters, ", "))
	}
	return out, nil
}

// DatacenterUp implements adminapi.Datacenters. A mark can be taken back when
// nothing is known of its datacenter any more.
func (c *Console) DatacenterUp(ctx context.Context, r wire.DatacenterUpRequest) (wire.Done, error) {
	out := wire.Done{Action: "datacenter-up", By: cmp.Or(r.By, nobody)}
	down, marked := c.ledger.State().Down(c.cfg.Now())[r.DataCenter]
	if !marked {
		if _, err := c.datacenter(ctx, r.DataCenter); err != nil {
			return wire.Done{}, err
		}
		out.Sentence = fmt.Sprintf("%s is not marked down", r.DataCenter)
		return out, nil
	}
	cmd := ledger.MarkDatacenterUp{Datacenter: r.DataCenter, By: out.By, Reason: r.Reason, At: c.cfg.Now()}
	if err := c.propose(ctx, cmd); err != nil {
		return wire.Done{}, err
	}
	out.Changed = true
	out.Sentence = fmt.Sprintf("%s is no longer marked down; it was by %s: %s", r.DataCenter, down.By, down.Reason)
	return out, nil
}

// datacenter finds one that somebody named: a name that is misspelt would keep
// nobody from anything.
func (c *Console) datacenter(ctx context.Context, name string) (wire.DataCenter, error) {
	all, err := c.Datacenters(ctx)
	if err != nil {
		return wire.DataCenter{}, err
	}
	var known []string
	for _, dc := range all.DataCenters {
		if dc.DataCenter == name {
			return dc, nil
		}
		known = append(known, dc.DataCenter)
	}
	return wire.DataCenter{}, wire.NewError(wire.NotFound, fmt.Sprintf("nothing is known in a datacenter %q", name),
		"those that are known: "+cmp.Or(strings.Join(known, ", "), "none"))
}

// downs are the marks that count at now, by name.
func downs(state ledger.State, now time.Time) []wire.DataCenterDown {
	var out []wire.DataCenterDown
	for _, d := range state.Down(now) {
		out = append(out, wire.DataCenterDown{DataCenter: d.Datacenter, By: d.By, Reason: d.Reason, Begun: d.Begun, Until: d.Until})
	}
	slices.SortFunc(out, func(a, b wire.DataCenterDown) int { return cmp.Compare(a.DataCenter, b.DataCenter) })
	return out
}

// place is the datacenter of a controller; empty where it is not known.
func (c *Console) place(id string) string {
	for _, one := range c.cfg.Controllers() {
		if one.ID == id {
			return one.DataCenter
		}
	}
	return ""
}

// misplaced says that the leader is in a datacenter that is marked down, if so.
func (c *Console) misplaced(leader string) string {
	place := c.place(leader)
	down, marked := c.ledger.State().Down(c.cfg.Now())[place]
	if leader == "" || place == "" || !marked {
		return ""
	}
	return fmt.Sprintf("%s leads, and its datacenter %s is marked down by %s until %s: it hands leadership to a voter elsewhere as soon as one can take it",
		leader, place, down.By, stamp(down.Until))
}
