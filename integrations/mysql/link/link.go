// Package link is one connection to a MySQL or MariaDB server: no pool, no
// silent reconnect, no wait that outlives its context, and errors that say how
// the server was reached.
package link

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"

	"switchyard/controller/topology"
	"switchyard/integrations/mysql/dialect"
)

// DefaultConnectTimeout is used where a Config has none.
const DefaultConnectTimeout = 2 * time.Second

// Config is how to connect.
type Config struct {
	User string
	// Password returns the password; nil is none.
	Password func() string
	// TLS is nil for a plain connection.
	TLS *tls.Config
	// TLSOptional goes on without TLS where the server has none.
	TLSOptional bool
	// ConnectTimeout bounds the connection with all of its handshakes.
	ConnectTimeout time.Duration
	// KeepAlive is how often the kernel asks an idle connection's other end
	// whether it is there; 0 leaves that to the system.
	KeepAlive time.Duration
	// Socket is the path of the server's unix socket, which is used instead of
	// the address; the address then only names the server.
	Socket string
}

// Row is one row by column name. NULL columns are missing.
type Row map[string]string

// Conn is one connection. It is for one goroutine at a time; only Cut may be
// called beside it.
type Conn struct {
	Address topology.Key
	Dialect dialect.Dialect
	Version string // @@version
	ID      uint64 // CONNECTION_ID()

	wire *wire
	conn driver.Conn
}

// Dial connects, and learns the server's dialect. Its errors are *Error.
func Dial(ctx context.Context, cfg Config, address topology.Key) (*Conn, error) {
	timeout := cfg.ConnectTimeout
	if timeout <= 0 {
		timeout = DefaultConnectTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	c := &Conn{Address: address}
	if err := c.connect(ctx, cfg); err != nil {
		c.Cut()
		return nil, c.fail(ctx, "connect", err)
	}
	if err := c.greet(ctx); err != nil {
		c.Close()
		return nil, c.fail(ctx, "read the version", err)
	}
	return c, nil
}

func (c *Conn) connect(ctx context.Context, cfg Config) (err error) {
	// The greeting is checked; this is for all that a stranger may send after it.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w (its handshake is malformed: %v)", errNotMySQL, r)
		}
	}()
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = cfg.User, "tcp", c.Address.String()
	if cfg.Socket != "" {
		config.Net, config.Addr = "unix", cfg.Socket
	}
	if cfg.Password != nil {
		config.Passwd = cfg.Password()
	}
	if cfg.TLS != nil {
		config.TLS, config.AllowFallbackToPlaintext = cfg.TLS.Clone(), cfg.TLSOptional
	}
	config.MultiStatements = true
	config.CheckConnLiveness = false
	config.Logger = &mysql.NopLogger{}
	config.ConnectionAttributes = "program_name:switchyard"
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialer := net.Dialer{KeepAlive: cfg.KeepAlive}
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c.wire = &wire{Conn: conn}
		return c.wire, nil
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	c.conn, err = connector.Connect(ctx)
	return err
}

func (c *Conn) greet(ctx context.Context) error {
	// Dialect.Quote counts on the empty sql_mode.
	sets, err := c.Query(ctx, "SELECT @@version AS version, @@version_comment AS comment, "+
		"CONNECTION_ID() AS id; SET SESSION sql_mode = ''")
	if err != nil {
		return err
	}
	if len(sets) != 1 || len(sets[0]) != 1 {
		return errors.New("the server did not tell its version")
	}
	row := sets[0][0]
	c.Version = row["version"]
	if c.ID, err = strconv.ParseUint(row["id"], 10, 64); err != nil {
		return fmt.Errorf("connection id %q: %w", row["id"], err)
	}
	c.Dialect, err = dialect.Detect(row["version"], row["comment"])
	return err
}

// Query runs one or more statements in one round trip, and returns the rows of
// those that return any. On an error, which is always an *Error, it returns the
// results before it.
func (c *Conn) Query(ctx context.Context, statements string) (sets [][]Row, err error) {
	defer func() {
		if r := recover(); r != nil { // see connect
			c.Cut()
			sets, err = nil, c.fail(ctx, "query", fmt.Errorf("%w (malformed answer: %v)", errNotMySQL, r))
		}
	}()
	queryer, ok := c.conn.(driver.QueryerContext)
	if !ok {
		return nil, c.fail(ctx, "query", errors.New("the driver cannot query"))
	}
	// The context's own timer may be late: in a process that was stopped for a
	// while it runs beside us, and nothing may be sent after the deadline.
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return nil, c.unsent()
	}
	rows, err := queryer.QueryContext(ctx, statements, nil)
	if err != nil {
		return nil, c.fail(ctx, "query", err)
	}
	sets, err = readSets(rows)
	closeErr := rows.Close()
	if err == nil {
		err = closeErr
	}
	if err != nil {
		return sets, c.fail(ctx, "query", err)
	}
	return sets, nil
}

// Exec runs one or more statements and drops what they return.
func (c *Conn) Exec(ctx context.Context, statements string) error {
	_, err := c.Query(ctx, statements)
	return err
}

// QueryRow runs one statement and returns its first row, nil if it has none.
func (c *Conn) QueryRow(ctx context.Context, statement string) (Row, error) {
	sets, err := c.Query(ctx, statement)
	if err != nil || len(sets) == 0 || len(sets[0]) == 0 {
		return nil, err
	}
	return sets[0][0], nil
}

// Close says goodbye to the server and closes the connection.
func (c *Conn) Close() {
	if c.conn == nil {
		return
	}
	// A frozen server takes no goodbye once the socket's buffer is full.
	if err := c.wire.SetDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		c.Cut()
	}
	_ = c.conn.Close() // the connection is gone either way
}

// Cut closes the socket, whoever uses it.
func (c *Conn) Cut() {
	if c.wire != nil {
		_ = c.wire.Close() // an error means that it is closed already
	}
}

func readSets(rows driver.Rows) ([][]Row, error) {
	var sets [][]Row
	more, _ := rows.(driver.RowsNextResultSet)
	for {
		columns := rows.Columns()
		if len(columns) > 0 { // a statement without rows is no result
			set, err := readSet(rows, columns)
			if err != nil {
				return sets, err
			}
			sets = append(sets, set)
		}
		if more == nil || !more.HasNextResultSet() {
			return sets, nil
		}
		if err := more.NextResultSet(); errors.Is(err, io.EOF) {
			return sets, nil
		} else if err != nil {
			return sets, err
		}
	}
}

func readSet(rows driver.Rows, columns []string) ([]Row, error) {
	set := []Row{}
	values := make([]driver.Value, len(columns))
	for {
		if err := rows.Next(values); errors.Is(err, io.EOF) {
			return set, nil
		} else if err != nil {
			return nil, err
		}
		row := make(Row, len(columns))
		for i, value := range values {
			switch v := value.(type) {
			case nil:
			case []byte:
				row[columns[i]] = string(v)
			default:
				row[columns[i]] = fmt.Sprint(v)
			}
		}
		set = append(set, row)
	}
}
