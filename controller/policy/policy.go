// Package policy holds the operator's rules for a cluster, as values. It is
// pure.
package policy

import (
	"fmt"
	"time"

	"switchyard/controller/topology"
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

// CutOff is what to do about a master that may be cut off instead of dead.
type CutOff string

// The answers to a master that may be cut off.
const (
	CutOffHold     CutOff = "hold"
	CutOffFailover CutOff = "failover"
)

// Cluster is the rules of one cluster.
type Cluster struct {
	// Recover allows automatic master recoveries.
	Recover bool
	// Controllers is how many controllers there are; a majority of them must
	// see a failure before it is acted on.
	Controllers int
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
	// CutOff is what to do about a master that neither its host nor its process
	// answers for: it may live on, cut off, and serve who is cut off with it.
	CutOff CutOff
	// SemiSync is how new masters are set up.
	SemiSync SemiSync
	// Proxies is how many managed proxies lead to the cluster's writer.
	Proxies int
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
