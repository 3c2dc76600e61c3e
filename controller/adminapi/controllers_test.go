package adminapi_test

import (
	"context"
	"reflect"
	"testing"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
)

// Any controller lists them, with a leader or without; a voice is for the holders
// of the secret.
func TestControllersAreListedWithoutALeader(t *testing.T) {
	voice := wire.Voice{ID: "c2", State: "follower", Term: 4, AppliedIndex: 9, LastContactMS: 1.5, Members: []wire.Member{{ID: "c2", Voter: true}}}
	svc := &service{
		voice: func(context.Context) (wire.Voice, error) { return voice, nil },
		members: func(context.Context) (wire.Controllers, error) {
			return wire.Controllers{Controller: "c2", Voters: 3}, nil
		},
	}
	d := open(t, adminapi.Config{SelfID: "c2", Secret: secret}, svc)
	if all := into[wire.Controllers](t, send(t, "GET", d.url+"/api/v1/controllers", "")); all.Controller != "c2" || all.Voters != 3 {
		t.Errorf("%+v", all)
	}
	if got, err := adminapi.NewPeers(secret).Voice(t.Context(), d.url); err != nil || !reflect.DeepEqual(got, voice) {
		t.Errorf("%v %+v", err, got)
	}
	if _, err := adminapi.NewPeers("another secret").Voice(t.Context(), d.url); err == nil {
		t.Error("a stranger heard it")
	}
	wantError(t, send(t, "GET", d.url+"/internal/v1/voice", ""), 401, wire.Unauthorized, "shared secret")
}
