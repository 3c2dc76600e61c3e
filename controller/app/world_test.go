package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/config"
	"switchyard/controller/gtid"
	"switchyard/controller/observer"
	"switchyard/controller/topology"
	"switchyard/e2e/ports"
	"switchyard/store"
	"switchyard/store/ledger"
)

const secret = "a secret of the tests, 32 bytes long"

// patience is how long a condition may take; it is only used up by failures.
const patience = 90 * time.Second

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func key(name string) topology.Key { return topology.Key{Host: name, Port: 3306} }

// calm lets no leader be deposed because the machine is busy.
const calm = "raft: {heartbeat_timeout: 4s, election_timeout: 4s, leader_lease_timeout: 3500ms}\n"

// file is the configuration of c1, the first of n controllers; more is added to
// it.
func file(t *testing.T, n int, more string) *config.File {
	t.Helper()
	addresses := ports.Free(t, 2*n)
	var text strings.Builder
	fmt.Fprintf(&text, "name: prod\nid: c1\ndatacenter: dc1\ndata_dir: data\nsecret: %s\ncontrollers:\n", secret)
	for i := range n {
		fmt.Fprintf(&text, "  - {id: c%d, raft: %s, http: http://%s, datacenter: dc%d}\n", i+1, addresses[2*i], addresses[2*i+1], i+1)
	}
	text.WriteString("mysql: {user: u, password: p, replication: {user: r, password: p}}\n" + more)
	if n > 1 {
		text.WriteString(calm)
	}
	path := filepath.Join(t.TempDir(), "switchyard.yml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := config.Load(path, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatalf("%v\n%s", err, text.String())
	}
	return f
}

// numb names servers by their addresses, so that nobody is asked for names.
const numb = "discovery: {hostname: none}\n"

const shop = numb + "clusters: [{name: shop, seeds: ['m:3306']}]\n"

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// open opens the ledger of c, and waits until c leads it if it is alone.
func open(t *testing.T, c *config.File) *store.Store {
	t.Helper()
	s, err := openStore(c, carriage{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if len(c.Controllers) == 1 {
		eventually(t, "the ledger", func() bool { return s.IsLeader() && s.State().Generation != 0 })
	}
	return s
}

func propose(t *testing.T, s *store.Store, commands ...ledger.Command) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, cmd := range commands {
		if err := s.Propose(ctx, cmd); err != nil {
			t.Fatal(err)
		}
	}
}

// servers is what the prober sees: pretend database servers.
type servers struct {
	mu   sync.Mutex
	seen map[topology.Key]*topology.Instance
}

func newServers(all ...*topology.Instance) *servers {
	s := &servers{seen: map[topology.Key]*topology.Instance{}}
	for n, i := range all {
		i.Flavor, i.ServerID, i.UUID = gtid.MySQL, uint32(n+1), fmt.Sprint("uuid-", i.Key.Host)
		i.ReportHost, i.ReportPort, i.Hostname = i.Key.Host, i.Key.Port, i.Key.Host
		s.seen[i.Key] = i
	}
	return s
}

// replica is a server that replicates from another one.
func replica(name, source string) *topology.Instance {
	return &topology.Instance{Key: key(name), ReadOnly: true, Replication: &topology.Replication{
		Source: key(source), IO: topology.ThreadRunning, SQL: topology.ThreadRunning,
	}}
}

type refusal struct{ error }

func (refusal) Reach() topology.Reach { return topology.ReachRefused }

func (s *servers) Probe(_ context.Context, address topology.Key) (*topology.Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.seen[address]; i != nil {
		out := *i
		return &out, nil
	}
	return nil, refusal{errors.New("nothing listens")}
}

func (s *servers) ProbeFresh(ctx context.Context, address topology.Key) (*topology.Instance, error) {
	return s.Probe(ctx, address)
}

func (s *servers) Hold(ctx context.Context, _ topology.Key) (topology.TripEnd, error) {
	<-ctx.Done()
	return topology.TripEnd{}, ctx.Err()
}

func (s *servers) Forget(topology.Key) {}

func (s *servers) kill(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, key(name))
}

// watch runs an observer of pretend servers under the names that c gives them;
// the function returned ends it.
func watch(t *testing.T, c *config.File, s *servers) (*observer.Observer, func()) {
	t.Helper()
	namer, err := newNamer(c)
	if err != nil {
		t.Fatal(err)
	}
	cfg := observer.Config{ID: "c1", Seeds: namer.Seeds(), ProbeInterval: 100 * time.Millisecond}
	o := observer.New(cfg, s, namer, time.Now, quiet())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	return o, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the observer ended with %v", err)
		}
	}
}

// serve opens a controller's door at bind until the test ends.
func serve(t *testing.T, cfg adminapi.Config, svc adminapi.Service) {
	t.Helper()
	cfg.Secret = secret
	door := adminapi.New(cfg, svc, quiet())
	if err := door.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- door.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
