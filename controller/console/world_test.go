package console_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/console"
	"switchyard/controller/failover"
	"switchyard/controller/observer"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/controller/topology/sketch"
	"switchyard/store/ledger"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// world is what stands behind the console: a real ledger's state, and what the
// test says that the other parts answer.
type world struct {
	// sidecars are those beside servers.
	sidecars map[topology.Key]*wire.DatabaseSidecar

	t        *testing.T
	state    ledger.State
	leads    bool
	leader   string
	servers  []observer.InstancePicture
	snapshot topology.Snapshot
	observed []string
	rejoins  []string
	rules    map[string]policy.Cluster
	// last and explained are what the loop answers.
	last       map[string]failover.Assessment
	explained  failover.Assessment
	explainErr error
	unadopted  map[string]string
	switched   func(cluster string, to topology.Key, by, reason string) (ledger.Recovery, error)

	// proposed are the commands, in order; proposing is what Propose returns
	// instead of taking one.
	proposed  []ledger.Command
	proposing error
	// acted are the calls of the loop's other hands, and acting what they return.
	acted    []string
	acting   error
	recovery ledger.Recovery

	peers            func(context.Context) map[string]string
	members          console.Members
	voice            func(context.Context, string) (wire.Voice, error)
	proxies, consuls []console.Receiver
	fleet            []wire.Proxy
	directories      console.Directories
	looked           []topology.Key
	fresh            map[topology.Key]bool
	deadline         time.Duration
}

func key(name string) topology.Key { return sketch.Key(name) }

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, leads: true, leader: "c1", last: map[string]failover.Assessment{},
		rules: map[string]policy.Cluster{"shop": {Recover: true, AntiFlap: 10 * time.Minute, Controllers: 3}},
	}
	w.must(ledger.Bootstrap{ID: "prod", Generation: 7})
	w.must(ledger.AdoptMaster{Cluster: "shop", Master: key("m"), At: noon})
	w.must(ledger.RememberServers{Cluster: "shop", At: noon, Servers: []ledger.ServerName{{Key: key("a")}, {Key: key("b")}}})
	return w
}

func (w *world) must(cmd ledger.Command) {
	w.t.Helper()
	next, _, err := ledger.Apply(w.state, cmd)
	if err != nil {
		w.t.Fatal(err)
	}
	w.state = next
}

// draw sets what the observer sees, from a sketch.
func (w *world) draw(text string) {
	w.t.Helper()
	s, err := sketch.Parse(text)
	if err != nil {
		w.t.Fatal(err)
	}
	w.snapshot, w.servers = s, nil
	for _, k := range s.Keys() {
		p := observer.InstancePicture{Server: s.Servers[k], Cluster: "shop", Age: 1500 * time.Millisecond}
		p.Seen, _ = s.Sight(k)
		w.servers = append(w.servers, p)
	}
}

// at returns the picture of a server, to be changed.
func (w *world) at(name string) *observer.InstancePicture {
	for i := range w.servers {
		if w.servers[i].Key == key(name) {
			return &w.servers[i]
		}
	}
	w.t.Fatalf("%s is not drawn", name)
	return nil
}

func (w *world) console() *console.Console {
	return console.New(console.Config{
		Self: "c1", Boot: "boot1", Version: "1.2.3", Now: func() time.Time { return noon },
		Controllers: func() []wire.Controller {
			return []wire.Controller{
				{ID: "c1", API: "http://c1", DataCenter: "dc1"}, {ID: "c2", API: "http://c2", DataCenter: "dc2"},
				{ID: "c3", API: "http://c3", DataCenter: "dc2"},
			}
		},
		Policy:  func(cluster string) policy.Cluster { return w.rules[cluster] },
		Peers:   w.peers,
		Members: w.members, Voice: w.voice,
		Sidecar:     func(k topology.Key) *wire.DatabaseSidecar { return w.sidecars[k] },
		Fleet:       func() []wire.Proxy { return w.fleet },
		Directories: w.directories,
	}, w, w, loop{w}, rejoiner{w},
		func() []console.Receiver { return w.proxies }, func() []console.Receiver { return w.consuls })
}

// The ledger.

func (w *world) State() ledger.State { return w.state }

func (w *world) IsLeader() bool { return w.leads }

func (w *world) Leader() (string, bool) { return w.leader, w.leader != "" }

func (w *world) Raft() (string, uint64) {
	if w.leads {
		return "leader", 4
	}
	return "follower", 4
}

func (w *world) Propose(_ context.Context, cmd ledger.Command) error {
	if w.proposing != nil {
		return w.proposing
	}
	next, _, err := ledger.Apply(w.state, cmd)
	if err != nil {
		return err
	}
	w.state, w.proposed = next, append(w.proposed, cmd)
	return nil
}

// The observer.

func (w *world) Snapshot(string, topology.Key) topology.Snapshot { return w.snapshot }

func (w *world) Look(ctx context.Context, keys []topology.Key, fresh map[topology.Key]bool) topology.View {
	w.looked, w.fresh = keys, fresh
	if d, ok := ctx.Deadline(); ok {
		w.deadline = time.Until(d)
	}
	v := topology.View{Observer: "c1", Observations: map[topology.Key]topology.Observation{}}
	for _, k := range keys {
		v.Observations[k], _ = w.snapshot.Sight(k)
	}
	return v
}

func (w *world) Instances() []observer.InstancePicture { return w.servers }

func (w *world) Problems() []string { return w.observed }

// loop is the failover loop.
type loop struct{ *world }

func (l loop) Explain(context.Context, string) (failover.Assessment, error) {
	return l.explained, l.explainErr
}

func (l loop) Last(cluster string) (failover.Assessment, bool) {
	a, ok := l.last[cluster]
	return a, ok
}

func (l loop) Problems() map[string]string { return l.unadopted }

func (l loop) Switchover(_ context.Context, cluster string, to topology.Key, by, reason string) (ledger.Recovery, error) {
	if l.switched == nil {
		l.t.Error("a switchover was begun")
		return ledger.Recovery{}, errors.New("unexpected")
	}
	return l.switched(cluster, to, by, reason)
}

// call records a call of the loop.
func (l loop) call(parts ...any) error {
	l.acted = append(l.acted, strings.TrimSuffix(fmt.Sprintln(parts...), "\n"))
	return l.acting
}

func (l loop) Force(_ context.Context, cluster string, to topology.Key, by, reason string) (ledger.Recovery, error) {
	return l.recovery, l.call("force", cluster, to, by, reason)
}

func (l loop) Recover(_ context.Context, instance topology.Key, by, reason string) (ledger.Recovery, error) {
	return l.recovery, l.call("recover", instance, by, reason)
}

func (l loop) Move(_ context.Context, instance, below topology.Key, by, reason string) error {
	return l.call("move", instance, below, by, reason)
}

func (l loop) Detach(_ context.Context, instance topology.Key, by, reason string) error {
	return l.call("detach", instance, by, reason)
}

func (l loop) Reattach(_ context.Context, instance topology.Key, by, reason string) error {
	return l.call("reattach", instance, by, reason)
}

func (l loop) SetReadOnly(_ context.Context, instance topology.Key, on bool, by, reason string) error {
	return l.call("set-read-only", instance, on, by, reason)
}

type rejoiner struct{ *world }

func (r rejoiner) Problems() []string { return r.rejoins }

// refused reports whether err is the door's error of that code and status.
func refused(t *testing.T, err error, code wire.Code, status int) {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != code || e.Code.Status() != status || e.Message == "" || e.Remedy == "" {
		t.Errorf("%#v, want %s (%d) with a message and a remedy", err, code, status)
	}
}
