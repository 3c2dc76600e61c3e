//go:build servers

package scenarios_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/invariants"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/e2e/trial"
	"switchyard/e2e/workload"
)

// apartBy is what lies between two datacenters, each way: 80 ms there and back.
const apartBy = 40 * time.Millisecond

// wideLease is longer than that of sites on one network: a renewal takes longer, and so may what keeps a busy machine.
const wideLease = 8 * time.Second

const dc1, dc2, dc3 = "dc1", "dc2", "dc3"

// continent is a site of three datacenters, with an application in each behind the proxy there, and with one beside the
// master that knows its address only. All is watched from where nothing is cut off.
type continent struct {
	*site.Site
	t         *testing.T
	ctx       context.Context //nolint:containedctx // it is the test's
	apps      map[string]*workload.Workload
	inside    *workload.Workload
	consumers []*invariants.Consumer
	observer  *invariants.Observer
	first     *stack.Server
	stop      context.CancelFunc
	group     sync.WaitGroup
}

// newContinent starts one, under leases, with a policy for a master that is cut off; it is judged in the end.
func newContinent(t *testing.T, partition string, o site.Options) *continent {
	t.Helper()
	o.Datacenters = &site.Datacenters{Delay: apartBy}
	o.Recovery = fmt.Sprintf("{clusters: ['*'], partition: %s, anti_flap: 1s, cascade: {limit: 0}}", partition)
	o.DatabaseSidecars = &site.DatabaseSidecars{Renew: 300 * time.Millisecond, Lease: wideLease, Tie: true}
	o.Extra = "raft: {profile: wan}\n" + o.Extra
	ctx, s := startSiteFor(t, 8*time.Minute, o)
	w := &continent{Site: s, t: t, ctx: ctx, first: s.DB.Master, apps: map[string]*workload.Workload{}}
	w.leased(s.DB.Master)
	w.must(workload.CreateTable(ctx, s.DB.Master.Root(), stack.AppSchema))
	running, stop := context.WithCancel(context.Background())
	w.stop = stop
	w.populate(running)
	t.Cleanup(w.end)
	w.writing(dc1, dc2, dc3)
	return w
}

// populate starts the applications, the consumers of the directories, and who watches.
func (w *continent) populate(running context.Context) {
	w.t.Helper()
	app := func(first int, host, address string) *workload.Workload {
		account := stack.AppAccount()
		load, err := workload.New(workload.Config{Address: address, User: account.User, Password: account.Password,
			Schema: stack.AppSchema, FirstWorker: first, Workers: 4, Rate: 24, Timeout: 2 * time.Second, Dial: w.Net.Host(host).Dial})
		w.must(err)
		w.group.Go(func() { _ = load.Run(running) }) // it ends with an error only where its context did
		return load
	}
	for i, p := range w.Proxies {
		dc := w.Datacenter(p.Name)
		w.apps[dc] = app(100*(i+1), dc, p.Listen)
		for _, consistent := range []bool{false, true} {
			consul := w.ConsulOf(p.Name)
			c := invariants.NewConsumer(fmt.Sprintf("the consumer in %s (consistent: %t)", dc, consistent), consul.Address(),
				"mysql/master/"+site.ClusterName, consistent, w.Net.Host(dc).Dial)
			w.consumers = append(w.consumers, c)
			w.group.Go(func() { c.Run(running) })
		}
	}
	w.inside = app(0, w.Datacenter(w.first.Name()), w.first.Key())
	account := stack.AppAccount()
	var err error
	w.observer, err = invariants.NewObserver(invariants.Config{Targets: trial.Targets(w.Site), User: account.User,
		Password: account.Password, Interval: 50 * time.Millisecond, Timeout: 2 * time.Second})
	w.must(err)
	w.group.Go(func() { w.observer.Run(running) })
}

// end stops all of it, and judges: what the applications were told, what the proxies led to, what the directories said.
func (w *continent) end() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	healed := w.Net.Heal(ctx) // a test that failed leaves its cuts
	var list []wire.Recovery
	err := site.Until(ctx, "who the masters were is known", func(ctx context.Context) (err error) {
		list, err = w.Recoveries(ctx)
		return err
	})
	w.stop()
	w.group.Wait()
	if err = errors.Join(err, healed); err != nil {
		w.t.Errorf("who the masters were is not known: %v", err)
		return
	}
	masters := []uint32{w.first.ServerID()}
	for _, rec := range slices.Backward(list) {
		if winner, err := w.Server(rec.Winner.String()); err == nil && rec.Announced && winner.ServerID() != masters[len(masters)-1] {
			masters = append(masters, winner.ServerID())
		}
	}
	v := invariants.Judge(invariants.Evidence{Samples: w.observer.Samples(), Writes: w.acked(), Masters: masters})
	for _, c := range w.consumers {
		seen, reads := c.Sightings()
		v.Violations = append(v.Violations, invariants.JudgeSightings(c.Name(), seen)...)
		if reads < 20 {
			v.Violations = append(v.Violations, fmt.Sprintf("%s has read %d times only", c.Name(), reads))
		}
	}
	if v.DualWritableTime() > 0 {
		v.Violations = append(v.Violations, fmt.Sprintf("two servers were writable: %v", v.DualWritable))
	}
	w.t.Logf("masters %v\n%s", masters, v)
	if !v.OK() {
		w.t.Error("an invariant was violated")
	}
}

// acked are the acknowledged writes of all applications.
func (w *continent) acked() []workload.Write {
	all := w.inside.Acked()
	for _, load := range w.apps {
		all = append(all, load.Acked()...)
	}
	return all
}

func (w *continent) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *continent) until(within time.Duration, what string, check func(context.Context) error) {
	w.t.Helper()
	until(w.t, w.ctx, within, what, check)
}

// writing waits until the applications of these datacenters have some more writes acknowledged.
func (w *continent) writing(dcs ...string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 60*time.Second)
	defer cancel()
	for _, dc := range dcs {
		if err := w.apps[dc].WaitWriting(ctx, 20); err != nil {
			w.t.Fatalf("the application in %s: %v", dc, err)
		}
	}
}

// lead has a controller lead.
func (w *continent) lead(id string) {
	w.t.Helper()
	w.until(60*time.Second, id+" leads", func(ctx context.Context) error {
		status, err := w.Status(ctx)
		if err != nil || status.Leader == id {
			return err
		}
		client, err := w.Client(10 * time.Second)
		if err != nil {
			return err
		}
		var said wire.Done
		err = client.Post(ctx, wire.PathTransferLeader, wire.TransferRequest{To: id, Asker: wire.Asker{By: "test", Reason: "test"}}, &said)
		return errors.Join(err, fmt.Errorf("%s leads", status.Leader))
	})
}

// off are all ways between a datacenter and the others; the test still reaches all.
func off(dc string) (ways []stack.Way) {
	for _, other := range []string{dc1, dc2, dc3} {
		if other != dc {
			ways = append(ways, stack.Between(dc, other)...)
		}
	}
	return ways
}

func (w *continent) lose(ways ...stack.Way) { w.t.Helper(); lose(w.t, w.ctx, w.Site, ways...) }

func (w *continent) heal() { w.t.Helper(); heal(w.t, w.ctx, w.Site) }

// standing is the cluster's master and epoch, as the leader has them.
func (w *continent) standing() wire.Cluster {
	w.t.Helper()
	var cluster wire.Cluster
	w.until(30*time.Second, "the leader tells who is master", func(ctx context.Context) (err error) {
		cluster, err = w.Cluster(ctx)
		return err
	})
	return cluster
}

// recoveries are all that there were.
func (w *continent) recoveries() (list []wire.Recovery) {
	w.t.Helper()
	w.until(30*time.Second, "the leader tells what was recovered", func(ctx context.Context) (err error) {
		list, err = w.Recoveries(ctx)
		return err
	})
	return list
}

// same holds that the cluster's master and epoch are what they were, and that nothing was recovered since.
func (w *continent) same(before wire.Cluster) {
	w.t.Helper()
	if now := w.standing(); now.Master != before.Master || now.Epoch != before.Epoch || now.Withdrawn {
		w.t.Errorf("%+v became %+v", before, now)
	}
	list := w.recoveries()
	if len(list) > 0 && list[0].Epoch.Compare(before.Epoch) > 0 {
		w.t.Errorf("something was recovered: %+v", list[0])
	}
}

// unmoved holds that for longer than a lease, applications of these datacenters write and the master is what it was.
func (w *continent) unmoved(before wire.Cluster, writing ...string) {
	w.t.Helper()
	w.goOn(writing...)
	w.same(before)
}

// goOn holds that applications of these datacenters write for longer than a lease.
func (w *continent) goOn(dcs ...string) {
	w.t.Helper()
	for begun := time.Now(); time.Since(begun) < wideLease+2*time.Second; {
		w.writing(dcs...)
	}
}

// converged waits until all is well everywhere: each controller follows the leader, each proxy leads to the master, each
// datacenter's directory is right, every server but the master is its replica, and the applications write.
func (w *continent) converged() {
	w.t.Helper()
	w.until(120*time.Second, "the controllers, proxies and directories agree", func(ctx context.Context) error {
		status, err := w.Status(ctx)
		if err != nil {
			return err
		}
		for _, c := range status.Controllers {
			if c.State != "leader" && c.State != "follower" {
				return fmt.Errorf("%s is %s", c.ID, c.State)
			}
		}
		for _, r := range append(status.Proxies, status.Consul...) {
			if !r.Confirmed {
				return fmt.Errorf("%s: %s", r.Name, r.Problem)
			}
		}
		if list, err := w.Recoveries(ctx); err != nil || len(list) > 0 && list[0].Open() {
			return fmt.Errorf("a recovery is under way: %v", err)
		}
		return w.alike(ctx)
	})
	master, err := w.Server(w.standing().Master.String())
	w.must(err)
	for _, server := range w.Servers() {
		if server == master {
			continue
		}
		w.until(120*time.Second, server.Key()+" stands where it should", func(ctx context.Context) error {
			return standing(ctx, w.Site, server, string(wire.RoleReplica), string(wire.RoleQuarantined))
		})
	}
	w.leased(master)
	w.writing(dc1, dc2, dc3)
}

// leased waits until the leader may count on a server's lease.
func (w *continent) leased(server *stack.Server) {
	w.t.Helper()
	holdsLeaseWithin(w.t, w.ctx, 90*time.Second, w.Site, server)
}

// alike holds that `switchyard kv` shows all directories right, and that the consumers have seen it.
func (w *continent) alike(ctx context.Context) error {
	var kv wire.KV
	if err := w.Get(ctx, wire.PathKV+"?cluster="+site.ClusterName, &kv); err != nil {
		return err
	}
	if len(kv.Entries) != len(w.Consuls) {
		return fmt.Errorf("%d directories: %+v", len(kv.Entries), kv)
	}
	for _, e := range kv.Entries {
		if e.State != wire.KVRight || e.Master != kv.Entries[0].Master || e.Epoch != kv.Entries[0].Epoch || len(e.Writers) != 1 {
			return fmt.Errorf("%+v", e)
		}
	}
	for _, c := range w.consumers {
		seen, err := c.Last()
		if err != nil {
			return err
		}
		if seen.Master != kv.Entries[0].Master || seen.Epoch != kv.Entries[0].Epoch {
			return fmt.Errorf("%s has read %s of epoch %s", c.Name(), seen.Master, seen.Epoch)
		}
	}
	return nil
}

// by is the same site, asked through these controllers only.
func (w *continent) by(ids ...string) *continent {
	view := *w.Site
	view.Controllers = slices.DeleteFunc(slices.Clone(w.Controllers), func(c *site.Controller) bool { return !slices.Contains(ids, c.ID) })
	return &continent{Site: &view, t: w.t, ctx: w.ctx, apps: w.apps, inside: w.inside, consumers: w.consumers, observer: w.observer, first: w.first}
}
