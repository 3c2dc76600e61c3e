package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"switchyard/e2e/certs"
	"switchyard/sidecar/config"
)

func TestControllersBehindTLS(t *testing.T) {
	ca, other := certs.New(t, "ours"), certs.New(t, "another")
	own, foreign := ca.Issue(t, "edge", nil), other.Issue(t, "foreign", nil)
	load := func(scheme, section string) (*config.File, error) {
		text := "name: edge\ndatacenter: dc1\nstate_dir: state\nlisten: 127.0.0.1:7500\nsecret: between\n" +
			"controllers: [{id: c1, http: '" + scheme + "://127.0.0.1:7400'}]\n" + section +
			"proxysql: [{name: ps1, cluster: shop, admin: '127.0.0.1:6032', user: radmin, password: x, writer_hostgroup: 10}]\n"
		path := filepath.Join(t.TempDir(), "sidecar.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return config.Load(path, func(string) (string, bool) { return "", false })
	}
	f, err := load("https", "tls: {ca: "+ca.File+", cert: "+own.Cert+", key: "+own.Key+"}\n")
	if err != nil {
		t.Fatal(err)
	}
	if over, err := f.TLS.Build(); err != nil || over.RootCAs == nil || len(over.Certificates) != 1 || over.InsecureSkipVerify {
		t.Errorf("%v, %v", over, err)
	}
	for _, scheme := range []string{"http", "https"} {
		if _, err := load(scheme, ""); err != nil {
			t.Errorf("%s without tls: %v", scheme, err)
		}
	}
	for section, remedy := range map[string]string{
		"tls: {cert: " + own.Cert + "}\n":                           "give both, or neither",
		"tls: {cert: " + own.Cert + ", key: " + foreign.Key + "}\n": "are no pair",
		"tls: {ca: none.pem}\n":                                     "name a PEM file that this user may read",
	} {
		if _, err := load("https", section); err == nil || !strings.Contains(err.Error(), "tls") || !strings.Contains(err.Error(), remedy) {
			t.Errorf("%s: %v", section, err)
		}
	}
	if _, err := load("http", "tls: {ca: "+ca.File+"}\n"); err == nil || !strings.Contains(err.Error(), "change them to https, or remove it") {
		t.Errorf("%v", err)
	}
}
