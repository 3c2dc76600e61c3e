package analysis

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"switchyard/controller/topology"
)

// pictures are the newest pictures of a cluster's servers, in order.
type pictures struct {
	topology.Snapshot
	shape shape
	// newest is what the taker's look read, or else the last good picture.
	newest map[topology.Key]*topology.Instance
	keys   []topology.Key
}

func picturesOf(s topology.Snapshot, shape shape) pictures {
	out := pictures{Snapshot: s, shape: shape, newest: map[topology.Key]*topology.Instance{}}
	for _, k := range s.Keys() {
		i := s.Servers[k].Last
		if o, ok := s.Sight(k); ok && o.Instance != nil {
			i = o.Instance
		}
		if i != nil {
			out.newest[k] = i
			out.keys = append(out.keys, k)
		}
	}
	return out
}

// master returns the master's picture; nil where it was never seen.
func (p pictures) master() *topology.Instance { return p.newest[p.Master] }

// replicas are the master's direct replicas, by their newest pictures.
func (p pictures) replicas() []*topology.Instance { return p.replicasOf(p.Master) }

func (p pictures) replicasOf(k topology.Key) []*topology.Instance {
	var out []*topology.Instance
	for _, r := range p.shape.replicas[k] {
		out = append(out, p.newest[r])
	}
	return out
}

// logging are the master's replicas that could be a source themselves.
func (p pictures) logging() []*topology.Instance {
	return slices.DeleteFunc(p.replicas(), func(i *topology.Instance) bool { return !i.LogBin || !i.LogReplicaUpdates })
}

// inOrder are all servers with a picture, in order.
func (p pictures) inOrder() []*topology.Instance {
	out := make([]*topology.Instance, 0, len(p.keys))
	for _, k := range p.keys {
		out = append(out, p.newest[k])
	}
	return out
}

// caution is one row of the table of warnings: what is to be said, of whom, and
// the remedy.
type caution struct {
	code Kind
	look func(pictures) []remark
	// remedy ends each of its sentences.
	remedy string
}

// remark is one thing that a row found.
type remark struct {
	subject  topology.Key
	sentence string
	evidence []string
}

// warn returns the warnings, in the order of the table.
func warn(s topology.Snapshot, shape shape) []Warning {
	p := picturesOf(s, shape)
	var out []Warning
	for _, c := range slices.Concat(masterCautions(), semiSyncCautions(), serverCautions()) {
		for _, r := range c.look(p) {
			out = append(out, Warning{
				Code: c.code, Subject: r.subject, Sentence: r.sentence + ": " + c.remedy, Evidence: r.evidence,
			})
		}
	}
	return out
}

// aboutMaster says one thing of the master where the test holds.
func aboutMaster(test func(pictures) string) func(pictures) []remark {
	return func(p pictures) []remark {
		if p.master() == nil {
			return nil
		}
		if sentence := test(p); sentence != "" {
			return []remark{{subject: p.Master, sentence: sentence}}
		}
		return nil
	}
}

// aboutEach says one thing of each server for which the test says something.
func aboutEach(test func(pictures, *topology.Instance) string) func(pictures) []remark {
	return func(p pictures) []remark {
		var out []remark
		for _, i := range p.inOrder() {
			if sentence := test(p, i); sentence != "" {
				out = append(out, remark{subject: i.Key, sentence: fmt.Sprintf("%s %s", i.Key, sentence)})
			}
		}
		return out
	}
}

// masterCautions are about the master and its replicas as candidates.
func masterCautions() []caution {
	return []caution{
		{UnsupportedTopology, unsupported, "it is watched, and not recovered"},
		{NoWriteableMaster, aboutMaster(func(p pictures) string {
			if !p.master().ReadOnly {
				return ""
			}
			return fmt.Sprintf("the master %s is read-only", p.Master)
		}), "nothing writes until somebody makes it writable, or a switchover moves on"},
		{NoLoggingReplicas, aboutMaster(func(p pictures) string {
			if n := len(p.replicas()); n == 0 || len(p.logging()) > 0 {
				return ""
			}
			return fmt.Sprintf("no replica of %s has both log_bin and log_replica_updates, so none can take over", p.Master)
		}), "enable both on at least one, and restart it"},
		{NoFailoverSupport, noFailoverSupport, "change them to GTID replication (SOURCE_AUTO_POSITION=1, or MASTER_USE_GTID=slave_pos)"},
		{StatementAndMixedLoggingReplicas, formats("STATEMENT", "MIXED"), "set binlog_format=ROW on all"},
		{StatementAndRowLoggingReplicas, formats("STATEMENT", "ROW"), "set binlog_format=ROW on all"},
		{MixedAndRowLoggingReplicas, formats("MIXED", "ROW"), "set binlog_format=ROW on all"},
		{MultipleMajorVersions, aboutMaster(func(p pictures) string {
			by := map[string][]string{}
			for _, i := range p.logging() {
				by[majorVersion(i.Version)] = append(by[majorVersion(i.Version)], i.Key.String())
			}
			if len(by) < 2 {
				return ""
			}
			return fmt.Sprintf("replicas of %s that could take over have different major versions: %s", p.Master, grouped(by))
		}), "an older one can not follow a newer one; finish the upgrade"},
		{DifferentGTIDModes, differentGTIDModes, "set gtid_mode alike on all"},
		{ErrantGTID, aboutEach(errant), "find out who wrote there; rebuild it, or bring the transactions to the master"},
	}
}

func unsupported(p pictures) []remark {
	var out []remark
	if len(p.shape.ring) > 0 {
		out = append(out, remark{subject: p.shape.ring[0], sentence: ringSentence(p.shape.ring)})
	}
	for _, i := range p.inOrder() {
		if len(i.Unsupported) > 0 {
			out = append(out, remark{subject: i.Key, sentence: fmt.Sprintf("%s: %s", i.Key, strings.Join(i.Unsupported, "; "))})
		}
	}
	return out
}

func noFailoverSupport(p pictures) []remark {
	var names []string
	for _, i := range p.replicas() {
		if i.Replication == nil || !i.Replication.UsesGTID || !i.GTIDMode {
			names = append(names, i.Key.String())
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []remark{{subject: p.Master, sentence: fmt.Sprintf(
		"these replicas of %s use no GTIDs, and can neither take over nor follow who does: %s", p.Master, strings.Join(names, ", "))}}
}

// formats warns where replicas that could take over write both formats.
func formats(one, other string) func(pictures) []remark {
	return aboutMaster(func(p pictures) string {
		by := map[string][]string{}
		for _, i := range p.logging() {
			if format := strings.ToUpper(i.BinlogFormat); format == one || format == other {
				by[format] = append(by[format], i.Key.String())
			}
		}
		if len(by) < 2 {
			return ""
		}
		return fmt.Sprintf("replicas of %s that could take over write different formats: %s", p.Master, grouped(by))
	})
}

func differentGTIDModes(p pictures) []remark {
	var out []remark
	for _, i := range p.inOrder() {
		by := map[string][]string{}
		add := func(i *topology.Instance) {
			mode := "off"
			if i.GTIDMode {
				mode = "on"
			}
			by[mode] = append(by[mode], i.Key.String())
		}
		add(i)
		for _, r := range p.replicasOf(i.Key) {
			add(r)
		}
		if len(by) > 1 {
			out = append(out, remark{subject: i.Key, sentence: "gtid_mode differs between a source and its replicas: " + grouped(by)})
		}
	}
	return out
}

// errant names what a replica holds that the master lacks and did not write
// meanwhile. Between two co-masters, what either wrote is on its way.
func errant(p pictures, i *topology.Instance) string {
	m := p.master()
	_, outcast := p.Outcasts[i.Key]
	_, downtimed := p.Downtimed[i.Key]
	if m == nil || i.Key == p.Master || i.Replication == nil || outcast || downtimed || i.Flavor != m.Flavor {
		return ""
	}
	extra := i.Executed.Subtract(m.Executed).WithoutOrigin(m.UUID, m.ServerID)
	if p.shape.roles[p.Master] == coMaster {
		if other := p.newest[p.Servers[p.Master].Source]; other != nil {
			extra = extra.WithoutOrigin(other.UUID, other.ServerID)
		}
	}
	if extra.IsEmpty() {
		return ""
	}
	const limit = 160
	text := extra.String()
	if len(text) > limit {
		text = text[:limit] + "..."
	}
	return "holds transactions that the master lacks: " + text
}

// majorVersion is the part of a version within which replicas may be mixed.
func majorVersion(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// grouped lists names by what they have in common.
func grouped(by map[string][]string) string {
	var out []string
	for _, what := range slices.Sorted(maps.Keys(by)) {
		out = append(out, fmt.Sprintf("%s on %s", what, strings.Join(by[what], ", ")))
	}
	return strings.Join(out, "; ")
}
