package proxysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"switchyard/router/proxysql"
)

// talk is one session with an admin port. It breaks off with the context that it
// was opened with, which its methods are given too, to say why.
type talk struct {
	conn driver.Conn
	wire *wire
	stop func() bool
}

// wire is the socket under the driver, which does not tell what befell it.
type wire struct {
	net.Conn
	// deadline is the context's. Nothing is sent after it: whoever gave it may
	// count on that, even if this process was stopped for a while, and its timers
	// have yet to run.
	deadline time.Time

	mu   sync.Mutex
	last error
	read int
	// unanswered is true from when something was sent until something comes back,
	// and leaving once all that is still to be sent is a farewell.
	unanswered, leaving bool
}

// maxAnswers bounds what a session may take of our memory.
const maxAnswers = 64 << 20

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unanswered = w.unanswered && n == 0
	if w.read += n; w.read > maxAnswers {
		err = fmt.Errorf("it answered more than %d bytes", maxAnswers)
	}
	w.keep(err)
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.unanswered = !w.leaving
	w.mu.Unlock()
	var n int
	err := context.DeadlineExceeded
	if w.deadline.IsZero() || time.Now().Before(w.deadline) {
		n, err = w.Conn.Write(p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keep(err)
	return n, err
}

// Close takes back what was sent and not answered, as far as it is still here:
// otherwise the kernel goes on sending it for minutes, and it would be carried out
// when somebody else has long said something newer.
func (w *wire) Close() error {
	w.mu.Lock()
	unanswered := w.unanswered
	w.mu.Unlock()
	if conn, ok := w.Conn.(*net.TCPConn); ok && unanswered {
		_ = conn.SetLinger(0) // of a connection that is gone, nothing is sent
	}
	return w.Conn.Close()
}

func (w *wire) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leaving = !w.unanswered
}

// keep remembers the first error: what comes after it is its echo.
func (w *wire) keep(err error) {
	if w.last == nil {
		w.last = err
	}
}

func (w *wire) cause() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// dial opens a session; ctx must have a deadline.
func dial(ctx context.Context, config Config) (t *talk, err error) {
	t = &talk{stop: func() bool { return true }}
	defer func() {
		// The driver trusts whoever greets it.
		if r := recover(); r != nil {
			err = fmt.Errorf("not a ProxySQL: its handshake is malformed: %v", r)
		}
		if err != nil {
			t.close()
			t = nil
		}
	}()
	settings := mysql.NewConfig()
	settings.User, settings.Passwd, settings.Net, settings.Addr = config.User, config.Password, "tcp", config.Admin
	// The admin port knows no prepared statements.
	settings.InterpolateParams = true
	settings.CheckConnLiveness = false
	settings.Logger = &mysql.NopLogger{}
	settings.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		t.wire = &wire{Conn: conn}
		if deadline, ok := ctx.Deadline(); ok {
			t.wire.deadline = deadline
			if err := conn.SetDeadline(deadline); err != nil {
				return nil, fmt.Errorf("set the deadline: %w", err)
			}
		}
		return t.wire, nil
	}
	connector, err := mysql.NewConnector(settings)
	if err != nil {
		return t, fmt.Errorf("settings: %w", err)
	}
	if t.conn, err = connector.Connect(ctx); err != nil {
		return t, fmt.Errorf("connect: %w", t.explain(ctx, err))
	}
	// The end of the context ends whatever read or write is under way.
	wire := t.wire
	t.stop = context.AfterFunc(ctx, func() { _ = wire.SetDeadline(time.Unix(1, 0)) })
	return t, nil
}

// explain prefers the reason why a connection was broken off to what that did.
func (t *talk) explain(ctx context.Context, err error) error {
	var answer *mysql.MySQLError
	if errors.As(err, &answer) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if t.wire == nil {
		return err
	}
	cause := t.wire.cause()
	var network net.Error
	if errors.As(cause, &network) && network.Timeout() {
		return context.DeadlineExceeded // the connection's timer ran before the context's
	}
	if cause != nil && (errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn)) {
		return cause
	}
	return err
}

func (t *talk) close() {
	t.stop()
	if t.wire != nil {
		t.wire.leave()
	}
	if t.conn != nil {
		_ = t.conn.Close() // nothing waits to be sent
	} else if t.wire != nil {
		_ = t.wire.Close() // nothing was begun
	}
}

// run carries out the commands in order.
func (t *talk) run(ctx context.Context, commands []proxysql.Command) error {
	for _, command := range commands {
		_, err := t.query(ctx, command.SQL)
		var answer *mysql.MySQLError
		if command.MayFail && errors.As(err, &answer) {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// query runs one statement and returns its rows.
func (t *talk) query(ctx context.Context, statement string) (answer proxysql.Answer, err error) {
	defer func() {
		if r := recover(); r != nil { // see dial
			answer, err = nil, fmt.Errorf("%q: malformed answer: %v", statement, r)
		}
	}()
	queryer, ok := t.conn.(driver.QueryerContext)
	if !ok {
		return nil, errors.New("the driver cannot query")
	}
	rows, err := queryer.QueryContext(ctx, statement, nil)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", statement, t.explain(ctx, err))
	}
	answer, err = readRows(rows)
	if closed := rows.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w", statement, t.explain(ctx, err))
	}
	return answer, nil
}

func readRows(rows driver.Rows) (proxysql.Answer, error) {
	columns := rows.Columns()
	answer, values := proxysql.Answer{}, make([]driver.Value, len(columns))
	if len(columns) == 0 {
		return answer, nil
	}
	for {
		if err := rows.Next(values); errors.Is(err, io.EOF) {
			return answer, nil
		} else if err != nil {
			return nil, err
		}
		row := make(map[string]string, len(columns))
		for i, value := range values {
			switch v := value.(type) {
			case nil:
			case []byte:
				row[columns[i]] = string(v)
			default:
				row[columns[i]] = fmt.Sprint(v)
			}
		}
		answer = append(answer, row)
	}
}
