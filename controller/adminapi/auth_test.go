package adminapi_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
)

// The users of these tests, by role.
const (
	viewToken, dayToken, rootToken = "token-of-the-viewer", "token-of-the-operator", "token-of-the-admin"
)

func tokens(open ...string) adminapi.Auth {
	return adminapi.Auth{Mode: adminapi.AuthToken, Open: open, Users: []adminapi.User{
		{Name: "vi", Role: wire.Viewer, Secret: viewToken}, {Name: "op", Role: wire.Operator, Secret: dayToken},
		{Name: "ada", Role: wire.Admin, Secret: rootToken}, {Name: "nobody", Role: wire.Admin},
	}}
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// says answers every operation by who asked.
func says(svc *service) *service {
	svc.backup = func(context.Context, bool) ([]byte, error) { return []byte("all of it"), nil }
	svc.do = func(request any) (any, error) {
		switch r := request.(type) {
		case wire.FailoverRequest:
			return wire.Recovery{ID: "main-9", By: r.By}, nil
		case wire.ServerRequest:
			return wire.Recovery{ID: "main-8", By: r.By}, nil
		case wire.RuleRequest:
			return wire.Done{By: r.By}, nil
		case wire.AckRequest:
			return wire.Done{By: r.By}, nil
		case wire.DetachRequest:
			return wire.Done{By: r.By}, nil
		case wire.DowntimeRequest:
			return wire.Done{By: r.By}, nil
		case wire.DatacenterDownRequest:
			return wire.Done{By: r.By}, nil
		case wire.DatacenterUpRequest:
			return wire.Done{By: r.By}, nil
		case wire.AdoptRequest:
			return wire.Done{By: r.By}, nil
		case wire.TransferRequest:
			return wire.Done{By: r.By}, nil
		case wire.ControllersRequest:
			return wire.Done{By: r.By}, nil
		}
		return nil, fmt.Errorf("unexpected %T", request)
	}
	return svc
}

func TestRolesMayDoWhatTheyAreFor(t *testing.T) {
	d := open(t, adminapi.Config{SelfID: "c1", Secret: secret, Auth: tokens()}, says(full()))
	const server, by = `"server":"db1:3306"`, `,"by":"somebody else","reason":"x"}`
	users := []struct{ name, token string }{{"", ""}, {"vi", viewToken}, {"op", dayToken}, {"ada", rootToken}}
	for _, c := range []struct {
		method, path, body string
		least              int // of users
	}{
		{"GET", "/api/v1/status", "", 1},
		{"HEAD", "/api/v1/status", "", 1},
		{"GET", "/api/v1/topology/main", "", 1},
		{"GET", "/api/v1/explain/main", "", 1},
		{"GET", "/api/leader-check", "", 1},
		{"GET", "/health/live", "", 1},
		{"GET", "/metrics", "", 1},
		{"POST", "/api/v1/switchover", `{"cluster":"main"` + by, 2},
		{"POST", "/api/v1/begin-downtime", "{" + server + `,"duration":"1h"` + by, 2},
		{"POST", "/api/v1/detach", "{" + server + by, 2},
		{"POST", "/api/v1/recover", "{" + server + `,"by":"somebody else"}`, 2},
		{"POST", "/api/v1/ack", `{"cluster":"main","comment":"x","by":"somebody else"}`, 2},
		{"GET", "/api/v1/backup", "", 2},
		{"POST", "/api/v1/adopt", `{"cluster":"main","master":"db1:3306"` + by, 3},
		{"POST", "/api/v1/transfer-leader", `{"to":"c2"}`, 2},
		{"GET", "/api/v1/datacenters", "", 1},
		{"POST", "/api/v1/datacenter-down", `{"dc":"dc2","duration":"2h"` + by, 2},
		{"POST", "/api/v1/datacenter-up", `{"dc":"dc2"` + by, 2},
		{"POST", "/api/v1/transfer-leader", `{"to":"c2","force":true}`, 3},
		{"POST", "/api/v1/change-controllers", `{"change":"remove","id":"c2"}`, 3},
		{"POST", "/api/v1/failover", `{"cluster":"main","force":false` + by, 2},
		{"POST", "/api/v1/failover", `{"cluster":"main","force":true` + by, 3},
		{"POST", "/api/v1/promotion-rule", "{" + server + `,"rule":"must_not"` + by, 3},
	} {
		for i, u := range users {
			header := []string{"Content-Type", "application/json"}
			if u.token != "" {
				header = append(header, bearer(u.token)...)
			}
			a := send(t, c.method, d.url+c.path, c.body, header...)
			switch what := c.method + " " + c.path + c.body + " as " + u.name; {
			case i == 0 && (a.status != 401 || a.header.Get("WWW-Authenticate") == ""):
				t.Errorf("%s: status %d, %v", what, a.status, a.header)
			case i > 0 && i < c.least && (a.status != 403 || !strings.Contains(a.body, `"forbidden"`) || !strings.Contains(a.body, "http.users")):
				t.Errorf("%s: status %d, want 403: %s", what, a.status, a.body)
			case i >= c.least && (a.status != 200 && c.path != "/metrics"):
				t.Errorf("%s: status %d, want 200: %s", what, a.status, a.body)
			case i >= c.least && c.method == "POST" && !strings.Contains(a.body, `"by":"`+u.name+`"`):
				t.Errorf("%s: the record does not name the user: %s", what, a.body)
			}
		}
	}
	if log := d.log.String(); strings.Contains(log, viewToken) || strings.Contains(log, rootToken) || !strings.Contains(log, "user=vi") {
		t.Errorf("the log names the users who are refused, and no secret: %s", log)
	}
}

func TestOpenCallsStayOpen(t *testing.T) {
	d := open(t, adminapi.Config{SelfID: "c1", Secret: secret, Auth: tokens(adminapi.OpenHealth, adminapi.OpenLeaderCheck)}, full())
	for path, status := range map[string]int{
		"/health/live": 200, "/health/ready": 200, "/health/leader": 200, "/api/health": 200, "/api/leader-check": 200,
		"/api/leader-check/503": 200, "/api/routed-leader-check": 200, "/metrics": 401, "/api/v1/status": 401, "/api/v1/controllers": 401,
	} {
		if a := send(t, "GET", d.url+path, ""); a.status != status {
			t.Errorf("%s: %d, want %d", path, a.status, status)
		}
	}
	// What is not open to others is to the controllers, and to no other secret.
	closed := open(t, adminapi.Config{SelfID: "c1", Secret: secret, Auth: tokens()}, full())
	for key, want := range map[string]string{secret: "leader", "another": "unreachable"} {
		if got := adminapi.NewPeers(key).States(t.Context(), map[string]string{"c1": closed.url}); got["c1"] != want {
			t.Errorf("with %s: %v, want %s", key, got, want)
		}
	}
	if _, err := adminapi.NewPeers(secret).Ask(t.Context(), closed.url, question()); err != nil {
		t.Errorf("a witness is asked as ever: %v", err)
	}
}

func TestCredentialsThatAreRefused(t *testing.T) {
	basic := tokens()
	basic.Mode = adminapi.AuthBasic
	password := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, c := range []struct {
		auth        adminapi.Auth
		header      string
		ok          bool
		what, again string
	}{
		{tokens(), "Bearer " + viewToken, true, "", ""},
		{tokens(), "bearer " + viewToken, true, "", ""},
		{tokens(), "", false, "wants a token", "--token-file"},
		{tokens(), "Bearer", false, "wants a token", "SWITCHYARD_TOKEN"},
		{tokens(), "Bearer ", false, "wants a token", "SWITCHYARD_TOKEN"},
		{tokens(), "Bearer " + viewToken + "x", false, "is nobody's", "http.users"},
		{tokens(), "Bearer " + viewToken[:5], false, "is nobody's", "http.users"},
		{tokens(), password("vi:" + viewToken), false, "wants a token", "--token-file"},
		{basic, password("vi:" + viewToken), true, "", ""},
		{basic, "", false, "wants a name and a password", "--password-file"},
		{basic, "Bearer " + viewToken, false, "wants a name and a password", "SWITCHYARD_PASSWORD"},
		{basic, password("vi:" + dayToken), false, "is wrong", "http.users"},
		{basic, password("op:" + viewToken), false, "is wrong", "http.users"},
		{basic, password("vi"), false, "is wrong", "http.users"},
		{basic, password("nobody:"), false, "is wrong", "http.users"},
		{basic, "Basic !!!", false, "is wrong", "http.users"},
	} {
		d := open(t, adminapi.Config{SelfID: "c1", Auth: c.auth}, full())
		var header []string
		if c.header != "" {
			header = []string{"Authorization", c.header}
		}
		a := send(t, "GET", d.url+"/api/v1/status", "", header...)
		if c.ok {
			if a.status != 200 {
				t.Errorf("%s %q: %d %s", c.auth.Mode, c.header, a.status, a.body)
			}
			continue
		}
		wantError(t, a, 401, wire.Unauthorized, c.what, c.again)
	}
}

// A form of another site can send what a browser knows, and not this type.
func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	auth := tokens()
	auth.Mode = adminapi.AuthBasic
	d := open(t, adminapi.Config{SelfID: "c1", Auth: auth}, says(full()))
	who := []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:"+rootToken)), "Content-Type"}
	const body = `{"cluster":"main","force":true,"reason":"x"}`
	wantError(t, send(t, "POST", d.url+"/api/v1/failover", body, append(who, "text/plain")...), 400, wire.BadRequest, "send application/json")
	if a := send(t, "POST", d.url+"/api/v1/failover", body, append(who, "application/json; charset=utf-8")...); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestProxiesAreBelievedByTheirAddress(t *testing.T) {
	auth := adminapi.Auth{
		Mode: adminapi.AuthProxy, Header: "X-Forwarded-User", Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Users: []adminapi.User{{Name: "op", Role: wire.Operator}},
	}
	const switchover = `{"cluster":"main","by":"somebody else"}`
	known := open(t, adminapi.Config{SelfID: "c1", Auth: auth}, full())
	call := func(d door, method, path, body string, names ...string) answer {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, d.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		for _, name := range names {
			request.Header.Add("X-Forwarded-User", name)
		}
		return roundTrip(t, &http.Transport{DisableKeepAlives: true}, request)
	}
	if r := into[wire.Recovery](t, call(known, "POST", "/api/v1/switchover", switchover, "op")); r.By != "op" {
		t.Errorf("%+v", r)
	}
	wantError(t, call(known, "GET", "/api/v1/status", ""), 401, wire.Unauthorized, "does not name one user", "remove what its clients send")
	wantError(t, call(known, "GET", "/api/v1/status", "", "op", "ada"), 401, wire.Unauthorized, "does not name one user")
	wantError(t, call(known, "GET", "/api/v1/status", "", "op,ada"), 401, wire.Unauthorized, "does not name one user")
	wantError(t, call(known, "GET", "/api/v1/status", "", strings.Repeat("o", 200)), 401, wire.Unauthorized, "does not name one user")
	wantError(t, call(known, "GET", "/api/v1/status", "", "eve"), 401, wire.Unauthorized, "eve", "http.proxy.role")

	auth.Role = wire.Viewer
	everybody := open(t, adminapi.Config{SelfID: "c1", Auth: auth}, full())
	if a := call(everybody, "GET", "/api/v1/status", "", "eve@example.com"); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	wantError(t, call(everybody, "POST", "/api/v1/switchover", switchover, "eve"), 403, wire.Forbidden, "eve has the role viewer")

	auth.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32")}
	elsewhere := open(t, adminapi.Config{SelfID: "c1", Auth: auth}, full())
	wantError(t, call(elsewhere, "GET", "/api/v1/status", "", "op"), 401, wire.Unauthorized, "127.0.0.1", "http.proxy.from")
}

// A follower asks the caller, and the leader takes its signed word for it, once.
func TestForwardedCallsSayWhoseTheyAre(t *testing.T) {
	svc := says(full())
	var by atomic.Value
	svc.switchover = func(_ context.Context, r wire.SwitchoverRequest) (wire.Recovery, error) {
		by.Store(r.By)
		return wire.Recovery{ID: "main-3", By: r.By}, nil
	}
	leader := open(t, adminapi.Config{SelfID: "c1", Secret: secret, Auth: tokens()}, svc)
	peers := map[string]string{"c1": leader.url}
	follower := open(t, adminapi.Config{SelfID: "c2", Secret: secret, Auth: tokens(), Peers: at(peers)}, &service{leaderID: "c1"})
	const wanted = `{"cluster":"main","by":"somebody else"}`
	if r := into[wire.Recovery](t, send(t, "POST", follower.url+"/api/v1/switchover", wanted, bearer(dayToken)...)); r.By != "op" || by.Load() != "op" {
		t.Errorf("%+v, by %v", r, by.Load())
	}
	if e := into[wire.Explanation](t, send(t, "GET", follower.url+"/api/v1/explain/main", "", bearer(viewToken)...)); e.Cluster != "main" {
		t.Errorf("%+v", e)
	}
	if a := send(t, "GET", follower.url+"/api/routed-leader-check", "", bearer(viewToken)...); a.status != 200 {
		t.Errorf("routed check: %d %s", a.status, a.body)
	}
	wantError(t, send(t, "POST", follower.url+"/api/v1/switchover", wanted, bearer(viewToken)...), 403, wire.Forbidden, "vi has the role viewer")
	wantError(t, send(t, "POST", follower.url+"/api/v1/switchover", wanted), 401, wire.Unauthorized)

	for name, other := range map[string]adminapi.Config{
		"forwards a call and does not say whose":              {SelfID: "c3", Secret: secret},
		"not signed with the controllers' shared secret":      {SelfID: "c3", Secret: "another", Auth: tokens()},
		"is not signed with the controllers' shared secret; ": {SelfID: "c3", Auth: tokens()},
	} {
		other.Peers = at(peers)
		d := open(t, other, &service{leaderID: "c1"})
		wantError(t, send(t, "POST", d.url+"/api/v1/switchover", wanted, bearer(dayToken)...), 401, wire.Unauthorized, name)
	}
}

func TestForwardedCallsAreHeardOnce(t *testing.T) {
	d := open(t, adminapi.Config{SelfID: "c1", Secret: secret, Auth: tokens()}, says(full()))
	const body = `{"cluster":"main","force":true,"reason":"x"}`
	signed := func(sent time.Time, nonce, signedBody string, change func(*wire.Forwarding)) []string {
		f := wire.Forwarding{From: "c2", User: "ada", Role: wire.Admin, Sent: strconv.FormatInt(sent.Unix(), 10)}
		signature := wire.SignForward(secret, "POST", "/api/v1/failover", nonce, []byte(signedBody), f)
		change(&f)
		return []string{
			wire.HeaderForwarded, f.From, wire.HeaderUser, f.User, wire.HeaderRole, string(f.Role), wire.HeaderSent, f.Sent,
			wire.HeaderNonce, nonce, wire.HeaderSignature, signature,
		}
	}
	same := func(*wire.Forwarding) {}
	now := time.Now()
	ask := func(header []string) answer { return send(t, "POST", d.url+"/api/v1/failover", body, header...) }
	if a := ask(signed(now, "n1", body, same)); a.status != 200 || !strings.Contains(a.body, `"by":"ada"`) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	wantError(t, ask(signed(now, "n1", body, same)), 401, wire.Unauthorized, "was heard before")
	for name, header := range map[string][]string{
		"by the clock of":             signed(now.Add(-time.Hour), "n2", body, same),
		"set the controllers' clocks": signed(now.Add(time.Hour), "n3", body, same),
		"not signed":                  signed(now, "n4", body+" ", same),
		"is not signed with":          signed(now, "n5", body, func(f *wire.Forwarding) { f.User = "eve" }),
		"give all controllers":        signed(now, "n6", body, func(f *wire.Forwarding) { f.Sent += "1" }),
		"not signed with the":         signed(now, "", body, same),
	} {
		wantError(t, ask(header), 401, wire.Unauthorized, name)
	}
	if a := ask(signed(now, "n7", body, same)); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
