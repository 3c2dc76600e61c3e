package candidate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"switchyard/controller/gtid"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// field is who runs for the mastership, and what each is measured by.
type field struct {
	policy policy.Cluster
	// old is the last picture of the old master; nil if there is none.
	old *topology.Instance
	// pool answered the taker; silent did not, and stand as they were last seen.
	pool, silent []*topology.Instance
	downtimed    map[topology.Key]string
	// former were found fit before, by an unfinished recovery.
	former []topology.Key
	// partner is the other one of two co-masters; zero where there is none.
	// insists says why it and nobody else may take over, if so.
	partner topology.Key
	insists string
	// version and format are the most common ones among the replicas.
	version version
	format  int
}

// survey gathers the field; who is an outcast or does not answer is excluded.
func survey(s topology.Snapshot, old topology.Key, former []topology.Key, p policy.Cluster, out *Ranking) field {
	f := field{policy: p, old: s.Servers[old].Last, downtimed: s.Downtimed, former: former}
	for _, k := range contenders(s, old, former) {
		if why, outcast := s.Outcasts[k]; outcast && !slices.Contains(former, k) {
			out.exclude(k, "%s", why)
			continue
		}
		o, ok := s.Sight(k)
		switch {
		case ok && o.Instance != nil:
			f.pool = append(f.pool, o.Instance)
			continue
		case ok:
			out.exclude(k, "it does not answer: %s", o.Reach)
		default:
			out.exclude(k, "it was not looked at")
		}
		if last := s.Servers[k].Last; last != nil {
			f.silent = append(f.silent, last)
		}
	}
	f.version = commonest(f.all(), func(i *topology.Instance) version { return versionOf(i) }, version.compare)
	f.format = commonest(f.all(), formatOf, cmp.Compare[int])
	f.ring(s, old)
	return f
}

func (f field) all() []*topology.Instance { return slices.Concat(f.pool, f.silent) }

// complete are those of the pool that hold all that anybody received.
func (f field) complete() []*topology.Instance {
	var out []*topology.Instance
	for _, i := range f.pool {
		if aheadOf(i, f.all()) == nil {
			out = append(out, i)
		}
	}
	return out
}

// ring finds the other co-master. Where it accepts writes, nobody else can be
// made the master without two of them.
func (f *field) ring(s topology.Snapshot, old topology.Key) {
	partner := s.Servers[old].Source
	if partner.IsZero() || s.Servers[partner].Source != old {
		return
	}
	f.partner = partner
	for _, i := range f.all() {
		if i.Key == partner && !i.ReadOnly {
			f.insists = fmt.Sprintf("the other co-master %s accepts writes, so nobody else may take over", partner)
		}
	}
	if f.insists == "" && f.policy.CoMasterOnly {
		f.insists = fmt.Sprintf("only the other co-master %s may take over (co_master_only)", partner)
	}
}

// unfit names what makes a server unable, or not allowed, to be the master, or "".
func (f field) unfit(i *topology.Instance) string {
	return cmp.Or(f.unable(i), f.refused(i), f.elsewhere(i), f.late(i))
}

// unable names what keeps a server from being anybody's master, or "".
func (f field) unable(i *topology.Instance) string {
	r := i.Replication
	switch {
	case f.policy.Rule(i.Key) == policy.MustNot:
		return "its promotion rule is must_not"
	case len(i.Unsupported) > 0:
		return "Switchyard does not recover such a server: " + strings.Join(i.Unsupported, "; ")
	case !i.LogBin:
		return "it has no binary log"
	case !i.LogReplicaUpdates:
		return "it does not log what it applies (log_replica_updates is off)"
	case !i.GTIDMode:
		return "it does not use GTIDs"
	// One from which a recovery took its delay replicates by position since then.
	case r != nil && !r.UsesGTID && !slices.Contains(f.former, i.Key):
		return "it replicates by file and position, not by GTID"
	case r != nil && r.SQLErrno != 0:
		return fmt.Sprintf("its applier stopped with error %d: %s", r.SQLErrno, r.SQLError)
	case i.Filters != f.filters():
		return fmt.Sprintf("its replication filters (%s) are not those of the old master (%s), so it does not hold the same data",
			cmp.Or(i.Filters, "none"), cmp.Or(f.filters(), "none"))
	case f.writablePartner() && i.Key != f.partner:
		return f.insists
	}
	return ""
}

func (f field) filters() string {
	if f.old == nil {
		return ""
	}
	return f.old.Filters
}

func (f field) writablePartner() bool {
	return slices.ContainsFunc(f.all(), func(i *topology.Instance) bool { return i.Key == f.partner && !i.ReadOnly })
}

// refused names what the operator's rules have against a server, or "".
func (f field) refused(i *topology.Instance) string {
	why, downtimed := f.downtimed[i.Key]
	down, isDown := f.policy.DownDataCenters[i.DataCenter]
	switch {
	case downtimed:
		return "it is in downtime: " + why
	case isDown:
		return fmt.Sprintf("its data center %q is marked down: %s", i.DataCenter, down)
	case f.policy.SemiSync == policy.SemiSyncOn && !i.SemiSync.Available:
		return "it has no semi-sync plugins, and semi_sync is on"
	case f.insists != "" && i.Key != f.partner:
		return f.insists
	}
	return ""
}

// elsewhere names a place that the mastership may not go to, or "".
func (f field) elsewhere(i *topology.Instance) string {
	dc, region := f.policy.PreventCrossDataCenter, f.policy.PreventCrossRegion
	switch {
	case (dc || region) && f.old == nil:
		return "it is not known where the old master was, and the mastership may not leave its place " +
			"(prevent_cross_datacenter, prevent_cross_region)"
	case dc && i.DataCenter != f.old.DataCenter:
		return fmt.Sprintf("it is in data center %q, the old master in %q (prevent_cross_datacenter)",
			i.DataCenter, f.old.DataCenter)
	case region && i.Region != f.old.Region:
		return fmt.Sprintf("it is in region %q, the old master in %q (prevent_cross_region)", i.Region, f.old.Region)
	}
	return ""
}

// late names how far behind a server is, if that is too far, or "".
func (f field) late(i *topology.Instance) string {
	r := i.Replication
	if f.policy.MaxLag > 0 && r != nil && r.Lag != nil && *r.Lag > f.policy.MaxLag {
		return fmt.Sprintf("it lags %s, more than max_lag %s", *r.Lag, f.policy.MaxLag)
	}
	if backlog := i.Received().Subtract(i.Executed); f.policy.Backlog == policy.BacklogFail && !backlog.IsEmpty() {
		return fmt.Sprintf("it has not applied all that it received (backlog is fail): %s", excerpt(backlog))
	}
	return ""
}

// holds is all that a choice will hold once it has applied everything, with
// what it takes from its source.
func (f field) holds(c Choice) gtid.Set {
	var out gtid.Set
	for _, i := range f.pool {
		if i.Key == c.Key {
			out = i.Received().Union(out)
		} else if i.Key == c.Via {
			out = out.Union(i.Received())
		}
	}
	return out
}
