package ctl_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
	"switchyard/controller/ctl"
	"switchyard/e2e/certs"
)

// guarded opens a door with a certificate that wants one of its callers, and
// tokens or passwords.
func guarded(t *testing.T, ca *certs.CA, mode adminapi.AuthMode) string {
	t.Helper()
	text, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	pair := ca.Issue(t, "c1", []string{"127.0.0.1"})
	own, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	c := &controller{id: "c1", leader: "c1", switchover: func(_ context.Context, r wire.SwitchoverRequest) (wire.Recovery, error) {
		done := recovery()
		done.By = r.By
		return done, nil
	}}
	server := adminapi.New(adminapi.Config{
		Bind: "127.0.0.1:0", SelfID: "c1",
		TLS: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert},
		// Even the leader check wants to know who asks.
		Auth: adminapi.Auth{Mode: mode, Users: []adminapi.User{
			{Name: "vi", Role: wire.Viewer, Secret: "the viewer's own"}, {Name: "op", Role: wire.Operator, Secret: "the operator's own"},
		}},
	}, c, slog.New(slog.DiscardHandler))
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "https://" + server.Addr().String()
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommandsOverTLSWithATokenOrPassword(t *testing.T) {
	ca := certs.New(t, "ours")
	own := ca.Issue(t, "kim", nil)
	byToken, byPassword := guarded(t, ca, adminapi.AuthToken), guarded(t, ca, adminapi.AuthBasic)
	files := map[string]string{"SWITCHYARD_CA": ca.File, "SWITCHYARD_CERT": own.Cert, "SWITCHYARD_KEY": own.Key}
	with := func(more ...string) map[string]string {
		env := map[string]string{}
		for name, value := range files {
			env[name] = value
		}
		for i := 0; i+1 < len(more); i += 2 {
			env[more[i]] = more[i+1]
		}
		return env
	}
	viewer, operator := secretFile(t, "the viewer's own\n"), secretFile(t, "the operator's own")
	for _, c := range []struct {
		env  map[string]string
		args []string
	}{
		{with("SWITCHYARD_TOKEN", "the viewer's own"), []string{"status", "--api", byToken}},
		{with("SWITCHYARD_TOKEN_FILE", viewer), []string{"status", "--api", byToken}},
		{with("SWITCHYARD_TOKEN", "wrong"), []string{"status", "--api", byToken, "--token-file", viewer}},
		{with("SWITCHYARD_USER", "else"), []string{"status", "--api", byToken, "--token-file", viewer}},
		{with("SWITCHYARD_USER", "vi", "SWITCHYARD_PASSWORD", "the viewer's own"), []string{"status", "--api", byPassword}},
		{with("SWITCHYARD_PASSWORD_FILE", viewer), []string{"status", "--api", byPassword, "--user", "vi"}},
		{with("SWITCHYARD_TOKEN", "x"), []string{"status", "--api", byPassword, "--user", "vi", "--password-file", viewer}},
		{
			map[string]string{"SWITCHYARD_TOKEN_FILE": viewer},
			[]string{"status", "--api", byToken, "--ca", ca.File, "--cert", own.Cert, "--key", own.Key},
		},
	} {
		if out, err := call(t.Context(), c.env, c.args...); err != nil || !strings.Contains(out, "answered by  c1") {
			t.Errorf("%q with %v: %v: %s", c.args, c.env, err, out)
		}
	}
	// The record names the user, whatever the caller calls itself.
	out, err := call(t.Context(), with("SWITCHYARD_TOKEN_FILE", operator), "switchover", "shop", "--by", "somebody", "--api", byToken, "--format", "json")
	if !strings.Contains(out, `"by": "op"`) {
		t.Errorf("%v: %s", err, out)
	}
	for _, c := range []struct {
		env  map[string]string
		args string
		want string
	}{
		{with(), "status --api " + byToken, "SWITCHYARD_TOKEN"},
		{with(), "status --api " + byPassword, "SWITCHYARD_PASSWORD"},
		{with("SWITCHYARD_TOKEN", "another"), "status --api " + byToken, "http.users"},
		{with("SWITCHYARD_TOKEN_FILE", viewer), "switchover shop --api " + byToken, "vi has the role viewer, and this needs operator"},
		{map[string]string{"SWITCHYARD_TOKEN": "x"}, "status --api " + byToken, "unknown authority"},
		{map[string]string{"SWITCHYARD_TOKEN": "x", "SWITCHYARD_CA": ca.File}, "status --api " + byToken, "wants one"},
	} {
		_, err := call(t.Context(), c.env, strings.Fields(c.args)...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to speak of %s", c.args, err, c.want)
		}
	}
}

func TestCommandsRefuseToSayWhoCallsWrongly(t *testing.T) {
	url := start(t, &controller{id: "c1", leader: "c1"}, nil)
	ca := certs.New(t, "ours")
	pair, other := ca.Issue(t, "kim", nil), ca.Issue(t, "other", nil)
	token, empty, torn := secretFile(t, "hush-token"), secretFile(t, "\n"), secretFile(t, "hush\nhush")
	for _, c := range []struct {
		env  map[string]string
		args []string
		want string
	}{
		{nil, []string{"--token-file", token, "--api", "http://10.0.0.1:7400"}, "use https://, or give --allow-plain"},
		{nil, []string{"--token-file", token, "--api", "10.0.0.1:7400"}, "use https://, or give --allow-plain"},
		{map[string]string{"SWITCHYARD_TOKEN": "hush"}, []string{"--api", url + ",http://db.example:7400"}, "http://db.example:7400 is plain"},
		{nil, []string{"--token-file", token, "--user", "kim"}, "keep one"},
		{nil, []string{"--token-file", token, "--password-file", token}, "keep one"},
		{map[string]string{"SWITCHYARD_TOKEN": "hush", "SWITCHYARD_USER": "kim"}, nil, "keep one"},
		{nil, []string{"--password-file", token}, "give --user"},
		{nil, []string{"--user", "kim"}, "give --password-file, or set SWITCHYARD_PASSWORD"},
		{nil, []string{"--user", "a:b", "--password-file", token}, "has a colon"},
		{nil, []string{"--user="}, "--user is empty"},
		{nil, []string{"--token-file="}, "--token-file is empty"},
		{nil, []string{"--token-file", empty}, "write the token into it"},
		{nil, []string{"--token-file", torn}, "want the secret and nothing else"},
		{nil, []string{"--token-file", token + "-none"}, "cannot be read"},
		{map[string]string{"SWITCHYARD_CA": token}, nil, "no PEM certificate; name the CA"},
		{nil, []string{"--ca", token + "-none"}, "no such file"},
		{nil, []string{"--cert", pair.Cert}, "give both, or neither"},
		{nil, []string{"--cert", pair.Cert, "--key", other.Key}, "name PEM files that are a pair"},
	} {
		args := append([]string{"status"}, c.args...)
		if !strings.Contains(strings.Join(args, " "), "--api") {
			args = append(args, "--api", url)
		}
		_, err := call(t.Context(), c.env, args...)
		var usage *ctl.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q with %v: %v, want %q", c.args, c.env, err, c.want)
		}
	}
	// On this host nobody listens in, and elsewhere it can be allowed.
	if out, err := call(t.Context(), map[string]string{"SWITCHYARD_TOKEN": "hush"}, "status", "--api", url); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := call(t.Context(), nil, "status", "--token-file", token, "--allow-plain", "--timeout", "1ms", "--api", "http://db.invalid:7400"); err == nil ||
		!strings.Contains(err.Error(), "no controller answers") {
		t.Errorf("%v", err)
	}
}
