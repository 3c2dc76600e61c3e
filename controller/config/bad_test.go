package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"switchyard/controller/config"
)

// bad is a change to base (Old for New; without Old, New is added), and what
// the error must name.
type bad struct {
	name, old, new string
	key, remedy    string
}

const consulLine = "{datacenter: dc1, address: http://127.0.0.1:8500, token: hush-token-4711}"

var badFiles = []bad{
	{"empty", base, "", "is empty", "config example"},
	{"only comments", base, "# nothing\n", "is empty", "config example"},
	{"no mapping", base, "- a\n", "", "wants a mapping"},
	{"no YAML", "id: c1\n", "id: [c1\n", "line ", "correct the syntax"},
	{"tab", "id: c1\n", "\tid: c1\n", "line ", "correct the syntax"},
	{"two documents", "", "---\nname: x\n", "goes on", "one document"},
	{"unknown key", "", "colour: red\n", "colour (line 19)", "use one of name, id"},
	{"unknown key that is close", "data_dir:", "datadir:", "datadir (line 4)", "did you mean data_dir?"},
	{"unknown key deep down", "password: hush-mysql-4711", "passwrd: hush-mysql-4711",
		"mysql.passwrd (line 10)", "did you mean mysql.password?"},
	{"unknown key in a list", "runtime:", "run-time:",
		"haproxy[0].run-time (line 18)", "did you mean haproxy[0].runtime?"},
	{"key twice", "", "id: c1\n", "id", "keep one"},
	{"wrong type: text for a mapping", "", "raft: fast\n", "raft (line 19)", "wants a mapping"},
	{"wrong type: mapping for a text", "name: prod", "name: {a: b}", "name (line 1)", "wants a text, not a mapping"},
	{"wrong type: text for a list", "", "recovery: {clusters: shop}\n", "recovery.clusters (line 19)", "wants a list"},
	{"wrong type: list for a map", "", "discovery: {datacenters: [a]}\n",
		"discovery.datacenters", "wants a mapping of HOST:PORT"},
	{"wrong type: number", "runtime:", "maxconn: many, runtime:", "haproxy[0].maxconn", "wants a whole number"},
	{"wrong type: duration", "", "recovery: {anti_flap: 600}\n", "recovery.anti_flap", "wants a duration such as"},
	{"wrong type: list for a secret", "password: hush-mysql-4711", "password: [hush-mysql-4711]",
		"mysql.password", "wants a text"},
	{"negative duration", "", "recovery: {anti_flap: -5s}\n", "recovery.anti_flap", "not negative"},
	{"alias", "password: hush-mysql-4711", "password: *hush-mysql-4711", "a value begins with *", "quoted"},
	{"anchor", "password: hush-mysql-4711", "password: &hush-mysql-4711 x",
		"mysql.password", "quote one that begins with &"},
	{"tag", "password: hush-mysql-4711", "password: !hush-mysql-4711 x",
		"mysql.password", "quote one that begins with !"},
	{"empty list item", "", "recovery: {clusters: [~]}\n", "recovery.clusters[0]", "remove it"},

	{"no name", "name: prod\n", "", "name", "is missing; it is the identity"},
	{"bad name", "name: prod", "name: a/b", "name (line 1)", "A-Z a-z 0-9"},
	{"name with a dot in front", "name: prod", "name: .prod", "name (line 1)", "begin with a dot"},
	{"no data_dir", "data_dir: data\n", "data_dir:\n", "data_dir", "is missing; name a directory"},
	{"no secret", "secret: ${SWITCHYARD_SECRET}\n", "", "secret", "secret_file"},
	{"empty secret", "${SWITCHYARD_SECRET}", `""`, "secret (line 5)", "is empty; give it as ${NAME}"},
	{"unset variable", "${SWITCHYARD_SECRET}", "${NOT_SET}",
		"secret (line 5)", "variable NOT_SET, which is not set; set it"},
	{"empty variable", "${SWITCHYARD_SECRET}", "${EMPTY}", "secret (line 5)", "variable EMPTY is; set it"},
	{"impossible variable", "${SWITCHYARD_SECRET}", "${hush 4711}", "secret (line 5)", "want ${NAME}"},
	{"secret twice", "datacenter: dc1\n", "datacenter: dc1\nsecret_file: x\n", "secret_file (line 4)", "keep one"},
	{"secret file missing", "secret: ${SWITCHYARD_SECRET}", "secret_file: none",
		"secret_file (line 5)", "name a file that this user may read"},
	{"secret file empty", "secret: ${SWITCHYARD_SECRET}", "secret_file: empty",
		"secret_file (line 5)", "write the secret into it"},

	{"two controllers", "http://127.0.0.1:7400}\n",
		"http://127.0.0.1:7400}\n  - {id: c2, raft: a:1, http: http://a:2}\n",
		"controllers (line 6)", "want 1, 3 or 5"},
	{"id twice", "http://127.0.0.1:7400}\n",
		"http://127.0.0.1:7400}\n  - {id: c2, raft: a:1, http: http://a:2}\n  - {id: c1, raft: b:1, http: http://b:2}\n",
		"controllers[2].id", "an id of its own"},
	{"address twice", "http://127.0.0.1:7400}\n",
		"http://127.0.0.1:7400}\n  - {id: c2, raft: a:1, http: http://a:2}\n  - {id: c3, raft: a:2, http: http://b:2}\n",
		"controllers[2].raft", "addresses of its own"},
	{"unknown id", "id: c1\n", "id: c9\n", "id (line 2)", "none of controllers[].id (c1)"},
	{"datacenters differ", "http://127.0.0.1:7400}", "http://127.0.0.1:7400, datacenter: dc2}",
		"datacenter (line 3)", "make them the same"},
	{"no datacenter", "datacenter: dc1\n", "", "controllers[0].datacenter", "name the datacenter"},
	{"raft address without port", "raft: 127.0.0.1:7401", "raft: 127.0.0.1", "controllers[0].raft", "want HOST:PORT"},
	{"raft port", "raft: 127.0.0.1:7401", "raft: 127.0.0.1:77401", "controllers[0].raft", "from 1 to 65535"},
	{"raft everywhere", "raft: 127.0.0.1:7401", "raft: 0.0.0.0:7401", "controllers[0].raft", "in bind"},
	{"raft everywhere, IPv6", "raft: 127.0.0.1:7401", "raft: '[::]:7401'", "controllers[0].raft", "in bind"},
	{"http without scheme", "http: http://127", "http: 127", "controllers[0].http", "want http://HOST:PORT"},
	{"http with a path", "http://127.0.0.1:7400", "http://127.0.0.1:7400/api", "controllers[0].http", "from 1 to 65535"},
	{"bind", "", "bind: {raft: nowhere}\n", "bind.raft (line 19)", "want HOST:PORT"},
	{"bind twice the same", "", "bind: {raft: ':7400', http: ':7400'}\n", "bind.http (line 19)", "a port of its own"},
	{"lease above heartbeat", "", "raft: {leader_lease_timeout: 1s}\n",
		"raft.leader_lease_timeout", "raft.heartbeat_timeout"},
	{"election below heartbeat", "", "raft: {heartbeat_timeout: 1s}\n", "raft.election_timeout", "want no less"},
	{"raft timeout too short", "", "raft: {commit_timeout: 1us}\n", "raft.commit_timeout", "at least 1ms"},

	{"no user", "  user: switchyard\n", "", "mysql.user", "mysql.credentials_file"},
	{"no mysql", base[strings.Index(base, "mysql:"):strings.Index(base, "clusters:")], "", "mysql.user", "is missing"},
	{"credentials beside user", "  user: switchyard\n", "  user: switchyard\n  credentials_file: my.cnf\n",
		"mysql.user", "keep one"},
	{"credentials without client", "  user: switchyard\n  password: hush-mysql-4711\n", "  credentials_file: secret\n",
		"mysql.credentials_file (line 9)", "[client] section"},
	{"credentials without password", "  user: switchyard\n  password: hush-mysql-4711\n", "  credentials_file: my.cnf\n",
		"mysql.credentials_file (line 9)", "add password="},
	{"probe timeout", "  user: switchyard\n", "  user: switchyard\n  probe_timeout: 0s\n",
		"mysql.probe_timeout (line 10)", "above 0"},
	{"TLS mode", "  user: switchyard\n", "  user: switchyard\n  tls: {mode: on}\n",
		"mysql.tls.mode", "disabled, preferred, required, verify_ca or verify_identity"},
	{"TLS CA missing", "  user: switchyard\n", "  user: switchyard\n  tls: {mode: verify_ca}\n",
		"mysql.tls.ca", "name the CA's PEM file"},
	{"TLS CA unused", "  user: switchyard\n", "  user: switchyard\n  tls: {ca: secret}\n",
		"mysql.tls.ca", "verify_ca or verify_identity"},
	{"TLS CA unreadable", "  user: switchyard\n", "  user: switchyard\n  tls: {mode: verify_ca, ca: none}\n",
		"mysql.tls.ca", "name a PEM file"},
	{"TLS CA no certificate", "  user: switchyard\n", "  user: switchyard\n  tls: {mode: verify_ca, ca: secret}\n",
		"mysql.tls.ca", "name a PEM file"},
	{"TLS cert without key", "  user: switchyard\n", "  user: switchyard\n  tls: {cert: secret}\n",
		"mysql.tls", "give both"},
	{"TLS cert no pair", "  user: switchyard\n", "  user: switchyard\n  tls: {cert: secret, key: secret}\n",
		"mysql.tls.cert", "name a PEM file"},
	{"no replication user", "user: repl, ", "", "mysql.replication.user", "is missing; name the account"},
	{"replication password too long", "hush-repl-4711", strings.Repeat("hush-4711-", 4),
		"mysql.replication.password", "at most 32"},
	{"replication TLS preferred", "{user: repl,", "{user: repl, tls: {mode: preferred},",
		"mysql.replication.tls.mode", "want disabled, required"},
	{"connect retry", "{user: repl,", "{user: repl, connect_retry: 500ms,",
		"mysql.replication.connect_retry", "whole seconds"},
	{"heartbeat off", "{user: repl,", "{user: repl, heartbeat_period: 0s,",
		"mysql.replication.heartbeat_period", "above 0"},
	{"retry count", "{user: repl,", "{user: repl, retry_count: -1,", "mysql.replication.retry_count", "from 0"},

	{"hostname", "", "discovery: {hostname: fqdn}\n", "discovery.hostname", "report_host, hostname, dns or none"},
	{"pattern", "", "discovery: {region_pattern: '('}\n", "discovery.region_pattern", "wants a regular expression"},
	{"pattern without group", "", "discovery: {region_pattern: 'eu'}\n", "discovery.region_pattern", "exactly one"},
	{"ignore all", "", "discovery: {ignore: ['']}\n", "discovery.ignore[0]", "would ignore every server"},
	{"seeds without a name", "", "discovery: {seeds: [db7]}\n", "discovery.seeds", "cluster_name_pattern"},
	{"datacenter of rubbish", "", "discovery: {datacenters: {'a b': dc1}}\n",
		`discovery.datacenters["a b"]`, "want HOST:PORT"},
	{"datacenter twice", "", "discovery: {datacenters: {db1: dc1, 'DB1:3306': dc2}}\n",
		`discovery.datacenters["DB1:3306"]`, "keep one"},
	{"datacenter empty", "", "discovery: {datacenters: {db1: ''}}\n", `discovery.datacenters["db1"]`, "give it a value"},

	{"no clusters", "clusters:\n  - name: shop\n    seeds: [\"db1:3306\"]\n", "", "clusters", "in seeds"},
	{"cluster with blanks", "name: shop", "name: my shop",
		"clusters[0].name (line 13)", "key in Consul and part of URLs"},
	{"cluster with slashes", "name: shop", "name: a/b", "clusters[0].name (line 13)", "key in Consul and part of URLs"},
	{"cluster too long", "name: shop", "name: " + strings.Repeat("x", 300),
		"clusters[0].name (line 13)", "key in Consul and part of URLs"},
	{"cluster with a dot in front", "name: shop", "name: .shop", "clusters[0].name (line 13)", "begin with a dot"},
	{"cluster without seeds", "    seeds: [\"db1:3306\"]\n", "  - {name: b, seeds: [db2]}\n",
		"clusters[0].seeds", "at least one server"},
	{"cluster twice", "consul:\n", "  - {name: shop, seeds: [db2]}\nconsul:\n", "clusters[1].name", "a name of its own"},
	{"seed twice", "consul:\n", "  - {name: b, seeds: [DB1]}\nconsul:\n", "clusters[1].seeds[0]", "one cluster"},
	{"seed port", "db1:3306", "db1:0", "clusters[0].seeds[0]", "from 1 to 65535"},
	{"seed empty", `"db1:3306"`, `""`, "clusters[0].seeds[0]", "want HOST:PORT"},
	{"promotion rule", "name: shop", "name: shop\n    promotion_rules: {db1: never}",
		`clusters[0].promotion_rules["db1"] (line 14)`, "want must, prefer, neutral, prefer_not or must_not"},
	{"semi-sync", "name: shop", "name: shop\n    semi_sync: true",
		"clusters[0].semi_sync (line 14)", "want auto, on or off"},
	{"recovery filter", "", "recovery: {clusters: ['sh(op']}\n", "recovery.clusters[0]", "regular expression"},
	{"recovery filter that escapes its anchors", "", "recovery: {clusters: ['a)|(?:b']}\n",
		"recovery.clusters[0]", "regular expression"},
	{"recovery filter without quotes", "", "recovery: {clusters: [*]}\n", "line ", "correct the syntax"},

	{"consul without datacenter", consulLine, "{address: http://127.0.0.1:8500}",
		"consul[0].datacenter", "name the datacenter"},
	{"consul twice", "haproxy:", "  - {datacenter: dc1, address: http://127.0.0.1:8501}\nhaproxy:",
		"consul[1].datacenter", "one Consul"},
	{"consul address", "http://127.0.0.1:8500", "127.0.0.1:8500", "consul[0].address", "http://HOST:PORT"},
	{"consul password in the address", "http://127.0.0.1:8500", "http://u:hush-4711@127.0.0.1:8500",
		"consul[0].address", "http://HOST:PORT"},
	{"consul TLS on http", consulLine, "{datacenter: dc1, address: http://a:1, tls: {server_name: a}}",
		"consul[0].tls", "https"},
	{"consul CA", consulLine, "{datacenter: dc1, address: https://a:1, tls: {ca: none}}",
		"consul[0].tls.ca", "name a PEM file"},
	{"consul token empty", "hush-token-4711", "''", "consul[0].token", "give it as ${NAME}"},
	{"consul prefix", consulLine, "{datacenter: dc1, address: http://a:1, prefix: /a}",
		"consul[0].prefix", "mysql/master"},
	{"consul timeout", consulLine, "{datacenter: dc1, address: http://a:1, timeout: 0s}",
		"consul[0].timeout", "above 0"},

	{"haproxy cluster", "cluster: shop", "cluster: shap", "haproxy[0].cluster (line 18)", "add the cluster there"},
	{"haproxy runtime", "tcp://127.0.0.1:9990", "127.0.0.1:9990",
		"haproxy[0].runtime (line 18)", "tcp://HOST:PORT or unix:///PATH"},
	{"haproxy name", "name: ha1, ", "", "haproxy[0].name", "name this proxy"},
	{"haproxy name twice", "", "  - {name: ha1, cluster: shop, runtime: unix:///a}\n",
		"haproxy[1].name", "a name of its own"},
	{"haproxy slot twice", "", "  - {name: ha2, cluster: shop, runtime: tcp://127.0.0.1:9990}\n",
		"haproxy[1].backend", "change one"},
	{"haproxy backend", "name: ha1,", "name: ha1, backend: 'a b',", "haproxy[0]", "use letters"},
	{"haproxy backend and server", "name: ha1,", "name: ha1, backend: 'a b', server: 'a;b',",
		"haproxy[0]", "use letters"},
	{"haproxy maxconn", "name: ha1,", "name: ha1, maxconn: 0,", "haproxy[0].maxconn", "from 1"},
	{"haproxy listen", "name: ha1,", "name: ha1, listen: 'here:1',", "haproxy[0].listen", "IP:PORT or *:PORT"},
	{"log level", "", "log: {level: loud}\n", "log.level (line 19)", "debug, info, warn or error"},
	{"log format", "", "log: {format: xml}\n", "log.format (line 19)", "text or json"},
}

func TestBadFiles(t *testing.T) {
	beside := map[string]string{
		"empty": "\n", "secret": "hush-4711", "my.cnf": "[client]\nuser=probe\n[other]\npassword=hush-4711\n",
	}
	for _, tc := range badFiles {
		t.Run(tc.name, func(t *testing.T) {
			text := base + tc.new
			if tc.old != "" {
				if !strings.Contains(base, tc.old) {
					t.Fatalf("base does not have %q", tc.old)
				}
				text = strings.Replace(base, tc.old, tc.new, 1)
			}
			path := write(t, text, beside)
			f, err := config.Load(path, environment)
			if err == nil {
				t.Fatal("was accepted")
			}
			if f != nil {
				t.Error("a partial result came with the error")
			}
			message := err.Error()
			if rest, ok := strings.CutPrefix(message, path+": "); !ok || !strings.Contains(rest, tc.key) {
				t.Errorf("%q does not name the file and the key %q", message, tc.key)
			}
			if !strings.Contains(message, tc.remedy) {
				t.Errorf("%q does not have the remedy %q", message, tc.remedy)
			}
			own := strings.ReplaceAll(message, filepath.Dir(path), "") // whose digits are by chance
			if strings.Contains(own, "4711") || strings.Contains(own, "hush") {
				t.Errorf("%q shows a secret", message)
			}
			if strings.ContainsAny(message, "\n\r") || len(message) > 600 {
				t.Errorf("%q is not one sentence", message)
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(base)
	f.Add(config.Example())
	for _, tc := range badFiles {
		f.Add(strings.Replace(base, tc.old, tc.new, 1))
	}
	f.Fuzz(func(t *testing.T, text string) {
		path := write(t, text, nil)
		file, err := config.Load(path, environment)
		if (file == nil) == (err == nil) {
			t.Fatalf("got %v, %v", file, err)
		}
		if err != nil && (strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), filepath.Dir(path))) {
			t.Fatalf("%q is not one sentence about the file", err)
		}
	})
}
