package readers

import (
	"fmt"
	"slices"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// pool remembers since when the servers of one cluster have been as they are, so
// that a lag that comes and goes does not move readers to and fro.
type pool struct {
	epoch   routes.Epoch
	servers map[topology.Key]*since
}

// since is zero where the server is not so.
type since struct {
	unfit, fresh time.Time
	// left is true once it was seen to be unfit: it has to earn its way back.
	left bool
}

// next says who serves readers from now on, and why that differs from before.
func (p *pool) next(c ledger.Cluster, state ledger.State, snap topology.Snapshot, rules policy.Readers) ([]routes.Reader, []string) {
	if p.epoch != c.Epoch {
		// Whatever a change of the master did to its replicas is not held against them.
		p.epoch = c.Epoch
		for _, s := range p.servers {
			s.unfit = time.Time{}
		}
	}
	var readers []routes.Reader
	var reasons []string
	// The writer does not come while somebody else may be fit.
	come := rules.Writer && !c.Withdrawn
	for _, k := range servers(c, snap) {
		reading := slices.ContainsFunc(c.Readers, func(r routes.Reader) bool { return keyOf(r) == k })
		f := judge(k, snap, state, rules)
		come = come && !f.unknown
		stays, why := p.serves(k, reading, f, snap.At, rules)
		if stays {
			readers = append(readers, readerOf(k, c, snap, rules))
		}
		switch {
		case stays && !reading:
			reasons = append(reasons, k.String()+" came")
		case !stays && reading:
			reasons = append(reasons, fmt.Sprintf("%s left: %s", k, why))
		}
	}
	if len(readers) > routes.MaxReaders {
		readers = readers[:routes.MaxReaders]
	}
	writer := slices.ContainsFunc(c.Readers, func(r routes.Reader) bool { return keyOf(r) == c.Master })
	falls := len(readers) == 0 && rules.Writer && !c.Withdrawn && (writer || come)
	switch {
	case falls && !writer:
		reasons = append(reasons, fmt.Sprintf("%s came: it is the writer, and no replica is fit", c.Master))
	case !falls && writer:
		reasons = append(reasons, fmt.Sprintf("%s left: it is the writer", c.Master))
	}
	if falls {
		readers = []routes.Reader{readerOf(c.Master, c, snap, rules)}
	}
	return readers, reasons
}

// servers are all that are, or may become, readers; the master is none of them.
func servers(c ledger.Cluster, snap topology.Snapshot) []topology.Key {
	keys := snap.Keys()
	for _, r := range c.Readers {
		keys = append(keys, keyOf(r))
	}
	slices.SortFunc(keys, topology.Key.Compare)
	return slices.DeleteFunc(slices.Compact(keys), func(k topology.Key) bool { return k == c.Master })
}

// serves applies the time that a server must have been fit, or not.
func (p *pool) serves(k topology.Key, reading bool, f fitness, now time.Time, rules policy.Readers) (bool, string) {
	s := p.servers[k]
	if s == nil {
		s = &since{}
		p.servers[k] = s
	}
	switch {
	case f.out != "":
		*s = since{unfit: now, left: true}
		return false, f.out
	case f.unknown:
		s.unfit, s.fresh = time.Time{}, time.Time{}
		return reading, ""
	case f.unfit != "":
		s.fresh = time.Time{}
		if s.unfit.IsZero() {
			s.unfit = now
		}
		if reading && now.Sub(s.unfit) < rules.LeaveAfter {
			return true, ""
		}
		s.left = true
		return false, f.unfit
	}
	s.unfit = time.Time{}
	if reading {
		s.left = false
		return true, ""
	}
	if !f.fresh {
		s.fresh = time.Time{}
		return false, ""
	}
	if s.fresh.IsZero() {
		s.fresh = now
	}
	// One that was never seen otherwise need not be waited for.
	return !s.left || now.Sub(s.fresh) >= rules.JoinAfter, ""
}

// readerOf describes a reader; what is not known of it now stays as it was.
func readerOf(k topology.Key, c ledger.Cluster, snap topology.Snapshot, rules policy.Readers) routes.Reader {
	r := routes.Reader{Server: routes.Server{Host: k.Host, Port: k.Port}, Weight: rules.Weight(k)}
	if last := snap.Servers[k].Last; last != nil {
		r.Datacenter = last.DataCenter
		return r
	}
	for _, was := range c.Readers {
		if keyOf(was) == k {
			r.Datacenter = was.Datacenter
		}
	}
	return r
}

func keyOf(r routes.Reader) topology.Key { return topology.Key{Host: r.Host, Port: r.Port} }
