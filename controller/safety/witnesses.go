package safety

import (
	"slices"
	"strings"

	"switchyard/controller/analysis"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// byWitnesses holds unless a majority of the controllers sees what was found,
// and none sees the contrary.
func byWitnesses(in Input) (Verdict, bool) {
	if t := in.Finding.Trouble(); t != "" {
		return bySight(in, t)
	}
	dead, alive := analysis.Witnesses(in.Snapshot)
	cutOff := in.Policy.Partition != policy.PartitionFailover
	switch {
	case len(alive) > 0:
		return hold(ObserversDisagree, "%s answers %s, and not %s",
			in.Snapshot.Master, strings.Join(alive, ", "), strings.Join(dead, ", "))
	case !in.Policy.Agreed(dead):
		return hold(NoWitnessMajority, "only %d of %d controllers see it dead (%s); %d must",
			len(dead), in.Policy.Controllers, strings.Join(dead, ", "), in.Policy.Majority())
	case cutOff && !hostAnswers(in.Snapshot):
		return hold(MasterCutOff, "not even the host of %s answers: it may live, cut off, and serve who is cut off with it "+
			"(recovery.partition is hold)", in.Snapshot.Master)
	case !cutOff && !hostAnswers(in.Snapshot) && in.Lease != nil && in.Lease.Missing != "":
		return hold(NoLease, "not even the host of %s answers: it may live, cut off, and nothing promises that it was stopped: %s",
			in.Snapshot.Master, in.Lease.Missing)
	case cutOff && in.Policy.Proxies == 0 && !analysis.ProvenDead(in.Snapshot):
		return hold(NoProxies, "%s is not proven dead, and no managed proxy leads to it that could be withdrawn: "+
			"its clients would go on there if it came back (recovery.partition is hold)", in.Snapshot.Master)
	}
	return byProxies(in)
}

// byProxies holds where the policy is to wait for proxies that do not answer, and
// no lease ends instead.
func byProxies(in Input) (Verdict, bool) {
	if in.Policy.UnreachableProxies != policy.ProxiesStrict || len(in.Unknown) == 0 || in.Lease != nil && in.Lease.Missing == "" {
		return Verdict{}, false
	}
	why := "no database sidecar stops it instead"
	if in.Lease != nil {
		why = in.Lease.Missing
	}
	return hold(ProxiesUnreachable, "%s may lead to %s and cannot be withdrawn now (recovery.unreachable_proxies is strict), and %s",
		strings.Join(in.Unknown, ", "), in.Snapshot.Master, why)
}

// bySight judges a master that answers and takes no writes.
func bySight(in Input, t topology.Trouble) (Verdict, bool) {
	s := sightsOf(in.Snapshot, t)
	switch {
	case len(s.writes) > 0:
		return hold(ObserversDisagree, "%s sees writes to %s succeed, and %s does not (%s)",
			strings.Join(s.writes, ", "), in.Snapshot.Master, strings.Join(s.see, ", "), t)
	case !in.Policy.Agreed(s.see):
		return hold(NoWitnessMajority, "only %d of %d controllers see %s (%s); %d must",
			len(s.see), in.Policy.Controllers, t, strings.Join(s.see, ", "), in.Policy.Majority())
	case in.Policy.Proxies == 0:
		return hold(NoProxies, "%s lives, and no managed proxy leads to it that could be withdrawn: its clients would go on there",
			in.Snapshot.Master)
	}
	return Verdict{}, false
}

// sights are who sees a trouble, and who sees writes succeed. A session that is
// held open writes on while a server takes no more connections, so there it is
// no witness to the contrary.
type sights struct{ see, writes []string }

func sightsOf(s topology.Snapshot, t topology.Trouble) sights {
	var out sights
	for _, v := range s.Views {
		switch o := v.Observations[s.Master]; {
		case o.Write == nil || o.Reach.Dead():
		case o.Write.Trouble == t:
			out.see = append(out.see, v.Observer)
		case o.Write.Trouble == "" && t != topology.TroubleConnections:
			out.writes = append(out.writes, v.Observer)
		}
	}
	slices.Sort(out.see)
	slices.Sort(out.writes)
	return out
}

// hostAnswers reports whether anybody saw that the master's host itself lives.
func hostAnswers(s topology.Snapshot) bool {
	return slices.ContainsFunc(s.Views, func(v topology.View) bool {
		return v.Observations[s.Master].Reach.HostAnswered()
	})
}

// deadOf are the observers that see a server dead.
func deadOf(s topology.Snapshot, k topology.Key) []string {
	var out []string
	for _, v := range s.Views {
		if o, ok := v.Observations[k]; ok && o.Reach.Dead() {
			out = append(out, v.Observer)
		}
	}
	slices.Sort(out)
	return out
}
