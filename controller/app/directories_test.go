package app

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
	"switchyard/controller/config"
	"switchyard/controller/console"
	"switchyard/controller/publisher"
	"switchyard/router/routes"
	"switchyard/store"
	"switchyard/store/ledger"
)

// rack is a directory in memory.
type rack struct {
	mu   sync.Mutex
	held routes.Record
}

func (r *rack) Datacenter() string { return "dc1" }

func (r *rack) Publish(_ context.Context, record routes.Record) (*routes.Holding, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := routes.Holding{Record: r.held}
	if was.Record == record {
		return nil, nil
	}
	r.held = record
	return &was, nil
}

func (r *rack) Inspect(context.Context, string) (routes.Holding, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return routes.Holding{Record: r.held}, nil
}

func (r *rack) byHand(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held.Master.Host = host
}

func racked(t *testing.T, c *config.File, s *store.Store, r *rack) directories {
	t.Helper()
	lookup := func(context.Context, string, string) ([]netip.Addr, error) { return nil, &net.DNSError{Err: "none"} }
	p, err := publisher.New(publisher.Config{Datacenter: "dc1", Lookup: lookup, Interval: 20 * time.Millisecond},
		[]publisher.Directory{r}, newShelf(c, carriage{}, s), time.Now, quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return newDirectories(c, carriage{}, s, p)
}

// A change by hand ends in the audit, and both controllers know how they do.
func TestADirectoryChangedByHandIsInTheAudit(t *testing.T) {
	t.Parallel()
	c := file(t, 1, numb+"clusters: [{name: shop, seeds: ['m:3306']}]\n")
	s := open(t, c)
	propose(t, s, ledger.AdoptMaster{Cluster: "shop", Master: key("m"), At: time.Now()})
	r := &rack{}
	d := racked(t, c, s, r)
	audited := func() (found []ledger.AuditEntry) {
		for _, e := range s.State().Audit {
			if e.Kind == ledger.AuditRepair {
				found = append(found, e)
			}
		}
		return found
	}
	eventually(t, "the first confirmation", func() bool { return len(s.State().Confirmations) == 1 })
	r.byHand("db9")
	eventually(t, "the audit", func() bool { return len(audited()) == 1 })
	if e := audited()[0]; e.By != "c1" || e.Cluster != "shop" || e.Action != "put-back-consul" || !strings.Contains(e.Reason, "dc1") ||
		!strings.Contains(e.Reason, "db9:3306") || !strings.Contains(e.Reason, "m:3306") {
		t.Errorf("%+v", e)
	}
	found := d.Look(t.Context(), []string{"shop"})
	if len(found) != 1 || found[0].Holding.Master.Host != "m" || found[0].Datacenter != "dc1" {
		t.Errorf("found %+v", found)
	}
	kept := d.Keeping(t.Context())
	if k := kept["c1"]; len(kept) != 1 || len(k.Records) != 1 || k.Records[0].Repairs != 1 || k.Records[0].ConfirmedAt.IsZero() {
		t.Errorf("kept %+v", kept)
	}
}

// What another controller found comes by the door, and goes to the audit of who
// leads.
func TestTheLeaderIsToldOfDirectories(t *testing.T) {
	t.Parallel()
	c := file(t, 1, numb+"clusters: [{name: shop, seeds: ['m:3306']}]\n")
	s := open(t, c)
	parts := newTasks()
	m, err := newMetrics(newGauge(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	propose(t, s, ledger.AdoptMaster{Cluster: "shop", Master: key("m"), At: time.Now()})
	d := racked(t, c, s, &rack{})
	door := newDoor(c, "boot", console.New(console.Config{Self: c.ID}, raft{s}, nil, nil, nil, nil, nil), newBulletin(c, s, parts), m, register(t, c, s), d, carriage{}, quiet())
	if err := door.Listen(); err != nil {
		t.Fatal(err)
	}
	parts.run("http", door.Run)
	t.Cleanup(func() {
		if err := parts.stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	peers := adminapi.NewPeers(secret)
	eventually(t, "an audit", func() bool {
		k, err := peers.Keeping(t.Context(), c.Controllers[0].HTTP)
		return err == nil && k.Controller == "c1" && k.DataCenter == "dc1" && len(k.Records) == 1 && !k.Records[0].ConfirmedAt.IsZero()
	})
	notice := wire.Notice{Controller: "c2", DataCenter: "dc2", Cluster: "shop", Epoch: routes.Epoch{Generation: 1, Number: 4},
		Was: "epoch 2.1", Held: true, Times: 3}
	if err := peers.Notice(t.Context(), c.Controllers[0].HTTP, notice); err != nil {
		t.Fatal(err)
	}
	audit := s.State().Audit
	if e := audit[len(audit)-1]; e.By != "c2" || e.Action != "hold-consul" || e.Outcome == "" || !strings.Contains(e.Reason, "dc2 holds epoch 2.1") ||
		!strings.Contains(e.Reason, "3 times") {
		t.Errorf("%+v", e)
	}
	// A controller that is not there is an error of its own.
	other := newDirectories(c, carriage{}, s, d.Publisher)
	other.urls = func() map[string]string {
		return map[string]string{"c1": c.Controllers[0].HTTP, "c2": "http://127.0.0.1:1", "c3": c.Controllers[0].HTTP}
	}
	kept := other.Keeping(t.Context())
	if kept["c1"].Err != nil || kept["c2"].Err == nil || kept["c3"].Err == nil || !strings.Contains(kept["c3"].Err.Error(), `answers as controller "c1"`) {
		t.Errorf("kept %+v", kept)
	}
}

// A Consul that was given longer than a push may take is kept by the audits.
func TestAuditsWaitForTheSlowestConsul(t *testing.T) {
	t.Parallel()
	for more, want := range map[string]time.Duration{
		"": time.Second,
		"consul: [{datacenter: dc1, address: 'http://127.0.0.1:1'}, {datacenter: dc2, address: 'http://127.0.0.1:1', timeout: 4s}]\n": 4 * time.Second,
		"consul: [{datacenter: dc1, address: 'http://127.0.0.1:1', timeout: 200ms}]\n":                                                time.Second,
	} {
		if got := auditTimeout(file(t, 1, shop+more)); got != want {
			t.Errorf("%q: %s, want %s", more, got, want)
		}
	}
}
