package matrix

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"switchyard/e2e/session"
)

// client is one client with one connection at a time.
type client struct {
	Client
	dialer *session.Dialer
	brace  <-chan struct{}
	conn   *session.Session
	seq    int64
	// lasted is true once what lasts has ended, in whatever way.
	lasted bool

	mu       sync.Mutex
	lasting  bool
	writes   []Write
	failures []Failure
}

// run writes until ctx ends. A connection on which anything failed is given up, as an application's pool does, and what
// failed is never tried again: nobody knows whether it was executed.
func (c *client) run(ctx context.Context) {
	defer c.leave()
	for ctx.Err() == nil {
		if c.conn == nil && !c.connect(ctx) {
			pause(ctx, briskly)
			continue
		}
		if err := c.turn(ctx); err != nil {
			if ctx.Err() == nil {
				c.fail(Open, err)
			}
			c.leave()
			continue
		}
		if c.Habit == Reconnecting {
			c.leave()
		}
		pause(ctx, c.rest())
	}
}

// rest is how long a client leaves its connection alone after each turn. Most do for long enough that a small machine's
// replicas keep up.
func (c *client) rest() time.Duration {
	switch c.Habit {
	case Idle:
		return time.Second
	case Brisk, Reconnecting:
		return briskly
	}
	return 4 * briskly
}

func (c *client) connect(ctx context.Context) bool {
	conn, err := c.dialer.Dial(ctx)
	if err == nil && c.Habit == Pinned {
		// ProxySQL gets itself a connection for this, which can fail like any statement.
		if err = conn.Exec(ctx, "SET @pinned = 1"); err != nil {
			_ = conn.Close() // it is given up
		}
	}
	if err != nil {
		if ctx.Err() == nil {
			c.fail(stageOf(err), err)
		}
		return false
	}
	c.conn = conn
	return true
}

// stageOf tells a connection that nobody took from one that was ended later.
func stageOf(err error) Stage {
	var network *net.OpError
	if errors.As(err, &network) && network.Op == "dial" {
		return Refused
	}
	return Greeting
}

func (c *client) leave() {
	if c.conn != nil {
		_ = c.conn.Close() // it is given up
		c.conn = nil
	}
}

func (c *client) fail(stage Stage, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = append(c.failures, Failure{Client: c.Number, At: time.Now(), Stage: stage, Text: err.Error()})
}

// turn does once what the client's habit is.
func (c *client) turn(ctx context.Context) error {
	switch c.Habit {
	case Transaction:
		return c.transaction(ctx, 2, withinBound/2)
	case Statement:
		return c.autocommit(ctx, "INSERT INTO tokens (client, seq) SELECT ?, ? FROM (SELECT SLEEP(0.25)) AS s", c.next())
	case LastingTransaction, LastingStatement:
		if c.due() {
			return c.last(ctx)
		}
	}
	return c.autocommit(ctx, insert, c.next())
}

const insert = "INSERT INTO tokens (client, seq) VALUES (?, ?)"

func (c *client) due() bool {
	select {
	case <-c.brace:
		return !c.lasted
	default:
		return false
	}
}

func (c *client) last(ctx context.Context) error {
	c.lasted = true
	defer c.setLasting(false)
	if c.Habit == LastingTransaction {
		const rows = 8
		return c.transaction(ctx, rows, lasts/rows)
	}
	c.setLasting(true)
	return c.autocommit(ctx, "INSERT INTO tokens (client, seq) SELECT ?, ? FROM (SELECT SLEEP(8)) AS s", c.next())
}

func (c *client) setLasting(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lasting = on
}

func (c *client) next() Token {
	c.seq++
	return Token{Client: c.Number, Seq: c.seq}
}

// autocommit runs one statement that writes one row.
func (c *client) autocommit(ctx context.Context, statement string, token Token) error {
	w := Write{Token: token, Sent: time.Now()}
	err := c.conn.Exec(ctx, statement, token.Client, token.Seq)
	c.note(err, w)
	return err
}

// transaction writes rows in one, with a pause after each.
func (c *client) transaction(ctx context.Context, rows int, between time.Duration) (err error) {
	var written []Write
	defer func() { c.note(err, written...) }()
	if err := c.conn.Exec(ctx, "BEGIN"); err != nil {
		return err
	}
	for range rows {
		w := Write{Token: c.next(), Sent: time.Now()}
		written = append(written, w)
		if err := c.conn.Exec(ctx, insert, w.Client, w.Seq); err != nil {
			return err
		}
		c.setLasting(c.Habit == LastingTransaction)
		pause(ctx, between)
	}
	for i := range written {
		written[i].Sent = time.Now()
	}
	return c.conn.Exec(ctx, "COMMIT")
}

func (c *client) note(err error, writes ...Write) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range writes {
		w.Ended, w.Acked = now, err == nil
		c.writes = append(c.writes, w)
	}
}

func pause(ctx context.Context, length time.Duration) {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
