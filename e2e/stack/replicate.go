package stack

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"time"
)

// ReplicateOptions say how a replica follows its master. The zero value heartbeats every 500 ms and retries a lost
// connection after one second, for ever.
type ReplicateOptions struct {
	HeartbeatPeriod time.Duration
	ConnectRetry    time.Duration
}

// Replicate makes one server a replica of another, by GTID, and waits until both of its threads run.
func Replicate(ctx context.Context, replica, source *Server, options ReplicateOptions) error {
	if options.HeartbeatPeriod == 0 {
		options.HeartbeatPeriod = 500 * time.Millisecond
	}
	if options.ConnectRetry == 0 {
		options.ConnectRetry = time.Second
	}
	account := ReplicationAccount()
	heartbeat, retry := options.HeartbeatPeriod.Seconds(), int(options.ConnectRetry.Seconds())
	var statements []string
	switch replica.flavor {
	case MySQL:
		statements = []string{fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST='%s', SOURCE_PORT=%d, SOURCE_USER='%s', "+
			"SOURCE_PASSWORD='%s', SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=%d, SOURCE_RETRY_COUNT=86400, "+
			"SOURCE_HEARTBEAT_PERIOD=%.3f, GET_SOURCE_PUBLIC_KEY=1",
			source.host, MySQLPort, account.User, account.Password, retry, heartbeat), "START REPLICA"}
	case MariaDB:
		statements = []string{fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=%d, MASTER_USER='%s', "+
			"MASTER_PASSWORD='%s', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=%d, MASTER_HEARTBEAT_PERIOD=%.3f",
			source.host, MySQLPort, account.User, account.Password, retry, heartbeat), "START SLAVE"}
	default:
		statements = []string{fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=%d, MASTER_USER='%s', "+
			"MASTER_PASSWORD='%s', MASTER_AUTO_POSITION=1, MASTER_CONNECT_RETRY=%d, MASTER_RETRY_COUNT=86400, "+
			"MASTER_HEARTBEAT_PERIOD=%.3f",
			source.host, MySQLPort, account.User, account.Password, retry, heartbeat), "START SLAVE"}
	}
	if err := replica.Exec(ctx, statements...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return replica.WaitFor(ctx, "replication from "+source.Name(), func(ctx context.Context) error {
		status, err := replica.ReplicaStatus(ctx)
		if err != nil {
			return err
		}
		if !status.Running() {
			return fmt.Errorf("not replicating: %+v", status)
		}
		return nil
	})
}

// ReplicaStatus is the part of a replica's status that tests ask for.
type ReplicaStatus struct {
	Configured bool
	SourceHost string
	IO         string
	SQL        string
	IOError    string
	SQLError   string
}

// Running tells whether both threads run.
func (s ReplicaStatus) Running() bool { return s.IO == "Yes" && s.SQL == "Yes" }

// ReplicaStatus reads the replica status in the flavor's own statement.
func (s *Server) ReplicaStatus(ctx context.Context) (status ReplicaStatus, err error) {
	query, prefix, source := "SHOW SLAVE STATUS", "Slave", "Master"
	if s.flavor == MySQL {
		query, prefix, source = "SHOW REPLICA STATUS", "Replica", "Source"
	}
	rows, err := s.root.QueryContext(ctx, query)
	if err != nil {
		return status, fmt.Errorf("%s: %s: %w", s.Name(), query, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return status, err
	}
	if !rows.Next() {
		return status, rows.Err()
	}
	values := make([]sql.NullString, len(columns))
	targets := make([]any, len(columns))
	for i := range values {
		targets[i] = &values[i]
	}
	if err := rows.Scan(targets...); err != nil {
		return status, err
	}
	status.Configured = true
	for i, column := range columns {
		switch column {
		case source + "_Host":
			status.SourceHost = values[i].String
		case prefix + "_IO_Running":
			status.IO = values[i].String
		case prefix + "_SQL_Running":
			status.SQL = values[i].String
		case "Last_IO_Error":
			status.IOError = values[i].String
		case "Last_SQL_Error":
			status.SQLError = values[i].String
		}
	}
	return status, rows.Err()
}

// WaitCaughtUp waits until the replica has applied everything that the source had written when asked.
func WaitCaughtUp(ctx context.Context, replica, source *Server) error {
	seconds := 30
	if deadline, ok := ctx.Deadline(); ok {
		seconds = max(1, int(time.Until(deadline).Seconds()))
	}
	read, wait, done := "SELECT @@GLOBAL.gtid_executed", "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)", "0"
	switch replica.flavor {
	case MariaDB:
		read, wait = "SELECT @@GLOBAL.gtid_binlog_pos", "SELECT MASTER_GTID_WAIT(?, ?)"
	case MySQL56:
		// 5.6 answers with the number of transactions applied, -1 on a timeout, NULL when no thread applies.
		wait = "SELECT IF(WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS(?, ?) >= 0, 0, 1)"
	}
	position, err := source.Value(ctx, read)
	if err != nil {
		return err
	}
	answer, err := replica.Value(ctx, wait, position, seconds)
	if err != nil {
		return err
	}
	if answer != done {
		return fmt.Errorf("%s has not applied %s of %s (answer %q)", replica.Name(), position, source.Name(), answer)
	}
	return nil
}

// EnableSemiSyncSource makes a server wait for acknowledgements; it must have been started with SemiSync.
func (s *Server) EnableSemiSyncSource(ctx context.Context) error {
	variable := "rpl_semi_sync_master_enabled"
	if s.flavor == MySQL {
		variable = "rpl_semi_sync_source_enabled"
	}
	return s.Exec(ctx, "SET GLOBAL "+variable+" = ON")
}

// SetReadOnly makes a server read-only or writable, as root.
func (s *Server) SetReadOnly(ctx context.Context, on bool) error {
	value := 0
	if on {
		value = 1
	}
	return s.Exec(ctx, fmt.Sprintf("SET GLOBAL read_only = %d", value))
}

// TopologyOptions shape a topology.
type TopologyOptions struct {
	// SemiSync makes every server ready for semi-sync and the master wait for one acknowledgement.
	SemiSync bool
	// Options are added to every server's option file.
	Options map[string]string
	// FirstID is the master's @@server_id (default 1); replicas count on from it.
	FirstID uint32
	// NamePrefix names the servers' directories together with their ids; default db.
	NamePrefix string
	// Each has options for single servers, by number: the master is 0, the first replica 1.
	Each map[int]map[string]string
	// Below names, by number, servers that replicate from another one than the master.
	Below map[int]int
	// Disks have, by number, the data directories of single servers.
	Disks map[int]*Disk
	// CoMaster has the master replicate from the first replica, which stays read-only.
	CoMaster bool
	ReplicateOptions
}

// Cluster is a master with its replicas.
type Cluster struct {
	Master   *Server
	Replicas []*Server
}

// Servers lists the master and then the replicas, as they were started.
func (t *Cluster) Servers() []*Server { return append([]*Server{t.Master}, t.Replicas...) }

// Topology starts a writable master with read-only replicas that follow it, and the schema app on all of them.
func (s *Stack) Topology(ctx context.Context, flavor Flavor, replicas int, options TopologyOptions) (*Cluster, error) {
	first := max(options.FirstID, 1)
	prefix := options.NamePrefix
	if prefix == "" {
		prefix = "db"
	}
	var servers []*Server
	for i := range replicas + 1 {
		id := first + uint32(i)
		own := maps.Clone(options.Options)
		if own == nil {
			own = map[string]string{}
		}
		maps.Copy(own, options.Each[i])
		server, err := s.StartServer(ctx, ServerSpec{Flavor: flavor, ServerID: id, Name: fmt.Sprintf("%s%d", prefix, id),
			SemiSync: options.SemiSync, Options: own, Disk: options.Disks[i]})
		if err != nil {
			return nil, err
		}
		servers = append(servers, server)
	}
	cluster := &Cluster{Master: servers[0], Replicas: servers[1:]}
	for i, replica := range cluster.Replicas {
		if err := Replicate(ctx, replica, servers[options.Below[i+1]], options.ReplicateOptions); err != nil {
			return nil, err
		}
	}
	if options.SemiSync {
		if err := cluster.Master.EnableSemiSyncSource(ctx); err != nil {
			return nil, err
		}
	}
	if err := cluster.Master.SetReadOnly(ctx, false); err != nil {
		return nil, err
	}
	if err := cluster.Master.Exec(ctx, "CREATE DATABASE `"+AppSchema+"`"); err != nil {
		return nil, err
	}
	for _, replica := range cluster.Replicas {
		if err := WaitCaughtUp(ctx, replica, cluster.Master); err != nil {
			return nil, err
		}
	}
	if options.CoMaster {
		return cluster, closeRing(ctx, cluster.Master, cluster.Replicas[0], options.ReplicateOptions)
	}
	return cluster, nil
}

// closeRing has a master replicate from one of its replicas.
func closeRing(ctx context.Context, master, other *Server, options ReplicateOptions) error {
	if master.flavor == MariaDB {
		// It has all of this already, by writing it.
		if err := master.Exec(ctx, "SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_binlog_pos"); err != nil {
			return err
		}
	}
	return Replicate(ctx, master, other, options)
}
