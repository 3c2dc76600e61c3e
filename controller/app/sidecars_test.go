package app

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/router/routes"
	"switchyard/sidecar/call"
	"switchyard/sidecar/door"
	"switchyard/sidecar/protocol"
	"switchyard/store/ledger"
)

const behindSidecar = `
clusters: [{name: shop, seeds: ['m:3306']}]
sidecars: {secret: between-them}
haproxy: [{name: ha1, cluster: shop, sidecar: "http://%[1]s"}]
proxysql: [{name: ps1, cluster: shop, sidecar: "http://%[1]s"}]
`

// TestFleetThroughASidecar pushes through a sidecar's real door.
func TestFleetThroughASidecar(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	answer := func(_ context.Context, a protocol.Apply) (protocol.Applied, error) {
		reply := protocol.Applied{Sidecar: "edge", Run: "r", Proxy: a.Proxy, Epoch: a.Table.Epoch, Revision: a.Table.Revision}
		if reply.NotRunning = down.Load() && a.Proxy == "ps1"; !reply.NotRunning {
			reply.Proof.Holds = true
		}
		return reply, nil
	}
	d := door.New(door.Config{Listen: "127.0.0.1:0", Secret: "between-them"}, quiet())
	d.Handle(protocol.PathApply, door.Answer(answer))
	d.Handle(protocol.PathRead, door.Answer(func(ctx context.Context, r protocol.Read) (protocol.Applied, error) {
		return answer(ctx, protocol.Apply(r))
	}))
	if err := d.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()

	c := file(t, 1, fmt.Sprintf(behindSidecar, d.Addr()))
	s := open(t, c)
	propose(t, s, ledger.AdoptMaster{Cluster: "shop", Master: key("m"), At: time.Now()})
	client := call.New(c.Sidecars.Secret.Reveal())
	defer client.Wait()
	f, err := newFleet(c, s, client, quiet())
	if err != nil {
		t.Fatal(err)
	}
	table := routes.Table{Cluster: "shop", Epoch: s.State().Clusters["shop"].Epoch, Revision: 1, Writer: &routes.Server{Host: "m", Port: 3306}}
	want := func(what string, ha1, ps1 routes.Answer) {
		t.Helper()
		receipts := f.Push(t.Context(), table)
		if len(receipts) != 2 || receipts[0].Receiver != "ha1" || receipts[0].Answer != ha1 || receipts[1].Answer != ps1 {
			t.Errorf("%s: %+v", what, receipts)
		}
	}
	want("both follow", routes.Confirmed, routes.Confirmed)
	down.Store(true)
	want("one is proven not to run", routes.Confirmed, routes.Down)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	want("nobody answers", routes.Unknown, routes.Unknown)
	// A sidecar with another secret is not heard.
	strange := line{call.New("another")}
	defer strange.Wait()
	other := door.New(door.Config{Listen: "127.0.0.1:0", Secret: "between-them"}, quiet())
	other.Handle(protocol.PathApply, door.Answer(answer))
	if err := other.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop = context.WithCancel(t.Context())
	go func() { ended <- other.Run(ctx) }()
	_, err = strange.Apply(t.Context(), "http://"+other.Addr().String(), protocol.Apply{Controller: "c1", Proxy: "ha1", Table: table})
	var refused *wire.Error
	if !errors.As(err, &refused) || refused.Code != wire.Unauthorized {
		t.Errorf("with another secret: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// TestSidecarsWatchAtTheDoor watches a controller's real door over its ledger,
// and is told of a change as soon as it is committed.
func TestSidecarsWatchAtTheDoor(t *testing.T) {
	t.Parallel()
	c := file(t, 1, "clusters: [{name: shop, seeds: ['m:3306']}]\nsidecars: {secret: between-them}\n")
	s := open(t, c)
	parts := newTasks()
	m, err := newMetrics(newGauge(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	d := newDoor(c, "boot", nil, newBulletin(c, s, parts), m, register(t, c, s), directories{}, carriage{}, quiet())
	if err := d.Listen(); err != nil {
		t.Fatal(err)
	}
	parts.run("http", d.Run)
	client := call.New("between-them")
	defer client.Wait()
	watch := protocol.Watch{Sidecar: "edge", Run: "r", Datacenter: "dc1", Known: []protocol.Known{{Cluster: "shop"}}, WaitMS: 20_000}
	told := make(chan protocol.Tables, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		reply, err := call.Post[protocol.Tables](ctx, client, "http://"+d.Addr().String(), protocol.PathWatch, watch)
		if err != nil {
			t.Error(err)
		}
		told <- reply
	}()
	propose(t, s, ledger.AdoptMaster{Cluster: "shop", Master: key("m"), At: time.Now()})
	if reply := <-told; len(reply.Tables) != 1 || reply.Tables[0].Writer == nil || reply.Tables[0].Writer.Host != "m" || reply.Leader != c.ID {
		t.Errorf("%+v", reply)
	}
	if err := parts.stop(t.Context()); err != nil {
		t.Error(err)
	}
}
