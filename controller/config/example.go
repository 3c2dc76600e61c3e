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

# Shared by the controllers, to know each other's calls and raft connections.
# Or: secret_file: FILE
secret: ${SWITCHYARD_SECRET}

# All controllers: 1, 3 or 5. The addresses are those that the others reach.
controllers:
  - {id: c1, raft: 10.0.0.1:7401, http: http://10.0.0.1:7400, datacenter: dc1}
  - {id: c2, raft: 10.0.0.2:7401, http: http://10.0.0.2:7400, datacenter: dc1}
  - {id: c3, raft: 10.0.1.3:7401, http: http://10.0.1.3:7400, datacenter: dc2}

# A controller that is added to others that run (switchyard controllers add) names
# itself beside those, and waits until it is added. Once they were changed by command,
# the controllers' ledger counts, and this list only says where to look at first.
# join: true

# What is listened on; by default the addresses above (NAT, containers).
# bind: {raft: 0.0.0.0:7401, http: 0.0.0.0:7400}

# Who may call over HTTP. By default it is plain, and who reaches a controller may do
# all. With tls, the addresses above begin with https; ca is of the other
# controllers' certificates (by default the system's), and with client_ca every caller
# needs a certificate of that CA: sidecars, probes and the command line too.
# Renewed files of tls are used within a second or two; but for ca, which needs a
# restart.
# auth: none, basic (name and password), token (Authorization: Bearer) or proxy (a
# header, believed from these addresses only). Roles: viewer reads, operator does what
# a day brings, admin forces and sets rules. Secrets: ${NAME}, or password_file and
# token_file. What is in open is answered to anybody all the same. allow_plain: true
# lets passwords and tokens come in without TLS.
# http:
#   tls: {cert: c1.pem, key: c1-key.pem, ca: ca.pem, client_ca: ca.pem}
#   auth: token
#   users:
#     - {name: monitoring, role: viewer, token: "${SWITCHYARD_MONITORING_TOKEN}"}
#     - {name: kim, role: admin, token_file: kim.token}
#   proxy: {from: [10.0.0.7], header: X-Forwarded-User, role: viewer}
#   # With basic or token, from alone may be given: of these proxies, X-Forwarded-For
#   # says whose login failed. After ten of one address, one a second is looked at.
#   open: [health, leader-check, metrics]
#   allow_plain: false

# How soon a controller that leads and is gone is replaced. Keys that are given
# go before the profile's: lan (within 1s; 250ms, 250ms, 200ms, 5ms) or wan (within
# 3s where 80ms lie between controllers; 600ms, 1s, 500ms, 10ms). All controllers
# need the same. Lease <= heartbeat <= election.
# raft:
#   heartbeat_timeout: 600ms
#   election_timeout: 600ms
#   leader_lease_timeout: 400ms
#   commit_timeout: 5ms
# In raft: profile: lan. And TLS between the controllers, set on all of them or on
# none. Certificates are for a server and a client, and have the host of the
# controller's raft address, or all server_name. Renewed files are used from the
# next connection on. Without TLS strangers are kept out by the secret, and what
# is said is neither encrypted nor signed.
#   tls: {ca: raft-ca.pem, cert: c1.pem, key: c1-key.pem, server_name: raft.prod}

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

  # A row that is written on every master, in a schema of Switchyard's own, to see
  # whether writes succeed. It needs the schema, and CREATE, INSERT, UPDATE there.
  # write_probe: {enabled: false, schema: switchyard, interval: 1s, timeout: 1s}

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
    # Which replicas proxies send readers to, where a proxy has an entrance for them:
    # members that replicate, at most max_lag behind. One that is not fit for
    # leave_after leaves (at once if nothing listens there any more), and comes back
    # when it was fit, and at most half of max_lag behind, for join_after. weights
    # are from 1 to 256 (1 unless named). With writer: true the master serves readers
    # while no replica is fit.
    # readers: {max_lag: 10s, leave_after: 2s, join_after: 5s, weights: {}, exclude: [], writer: false}
    # Every key of recovery below, but clusters, intermediate_clusters and
    # audit_retention, may be given here for this cluster alone.

# The secret by which controllers and sidecars know each other's calls, another
# one than that of the controllers. Or: secret_file: FILE
# sidecars:
#   secret: "${SWITCHYARD_SIDECAR_SECRET}"
#   # For how long each controller grants a database sidecar at a time, and the
#   # longest fence (database.fence and database.kill of its file) that one may
#   # have. A master that is cut off is replaced after both. All controllers need
#   # the same; before it is lowered, every controller needs the new value.
#   lease: 10s
#   fence: 3s
#   # The sidecars beside database servers (switchyard sidecar): one for each server
#   # of a cluster, or for none of it.
#   databases:
#     - {server: "10.0.0.1:3306", http: "http://10.0.0.1:7500"}

recovery:
  # Which clusters are recovered without asking: regular expressions that match
  # the whole name, or '*' for all. None unless named.
  clusters: ['shop']
  # The same for dead intermediate masters, whose replicas get another source.
  # intermediate_clusters: []
  # How long after an automatic recovery the next one of the cluster is held.
  # anti_flap: 10m
  # How long a master that was shut down in order is waited for. MySQL says so;
  # MariaDB closes its connections as a crash does, and is failed over at once.
  # restart_grace: 15s
  # How long replication must stand still to count as evidence.
  # min_stall: 1500ms
  # A master whose host does not answer at all may live on, cut off together with
  # its clients: hold, or failover. That waits until the lease of its sidecar has
  # ended (sidecars.databases), and holds where that cannot be counted on; in a
  # cluster without database sidecars it is at the risk of two masters.
  # partition: hold
  # A proxy that cannot be reached may lead to the old master: fast goes on only if
  # that is proven dead, or stopped; strict waits for the proxy even then, unless
  # the lease of the old master's sidecar has ended.
  # unreachable_proxies: fast
  # Whether a replica in another datacenter, or region, than the old master's may
  # take over.
  # prevent_cross_datacenter: false
  # prevent_cross_region: false
  # A replica that has not yet applied all that it received: delay (it is promoted
  # once it has) or fail (it is not promoted).
  # backlog: delay
  # Of two co-masters, whether only the other one may take over.
  # co_master_only: false
  # A replica whose applier is further behind is not promoted; 0s is no limit.
  # max_lag: 0s
  # A replica that is further behind is shown as lagging.
  # reasonable_lag: 10s
  # A master that answers and takes no writes is reported. It is failed over after
  # this time for the troubles that are named: stalled-writes, full-disk and
  # read-only-disk (these need mysql.write_probe), too-many-connections and
  # stuck-semi-sync. A backup that locks all tables looks like stalled-writes: give
  # that more time than a backup takes, or pause meanwhile.
  # failover_after: {}
  # How long commits must wait for an acknowledgement, and nothing be written, for
  # the master to count as locked.
  # locked_after: 10s
  # When too few replicas acknowledge, or too many: none (report it), enough (tell
  # more of them to), exact (and tell others not to).
  # semi_sync_repair: none
  # After this many automatic failovers within the window, the next one
  # waits until somebody has acknowledged: what crashes them may follow the
  # mastership. A limit of 0 is none.
  # cascade: {limit: 2, window: 1h}
  # How long a replica that a recovery lost is in downtime, unless it follows again.
  # lost_downtime: 24h
  # How long a failover takes at most to fetch, through the sidecar beside it, what
  # only the crashed master's binary log has. 0s is not at all.
  # salvage_timeout: 2s
  # How long the audit is kept.
  # audit_retention: 2160h

# Commands of your own around a recovery, run by the leader, one after the other.
# Placeholders such as {failedHost}, {successorHost}, {failureCluster} and
# {recoveryUID} may stand anywhere, in quotes or not; the same is in the
# environment as ORC_FAILED_HOST and so on. docs/hooks has the list and examples.
# Each may take up to the timeout; what it prints is kept with the recovery, so
# keep secrets in files of their own.
# hooks:
#   timeout: 30s
#   shell: /bin/sh
  # When these three fail, nothing is changed and the recovery does not begin.
#   on_failure_detection: []
#   pre_graceful_takeover: []
#   pre_failover: []
  # When these fail, it is recorded, and the next one is run.
#   post_take_master: []
#   post_master_failover: ["/etc/switchyard/hooks/dns-update.sh {failureCluster} {successorHost}"]
#   post_intermediate_master_failover: []
#   post_failover: []
#   post_unsuccessful_failover: []
#   post_graceful_takeover: []

# The Consul of each datacenter, which is told who is master: PREFIX/CLUSTER.
# Its own controllers write it; the leader writes one of a datacenter without a
# controller. The address may be that of an agent of another datacenter, which
# passes on what is asked of it.
consul:
  - datacenter: dc1
    address: http://127.0.0.1:8500
    # Or: token_file: FILE
    # token: ${CONSUL_HTTP_TOKEN}
    # prefix: mysql/master
    # How long an audit waits for it; a recovery waits 1s at most.
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
    # Where its master process listens (haproxy -W -S 127.0.0.1:9991): by it,
    # sessions are found and ended that a reload left behind in old workers.
    # master: tcp://127.0.0.1:9991
    # For "switchyard haproxy config shop": where applications connect, and how
    # many of them.
    listen: 127.0.0.1:3307
    # maxconn: 4000
    # While there is no master, new connections wait for one up to hold (0s: they
    # are closed at once). Keep it below the applications' connect timeouts. lua
    # is where HAProxy finds the script for it, beside the configuration unless
    # named here.
    # hold: 9s
    # lua: /etc/haproxy/switchyard.lua
    # An entrance for readers: so many slots of one backend, each of which is given
    # a replica that is fit (see clusters[].readers). Of these, those in the proxy's
    # own datacenter are preferred, and others serve only while there is none.
    # datacenter: dc1
    # readers: {listen: "127.0.0.1:3308", backend: shop_readers, slots: 8, maxconn: 800}
  # One with a sidecar beside it (switchyard sidecar) is reached through that, and
  # the sidecar's own file says all of the above, under the same name, and which
  # files it keeps in step with the routes: file: /etc/haproxy/haproxy.cfg, and
  # state_file: for a server-state file. It needs sidecars.secret.
  # - {name: ha2, cluster: shop, sidecar: "http://10.0.0.4:7500"}

# The ProxySQLs whose writer is moved, each through its own admin port (not
# through ProxySQL Cluster). The user is one of admin-admin_credentials; the one
# named admin may only log in locally. All of writer_hostgroup is Switchyard's: its
# one row is written with these attributes, any other row there is removed, and no
# other hostgroup is touched but reader_hostgroup, if named. Name them in no
# mysql_replication_hostgroups.
# proxysql:
#   - name: ps1
#     cluster: shop
#     admin: 10.0.0.5:6032
#     user: radmin
#     # Or: password_file: FILE
#     password: ${SWITCHYARD_PROXYSQL_PASSWORD}
#     writer_hostgroup: 10
#     # That of the cluster's readers, if there is to be one: all of it is
#     # Switchyard's, too, and follows clusters[].readers. Those in the proxy's own
#     # datacenter are preferred.
#     reader_hostgroup: 11
#     datacenter: dc1
#     weight: 1
#     max_connections: 1000
#     use_ssl: false
#     # In a switchover: how long what is under way on the old master may take to
#     # end before it is cut; nobody can write meanwhile. At most 10s.
#     drain_timeout: 1s
#     timeout: 1s
#   # With a sidecar beside it:
#   - {name: ps2, cluster: shop, sidecar: "http://10.0.0.6:7500"}

# level: debug, info, warn or error; format: text or json.
# log: {level: info, format: text}
`
