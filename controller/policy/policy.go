// Package policy holds the operator's rules for a cluster, as values. It is
// pure.
package policy

import (
	"fmt"
	"maps"
	"time"

	"switchyard/controller/topology"
	"switchyard/store/quorum"
)

// Rule is how much an operator wants a server to be promoted.
type Rule string

// The promotion rules, best first.
const (
	Must      Rule = "must"
	Prefer    Rule = "prefer"
	Neutral   Rule = "neutral"
	PreferNot Rule = "prefer_not"
	MustNot   Rule = "must_not"
)

// ParseRule reads a promotion rule.
func ParseRule(text string) (Rule, error) {
	switch r := Rule(text); r {
	case Must, Prefer, Neutral, PreferNot, MustNot:
		return r, nil
	}
	return "", fmt.Errorf("promotion rule %q: want must, prefer, neutral, prefer_not or must_not", text)
}

// Rank orders rules: a lower rank is promoted first.
func (r Rule) Rank() int {
	switch r {
	case Must:
		return 0
	case Prefer:
		return 1
	case PreferNot:
		return 3
	case MustNot:
		return 4
	default:
		return 2
	}
}

// SemiSync is whether a cluster's masters are to wait for acknowledgements.
type SemiSync string

// The semi-sync modes.
const (
	// SemiSyncAuto: a new master waits if the old one or its replicas did.
	SemiSyncAuto SemiSync = "auto"
	SemiSyncOn   SemiSync = "on"
	SemiSyncOff  SemiSync = "off"
)

// Partition is what to do about a master that may be cut off instead of dead.
type Partition string

// The answers to a master that may be cut off.
const (
	PartitionHold     Partition = "hold"
	PartitionFailover Partition = "failover"
)

// Proxies is what an unreachable proxy holds up while the old master is withdrawn.
type Proxies string

// The answers to an unreachable proxy.
const (
	// ProxiesFast: it is left behind once the old master is proven dead.
	ProxiesFast Proxies = "fast"
	// ProxiesStrict: it is waited for, unless the old master was read back to be
	// fenced or its sidecar's lease has ended.
	ProxiesStrict Proxies = "strict"
)

// Backlog is what to do about a candidate that has not applied all that it
// received.
type Backlog string

// The answers to a backlog.
const (
	// BacklogDelay: it is promoted once it has applied everything.
	BacklogDelay Backlog = "delay"
	// BacklogFail: it is no candidate.
	BacklogFail Backlog = "fail"
)

// SemiSyncRepair is what is done about the number of acknowledging replicas.
type SemiSyncRepair string

// The answers to a number of acknowledging replicas that does not fit.
const (
	SemiSyncLeave SemiSyncRepair = "none"
	// SemiSyncEnough: replicas are told to acknowledge while there are too few.
	SemiSyncEnough SemiSyncRepair = "enough"
	// SemiSyncExact: and told not to where there are too many.
	SemiSyncExact SemiSyncRepair = "exact"
)

// Cluster is the rules of one cluster.
type Cluster struct {
	// Recover allows automatic master recoveries.
	Recover bool
	// Controllers is how many controllers there are; a majority of them must
	// see a failure before it is acted on.
	Controllers int
	// Councils are who they are, and where one of them is added or removed also
	// without it: a majority of each must see it. Without them, whoever sees counts.
	Councils quorum.Councils
	// AntiFlap is how long after an automatic master recovery ended the next
	// one is held back.
	AntiFlap time.Duration
	// RestartGrace is how long a master that was shut down in order is waited for.
	RestartGrace time.Duration
	// MinStall is the least time without heartbeat or movement after which a
	// replica's receiver that claims to run is taken for stalled; it is never
	// less than three of the replica's heartbeat periods.
	MinStall time.Duration
	// Rules are the promotion rules; a server that is not named is neutral.
	Rules map[topology.Key]Rule
	// MaxLag excludes a candidate whose applier is further behind; 0 is no limit.
	MaxLag time.Duration
	// Partition is what to do about a master that neither its host nor its process
	// answers for: it may live on, cut off, and serve who is cut off with it.
	Partition Partition
	// UnreachableProxies is what a proxy that cannot be reached holds up; empty is
	// fast.
	UnreachableProxies Proxies
	// RecoverIntermediate allows automatic recoveries of intermediate masters.
	RecoverIntermediate bool
	// Paused says who paused automatic recoveries, and why; empty where nobody did.
	Paused string
	// DownDataCenters are those that an operator marked down, and why: nobody there
	// takes over unasked.
	DownDataCenters map[string]string
	// PreventCrossDataCenter and PreventCrossRegion exclude candidates elsewhere
	// than the old master.
	PreventCrossDataCenter, PreventCrossRegion bool
	// Backlog is what to do about a candidate with received, unapplied events.
	Backlog Backlog
	// CoMasterOnly excludes all but the other co-master where there is one.
	CoMasterOnly bool
	// FailoverAfter has, for each trouble that is to be answered by a failover,
	// how long it must last; a trouble that is not named is reported only.
	FailoverAfter map[topology.Trouble]time.Duration
	// LockedAfter is for how long commits must wait for an acknowledgement, and
	// the binary log stand still, before the master counts as locked.
	LockedAfter time.Duration
	// SemiSyncRepair is what is done about the number of acknowledging replicas.
	SemiSyncRepair SemiSyncRepair
	// ReasonableLag is how far behind a replica counts as lagging.
	ReasonableLag time.Duration
	// CascadeLimit is how many automatic failovers within
	// CascadeWindow end in a hold until somebody acknowledges; 0 is no limit.
	CascadeLimit  int
	CascadeWindow time.Duration
	// LostDowntime is how long a replica that a recovery lost is downtimed.
	LostDowntime time.Duration
	// SalvageTimeout is how long a failover takes for what only the crashed master's
	// binary log has; 0 is not at all.
	SalvageTimeout time.Duration
	// SemiSync is how new masters are set up.
	SemiSync SemiSync
	// Proxies is how many managed proxies lead to the cluster's writer.
	Proxies int
	// Readers is which replicas proxies send readers to.
	Readers Readers
}

// Readers is which replicas of a cluster proxies send readers to.
type Readers struct {
	// Tended is false where no proxy has readers.
	Tended bool
	// MaxLag is how far behind a reader may be.
	MaxLag time.Duration
	// LeaveAfter is for how long a reader must be unfit to leave, and JoinAfter for
	// how long one that left must be fit to come back.
	LeaveAfter, JoinAfter time.Duration
	// Weights are the shares of connections; 1 unless named.
	Weights map[topology.Key]int
	// Exclude are never readers.
	Exclude []topology.Key
	// Writer allows the writer to serve readers while no replica is fit.
	Writer bool
}

// Weight returns the share of k.
func (r Readers) Weight(k topology.Key) int {
	if w, ok := r.Weights[k]; ok {
		return w
	}
	return 1
}

// Rule returns the promotion rule of k.
func (c Cluster) Rule(k topology.Key) Rule {
	if r, ok := c.Rules[k]; ok {
		return r
	}
	return Neutral
}

// Majority is the number of controllers that must agree.
func (c Cluster) Majority() int { return c.Controllers/2 + 1 }

// Agreed reports whether those who see a failure are enough to act on it.
func (c Cluster) Agreed(by []string) bool {
	if c.Councils == nil {
		return len(by) >= c.Majority()
	}
	return c.Councils.Agreed(by)
}

// Of returns c for the controllers that there are.
func (c Cluster) Of(councils quorum.Councils) Cluster {
	c.Councils, c.Controllers = councils, len(councils.Everybody())
	return c
}

// With returns c with what operators said since it was configured: promotion
// rules, which win over the configured ones (those that have run out are the
// caller's to leave out), and who paused automatic recoveries, and why.
func (c Cluster) With(rules map[topology.Key]Rule, paused string) Cluster {
	if len(rules) > 0 {
		merged := maps.Clone(c.Rules)
		if merged == nil {
			merged = make(map[topology.Key]Rule, len(rules))
		}
		maps.Copy(merged, rules)
		c.Rules = merged
	}
	if paused != "" {
		c.Paused = paused
	}
	return c
}

// Begun returns the rules that count once a recovery has begun. How far behind
// a candidate may be was asked before anything was moved; refusing it later
// would leave the cluster without a master for what waiting overcomes.
func (c Cluster) Begun() Cluster {
	c.MaxLag, c.Backlog = 0, BacklogDelay
	return c
}
