package stack

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// SidecarPort is the port of every sidecar of a stack; their addresses tell them apart.
const SidecarPort = 8811

// SidecarSecret is the secret of a stack's controllers and sidecars.
const SidecarSecret = "stack-controllers-and-sidecars"

// SidecarAccount is the account of the sidecars beside databases.
func SidecarAccount() Account { return Account{User: "sidecar", Password: "stack-sidecar"} }

// SidecarGrants make that account, with the least that it needs; they are not replicated.
func SidecarGrants(flavor Flavor) []string {
	account := SidecarAccount()
	to := " TO '" + account.User + "'@'localhost'"
	statements := []string{
		"SET SESSION sql_log_bin = 0", "DROP USER IF EXISTS '" + account.User + "'@'localhost'",
		fmt.Sprintf("CREATE USER '%s'@'localhost' IDENTIFIED BY '%s'", account.User, account.Password),
	}
	switch flavor {
	case MariaDB:
		return append(statements, "GRANT PROCESS, CONNECTION ADMIN, READ_ONLY ADMIN, REPLICA MONITOR ON *.*"+to)
	case MySQL:
		return append(statements, "GRANT PROCESS, REPLICATION CLIENT ON *.*"+to,
			"GRANT SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN ON *.*"+to, "GRANT SELECT ON performance_schema.processlist"+to)
	default: // 5.6 knows no IF EXISTS
		return []string{statements[0], statements[2], "GRANT SUPER, PROCESS, REPLICATION CLIENT ON *.*" + to}
	}
}

// Named is a controller or a sidecar as others reach it: http://HOST:PORT.
type Named struct{ Name, HTTP string }

// DatabaseSidecarSpec is a sidecar beside a server.
type DatabaseSidecarSpec struct {
	Name, Cluster string
	// Datacenter is dc1 if it is empty.
	Datacenter string
	Server     *Server
	// Listen is HOST:PORT, as SidecarListen gives one.
	Listen string
	// Secret is SidecarSecret if it is empty.
	Secret      string
	Controllers []Named
	Peers       []Named
	// Those that are zero are the product's defaults.
	Renew, Fence, Kill time.Duration
	Tie                bool
	// Extra is appended to the file.
	Extra string
}

// TailPort is where the sidecar beside a server gives away what a crash has left in the binary log.
const TailPort = 8812

// BinlogConfig is the part of a sidecar's file, within database, by which it reads this server's binary log.
func (s *Server) BinlogConfig() string {
	data := filepath.Join(s.Dir(), "data")
	return fmt.Sprintf("  binlog: {index: %q, data_dir: %q, listen: %q}\n", filepath.Join(data, "binlog.index"), data,
		net.JoinHostPort(s.Host(), strconv.Itoa(TailPort)))
}

// SidecarListen is an address of its own for the sidecar that will have this name.
func (s *Stack) SidecarListen(name string) (string, error) {
	ip, err := s.IPFor(name, SidecarPort)
	return net.JoinHostPort(ip, strconv.Itoa(SidecarPort)), err
}

// StartDatabaseSidecar makes the sidecar's account on its server, writes its file and runs it with binary. It does
// not wait until it listens.
func (s *Stack) StartDatabaseSidecar(ctx context.Context, binary string, spec DatabaseSidecarSpec) (*Process, error) {
	if err := spec.Server.Exec(ctx, SidecarGrants(spec.Server.Flavor())...); err != nil {
		return nil, err
	}
	return s.StartProcess(ctx, ProcessSpec{Name: spec.Name, Path: binary,
		Args: []string{"sidecar", "--config", "sidecar.yaml"}, Files: map[string]string{"sidecar.yaml": spec.config()}})
}

func (spec DatabaseSidecarSpec) config() string {
	secret, account := spec.Secret, SidecarAccount()
	if secret == "" {
		secret = SidecarSecret
	}
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\ndatacenter: %s\nstate_dir: state\nlisten: %q\nsecret: %q\nlog: {level: debug}\n", spec.Name,
		cmp.Or(spec.Datacenter, "dc1"), spec.Listen, secret)
	b.WriteString("controllers:\n")
	for _, c := range spec.Controllers {
		fmt.Fprintf(&b, "  - {id: %s, http: %q}\n", c.Name, c.HTTP)
	}
	fmt.Fprintf(&b, "database:\n  cluster: %s\n  server: %q\n  socket: %q\n  pid_file: %q\n", spec.Cluster, spec.Server.Key(), spec.Server.Socket(),
		filepath.Join(spec.Server.Dir(), "data", "server.pid"))
	fmt.Fprintf(&b, "  user: %s\n  password: %q\n  keep_users: [%s]\n  replication_user: %s\n  tie: %t\n",
		account.User, account.Password, ControllerAccount().User, ReplicationAccount().User, spec.Tie)
	for _, t := range []struct {
		key   string
		value time.Duration
	}{{"renew", spec.Renew}, {"fence", spec.Fence}, {"kill", spec.Kill}} {
		if t.value > 0 {
			fmt.Fprintf(&b, "  %s: %s\n", t.key, t.value)
		}
	}
	if len(spec.Peers) > 0 {
		b.WriteString("  peers:\n")
	}
	for _, p := range spec.Peers {
		fmt.Fprintf(&b, "    - {name: %s, http: %q}\n", p.Name, p.HTTP)
	}
	return b.String() + spec.Extra
}
