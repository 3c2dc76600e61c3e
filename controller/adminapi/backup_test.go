package adminapi_test

import (
	"context"
	"strings"
	"testing"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
)

func TestBackups(t *testing.T) {
	const size = 20 << 20 // more than a follower takes of another answer
	whole := strings.Repeat("x", size)
	svc := full()
	svc.backup = func(_ context.Context, local bool) ([]byte, error) {
		if local {
			return []byte("the leader's own"), nil
		}
		return []byte(whole), nil
	}
	leader := open(t, adminapi.Config{SelfID: "c1"}, svc)
	peers := map[string]string{"c1": leader.url}
	follower := open(t, adminapi.Config{SelfID: "c2", Peers: at(peers)}, &service{leaderID: "c1",
		backup: func(_ context.Context, local bool) ([]byte, error) {
			if !local {
				t.Error("a follower was asked for what only the leader knows")
			}
			return []byte("the follower's own"), nil
		}})
	for _, url := range []string{leader.url, follower.url, leader.url} {
		if a := send(t, "GET", url+wire.PathBackup, ""); a.status != 200 || a.body != whole {
			t.Errorf("%s: status %d, %d bytes", url, a.status, len(a.body))
		}
		if a := send(t, "HEAD", url+wire.PathBackup, ""); a.status != 200 || a.body != "" {
			t.Errorf("%s: HEAD: %d, %d bytes", url, a.status, len(a.body))
		}
	}
	if a := send(t, "GET", follower.url+wire.PathBackup+"?local=true", ""); a.status != 200 || a.body != "the follower's own" {
		t.Errorf("local: %+v", a)
	}
	wantError(t, send(t, "GET", leader.url+wire.PathBackup+"?local=maybe", ""), 400, wire.BadRequest, "want true or false")
	alone := open(t, adminapi.Config{SelfID: "c3"}, &service{})
	wantError(t, send(t, "GET", alone.url+wire.PathBackup, ""), 503, wire.NoLeader, "knows no leader")
}

// One is made at a time, and one that fails makes room for the next.
func TestOneBackupAtATime(t *testing.T) {
	svc := full()
	entered, goOn := make(chan struct{}), make(chan struct{})
	svc.backup = func(context.Context, bool) ([]byte, error) {
		entered <- struct{}{}
		<-goOn
		return nil, wire.NewError(wire.Refused, "no", "")
	}
	d := open(t, adminapi.Config{SelfID: "c1"}, svc)
	first := make(chan answer, 1)
	go func() { first <- send(t, "GET", d.url+wire.PathBackup, "") }()
	<-entered
	wantError(t, send(t, "GET", d.url+wire.PathBackup, ""), 503, wire.Busy, "another backup")
	goOn <- struct{}{}
	wantError(t, <-first, 409, wire.Refused, "no")
	go func() { first <- send(t, "GET", d.url+wire.PathBackup, "") }()
	<-entered
	goOn <- struct{}{}
	<-first
}
