package readers

import (
	"fmt"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// fitness is whether a server may serve readers, by one picture.
type fitness struct {
	// out is why it may not, whatever it looks like, or "gone" from one look on; it
	// leaves at once.
	out string
	// unfit is why it is not fit now.
	unfit string
	// unknown is true where nothing can be said: what it was before goes on.
	unknown bool
	// fresh is true where it is near enough to its master to join.
	fresh bool
}

// judge says how fit a server is that is not the master.
func judge(k topology.Key, snap topology.Snapshot, state ledger.State, p policy.Readers) fitness {
	if out := barred(k, snap, state, p); out != "" {
		return fitness{out: out}
	}
	// A controller that sees nobody is cut off itself.
	if !seesAnybody(snap) {
		return fitness{unknown: true}
	}
	o, looked := snap.Sight(k)
	switch {
	case !looked:
		return fitness{unknown: true}
	case o.Reach == topology.ReachRefused:
		return fitness{out: "nothing listens there any more"}
	case o.Instance == nil:
		return fitness{unfit: fmt.Sprintf("it does not answer: %s", o.Reach)}
	}
	return follows(k, snap, p)
}

// barred says why a server is none of those that may serve readers.
func barred(k topology.Key, snap topology.Snapshot, state ledger.State, p policy.Readers) string {
	server, known := state.Servers[k]
	for _, excluded := range p.Exclude {
		if excluded == k {
			return "the configuration excludes it"
		}
	}
	switch down, ok := state.Downtimes[k]; {
	case !known || server.Cluster != snap.Cluster:
		return "it is no server of the cluster"
	case server.Standing != ledger.Member:
		return "it is " + string(server.Standing)
	case !server.DetachedFrom.IsZero():
		return "it is detached"
	case ok && down.Active(snap.At):
		return "it is in downtime: " + down.Reason
	}
	return ""
}

func seesAnybody(snap topology.Snapshot) bool {
	for k := range snap.Servers {
		if o, _ := snap.Sight(k); o.Instance != nil {
			return true
		}
	}
	return false
}

// follows judges a server's replication, and that of those between it and the
// master: what stops or lags there is old here, too, whatever the server says.
func follows(k topology.Key, snap topology.Snapshot, p policy.Readers) fitness {
	master, _ := snap.Sight(snap.Master)
	fit := fitness{fresh: true}
	for range len(snap.Servers) {
		o, _ := snap.Sight(k)
		if o.Instance == nil {
			return fitness{unfit: fmt.Sprintf("%s, above it, does not answer", k)}
		}
		r := o.Instance.Replication
		switch {
		case r == nil:
			return fitness{unfit: fmt.Sprintf("%s replicates from nobody", k)}
		case r.SQL != topology.ThreadRunning:
			return fitness{unfit: fmt.Sprintf("the applier of %s does not run", k)}
		case master.Instance == nil:
			// Nobody can follow a master that does not answer: its replicas serve what
			// they have, until there is another one.
			return fitness{unknown: true}
		case r.IO != topology.ThreadRunning:
			return fitness{unfit: fmt.Sprintf("the receiver of %s does not run", k)}
		case r.Lag == nil:
			return fitness{unfit: fmt.Sprintf("%s does not know how far behind it is", k)}
		case *r.Lag > p.MaxLag:
			return fitness{unfit: fmt.Sprintf("%s is %s behind", k, r.Lag.Round(time.Second))}
		}
		fit.fresh = fit.fresh && *r.Lag <= p.MaxLag/2
		source := snap.Servers[k].Source
		if source == snap.Master {
			return fit
		}
		if k = source; k.IsZero() {
			break
		}
	}
	return fitness{unfit: "it does not lead to the master"}
}
