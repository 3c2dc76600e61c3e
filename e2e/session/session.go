// Package session is one plain connection to a database server, as the test application and the observer need it: with
// a deadline on everything, and without a pool that would retry behind their backs.
package session

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Config says where to connect to and as whom.
type Config struct {
	// Address is host:port.
	Address  string
	User     string
	Password string
	Schema   string
	// Timeout bounds the whole of a connect, and each read and write after it.
	Timeout time.Duration
	// Dial connects; nil for as everybody does.
	Dial Dial
}

// Dial opens a network connection from a place of its own.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Dialer opens sessions.
type Dialer struct {
	connector driver.Connector
	timeout   time.Duration
}

// NewDialer checks the settings; nothing is connected yet.
func NewDialer(config Config) (*Dialer, error) {
	if config.Address == "" || config.Timeout <= 0 {
		return nil, errors.New("a session needs an address (host:port) and a timeout above 0")
	}
	settings := mysql.NewConfig()
	settings.Net, settings.Addr = "tcp", config.Address
	settings.User, settings.Passwd, settings.DBName = config.User, config.Password, config.Schema
	settings.Timeout, settings.ReadTimeout, settings.WriteTimeout = config.Timeout, config.Timeout, config.Timeout
	settings.DialFunc = config.Dial
	settings.InterpolateParams, settings.CheckConnLiveness = true, false
	settings.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(settings)
	if err != nil {
		return nil, fmt.Errorf("session settings: %w", err)
	}
	return &Dialer{connector: connector, timeout: config.Timeout}, nil
}

// Session is one connection. It is not for use by several goroutines at once.
type Session struct {
	conn  driver.Conn
	exec  driver.ExecerContext
	query driver.QueryerContext
}

// Dial connects and signs in.
func (d *Dialer) Dial(ctx context.Context) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := d.connector.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	exec, canExec := conn.(driver.ExecerContext)
	query, canQuery := conn.(driver.QueryerContext)
	if !canExec || !canQuery {
		return nil, errors.Join(errors.New("the MySQL driver's connection takes no direct statements"), conn.Close())
	}
	return &Session{conn: conn, exec: exec, query: query}, nil
}

// Close ends the session.
func (s *Session) Close() error { return s.conn.Close() }

func named(args []any) []driver.NamedValue {
	values := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		values[i] = driver.NamedValue{Ordinal: i + 1, Value: arg}
	}
	return values
}

// Exec runs a statement; integer arguments are int64.
func (s *Session) Exec(ctx context.Context, statement string, args ...any) error {
	_, err := s.exec.ExecContext(ctx, statement, named(args))
	return err
}

// Integers runs a query for one row of whole numbers.
func (s *Session) Integers(ctx context.Context, query string) (values []int64, err error) {
	rows, err := s.query.QueryContext(ctx, query, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(row); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the query has no row")
		}
		return nil, err
	}
	for i, value := range row {
		number, err := integer(value)
		if err != nil {
			return nil, fmt.Errorf("column %d: %w", i+1, err)
		}
		values = append(values, number)
	}
	return values, nil
}

func integer(value driver.Value) (int64, error) {
	switch v := value.(type) {
	case int64:
		return v, nil
	case uint64:
		return int64(v), nil
	case []byte:
		return strconv.ParseInt(string(v), 10, 64)
	default:
		return 0, fmt.Errorf("%T is not a whole number", value)
	}
}
