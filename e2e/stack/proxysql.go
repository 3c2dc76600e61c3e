package stack

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The ports of every ProxySQL of a stack; their addresses tell them apart.
const (
	ProxySQLAdminPort = 6032
	ProxySQLPort      = 6033
)

// ProxySQLAccount signs in to the admin interface.
func ProxySQLAccount() Account { return Account{User: "admin", Password: "admin"} }

// ProxySQLUser is an application that may sign in at a ProxySQL, and the hostgroup that its statements go to.
type ProxySQLUser struct {
	Account
	Schema    string
	Hostgroup int
}

// ProxySQLOptions are what a ProxySQL is told after its first start. All of it is saved to disk.
type ProxySQLOptions struct {
	// Host is the address to listen on; empty takes one of the stack's.
	Host string
	// Users may sign in; default the stack's application, in hostgroup 0.
	Users []ProxySQLUser
	// Variables are global variables by name.
	Variables map[string]string
	// Setup are further statements of the administrator.
	Setup []string
}

// ProxySQL is a running ProxySQL, or its stand-in; see RealProxySQL.
type ProxySQL struct {
	*Process
	host  string
	admin *sql.DB
}

// RealProxySQL is the binary that PROXYSQL_BIN names; empty means that the stand-in is run.
func RealProxySQL() string { return os.Getenv("PROXYSQL_BIN") }

// StartProxySQL runs a ProxySQL and waits until it answers and has its users and variables. It has no servers yet.
func (s *Stack) StartProxySQL(ctx context.Context, name string, options ProxySQLOptions) (*ProxySQL, error) {
	p := &ProxySQL{host: options.Host}
	var err error
	if p.host == "" {
		if p.host, err = s.IPFor(name, ProxySQLAdminPort, ProxySQLPort); err != nil {
			return nil, err
		}
	}
	spec, err := s.proxySQLSpec(ctx, name, p)
	if err != nil {
		return nil, err
	}
	if p.Process, err = s.prepare(spec); err != nil {
		return nil, err
	}
	config := baseConfig(ProxySQLAccount(), "")
	config.Addr, config.ReadTimeout = p.AdminAddress(), 30*time.Second
	if p.admin, err = open(config); err != nil {
		return nil, err
	}
	p.admin.SetMaxIdleConns(0)
	s.closeLater(p.admin)
	if err := p.Start(ctx); err != nil {
		return nil, err
	}
	return p, p.configure(ctx, options)
}

// proxySQLSpec says how the program is run: the original in the foreground with a configuration file that turns its
// monitor off, since what the monitor does is the controllers' work.
func (s *Stack) proxySQLSpec(ctx context.Context, name string, p *ProxySQL) (ProcessSpec, error) {
	real := RealProxySQL()
	if real == "" {
		path, err := s.buildStandin(ctx)
		return ProcessSpec{Name: name, Path: path, Args: []string{"-admin", p.AdminAddress(), "-traffic", p.Address(),
			"-data", filepath.Join(s.dir, name)}}, err
	}
	path, err := filepath.Abs(real)
	if err != nil {
		return ProcessSpec{}, fmt.Errorf("PROXYSQL_BIN: %w", err)
	}
	if !executable(path) {
		return ProcessSpec{}, fmt.Errorf("PROXYSQL_BIN names %s, which is no program", path)
	}
	account := ProxySQLAccount()
	config := fmt.Sprintf("datadir=%q\nadmin_variables=\n{\n\tadmin_credentials=\"%s:%s\"\n\tmysql_ifaces=%q\n}\n"+
		"mysql_variables=\n{\n\tinterfaces=%q\n\tmonitor_enabled=false\n}\n",
		filepath.Join(s.dir, name), account.User, account.Password, p.AdminAddress(), p.Address())
	return ProcessSpec{Name: name, Path: path, Args: []string{"-f", "--idle-threads", "-c", "proxysql.cnf", "-D", filepath.Join(s.dir, name)},
		Files: map[string]string{"proxysql.cnf": config}}, nil
}

func (p *ProxySQL) configure(ctx context.Context, options ProxySQLOptions) error {
	users := options.Users
	if users == nil {
		users = []ProxySQLUser{{Account: AppAccount(), Schema: AppSchema}}
	}
	var statements []string
	for _, u := range users {
		statements = append(statements, fmt.Sprintf("REPLACE INTO mysql_users (username, password, default_schema, default_hostgroup) "+
			"VALUES (%s, %s, %s, %d)", quoteLiteral(u.User), quoteLiteral(u.Password), quoteLiteral(u.Schema), u.Hostgroup))
	}
	for _, name := range sortedKeys(options.Variables) {
		statements = append(statements, fmt.Sprintf("UPDATE global_variables SET variable_value = %s WHERE variable_name = %s",
			quoteLiteral(options.Variables[name]), quoteLiteral(name)))
	}
	statements = append(statements, "LOAD MYSQL USERS TO RUNTIME", "SAVE MYSQL USERS TO DISK",
		"LOAD MYSQL VARIABLES TO RUNTIME", "SAVE MYSQL VARIABLES TO DISK")
	return p.Admin(ctx, append(statements, options.Setup...)...)
}

func quoteLiteral(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func sortedKeys(m map[string]string) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Host is the address it listens on.
func (p *ProxySQL) Host() string { return p.host }

// Address is where applications connect.
func (p *ProxySQL) Address() string { return net.JoinHostPort(p.host, fmt.Sprint(ProxySQLPort)) }

// AdminAddress is where administrators connect.
func (p *ProxySQL) AdminAddress() string {
	return net.JoinHostPort(p.host, fmt.Sprint(ProxySQLAdminPort))
}

// Admin runs statements of an administrator one after another, on one connection.
func (p *ProxySQL) Admin(ctx context.Context, statements ...string) error {
	conn, err := p.admin.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to the admin interface of %s: %w", p.Name(), err)
	}
	for _, statement := range statements {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return errors.Join(fmt.Errorf("%s: %q: %w", p.Name(), statement, err), conn.Close())
		}
	}
	return conn.Close()
}

// AdminRows reads rows from the admin interface; a NULL reads as an empty text.
func (p *ProxySQL) AdminRows(ctx context.Context, query string) (table [][]string, err error) {
	rows, err := p.admin.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("%s: %q: %w", p.Name(), query, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		cells, targets, row := make([]sql.NullString, len(names)), make([]any, len(names)), make([]string, len(names))
		for i := range cells {
			targets[i] = &cells[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		for i, cell := range cells {
			row[i] = cell.String
		}
		table = append(table, row)
	}
	return table, rows.Err()
}

// Open is a pool of a user over the application's door; the caller closes it.
func (p *ProxySQL) Open(account Account, schema string) (*sql.DB, error) {
	config := baseConfig(account, schema)
	config.Addr = p.Address()
	return open(config)
}

// Start starts it (again) and waits until both doors answer. What was saved to disk is in force, nothing else.
func (p *ProxySQL) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		return err
	}
	if err := p.Process.Start(ctx); err != nil {
		return err
	}
	return p.WaitFor(ctx, "ready", func(ctx context.Context) error {
		var one int
		if err := p.admin.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
			return err
		}
		return p.reach(ctx, p.Address())
	})
}

// Restart kills it and starts it again.
func (p *ProxySQL) Restart(ctx context.Context) error {
	if err := p.Kill(); err != nil {
		return err
	}
	return p.Start(ctx)
}
