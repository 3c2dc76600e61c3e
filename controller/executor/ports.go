// Package executor carries out the plan of a recovery, from the top and for as
// often as it takes: every step asks whether it is already done, and leadership
// is verified before every effect.
package executor

import (
	"context"
	"time"

	"switchyard/controller/gtid"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// Ledger is what is remembered.
type Ledger interface {
	State() ledger.State
	Propose(ctx context.Context, cmd ledger.Command) error
	ProposeAsync(ctx context.Context, cmd ledger.Command) <-chan error
	// VerifyLeader returns nil only if a majority still follows this controller.
	VerifyLeader(ctx context.Context) error
}

// Looker sees the servers.
type Looker interface {
	// Look makes observations that begin after the call; those of fresh servers
	// on new connections.
	Look(ctx context.Context, keys []topology.Key, fresh map[topology.Key]bool) topology.View
	// Snapshot is the picture from memory.
	Snapshot(cluster string, master topology.Key) topology.Snapshot
}

// Hands opens sessions that change servers. A session that another executor
// still holds on the server is ended first.
type Hands interface {
	Open(ctx context.Context, address topology.Key) (Session, error)
}

// Session is one connection to one server, never silently made anew. Every
// verb may be repeated, and reads back what it did.
type Session interface {
	StopReceiver(ctx context.Context) error
	StartReplica(ctx context.Context) error
	WaitApplied(ctx context.Context, set gtid.Set) error
	// Undelay takes the applier's delay off, and leaves the applier running.
	Undelay(ctx context.Context) error
	// RestartReceiver has the receiver connect anew; it refuses where that would
	// tell nothing.
	RestartReceiver(ctx context.Context) error
	Detach(ctx context.Context) error
	SetWritable(ctx context.Context) error
	SetReadOnly(ctx context.Context) error
	SetSemiSync(ctx context.Context, want SemiSync) error
	// Repoint refuses a server that holds what is not in holds, unless that is
	// empty.
	Repoint(ctx context.Context, source topology.Key, holds gtid.Set) error
	// Take points a server that has applied all that it received to the tail of
	// another's binary log.
	Take(ctx context.Context, source topology.Key, user, password string) error
	EndClients(ctx context.Context) (ended, left int, err error)
	// EndWaiters ends the connections whose commits wait for an acknowledgement,
	// where that ends the wait; nobody is told that such a commit succeeded.
	EndWaiters(ctx context.Context) error
	Close() error
}

// SemiSync is how a server is to take part in semi-synchronous replication.
type SemiSync struct {
	// Source makes commits wait; Replica acknowledges.
	Source, Replica bool
	// WaitCount is how many acknowledgements a commit waits for; 0 leaves it.
	WaitCount int
}

// Receivers are all the proxies, or all the Consuls, of a cluster.
type Receivers interface {
	Push(ctx context.Context, table routes.Table) []routes.Receipt
}

// Leases are the leases that database sidecars hold for their servers.
type Leases interface {
	// Kept reports whether servers of a cluster have database sidecars.
	Kept(cluster string) bool
	// Outlast returns once no lease of server, which was last seen at seen (zero for
	// never), can be in force, and says by what. Still is asked in between whether
	// to go on.
	Outlast(ctx context.Context, cluster string, server topology.Key, seen time.Time, epoch routes.Epoch,
		still func(context.Context) error) (string, error)
	// Await returns once a server may be made writable without being fenced again
	// by its own sidecar, and says why; nothing where it has none.
	Await(ctx context.Context, server topology.Key, patience time.Duration) (string, error)
}

// Tails has what crashed servers wrote last, and no replica received.
type Tails interface {
	// Has reports whether a sidecar stands beside the server.
	Has(server topology.Key) bool
	// Open has the sidecar give away, until ctx ends, what the server's binary log
	// has beyond holds. It fails where the server's process has not ended.
	Open(ctx context.Context, cluster string, server topology.Key, holds gtid.Set) (Tail, error)
}

// Tail is what a crashed server wrote last, and where a replica takes it.
type Tail struct {
	// Port is on the crashed server's host.
	Port           uint16
	User, Password string
	Set            gtid.Set
	Count          int
	// Restarted is set where the server runs again, and Problem says why its binary
	// log may have more than could be read: either way there may be more.
	Restarted bool
	Problem   string
}

// Config is the executor's settings.
type Config struct {
	// Self is this controller's id.
	Self string
	// Policy returns the rules of a cluster.
	Policy func(cluster string) policy.Cluster
	// Tails has what crashed masters wrote last; nil where there are no sidecars.
	Tails Tails
	// ApplyTimeout bounds how long a winner may take to apply what it received.
	ApplyTimeout time.Duration
	// CatchUpTimeout bounds the same in a switchover, which is then undone.
	CatchUpTimeout time.Duration
	// RouteTimeout bounds the wait for the proxies' confirmations.
	RouteTimeout time.Duration
	// LeaseTimeout bounds the wait for the lease of a server that is to be made
	// writable.
	LeaseTimeout time.Duration
	// Leases may be nil, where there are no database sidecars.
	Leases Leases
	// Now is the clock.
	Now func() time.Time
}

// Refusal is why something an operator asked for was not begun; nothing was
// changed.
type Refusal struct{ Reason string }

// Error implements error.
func (r *Refusal) Error() string { return r.Reason }
