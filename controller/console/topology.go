package console

import (
	"context"
	"fmt"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/observer"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// lagShown is the least lag that makes a replica's status "lag".
const lagShown = 10 * time.Second

// Topology implements adminapi.Pictures.
func (c *Console) Topology(_ context.Context, cluster string) (wire.Topology, error) {
	state := c.ledger.State()
	k, ok := state.Clusters[cluster]
	if !ok {
		return wire.Topology{}, c.noCluster(cluster)
	}
	out := wire.Topology{
		Cluster: cluster, Master: k.Master, Epoch: k.Epoch, Revision: k.Revision, Withdrawn: k.Withdrawn,
	}
	snapshot := c.observer.Snapshot(cluster, k.Master)
	var master *topology.Instance
	if s, ok := snapshot.Servers[k.Master]; ok {
		master = s.Last
	}
	rules := c.cfg.Policy(cluster)
	for _, i := range c.observer.Instances() {
		if i.Cluster != cluster {
			continue
		}
		n := c.node(state, k, i, master, rules)
		if n.Status != wire.NodeUnreachable && n.Status != wire.NodeUnchecked && !n.ReadOnly {
			out.Writable++
		}
		out.Nodes = append(out.Nodes, n)
	}
	if out.Writable > 1 {
		out.Problems = append(out.Problems, fmt.Sprintf("%d servers are writable: only the master should be", out.Writable))
	}
	if k.Withdrawn {
		out.Problems = append(out.Problems, "nobody is served: the master is withdrawn until a recovery ends well")
	}
	return out, nil
}

func (c *Console) node(
	state ledger.State, k ledger.Cluster, i observer.InstancePicture, master *topology.Instance, rules policy.Cluster,
) wire.Node {
	n := wire.Node{Key: i.Key, Parent: i.Source, Role: role(state, k, i.Key)}
	if rule := rules.Rule(i.Key); rule != policy.Neutral {
		n.Rule = string(rule)
	}
	n.Status, n.Reason = status(i, i.Key == k.Master)
	if extra := state.Servers[i.Key].Extra; extra != "" {
		n.Errant = extra
	}
	last := i.Last
	if last == nil {
		return n
	}
	age := i.Age.Milliseconds()
	n.LastSeenMS = &age
	n.DataCenter, n.Region, n.Version = last.DataCenter, last.Region, last.Version
	n.ReadOnly, n.SuperReadOnly = last.ReadOnly, last.SuperReadOnly
	n.LogBin, n.BinlogFormat, n.GTID = last.LogBin, last.BinlogFormat, last.GTIDMode
	n.Problems = last.Problems
	switch {
	case i.Key == k.Master && last.SemiSync.SourceOn:
		n.SemiSync = wire.SemiSyncSource
	case last.Replication != nil && last.SemiSync.ReplicaOn:
		n.SemiSync = wire.SemiSyncReplica
	}
	if r := last.Replication; r != nil && r.Lag != nil {
		lag := r.Lag.Milliseconds()
		n.LagMS = &lag
	}
	if master != nil && i.Key != k.Master && n.Errant == "" {
		// Pictures are of different moments: what the master itself wrote is
		// merely newer, whatever else the replica has alone is errant.
		n.Errant = last.Executed.Subtract(master.Executed).WithoutOrigin(master.UUID, master.ServerID).String()
	}
	return n
}

func role(state ledger.State, k ledger.Cluster, key topology.Key) wire.Role {
	switch {
	case key == k.Master:
		return wire.RoleMaster
	case state.Servers[key].Standing == ledger.Deposed:
		return wire.RoleDeposed
	case state.Servers[key].Standing == ledger.Quarantined:
		return wire.RoleQuarantined
	default:
		return wire.RoleReplica
	}
}

func status(i observer.InstancePicture, isMaster bool) (wire.NodeStatus, string) {
	switch {
	case i.Seen.Begun.IsZero():
		return wire.NodeUnchecked, ""
	case i.Seen.Reach != topology.ReachOK || i.Last == nil:
		return wire.NodeUnreachable, fmt.Sprintf("%s: %s", i.Seen.Reach, i.Seen.Error)
	case isMaster:
		return wire.NodeOK, ""
	}
	r := i.Last.Replication
	switch {
	case r == nil:
		return wire.NodeNonReplicating, "it replicates from nobody"
	case r.IO != topology.ThreadRunning:
		return wire.NodeNonReplicating, thread("receiver", r.IO, r.IOError)
	case r.SQL != topology.ThreadRunning:
		return wire.NodeNonReplicating, thread("applier", r.SQL, r.SQLError)
	case r.Lag != nil && *r.Lag > lagShown:
		return wire.NodeLag, ""
	}
	return wire.NodeOK, ""
}

// thread says how a replication thread does that does not run.
func thread(name string, state topology.ThreadState, problem string) string {
	text := name + " " + string(state)
	if state == topology.ThreadStopped {
		text = name + " stopped"
	}
	if problem != "" {
		text += ": " + problem
	}
	return text
}
