package adminapi_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
	"switchyard/store/ledger"
)

var kim = wire.Asker{By: "kim", Reason: "because"}

func truth(b bool) *bool { return &b }

// asked is each route with a good body, what the service is to be asked, and
// bodies that are to be refused, with a part of the reason.
func asked() map[string]struct {
	body string
	want any
	bad  map[string]string
} {
	const by = `,"by":"kim","reason":"because"}`
	hours := func(n int) wire.Duration { return wire.Duration(time.Duration(n) * time.Hour) }
	noServer := map[string]string{
		`{"reason":"r"}`:                         `field "server": is missing; name a server as HOST:PORT`,
		`{"server":7,"reason":"r"}`:              `field "server": want a string, got number`,
		`{"server":"a b","reason":"r"}`:          `field "server": instance "a b"`,
		`{"server":"db1","sever":"x"}`:           `field "sever" is not known; the fields are server, `,
		`{"server":"db1","by":"` + long + `"}`:   `field "by"`,
		`{"server":"db1","server":"db2"}`:        `field "server" is given twice`,
		`{"server":"db1","Reason":"wrong case"}`: `field "Reason" is not known`,
	}
	with := func(more map[string]string) map[string]string {
		for body, part := range noServer {
			if _, ok := more[body]; !ok {
				more[body] = part
			}
		}
		return more
	}
	return map[string]struct {
		body string
		want any
		bad  map[string]string
	}{
		wire.PathBeginDowntime: {
			`{"server":"db1","duration":"36h","owner":"dba"` + by,
			wire.DowntimeRequest{Server: key("db1"), Duration: hours(36), Owner: "dba", Asker: kim},
			map[string]string{
				`{"duration":"2h","reason":"r"}`:                                       `field "server": is missing`,
				`{"server":"db1","reason":"r"}`:                                        `field "duration": is missing; say how long`,
				`{"server":"db1","duration":"2h"}`:                                     `field "reason": is missing; say why`,
				`{"server":"db1","duration":"soon","reason":"r"}`:                      `field "duration": "soon" is not a length of time: want one such as`,
				`{"server":"db1","duration":"-2h","reason":"r"}`:                       `field "duration": -2h: want 1s to 366d`,
				`{"server":"db1","duration":"400d","reason":"r"}`:                      `field "duration": 400d: want 1s to 366d`,
				`{"server":"db1","duration":3600,"reason":"r"}`:                        `field "duration": want a string, got number`,
				`{"server":"db1","duration":"2h","reason":"lost-in-recovery"}`:         `is what a recovery writes`,
				`{"server":"db1","duration":"2h","reason":"` + longer + `"}`:           `field "reason": has 1200 bytes: want at most 1000`,
				`{"server":"db1","duration":"2h","reason":"r","owner":"` + long + `"}`: `field "owner"`,
			},
		},
		wire.PathAdopt: {
			`{"cluster":"main","master":"db1"` + by, wire.AdoptRequest{Cluster: "main", Master: key("db1"), Asker: kim},
			map[string]string{
				`{"master":"db1","reason":"r"}`:                 `field "cluster"`,
				`{"cluster":"main","reason":"r"}`:               `field "master": is missing`,
				`{"cluster":"main","master":"db1"}`:             `field "reason": is missing`,
				`{"cluster":"a/b","master":"db1","reason":"r"}`: `field "cluster"`,
			},
		},
		wire.PathDatacenterDown: {
			`{"dc":"dc2","duration":"2h"` + by, wire.DatacenterDownRequest{DataCenter: "dc2", Duration: hours(2), Asker: kim},
			map[string]string{
				`{"duration":"2h","reason":"r"}`:                     `field "dc": is missing`,
				`{"dc":"dc2","reason":"r"}`:                          `field "duration": is missing`,
				`{"dc":"dc2","duration":"2h"}`:                       `field "reason": is missing`,
				`{"dc":"dc2","duration":"0s","reason":"r"}`:          `field "duration"`,
				`{"dc":"` + long + `","duration":"2h","reason":"r"}`: `field "dc"`,
				`{"dc":["dc2"],"duration":"2h","reason":"r"}`:        `field "dc": want a string, got array`,
				`{"datacenter":"dc2","duration":"2h","reason":"r"}`:  `field "datacenter" is not known; the fields are dc, `,
			},
		},
		wire.PathDatacenterUp: {`{"dc":"dc2"` + by, wire.DatacenterUpRequest{DataCenter: "dc2", Asker: kim}, map[string]string{
			`{}`: `field "dc": is missing`, `{"dc":7}`: `field "dc": want a string, got number`,
		}},
		wire.PathEndDowntime: {`{"server":"db1"` + by, wire.ServerRequest{Server: key("db1"), Asker: kim}, with(map[string]string{})},
		wire.PathPromotionRule: {
			`{"server":"db1","rule":"prefer_not","for":"2w"` + by,
			wire.RuleRequest{Server: key("db1"), Rule: "prefer_not", For: hours(14 * 24), Asker: kim},
			map[string]string{
				`{"rule":"must"}`:                              `field "server"`,
				`{"server":"db1"}`:                             `field "rule": promotion rule ""`,
				`{"server":"db1","rule":"always"}`:             `want must, prefer, neutral, prefer_not or must_not`,
				`{"server":"db1","rule":"must","clear":true}`:  `field "clear"`,
				`{"server":"db1","clear":true,"for":"2h"}`:     `field "clear"`,
				`{"server":"db1","rule":"must","for":"1ms"}`:   `field "for"`,
				`{"server":"db1","rule":"must","clear":"yes"}`: `field "clear": want true or false, got string`,
			},
		},
		wire.PathPause: {`{"cluster":"main"` + by, wire.PauseRequest{Cluster: "main", Asker: kim}, map[string]string{
			`{"cluster":"main"}`:              `field "reason": is missing`,
			`{}`:                              `field "reason": is missing`,
			`{"cluster":"../x","reason":"r"}`: `field "cluster"`,
			`{"server":"db1","reason":"r"}`:   `field "server" is not known`,
			`{"cluster":["a"],"reason":"r"}`:  `field "cluster": want a string, got array`,
		}},
		wire.PathResume: {`{"cluster":"main"` + by, wire.ResumeRequest{Cluster: "main", Asker: kim}, map[string]string{
			`{"cluster":"a b"}`: `field "cluster"`, ``: "body is empty",
		}},
		wire.PathAck: {
			`{"recovery":"main-4","comment":"a bad disk","by":"kim"}`,
			wire.AckRequest{Recovery: "main-4", Comment: "a bad disk", By: "kim"},
			map[string]string{
				`{"comment":"c"}`:       `field "recovery": is missing; name a recovery, or a cluster`,
				`{"recovery":"main-4"}`: `field "comment": is missing`,
				`{"recovery":"main-4","cluster":"main","comment":"c"}`: `field "cluster": is given beside a recovery`,
				`{"recovery":"a/b","comment":"c"}`:                     `field "recovery"`,
				`{"cluster":"a b","comment":"c"}`:                      `field "cluster"`,
				`{"cluster":"main","comment":"` + longer + `"}`:        `field "comment"`,
			},
		},
		wire.PathRecover:  {`{"server":"db1"` + by, wire.ServerRequest{Server: key("db1"), Asker: kim}, with(map[string]string{})},
		wire.PathReattach: {`{"server":"db1"` + by, wire.ServerRequest{Server: key("db1"), Asker: kim}, with(map[string]string{})},
		wire.PathDetach: {`{"server":"db1"` + by, wire.DetachRequest{Server: key("db1"), Asker: kim}, with(map[string]string{
			`{"server":"db1"}`: `field "reason": is missing`,
		})},
		wire.PathChangeControllers: {
			`{"change":"add","id":"c4","raft":"c4:7401","api":"http://c4:7400","nonvoter":true` + by,
			wire.ControllersRequest{Change: "add", ID: "c4", Raft: "c4:7401", API: "http://c4:7400", Nonvoter: true, Asker: kim},
			map[string]string{
				`{"change":"add","raft":"c4:7401","api":"http://c4:7400"}`:                       `field "id"`,
				`{"change":"swap","id":"c4"}`:                                                    `field "change"`,
				`{"change":"add","id":"c4","raft":"c4","api":"http://c4:7400"}`:                  `field "raft"`,
				`{"change":"move","id":"c4","raft":"c4:7401","api":"c4:7400"}`:                   `field "api"`,
				`{"change":"move","id":"c4","raft":"c4:7401","api":"http://c4:7400/x"}`:          `field "api"`,
				`{"change":"add","id":"c4","raft":"c4:7401","api":"http://c4:7400?x=1"}`:         `field "api"`,
				`{"change":"add","id":"c4","raft":"c4:7401","api":"http://kim@c4:7400"}`:         `field "api"`,
				`{"change":"add","id":"c4","raft":"c4:7401","api":"http://c4:74000"}`:            `field "api"`,
				`{"change":"move","id":"c4","raft":"c4:nope","api":"http://c4:7400"}`:            `field "raft"`,
				`{"change":"move","id":"c4","raft":"c4:0","api":"http://c4:7400"}`:               `field "raft"`,
				`{"change":"add","id":"c4","raft":"0.0.0.0:7401","api":"http://c4:7400"}`:        `field "raft"`,
				`{"change":"add","id":"c4","raft":"c4:7401","api":"http://c4:7400","dc":"a\nb"}`: `field "dc"`,
			},
		},
		wire.PathTransferLeader: {
			`{"to":"c2","force":true` + by, wire.TransferRequest{To: "c2", Force: true, Asker: kim},
			map[string]string{
				`{"to":"a/b"}`: `field "to": to "a/b"`, `{"to":2}`: `field "to": want a string, got number`,
				`{"by":"` + long + `"}`: `field "by"`, `{"force":"yes"}`: `field "force": want true or false`,
			},
		},
		wire.PathFailover: {
			`{"cluster":"main","to":"db2","force":true` + by,
			wire.FailoverRequest{Cluster: "main", To: key("db2"), Force: true, Asker: kim},
			map[string]string{
				`{"force":true,"reason":"r"}`:       `field "cluster"`,
				`{"cluster":"main","force":true}`:   `field "reason": is missing`,
				`{"cluster":"main","force":"true"}`: `field "force": want true or false, got string`,
				`{"cluster":"main","to":"a/b"}`:     `field "to"`,
			},
		},
		wire.PathMove: {
			`{"server":"db1","below":"db2"` + by, wire.MoveRequest{Server: key("db1"), Below: key("db2"), Asker: kim},
			map[string]string{`{"below":"db2"}`: `field "server": is missing`, `{"server":"db1"}`: `field "below": is missing`},
		},
		wire.PathSetReadOnly: {
			`{"server":"db1","read_only":false` + by, wire.ReadOnlyRequest{Server: key("db1"), ReadOnly: truth(false), Asker: kim},
			with(map[string]string{
				`{"server":"db1","reason":"r"}`:                   `field "read_only": is missing; say true or false`,
				`{"server":"db1","read_only":true}`:               `field "reason": is missing`,
				`{"server":"db1","read_only":"off","reason":"r"}`: `field "read_only": want true or false, got string`,
			}),
		},
	}
}

var (
	long   = strings.Repeat("b", 200)
	longer = strings.Repeat("r", 1200)
)

// serving records what a service is asked, and answers well.
func serving(got *[]any) func(any) (any, error) {
	return func(request any) (any, error) {
		*got = append(*got, request)
		switch request.(type) {
		case wire.FailoverRequest:
			return wire.Recovery{ID: "main-9"}, nil
		case wire.ServerRequest:
			return nil, wire.NewError(wire.NotFound, "there is no server db1:3306", "see switchyard topology")
		}
		return wire.Done{Action: "it", Changed: true, Sentence: "done"}, nil
	}
}

func TestOperationsAreAskedOfTheService(t *testing.T) {
	var got []any
	svc := full()
	svc.do = serving(&got)
	d := open(t, adminapi.Config{SelfID: "c1"}, svc)
	follower := open(t, adminapi.Config{SelfID: "c2", Peers: at(map[string]string{"c1": d.url})}, &service{leaderID: "c1"})
	lonely := open(t, adminapi.Config{SelfID: "c3"}, &service{})
	for path, c := range asked() {
		t.Run(strings.TrimPrefix(path, "/api/v1/"), func(t *testing.T) {
			for _, url := range []string{d.url, follower.url} {
				got = nil
				a := send(t, "POST", url+path, c.body)
				if len(got) != 1 || !reflect.DeepEqual(got[0], c.want) {
					t.Fatalf("the service was asked for %+v, want %+v; answered %s", got, c.want, a.body)
				}
				switch c.want.(type) {
				case wire.ServerRequest:
					wantError(t, a, 404, wire.NotFound, "there is no server db1:3306; see switchyard topology")
				case wire.FailoverRequest:
					if r := into[wire.Recovery](t, a); r.ID != "main-9" {
						t.Errorf("%+v", r)
					}
				default:
					if done := into[wire.Done](t, a); !done.Changed || done.Sentence != "done" {
						t.Errorf("%+v", done)
					}
				}
			}
			wantError(t, send(t, "POST", lonely.url+path, c.body), 503, wire.NoLeader, "knows no leader")
			a := send(t, "GET", d.url+path, "")
			wantError(t, a, 405, wire.MethodNotAllowed, "use POST")
		})
	}
}

// What is wrong is named wherever it arrives, and reaches nobody.
func TestBadOperations(t *testing.T) {
	svc := full()
	svc.do = func(request any) (any, error) {
		t.Errorf("a bad request reached the service: %+v", request)
		return nil, nil
	}
	leader := open(t, adminapi.Config{SelfID: "c1"}, svc)
	follower := open(t, adminapi.Config{SelfID: "c2"}, &service{leaderID: "c1"})
	for path, c := range asked() {
		t.Run(strings.TrimPrefix(path, "/api/v1/"), func(t *testing.T) {
			if len(c.bad) == 0 {
				t.Error("nothing bad is tried")
			}
			for body, part := range c.bad {
				wantError(t, send(t, "POST", leader.url+path, body), 400, wire.BadRequest, part)
				wantError(t, send(t, "POST", follower.url+path, body), 400, wire.BadRequest, part)
			}
			for body, part := range map[string]string{
				``: "body is empty", `[]`: "not a JSON object", c.body + `{}`: "behind the JSON object", c.body[:9]: "",
				strings.Replace(c.body, "{", `{"extra":1,`, 1): `field "extra" is not known; the fields are `,
			} {
				wantError(t, send(t, "POST", leader.url+path, body), 400, wire.BadRequest, part)
			}
		})
	}
	big := `{"server":"db1","reason":"` + strings.Repeat("x", 100<<10) + `"}`
	wantError(t, send(t, "POST", leader.url+wire.PathDetach, big), 413, wire.TooLarge, "bytes")
}

func TestOperationsAreRefused(t *testing.T) {
	svc := full()
	svc.do = func(any) (any, error) { return nil, wire.NewError(wire.Refused, "it lags", "nothing was moved") }
	d := open(t, adminapi.Config{SelfID: "c1"}, svc)
	for path, c := range asked() {
		wantError(t, send(t, "POST", d.url+path, c.body), 409, wire.Refused, "it lags; nothing was moved")
	}
}

// The log says who asked for what, from where.
func TestOperationsAreLogged(t *testing.T) {
	var got []any
	svc := full()
	svc.do = serving(&got)
	d := open(t, adminapi.Config{SelfID: "c1"}, svc)
	send(t, "POST", d.url+wire.PathPause, `{"reason":"moving racks","by":"kim"}`)
	for _, part := range []string{"/api/v1/pause", "moving racks", "kim", "from=127.0.0.1:"} {
		if !strings.Contains(d.log.String(), part) {
			t.Errorf("the log does not speak of %s: %s", part, d.log)
		}
	}
}

func TestAuditRoute(t *testing.T) {
	var got []wire.AuditQuery
	svc := full()
	svc.audit = func(q wire.AuditQuery) (wire.Audit, error) {
		got = append(got, q)
		if q.Cluster == "empty" {
			return wire.Audit{}, nil
		}
		return wire.Audit{Entries: []ledger.AuditEntry{{ID: 7, Kind: ledger.AuditOperator, Server: key("db1")}}, Next: 7}, nil
	}
	// A follower answers by itself: the ledger is everybody's.
	d := open(t, adminapi.Config{SelfID: "c2"}, &service{operations: svc.operations, leaderID: "c1"})
	a := into[wire.Audit](t, send(t, "GET", d.url+"/api/v1/audit", ""))
	if len(a.Entries) != 1 || a.Entries[0].Server != key("db1") || a.Next != 7 {
		t.Errorf("%+v", a)
	}
	if a := send(t, "GET", d.url+"/api/v1/audit?cluster=empty", ""); a.body != "{\"entries\":[]}\n" {
		t.Errorf("an empty answer is %q", a.body)
	}
	send(t, "GET", d.url+"/api/v1/audit?server=db1&kind=hook&since=3d&before=12&limit=1000", "")
	send(t, "GET", d.url+"/api/v1/audit?since=2026-03-04T05:06:07Z", "")
	want := []wire.AuditQuery{
		{Limit: 100}, {Cluster: "empty", Limit: 100},
		{Server: key("db1"), Kind: ledger.AuditHook, Ago: wire.Duration(72 * time.Hour), Before: 12, Limit: 1000},
		{Since: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Limit: 100},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
