package config

// Example returns a commented configuration that Load accepts once the
// variables that it refers to are set.
func Example() string { return example }

const example = `# Configuration of "switchyard controller --config FILE".
# A value ${NAME} is taken from the environment. Paths are relative to this
# file. Durations: 500ms, 5s, 10m. Keys that are commented out show the default,
# or an example where there is none.

# The identity of this set of controllers. A data directory remembers it and
# refuses another one.
name: prod

# Which of the controllers below this one is. Everything else may be the same
# in the files of all controllers.
id: c1

# This controller's datacenter; by default that of its entry below.
datacenter: dc1

# Raft log and state of this controller alone.
data_dir: /var/lib/switchyard

# Shared by the controllers, to know each other's calls. Or: secret_file: FILE
secret: ${SWITCHYARD_SECRET}

# All controllers: 1, 3 or 5. The addresses are those that the others reach.
controllers:
  - {id: c1, raft: 10.0.0.1:7401, http: http://10.0.0.1:7400, datacenter: dc1}
  - {id: c2, raft: 10.0.0.2:7401, http: http://10.0.0.2:7400, datacenter: dc1}
  - {id: c3, raft: 10.0.1.3:7401, http: http://10.0.1.3:7400, datacenter: dc2}

# What is listened on; by default the addresses above (NAT, containers).
# bind: {raft: 0.0.0.0:7401, http: 0.0.0.0:7400}

# Raise these where the network between the controllers is slow.
# Lease <= heartbeat <= election.
# raft:
#   heartbeat_timeout: 600ms
#   election_timeout: 600ms
#   leader_lease_timeout: 400ms
#   commit_timeout: 5ms

mysql:
  # The controllers' account on every database server. Instead of password:
  # password_file: FILE, or, instead of user and password,
  # credentials_file: FILE, an option file with user= and password= in [client].
  user: switchyard
  password: ${SWITCHYARD_MYSQL_PASSWORD}

  # disabled, preferred (plain where the server has no TLS), required,
  # verify_ca or verify_identity. cert and key are a client certificate.
  # tls: {mode: preferred, ca: ca.pem, cert: client.pem, key: client-key.pem}

  # connect_timeout: 500ms
  # probe_timeout: 1s
  # probe_interval: 1s

  # Queries of your own, each with one row and one column. lag_query answers
  # in seconds, in place of what the server says of its replication.
  # lag_query: ""
  # datacenter_query: ""
  # region_query: ""
  # cluster_name_query: ""

  # What a replica is given when it is pointed to a master.
  replication:
    user: repl
    # At most 32 characters. Or: password_file: FILE
    password: ${SWITCHYARD_REPLICATION_PASSWORD}
    # disabled, required, verify_ca or verify_identity. These files are on the
    # database servers.
    # tls: {mode: disabled, ca: /etc/mysql/ca.pem, cert: /etc/mysql/cert.pem, key: /etc/mysql/key.pem}
    # heartbeat_period: 500ms
    # connect_retry: 1s
    # retry_count: 86400

discovery:
  # What names a server: its report_host, its hostname, the canonical dns
  # name of its address, or none (the address as it was found).
  hostname: report_host

  # Servers of clusters that are named by a pattern here, or by
  # mysql.cluster_name_query. Clusters with fixed names are below.
  # seeds: ["db1.billing.example:3306"]

  # Regular expressions with one group, which is the name. The first is matched
  # against the master's host, the others against every server's.
  # cluster_name_pattern: '^[^.]+\.([^.]+)\.example$'
  # datacenter_pattern: '\.(dc[0-9]+)\.'
  # region_pattern: ''

  # Servers that are left alone: regular expressions on HOST:PORT.
  # ignore: ['^backup[0-9]+:']

  # Fixed places. They win over the patterns, and patterns over the queries.
  # datacenters: {"db1:3306": dc1}
  # regions: {"db1:3306": eu}

# Clusters with a fixed name, and rules for clusters. A name becomes a key in
# Consul and part of URLs: 1 to 64 of A-Z a-z 0-9 . _ - without a dot in front.
clusters:
  - name: shop
    # One server is enough to find the others.
    seeds: ["db1:3306", "db2:3306"]
    # must, prefer, neutral, prefer_not or must_not; neutral unless named.
    promotion_rules: {"db3:3306": must_not}
    # auto: a new master waits for acknowledgements if the old one did; on; off.
    # semi_sync: auto
    # A replica whose applier is further behind is not promoted; 0s is no limit.
    # max_lag: 0s

recovery:
  # Which clusters are recovered without asking: regular expressions that match
  # the whole name, or '*' for all. None unless named.
  clusters: ['shop']
  # How long after an automatic recovery the next one of the cluster is held.
  # anti_flap: 10m
  # How long a master that was shut down in order is waited for. MySQL says so;
  # MariaDB closes its connections as a crash does, and is failed over at once.
  # restart_grace: 15s
  # How long replication must stand still to count as evidence.
  # min_stall: 1500ms
  # A master whose host does not answer at all may live on, cut off together with
  # its clients: hold, or failover at the risk of two masters.
  # cut_off: hold

# The Consul of each datacenter, which is told who is master: PREFIX/CLUSTER.
consul:
  - datacenter: dc1
    address: http://127.0.0.1:8500
    # Or: token_file: FILE
    # token: ${CONSUL_HTTP_TOKEN}
    # prefix: mysql/master
    # timeout: 1s
    # With an https address:
    # tls: {ca: consul-ca.pem, cert: consul.pem, key: consul-key.pem, server_name: server.dc1.consul}

# The HAProxies whose writer is moved. runtime is the runtime API, tcp:// or
# unix://; it asks for no password, so keep it on loopback or a private network.
haproxy:
  - name: ha1
    cluster: shop
    runtime: tcp://127.0.0.1:9990
    # backend: shop_writer
    # server: master
    # timeout: 1s
    # For "switchyard haproxy config shop": where applications connect, and how
    # many of them.
    listen: 127.0.0.1:3307
    # maxconn: 4000

# level: debug, info, warn or error; format: text or json.
# log: {level: info, format: text}
`
