package ctl

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
)

// Tree draws a cluster with one line for each server, replicas under whom they
// replicate from. A server that does as it should has a plus sign.
func Tree(t wire.Topology) string {
	d := &drawing{topology: t, children: map[topology.Key][]wire.Node{}}
	d.sort()
	d.walk()

	var out strings.Builder
	fmt.Fprintf(&out, "%s  epoch %s  master %s  writable %d%s%s\n", clean(t.Cluster), t.Epoch, keyText(t.Master), t.Writable,
		withdrawn(t.Withdrawn), pausedMark(t.Paused))
	width := 0
	for _, line := range d.lines {
		width = max(width, utf8.RuneCountInString(line.label))
	}
	for _, line := range d.lines {
		out.WriteString(line.label + strings.Repeat(" ", width-utf8.RuneCountInString(line.label)+1))
		out.WriteString("[" + strings.Join(line.facts, ",") + "]\n")
	}
	out.WriteString(section("automatic recoveries are paused:", pauseLines(t.Paused)))
	out.WriteString(section("problems:", d.problems()))
	out.WriteString(section("said by operators:", d.said()))
	out.WriteString(section("warnings:", d.warnings()))
	return out.String()
}

func pausedMark(pauses []wire.Pause) string {
	if len(pauses) == 0 {
		return ""
	}
	return "  PAUSED"
}

func withdrawn(yes bool) string {
	if yes {
		return "  WITHDRAWN: nobody is served"
	}
	return ""
}

// drawing is a tree in the making.
type drawing struct {
	topology wire.Topology
	roots    []wire.Node
	children map[topology.Key][]wire.Node
	drawn    map[topology.Key]bool
	lines    []treeLine
}

type treeLine struct {
	label string
	facts []string
}

func byKey(a, b wire.Node) int { return a.Key.Compare(b.Key) }

// sort tells roots from replicas. The master comes first, also where it
// replicates from a co-master.
func (d *drawing) sort() {
	known := map[topology.Key]bool{}
	for _, n := range d.topology.Nodes {
		known[n.Key] = true
	}
	for _, n := range d.topology.Nodes {
		if n.Parent.IsZero() || !known[n.Parent] || n.Key == d.topology.Master {
			d.roots = append(d.roots, n)
			continue
		}
		d.children[n.Parent] = append(d.children[n.Parent], n)
	}
	slices.SortFunc(d.roots, func(a, b wire.Node) int {
		if first := d.topology.Master; (a.Key == first) != (b.Key == first) {
			if a.Key == first {
				return -1
			}
			return 1
		}
		return byKey(a, b)
	})
	for _, list := range d.children {
		slices.SortFunc(list, byKey)
	}
}

// walk draws every server once. What hangs in a ring has no root; its first
// server stands in for one.
func (d *drawing) walk() {
	d.drawn = map[topology.Key]bool{}
	for _, n := range d.roots {
		d.draw(n, 0)
	}
	rest := slices.Clone(d.topology.Nodes)
	slices.SortFunc(rest, byKey)
	for _, n := range rest {
		d.draw(n, 0)
	}
}

func (d *drawing) draw(n wire.Node, depth int) {
	if d.drawn[n.Key] {
		return
	}
	d.drawn[n.Key] = true
	facts := nodeFacts(n)
	if depth == 0 && !n.Parent.IsZero() {
		facts = append(facts, "from:"+keyText(n.Parent))
	}
	d.lines = append(d.lines, treeLine{label: prefix(n, depth) + keyText(n.Key), facts: facts})
	for _, child := range d.children[n.Key] {
		d.draw(child, depth+1)
	}
}

func prefix(n wire.Node, depth int) string {
	if depth == 0 {
		return ""
	}
	sign := "+ "
	if n.Status != wire.NodeOK && n.Status != wire.NodeLag {
		sign = "- "
	}
	return strings.Repeat("  ", depth-1) + sign
}

// nodeFacts are what stands between the brackets, in an order that people who
// read many of these know: lag, status, version, rw or ro, format, then what
// is true of some servers only.
func nodeFacts(n wire.Node) []string {
	facts := []string{lagText(n), dash(string(n.Status)), dash(n.Version), readOnlyText(n), formatText(n)}
	if n.Version == "" && n.LastSeenMS == nil {
		facts = facts[:2]
	}
	if n.GTID && n.Errant == "" {
		facts = append(facts, "GTID")
	}
	if n.Errant != "" {
		facts = append(facts, "GTID:errant")
	}
	if n.SemiSync != wire.SemiSyncNone {
		facts = append(facts, "semi:"+clean(string(n.SemiSync)))
	}
	if n.Role == wire.RoleDeposed || n.Role == wire.RoleQuarantined {
		facts = append(facts, string(n.Role))
	}
	if n.Rule != "" {
		facts = append(facts, clean(n.Rule))
	}
	facts = append(facts, marks(n)...)
	if n.Sidecar != nil {
		facts = append(facts, "lease:"+cmp.Or(clean(n.Sidecar.Holding), "unheard"))
	}
	if n.Reader {
		facts = append(facts, "reader")
	}
	if n.DataCenter != "" {
		facts = append(facts, "dc:"+clean(n.DataCenter))
	}
	return facts
}

// marks are what has a line of its own below the tree.
func marks(n wire.Node) []string {
	var out []string
	switch {
	case n.Lost:
		out = append(out, "lost")
	case n.Downtime != nil:
		out = append(out, "downtimed")
	}
	if !n.DetachedFrom.IsZero() {
		out = append(out, "detached")
	}
	if n.Finding != "" {
		out = append(out, clean(n.Finding))
	}
	if n.Trouble != "" {
		out = append(out, clean(string(n.Trouble)))
	}
	if len(n.Warnings) > 0 {
		out = append(out, fmt.Sprintf("warnings:%d", len(n.Warnings)))
	}
	return out
}

func lagText(n wire.Node) string {
	switch {
	case n.Status == wire.NodeUnreachable || n.Status == wire.NodeUnchecked:
		return "unknown"
	case n.LagMS != nil:
		return seconds(*n.LagMS)
	case n.Parent.IsZero() && n.Role == wire.RoleMaster:
		return "0s"
	default:
		return "null"
	}
}

func readOnlyText(n wire.Node) string {
	if n.ReadOnly || n.SuperReadOnly {
		return "ro"
	}
	return "rw"
}

func formatText(n wire.Node) string {
	if !n.LogBin {
		return "nobinlog"
	}
	return dash(n.BinlogFormat)
}

// problems lists what has no room in the tree.
func (d *drawing) problems() []string {
	lines := slices.Clone(d.topology.Problems)
	for _, n := range d.nodes() {
		at := keyText(n.Key) + ": "
		if n.Status != wire.NodeOK && n.Reason != "" {
			line := at + string(n.Status) + ": " + n.Reason
			if n.Status == wire.NodeUnreachable && n.LastSeenMS != nil {
				line += " (last seen " + seconds(*n.LastSeenMS) + " ago)"
			}
			lines = append(lines, line)
		}
		if n.Lost && n.Downtime != nil {
			line := at + "lost in a recovery at " + moment(n.Downtime.Begun)
			if !n.DetachedFrom.IsZero() {
				line += ", detached from " + n.DetachedFrom.String()
			}
			lines = append(lines, line+"; nothing is done about it until "+moment(n.Downtime.Until))
		}
		if n.Trouble != "" {
			lines = append(lines, at+"takes no writes: "+string(n.Trouble))
		}
		if n.Errant != "" {
			lines = append(lines, at+"errant transactions: "+n.Errant)
		}
		if s := n.Sidecar; s != nil && s.LastExit != "" {
			lines = append(lines, at+s.LastExit+" at "+moment(s.LastExitAt)+", says its sidecar")
		}
		for _, problem := range n.Problems {
			lines = append(lines, at+problem)
		}
	}
	return lines
}

// nodes are the servers by name.
func (d *drawing) nodes() []wire.Node {
	nodes := slices.Clone(d.topology.Nodes)
	slices.SortFunc(nodes, byKey)
	return nodes
}

// said lists the downtimes, detachments and rules that somebody asked for.
func (d *drawing) said() []string {
	var lines []string
	for _, n := range d.nodes() {
		at := keyText(n.Key) + ": "
		if t := n.Downtime; t != nil && !n.Lost {
			lines = append(lines, fmt.Sprintf("%sin downtime until %s, owned by %s: %s", at, moment(t.Until), t.Owner, t.Reason))
		}
		if !n.DetachedFrom.IsZero() && !n.Lost {
			line := at + "detached from " + n.DetachedFrom.String()
			if n.DetachedReason != "" {
				line += ": " + n.DetachedReason
			}
			lines = append(lines, line)
		}
		if n.RuleBy != "" {
			line := at + n.Rule + ", set by " + n.RuleBy
			if !n.RuleUntil.IsZero() {
				line += ", until " + moment(n.RuleUntil)
			}
			lines = append(lines, line)
		}
	}
	return lines
}

// warnings lists those of the servers, and of the cluster.
func (d *drawing) warnings() []string {
	lines := warningLines(d.topology.Warnings)
	for _, n := range d.nodes() {
		lines = append(lines, warningLines(n.Warnings)...)
	}
	return lines
}
