// Package leases is the controllers' side of the database sidecars' lease: it
// grants for this controller, remembers what it granted, gives this controller's
// word to take no part any more, and, on the leader, gathers the words of the
// others and waits until the lease of a master that is cut off has ended.
package leases

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/sidecar/protocol"
	"switchyard/store/ledger"
	"switchyard/store/quorum"
)

// Ledger is what this controller has applied.
type Ledger interface {
	State() ledger.State
	// Leader is who leads, as far as this controller knows.
	Leader() (id string, ok bool)
}

// Book outlives the process: a word that was given is in it before it is given.
type Book interface {
	// Read returns nil where nothing was ever written.
	Read() ([]byte, error)
	Write(data []byte) error
}

// Config is what a register is told.
type Config struct {
	// Self is this controller's id, and Run the random id of this process.
	Self, Run string
	// Lease is for how long a grant holds, and Fence the longest fence (with the
	// kill) that a sidecar may announce.
	Lease, Fence time.Duration
	// Controllers are the ids of all controllers by the configuration, this one
	// among them. They count until the ledger has a set of its own.
	Controllers []string
	// Sidecars are where the database sidecars are called, by their servers.
	Sidecars map[topology.Key]string
	// Aside is why this controller grants nothing; empty while it does. It may be nil.
	Aside func() string
	Now   func() time.Time
}

func (c Config) check() error {
	if c.Self == "" || c.Run == "" || c.Now == nil {
		return errors.New("leases: self, run and now are needed")
	}
	if !slices.Contains(c.Controllers, c.Self) {
		return fmt.Errorf("leases: self is %s, which is none of the controllers %v", c.Self, c.Controllers)
	}
	if c.Lease <= c.Fence || c.Fence <= 0 {
		return fmt.Errorf("leases: lease %s, fence %s: a lease that is not longer than its fence is over when it begins", c.Lease, c.Fence)
	}
	return nil
}

// councils are the controllers whose word counts.
func (c Config) councils(s ledger.State) quorum.Councils {
	if s.Controllers.Number != 0 {
		return s.Controllers.Councils()
	}
	return quorum.Councils{c.Controllers}
}

// miscounted is why a sidecar that keeps its lease by a majority of these
// controllers is not outlasted by a majority of the controllers that there are:
// some majority of those could grant it that has given no word. One that counts
// the controllers of before, with one more or less, is outlasted: there every two
// majorities share a controller.
func miscounted(sidecar string, controllers []string, councils quorum.Councils) string {
	if len(controllers) > 0 && councils.Bound(controllers) {
		return ""
	}
	return otherwise(sidecar, controllers, councils)
}

// otherwise says that a sidecar counts other controllers than there are.
func otherwise(sidecar string, controllers []string, councils quorum.Councils) string {
	if slices.Equal(slices.Sorted(slices.Values(controllers)), slices.Sorted(slices.Values(councils[0]))) {
		return ""
	}
	return fmt.Sprintf("sidecar %s counts a majority of the controllers [%s], and these are [%s]: name the same in its file, and restart it",
		sidecar, strings.Join(controllers, " "), strings.Join(councils[0], " "))
}

// answer is a judgement on who asks for a lease.
type answer struct {
	refusal protocol.Reason
	detail  string
	epoch   routes.Epoch
}

// judge says by the ledger whether a server may be granted a lease.
//
// The old master of a switchover is granted one until its successor is announced:
// it is demoted by the executor, which reads that back, once its clients were let
// end; a fence before would cut them.
func judge(s ledger.State, cluster string, key topology.Key) answer {
	if s.Generation == 0 {
		return answer{refusal: protocol.NotReady, detail: "the ledger was not read yet"}
	}
	if held, ok := s.Held[cluster]; ok {
		// No answer, as from a controller that cannot be reached: the peers decide.
		return answer{refusal: protocol.NotReady, epoch: held.Epoch,
			detail: "the ledger was restored, and the cluster is not adopted yet"}
	}
	c, known := s.Clusters[cluster]
	srv, member := s.Servers[key]
	switch {
	case !known:
		return answer{refusal: protocol.Unknown, detail: fmt.Sprintf("there is no cluster %q", cluster)}
	case !member || srv.Cluster != cluster:
		return answer{refusal: protocol.Unknown, epoch: c.Epoch, detail: fmt.Sprintf(
			"%s is no server of cluster %s as the ledger knows them: name it as `switchyard topology %s` does", key, cluster, cluster)}
	}
	rec := s.Recoveries[c.Recovery]
	open := c.Recovery != "" && rec.OfMaster()
	switch {
	case srv.Standing == ledger.Quarantined:
		return answer{refusal: protocol.Deposed, epoch: c.Epoch, detail: "the server is quarantined"}
	case open && rec.Winner == key:
		return answer{epoch: c.Epoch}
	case open && rec.Old == key && rec.Kind == ledger.Failover:
		return answer{refusal: protocol.Deposed, epoch: c.Epoch, detail: fmt.Sprintf("recovery %s promotes another server", rec.ID)}
	case c.Master == key:
		return answer{epoch: c.Epoch}
	case srv.Standing == ledger.Deposed, open && rec.Old == key:
		return answer{refusal: protocol.Deposed, epoch: c.Epoch, detail: fmt.Sprintf("%s is the master", c.Master)}
	}
	return answer{refusal: protocol.Standby, epoch: c.Epoch, detail: fmt.Sprintf("%s is the master", c.Master)}
}
