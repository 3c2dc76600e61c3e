package adminapi_test

import (
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
)

// What probes of load balancers go by is the status, with GET as with HEAD.
func TestStatusesForLoadBalancers(t *testing.T) {
	leader := open(t, adminapi.Config{SelfID: "c1", Name: "host1"}, &service{leader: true, leaderID: "c1"})
	follower := open(t, adminapi.Config{SelfID: "c2", Name: "host2", Peers: at(map[string]string{"c1": leader.url})}, &service{leaderID: "c1"})
	lost := open(t, adminapi.Config{SelfID: "c3", Name: "host3"}, &service{ready: errors.New("no leader is known")})
	for _, c := range []struct {
		path                   string
		leader, follower, lost int
	}{
		{"/api/leader-check", 200, 404, 404},
		{"/api/leader-check/", 200, 404, 404},
		{"/api/leader-check/503", 200, 503, 503},
		{"/api/leader-check/400", 200, 400, 400},
		{"/api/leader-check/599", 200, 599, 599},
		{"/api/routed-leader-check", 200, 200, 503},
		{"/api/routed-leader-check/", 200, 200, 503},
		{"/api/health", 200, 200, 500},
		{"/api/health/", 200, 200, 500},
		{"/health/leader", 200, 503, 503},
		{"/health/live", 200, 200, 200},
		{"/health/ready", 200, 200, 503},
	} {
		for i, d := range []door{leader, follower, lost} {
			want := []int{c.leader, c.follower, c.lost}[i]
			get, head := send(t, "GET", d.url+c.path, ""), send(t, "HEAD", d.url+c.path, "")
			if get.status != want || head.status != want || head.body != "" {
				t.Errorf("%s of controller %d: GET %d, HEAD %d with %q, want %d", c.path, i+1, get.status, head.status, head.body, want)
			}
			if !json.Valid([]byte(get.body)) || !strings.HasPrefix(get.header.Get("Content-Type"), "application/json") {
				t.Errorf("%s of controller %d is not JSON: %s", c.path, i+1, get.body)
			}
		}
	}
}

func TestChecksSayWhy(t *testing.T) {
	leader := open(t, adminapi.Config{SelfID: "c1", Name: "host1"}, &service{leader: true, leaderID: "c1"})
	follower := open(t, adminapi.Config{SelfID: "c2", Name: "host2", Peers: at(map[string]string{"c1": leader.url})}, &service{leaderID: "c1"})
	lost := open(t, adminapi.Config{SelfID: "c3", Name: "host3"}, &service{ready: errors.New("the ledger is empty yet")})

	if c := into[wire.LeaderCheck](t, send(t, "GET", follower.url+"/api/routed-leader-check", "")); c != (wire.LeaderCheck{ID: "c1", Leader: true, LeaderID: "c1"}) {
		t.Errorf("routed: %+v", c)
	}
	want := wire.HealthDetails{
		Healthy: true, Hostname: "host2", ActiveNode: wire.ActiveNode{Hostname: "c1"}, RaftLeader: "c1", RaftLeaderURI: leader.url,
	}
	if h := into[wire.NodeHealth](t, send(t, "GET", follower.url+"/api/health", "")); h.Code != "OK" || h.Details != want {
		t.Errorf("health of the follower: %+v", h)
	}
	if h := into[wire.NodeHealth](t, send(t, "GET", leader.url+"/api/health", "")); !h.Details.IsRaftLeader || !h.Details.IsActiveNode {
		t.Errorf("health of the leader: %+v", h)
	}
	for path, part := range map[string]string{
		"/api/health":              `"Code":"ERROR","Message":"Application node is unhealthy: the ledger is empty yet"`,
		"/health/leader":           `"reason":"no leader is known"`,
		"/api/routed-leader-check": `"code":"no_leader","message":"controller c3 knows no leader"`,
	} {
		if a := send(t, "GET", lost.url+path, ""); !strings.Contains(a.body, part) {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	if a := send(t, "GET", follower.url+"/health/leader", ""); !strings.Contains(a.body, `"reason":"c1 leads"`) {
		t.Errorf("leader: %s", a.body)
	}
	for _, status := range []string{"200", "302", "399", "600", "0503", "-503", "x", "503.5"} {
		wantError(t, send(t, "GET", leader.url+"/api/leader-check/"+status, ""), 400, wire.BadRequest, "want 400 to 599")
	}
	wantError(t, send(t, "POST", leader.url+"/api/leader-check/503", ""), 405, wire.MethodNotAllowed, "use GET")
}

// Three that each take the next one for the leader, and one that takes itself
// for a follower of itself.
func TestRoutedChecksNeverLoop(t *testing.T) {
	peers := map[string]string{}
	var doors []door
	var starts []func()
	for _, c := range [][2]string{{"c1", "c2"}, {"c2", "c3"}, {"c3", "c1"}} {
		d, start := listen(t, adminapi.Config{SelfID: c[0], Peers: at(peers)}, &service{leaderID: c[1]})
		peers[c[0]] = d.url
		doors, starts = append(doors, d), append(starts, start)
	}
	mirror, start := listen(t, adminapi.Config{SelfID: "c4", Peers: at(peers)}, &service{leaderID: "c5"})
	peers["c5"] = mirror.url // an address given twice in the configuration
	for _, run := range append(starts, start) {
		run()
	}
	for _, d := range append(doors, mirror) {
		wantError(t, send(t, "GET", d.url+"/api/routed-leader-check", ""), 503, wire.NotLeader, "does not say that it leads")
	}
	wantError(t, send(t, "GET", doors[0].url+"/api/v1/explain/main", ""), 503, wire.NotLeader, "for the leader, which it is not")
	wantError(t, send(t, "GET", doors[0].url+"/api/routed-leader-check", "", wire.HeaderForwarded, "c9"), 503, wire.NotLeader)
}

func TestRoutedCheckOfALeaderThatDoesNotAnswer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	vacant, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := vacant.Close(); err != nil {
		t.Fatal(err)
	}
	for part, address := range map[string]string{
		"the leader c1 did not answer: ":        silent.Addr().String(),
		"the leader c1 cannot be reached: http": vacant.Addr().String(),
	} {
		d := open(t, adminapi.Config{SelfID: "c2", Peers: at(map[string]string{"c1": "http://" + address})}, &service{leaderID: "c1"})
		begun := time.Now()
		wantError(t, send(t, "GET", d.url+"/api/routed-leader-check", ""), 503, wire.LeaderUnreachable, part)
		if took := time.Since(begun); took > patience {
			t.Errorf("%s: took %s", part, took)
		}
	}
}
