package adminapi_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
)

// full answers everything, as a leader.
func full() *service {
	return &service{
		leader: true, leaderID: "c1",
		status: func(context.Context) (wire.Status, error) {
			return wire.Status{Controller: "c1", Leader: "c1", Term: 4}, nil
		},
		clusters: func(context.Context) ([]wire.Cluster, error) { return []wire.Cluster{{Name: "main"}}, nil },
		topology: func(_ context.Context, c string) (wire.Topology, error) {
			if c != "main" {
				return wire.Topology{}, wire.NewError(wire.NotFound, "there is no cluster "+c, "see switchyard clusters")
			}
			return wire.Topology{Cluster: c, Nodes: []wire.Node{{Key: key("db1"), Role: wire.RoleMaster}}}, nil
		},
		proxies: func(_ context.Context, c string) (wire.Proxies, error) {
			if c == "unknown" {
				return wire.Proxies{}, wire.NewError(wire.NotFound, "there is no cluster unknown", "see switchyard clusters")
			}
			return wire.Proxies{Controller: "c1", Looks: true, Proxies: []wire.Proxy{{Name: "px1", Cluster: c, State: wire.ProxyFollows}}}, nil
		},
		recoveries: func(_ context.Context, c string) ([]wire.Recovery, error) {
			if c == "empty" {
				return nil, nil
			}
			return []wire.Recovery{{ID: "main-2", Cluster: c}}, nil
		},
		recovery: func(_ context.Context, id string) (wire.Recovery, error) { return wire.Recovery{ID: id}, nil },
		explain: func(_ context.Context, c string) (wire.Explanation, error) {
			return wire.Explanation{Cluster: c, Verdict: wire.Hold, Reason: "anti-flap"}, nil
		},
		switchover: func(_ context.Context, r wire.SwitchoverRequest) (wire.Recovery, error) {
			return wire.Recovery{ID: r.Cluster + "-3", Winner: r.To, By: r.By}, nil
		},
		witness: func(_ context.Context, r wire.WitnessRequest) (wire.WitnessReply, error) {
			observations := map[topology.Key]topology.Observation{}
			for _, k := range r.Servers {
				observations[k] = topology.Observation{Key: k, Reach: topology.ReachRefused, Fresh: true}
			}
			return wire.WitnessReply{Witness: "c1", View: topology.View{Observer: "c1", Observations: observations}}, nil
		},
	}
}

func TestEveryRouteAnswers(t *testing.T) {
	d := open(t, adminapi.Config{SelfID: "c1", Secret: secret}, full())
	if s := into[wire.Status](t, send(t, "GET", d.url+"/api/v1/status", "")); s.Controller != "c1" || s.Term != 4 {
		t.Errorf("status %+v", s)
	}
	if c := into[[]wire.Cluster](t, send(t, "GET", d.url+"/api/v1/clusters", "")); len(c) != 1 || c[0].Name != "main" {
		t.Errorf("clusters %+v", c)
	}
	if p := into[wire.Topology](t, send(t, "GET", d.url+"/api/v1/topology/main", "")); p.Nodes[0].Key != key("db1") {
		t.Errorf("topology %+v", p)
	}
	for query, c := range map[string]string{"": "", "?cluster=main": "main"} {
		p := into[wire.Proxies](t, send(t, "GET", d.url+"/api/v1/proxies"+query, ""))
		if !p.Looks || len(p.Proxies) != 1 || p.Proxies[0].Cluster != c || p.Proxies[0].State != wire.ProxyFollows {
			t.Errorf("proxies %+v", p)
		}
	}
	if r := into[[]wire.Recovery](t, send(t, "GET", d.url+"/api/v1/recoveries?cluster=main", "")); r[0].Cluster != "main" {
		t.Errorf("recoveries %+v", r)
	}
	if r := into[[]wire.Recovery](t, send(t, "GET", d.url+"/api/v1/recoveries", "")); r[0].Cluster != "" {
		t.Errorf("recoveries of all clusters were asked for %q", r[0].Cluster)
	}
	if a := send(t, "GET", d.url+"/api/v1/recoveries?cluster=empty", ""); a.body != "[]\n" {
		t.Errorf("an empty list is %q", a.body)
	}
	if r := into[wire.Recovery](t, send(t, "GET", d.url+"/api/v1/recoveries/main-2", "")); r.ID != "main-2" {
		t.Errorf("recovery %+v", r)
	}
	if e := into[wire.Explanation](t, send(t, "GET", d.url+"/api/v1/explain/main", "")); e.Reason != "anti-flap" {
		t.Errorf("explanation %+v", e)
	}
	done := into[wire.Recovery](t, send(t, "POST", d.url+"/api/v1/switchover", `{"cluster":"main","to":"db2:3307","by":"me"}`))
	if done.ID != "main-3" || done.By != "me" || done.Winner != (topology.Key{Host: "db2", Port: 3307}) {
		t.Errorf("switchover %+v", done)
	}
	if h := into[wire.Health](t, send(t, "GET", d.url+"/health/live", "")); !h.OK {
		t.Errorf("live %+v", h)
	}
}

func TestLeaderCheckAndReadiness(t *testing.T) {
	leader := open(t, adminapi.Config{SelfID: "c1"}, &service{leader: true, leaderID: "c1"})
	follower := open(t, adminapi.Config{SelfID: "c2"},
		&service{leaderID: "c1", ready: errors.New("the ledger is not loaded yet")})
	for _, c := range []struct {
		door   door
		method string
		path   string
		status int
		part   string
	}{
		{leader, "GET", "/api/leader-check", 200, `"leader":true`},
		{leader, "HEAD", "/api/leader-check", 200, ""},
		{follower, "GET", "/api/leader-check", 404, `"leader_id":"c1"`},
		{follower, "HEAD", "/api/leader-check", 404, ""},
		{leader, "GET", "/health/ready", 200, `"ok":true`},
		{follower, "GET", "/health/ready", 503, "the ledger is not loaded yet"},
		{follower, "GET", "/health/live", 200, `"ok":true`},
		{follower, "GET", "/metrics", 404, "no metrics"},
	} {
		a := send(t, c.method, c.door.url+c.path, "")
		if a.status != c.status || !strings.Contains(a.body, c.part) {
			t.Errorf("%s %s: status %d body %q, want %d and %q", c.method, c.path, a.status, a.body, c.status, c.part)
		}
	}
}

func TestMetricsHandlerIsServed(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := w.Write([]byte("switchyard_is_leader 1\n")); err != nil {
			t.Error(err)
		}
	})
	d := open(t, adminapi.Config{SelfID: "c1", Metrics: handler}, full())
	if a := send(t, "GET", d.url+"/metrics", ""); a.status != 200 || a.body != "switchyard_is_leader 1\n" {
		t.Errorf("status %d: %q", a.status, a.body)
	}
}

func TestBadTargets(t *testing.T) {
	d := open(t, adminapi.Config{SelfID: "c1"}, full())
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		method, target string
		status         int
		code           wire.Code
		part           string
	}{
		{"GET", "/", 404, wire.NotFound, "the calls are /api/leader-check, "},
		{"GET", "/api/v1/nonsense", 404, wire.NotFound, "/api/v1/explain/CLUSTER, POST /api/v1/switchover, POST /api/v1/begin-downtime"},
		{"GET", "/api/v1/topology/", 404, wire.NotFound, "nothing at"},
		{"GET", "/api/v1/topology/a/b", 400, wire.BadRequest, "'/'"},
		{"GET", "/api/v1/topology/a%2Fb", 400, wire.BadRequest, "'/'"},
		{"GET", "/api/v1/topology/a%20b", 400, wire.BadRequest, "cluster \"a b\" has ' '"},
		{"GET", "/api/v1/topology/" + long, 400, wire.BadRequest, "300 bytes"},
		{"GET", "/api/v1/topology/..", 400, wire.BadRequest, "letter"},
		{"GET", "/api/v1/topology/a%00b", 400, wire.BadRequest, "letters"},
		{"GET", "/api/v1/topology/unknown", 404, wire.NotFound, "no cluster unknown"},
		{"GET", "/api/v1/topology/main?depth=2", 400, wire.BadRequest, `"depth" is not known`},
		{"GET", "/api/v1/proxies?cluster=a%20b", 400, wire.BadRequest, "cluster"},
		{"GET", "/api/v1/proxies?cluster=a&cluster=b", 400, wire.BadRequest, "twice"},
		{"GET", "/api/v1/proxies?name=a", 400, wire.BadRequest, `"name" is not known`},
		{"GET", "/api/v1/proxies?cluster=unknown", 404, wire.NotFound, "no cluster unknown"},
		{"GET", "/api/v1/proxies/main", 404, wire.NotFound, "nothing at"},
		{"POST", "/api/v1/proxies", 405, wire.MethodNotAllowed, "use GET"},
		{"GET", "/api/v1/recoveries?cluster=a%20b", 400, wire.BadRequest, "cluster"},
		{"GET", "/api/v1/recoveries?cluster=a&cluster=b", 400, wire.BadRequest, "twice"},
		{"GET", "/api/v1/recoveries/" + long, 400, wire.BadRequest, "recovery"},
		{"GET", "/api/v1/explain/%2e%2e%2f", 400, wire.BadRequest, "cluster"},
		{"GET", "/api/v1/switchover", 405, wire.MethodNotAllowed, "use POST"},
		{"GET", "/api/v1/pause", 405, wire.MethodNotAllowed, "use POST"},
		{"GET", "/api/v1/audit?color=red", 400, wire.BadRequest, `"color" is not known`},
		{"GET", "/api/v1/audit?kind=a&kind=b", 400, wire.BadRequest, "twice"},
		{"GET", "/api/v1/audit?cluster=a%20b", 400, wire.BadRequest, `query parameter "cluster"`},
		{"GET", "/api/v1/audit?server=a:0", 400, wire.BadRequest, `query parameter "server"`},
		{"GET", "/api/v1/audit?kind=gossip", 400, wire.BadRequest, "want one of detection, recovery, operator, repair, hook"},
		{"GET", "/api/v1/audit?since=yesterday", 400, wire.BadRequest, "how long ago"},
		{"GET", "/api/v1/audit?since=-2h", 400, wire.BadRequest, "how long ago"},
		{"GET", "/api/v1/audit?before=0", 400, wire.BadRequest, `query parameter "before"`},
		{"GET", "/api/v1/audit?limit=0", 400, wire.BadRequest, "want 1 to 1000"},
		{"GET", "/api/v1/audit?limit=1001", 400, wire.BadRequest, "want 1 to 1000"},
		{"GET", "/api/v1/audit?limit=all", 400, wire.BadRequest, "want 1 to 1000"},
		{"DELETE", "/api/v1/status", 405, wire.MethodNotAllowed, "use GET"},
		{"GET", "/" + strings.Repeat("y", 3000), 404, wire.NotFound, "..."},
	} {
		a := send(t, c.method, d.url+c.target, "")
		t.Logf("%s %.60s -> %d %.200s", c.method, c.target, a.status, a.body)
		wantError(t, a, c.status, c.code, c.part)
		if c.status == 405 && a.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow header", c.method, c.target)
		}
	}
}

func TestBadSwitchoverBodies(t *testing.T) {
	svc := full()
	svc.switchover = func(context.Context, wire.SwitchoverRequest) (wire.Recovery, error) {
		t.Error("a bad request reached the service")
		return wire.Recovery{}, nil
	}
	d := open(t, adminapi.Config{SelfID: "c1"}, svc)
	for _, c := range []struct{ body, part string }{
		{``, "body is empty"},
		{` `, "body is empty"},
		{`[]`, "not a JSON object"},
		{`{`, "does not end"},
		{`{"cluster":"main"`, "does not end"},
		{`{"cluster":"main"} {}`, "behind the JSON object"},
		{`{"cluster":"main"}x`, "behind the JSON object"},
		{`{"cluster":"main","force":true}`, `"force" is not known`},
		{`{"Cluster":"main"}`, `"Cluster" is not known`},
		{`{"cluster":"main","cluster":"other"}`, `"cluster" is given twice`},
		{`{"cluster":5}`, `field "cluster": want a string, got number`},
		{`{"cluster":"main","to":7}`, `field "to": want a string, got number`},
		{`{"cluster":"main","to":"a b"}`, `field "to": instance "a b": want HOST:PORT`},
		{`{"cluster":"main","to":"db2:99999"}`, `port "99999"`},
		{`{"cluster":"main","to":{"Host":"db2"}}`, `field "to": want a string, got object`},
		{`{"to":"db2:3306"}`, `field "cluster"`},
		{`{"cluster":null}`, `field "cluster"`},
		{`{"cluster":"../x"}`, `field "cluster"`},
		{`{"cluster":"main","by":"` + strings.Repeat("b", 200) + `"}`, `field "by" has 200 bytes`},
		{`{"cluster":"main","reason":"` + strings.Repeat("b", 2000) + `"}`, `field "reason" has 2000 bytes`},
		{"{\"cluster\":\"\xff\"}", "UTF-8"},
		{strings.Repeat("[", 20000), "not a JSON object"},
		{`{"cluster":` + strings.Repeat("[", 20000), `field "cluster"`},
	} {
		wantError(t, send(t, "POST", d.url+"/api/v1/switchover", c.body), 400, wire.BadRequest, c.part)
	}
}

func TestErrorsOfTheService(t *testing.T) {
	svc := full()
	d := open(t, adminapi.Config{SelfID: "c1"}, svc)
	for name, c := range map[string]struct {
		err    error
		status int
		code   wire.Code
		part   string
	}{
		"chosen":   {wire.NewError(wire.Conflict, "main-7 is open", "wait for it"), 409, wire.Conflict, "main-7 is open; wait for it"},
		"refused":  {wire.NewError(wire.Refused, "db2 lags 90 s", ""), 409, wire.Refused, "90 s"},
		"plain":    {errors.New("dial with password hunter2"), 500, wire.Internal, "its log has the reason"},
		"deadline": {context.DeadlineExceeded, 503, wire.Timeout, "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			svc.switchover = func(context.Context, wire.SwitchoverRequest) (wire.Recovery, error) {
				return wire.Recovery{}, c.err
			}
			a := send(t, "POST", d.url+"/api/v1/switchover", `{"cluster":"main"}`)
			wantError(t, a, c.status, c.code, c.part)
			if strings.Contains(a.body, "hunter2") {
				t.Errorf("the inside leaks: %s", a.body)
			}
		})
	}
	if !strings.Contains(d.log.String(), "hunter2") {
		t.Error("the reason of a 500 is not in the log")
	}
}

func TestPanicBecomesAnError(t *testing.T) {
	svc := full()
	svc.explain = func(context.Context, string) (wire.Explanation, error) { panic("index out of nowhere") }
	d := open(t, adminapi.Config{SelfID: "c1"}, svc)
	a := send(t, "GET", d.url+"/api/v1/explain/main", "")
	wantError(t, a, 500, wire.Internal, "failed to answer")
	if strings.Contains(a.body, "nowhere") || !strings.Contains(d.log.String(), "index out of nowhere") {
		t.Errorf("the panic belongs in the log and not in the answer: %s", a.body)
	}
	if a := send(t, "GET", d.url+"/health/live", ""); a.status != 200 {
		t.Errorf("after a panic: status %d", a.status)
	}
}

func TestListenNamesTheSetting(t *testing.T) {
	d := open(t, adminapi.Config{SelfID: "c1"}, full())
	taken := strings.TrimPrefix(d.url, "http://")
	for _, bind := range []string{taken, "127.0.0.1:notaport", "203.0.113.7:80"} {
		err := adminapi.New(adminapi.Config{Bind: bind}, full(), nil).Listen()
		var mistake *adminapi.BindError
		if !errors.As(err, &mistake) || mistake.ExitCode() != 2 || !strings.Contains(err.Error(), `bind.http "`+bind) {
			t.Errorf("Listen on %s: %v", bind, err)
		}
	}
}
