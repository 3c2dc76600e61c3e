package adminapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
)

const secret = "a secret of the tests"

// patience bounds what comes sooner; it is only used up by failures.
const patience = 90 * time.Second

// service is a Service made of functions; one that a test does not set fails
// the call.
type service struct {
	operations
	leader     bool
	leaderID   string
	ready      error
	status     func(context.Context) (wire.Status, error)
	clusters   func(context.Context) ([]wire.Cluster, error)
	topology   func(context.Context, string) (wire.Topology, error)
	proxies    func(context.Context, string) (wire.Proxies, error)
	kv         func(context.Context, string) (wire.KV, error)
	recoveries func(context.Context, string) ([]wire.Recovery, error)
	recovery   func(context.Context, string) (wire.Recovery, error)
	explain    func(context.Context, string) (wire.Explanation, error)
	switchover func(context.Context, wire.SwitchoverRequest) (wire.Recovery, error)
	witness    func(context.Context, wire.WitnessRequest) (wire.WitnessReply, error)
	voice      func(context.Context) (wire.Voice, error)
	members    func(context.Context) (wire.Controllers, error)
	backup     func(context.Context, bool) ([]byte, error)
	places     wire.DataCenters
}

// operations answers each request by what do returns for it: a wire.Done, a
// wire.Recovery or an error.
type operations struct {
	do    func(request any) (any, error)
	audit func(wire.AuditQuery) (wire.Audit, error)
}

func answered[A any](o operations, request any) (A, error) {
	value, err := o.do(request)
	if err != nil {
		var none A
		return none, err
	}
	return value.(A), nil
}

func (o operations) Audit(_ context.Context, q wire.AuditQuery) (wire.Audit, error) {
	return o.audit(q)
}

func (o operations) BeginDowntime(_ context.Context, r wire.DowntimeRequest) (wire.Done, error) {
	return answered[wire.Done](o, r)
}

func (o operations) EndDowntime(_ context.Context, r wire.ServerRequest) (wire.Done, error) {
	return answered[wire.Done](o, r)
}

func (o operations) PromotionRule(_ context.Context, r wire.RuleRequest) (wire.Done, error) {
	return answered[wire.Done](o, r)
}

func (o operations) Pause(_ context.Context, r wire.PauseRequest) (wire.Done, error) {
	return answered[wire.Done](o, r)
}

func (o operations) Resume(_ context.Context, r wire.ResumeRequest) (wire.Done, error) {
	return answered[wire.Done](o, r)
}

func (o operations) Ack(_ context.Context, r wire.AckRequest) (wire.Done, error) {
	return answered[wire.Done](o, r)
}

func (o operations) Move(_ context.Context, r wire.MoveRequest) (wire.Done, error) {
	return answered[wire.Done](o, r)
}

func (o operations) Detach(_ context.Context, r wire.DetachRequest) (wire.Done, error) {
	return answered[wire.Done](o, r)
}

func (o operations) Reattach(_ context.Context, r wire.ServerRequest) (wire.Done, error) {
	return answered[wire.Done](o, r)
}

func (o operations) SetReadOnly(_ context.Context, r wire.ReadOnlyRequest) (wire.Done, error) {
	return answered[wire.Done](o, r)
}

func (o operations) Recover(_ context.Context, r wire.ServerRequest) (wire.Recovery, error) {
	return answered[wire.Recovery](o, r)
}

func (o operations) Failover(_ context.Context, r wire.FailoverRequest) (wire.Recovery, error) {
	return answered[wire.Recovery](o, r)
}

func (o operations) ChangeControllers(_ context.Context, r wire.ControllersRequest) (wire.Done, error) {
	return answered[wire.Done](o, r)
}

func (o operations) TransferLeader(_ context.Context, r wire.TransferRequest) (wire.Done, error) {
	return answered[wire.Done](o, r)
}

func (o operations) DatacenterDown(_ context.Context, r wire.DatacenterDownRequest) (wire.Done, error) {
	return answered[wire.Done](o, r)
}

func (o operations) DatacenterUp(_ context.Context, r wire.DatacenterUpRequest) (wire.Done, error) {
	return answered[wire.Done](o, r)
}

func (s *service) Datacenters(context.Context) (wire.DataCenters, error) { return s.places, nil }

var _ adminapi.Service = (*service)(nil)

func (s *service) Voice(ctx context.Context) (wire.Voice, error) { return s.voice(ctx) }

func (s *service) Controllers(ctx context.Context) (wire.Controllers, error) { return s.members(ctx) }

func (s *service) Role() (bool, string) { return s.leader, s.leaderID }
func (s *service) Ready() error         { return s.ready }

func (s *service) Status(ctx context.Context) (wire.Status, error) { return s.status(ctx) }

func (s *service) Clusters(ctx context.Context) ([]wire.Cluster, error) { return s.clusters(ctx) }

func (s *service) Topology(ctx context.Context, c string) (wire.Topology, error) {
	return s.topology(ctx, c)
}

func (s *service) Proxies(ctx context.Context, c string) (wire.Proxies, error) {
	return s.proxies(ctx, c)
}

func (s *service) KV(ctx context.Context, c string) (wire.KV, error) { return s.kv(ctx, c) }

func (s *service) Recoveries(ctx context.Context, c string) ([]wire.Recovery, error) {
	return s.recoveries(ctx, c)
}

func (s *service) Recovery(ctx context.Context, id string) (wire.Recovery, error) {
	return s.recovery(ctx, id)
}

func (s *service) Explain(ctx context.Context, c string) (wire.Explanation, error) {
	return s.explain(ctx, c)
}

func (s *service) Switchover(ctx context.Context, r wire.SwitchoverRequest) (wire.Recovery, error) {
	return s.switchover(ctx, r)
}

func (s *service) Witness(ctx context.Context, r wire.WitnessRequest) (wire.WitnessReply, error) {
	return s.witness(ctx, r)
}

// journal collects log lines of several goroutines.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// door is a running server.
type door struct {
	url string
	log *journal
}

// open starts a server on loopback and stops it with the test.
func open(t *testing.T, config adminapi.Config, svc adminapi.Service) door {
	t.Helper()
	d, start := listen(t, config, svc)
	start()
	return d
}

// listen binds a server on loopback, for tests that must know its address
// before it runs.
func listen(t *testing.T, config adminapi.Config, svc adminapi.Service) (door, func()) {
	t.Helper()
	log := &journal{}
	config.Bind = "127.0.0.1:0"
	server := adminapi.New(config, svc, slog.New(slog.NewTextHandler(log, nil)))
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	d := door{url: "http://" + server.Addr().String(), log: log}
	return d, func() { run(t, server) }
}

func run(t *testing.T, server *adminapi.Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run did not end")
		}
	})
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) wireError(t *testing.T) wire.Error {
	t.Helper()
	var e wire.Error
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || e.Code == "" || e.Message == "" {
		t.Fatalf("status %d, not an error of the door: %q", a.status, a.body)
	}
	return e
}

func send(t *testing.T, method, url, body string, header ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	return roundTrip(t, &http.Transport{DisableKeepAlives: true}, request)
}

func roundTrip(t *testing.T, transport *http.Transport, request *http.Request) answer {
	t.Helper()
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{response.StatusCode, response.Header, string(text)}
	conforms(t, request.Method, request.URL.String(), a)
	return a
}

func wantError(t *testing.T, a answer, status int, code wire.Code, parts ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d, want %d: %s", a.status, status, a.body)
	}
	e := a.wireError(t)
	if e.Code != code {
		t.Errorf("code %q, want %q", e.Code, code)
	}
	for _, part := range parts {
		if !strings.Contains(e.Error(), part) {
			t.Errorf("error %q does not speak of %q", e.Error(), part)
		}
	}
}

func into[T any](t *testing.T, a answer) T {
	t.Helper()
	var value T
	if a.status != 200 {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &value); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return value
}

func key(host string) topology.Key { return topology.Key{Host: host, Port: 3306} }

func (o operations) Adopt(_ context.Context, r wire.AdoptRequest) (wire.Done, error) {
	return answered[wire.Done](o, r)
}

func (s *service) Backup(ctx context.Context, local bool) ([]byte, error) {
	return s.backup(ctx, local)
}
