package config

// ExampleDatabase is the part of a sidecar's file about a mysqld beside it.
const ExampleDatabase = `# The mysqld on this host. The sidecar runs as the server's own system user (or with CAP_KILL), in its pid namespace.
#database:
#  cluster: shop
#  # The server as the controllers know it, and how it is found here. The pid file is optional: before Linux 6.15 it
#  # tells a shutdown from a crash.
#  server: db-a.example:3306
#  socket: /run/mysqld/mysqld.sock
#  pid_file: /run/mysqld/mysqld.pid
#  # An account of its own, on 'localhost'. MySQL: PROCESS, REPLICATION CLIENT, SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN, and
#  # SELECT on performance_schema.processlist; before 8.0 SUPER, PROCESS and REPLICATION CLIENT. MariaDB: PROCESS,
#  # CONNECTION ADMIN, READ_ONLY ADMIN, REPLICA MONITOR (before 10.5 SUPER, PROCESS and REPLICATION CLIENT).
#  user: sidecar
#  password: "${SWITCHYARD_DATABASE_PASSWORD}"   # or password_file
#  # Whose sessions a fence leaves alone: the controllers' account, and your monitoring.
#  keep_users: [switchyard]
#  replication_user: repl
#  # The sidecars beside all other servers of the cluster: while they follow this server, it keeps its lease without controllers.
#  peers:
#    - {name: db-b, http: "http://db-b.example:8811"}
#    - {name: db-c, http: "http://db-c.example:8811"}
#  renew: 1s    # how often each controller and each peer is asked
#  fence: 1s    # how long read-only may take, before the server is killed
#  kill: 1s     # how long a killed server may take to be gone; the controllers' lease must be longer than fence + kill
#  # A second process kills the server at the end of its lease if this sidecar is dead or frozen by then. Without it a
#  # lease is no promise that the controllers count on. Under systemd the sidecar's unit needs KillMode=process, or that
#  # process is killed with it.
#  tie: false
#  # Where the binary log is (@@log_bin_index, @@datadir), readable by the sidecar's user, and where the cluster's other servers take
#  # from it, after a crash, what none of them has received. Their replication account is not used for that.
#  # With ` + "`ExecStartPre=switchyard sidecar ready --config FILE`" + ` in the server's unit, its restart after a crash waits
#  # while that is done: hold is how long, at most, until a failover asks.
#  binlog: {index: /var/lib/mysql/binlog.index, data_dir: /var/lib/mysql, listen: "0.0.0.0:8812", hold: 5s}
`
