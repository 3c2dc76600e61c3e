// Package verbs acts on MySQL and MariaDB servers: each verb is idempotent,
// reads back what it did, and ends with its context even if the server hangs.
package verbs

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/integrations/mysql/dialect"
	"switchyard/integrations/mysql/link"
)

// Sentinels of refusals: what they say was found before anything was changed,
// unless said otherwise.
var (
	// ErrApplierStopped: the thread that applies does not run, and cannot be
	// started without losing what was received, or stopped again with an error.
	ErrApplierStopped = errors.New("the replica's SQL thread does not run")
	// ErrNotApplied: what was received is not applied yet.
	ErrNotApplied = errors.New("received transactions are not applied yet")
	// ErrNotReplica: the server replicates from nobody.
	ErrNotReplica = errors.New("the server has no source")
	// ErrChannels: the server replicates on named channels, which no verb handles.
	ErrChannels = errors.New("the server replicates on a named channel: only the default one is supported")
	// ErrGTIDReceiver: the receiver of this server is not restarted for evidence,
	// since that could cost what it received.
	ErrGTIDReceiver = errors.New("the receiver is not restarted on a server that replicates by MariaDB's GTIDs: it could drop what it received")
	// ErrParallelDomains: the applier works on several domains at once, and could
	// not go on from one position.
	ErrParallelDomains = errors.New("the delay cannot be taken off: several domains are applied in parallel, which no one position in the relay log describes")
	// ErrDiverged: the server holds transactions that its source-to-be lacks.
	ErrDiverged = errors.New("the server holds transactions that the source lacks")
	// ErrBlocked: read-only waited too long behind a commit or a lock, and was
	// called off.
	ErrBlocked = errors.New("read-only is blocked by a commit or a lock")
	// ErrNoSemiSync: the server lacks a semi-sync plugin.
	ErrNoSemiSync = errors.New("the server has no semi-sync plugin")
	// ErrClientsLeft: clients were left when the context ended; all that could
	// be killed were.
	ErrClientsLeft = errors.New("clients are left")
	// ErrNoAnswer: the server did not answer a statement that does not wait for
	// so long. The session is lost.
	ErrNoAnswer = errors.New("the server does not answer")
	// ErrNotTaken: the server accepted a statement, and reads back otherwise.
	ErrNotTaken = errors.New("the server did not take it")
)

// Config is how servers are acted upon.
type Config struct {
	User string
	// Password returns the password; nil is none.
	Password func() string
	// TLS is nil for plain connections; with TLSPreferred a server without TLS
	// is worked on without.
	TLS            *tls.Config
	TLSPreferred   bool
	ConnectTimeout time.Duration
	// LockTimeout is how long SetReadOnly waits for commits and locks; 0 is 100 ms.
	LockTimeout time.Duration
	Replication Replication
	// Socket is the path of the unix socket of a server on this host; every
	// connection is made over it, whatever the address.
	Socket string
	// KeepUsers are accounts whose sessions EndClients leaves alone, beside our
	// own and the replication user's.
	KeepUsers []string
}

// Replication is what replicas are told at every repoint.
type Replication struct {
	User string
	// Password returns the password; nil is none.
	Password func() string
	// TLS is how replicas connect; dialect.TLSKeep leaves that as it is set.
	// CA, Cert and Key are files on the replicas.
	TLS           dialect.TLSMode
	CA, Cert, Key string
	// HeartbeatPeriod (0 is one second), ConnectRetry (0 is one second; servers
	// take whole ones) and RetryCount (0 is 86400) are of the receiver.
	HeartbeatPeriod time.Duration
	ConnectRetry    time.Duration
	RetryCount      int
}

// Opener opens sessions.
type Opener struct {
	cfg Config
	log *slog.Logger
}

// New returns an opener.
func New(cfg Config, log *slog.Logger) *Opener {
	cfg.LockTimeout = cmp.Or(cfg.LockTimeout, 100*time.Millisecond)
	cfg.Replication.HeartbeatPeriod = cmp.Or(cfg.Replication.HeartbeatPeriod, time.Second)
	cfg.Replication.ConnectRetry = cmp.Or(cfg.Replication.ConnectRetry, time.Second)
	cfg.Replication.RetryCount = cmp.Or(cfg.Replication.RetryCount, 86400)
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Opener{cfg: cfg, log: log}
}

// executorLock is the named lock that each session holds on its server. It
// belongs to the connection: who gets it knows that its predecessor's
// connection is gone.
const executorLock = "'switchyard.executor'"

// Session is one connection that holds the executor's lock on its server. It
// never reconnects: once lost, all of its verbs fail. It is for one goroutine.
type Session struct {
	cfg  Config
	log  *slog.Logger
	conn *link.Conn
	d    dialect.Dialect
}

// Open connects to the server at address and takes the executor's lock. Whoever
// holds it is a predecessor: its connection is killed.
func (o *Opener) Open(ctx context.Context, address topology.Key) (*Session, error) {
	conn, err := link.Dial(ctx, o.link(), address)
	if err != nil {
		return nil, err
	}
	s := &Session{cfg: o.cfg, log: o.log.With("instance", address.String()), conn: conn, d: conn.Dialect}
	if err := s.lock(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("take the executor's lock: %w", err)
	}
	return s, nil
}

func (o *Opener) link() link.Config { return linkConfig(o.cfg) }

func linkConfig(cfg Config) link.Config {
	return link.Config{
		User: cfg.User, Password: cfg.Password, TLS: cfg.TLS, TLSOptional: cfg.TLSPreferred,
		ConnectTimeout: cfg.ConnectTimeout, Socket: cfg.Socket,
	}
}

func (s *Session) lock(ctx context.Context) error {
	for {
		row, err := s.conn.QueryRow(ctx,
			"SELECT GET_LOCK("+executorLock+", 0) AS got, IS_USED_LOCK("+executorLock+") AS holder")
		if err != nil {
			return err
		}
		if row["got"] == "1" {
			return nil
		}
		if holder := row["holder"]; holder != "" {
			s.log.Warn("ending the session of a predecessor", "connection", holder)
			if err := s.kill(ctx, holder); err != nil {
				return fmt.Errorf("end the predecessor's session: %w", err)
			}
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
}

// Close gives the lock back and closes the connection.
func (s *Session) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.conn.Exec(ctx, "DO RELEASE_LOCK("+executorLock+")")
	s.conn.Close()
	if err != nil && !link.Lost(err) { // a lost connection gave its lock back
		return fmt.Errorf("give the executor's lock back: %w", err)
	}
	return nil
}

// Address returns the server that the session is with.
func (s *Session) Address() topology.Key { return s.conn.Address }

// kill ends a connection; one that is gone already is fine.
func (s *Session) kill(ctx context.Context, id string) error {
	const noSuchThread = 1094
	err := s.conn.Exec(ctx, "KILL CONNECTION "+id)
	if link.ServerError(err) == noSuchThread {
		return nil
	}
	return err
}

// status reads the replication channel that the verbs act upon; nil where
// there is none. Their statements would act upon other channels too.
func (s *Session) status(ctx context.Context) (*dialect.Status, error) {
	sets, err := s.conn.Query(ctx, "SELECT @@global.server_id AS server_id; "+s.d.Status)
	if err != nil {
		return nil, fmt.Errorf("read the replication status: %w", err)
	}
	if len(sets) != 2 || len(sets[0]) != 1 {
		return nil, fmt.Errorf("read the replication status: %d answers to two questions", len(sets))
	}
	id, err := serverID(sets[0][0])
	if err != nil {
		return nil, err
	}
	var only *dialect.Status
	for _, row := range sets[1] {
		status, err := s.d.ParseStatus(id, row)
		if err != nil {
			return nil, err
		}
		if status == nil {
			continue
		}
		if status.Channel != "" || only != nil {
			return nil, fmt.Errorf("%w: %q", ErrChannels, status.Channel)
		}
		only = status
	}
	return only, nil
}

// executed reads all that the server has applied or written.
func (s *Session) executed(ctx context.Context) (gtid.Set, error) {
	row, err := s.conn.QueryRow(ctx, s.d.Executed())
	if err != nil {
		return gtid.Set{}, fmt.Errorf("read the executed GTIDs: %w", err)
	}
	return s.d.ParseExecuted(row)
}

// pause waits, and no longer than ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
