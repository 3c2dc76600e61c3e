package config

// Example returns a commented configuration that Load accepts once the variables
// that it refers to are set.
func Example() string { return exampleProxies + "\n" + ExampleDatabase }

const exampleProxies = `# Configuration of "switchyard sidecar --config FILE", which stands beside the proxies of a host, or beside its mysqld.
# A value ${NAME} is taken from the environment. Paths are relative to this file. Durations: 500ms, 5s, 10m. Keys that are
# commented out show the default, or an example where there is none.

# What operators and controllers call this sidecar. Each sidecar has a name, and a state_dir, of its own.
name: edge-a
datacenter: dc1
# What this sidecar has confirmed, and must not forget over its own restart. It is its own, on a disk that stays.
state_dir: /var/lib/switchyard-sidecar
# Where the controllers, and other sidecars, call. What they say is signed, and not secret.
listen: 10.0.0.4:7500
# Shared by the controllers (sidecars.secret in their files) and all sidecars. Or: secret_file: FILE
secret: ${SWITCHYARD_SIDECAR_SECRET}

# All controllers, with the ids and the http addresses of their own files.
controllers:
  - {id: c1, http: "http://10.0.0.1:7400"}
  - {id: c2, http: "http://10.0.0.2:7400"}
  - {id: c3, http: "http://10.0.1.3:7400"}
# Where their addresses begin with https: ca is of their certificates (by default the system's), cert and key are wanted
# where the controllers have http.tls.client_ca.
# tls: {ca: ca.pem, cert: edge.pem, key: edge-key.pem}

# The datacenter's Consul, where the master is also read while no controller answers. Whoever may write there can move
# these proxies: the token of the controllers should be the only one that can.
# consul:
#   address: http://127.0.0.1:8500
#   # Or: token_file: FILE. It only reads: key_prefix "mysql/master/" { policy = "read" }
#   token: ${CONSUL_HTTP_TOKEN}
#   prefix: mysql/master
#   # How long one blocking query may take.
#   wait: 30s
#   # With an https address:
#   tls: {ca: consul-ca.pem, cert: consul.pem, key: consul-key.pem, server_name: server.dc1.consul}

# The HAProxies beside this sidecar, under the names that the controllers' files have. The keys are those of the controllers'
# files; runtime and master may be unix sockets, which need "level admin" and a mode that lets this user in.
haproxy:
  - name: ha1
    cluster: shop
    runtime: unix:///run/haproxy/admin.sock
    # Where its master process listens (haproxy -W -S /run/haproxy/master.sock): by it, sessions are found and ended that a
    # reload left behind in old workers.
    # master: unix:///run/haproxy/master.sock
    # The configuration that HAProxy starts with is kept in step: its directory must be writable. Where HAProxy loads a
    # server-state file, name that too, as it would overrule the configuration.
    # file: /etc/haproxy/haproxy.cfg
    # state_file: /var/lib/haproxy/server-state
    # backend: shop_writer
    # server: master
    # timeout: 1s
    # For "switchyard haproxy config shop --sidecar --config FILE":
    # listen: 127.0.0.1:3307
    # maxconn: 4000
    # hold: 9s
    # lua: /etc/haproxy/switchyard.lua
    # An entrance for readers, and the proxy's own datacenter, whose readers are preferred.
    # readers: {listen: "127.0.0.1:3308", backend: shop_readers, slots: 8, maxconn: 800}
    # datacenter: dc1

# The ProxySQLs, each through its own admin port.
# proxysql:
#   - name: ps1
#     cluster: shop
#     admin: 127.0.0.1:6032
#     user: radmin
#     # Or: password_file: FILE
#     password: ${SWITCHYARD_PROXYSQL_PASSWORD}
#     writer_hostgroup: 10
#     reader_hostgroup: 11
#     datacenter: dc1
#     weight: 1
#     max_connections: 1000
#     use_ssl: false
#     drain_timeout: 1s
#     timeout: 1s

# log: {level: info, format: text}
`
