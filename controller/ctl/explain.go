package ctl

import (
	"fmt"
	"strconv"
	"strings"

	"switchyard/controller/adminapi/wire"
)

// Explanation prints what would be done about a cluster, and what holds it
// back.
func Explanation(e wire.Explanation) string {
	var out strings.Builder
	if e.Summary != "" {
		out.WriteString(clean(e.Cluster) + ": " + clean(e.Summary) + "\n\n")
	}
	// Where nothing is to be judged, nothing is held back either, yet.
	blocking := "held back by:"
	if e.Verdict == "" {
		blocking = "if the master failed now, its recovery would be held back by:"
		out.WriteString(pairs("cluster", clean(e.Cluster), "finding", "none", "verdict", idleText(e)))
	} else {
		out.WriteString(pairs("cluster", clean(e.Cluster), "finding", dash(e.Finding), "", clean(e.Sentence),
			"subject", clean(e.Subject.String()), "verdict", verdictText(e.Verdict, e.Reason), " ", clean(e.ReasonSentence), "durability", durabilityText(e)))
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
			reason := c.Reason
			if !c.Via.IsZero() {
				reason += " (by way of " + c.Via.String() + ")"
			}
			rows[i] = []string{fmt.Sprintf("%3s", place), keyText(c.Key), clean(reason)}
		}
		heading := "candidates:"
		if e.Verdict == "" {
			heading = "candidates for a switchover now:"
		}
		out.WriteString("\n" + heading + "\n" + indent(table(rows...)))
	}
	blocks := make([]string, len(e.Blocks))
	for i, b := range e.Blocks {
		blocks[i] = b.Kind + ": " + b.Sentence
		if !b.Until.IsZero() {
			blocks[i] += " (until " + moment(b.Until) + ")"
		}
	}
	out.WriteString(section(blocking, blocks))
	out.WriteString(othersText(e.Others))
	out.WriteString(section("warnings:", warningLines(e.Warnings)))
	return out.String()
}

func durabilityText(e wire.Explanation) string {
	switch {
	case e.Durability == "":
		return ""
	case e.Proven:
		return "proven: " + clean(e.Durability)
	}
	return "NOT proven: " + clean(e.Durability)
}

// othersText prints the findings beside the master's.
func othersText(others []wire.Found) string {
	var out strings.Builder
	for _, f := range others {
		out.WriteString("\nbeside the master:\n" + indent(pairs("finding", dash(f.Finding), "", clean(f.Sentence),
			"subject", keyText(f.Subject), "answer", clean(f.Answer), "verdict", verdictText(f.Verdict, f.Reason),
			" ", clean(f.ReasonSentence))))
		for _, m := range f.Moves {
			line := keyText(m.Server) + " would go below " + keyText(m.To)
			if m.To.IsZero() {
				line = keyText(m.Server) + " would stay"
			}
			if m.Reason != "" {
				line += ": " + clean(m.Reason)
			}
			out.WriteString("    " + line + "\n")
		}
		for _, line := range f.Evidence {
			out.WriteString("    " + clean(line) + "\n")
		}
	}
	return out.String()
}

// warningLines has a line for each warning; its evidence is in the JSON.
func warningLines(warnings []wire.Warning) []string {
	var lines []string
	for _, w := range warnings {
		lines = append(lines, warningText(w))
	}
	return lines
}

func verdictText(v wire.Verdict, reason string) string {
	verdict := strings.ToUpper(string(v))
	if reason != "" {
		verdict += " (" + clean(reason) + ")"
	}
	return verdict
}

func idleText(e wire.Explanation) string {
	if e.Sentence == "" {
		return "nothing to do"
	}
	return "nothing to do: " + clean(e.Sentence)
}
