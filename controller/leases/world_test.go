package leases_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/leases"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/sidecar/protocol"
	"switchyard/store/ledger"
)

const (
	lease = 5 * time.Second
	fence = 2 * time.Second
)

// world is some controllers with one ledger (each may be behind), one clock that
// only the test moves, and the sidecars of a cluster.
type world struct {
	t *testing.T

	mu    sync.Mutex
	now   time.Time
	state ledger.State
	// behind are the controllers' own states, where they are not the newest.
	behind map[string]ledger.State
	books  map[string]*book
	// cut are the controllers and the servers' sidecars that do not answer; newer
	// are sidecars that know a newer epoch.
	cut, newer map[string]bool
	registers  map[string]*leases.Register
	parted     []topology.Key
	// aside is why controllers grant nothing, by id.
	aside map[string]string
	// lease is that of the controllers that are started from now on.
	lease time.Duration
	// passes is what happens with each pause of the promoter.
	passes func()
	// doors are the controllers' addresses.
	doors map[string]string
}

type book struct {
	mu   sync.Mutex
	data []byte
	fail error
}

func (b *book) Read() ([]byte, error) { return b.data, nil }

func (b *book) Write(data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail == nil {
		b.data = data
	}
	return b.fail
}

func key(name string) topology.Key { return topology.Key{Host: name, Port: 3306} }

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, lease: lease, now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), behind: map[string]ledger.State{}, books: map[string]*book{},
		cut: map[string]bool{}, newer: map[string]bool{}, registers: map[string]*leases.Register{},
		doors: map[string]string{"c1": "c1", "c2": "c2", "c3": "c3"},
	}
	w.must(ledger.Bootstrap{ID: "test", Generation: 1})
	w.must(ledger.AdoptMaster{Cluster: "shop", Master: key("m"), UUID: "uuid-m", At: w.now})
	w.must(ledger.RememberServers{Cluster: "shop", At: w.now, Servers: []ledger.ServerName{{Key: key("a")}, {Key: key("b")}}})
	for _, id := range []string{"c1", "c2", "c3"} {
		w.books[id] = &book{}
		w.start(id)
	}
	w.pass(lease + fence) // so that none of them has just been started
	return w
}

type applied struct {
	w  *world
	id string
}

func (a applied) State() ledger.State {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	if s, ok := a.w.behind[a.id]; ok {
		return s
	}
	return a.w.state
}

func (a applied) Leader() (string, bool) { return "c1", true }

// start starts a controller, or starts it again.
func (w *world) start(id string) {
	w.t.Helper()
	r, err := leases.New(leases.Config{
		Self: id, Run: id + w.clock().Format("150405"), Lease: w.lease, Fence: fence, Now: w.clock, Controllers: slices.Compact([]string{"c1", "c2", "c3", max(id, "c3")}),
		Aside: func() string {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.aside[id]
		},
		Sidecars: map[topology.Key]string{key("m"): "m", key("a"): "a", key("b"): "b"},
	}, applied{w, id}, w.books[id], slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	w.registers[id] = r
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) must(cmd ledger.Command) {
	w.t.Helper()
	next, _, err := ledger.Apply(w.state, cmd)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = next
}

// claim claims a recovery of the master and returns its epoch.
func (w *world) claim(kind ledger.Kind) routes.Epoch {
	w.t.Helper()
	c := w.state.Clusters["shop"]
	w.must(ledger.ClaimRecovery{
		Cluster: "shop", RecoveryKind: kind, Finding: "DeadMaster", Old: c.Master, ExpectEpoch: c.Epoch, Leader: "c1", At: w.now,
	})
	return w.state.Clusters["shop"].Epoch
}

func (w *world) recovery() string { return w.state.Clusters["shop"].Recovery }

// renewal is what the sidecar of a server says, changed by the test.
func renewal(server string, change func(*protocol.Renew)) protocol.Renew {
	q := protocol.Renew{
		Who:   protocol.Who{Sidecar: "side-" + server, Run: "r1", Boot: "b1", Cluster: "shop", Server: key(server).String()},
		State: protocol.Writable, Holding: protocol.Held, FenceMS: 1500, Tied: true,
		Controllers: []string{"c3", "c2", "c1"},
	}
	for _, name := range []string{"m", "a", "b"} {
		if name != server {
			q.Peers = append(q.Peers, "side-"+name)
		}
	}
	if change != nil {
		change(&q)
	}
	return q
}

func (w *world) renew(id string, q protocol.Renew) protocol.RenewReply {
	w.t.Helper()
	reply, err := w.registers[id].Renew(context.Background(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := protocol.Encode(reply); err != nil {
		w.t.Fatalf("a sidecar would not read this: %v", err)
	}
	return reply
}

// all renews for a server with all controllers.
func (w *world) all(server string, change func(*protocol.Renew)) {
	w.t.Helper()
	for id := range w.registers {
		w.renew(id, renewal(server, change))
	}
}

func (w *world) word(id string, epoch routes.Epoch) wire.WordReply {
	w.t.Helper()
	reply, err := w.registers[id].Word(context.Background(), wire.WordRequest{Asker: "c1", Cluster: "shop", Server: key("m"), Epoch: epoch})
	if err != nil {
		w.t.Fatal(err)
	}
	return reply
}

// Word implements leases.Peers: addresses are ids.
func (w *world) Word(ctx context.Context, base string, q wire.WordRequest) (wire.WordReply, error) {
	w.mu.Lock()
	cut, r := w.cut[base], w.registers[base]
	w.mu.Unlock()
	if cut || r == nil {
		return wire.WordReply{}, errors.New("no route to host")
	}
	return r.Word(ctx, q)
}

// Part implements leases.Sidecars: addresses are servers' names.
func (w *world) Part(_ context.Context, base string, p protocol.Part) (protocol.PartReply, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut[base] {
		return protocol.PartReply{}, errors.New("no route to host")
	}
	reply := protocol.PartReply{Who: renewal(base, nil).Who, Parted: !w.newer[base], Epoch: p.Epoch}
	if reply.Parted {
		w.parted = append(w.parted, key(base))
	}
	return reply, nil
}

func (w *world) promoter() *leases.Promoter {
	return leases.NewPromoter(w.registers["c1"], func() map[string]string { return w.doors }, w, w,
		func(ctx context.Context, d time.Duration) error {
			w.pass(d)
			if w.passes != nil {
				w.passes()
			}
			return ctx.Err()
		})
}

func lead(context.Context) error { return nil }
