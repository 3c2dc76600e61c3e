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

const sidecarsLine = "sidecars: {secret: hush-sidecars-4711}\n"

// psOf is a valid proxysql section with one change.
func psOf(old, instead string) string {
	const section = "proxysql:\n  - {name: ps1, cluster: shop, admin: '10.0.0.5:6032', user: radmin, password: hush-ps-4711, " +
		"writer_hostgroup: 10, reader_hostgroup: 11}\n"
	return strings.Replace(section, old, instead, 1)
}

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
	{"raft profile", "", "raft: {profile: man}\n", "raft.profile (line 19)", "want lan or wan"},
	{"heartbeat above the profile's election", "", "raft: {profile: lan, heartbeat_timeout: 1s}\n",
		"raft.election_timeout", "want no less"},
	{"lease of the profile above heartbeat", "", "raft: {profile: wan, heartbeat_timeout: 300ms}\n",
		"raft.leader_lease_timeout", "want no more"},
	{"heartbeat too long", "", "raft: {heartbeat_timeout: 6s, election_timeout: 6s}\n", "raft.heartbeat_timeout", "at most 5s"},
	{"commit above heartbeat", "", "raft: {commit_timeout: 1s}\n", "raft.commit_timeout", "much less"},
	{"raft TLS of nothing", "", "raft: {tls: {}}\n", "raft.tls", "give ca, cert and key"},
	{"raft TLS without a key", "", "raft: {tls: {ca: a, cert: b}}\n", "raft.tls (line 19)", "lacks key"},
	{"raft TLS of a name alone", "", "raft: {tls: {server_name: a}}\n", "raft.tls (line 19)", "lacks ca"},
	{"raft TLS without files", "", "raft: {tls: {ca: a, cert: b, key: c}}\n", "raft.tls.ca", "name a PEM file"},
	{"raft timeout too short", "", "raft: {commit_timeout: 1us}\n", "raft.commit_timeout", "at least 1ms"},

	{"hook with an unknown placeholder", "", "hooks: {pre_failover: [\"true\", \"echo {failedhost}\"]}\n",
		"hooks.pre_failover[1] (line 19)", "no placeholder {failedhost}; correct its name"},
	{"hook with a quote left open", "", "hooks: {post_failover: [\"echo '{failedHost}\"]}\n",
		"hooks.post_failover[0] (line 19)", "ends within single quotes"},
	{"empty hook", "", "hooks: {on_failure_detection: [\"\"]}\n", "hooks.on_failure_detection[0] (line 19)", "is empty"},
	{"hook that cannot be followed", "", "hooks:\n  post_take_master:\n    - |\n      cat <<E\n      {failedHost}\n      E\n",
		"hooks.post_take_master[0] (line 21)", "put it into a script of its own"},
	{"hooks without time", "", "hooks: {timeout: 0s}\n", "hooks.timeout (line 19)", "above 0"},
	{"hooks' shell", "", "hooks: {shell: bash}\n", "hooks.shell (line 19)", "give the whole path"},
	{"hooks with an unknown moment", "", "hooks: {pre_failure: [x]}\n", "hooks.pre_failure", "did you mean hooks.pre_failover?"},
	{"one hook that is no list", "", "hooks: {pre_failover: \"true\"}\n", "hooks.pre_failover (line 19)", "wants a list"},

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

	{"recovery filter of intermediate masters", "", "recovery: {intermediate_clusters: ['sh(op']}\n",
		"recovery.intermediate_clusters[0]", "regular expression"},
	{"no boolean", "", "recovery: {co_master_only: yes}\n", "recovery.co_master_only (line 19)", "wants true or false"},
	{"backlog", "", "recovery: {backlog: wait}\n", "recovery.backlog (line 19)", "want delay or fail"},
	{"semi-sync repair", "", "recovery: {semi_sync_repair: all}\n", "recovery.semi_sync_repair", "want none, enough or exact"},
	{"unknown trouble", "", "recovery: {failover_after: {slow: 3s}}\n",
		`recovery.failover_after["slow"] (line 19)`, "want stalled-writes, full-disk, read-only-disk"},
	{"trouble at once", "", "recovery: {failover_after: {full-disk: 0s}}\n",
		`recovery.failover_after["full-disk"]`, "above 0, or remove it"},
	{"troubles as a list", "", "recovery: {failover_after: [full-disk]}\n",
		"recovery.failover_after", "such as {stalled-writes: 30s}"},
	{"trouble without the write probe", "", "recovery: {failover_after: {full-disk: 1m}}\n",
		`recovery.failover_after["full-disk"]`, "enable mysql.write_probe"},
	{"cascade limit", "", "recovery: {cascade: {limit: -1}}\n", "recovery.cascade.limit", "from 0, which is no limit"},
	{"cascade window", "", "recovery: {cascade: {window: 0s}}\n", "recovery.cascade.window", "above 0"},
	{"cascade of a cluster", "name: shop", "name: shop\n    cascade: {limit: -2}", "clusters[0].cascade.limit", "from 0"},
	{"locked_after", "name: shop", "name: shop\n    locked_after: 0s", "clusters[0].locked_after (line 14)", "above 0"},
	{"reasonable_lag", "", "recovery: {reasonable_lag: 0s}\n", "recovery.reasonable_lag", "above 0"},
	{"salvage_timeout", "", "recovery: {salvage_timeout: 2h}\n", "recovery.salvage_timeout", "0s"},
	{"a lease as short as the fence", "", "sidecars: {secret: hush-sidecars-4711, lease: 2s}\n", "sidecars.lease", "at least 1s more than sidecars.fence"},
	{"a fence of no time", "", "sidecars: {secret: hush-sidecars-4711, fence: 1ms}\n", "sidecars.fence", "want 100ms"},
	{"unreachable proxies", "", "recovery: {unreachable_proxies: slow}\n", "recovery.unreachable_proxies", "fast or strict"},
	{"a database's sidecar", "", "sidecars: {secret: hush-sidecars-4711, databases: [{server: db1, http: 'http://a:1'}]}\n",
		"sidecars.databases[0].server", "HOST:PORT"},
	{"a database's sidecar without a server", "", "sidecars: {secret: hush-sidecars-4711, databases: [{http: 'http://a:1'}]}\n",
		"sidecars.databases[0].server", "HOST:PORT"},
	{"a database's sidecar's address", "", "sidecars: {secret: hush-sidecars-4711, databases: [{server: 'db1:3306', http: 'a:1'}]}\n",
		"sidecars.databases[0].http", "http://HOST:PORT"},
	{"a database's sidecar twice", "", "sidecars: {secret: hush-sidecars-4711, databases: [{server: 'db1:1', http: 'http://a:1'}, " +
		"{server: 'DB1:1', http: 'http://a:2'}]}\n", "sidecars.databases[1].server", "once"},
	{"lost_downtime", "", "recovery: {lost_downtime: 0s}\n", "recovery.lost_downtime", "above 0"},
	{"audit_retention", "", "recovery: {audit_retention: 0s}\n", "recovery.audit_retention", "above 0"},
	{"write probe's schema", "  user: switchyard", "  write_probe: {schema: 'a`b'}\n  user: switchyard",
		"mysql.write_probe.schema", "do not begin with a digit"},
	{"write probe's timeout", "  user: switchyard", "  write_probe: {timeout: 1ms}\n  user: switchyard",
		"mysql.write_probe.timeout", "at least 10ms"},

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
	{"haproxy master", "name: ha1,", "name: ha1, master: here,", "haproxy[0].master", "tcp://HOST:PORT or unix:///PATH"},
	{"haproxy master is the runtime API", "name: ha1,", "name: ha1, master: 'tcp://127.0.0.1:9990',", "haproxy[0].master", "haproxy -S"},
	{"haproxy hold", "name: ha1,", "name: ha1, hold: 2m,", "haproxy[0].hold", "from 100ms to 1m"},
	{"haproxy lua", "name: ha1,", "name: ha1, lua: switchyard.lua,", "haproxy[0].lua", "absolute path"},
	{"haproxy listen", "name: ha1,", "name: ha1, listen: 'here:1',", "haproxy[0].listen", "IP:PORT or *:PORT"},

	{"haproxy readers backend", "name: ha1,", "name: ha1, readers: {backend: shop_writer},", "haproxy[0].readers.backend", "of their own"},
	{"haproxy readers listen", "name: ha1,", "name: ha1, readers: {listen: 'here:1'},", "haproxy[0].readers.listen", "IP:PORT or *:PORT"},
	{"haproxy readers slots", "name: ha1,", "name: ha1, readers: {slots: 65},", "haproxy[0].readers", "from 1 to 64"},
	{"haproxy readers maxconn", "name: ha1,", "name: ha1, readers: {maxconn: 0},", "haproxy[0].readers.maxconn", "from 1 to"},
	{"haproxy readers name", "name: ha1,", "name: ha1, readers: {backend: 'a b'},", "haproxy[0].readers", "is not allowed"},
	{"haproxy datacenter", "name: ha1,", "name: ha1, datacenter: 'a b',", "haproxy[0].datacenter", "datacenter"},
	{"readers weight", `seeds: ["db1:3306"]`, "seeds: [\"db1:3306\"]\n    readers: {weights: {db2: 257}}",
		`clusters[0].readers.weights["db2:3306"]`, "from 1 to 256"},
	{"readers lag", `seeds: ["db1:3306"]`, "seeds: [\"db1:3306\"]\n    readers: {max_lag: 0s}", "clusters[0].readers.max_lag", "above 0"},
	{"haproxy file", "name: ha1,", "name: ha1, file: haproxy.cfg,", "haproxy[0].file", "the sidecar's own file"},
	{"haproxy state file", "name: ha1,", "name: ha1, state_file: state,", "haproxy[0].state_file", "the sidecar's own file"},
	{"haproxy both ways", "", "  - {name: ha2, cluster: shop, runtime: unix:///a, sidecar: 'http://10.0.0.4:7500'}\n" + sidecarsLine,
		"haproxy[1].runtime", "keep one"},
	{"haproxy no way", "", "  - {name: ha2, cluster: shop}\n", "haproxy[1].runtime", "or sidecar: http://HOST:PORT"},
	{"haproxy sidecar", "", "  - {name: ha2, cluster: shop, sidecar: '10.0.0.4:7500'}\n" + sidecarsLine,
		"haproxy[1].sidecar", "http://HOST:PORT"},
	{"haproxy sidecar empty", "", "  - {name: ha2, cluster: shop, sidecar: ''}\n" + sidecarsLine, "haproxy[1].sidecar", "http://HOST:PORT"},
	{"haproxy sidecar without a secret", "", "  - {name: ha2, cluster: shop, sidecar: 'http://10.0.0.4:7500'}\n",
		"haproxy[1].sidecar", "add the secret"},
	{"proxysql both ways", "", psOf("name: ps1", "name: ps1, sidecar: 'http://10.0.0.6:7500'") + sidecarsLine,
		"proxysql[0].admin", "keep one"},
	{"proxysql sidecar", "", "proxysql: [{name: ps1, cluster: shop, sidecar: 'tcp://a:1'}]\n" + sidecarsLine,
		"proxysql[0].sidecar", "http://HOST:PORT"},
	{"proxysql cluster", "", psOf("cluster: shop", "cluster: shap"), "proxysql[0].cluster", "add the cluster there"},
	{"proxysql name", "", psOf("name: ps1, ", ""), "proxysql[0].name", "name this proxy"},
	{"proxysql name of an haproxy", "", psOf("name: ps1", "name: ha1"), "proxysql[0].name", "a name of its own"},
	{"proxysql without admin", "", psOf("admin: '10.0.0.5:6032', ", ""), "proxysql[0].admin", "HOST:PORT"},
	{"proxysql admin", "", psOf("10.0.0.5:6032", "10.0.0.5"), "proxysql[0].admin", "10.0.0.5"},
	{"proxysql admin everywhere", "", psOf("10.0.0.5:6032", "0.0.0.0:6032"), "proxysql[0].admin", "nobody can connect to"},
	{"proxysql user", "", psOf("user: radmin, ", ""), "proxysql[0].user", "admin-admin_credentials"},
	{"proxysql password", "", psOf("password: hush-ps-4711, ", ""), "proxysql[0].password", "password_file"},
	{"proxysql password twice", "", psOf("password: hush-ps-4711, ", "password: hush-ps-4711, password_file: secret, "),
		"proxysql[0].password", "keep one"},
	{"proxysql without hostgroup", "", psOf("writer_hostgroup: 10, ", ""), "proxysql[0].writer_hostgroup", "nothing but this cluster's writer"},
	{"proxysql hostgroup", "", psOf("writer_hostgroup: 10", "writer_hostgroup: -3"), "proxysql[0]", "from 0"},
	{"proxysql same hostgroup", "", psOf("reader_hostgroup: 11", "reader_hostgroup: 10"), "proxysql[0]", "of their own"},
	{"proxysql weight", "", psOf("reader_hostgroup: 11", "weight: 0"), "proxysql[0]", "take no traffic"},
	{"proxysql connections", "", psOf("reader_hostgroup: 11", "max_connections: 0"), "proxysql[0]", "max_connections"},
	{"proxysql drain", "", psOf("reader_hostgroup: 11", "drain_timeout: 1m"), "proxysql[0].drain_timeout", "at most 10s"},
	{"proxysql timeout", "", psOf("reader_hostgroup: 11", "timeout: 0s"), "proxysql[0].timeout", "above 0"},
	{"proxysql hostgroups of two", "", psOf("", "") + strings.TrimPrefix(psOf("name: ps1, cluster: shop", "name: ps2, cluster: shop"), "proxysql:\n"),
		"proxysql[1]", "hostgroups of its own"},
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
