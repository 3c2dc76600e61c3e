package probe

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/integrations/mysql/dialect"
	"switchyard/integrations/mysql/link"
)

// parse makes the picture from the answers. It is pure.
func parse(d dialect.Dialect, answers map[string][]link.Row) (*topology.Instance, error) {
	if len(answers[dialect.AskServer]) != 1 {
		return nil, fmt.Errorf("%s: want one row, got %d", dialect.AskServer, len(answers[dialect.AskServer]))
	}
	row := answers[dialect.AskServer][0]
	i := &topology.Instance{
		Flavor: d.Flavor, UUID: row["server_uuid"], Hostname: row["hostname"], ReportHost: row["report_host"],
		ReadOnly: truth(row["read_only"]), SuperReadOnly: truth(row["super_read_only"]),
		CanSuperReadOnly: d.SuperReadOnly, LogBin: truth(row["log_bin"]), LogReplicaUpdates: truth(row["log_updates"]),
		BinlogFormat: row["binlog_format"],
		GTIDMode:     d.Flavor == gtid.MariaDB || strings.HasPrefix(row["gtid_mode"], "ON"),
	}
	id, err := strconv.ParseUint(row["server_id"], 10, 32)
	if err != nil {
		return nil, fmt.Errorf("server_id %q: %w", row["server_id"], err)
	}
	i.ServerID = uint32(id)
	if i.ReportPort, err = port(row["report_port"]); err != nil {
		return nil, fmt.Errorf("report_port: %w", err)
	}
	own, err := port(row["port"])
	if err != nil {
		return nil, fmt.Errorf("port: %w", err)
	}
	if i.Executed, err = d.ParseExecuted(row); err != nil {
		return nil, err
	}
	counters := named(answers[dialect.AskCounters])
	if i.Uptime, err = dialect.Seconds(cmp.Or(counters["uptime"], "0")); err != nil {
		return nil, fmt.Errorf("uptime: %w", err)
	}
	if err := replication(d, i, answers, counters); err != nil {
		return nil, err
	}
	variables := named(answers[dialect.AskVariables])
	i.SemiSync = semiSync(variables, counters)
	i.BinlogPosition = position(i, counters)
	parallel(i, variables)
	if truth(variables["wsrep_on"]) {
		i.Unsupported = append(i.Unsupported, "it is a node of a Galera cluster (wsrep_on)")
	}
	if strings.Contains(strings.ToLower(row["version_comment"]), "maxscale") {
		i.Unsupported = append(i.Unsupported, "it is a binlog server")
	}
	if r := i.Replication; r == nil {
		i.Filters = dialect.StatusFilters(variables)
	} else if r.RetryCount == 0 {
		r.RetryCount = count(variables["master_retry_count"])
	}
	var problem string
	if i.Replicas, problem = replicas(answers[dialect.AskReplicas], answers[dialect.AskDumps], own); problem != "" {
		i.Problems = append(i.Problems, problem)
	}
	return i, nil
}

// replication fills in the one channel that is looked at: the default one, or
// else the first.
func replication(
	d dialect.Dialect, i *topology.Instance, answers map[string][]link.Row, counters map[string]string,
) error {
	var channels []*dialect.Status
	for _, row := range answers[dialect.AskStatus] {
		status, err := d.ParseStatus(i.ServerID, row)
		if err != nil {
			return err
		}
		if status != nil {
			channels = append(channels, status)
		}
	}
	if len(channels) == 0 {
		return nil
	}
	n := max(0, slices.IndexFunc(channels, func(s *dialect.Status) bool { return s.Channel == "" }))
	s := channels[n]
	if len(channels) > 1 {
		i.Unsupported = append(i.Unsupported, fmt.Sprintf(
			"it replicates on %d channels, of which only %q is looked at", len(channels), s.Channel))
	} else if s.Channel != "" {
		i.Unsupported = append(i.Unsupported, fmt.Sprintf("it replicates on a named channel (%q)", s.Channel))
	}
	for _, row := range answers[dialect.AskHeartbeat] {
		if row["channel"] == s.Channel {
			s.Heartbeat = row["last"] + " #" + row["received"]
			if err := period(s, row["period"]); err != nil {
				return err
			}
		}
	}
	if received, ok := counters["slave_received_heartbeats"]; ok {
		s.Heartbeat = received
		if err := period(s, counters["slave_heartbeat_period"]); err != nil {
			return err
		}
	}
	i.Filters = s.Filters
	i.Replication = &s.Replication
	return nil
}

// position is where the binary log ends, by what a server says at once. The
// statement that shows it waits behind a commit that is stuck in the log, and a
// probe that waited too would take a master that is sick for one that is dead. So
// on MariaDB it is where the last commit ended, and on MySQL, which keeps no such
// record, the number of transactions.
func position(i *topology.Instance, counters map[string]string) string {
	switch {
	case !i.LogBin:
		return ""
	case i.Flavor == gtid.MariaDB && counters["binlog_snapshot_file"] != "":
		return counters["binlog_snapshot_file"] + ":" + counters["binlog_snapshot_position"]
	case i.Flavor == gtid.MySQL && i.GTIDMode:
		return fmt.Sprintf("%d transactions", i.Executed.Count())
	}
	return ""
}

// parallel reads how many workers apply, and whether they keep the source's
// order. MariaDB's do, in each domain.
func parallel(i *topology.Instance, variables map[string]string) {
	if i.Flavor == gtid.MariaDB {
		i.Workers, i.KeepsOrder = count(variables["slave_parallel_threads"]), true
		return
	}
	i.Workers = count(cmp.Or(variables["replica_parallel_workers"], variables["slave_parallel_workers"]))
	i.KeepsOrder = i.Workers < 2 ||
		truth(cmp.Or(variables["replica_preserve_commit_order"], variables["slave_preserve_commit_order"]))
}

func period(s *dialect.Status, text string) (err error) {
	if s.HeartbeatPeriod, err = dialect.Seconds(cmp.Or(text, "0")); err != nil {
		return fmt.Errorf("heartbeat period: %w", err)
	}
	return nil
}

// semiSync reads the plugins by their old names and by their new ones.
func semiSync(variables, counters map[string]string) topology.SemiSync {
	source := func(m map[string]string, name string) string {
		return cmp.Or(m["rpl_semi_sync_source_"+name], m["rpl_semi_sync_master_"+name])
	}
	replica := func(m map[string]string, name string) string {
		return cmp.Or(m["rpl_semi_sync_replica_"+name], m["rpl_semi_sync_slave_"+name])
	}
	if source(variables, "enabled") == "" {
		return topology.SemiSync{ReplicaEnabled: truth(replica(variables, "enabled"))}
	}
	return topology.SemiSync{
		Available:      replica(variables, "enabled") != "",
		SourceEnabled:  truth(source(variables, "enabled")),
		ReplicaEnabled: truth(replica(variables, "enabled")),
		SourceOn:       truth(source(counters, "status")),
		ReplicaOn:      truth(replica(counters, "status")),
		Clients:        count(source(counters, "clients")),
		// MariaDB and MySQL 5.6 have no such variable: they wait for one.
		WaitCount: max(1, count(cmp.Or(variables["rpl_semi_sync_source_wait_for_replica_count"],
			variables["rpl_semi_sync_master_wait_for_slave_count"]))),
		Timeout: time.Duration(count(source(variables, "timeout"))) * time.Millisecond,
		WaitNoReplica: truth(cmp.Or(variables["rpl_semi_sync_source_wait_no_replica"],
			variables["rpl_semi_sync_master_wait_no_slave"])),
		Waiting:   count(source(counters, "wait_sessions")),
		AfterSync: strings.EqualFold(source(variables, "wait_point"), "AFTER_SYNC"),
	}
}

// replicas names the servers that receive from this one. One that reports no
// host is sought among the dump threads' clients that nobody else accounts for.
func replicas(registered, dumps []link.Row, own uint16) (keys []topology.Key, problem string) {
	clients := map[string]int{}
	for _, row := range dumps {
		if strings.HasPrefix(row["Command"], "Binlog Dump") {
			clients[clientHost(row["Host"])]++
		}
	}
	var ports []uint16 // of those without a host
	for _, row := range registered {
		host := row["Host"]
		p, err := port(row["Port"])
		if err != nil || p == 0 {
			p = own
		}
		if host == "" {
			ports = append(ports, p)
			continue
		}
		clients[host]--
		keys = append(keys, topology.Key{Host: host, Port: p})
	}
	var hosts []string
	for host, n := range clients {
		if n > 0 && host != "" {
			hosts = append(hosts, host)
		}
	}
	unnamed := len(ports)
	switch {
	case registered == nil: // not allowed to see them: every dump thread may be a replica's
		ports, unnamed = []uint16{own}, len(hosts)
	case unnamed == 0: // the unaccounted have a report_host other than their address, or are no replicas
		hosts = nil
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	if len(hosts) > unnamed || len(hosts) > 1 && len(ports) > 1 {
		problem = "Replicas without report_host cannot be told apart; set report_host on each."
	}
	for _, host := range hosts {
		for _, p := range ports {
			keys = append(keys, topology.Key{Host: host, Port: p})
		}
	}
	slices.SortFunc(keys, topology.Key.Compare)
	return slices.Compact(keys), problem
}

// clientHost strips the port from a session's host; some tables add none.
func clientHost(text string) string {
	if host, _, err := net.SplitHostPort(text); err == nil {
		return host
	}
	// The server writes an IPv6 client without brackets.
	if n := strings.LastIndexByte(text, ':'); n >= 0 {
		return text[:n]
	}
	return text
}

func port(text string) (uint16, error) {
	n, err := strconv.ParseUint(cmp.Or(text, "0"), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q: want a number from 0 to 65535", text)
	}
	if n > 65535 { // report_port may be set to nonsense; it is as good as none
		return 0, nil
	}
	return uint16(n), nil
}

// named turns rows of Variable_name and Value into a map with lower-case names.
func named(rows []link.Row) map[string]string {
	m := make(map[string]string, len(rows))
	for _, row := range rows {
		m[strings.ToLower(row["Variable_name"])] = row["Value"]
	}
	return m
}

func truth(text string) bool {
	switch strings.ToUpper(text) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

func count(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}
