package ctl

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
)

// Clusters prints a table of clusters.
func Clusters(clusters []wire.Cluster) string {
	if len(clusters) == 0 {
		return "no cluster is known yet\n"
	}
	rows := [][]string{{"CLUSTER", "MASTER", "EPOCH", "SERVERS", "WRITABLE", "RECOVERY", "AUTOMATIC", "FINDING"}}
	var problems []string
	for _, c := range clusters {
		recovery := dash(c.Recovery)
		if c.Withdrawn {
			recovery += " (withdrawn)"
		}
		rows = append(rows, []string{
			clean(c.Name), keyText(c.Master), c.Epoch.String(), fmt.Sprintf("%d/%d", c.Reachable, c.Servers),
			strconv.Itoa(c.Writable), recovery, yes(c.Automatic), dash(c.Finding),
		})
		for _, problem := range c.Problems {
			problems = append(problems, c.Name+": "+problem)
		}
	}
	return table(rows...) + section("problems:", problems)
}

// Status prints a controller's account of the whole.
func Status(s wire.Status) string {
	var out strings.Builder
	leader := s.Leader
	if leader == "" {
		leader = "NONE: nothing is decided until a majority of the controllers elects one"
	}
	out.WriteString(pairs("leader", clean(leader), "term", strconv.FormatUint(s.Term, 10), "ledger", clean(s.Ledger),
		"answered by", strings.TrimSpace(clean(s.Controller)+" "+clean(s.Version))))

	rows := [][]string{{"CONTROLLER", "STATE", "DC", "API", "RAFT"}}
	for _, c := range s.Controllers {
		rows = append(rows, []string{clean(c.ID), dash(c.State), dash(c.DataCenter), dash(c.API), dash(c.Raft)})
	}
	out.WriteString("\n" + table(rows...))
	out.WriteString("\n" + Clusters(s.Clusters))
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
		rows = append(rows, []string{
			clean(r.Name), clean(r.Cluster), r.Epoch.String(), strconv.FormatUint(r.Revision, 10), yes(r.Confirmed),
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
	rows := [][]string{{"ID", "CLUSTER", "KIND", "FINDING", "OLD MASTER", "NEW MASTER", "STARTED", "TOOK", "OUTCOME"}}
	for _, r := range list {
		rows = append(rows, []string{
			clean(r.ID), clean(r.Cluster), dash(string(r.Kind)), dash(r.Finding), keyText(r.Old), keyText(r.Winner),
			dash(moment(r.StartedAt)), tookText(r), outcomeText(r),
		})
	}
	return table(rows...)
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
	var out strings.Builder
	out.WriteString(pairs("recovery", clean(r.ID), "cluster", clean(r.Cluster), "kind", clean(string(r.Kind)),
		"finding", clean(r.Finding), "asked for", asked, "old master", old, "new master", winner,
		"epoch", r.EpochBefore.String()+" -> "+r.Epoch.String(), "leader", clean(r.Leader),
		"started", moment(r.StartedAt), "took", took, "outcome", outcomeText(r), "message", clean(r.Message),
		"left behind", keysText(r.Lost)))
	out.WriteString(section("evidence:", r.Evidence))
	out.WriteString(phasesText(r.Phases))
	if len(r.Steps) > 0 {
		out.WriteString("\nsteps:\n" + indent(stepsText(r)))
	}
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
		"notice", "see", "agree", "claim", "withdraw", "pick", "apply", "promote", "announce", "follow-up",
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
			clean(s.Name), clean(s.Subject.String()), clean(string(s.Outcome)), clean(s.Note),
		})
	}
	return table(rows...)
}

// Explanation prints what would be done about a cluster, and what holds it
// back.
func Explanation(e wire.Explanation) string {
	var out strings.Builder
	// Where nothing is to be judged, nothing is held back either, yet.
	blocking := "held back by:"
	if e.Verdict == "" {
		blocking = "if the master failed now, its recovery would be held back by:"
		out.WriteString(pairs("cluster", clean(e.Cluster), "finding", "none", "verdict", idleText(e)))
	} else {
		out.WriteString(pairs("cluster", clean(e.Cluster), "finding", dash(e.Finding), "", clean(e.Sentence),
			"subject", clean(e.Subject.String()), "verdict", verdictText(e), " ", clean(e.ReasonSentence)))
	}
	out.WriteString(section("evidence:", e.Evidence))
	if len(e.Plan) > 0 {
		rows := make([][]string, len(e.Plan))
		for i, step := range e.Plan {
			rows[i] = []string{fmt.Sprintf("%2d", i+1), clean(step.Name), clean(step.Subject.String()), clean(step.Detail)}
		}
		out.WriteString("\nit would, by the pictures of now:\n" + indent(table(rows...)))
	}
	if len(e.Candidates) > 0 {
		rows := make([][]string, len(e.Candidates))
		for i, c := range e.Candidates {
			place := "out"
			if c.Place > 0 {
				place = strconv.Itoa(c.Place)
			}
			rows[i] = []string{fmt.Sprintf("%3s", place), keyText(c.Key), clean(c.Reason)}
		}
		out.WriteString("\ncandidates:\n" + indent(table(rows...)))
	}
	blocks := make([]string, len(e.Blocks))
	for i, b := range e.Blocks {
		blocks[i] = b.Kind + ": " + b.Sentence
		if !b.Until.IsZero() {
			blocks[i] += " (until " + moment(b.Until) + ")"
		}
	}
	out.WriteString(section(blocking, blocks))
	return out.String()
}

func verdictText(e wire.Explanation) string {
	verdict := strings.ToUpper(string(e.Verdict))
	if e.Reason != "" {
		verdict += " (" + clean(e.Reason) + ")"
	}
	return verdict
}

func idleText(e wire.Explanation) string {
	if e.Sentence == "" {
		return "nothing to do"
	}
	return "nothing to do: " + clean(e.Sentence)
}
