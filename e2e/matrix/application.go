// Package matrix proves the routing from end to end: an application of 64 connections through HAProxies and ProxySQLs, a master
// that something is done to, and afterwards a judgement on what the servers, the kernel and the proxies themselves have
// kept of it. What the controllers say of themselves is used for one thing only: when the steps of a recovery were.
package matrix

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"switchyard/e2e/session"
	"switchyard/e2e/stack"
)

// Proxy is a kind of proxy.
type Proxy string

// The kinds of proxy.
const (
	HAProxy  Proxy = "haproxy"
	ProxySQL Proxy = "proxysql"
)

// Door is one proxy's address for applications.
type Door struct {
	Name    string
	Proxy   Proxy
	Address string
}

// Habit is what a client does with its connection.
type Habit string

// The habits. What lasts is begun once, by Brace, and would last far longer than any drain bound; until then, and after it
// has failed, such a client writes as a brisk one does.
const (
	// Brisk writes one row after the other.
	Brisk Habit = "brisk"
	// Idle writes a row a second, and leaves its connection alone in between.
	Idle Habit = "idle"
	// Transaction writes two rows in one, which ends within the drain bound.
	Transaction Habit = "transaction"
	// Statement runs a statement that ends within the drain bound.
	Statement Habit = "statement"
	// LastingTransaction sits in a transaction, idle for most of it.
	LastingTransaction Habit = "lasting transaction"
	// LastingStatement runs one statement.
	LastingStatement Habit = "lasting statement"
	// Pinned has session state, by which ProxySQL ties it to its server.
	Pinned Habit = "pinned"
	// Reconnecting connects, writes a row and leaves, in a tight loop.
	Reconnecting Habit = "reconnecting"
)

// Lasting tells whether the habit is begun by Brace.
func (h Habit) Lasting() bool { return h == LastingTransaction || h == LastingStatement }

// Crew is who is behind each door: 16 clients.
func Crew() []Habit {
	return []Habit{Brisk, Brisk, Brisk, Idle, Idle, Idle, Transaction, Transaction, Statement,
		LastingTransaction, LastingTransaction, LastingStatement, Pinned, Reconnecting, Reconnecting, Reconnecting}
}

// Calm is a crew in which everybody ends within the drain bound, and nobody is tied to a server.
func Calm() []Habit {
	return slices.DeleteFunc(Crew(), func(h Habit) bool { return h.Lasting() || h == Pinned })
}

const (
	// lasts is how long what lasts would last, withinBound what ends within the drain bound of a second.
	lasts       = 8 * time.Second
	withinBound = 250 * time.Millisecond
	briskly     = 50 * time.Millisecond
	// patience is longer than any proxy holds anybody.
	patience = 20 * time.Second
)

// Token names one attempt to write one row. The table has no unique key, so that what is executed twice is there twice.
type Token struct {
	Client, Seq int64
}

// Write is one attempt.
type Write struct {
	Token
	// Sent is when the statement was sent that decides: the row's own, or the COMMIT of its transaction.
	Sent time.Time
	// Ended is when its answer was read, and Acked whether that was OK.
	Ended time.Time
	Acked bool
}

// Stage is how far a connection had come when it failed.
type Stage string

// The stages.
const (
	// Refused: nobody took the connection.
	Refused Stage = "refused"
	// Greeting: it was taken, and ended before the client was signed in.
	Greeting Stage = "greeting"
	// Open: the client was signed in.
	Open Stage = "open"
)

// Failure is one error that a client saw.
type Failure struct {
	Client int64
	At     time.Time
	Stage  Stage
	Text   string
}

// Client is who one client is.
type Client struct {
	Number int64
	Door   Door
	Habit  Habit
}

// String names a client in a sentence.
func (c Client) String() string {
	return fmt.Sprintf("client %d (%s, %s)", c.Number, c.Habit, c.Door.Name)
}

// Application is a crew behind each door.
type Application struct {
	clients []*client
	brace   chan struct{}
	stop    context.CancelFunc
	group   sync.WaitGroup
}

// Table is where the application writes. A trigger has each row say which server executed it, and when: replication by rows
// carries that on as it is.
func Table() []string {
	return []string{
		"CREATE TABLE `" + stack.AppSchema + "`.tokens (client INT NOT NULL, seq BIGINT NOT NULL, server INT UNSIGNED NOT NULL DEFAULT 0, " +
			"at_us BIGINT NOT NULL DEFAULT 0, KEY (client, seq)) ENGINE=InnoDB",
		"CREATE TRIGGER `" + stack.AppSchema + "`.who BEFORE INSERT ON `" + stack.AppSchema + "`.tokens FOR EACH ROW " +
			"SET NEW.server = @@server_id, NEW.at_us = ROUND(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000)",
	}
}

// Start starts the clients; End ends them.
func Start(ctx context.Context, doors []Door, crew []Habit) (*Application, error) {
	ctx, stop := context.WithCancel(ctx)
	a := &Application{brace: make(chan struct{}), stop: stop}
	account := stack.AppAccount()
	for _, door := range doors {
		dialer, err := session.NewDialer(session.Config{Address: door.Address, User: account.User, Password: account.Password,
			Schema: stack.AppSchema, Timeout: patience})
		if err != nil {
			stop()
			return nil, err
		}
		for _, habit := range crew {
			a.clients = append(a.clients, &client{Client: Client{Number: int64(len(a.clients) + 1), Door: door, Habit: habit},
				dialer: dialer, brace: a.brace})
		}
	}
	for _, c := range a.clients {
		a.group.Go(func() { c.run(ctx) })
	}
	return a, nil
}

// End stops all clients and waits for them. Calling it again does nothing.
func (a *Application) End() {
	a.stop()
	a.group.Wait()
}

// Clients lists who there is.
func (a *Application) Clients() []Client {
	var list []Client
	for _, c := range a.clients {
		list = append(list, c.Client)
	}
	return list
}

// Brace has what lasts begin.
func (a *Application) Brace() { close(a.brace) }

// Braced counts the lasting transactions and statements that are under way.
func (a *Application) Braced() (count int) {
	for _, c := range a.clients {
		c.mu.Lock()
		if c.lasting {
			count++
		}
		c.mu.Unlock()
	}
	return count
}

// Acked counts each client's acknowledged writes since a moment.
func (a *Application) Acked(since time.Time) map[int64]int {
	counts := map[int64]int{}
	for _, c := range a.clients {
		counts[c.Number] = 0
	}
	for _, w := range a.Writes() {
		if w.Acked && w.Sent.After(since) {
			counts[w.Client]++
		}
	}
	return counts
}

// Writes lists all attempts that were answered.
func (a *Application) Writes() (all []Write) {
	for _, c := range a.clients {
		c.mu.Lock()
		all = append(all, c.writes...)
		c.mu.Unlock()
	}
	return all
}

// Failures lists the errors that the clients saw from a moment on.
func (a *Application) Failures(since time.Time) (all []Failure) {
	for _, c := range a.clients {
		c.mu.Lock()
		for _, f := range c.failures {
			if f.At.After(since) {
				all = append(all, f)
			}
		}
		c.mu.Unlock()
	}
	return all
}
