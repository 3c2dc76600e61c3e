package adminapi_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
)

func TestFollowerForwardsWhatOnlyTheLeaderDoes(t *testing.T) {
	svc := full()
	var got atomic.Pointer[wire.SwitchoverRequest]
	svc.switchover = func(_ context.Context, r wire.SwitchoverRequest) (wire.Recovery, error) {
		got.Store(&r)
		if r.Cluster == "busy" {
			return wire.Recovery{}, wire.NewError(wire.Conflict, "busy-4 is open", "wait for it")
		}
		return wire.Recovery{ID: "main-3", Winner: r.To}, nil
	}
	leader := open(t, adminapi.Config{SelfID: "c1"}, svc)
	follower := open(t, adminapi.Config{SelfID: "c2", Peers: at(map[string]string{"c1": leader.url + "/"})}, &service{leaderID: "c1"})

	if e := into[wire.Explanation](t, send(t, "GET", follower.url+"/api/v1/explain/main", "")); e.Cluster != "main" {
		t.Errorf("explanation %+v", e)
	}
	if a := send(t, "HEAD", follower.url+"/api/v1/explain/main", ""); a.status != 200 || a.body != "" {
		t.Errorf("HEAD: %+v", a)
	}
	done := into[wire.Recovery](t, send(t, "POST", follower.url+"/api/v1/switchover", `{"cluster":"main","to":"db2","by":"x"}`))
	if want := (wire.SwitchoverRequest{Cluster: "main", To: key("db2"), By: "x"}); *got.Load() != want || done.ID != "main-3" {
		t.Errorf("the leader got %+v, want %+v; the follower relayed %+v", got.Load(), want, done)
	}
	wantError(t, send(t, "POST", follower.url+"/api/v1/switchover", `{"cluster":"busy"}`), 409, wire.Conflict, "busy-4 is open")
	wantError(t, send(t, "POST", follower.url+"/api/v1/switchover", `{"cluster":7}`), 400, wire.BadRequest, `"cluster"`)
}

// at is where the controllers are.
func at(peers map[string]string) func() map[string]string {
	return func() map[string]string { return peers }
}

func TestForwardingNeverLoops(t *testing.T) {
	a, b := &service{leaderID: "c2"}, &service{leaderID: "c1"}
	peers := map[string]string{}
	first, start := listen(t, adminapi.Config{SelfID: "c1", Peers: at(peers)}, a)
	second := open(t, adminapi.Config{SelfID: "c2", Peers: at(map[string]string{"c1": first.url})}, b)
	peers["c2"] = second.url
	start()
	for _, url := range []string{first.url, second.url} {
		wantError(t, send(t, "GET", url+"/api/v1/explain/main", ""), 503, wire.NotLeader, "for the leader, which it is not")
	}
}

func TestNoLeaderToForwardTo(t *testing.T) {
	vacant, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + vacant.Addr().String()
	if err := vacant.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		leader string
		code   wire.Code
		part   string
	}{
		"none known":  {"", wire.NoLeader, "knows no leader"},
		"itself":      {"c2", wire.NoLeader, "knows no leader"},
		"no url":      {"c9", wire.NoLeader, "no URL of the leader c9"},
		"unreachable": {"c1", wire.LeaderUnreachable, "nothing was done"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, adminapi.Config{SelfID: "c2", Peers: at(map[string]string{"c1": gone})}, &service{leaderID: c.leader})
			wantError(t, send(t, "POST", d.url+"/api/v1/switchover", `{"cluster":"main"}`), 503, c.code, c.part)
		})
	}
}

// A leader that takes the connection and says nothing must not hold the
// follower's client beyond the deadline, and may have heard the request.
func TestSilentLeader(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	limits := adminapi.Limits{Switchover: 50 * time.Millisecond}
	d := open(t, adminapi.Config{
		SelfID: "c2", Limits: limits, Peers: at(map[string]string{"c1": "http://" + silent.Addr().String()}),
	}, &service{leaderID: "c1"})
	begun := time.Now()
	a := send(t, "POST", d.url+"/api/v1/switchover", `{"cluster":"main"}`)
	wantError(t, a, 503, wire.LeaderUnreachable, "look at the recoveries")
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("took %s", took)
	}
}

func TestRunEndsWhileAForwardIsUnderWay(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	limits := adminapi.Limits{Stop: 100 * time.Millisecond}
	answers := make(chan answer, 1)
	// The inner test ends, and stops its server, while the call waits.
	t.Run("server", func(inner *testing.T) {
		d := open(inner, adminapi.Config{
			SelfID: "c2", Limits: limits, Peers: at(map[string]string{"c1": "http://" + silent.Addr().String()}),
		}, &service{leaderID: "c1"})
		go func() { answers <- send(t, "GET", d.url+"/api/v1/explain/main", "") }()
		conn, err := silent.Accept() // the forward has arrived
		if err != nil {
			inner.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	})
	select {
	case a := <-answers:
		wantError(t, a, 503, wire.LeaderUnreachable, "did not answer")
		if !strings.Contains(a.body, "canceled") {
			t.Errorf("body %s", a.body)
		}
	case <-time.After(patience):
		t.Fatal("the client was left without an answer")
	}
}
