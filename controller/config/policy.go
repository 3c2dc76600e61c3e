package config

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/router/proxysql"
	"switchyard/router/routes"
)

// Policy returns the operator's rules for a cluster; one that the file does
// not name has those of recovery.
func (f *File) Policy(cluster string) policy.Cluster {
	var c Cluster
	preset(reflect.ValueOf(&c).Elem())
	inherit(reflect.ValueOf(&c).Elem(), reflect.ValueOf(f.Recovery), func(string) bool { return false }, "")
	for _, named := range f.Clusters {
		if named.Name == cluster {
			c = named
		}
	}
	p := policy.Cluster{
		Controllers: len(f.Controllers), Rules: maps.Clone(c.PromotionRules), SemiSync: c.SemiSync,
		AntiFlap: c.AntiFlap, RestartGrace: c.RestartGrace, MinStall: c.MinStall, Partition: c.Partition,
		UnreachableProxies:     c.UnreachableProxies,
		PreventCrossDataCenter: c.PreventCrossDataCenter, PreventCrossRegion: c.PreventCrossRegion,
		Backlog: c.Backlog, CoMasterOnly: c.CoMasterOnly, MaxLag: c.MaxLag, ReasonableLag: c.ReasonableLag,
		FailoverAfter: maps.Clone(c.FailoverAfter), LockedAfter: c.LockedAfter, SemiSyncRepair: c.SemiSyncRepair,
		Readers:      f.readers(cluster, c.Readers),
		CascadeLimit: c.Cascade.Limit, CascadeWindow: c.Cascade.Window, LostDowntime: c.LostDowntime,
		SalvageTimeout: c.SalvageTimeout,
	}
	for _, h := range f.HAProxy {
		if h.Cluster == cluster {
			p.Proxies++
		}
	}
	for _, q := range f.ProxySQL {
		if q.Cluster == cluster {
			p.Proxies++
		}
	}
	for _, filter := range f.Recovery.Clusters {
		p.Recover = p.Recover || filter.Match(cluster)
	}
	for _, filter := range f.Recovery.IntermediateClusters {
		p.RecoverIntermediate = p.RecoverIntermediate || filter.Match(cluster)
	}
	return p
}

// readers are tended where a proxy of the cluster has an entrance for them, or may
// have: the file of the sidecar beside it says so, and not this one.
func (f *File) readers(cluster string, r Readers) policy.Readers {
	p := policy.Readers{MaxLag: r.MaxLag, LeaveAfter: r.LeaveAfter, JoinAfter: r.JoinAfter, Weights: maps.Clone(r.Weights),
		Exclude: slices.Clone(r.Exclude), Writer: r.Writer}
	for _, h := range f.HAProxy {
		p.Tended = p.Tended || h.Cluster == cluster && (h.Readers.Backend != "" || h.Sidecar != "")
	}
	for _, q := range f.ProxySQL {
		p.Tended = p.Tended || q.Cluster == cluster && (q.ReaderHostgroup != proxysql.NoReader || q.Sidecar != "")
	}
	return p
}

// inherit gives the fields of to the values that from has under the same key,
// except where that key, under parent, was given.
func inherit(to, from reflect.Value, given func(key string) bool, parent string) {
	for n, key := range keysOf(from.Type()) {
		for m, own := range keysOf(to.Type()) {
			at := join(parent, key)
			switch {
			case own != key || to.Type().Field(m).Type != from.Type().Field(n).Type:
			case to.Field(m).Kind() == reflect.Struct:
				inherit(to.Field(m), from.Field(n), given, at)
			case !given(at):
				to.Field(m).Set(from.Field(n))
			}
		}
	}
}

func (d *Document) checkRecovery(f *File) error {
	if err := d.Positive("recovery.audit_retention", f.Recovery.AuditRetention); err != nil {
		return err
	}
	var all Cluster
	inherit(reflect.ValueOf(&all).Elem(), reflect.ValueOf(f.Recovery), func(string) bool { return false }, "")
	if err := d.checkRules("recovery", all, f.MySQL.WriteProbe); err != nil {
		return err
	}
	for i := range f.Clusters {
		at := fmt.Sprintf("clusters[%d]", i)
		inherit(reflect.ValueOf(&f.Clusters[i]).Elem(), reflect.ValueOf(f.Recovery), d.Has, at)
		if err := d.checkRules(at, f.Clusters[i], f.MySQL.WriteProbe); err != nil {
			return err
		}
		if err := d.checkReaderRules(at+".readers", f.Clusters[i].Readers); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) checkReaderRules(at string, r Readers) error {
	for k, weight := range r.Weights {
		if weight < 1 || weight > routes.MaxWeight {
			return d.Errorf(fmt.Sprintf("%s.weights[%q]", at, k), "is %d; want a number from 1 to %d, or name the server in exclude",
				weight, routes.MaxWeight)
		}
	}
	return d.Positive(at+".max_lag", r.MaxLag)
}

// checkRules checks the keys that recovery and a cluster have in common.
func (d *Document) checkRules(at string, c Cluster, w WriteProbe) error {
	return firstOf(
		func() error { return d.Positive(at+".reasonable_lag", c.ReasonableLag) },
		func() error { return d.Positive(at+".locked_after", c.LockedAfter) },
		func() error { return d.Positive(at+".lost_downtime", c.LostDowntime) },
		func() error {
			if c.SalvageTimeout > time.Hour {
				return d.Errorf(at+".salvage_timeout", "is %s; want 0s, which is not at all, to 1h", c.SalvageTimeout)
			}
			return nil
		},
		func() error {
			if c.Cascade.Limit < 0 {
				return d.Errorf(at+".cascade.limit", "is %d; want a number from 0, which is no limit", c.Cascade.Limit)
			}
			if c.Cascade.Limit > 0 {
				return d.Positive(at+".cascade.window", c.Cascade.Window)
			}
			return nil
		},
		func() error {
			for _, t := range []topology.Trouble{topology.TroubleStalled, topology.TroubleDiskFull, topology.TroubleReadOnlyDisk} {
				if key := fmt.Sprintf("%s.failover_after[%q]", at, t); c.FailoverAfter[t] > 0 && d.Has(key) && !w.Enabled {
					return d.Errorf(key, "would never be seen; enable mysql.write_probe, or remove it")
				}
			}
			return nil
		},
	)
}

func (d *Document) checkWriteProbe(w WriteProbe) error {
	const parent = "mysql.write_probe"
	return firstOf(
		func() error { return d.Require(parent+".schema", w.Schema, "name a schema of Switchyard's own") },
		func() error {
			if len(w.Schema) > 64 || !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(w.Schema) {
				return d.Errorf(parent+".schema", "is %q; want 1 to 64 of A-Z a-z 0-9 _ that do not begin with a digit",
					clip(w.Schema))
			}
			return nil
		},
		func() error { return d.Positive(parent+".interval", w.Interval) },
		func() error {
			if w.Timeout < 10*time.Millisecond {
				return d.Errorf(parent+".timeout", "is %s; want at least 10ms, or every write would count as stalled", w.Timeout)
			}
			return nil
		},
	)
}
