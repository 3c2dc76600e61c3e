// Package admin is the stand-in's door for administrators: the configuration in its three layers (disk, memory,
// runtime) as tables of a database, and the statements that move it between them.
package admin

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver of the tables

	"switchyard/e2e/standin/hostgroup"
	"switchyard/e2e/standin/traffic"
)

// Config says where the disk layer is and what the variables are on the first start.
type Config struct {
	// Disk is the file of the disk layer.
	Disk string
	// Variables win over the defaults of variables that are not on disk.
	Variables map[string]string
}

// Admin is the configuration and its statistics.
type Admin struct {
	servers *hostgroup.Registry
	proxy   *traffic.Proxy
	log     *slog.Logger

	mu sync.Mutex // one statement at a time, on the one connection
	db *sql.DB
}

// New opens the disk layer and brings what it holds to memory and runtime.
func New(ctx context.Context, config Config, servers *hostgroup.Registry, proxy *traffic.Proxy, log *slog.Logger) (*Admin, error) {
	db, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		return nil, fmt.Errorf("open the memory layer: %w", err)
	}
	db.SetMaxOpenConns(1)
	a := &Admin{servers: servers, proxy: proxy, log: log, db: db}
	if err := a.prepare(ctx, config); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return a, nil
}

func (a *Admin) prepare(ctx context.Context, config Config) error {
	if _, err := a.db.ExecContext(ctx, "ATTACH DATABASE ? AS disk", config.Disk); err != nil {
		return fmt.Errorf("open the disk layer %s: %w", config.Disk, err)
	}
	for _, statement := range append([]string{"ATTACH DATABASE ':memory:' AS stats", "PRAGMA disk.synchronous = FULL"}, schema()...) {
		if _, err := a.db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("make the tables: %w", err)
		}
	}
	values := variables()
	for name, value := range config.Variables {
		if _, ok := values[name]; !ok {
			return fmt.Errorf("unknown variable %q", name)
		}
		values[name] = value
	}
	for name, value := range values {
		if _, err := a.db.ExecContext(ctx, "INSERT INTO main.global_variables VALUES (?, ?)", name, value); err != nil {
			return err
		}
	}
	// What is on disk wins; a variable that is not there keeps its default.
	if _, err := a.db.ExecContext(ctx, "INSERT OR REPLACE INTO main.global_variables SELECT * FROM disk.global_variables"); err != nil {
		return err
	}
	for _, noun := range []string{"MYSQL SERVERS", "MYSQL USERS", "PROXYSQL SERVERS"} {
		if err := a.move(ctx, noun, "disk", "memory"); err != nil {
			return err
		}
	}
	for _, noun := range nouns() {
		if err := a.move(ctx, noun, "memory", "runtime"); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the layers.
func (a *Admin) Close() error { return a.db.Close() }

func nouns() []string {
	return []string{"MYSQL SERVERS", "MYSQL USERS", "PROXYSQL SERVERS", "MYSQL VARIABLES", "ADMIN VARIABLES"}
}

// place is a table's name in a layer.
func place(layer, name string) string {
	switch layer {
	case "disk":
		return "disk." + name
	case "runtime":
		return "main.runtime_" + name
	default:
		return "main." + name
	}
}

// move copies one part of the configuration from a layer to another, replacing what is there; to runtime it takes
// effect.
func (a *Admin) move(ctx context.Context, noun, from, to string) error {
	if from == "runtime" {
		if err := a.refresh(ctx); err != nil {
			return err
		}
	}
	tx, err := a.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := copyTables(ctx, tx, noun, from, to); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("move %s from %s to %s: %w", noun, from, to, err)
	}
	if to == "runtime" {
		return a.apply(ctx, noun)
	}
	return nil
}

func copyTables(ctx context.Context, tx *sql.Tx, noun, from, to string) error {
	for _, t := range tables() {
		where := ""
		if prefix, ok := strings.CutSuffix(noun, " VARIABLES"); ok && t.noun == "VARIABLES" {
			where = " WHERE variable_name LIKE '" + strings.ToLower(prefix) + "-%'"
		} else if t.noun != noun {
			continue
		}
		statements := []string{
			fmt.Sprintf("DELETE FROM %s%s", place(to, t.name), where),
			fmt.Sprintf("INSERT INTO %s SELECT * FROM %s%s", place(to, t.name), place(from, t.name), where),
		}
		if t.name == "mysql_servers" && from == "runtime" {
			statements = append(statements,
				// Being shunned is not kept, even when an administrator wrote it.
				fmt.Sprintf("UPDATE %s SET status = 'ONLINE' WHERE status = 'SHUNNED'", place(to, t.name)))
		}
		for _, statement := range statements {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%s from %s to %s: %w", noun, from, to, err)
			}
		}
	}
	return nil
}

// apply makes the runtime layer's tables true.
func (a *Admin) apply(ctx context.Context, noun string) error {
	switch noun {
	case "MYSQL SERVERS":
		rows, err := a.rows(ctx)
		if err != nil {
			return err
		}
		a.servers.Load(rows)
	case "MYSQL USERS":
		users, err := a.users(ctx)
		if err != nil {
			return err
		}
		a.proxy.SetUsers(users)
	case "MYSQL VARIABLES":
		settings, err := a.settings(ctx)
		if err != nil {
			return err
		}
		a.proxy.SetSettings(settings)
	}
	return nil
}

// carried are the columns of mysql_servers that the runtime hands back as they came.
func carried() []string {
	return []string{"gtid_port", "compression", "max_replication_lag", "use_ssl", "max_latency_ms", "comment"}
}

func (a *Admin) rows(ctx context.Context) ([]hostgroup.Row, error) {
	result, err := a.db.QueryContext(ctx, "SELECT hostgroup_id, hostname, port, status, weight, max_connections, "+
		strings.Join(carried(), ", ")+" FROM main.runtime_mysql_servers")
	if err != nil {
		return nil, err
	}
	defer func() { _ = result.Close() }() // Err is asked below
	var rows []hostgroup.Row
	for result.Next() {
		row := hostgroup.Row{Rest: map[string]string{}}
		rest := make([]string, len(carried()))
		targets := []any{&row.Hostgroup, &row.Host, &row.Port, &row.Status, &row.Weight, &row.MaxConnections}
		for i := range rest {
			targets = append(targets, &rest[i])
		}
		if err := result.Scan(targets...); err != nil {
			return nil, err
		}
		for i, name := range carried() {
			row.Rest[name] = rest[i]
		}
		rows = append(rows, row)
	}
	return rows, result.Err()
}

func (a *Admin) users(ctx context.Context) ([]traffic.User, error) {
	result, err := a.db.QueryContext(ctx, "SELECT username, COALESCE(password, ''), default_hostgroup, COALESCE(default_schema, '') "+
		"FROM main.runtime_mysql_users WHERE active = 1 AND frontend = 1")
	if err != nil {
		return nil, err
	}
	defer func() { _ = result.Close() }() // Err is asked below
	var users []traffic.User
	for result.Next() {
		var u traffic.User
		if err := result.Scan(&u.Name, &u.Password, &u.Hostgroup, &u.Schema); err != nil {
			return nil, err
		}
		users = append(users, u)
	}
	return users, result.Err()
}

// settings reads the variables that sessions obey. One that is no number is put back to its default, as a value out of
// range is by the original.
func (a *Admin) settings(ctx context.Context) (traffic.Settings, error) {
	numbers, names := map[string]int{}, []string{"connect_timeout_server", "connect_timeout_server_max",
		"connect_retries_on_failure", "connect_retries_delay", "query_retries_on_failure", "auto_increment_delay_multiplex",
		"auto_increment_delay_multiplex_timeout_ms", "shun_on_failures", "shun_recovery_time_sec"}
	for _, short := range names {
		name := "mysql-" + short
		var text string
		err := a.db.QueryRowContext(ctx, "SELECT variable_value FROM main.runtime_global_variables WHERE variable_name = ?", name).Scan(&text)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return traffic.Settings{}, err
		}
		number, wrong := strconv.Atoi(text)
		if err != nil || wrong != nil || number < 0 {
			fallback := variables()[name]
			a.log.Warn("variable put back to its default", "variable", name, "value", text, "default", fallback)
			if number, err = strconv.Atoi(fallback); err != nil {
				return traffic.Settings{}, err
			}
			for _, layer := range []string{"memory", "runtime"} {
				if _, err := a.db.ExecContext(ctx, "INSERT OR REPLACE INTO "+place(layer, "global_variables")+" VALUES (?, ?)", name, fallback); err != nil {
					return traffic.Settings{}, err
				}
			}
		}
		numbers[short] = number
	}
	ms := func(name string) time.Duration { return time.Duration(numbers[name]) * time.Millisecond }
	return traffic.Settings{
		ConnectTimeout: ms("connect_timeout_server"), ConnectTimeoutMax: ms("connect_timeout_server_max"),
		ConnectRetries: numbers["connect_retries_on_failure"], ConnectRetriesDelay: ms("connect_retries_delay"),
		QueryRetries: numbers["query_retries_on_failure"], DelayMultiplex: numbers["auto_increment_delay_multiplex"],
		DelayTimeout: ms("auto_increment_delay_multiplex_timeout_ms"), ShunOnFailures: numbers["shun_on_failures"],
		ShunRecovery: time.Duration(numbers["shun_recovery_time_sec"]) * time.Second,
	}, nil
}

// refresh writes the servers of the runtime to their table.
func (a *Admin) refresh(ctx context.Context) error {
	if _, err := a.db.ExecContext(ctx, "DELETE FROM main.runtime_mysql_servers"); err != nil {
		return err
	}
	for _, row := range a.servers.Rows() {
		names := append([]string{"hostgroup_id", "hostname", "port", "status", "weight", "max_connections"}, carried()...)
		values := []any{row.Hostgroup, row.Host, row.Port, string(row.Status), row.Weight, row.MaxConnections}
		for _, name := range carried() {
			values = append(values, row.Rest[name])
		}
		marks := strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ")
		if _, err := a.db.ExecContext(ctx, fmt.Sprintf("INSERT INTO main.runtime_mysql_servers (%s) VALUES (%s)",
			strings.Join(names, ", "), marks), values...); err != nil {
			return err
		}
	}
	return nil
}

// refreshProcesses fills the process list.
func (a *Admin) refreshProcesses(ctx context.Context) error {
	if _, err := a.db.ExecContext(ctx, "DELETE FROM stats.stats_mysql_processlist"); err != nil {
		return err
	}
	for _, p := range a.proxy.Processes() {
		host, port := split(p.Client)
		values := []any{0, p.Session, p.User, p.Schema, host, port, p.Hostgroup, nil, nil, nil, nil, p.Command,
			p.Since.Milliseconds(), nil, 0, nil}
		if p.Local != nil {
			values[7], values[8] = split(p.Local)
			values[9], values[10] = p.Server.Host, p.Server.Port
		}
		if p.Statement != "" {
			values[13] = p.Statement
		}
		if _, err := a.db.ExecContext(ctx, "INSERT INTO stats.stats_mysql_processlist VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			values...); err != nil {
			return err
		}
	}
	return nil
}

func split(address net.Addr) (host string, port int) {
	if tcp, ok := address.(*net.TCPAddr); ok {
		return tcp.IP.String(), tcp.Port
	}
	return address.String(), 0
}

// refreshPool fills the statistics of the connection pool.
func (a *Admin) refreshPool(ctx context.Context) error {
	if _, err := a.db.ExecContext(ctx, "DELETE FROM stats.stats_mysql_connection_pool"); err != nil {
		return err
	}
	for _, u := range a.servers.Usage() {
		if _, err := a.db.ExecContext(ctx, "INSERT INTO stats.stats_mysql_connection_pool VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0)",
			u.Hostgroup, u.Host, u.Port, string(u.Status), u.Used, u.Free, u.OK, u.Failed, u.Used, u.Served); err != nil {
			return err
		}
	}
	return nil
}
