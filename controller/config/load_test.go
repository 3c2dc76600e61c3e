package config_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"switchyard/controller/config"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// Passwords that must never be seen, and that no other text contains.
const (
	sharedSecret = "hush-shared-4711"
	mysqlSecret  = "hush-mysql-4711"
	replSecret   = "hush-repl-4711"
	tokenSecret  = "hush-token-4711"
)

func environment(name string) (string, bool) {
	value, ok := map[string]string{
		"SWITCHYARD_SECRET":               sharedSecret,
		"SWITCHYARD_MYSQL_PASSWORD":       mysqlSecret,
		"SWITCHYARD_REPLICATION_PASSWORD": replSecret,
		"CONSUL_HTTP_TOKEN":               tokenSecret,
		"EMPTY":                           "",
		"ID":                              "c1",
	}[name]
	return value, ok
}

// base is a small valid file; tests replace parts of it.
const base = `name: prod
id: c1
datacenter: dc1
data_dir: data
secret: ${SWITCHYARD_SECRET}
controllers:
  - {id: c1, raft: 127.0.0.1:7401, http: http://127.0.0.1:7400}
mysql:
  user: switchyard
  password: hush-mysql-4711
  replication: {user: repl, password: hush-repl-4711}
clusters:
  - name: shop
    seeds: ["db1:3306"]
consul:
  - {datacenter: dc1, address: http://127.0.0.1:8500, token: hush-token-4711}
haproxy:
  - {name: ha1, cluster: shop, runtime: tcp://127.0.0.1:9990}
`

// write puts a configuration, and files beside it, into a new directory.
func write(t *testing.T, text string, beside map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range beside {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "switchyard.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, text string, beside map[string]string) *config.File {
	t.Helper()
	f, err := config.Load(write(t, text, beside), environment)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestExampleLoads(t *testing.T) {
	f := load(t, config.Example(), nil)
	if f.Self().Raft != "10.0.0.1:7401" || f.Bind.Raft != "10.0.0.1:7401" || f.Bind.HTTP != "10.0.0.1:7400" {
		t.Errorf("self is %+v, bind %+v", f.Self(), f.Bind)
	}
	if f.Secret.Reveal() != sharedSecret || f.MySQL.Password.Reveal() != mysqlSecret {
		t.Error("secrets did not come from the environment")
	}
	if h := f.HAProxy[0]; h.Backend != "shop_writer" || h.Server != "master" || h.MaxConn != 4000 || h.Timeout != time.Second {
		t.Errorf("haproxy is %+v", h)
	}
	if c := f.Consul[0]; c.Prefix != "mysql/master" || c.Timeout != time.Second || c.Token != "" {
		t.Errorf("consul has prefix %q, timeout %s", c.Prefix, c.Timeout)
	}
}

// TestExampleDefaults uncomments what the example says to be the default: it
// must change nothing.
func TestExampleDefaults(t *testing.T) {
	text := config.Example()
	plain := load(t, text, nil)
	for _, line := range []string{
		"connect_timeout: 500ms", "probe_timeout: 1s", "probe_interval: 1s", `lag_query: ""`, `datacenter_query: ""`,
		`region_query: ""`, `cluster_name_query: ""`, "heartbeat_period: 500ms", "connect_retry: 1s", "retry_count: 86400",
		"region_pattern: ''", "semi_sync: auto", "max_lag: 0s", "anti_flap: 10m", "restart_grace: 15s", "min_stall: 1500ms", "cut_off: hold",
		"prefix: mysql/master", "timeout: 1s", "backend: shop_writer", "server: master", "maxconn: 4000",
		"log: {level: info, format: text}", "raft:", "  heartbeat_timeout: 600ms", "  election_timeout: 600ms",
		"  leader_lease_timeout: 400ms", "  commit_timeout: 5ms",
	} {
		if !strings.Contains(text, "# "+line+"\n") {
			t.Errorf("the example does not have %q commented out", line)
		}
		text = strings.ReplaceAll(text, "# "+line+"\n", line+"\n")
	}
	full := load(t, text, nil)
	full.DataDir, plain.DataDir = "", ""
	if !reflect.DeepEqual(full, plain) {
		t.Errorf("the example's defaults are not the defaults:\n%+v\n%+v", full, plain)
	}
}

// TestExampleHasEveryKey walks the types, so that no key goes undocumented.
func TestExampleHasEveryKey(t *testing.T) {
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Slice:
			walk(typ.Elem())
		case reflect.Struct:
			if typ == reflect.TypeFor[topology.Key]() {
				return
			}
			for i := range typ.NumField() {
				field := typ.Field(i)
				key := field.Tag.Get("yaml")
				if !field.IsExported() {
					continue
				}
				if key == "" || !strings.Contains(config.Example(), key+":") {
					t.Errorf("the example does not show key %q of %s", key, typ)
				}
				walk(field.Type)
			}
		}
	}
	walk(reflect.TypeFor[config.File]())
}

func TestSecretsFromFiles(t *testing.T) {
	text := strings.NewReplacer(
		"secret: ${SWITCHYARD_SECRET}", "secret_file: shared",
		"  user: switchyard\n  password: hush-mysql-4711\n", "  credentials_file: my.cnf\n",
		"password: hush-repl-4711", "password_file: repl",
		"token: hush-token-4711", "token_file: token",
	).Replace(base)
	f := load(t, text, map[string]string{
		"shared": sharedSecret + "\n",
		"my.cnf": "# ours\n[mysqld]\npassword=no\n[client]\nuser = probe # comment\npassword=\"a#b\\\"c \"\n[mysql]\nuser=no\n",
		"repl":   " spaces stay \r\n",
		"token":  tokenSecret,
	})
	for _, got := range []struct{ name, got, want string }{
		{"secret", f.Secret.Reveal(), sharedSecret},
		{"mysql.user", f.MySQL.User, "probe"},
		{"mysql.password", f.MySQL.Password.Reveal(), `a#b"c `},
		{"mysql.replication.password", f.MySQL.Replication.Password.Reveal(), " spaces stay "},
		{"consul[0].token", f.Consul[0].Token.Reveal(), tokenSecret},
		{"data_dir", filepath.Base(f.DataDir), "data"},
	} {
		if got.got != got.want {
			t.Errorf("%s is %q, want %q", got.name, got.got, got.want)
		}
	}
	if !filepath.IsAbs(f.DataDir) {
		t.Errorf("data_dir is %q, want it beside the file", f.DataDir)
	}
}

func TestPolicy(t *testing.T) {
	text := strings.Replace(base, `    seeds: ["db1:3306"]`, `    seeds: ["DB1.:3306"]
    promotion_rules: {"DB3": must_not, "db2:3307": must}
    semi_sync: on
    max_lag: 30s
  - {name: shop2, seeds: [db9]}
recovery: {clusters: ['shop|bil+ing'], anti_flap: 1h, restart_grace: 0s}`, 1)
	f := load(t, text, nil)
	want := policy.Cluster{
		Recover: true, Controllers: 1, AntiFlap: time.Hour, MinStall: 1500 * time.Millisecond,
		Rules: map[topology.Key]policy.Rule{
			{Host: "db3", Port: 3306}: policy.MustNot, {Host: "db2", Port: 3307}: policy.Must,
		},
		MaxLag: 30 * time.Second, SemiSync: policy.SemiSyncOn, CutOff: policy.CutOffHold, Proxies: 1,
	}
	if got := f.Policy("shop"); !reflect.DeepEqual(got, want) {
		t.Errorf("shop: got %+v, want %+v", got, want)
	}
	for cluster, recovers := range map[string]bool{"shop2": false, "billing": true, "xbilling": false, "other": false} {
		got := f.Policy(cluster)
		if got.Recover != recovers || got.SemiSync != policy.SemiSyncAuto || got.Rules != nil || got.Controllers != 1 {
			t.Errorf("%s: got %+v, want recover %v and the default rules", cluster, got, recovers)
		}
	}
	if got := f.Clusters[0].Seeds[0].String(); got != "db1:3306" {
		t.Errorf("seed is %s, want it in lower case", got)
	}
	if load(t, base, nil).Policy("shop").Recover {
		t.Error("recovery is not opt-in")
	}
	if !load(t, base+"recovery: {clusters: ['*']}\n", nil).Policy("any").Recover {
		t.Error("'*' does not match every cluster")
	}
}

func TestEnvironmentOutsideSecrets(t *testing.T) {
	if f := load(t, strings.Replace(base, "id: c1\n", "id: ${ID}\n", 1), nil); f.ID != "c1" {
		t.Errorf("id is %q", f.ID)
	}
}

func TestMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	f, err := config.Load(path, environment)
	if f != nil || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) ||
		!strings.Contains(err.Error(), "--config") {
		t.Errorf("got %v, %v", f, err)
	}
}

// certificate makes a self-signed certificate and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "db1"}, DNSNames: []string{"db1"}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

func TestSecretsAreHidden(t *testing.T) {
	f := load(t, base, nil)
	asJSON, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("config", "file", f, "secret", f.Secret)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("config", "file", f, "secret", f.Secret)
	shown := map[string]string{"json": string(asJSON), "yaml": string(asYAML), "log": log.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%t", "%c"} {
		shown[verb] = fmt.Sprintf(verb+verb, *f, f.Secret)
	}
	for how, text := range shown {
		if strings.Contains(text, "hush") || strings.Contains(text, fmt.Sprintf("%x", "hush")) {
			t.Errorf("%s shows a secret: %s", how, text)
		}
		if !strings.Contains(text, "(hidden)") {
			t.Errorf("%s does not show that a secret is there: %s", how, text)
		}
	}
	if f.Secret.Reveal() != sharedSecret {
		t.Errorf("Reveal() = %q", f.Secret.Reveal())
	}
}
