package adminapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/call"
	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/certs"
	sidecar "switchyard/sidecar/call"
	"switchyard/sidecar/protocol"
)

// hold returns the configuration of one who shows pair and believes ca.
func hold(t *testing.T, ca *certs.CA, pair *certs.Pair) *tls.Config {
	t.Helper()
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != nil {
		text, err := os.ReadFile(ca.File)
		if err != nil {
			t.Fatal(err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			t.Fatal("no CA")
		}
		c.ClientCAs = c.RootCAs
	}
	if pair != nil {
		own, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{own}
	}
	return c
}

func secure(d door) string { return strings.Replace(d.url, "http://", "https://", 1) }

// Everything that a controller asks of another goes over TLS, and with nobody
// who is not whom the certificate names.
func TestCallsOverTLS(t *testing.T) {
	ca, other := certs.New(t, "ours"), certs.New(t, "another")
	pair, client := ca.Issue(t, "c1", []string{"127.0.0.1"}), ca.Issue(t, "kim", nil)
	server := hold(t, ca, &pair)
	leader := open(t, adminapi.Config{SelfID: "c1", Secret: secret, TLS: server, Word: func(context.Context, wire.WordRequest) (wire.WordReply, error) {
		return wire.WordReply{}, nil
	}}, full())
	over := hold(t, ca, nil)
	peers := adminapi.NewPeers(secret).Over(over)
	if who, err := peers.WhoAmI(t.Context(), secure(leader)); err != nil || who.ID != "c1" {
		t.Errorf("who: %+v, %v", who, err)
	}
	if _, err := peers.Ask(t.Context(), secure(leader), question()); err != nil {
		t.Errorf("witness: %v", err)
	}
	if _, err := peers.Word(t.Context(), secure(leader), wire.WordRequest{}); err != nil {
		t.Errorf("word: %v", err)
	}
	for begun := time.Now(); ; {
		s := peers.States(t.Context(), map[string]string{"c1": secure(leader)})
		if s["c1"] == "leader" {
			break
		}
		if time.Since(begun) > patience {
			t.Fatalf("states: %v", s)
		}
	}
	follower := open(t, adminapi.Config{SelfID: "c2", PeerTLS: over, Peers: at(map[string]string{"c1": secure(leader)})}, &service{leaderID: "c1"})
	if e := into[wire.Explanation](t, send(t, "GET", follower.url+"/api/v1/explain/main", "")); e.Cluster != "main" {
		t.Errorf("forwarded: %+v", e)
	}

	named := ca.Issue(t, "elsewhere", []string{"10.0.0.9"})
	elsewhere := open(t, adminapi.Config{SelfID: "c1", Secret: secret, TLS: hold(t, ca, &named)}, full())
	demanding := server.Clone()
	demanding.ClientAuth = tls.RequireAndVerifyClientCert
	closed := open(t, adminapi.Config{SelfID: "c1", Secret: secret, TLS: demanding}, full())
	if _, err := adminapi.NewPeers(secret).Over(hold(t, ca, &client)).WhoAmI(t.Context(), secure(closed)); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	stranger := other.Issue(t, "stranger", nil)
	for name, c := range map[string]struct {
		url  string
		over *tls.Config
	}{
		"signed by unknown authority": {secure(leader), hold(t, other, nil)},
		"certificate":                 {secure(leader), nil},
		"10.0.0.9":                    {secure(elsewhere), over},
		"wants one":                   {secure(closed), over},
		"this caller's certificate":   {secure(closed), hold(t, ca, &stranger)},
	} {
		if _, err := adminapi.NewPeers(secret).Over(c.over).WhoAmI(t.Context(), c.url); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// A leader that is somebody else was not heard, and the caller learns it.
	misled := open(t, adminapi.Config{SelfID: "c2", PeerTLS: hold(t, other, nil), Peers: at(map[string]string{"c1": secure(leader)})}, &service{leaderID: "c1"})
	wantError(t, send(t, "POST", misled.url+"/api/v1/switchover", `{"cluster":"main"}`), 503, wire.LeaderUnreachable, "nothing was done", "unknown authority")
}

// A plain caller of a door with TLS, and one that never shakes hands, hold
// nobody up.
func TestRudeCallersOfADoorWithTLS(t *testing.T) {
	ca := certs.New(t, "ours")
	pair := ca.Issue(t, "c1", []string{"127.0.0.1"})
	d := open(t, adminapi.Config{
		SelfID: "c1", Secret: secret, TLS: hold(t, ca, &pair), Limits: adminapi.Limits{Read: 3 * time.Second},
	}, full())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := call.Do(ctx, call.Request{Method: "GET", URL: d.url + "/health/live"}); err == nil || !strings.Contains(err.Error(), "its URL begins with https") {
		t.Errorf("plain: %v", err)
	}
	mute := dial(t, d)
	if err := mute.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := mute.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("who does not shake hands is left: %d bytes, %v", n, err)
	}
	request, err := http.NewRequestWithContext(ctx, "GET", secure(d)+"/health/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := roundTrip(t, &http.Transport{DisableKeepAlives: true, TLSClientConfig: hold(t, ca, nil)}, request); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Sidecars call over TLS as controllers do.
func TestSidecarsCallOverTLS(t *testing.T) {
	ca, other := certs.New(t, "ours"), certs.New(t, "another")
	pair := ca.Issue(t, "c1", []string{"127.0.0.1"})
	d := open(t, adminapi.Config{
		SelfID: "c1", SidecarSecret: "between", TLS: hold(t, ca, &pair), Auth: tokens(),
		Sidecars: map[string]adminapi.SidecarCall{protocol.PathExit: {Answer: func(context.Context, []byte) ([]byte, error) {
			return protocol.Encode(protocol.ExitNoted{Controller: "c1"})
		}}},
	}, full())
	ask := func(over *tls.Config) (protocol.ExitNoted, error) {
		client := sidecar.NewOver("between", over)
		defer client.Wait()
		return sidecar.Post[protocol.ExitNoted](t.Context(), client, secure(d), protocol.PathExit, protocol.Exit{
			Who: protocol.Who{Sidecar: "side", Run: "r", Boot: "b", Cluster: "shop", Server: "db1:3306"}, Kind: protocol.Clean, PID: 42,
		})
	}
	if noted, err := ask(hold(t, ca, nil)); err != nil || noted.Controller != "c1" {
		t.Errorf("%+v, %v", noted, err)
	}
	if _, err := ask(hold(t, other, nil)); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("to a stranger: %v", err)
	}
}
