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
	Detach(ctx context.Context) error
	SetWritable(ctx context.Context) error
	SetReadOnly(ctx context.Context) error
	SetSemiSync(ctx context.Context, want SemiSync) error
	// Repoint refuses a server that holds what is not in holds, unless that is
	// empty.
	Repoint(ctx context.Context, source topology.Key, holds gtid.Set) error
	EndClients(ctx context.Context) (ended, left int, err error)
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

// Config is the executor's settings.
type Config struct {
	// Self is this controller's id.
	Self string
	// Policy returns the rules of a cluster.
	Policy func(cluster string) policy.Cluster
	// ApplyTimeout bounds how long a winner may take to apply what it received.
	ApplyTimeout time.Duration
	// CatchUpTimeout bounds the same in a switchover, which is then undone.
	CatchUpTimeout time.Duration
	// RouteTimeout bounds the wait for the proxies' confirmations.
	RouteTimeout time.Duration
	// Now is the clock.
	Now func() time.Time
}
