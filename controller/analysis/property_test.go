package analysis_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"switchyard/controller/analysis"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/controller/topology/sketch"
)

// drawWorld draws any world of up to seven servers and three controllers.
func drawWorld(t *rapid.T) (topology.Snapshot, string) {
	var text strings.Builder
	names := []string{"m", "a", "b", "c", "d", "e", "f"}[:rapid.IntRange(1, 7).Draw(t, "servers")]
	pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	for _, name := range names {
		source := pick("source", append([]string{"", "<m", "<m"}, prefixed("<", names)...)...)
		if name == "m" && rapid.IntRange(0, 4).Draw(t, "master replicates") > 0 {
			source = ""
		}
		words := pick("semi-sync", "", "", "source waiting=1", "source clients=2", "source degraded")
		if source != "" && source != "<"+name {
			words = strings.Join([]string{source, pick("io", "", "", "io=Connecting", "io=No", "stalled=9s", "io=No ioerrno=2003"),
				pick("sql", "", "", "sql=No"), pick("lag", "", "lag=1m", "lag=1h delay=1h"), pick("writable", "", "writable")}, " ")
		}
		fmt.Fprintf(&text, "server %s %s exec=0-1-%d\n", name, words, rapid.IntRange(1, 3).Draw(t, "executed"))
	}
	for _, name := range names {
		text.WriteString(pick("word", "", "", "", "downtime "+name+" x\n"))
		if name != "m" {
			text.WriteString(pick("standing", "", "", "", "outcast "+name+" x\n"))
		}
	}
	for n := range rapid.IntRange(1, 3).Draw(t, "controllers") {
		fmt.Fprintf(&text, "view c%d", n+1)
		for _, name := range names {
			reach := pick("reach", "ok", "ok", "ok", "refused", "refused", "timeout", "hung", "denied", "unseen")
			if reach != "unseen" {
				fmt.Fprintf(&text, " %s=%s%s", name, reach, pick("knows", "", "", "+orderly:1s", "+stalled-writes:1m+still:1m", "+writes"))
			}
		}
		text.WriteString("\n")
	}
	s, err := sketch.Parse(text.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, text.String())
	}
	return s, text.String()
}

func prefixed(prefix string, names []string) []string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		out = append(out, prefix+name)
	}
	return out
}

// Whatever the world looks like, nothing is answered that could be worse than
// what was found.
func TestAnswersAreNeverWorse(t *testing.T) {
	p := policy.Cluster{
		Controllers: 3, MinStall: 1500 * time.Millisecond, RestartGrace: 5 * time.Second, ReasonableLag: 10 * time.Second,
		LockedAfter: 10 * time.Second, SemiSyncRepair: policy.SemiSyncExact,
		FailoverAfter: map[topology.Trouble]time.Duration{topology.TroubleStalled: 30 * time.Second},
	}
	rapid.Check(t, func(t *rapid.T) {
		s, text := drawWorld(t)
		report := analysis.Analyze(s, p)
		if again := analysis.Analyze(s, p); !reflect.DeepEqual(report, again) {
			t.Fatalf("two judgements of one world differ\n%s", text)
		}
		if report.Master.Subject != s.Master {
			t.Fatalf("the finding about the master is about %s\n%s", report.Master.Subject, text)
		}
		for _, f := range append([]analysis.Finding{report.Master}, report.Others...) {
			checkFinding(t, s, f, text)
		}
		for _, w := range report.Warnings {
			if w.Sentence == "" || w.Subject.IsZero() {
				t.Fatalf("a warning that says nothing: %+v\n%s", w, text)
			}
		}
	})
}

func checkFinding(t *rapid.T, s topology.Snapshot, f analysis.Finding, text string) {
	dead, alive := analysis.WitnessesOf(s, f.Subject)
	fail := func(why string) { t.Fatalf("%s: %+v\n%s", why, f, text) }
	if f.Kind != analysis.NoProblem && (len(f.Evidence) == 0 || f.Sentence == "") {
		fail("a finding without evidence")
	}
	if f.Answer != "" && f.Wants != f.Answer {
		fail("it has an answer and does not want it")
	}
	switch f.Answer {
	case analysis.AnswerFailover:
		switch {
		case f.Subject != s.Master:
			fail("a failover of what is not the master")
		case f.Dead && (len(alive) > 0 || f.Replicating > 0 || f.Valid == 0):
			fail("a failover of a master that lives, or with nobody to promote")
		case !f.Dead && stalled(s) < 2:
			fail("a failover of a living master that no majority sees sick")
		}
	case analysis.AnswerRelocate:
		_, outcast := s.Outcasts[f.Subject]
		if f.Subject == s.Master || f.Replicating > 0 || f.Valid == 0 || f.Dead && len(alive) > 0 {
			fail("a relocation of replicas that receive, or of none")
		}
		if outcast && !slices.Contains(s.Replicas(s.Master), f.Subject) {
			fail("a relocation from an outcast")
		}
	case analysis.AnswerSemiSync:
		if f.Dead || f.Subject != s.Master {
			fail("a repair of what is dead or no master")
		}
	}
	if f.Dead && len(dead) == 0 {
		fail("dead, and nobody sees it dead")
	}
}

// stalled counts the controllers that see writes to the master stall.
func stalled(s topology.Snapshot) int {
	n := 0
	for _, v := range s.Views {
		if o := v.Observations[s.Master]; !o.Reach.Dead() && o.Write != nil && o.Write.Trouble == topology.TroubleStalled {
			n++
		}
	}
	return n
}
