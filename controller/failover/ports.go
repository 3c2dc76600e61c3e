// Package failover joins the rooms: it watches every cluster, judges what it
// sees, claims a recovery and has it carried out. Every controller watches;
// only the leader acts.
package failover

import (
	"context"
	"time"

	"switchyard/controller/executor"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
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
	// Policy returns the rules of a cluster.
	Policy func(cluster string) policy.Cluster
	// Now is the clock.
	Now func() time.Time
	// Unknown names the proxies of a cluster that are neither known to follow
	// their table nor known not to run; nil where nobody can say.
	Unknown func(cluster string) []string
	// OnEnd is told of each recovery that ended here.
	OnEnd func(ledger.Recovery)
	// OnHold is told when a verdict becomes a hold, and why.
	OnHold func(cluster, code string)
}
