// Package hooks runs the operator's commands around a recovery.
package hooks

import (
	"time"

	"switchyard/controller/topology"
)

// Moment is when hooks run. The names are those that operators know.
type Moment string

// The moments, in the order in which they come.
const (
	OnFailureDetection             Moment = "OnFailureDetection"
	PreGracefulTakeover            Moment = "PreGracefulTakeover"
	PreFailover                    Moment = "PreFailover"
	PostTakeMaster                 Moment = "PostTakeMaster"
	PostMasterFailover             Moment = "PostMasterFailover"
	PostIntermediateMasterFailover Moment = "PostIntermediateMasterFailover"
	PostFailover                   Moment = "PostFailover"
	PostUnsuccessfulFailover       Moment = "PostUnsuccessfulFailover"
	PostGracefulTakeover           Moment = "PostGracefulTakeover"
)

// Known reports whether m is one of the moments.
func (m Moment) Known() bool {
	switch m {
	case OnFailureDetection, PreGracefulTakeover, PreFailover, PostTakeMaster, PostMasterFailover,
		PostIntermediateMasterFailover, PostFailover, PostUnsuccessfulFailover, PostGracefulTakeover:
		return true
	}
	return false
}

// Vetoes reports whether a command that fails at m stops what was to come.
func (m Moment) Vetoes() bool {
	return m == OnFailureDetection || m == PreGracefulTakeover || m == PreFailover
}

// Facts are what a hook is told, in placeholders and in its environment.
type Facts struct {
	FailureType        string
	InstanceType       string // master, co-master, intermediate-master
	FailureDescription string
	// Command is what a person asked for: graceful-master-takeover,
	// force-master-failover, recover; empty where nobody did.
	Command           string
	Failed            topology.Key
	Cluster           string
	ClusterAlias      string
	Replicas          []topology.Key
	Lost              []topology.Key
	Downtimed         bool
	AutoMaster        bool // automatic master recoveries are on for the cluster
	AutoIntermediate  bool
	Controller        string
	Recovery          string
	Successful        bool
	Successor         topology.Key
	SuccessorAlias    string
	SuccessorPosition string // its binary log position ("file:offset")
}

// Result is how one command went.
type Result struct {
	// Command is as configured, before anything was put in.
	Command      string
	Begun, Ended time.Time
	// Output is what it printed, standard output and error together, cut to a
	// sensible length.
	Output string
	// Err is nil for exit code 0.
	Err error
}
