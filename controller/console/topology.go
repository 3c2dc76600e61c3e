package console

import (
	"context"
	"fmt"
	"slices"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/analysis"
	"switchyard/controller/observer"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/router/routes"
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
	p := picture{
		state: state, cluster: k, now: c.cfg.Now(), master: master, rules: c.rules(cluster),
		byHand: state.ActiveRules(cluster, c.cfg.Now()), report: c.Report(k),
	}
	out.Paused = pauses(state, cluster)
	shown := map[topology.Key]bool{}
	for _, i := range c.observer.Instances() {
		if i.Cluster != cluster {
			continue
		}
		n := p.node(i)
		n.Sidecar = c.sidecar(i.Key)
		shown[i.Key] = true
		if n.Status != wire.NodeUnreachable && n.Status != wire.NodeUnchecked && !n.ReadOnly {
			out.Writable++
		}
		out.Nodes = append(out.Nodes, n)
	}
	if out.Writable > 1 {
		out.Problems = append(out.Problems, fmt.Sprintf("%d servers are writable: only the master should be", out.Writable))
	}
	if why := c.promise(state, k); why != "" {
		out.Problems = append(out.Problems, why)
	}
	if k.Withdrawn {
		out.Problems = append(out.Problems, "nobody is served: the master is withdrawn until a recovery ends well")
	}
	for _, w := range p.report.Warnings {
		if !shown[w.Subject] {
			out.Warnings = append(out.Warnings, warning(w))
		}
	}
	return out, nil
}

// picture is what the nodes of one cluster are drawn from.
type picture struct {
	state   ledger.State
	cluster ledger.Cluster
	now     time.Time
	// master is the last good picture of the cluster's master; nil for none.
	master *topology.Instance
	rules  policy.Cluster
	byHand map[topology.Key]ledger.PromotionRule
	report analysis.Report
}

// told adds what operators, recoveries and analysis say of a server.
func (p picture) told(n *wire.Node) {
	srv := p.state.Servers[n.Key]
	n.DetachedFrom, n.DetachedReason = srv.DetachedFrom, srv.DetachedReason
	if d, ok := p.state.Downtimes[n.Key]; ok && d.Active(p.now) {
		n.Downtime = &wire.Downtime{Owner: d.Owner, Reason: d.Reason, Begun: d.Begun, Until: d.Until}
		n.Lost = d.Reason == ledger.LostInRecovery
	}
	if rule := p.rules.Rule(n.Key); rule != policy.Neutral {
		n.Rule = string(rule)
	}
	if r, ok := p.byHand[n.Key]; ok {
		n.Rule, n.RuleBy, n.RuleUntil = r.Rule, r.By, r.Until
	}
	for _, f := range append([]analysis.Finding{p.report.Master}, p.report.Others...) {
		if f.Subject == n.Key && f.Kind != analysis.NoProblem && n.Finding == "" {
			n.Finding = string(f.Kind)
		}
	}
	for _, w := range p.report.Warnings {
		if w.Subject == n.Key {
			n.Warnings = append(n.Warnings, warning(w))
		}
	}
}

func (p picture) node(i observer.InstancePicture) wire.Node {
	k, master := p.cluster, p.master
	n := wire.Node{Key: i.Key, Parent: i.Source, Role: role(p.state, k, i.Key)}
	n.Reader = slices.ContainsFunc(k.Readers, func(r routes.Reader) bool { return r.Host == i.Key.Host && r.Port == i.Key.Port })
	p.told(&n)
	if i.Key == k.Master {
		n.Trouble = p.report.Master.Trouble()
	}
	if w := i.Seen.Write; w != nil && n.Trouble == "" {
		n.Trouble = w.Trouble
	}
	n.Status, n.Reason = status(i, i.Key == k.Master)
	if extra := p.state.Servers[i.Key].Extra; extra != "" {
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
