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
	"switchyard/router/haproxy"
	"switchyard/router/proxysql"
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

func TestProxySQL(t *testing.T) {
	f := load(t, base+psOf("", ""), nil)
	want := proxysql.Slot{Hostgroup: 10, Reader: 11, Weight: 1, MaxConnections: 1000}
	if p := f.ProxySQL[0]; p.Slot() != want || p.Timeout != time.Second || p.Password.Reveal() != "hush-ps-4711" {
		t.Errorf("proxysql is %+v", p)
	}
	if got := f.Policy("shop").Proxies; got != 2 {
		t.Errorf("the policy counts %d proxies and not the HAProxy and the ProxySQL", got)
	}
	// Two clusters share a ProxySQL, each with hostgroups of its own.
	other := strings.Replace(psOf("name: ps1", "name: ps2"), "writer_hostgroup: 10, reader_hostgroup: 11", "writer_hostgroup: 20", 1)
	f = load(t, base+psOf("", "")+strings.TrimPrefix(other, "proxysql:\n"), nil)
	if p := f.ProxySQL[1]; p.ReaderHostgroup != proxysql.NoReader {
		t.Errorf("proxysql is %+v", p)
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
		"region_pattern: ''", "semi_sync: auto", "max_lag: 0s", "intermediate_clusters: []", "prevent_cross_datacenter: false",
		"prevent_cross_region: false", "backlog: delay", "co_master_only: false", "reasonable_lag: 10s", "failover_after: {}",
		"locked_after: 10s", "semi_sync_repair: none", "cascade: {limit: 2, window: 1h}", "lost_downtime: 24h", "salvage_timeout: 2s",
		"audit_retention: 2160h", "write_probe: {enabled: false, schema: switchyard, interval: 1s, timeout: 1s}",
		"anti_flap: 10m", "restart_grace: 15s", "min_stall: 1500ms", "partition: hold",
		"prefix: mysql/master", "timeout: 1s", "backend: shop_writer", "server: master", "maxconn: 4000",
		"log: {level: info, format: text}", "raft:", "  heartbeat_timeout: 600ms", "  election_timeout: 600ms",
		"  leader_lease_timeout: 400ms", "  commit_timeout: 5ms",
		"hooks:", "  timeout: 30s", "  shell: /bin/sh", "  on_failure_detection: []", "  pre_graceful_takeover: []", "  pre_failover: []",
		"  post_take_master: []", "  post_intermediate_master_failover: []", "  post_failover: []",
		"  post_unsuccessful_failover: []", "  post_graceful_takeover: []",
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
		MaxLag: 30 * time.Second, SemiSync: policy.SemiSyncOn, Partition: policy.PartitionHold, UnreachableProxies: policy.ProxiesFast, Proxies: 1,
		Backlog: policy.BacklogDelay, ReasonableLag: 10 * time.Second, LockedAfter: 10 * time.Second,
		SemiSyncRepair: policy.SemiSyncLeave, CascadeLimit: 2, CascadeWindow: time.Hour, LostDowntime: 24 * time.Hour,
		SalvageTimeout: 2 * time.Second, Readers: policy.Readers{MaxLag: 10 * time.Second, LeaveAfter: 2 * time.Second, JoinAfter: 5 * time.Second},
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

func TestReaders(t *testing.T) {
	text := strings.Replace(base, "name: ha1,", "name: ha1, datacenter: dc7, readers: {listen: '127.0.0.1:3308'},", 1)
	text = strings.Replace(text, `    seeds: ["db1:3306"]`, `    seeds: ["db1:3306"]
    readers: {max_lag: 3s, join_after: 0s, weights: {DB3: 9}, exclude: [db4], writer: true}`, 1)
	f := load(t, text, nil)
	h := f.HAProxy[0]
	if want := (haproxy.Readers{Backend: "shop_readers", Slots: 8}); h.ReaderSlots() != want || h.Readers.MaxConn != 800 || h.Datacenter != "dc7" {
		t.Errorf("%+v", h)
	}
	want := policy.Readers{Tended: true, MaxLag: 3 * time.Second, LeaveAfter: 2 * time.Second, Writer: true,
		Weights: map[topology.Key]int{{Host: "db3", Port: 3306}: 9}, Exclude: []topology.Key{{Host: "db4", Port: 3306}}}
	if got := f.Policy("shop").Readers; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := want.Weight(topology.Key{Host: "db5", Port: 3306}); got != 1 {
		t.Errorf("a server that is not named has weight %d", got)
	}
	plain := load(t, base, nil)
	if plain.Policy("shop").Readers.Tended || !plain.HAProxy[0].ReaderSlots().IsZero() {
		t.Error("readers are tended, and nobody has an entrance for them")
	}
}

// A cluster's own keys win over recovery's, each alone; the others are inherited.
func TestPolicyOfOneCluster(t *testing.T) {
	text := strings.Replace(base, `    seeds: ["db1:3306"]`, `    seeds: ["db1:3306"]
    prevent_cross_datacenter: false
    failover_after: {full-disk: 1m}
    cascade: {limit: 0}
    anti_flap: 0s
    partition: ~
  - {name: shop2, seeds: [db9]}
recovery:
  intermediate_clusters: ['shop2?']
  prevent_cross_datacenter: true
  prevent_cross_region: true
  co_master_only: true
  backlog: fail
  partition: failover
  max_lag: 1m
  reasonable_lag: 2s
  locked_after: 3s
  semi_sync_repair: exact
  failover_after: {stalled-writes: 30s, stuck-semi-sync: 1m}
  cascade: {limit: 3, window: 2h}
  lost_downtime: 4h
  salvage_timeout: 0s`, 1)
	f := load(t, strings.Replace(text, "  user: switchyard", "  write_probe: {enabled: true}\n  user: switchyard", 1), nil)
	all := policy.Cluster{
		RecoverIntermediate: true, Controllers: 1, AntiFlap: 10 * time.Minute, RestartGrace: 15 * time.Second,
		MinStall: 1500 * time.Millisecond, MaxLag: time.Minute, Partition: policy.PartitionFailover, UnreachableProxies: policy.ProxiesFast, SemiSync: policy.SemiSyncAuto,
		PreventCrossDataCenter: true, PreventCrossRegion: true, Backlog: policy.BacklogFail, CoMasterOnly: true,
		FailoverAfter: map[topology.Trouble]time.Duration{
			topology.TroubleStalled: 30 * time.Second, topology.TroubleSemiSync: time.Minute,
		},
		LockedAfter: 3 * time.Second, SemiSyncRepair: policy.SemiSyncExact, ReasonableLag: 2 * time.Second,
		CascadeLimit: 3, CascadeWindow: 2 * time.Hour, LostDowntime: 4 * time.Hour,
		Readers: policy.Readers{MaxLag: 10 * time.Second, LeaveAfter: 2 * time.Second, JoinAfter: 5 * time.Second},
	}
	if got := f.Policy("shop2"); !reflect.DeepEqual(got, all) {
		t.Errorf("shop2: got %+v, want %+v", got, all)
	}
	other := all
	other.RecoverIntermediate = false
	if got := f.Policy("found"); !reflect.DeepEqual(got, other) {
		t.Errorf("one that the file does not name: got %+v, want %+v", got, other)
	}
	own := all
	own.PreventCrossDataCenter, own.CascadeLimit, own.AntiFlap, own.Proxies = false, 0, 0, 1
	own.FailoverAfter = map[topology.Trouble]time.Duration{topology.TroubleDiskFull: time.Minute}
	if got := f.Policy("shop"); !reflect.DeepEqual(got, own) {
		t.Errorf("shop: got %+v, want %+v", got, own)
	}
	p := f.Policy("shop2")
	p.FailoverAfter[topology.TroubleDiskFull] = time.Second
	if _, there := f.Policy("shop2").FailoverAfter[topology.TroubleDiskFull]; there {
		t.Error("a policy shares its maps with the file")
	}
}

func TestRaftProfiles(t *testing.T) {
	const ms = time.Millisecond
	for text, want := range map[string][4]time.Duration{
		"":                                  {600 * ms, 600 * ms, 400 * ms, 5 * ms},
		"raft: {profile: lan}\n":            {250 * ms, 250 * ms, 200 * ms, 5 * ms},
		"raft: {profile: wan}\n":            {600 * ms, time.Second, 500 * ms, 10 * ms},
		"raft: {commit_timeout: 7ms}\n":     {600 * ms, 600 * ms, 400 * ms, 7 * ms},
		"raft: {heartbeat_timeout: null}\n": {600 * ms, 600 * ms, 400 * ms, 5 * ms},
		"raft: {leader_lease_timeout: 100ms, profile: wan, election_timeout: 2s}\n": {600 * ms, 2 * time.Second, 100 * ms, 10 * ms},
	} {
		r := load(t, base+text, nil).Raft
		if got := [4]time.Duration{r.HeartbeatTimeout, r.ElectionTimeout, r.LeaderLeaseTimeout, r.CommitTimeout}; got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
		if r.TLS.Enabled() {
			t.Errorf("%q: TLS without being asked for", text)
		}
	}
}

func TestWriteProbe(t *testing.T) {
	f := load(t, strings.Replace(base, "  user: switchyard", "  write_probe: {enabled: true, schema: beats}\n  user: switchyard", 1), nil)
	if want := (config.WriteProbe{Enabled: true, Schema: "beats", Interval: time.Second, Timeout: time.Second}); f.MySQL.WriteProbe != want {
		t.Errorf("got %+v, want %+v", f.MySQL.WriteProbe, want)
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
