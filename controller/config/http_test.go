package config_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/config"
	"switchyard/e2e/certs"
)

// guarded is base with an http section; with an https address where secure.
func guarded(secure bool, section string) string {
	text := base
	if secure {
		text = strings.Replace(text, "http: http://127.0.0.1:7400", "http: https://127.0.0.1:7400", 1)
	}
	return text + section
}

const kim = "users: [{name: kim, role: admin, token: hush-token-of-kim-4711}]"

func TestHTTPIsPlainAndOpenByDefault(t *testing.T) {
	f := load(t, base, nil)
	server, err := f.HTTP.TLS.Server()
	if f.HTTP.Auth != config.AuthNone || server != nil || err != nil || f.HTTP.AllowPlain || len(f.HTTP.Users) > 0 {
		t.Errorf("%+v, %v, %v", f.HTTP, server, err)
	}
	if want := []config.OpenPath{config.OpenHealth, config.OpenLeaderCheck, config.OpenMetrics}; len(f.HTTP.Open) != len(want) {
		t.Errorf("open: %v, want %v", f.HTTP.Open, want)
	}
}

func TestHTTPUsersAndSecrets(t *testing.T) {
	f := load(t, guarded(false, "http:\n  auth: basic\n  open: []\n  users:\n"+
		"    - {name: kim@example.com, role: admin, password_file: kim}\n    - {name: mon, role: viewer, password: '${SWITCHYARD_SECRET}'}\n"),
		map[string]string{"kim": "hush-password-of-kim\n"})
	users := f.HTTP.Users
	if len(users) != 2 || users[0].Secret().Reveal() != "hush-password-of-kim" || users[1].Secret().Reveal() != sharedSecret ||
		users[0].Role != wire.Admin || users[1].Role != wire.Viewer || len(f.HTTP.Open) != 0 {
		t.Errorf("%d users: %q", len(users), users)
	}
	f = load(t, guarded(false, "http: {auth: proxy, proxy: {from: [10.1.2.3, '10.2.0.9/16', '::1'], role: viewer}}\n"), nil)
	var got []string
	for _, n := range f.HTTP.Proxy.From {
		got = append(got, n.Prefix().String())
	}
	if strings.Join(got, " ") != "10.1.2.3/32 10.2.0.0/16 ::1/128" || f.HTTP.Proxy.Header != "X-Forwarded-User" {
		t.Errorf("%q of %s", got, f.HTTP.Proxy.Header)
	}
}

// TestHTTPIsRefused has each combination that cannot be meant, and its remedy.
func TestHTTPIsRefused(t *testing.T) {
	ca, stranger := certs.New(t, "ours"), certs.New(t, "another")
	good := ca.Issue(t, "good", []string{"127.0.0.1"})
	elsewhere := ca.Issue(t, "elsewhere", []string{"10.0.0.9", "c1.example"})
	foreign := stranger.Issue(t, "foreign", []string{"127.0.0.1"})
	serverOnly := ca.Issue(t, "server-only", []string{"127.0.0.1"}, x509.ExtKeyUsageServerAuth)
	clientOnly := ca.Issue(t, "client-only", []string{"127.0.0.1"}, x509.ExtKeyUsageClientAuth)
	tlsOf := func(p certs.Pair, more string) string {
		return "http: {tls: {cert: " + p.Cert + ", key: " + p.Key + more + "}}\n"
	}
	users := func(auth, users string) string { return "http: {auth: " + auth + ", users: [" + users + "]}\n" }
	const everywhere = "bind: {raft: 127.0.0.1:7401, http: 0.0.0.0:7400}\n"
	for _, tc := range []struct {
		name        string
		secure      bool
		section     string
		key, remedy string
	}{
		{"https without a certificate", true, "", "http.tls.cert", "give cert and key, or change the address to http"},
		{"a certificate without https", false, tlsOf(good, ""), "http.tls.cert", "change it to https in the files of all controllers"},
		{"a certificate without key", true, "http: {tls: {cert: " + good.Cert + "}}\n", "http.tls", "give both, or neither"},
		{"a key of another", true, tlsOf(certs.Pair{Cert: good.Cert, Key: foreign.Key}, ""), "http.tls.cert", "name a PEM file"},
		{"no such file", true, tlsOf(certs.Pair{Cert: "none.pem", Key: good.Key}, ""), "http.tls.cert", "that this user may read"},
		{"a CA that is none", true, tlsOf(good, ", ca: "+good.Key), "http.tls.ca", "name a PEM file"},
		{"a client CA that is none", true, tlsOf(good, ", client_ca: "+good.Key), "http.tls.client_ca", "name a PEM file"},
		{"a client CA of a plain door", false, "http: {tls: {client_ca: " + ca.File + "}}\n", "http.tls.client_ca", "give http.tls.cert"},
		{"a certificate for another host", true, tlsOf(elsewhere, ""), "http.tls.cert", "have 127.0.0.1 in its subject alternative names"},
		{"a certificate of another CA", true, tlsOf(foreign, ", ca: "+ca.File), "http.tls.cert", "have it signed by that CA, for server"},
		{"a certificate that is for clients only", true, tlsOf(clientOnly, ", ca: "+ca.File), "http.tls.cert", "for server authentication"},
		{"a certificate that clients may not have", true, tlsOf(serverOnly, ", client_ca: "+ca.File), "http.tls.cert", "for client authentication too"},
		{"an unknown way", false, "http: {auth: kerberos}\n", "http.auth", "want none, basic, token or proxy"},
		{"users and nobody asks", false, "http: {" + kim + "}\n", "http.users", "give http.auth, or remove them"},
		{"tokens of nobody", false, "http: {auth: token}\n", "http.users", "add users, each with a name, a role and a token"},
		{"passwords of nobody", false, "http: {auth: basic}\n", "http.users", "a role and a password"},
		{"a user without a name", false, users("token", "{role: admin}"), "http.users[0].name", "name the user"},
		{"a name that cannot be", false, users("token", "{name: 'a:b', role: admin}"), "http.users[0].name", "want at most"},
		{"a user without a role", false, users("token", "{name: kim}"), "http.users[0].role", "want viewer, operator or admin"},
		{"a role that is none", false, users("token", "{name: kim, role: root}"), "http.users[0].role", "want viewer, operator or admin"},
		{"a user without a token", false, users("token", "{name: kim, role: admin}"), "http.users[0].token", "in a file that"},
		{"a password where tokens are", false, users("token", "{name: kim, role: admin, password: hush-4711-hush-4711}"),
			"http.users[0].password", "since http.auth is token; remove it"},
		{"a token where passwords are", false, users("basic", "{name: kim, role: admin, token_file: x}"),
			"http.users[0].token", "since http.auth is basic; remove it"},
		{"a token behind a proxy", false, "http: {auth: proxy, proxy: {from: [10.0.0.7]}, " + kim + "}\n",
			"http.users[0].token", "since http.auth is proxy; remove it"},
		{"a short token", false, users("token", "{name: kim, role: admin, token: hush-4711}"), "http.users[0].token", "want at least 12"},
		{"a token of two lines", false, users("token", `{name: kim, role: admin, token: "hush-4711\nhush-4711"}`), "http.users[0].token", "make another"},
		{"a name twice", false, users("basic", "{name: kim, role: admin, password: hush-password-4711}, {name: kim, role: viewer, password: hush-password-4712}"),
			"http.users[1].name", "name each user once"},
		{"a token twice", false, users("token", "{name: kim, role: admin, token: hush-password-4711}, {name: mon, role: viewer, token: hush-password-4711}"),
			"http.users[1].token", "a token of its own"},
		{"a proxy that is not asked", false, "http: {proxy: {from: [10.0.0.7]}}\n", "http.proxy", "make it proxy, or remove it"},
		{"a header that is not asked", false, "http: {auth: token, allow_plain: true, users: [{name: kim, role: admin, token: 0123456789abcdef}], proxy: {from: [10.0.0.7], header: X-User}}\n",
			"http.proxy.header", "make it proxy, or remove it"},
		{"a role that is not asked", false, "http: {auth: token, allow_plain: true, users: [{name: kim, role: admin, token: 0123456789abcdef}], proxy: {role: viewer}}\n",
			"http.proxy.role", "make it proxy, or remove it"},
		{"a proxy from nowhere", false, "http: {auth: proxy, proxy: {role: viewer}}\n", "http.proxy.from", "name the addresses of the proxies"},
		{"a proxy from everywhere", false, "http: {auth: proxy, proxy: {from: [0.0.0.0/0]}}\n", "http.proxy.from[0]", "name the proxies' own addresses"},
		{"a proxy by name", false, "http: {auth: proxy, proxy: {from: [edge]}}\n", "http.proxy.from[0]", "want an IP address"},
		{"a proxy and nobody", false, "http: {auth: proxy, proxy: {from: [10.0.0.7]}}\n", "http.users", "or give http.proxy.role"},
		{"a header of ours", false, "http: {auth: proxy, proxy: {from: [10.0.0.7], role: viewer, header: X-Switchyard-User}}\n",
			"http.proxy.header", "a header of the proxy's own"},
		{"a header that clients send", false, "http: {auth: proxy, proxy: {from: [10.0.0.7], role: viewer, header: Authorization}}\n",
			"http.proxy.header", "a header of the proxy's own"},
		{"something open that is not known", false, "http: {auth: token, open: [topology], " + kim + "}\n", "http.open[0]", "want health, leader-check or metrics"},
		{"tokens in the open", false, everywhere + "http: {auth: token, " + kim + "}\n", "http.auth", "or say allow_plain: true"},
		{"plain allowed for nothing", false, "http: {allow_plain: true}\n", "http.allow_plain", "remove it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := write(t, guarded(tc.secure, tc.section), nil)
			f, err := config.Load(path, environment)
			if err == nil || f != nil {
				t.Fatal("was accepted")
			}
			if m := err.Error(); !strings.Contains(m, ": "+tc.key) || !strings.Contains(m, tc.remedy) || strings.Contains(m, "hush") || strings.Contains(m, "\n") {
				t.Errorf("%q; want one sentence with %s and %q, and no secret", m, tc.key, tc.remedy)
			}
		})
	}
	// What each differs from is accepted.
	for name, text := range map[string]string{
		"tls":                    guarded(true, tlsOf(good, "")),
		"tls, both ways":         guarded(true, tlsOf(good, ", ca: "+ca.File+", client_ca: "+ca.File)),
		"tokens on loopback":     guarded(false, "http: {auth: token, "+kim+"}\n"),
		"tokens in the open":     guarded(false, everywhere+"http: {auth: token, allow_plain: true, "+kim+"}\n"),
		"tokens over tls":        guarded(true, everywhere+strings.Replace(tlsOf(good, ""), "http: {", "http: {auth: token, "+kim+", ", 1)),
		"a proxy with its users": guarded(false, "http: {auth: proxy, proxy: {from: [10.0.0.7]}, users: [{name: kim, role: admin}]}\n"),
	} {
		if _, err := config.Load(write(t, text, nil), environment); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Both sides of one controller: the door wants certificates, and the caller has one and
// verifies the other. The handshakes themselves are in the tests of the door.
func TestHTTPTLSIsBuiltForBothSides(t *testing.T) {
	ca := certs.New(t, "ours")
	pair := ca.Issue(t, "c1", []string{"127.0.0.1"})
	f := load(t, guarded(true, "http: {tls: {cert: "+filepath.Base(pair.Cert)+", key: "+pair.Key+", ca: "+ca.File+", client_ca: "+ca.File+"}}\n"),
		map[string]string{filepath.Base(pair.Cert): read(t, pair.Cert)})
	server, err := f.HTTP.TLS.Server()
	if err != nil || server.ClientAuth != tls.RequireAndVerifyClientCert {
		t.Fatalf("%v, %v", server, err)
	}
	if client, err := f.HTTP.TLS.Client(); err != nil || len(client.Certificates) != 1 || client.InsecureSkipVerify || client.RootCAs == nil {
		t.Errorf("%v, %v", client, err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
