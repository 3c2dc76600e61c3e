package ctl

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Clusters prints a table of clusters.
func Clusters(clusters []wire.Cluster) string {
	if len(clusters) == 0 {
		return "no cluster is known yet\n"
	}
	rows := [][]string{{"CLUSTER", "MASTER", "EPOCH", "SERVERS", "WRITABLE", "RECOVERY", "AUTOMATIC", "WARNINGS", "FINDING"}}
	var problems, urgent []string
	for _, c := range clusters {
		rows = append(rows, []string{
			clean(c.Name), keyText(c.Master), c.Epoch.String(), fmt.Sprintf("%d/%d", c.Reachable, c.Servers),
			strconv.Itoa(c.Writable), recoveryText(c), automaticText(c), strconv.Itoa(c.Warnings), findingText(c),
		})
		for _, problem := range append(downtimeLines(c), c.Problems...) {
			problems = append(problems, c.Name+": "+problem)
		}
		if c.Urgent != nil {
			urgent = append(urgent, c.Name+": "+warningText(*c.Urgent))
		}
	}
	return table(rows...) + section("problems:", problems) + section("the most urgent warnings:", urgent)
}

func recoveryText(c wire.Cluster) string {
	text := dash(cmp.Or(c.Recovery, c.Relocation))
	if c.Withdrawn {
		text += " (withdrawn)"
	}
	return text
}

func automaticText(c wire.Cluster) string {
	if c.Automatic && c.Paused {
		return "paused"
	}
	return yes(c.Automatic)
}

// findingText is what is found of the master, and how much beside it.
func findingText(c wire.Cluster) string {
	text := clean(c.Finding)
	if c.Trouble != "" {
		text = strings.TrimSpace(text + " (" + clean(string(c.Trouble)) + ")")
	}
	if c.Others > 0 {
		text = strings.TrimSpace(fmt.Sprintf("%s +%d", text, c.Others))
	}
	return dash(text)
}

func downtimeLines(c wire.Cluster) []string {
	var lines []string
	if n := c.Downtimes - c.Lost; n > 0 {
		lines = append(lines, fmt.Sprintf("%d of its servers in downtime", n))
	}
	if c.Lost > 0 {
		lines = append(lines, fmt.Sprintf("%d of its servers lost in a recovery", c.Lost))
	}
	return lines
}

func warningText(w wire.Warning) string {
	text := w.Code
	if !w.Subject.IsZero() {
		text += " " + w.Subject.String()
	}
	return text + ": " + w.Sentence
}

func pauseLines(pauses []wire.Pause) []string {
	var lines []string
	for _, p := range pauses {
		lines = append(lines, fmt.Sprintf("%s: by %s, since %s: %s", cmp.Or(p.Cluster, "all clusters"), p.By, moment(p.At), p.Reason))
	}
	return lines
}

// Status prints a controller's account of the whole.
func Status(s wire.Status) string {
	var out strings.Builder
	out.WriteString(pairs("leader", leaderText(s.Leader), "term", strconv.FormatUint(s.Term, 10), "ledger", clean(s.Ledger),
		"answered by", strings.TrimSpace(clean(s.Controller)+" "+clean(s.Version))))

	rows := [][]string{{"CONTROLLER", "STATE", "DC", "API", "RAFT"}}
	for _, c := range s.Controllers {
		rows = append(rows, []string{clean(c.ID), dash(c.State), dash(c.DataCenter), dash(c.API), dash(c.Raft)})
	}
	out.WriteString("\n" + table(rows...))
	out.WriteString("\n" + Clusters(s.Clusters))
	out.WriteString(section("automatic recoveries are paused:", pauseLines(s.Pauses)))
	out.WriteString(section("datacenters are marked down:", downLines(s.Down)))
	out.WriteString(receivers("PROXY", s.Proxies))
	out.WriteString(receivers("CONSUL", s.Consul))
	out.WriteString(section("problems:", s.Problems))
	return out.String()
}

func receivers(kind string, list []wire.Receiver) string {
	if len(list) == 0 {
		return ""
	}
	rows := [][]string{{kind, "CLUSTER", "EPOCH", "REVISION", "CONFIRMED", "AT", "PROBLEM"}}
	for _, r := range list {
		name := clean(r.Name)
		if r.Kind != "" {
			name += " (" + clean(r.Kind) + ")"
		}
		rows = append(rows, []string{
			name, clean(r.Cluster), r.Epoch.String(), strconv.FormatUint(r.Revision, 10), yes(r.Confirmed),
			dash(moment(r.At)), clean(r.Problem),
		})
	}
	return "\n" + table(rows...)
}

// Recoveries prints a table of recoveries.
func Recoveries(list []wire.Recovery) string {
	if len(list) == 0 {
		return "no recovery is recorded\n"
	}
	rows := [][]string{{"ID", "CLUSTER", "KIND", "FINDING", "FROM", "TO", "STARTED", "TOOK", "OUTCOME", "ACKNOWLEDGED"}}
	for _, r := range list {
		rows = append(rows, []string{
			clean(r.ID), clean(r.Cluster), dash(kindText(r)), dash(r.Finding), keyText(r.Old), keyText(r.Winner),
			dash(moment(r.StartedAt)), tookText(r), outcomeText(r), ackedBy(r),
		})
	}
	return table(rows...)
}

func kindText(r wire.Recovery) string {
	if r.Forced {
		return clean(string(r.Kind)) + " (forced)"
	}
	return clean(string(r.Kind))
}

func ackedBy(r wire.Recovery) string {
	if r.Ack == nil {
		return "-"
	}
	return dash(r.Ack.By)
}

func ackText(r wire.Recovery) string {
	if r.Ack == nil {
		return ""
	}
	return fmt.Sprintf("by %s, %s: %s", clean(r.Ack.By), moment(r.Ack.At), clean(r.Ack.Comment))
}

func tookText(r wire.Recovery) string {
	if r.Open() {
		return "-"
	}
	return ms(r.DurationMS)
}

func outcomeText(r wire.Recovery) string {
	switch {
	case r.Open() && r.Undoing:
		return "open, on its way back"
	case r.Open():
		return "open"
	default:
		return clean(string(r.Outcome))
	}
}

// Recovery prints one recovery with its evidence, phases and steps.
func Recovery(r wire.Recovery) string {
	asked := clean(r.By)
	if r.Automatic {
		asked = "automatic"
	}
	winner := clean(r.Winner.String())
	if winner != "" && r.WinnerReason != "" {
		winner += " (" + clean(r.WinnerReason) + ")"
	}
	old := clean(r.Old.String())
	if old != "" && r.OldDead {
		old += " (proven dead)"
	}
	took := ""
	if !r.Open() {
		took = ms(r.DurationMS)
	}
	from, to, epoch := "old master", "new master", r.EpochBefore.String()+" -> "+r.Epoch.String()
	if r.Kind == ledger.Relocate {
		from, to, epoch = "dead", "moved below", r.Epoch.String()
	}
	var out strings.Builder
	out.WriteString(pairs("recovery", clean(r.ID), "cluster", clean(r.Cluster), "kind", kindText(r),
		"finding", clean(r.Finding), "asked for", asked, from, old, to, winner, "by way of", clean(r.Via.String()),
		"durability", clean(r.Durability), "epoch", epoch, "leader", clean(r.Leader),
		"started", moment(r.StartedAt), "took", took, "outcome", outcomeText(r), "message", clean(r.Message),
		"left behind", keysText(r.Lost), "acknowledged", ackText(r)))
	out.WriteString(section("evidence:", r.Evidence))
	out.WriteString(phasesText(r.Phases))
	if len(r.Steps) > 0 {
		out.WriteString("\nsteps:\n" + indent(stepsText(r)))
	}
	out.WriteString(outputText(r))
	return out.String()
}

func keysText(keys []topology.Key) string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = keyText(k)
	}
	return strings.Join(all, ", ")
}

// phasesText prints the phases in the order of a failover, others after them
// by name.
func phasesText(phases map[string]float64) string {
	if len(phases) == 0 {
		return ""
	}
	names := slices.SortedFunc(maps.Keys(phases), ComparePhases)
	rows := make([][]string, len(names))
	for i, name := range names {
		rows[i] = []string{clean(name), fmt.Sprintf("%10s", ms(phases[name]))}
	}
	return "\nphases:\n" + indent(table(rows...))
}

// ComparePhases orders phases as a recovery goes through them, others after
// them by name.
func ComparePhases(a, b string) int {
	order := []string{
		"OnFailureDetection", "notice", "see", "agree", "claim", "PreGracefulTakeover", "PreFailover", "withdraw", "pick", "apply",
		"promote", "PostTakeMaster", "announce", "follow-up",
	}
	place := func(name string) int {
		if i := slices.Index(order, name); i >= 0 {
			return i
		}
		return len(order)
	}
	return cmp.Or(cmp.Compare(place(a), place(b)), strings.Compare(a, b))
}

// offsetText is when a step began. What led to a recovery began before it.
func offsetText(value float64) string {
	if value < 0 {
		return ms(value)
	}
	return "+" + ms(value)
}

func stepsText(r wire.Recovery) string {
	rows := [][]string{{"    OFFSET", "  DURATION", "STEP", "SUBJECT", "OUTCOME", "NOTE"}}
	for _, s := range r.Steps {
		rows = append(rows, []string{
			fmt.Sprintf("%10s", offsetText(s.OffsetMS)), fmt.Sprintf("%10s", ms(s.DurationMS)),
			clean(s.Name), clean(s.Subject.String()), clean(string(s.Outcome)), clean(noteText(s)),
		})
	}
	return table(rows...)
}

// isHook reports whether a step is a command of the operator's, by its name: it
// is that of a moment.
func isHook(s wire.Step) bool { return s.Name != "" && unicode.IsUpper([]rune(s.Name)[0]) }

// noteText is the part of a step's note that fits into the table: the lines of
// a command's output come below it.
func noteText(s wire.Step) string {
	if first, rest, more := strings.Cut(s.Note, "\n"); isHook(s) && more && strings.TrimSpace(rest) != "" {
		return first + " ..."
	}
	return s.Note
}

// outputText is what the operator's commands said, where it is more than a line.
func outputText(r wire.Recovery) string {
	var out strings.Builder
	for _, s := range r.Steps {
		if !isHook(s) || noteText(s) == s.Note {
			continue
		}
		out.WriteString(section("output of "+clean(s.Name)+":", strings.Split(strings.TrimSpace(s.Note), "\n")))
	}
	return out.String()
}
