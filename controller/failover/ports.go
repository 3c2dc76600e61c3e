// Package failover joins the rooms: it watches every cluster, judges what it
// sees, claims a recovery and has it carried out. Every controller watches;
// only the leader acts.
package failover

import (
	"context"
	"time"

	"switchyard/controller/executor"
	"switchyard/controller/hooks"
	"switchyard/controller/policy"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// Ledger is what is remembered.
type Ledger interface {
	executor.Ledger
	IsLeader() bool
	Barrier(ctx context.Context) error
	// LeaderChanges returns a channel that says when this controller begins and
	// ceases to lead, and its end.
	LeaderChanges() (<-chan bool, func())
	// Watch returns a channel that is sent to after changes, and its end.
	Watch() (<-chan struct{}, func())
}

// Observer watches the servers from here.
type Observer interface {
	executor.Looker
	// Learn makes the observer watch servers that the ledger remembers.
	Learn(cluster string, keys ...topology.Key)
	// SetMaster makes it hold a tripwire on the cluster's master.
	SetMaster(cluster string, master topology.Key)
	// Reprobe has servers of a cluster probed now, all of them where none is named.
	Reprobe(cluster string, keys ...topology.Key)
	// Pictures are the clusters as they were found, for adoption.
	Pictures() []Picture
}

// Picture is a cluster as discovery found it.
type Picture struct {
	Name    string
	Servers []topology.Key
	// Strangers are its servers that replicate from one nobody has ever seen.
	Strangers []topology.Key
	// Roots are its servers that replicate from nobody and answer; Writable are
	// those of them that accept writes.
	Roots, Writable []topology.Key
	// Ring are its servers that replicate from one another in a circle, two of
	// them being co-masters; RingWritable are those of them that accept writes.
	Ring, RingWritable []topology.Key
	// UUIDs has each server's, where it has one.
	UUIDs map[topology.Key]string
}

// Witnesses asks the other controllers.
type Witnesses interface {
	// Ask returns the views of those that answered within the deadline, each of
	// observations begun after they were asked, and why the others did not.
	Ask(ctx context.Context, cluster string, master topology.Key, keys []topology.Key) ([]topology.View, []error)
}

// Recoverer carries out claimed recoveries.
type Recoverer interface {
	Run(ctx context.Context, id string) (ledger.Recovery, error)
}

// Tender brings servers back to where they belong.
type Tender interface {
	Deposed(ctx context.Context, c ledger.Cluster) error
	Strays(ctx context.Context, c ledger.Cluster, snap topology.Snapshot) error
}

// Hooks runs the operator's commands.
type Hooks interface {
	// Run runs those of one moment, one after the other. The error is that of a
	// command that failed at a moment that vetoes; the results tell all.
	Run(ctx context.Context, m hooks.Moment, f hooks.Facts) ([]hooks.Result, error)
}

// Relocator gives the replicas of a dead intermediate master another source.
type Relocator interface {
	// Run carries out an open relocation until it is closed.
	Run(ctx context.Context, id string) (ledger.Recovery, error)
	// SemiSync puts the number of acknowledging replicas right.
	SemiSync(ctx context.Context, c ledger.Cluster, snap topology.Snapshot) error
	// RestartReceivers restarts the receivers of replicas that lag behind a master
	// which cannot be reached, so that they show whether they can connect.
	RestartReceivers(ctx context.Context, c ledger.Cluster, snap topology.Snapshot) error
}

// Mover changes single servers as an operator asks, under this controller's
// verified leadership. An *executor.Refusal says that nothing was changed.
type Mover interface {
	// Move makes a replica follow another server of its cluster.
	Move(ctx context.Context, c ledger.Cluster, instance, below topology.Key) error
	// Detach has a replica follow nobody, so that it can be attached again, and
	// Reattach attaches it to where it was. Both are recorded in the ledger.
	Detach(ctx context.Context, c ledger.Cluster, instance topology.Key, by, reason string) error
	Reattach(ctx context.Context, c ledger.Cluster, instance topology.Key, by, reason string) error
	// SetReadOnly makes a server read-only, or the cluster's master writable.
	SetReadOnly(ctx context.Context, c ledger.Cluster, instance topology.Key, on bool) error
}

// Leases knows the leases of the database sidecars.
type Leases interface {
	// Promise says whether the lease of a server that seems cut off can be counted
	// on; nil where no server of the cluster has a sidecar. Seen is when the server
	// last answered, zero for never.
	Promise(ctx context.Context, cluster string, server topology.Key, seen time.Time) *safety.Lease
	// Ending reports whether the sidecar of a server lives and has not said yet how
	// the process ended that is gone since a moment.
	Ending(server topology.Key, since time.Time) bool
	// Unfenced reports whether the sidecar of a server fenced it since a moment,
	// when it took writes, and holds the lease again.
	Unfenced(ctx context.Context, cluster string, server topology.Key, since time.Time) bool
}

// Suspicion is a hint that a cluster's master needs a look now.
type Suspicion struct {
	Cluster string
	Why     string
	At      time.Time
}

// Config is the loop's settings.
type Config struct {
	// Self is this controller's id.
	Self string
	// Policy returns the configuration's rules of a cluster; the loop adds what
	// operators told the ledger.
	Policy func(cluster string) policy.Cluster
	// Now is the clock.
	Now func() time.Time
	// Unknown names the proxies of a cluster that are neither known to follow
	// their table nor known not to run; nil where nobody can say.
	Unknown func(cluster string) []string
	// OnEnd is told of each recovery that ended here.
	OnEnd func(ledger.Recovery)
	// Hooks, Relocator and Mover may be nil, which is to have none.
	Hooks     Hooks
	Relocator Relocator
	Mover     Mover
	// Leases may be nil, where there are no database sidecars.
	Leases Leases
	// Higher returns nil where every receiver of a cluster was asked and none knows a
	// later epoch, or else why not; nil where there are no receivers to ask.
	Higher func(ctx context.Context, cluster string, epoch routes.Epoch) error
	// AuditRetention is how long the audit is kept; 0 is for ever.
	AuditRetention time.Duration
	// OnHold is told when a verdict becomes a hold, and why.
	OnHold func(cluster, code string)
}
