package ctl

import (
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
	asked := "a person"
	if r.Automatic {
		asked = "automatic"
	} else if r.By != "" {
		asked = clean(r.By)
	}
	winner := keyText(r.Winner)
	if r.WinnerReason != "" {
		winner += " (" + clean(r.WinnerReason) + ")"
	}
	old := keyText(r.Old)
	if r.OldDead {
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
		"lost", keysText(r.Lost)))
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
	order := []string{"notice", "see", "agree", "claim", "withdraw", "pick", "promote", "announce"}
	names := slices.SortedFunc(maps.Keys(phases), func(a, b string) int {
		x, y := slices.Index(order, a), slices.Index(order, b)
		if x >= 0 && y >= 0 {
			return x - y
		}
		if x >= 0 || y >= 0 {
			return y - x
		}
		return strings.Compare(a, b)
	})
	rows := make([][]string, len(names))
	for i, name := range names {
		rows[i] = []string{clean(name), fmt.Sprintf("%10s", ms(phases[name]))}
	}
	return "\nphases:\n" + indent(table(rows...))
}

func stepsText(r wire.Recovery) string {
	rows := [][]string{{"    OFFSET", "  DURATION", "STEP", "SUBJECT", "OUTCOME", "NOTE"}}
	for _, s := range r.Steps {
		rows = append(rows, []string{
			fmt.Sprintf("%10s", "+"+ms(s.OffsetMS)), fmt.Sprintf("%10s", ms(s.DurationMS)),
			clean(s.Name), keyText(s.Subject), clean(string(s.Outcome)), clean(s.Note),
		})
	}
	return table(rows...)
}

// Explanation prints what would be done about a cluster, and what holds it
// back.
func Explanation(e wire.Explanation) string {
	finding := clean(e.Finding)
	if finding == "" {
		finding = "none"
	}
	verdict := strings.ToUpper(string(e.Verdict))
	if e.Reason != "" {
		verdict = strings.TrimSpace(verdict + " (" + clean(e.Reason) + ")")
	}
	var out strings.Builder
	out.WriteString(pairs("cluster", clean(e.Cluster), "finding", finding, "", clean(e.Sentence), "subject", subjectText(e),
		"verdict", verdict, " ", clean(e.ReasonSentence)))
	out.WriteString(section("evidence:", e.Evidence))
	if len(e.Plan) > 0 {
		rows := make([][]string, len(e.Plan))
		for i, step := range e.Plan {
			rows[i] = []string{fmt.Sprintf("%2d", i+1), clean(step.Name), keyText(step.Subject), clean(step.Detail)}
		}
		out.WriteString("\nit would:\n" + indent(table(rows...)))
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
	out.WriteString(section("held back by:", blocks))
	return out.String()
}

func subjectText(e wire.Explanation) string {
	if e.Subject.IsZero() {
		return ""
	}
	return keyText(e.Subject)
}
