package stack

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"
)

// MySQLPort is the port of every database server of a stack; their addresses tell them apart.
const MySQLPort = 3306

// ServerSpec says which database server to start.
type ServerSpec struct {
	Flavor Flavor
	// ServerID is @@server_id, unique in a topology.
	ServerID uint32
	// Name names the server's directory; default db<ServerID>.
	Name string
	// SemiSync loads what semi-sync replication needs; this server then acknowledges as a replica. As a master it
	// waits only after EnableSemiSyncSource.
	SemiSync bool
	// Options are added to (and win over) the option file's.
	Options map[string]string
	// Disk has the data directory; nil is the stack's own directory.
	Disk *Disk
}

// Server is a running (or stopped) database server.
type Server struct {
	*Process
	flavor   Flavor
	serverID uint32
	host     string
	socket   string
	root     *sql.DB
}

// StartServer starts a database server on a data directory of its own and waits until it answers. It boots read-only,
// with GTIDs, row format, a durable binary log, and the stack's accounts.
func (s *Stack) StartServer(ctx context.Context, spec ServerSpec) (*Server, error) {
	if spec.ServerID == 0 {
		return nil, errors.New("a server needs a ServerID above 0")
	}
	if spec.SemiSync && spec.Flavor == MySQL56 {
		return nil, errors.New("the packaged MySQL 5.6 has no semi-sync plugins: use mariadb or mysql")
	}
	inst, err := locate(spec.Flavor, s.cache)
	if err != nil {
		return nil, err
	}
	name := spec.Name
	if name == "" {
		name = fmt.Sprintf("db%d", spec.ServerID)
	}
	ip, err := s.IPFor(name, MySQLPort)
	if err != nil {
		return nil, err
	}
	place := map[string]string{
		"datadir": filepath.Join(s.dir, name, "data"), "socket": filepath.Join(s.dir, name, "s.sock"),
		"pid_file": "server.pid", "bind_address": ip, "port": strconv.Itoa(MySQLPort),
		"report_host": ip, "report_port": strconv.Itoa(MySQLPort),
		"server_id": strconv.FormatUint(uint64(spec.ServerID), 10),
	}
	if spec.Disk != nil {
		place["datadir"] = filepath.Join(spec.Disk.Dir(), "data")
	}
	layers := []map[string]string{small(spec.Flavor), inst.basics, replicationOptions(spec.Flavor), place}
	if spec.SemiSync {
		layers = append(layers, semiSyncOptions(spec.Flavor))
	}
	server, err := s.prepareServer(name, spec.Flavor, inst, ip, optionFile(append(layers, spec.Options)...))
	if err != nil {
		return nil, err
	}
	server.serverID = spec.ServerID
	if err := s.copyTemplate(ctx, spec.Flavor, inst, place["datadir"]); err != nil {
		return nil, err
	}
	if err := server.Start(ctx); err != nil {
		return nil, err
	}
	return server, nil
}

// socketLimit is how long the kernel lets the path of a Unix socket be.
const socketLimit = 107

func (s *Stack) prepareServer(name string, flavor Flavor, inst install, host, options string) (*Server, error) {
	if socket := filepath.Join(s.dir, name, "s.sock"); len(socket) > socketLimit {
		return nil, fmt.Errorf("the socket's path %s has more than %d characters: set TMPDIR to a shorter directory",
			socket, socketLimit)
	}
	// A MariaDB that starts deletes the temporary tables of all who share its directory for them.
	process, err := s.prepare(ProcessSpec{
		Name: name, Path: inst.argv[0], Env: append(slices.Clone(inst.env), "TMPDIR="+filepath.Join(s.dir, name)),
		Args:  append(inst.argv[1:len(inst.argv):len(inst.argv)], "--defaults-file="+filepath.Join(s.dir, name, "my.cnf")),
		Files: map[string]string{"my.cnf": options},
	})
	if err != nil {
		return nil, err
	}
	server := &Server{Process: process, flavor: flavor, host: host, socket: filepath.Join(process.dir, "s.sock")}
	config := baseConfig(Account{User: "root"}, "")
	config.Net, config.Addr = "unix", server.socket
	if server.root, err = open(config); err != nil {
		return nil, err
	}
	// Tests keep no connection of root's in the way of a kill or a count of connections.
	server.root.SetMaxIdleConns(0)
	s.closeLater(server.root)
	return server, nil
}

// baseConfig has short deadlines: on loopback a server that does not answer is frozen or gone.
func baseConfig(account Account, schema string) *mysql.Config {
	config := mysql.NewConfig()
	config.User, config.Passwd, config.DBName = account.User, account.Password, schema
	config.Net, config.Timeout = "tcp", 2*time.Second
	config.AllowNativePasswords, config.InterpolateParams = true, true
	config.Logger = &mysql.NopLogger{}
	return config
}

func open(config *mysql.Config) (*sql.DB, error) {
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("connection settings: %w", err)
	}
	return sql.OpenDB(connector), nil
}

// Flavor is the server's flavor.
func (s *Server) Flavor() Flavor { return s.flavor }

// ServerID is the server's @@server_id.
func (s *Server) ServerID() uint32 { return s.serverID }

// Host is the server's own loopback address.
func (s *Server) Host() string { return s.host }

// Port is the server's port.
func (s *Server) Port() int { return MySQLPort }

// Key is host:port, as report_host and report_port say it.
func (s *Server) Key() string { return net.JoinHostPort(s.host, strconv.Itoa(MySQLPort)) }

// Socket is the path of the server's Unix socket, where root needs no password.
func (s *Server) Socket() string { return s.socket }

// Root is a pool of root's over the server's socket, which passes read-only. Close closes it with the stack.
func (s *Server) Root() *sql.DB { return s.root }

// Open is a pool of an account over TCP; the caller closes it.
func (s *Server) Open(account Account, schema string) (*sql.DB, error) {
	config := baseConfig(account, schema)
	config.Addr = s.Key()
	return open(config)
}

// Exec runs statements one after another as root.
func (s *Server) Exec(ctx context.Context, statements ...string) error {
	conn, err := s.root.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to %s as root: %w", s.Name(), err)
	}
	for _, statement := range statements {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return errors.Join(fmt.Errorf("%s: %q: %w", s.Name(), statement, err), conn.Close())
		}
	}
	return conn.Close()
}

// Value reads one value as root.
func (s *Server) Value(ctx context.Context, query string, args ...any) (string, error) {
	var value sql.NullString
	if err := s.root.QueryRowContext(ctx, query, args...).Scan(&value); err != nil {
		return "", fmt.Errorf("%s: %q: %w", s.Name(), query, err)
	}
	return value.String, nil
}

// Start starts the server (again) and waits until it answers. After Kill it waits for the old process to be gone.
func (s *Server) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := s.Wait(ctx); err != nil {
		return err
	}
	// A killed server leaves its socket behind, with a lock that names a pid which may be somebody else's by now.
	for _, path := range []string{s.socket, s.socket + ".lock"} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := s.Process.Start(ctx); err != nil {
		return err
	}
	return s.WaitReady(ctx)
}

// Restart stops the server cleanly and starts it again.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(ctx); err != nil {
		return err
	}
	return s.Start(ctx)
}

// WaitReady waits until the server answers on its socket and, where it has one, on its address.
func (s *Server) WaitReady(ctx context.Context) error {
	return s.WaitFor(ctx, "ready", func(ctx context.Context) error {
		if err := s.root.PingContext(ctx); err != nil {
			return err
		}
		if s.host == "" {
			return nil
		}
		return s.reach(ctx, s.Key())
	})
}
