package console_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/analysis"
	"switchyard/controller/candidate"
	"switchyard/controller/executor"
	"switchyard/controller/failover"
	"switchyard/controller/plan"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// judged is what the loop would answer for a sketch.
func (w *world) judged(text string) {
	w.t.Helper()
	w.draw(text)
	c, p := w.state.Clusters["shop"], w.rules["shop"]
	a := failover.Assessment{Cluster: c, Snapshot: w.snapshot}
	a.Finding, a.Ranking = analysis.Analyze(w.snapshot, p).Master, candidate.Rank(w.snapshot, c.Master, nil, p)
	a.Verdict = safety.Judge(safety.Input{
		Finding: a.Finding, Snapshot: w.snapshot, Ranking: a.Ranking, Policy: p,
		OpenRecovery: c.Recovery, LastAutomatic: c.LastAutomatic, Now: noon,
	})
	w.explained = a
}

const deadMaster = `
	server m exec=0-1-100
	server a <m io=Connecting exec=0-1-100
	server b <m io=Connecting exec=0-1-90
	view c1 m=refused a=ok b=ok
	view c2 m=refused a=ok b=ok`

func TestExplain(t *testing.T) {
	w := newWorld(t)
	w.judged(deadMaster)
	w.explained.Silent = []string{"c3: timeout"}
	e, err := w.console().Explain(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	if e.Cluster != "shop" || e.Finding != "DeadMaster" || e.Subject != key("m") || e.Verdict != wire.Act || e.Reason != "" ||
		!strings.Contains(e.ReasonSentence, "promote a:3306") || e.Sentence == "" || len(e.Blocks) != 0 {
		t.Errorf("%+v", e)
	}
	evidence := strings.Join(e.Evidence, "\n")
	if !strings.Contains(evidence, "c2: master m:3306: refused") || !strings.HasSuffix(evidence, "no view: c3: timeout") {
		t.Errorf("evidence:\n%s", evidence)
	}
	if len(e.Candidates) != 2 || e.Candidates[0].Key != key("a") || e.Candidates[0].Place != 1 ||
		e.Candidates[1].Key != key("b") || e.Candidates[1].Place != 2 || !strings.Contains(e.Candidates[1].Reason, "lacks") {
		t.Errorf("candidates %+v", e.Candidates)
	}
	// Who holds everything itself takes nothing from anybody.
	steps := slices.DeleteFunc(plan.Build(ledger.Failover, false, false).Steps(), func(n plan.Name) bool { return n == plan.Converge })
	if len(e.Plan) != len(steps) {
		t.Fatalf("plan %+v", e.Plan)
	}
	for i, s := range e.Plan {
		if s.Name != string(steps[i]) {
			t.Errorf("step %d: %+v, want %s", i, s, steps[i])
		}
		switch s.Name {
		case "withdraw", "fence":
			if s.Subject != key("m") {
				t.Errorf("%+v", s)
			}
		case "repoint", "verify", "stop-receiving":
			if s.Detail != "all replicas" {
				t.Errorf("%+v", s)
			}
		case "detach-lost":
			if s.Detail != "replicas that cannot follow, if any" {
				t.Errorf("%+v", s)
			}
		default:
			if s.Subject != key("a") || s.Detail != "" {
				t.Errorf("%+v", s)
			}
		}
	}
}

// A hold is explained with the same picture; where nothing is wrong, nothing is
// judged.
func TestExplainHolds(t *testing.T) {
	w := newWorld(t)
	w.judged(strings.ReplaceAll(deadMaster, "view c2 m=refused", "view c2 m=ok"))
	e, err := w.console().Explain(t.Context(), "shop")
	if err != nil || e.Finding != "UnreachableMaster" || e.Verdict != wire.Hold || e.Reason != "observers-disagree" {
		t.Errorf("%v %+v", err, e)
	}
	alone := strings.SplitAfter(deadMaster, "\n")
	w.judged(strings.Join(slices.DeleteFunc(alone, func(line string) bool { return strings.Contains(line, "view c2") }), ""))
	e, err = w.console().Explain(t.Context(), "shop")
	if err != nil || e.Finding != "DeadMaster" || e.Verdict != wire.Hold || e.Reason != "no-witness-majority" || len(e.Plan) == 0 {
		t.Errorf("%v %+v", err, e)
	}
	w.judged(trio)
	e, err = w.console().Explain(t.Context(), "shop")
	if err != nil || e.Finding != "" || e.Verdict != "" || e.Reason != "no-problem" || e.ReasonSentence == "" || len(e.Plan) != 0 {
		t.Errorf("%v %+v", err, e)
	}
	w.judged(strings.ReplaceAll(trio, "server m", "server m readonly"))
	e, err = w.console().Explain(t.Context(), "shop")
	if err != nil || e.Finding != "NoWriteableMasterStructureWarning" || e.Verdict != wire.Hold || len(e.Plan) != 0 || len(e.Candidates) != 2 {
		t.Errorf("%v %+v", err, e)
	}
	w.judged(strings.ReplaceAll(deadMaster, "exec=0-1-90", "exec=0-1-90,0-3-101"))
	e, err = w.console().Explain(t.Context(), "shop")
	if err != nil || e.Reason != "incomparable-gtid" || len(e.Plan) != 0 {
		t.Errorf("a plan for nobody: %v %+v", err, e)
	}
}

func TestBlocks(t *testing.T) {
	w := newWorld(t)
	moved := w.claim(ledger.Failover, noon)
	w.must(ledger.ChooseWinner{Recovery: moved, Winner: key("a"), At: noon})
	w.must(ledger.Announce{Recovery: moved, At: noon})
	w.must(ledger.CloseRecovery{Recovery: moved, Outcome: ledger.Failed, At: noon.Add(-time.Minute)})
	id := w.claim(ledger.Switchover, noon)
	rules := w.rules["shop"]
	rules.Recover = false
	w.rules["shop"] = rules
	w.judged(deadMaster)
	e, err := w.console().Explain(t.Context(), "shop")
	if err != nil || len(e.Blocks) != 3 || e.Verdict != wire.Hold {
		t.Fatalf("%v %+v", err, e)
	}
	if b := e.Blocks[0]; b.Kind != "recovery-disabled" || !strings.Contains(b.Sentence, "recovery.clusters") {
		t.Errorf("%+v", b)
	}
	if b := e.Blocks[1]; b.Kind != "recovery-open" || !strings.Contains(b.Sentence, id) {
		t.Errorf("%+v", b)
	}
	if b := e.Blocks[2]; b.Kind != "anti-flap" || !b.Until.Equal(noon.Add(9*time.Minute)) ||
		!strings.Contains(b.Sentence, "2026-03-04T11:59:00Z") {
		t.Errorf("%+v", b)
	}
	rules.AntiFlap = time.Minute // it is over
	w.rules["shop"] = rules
	if e, err = w.console().Explain(t.Context(), "shop"); err != nil || len(e.Blocks) != 2 {
		t.Errorf("%v %+v", err, e.Blocks)
	}
}

func TestExplainErrors(t *testing.T) {
	w := newWorld(t)
	_, err := w.console().Explain(t.Context(), "other")
	refused(t, err, wire.NotFound, 404)
	w.explainErr = failover.ErrNoCluster // the ledger has it, and the loop not yet
	_, err = w.console().Explain(t.Context(), "shop")
	refused(t, err, wire.NotFound, 404)
	w.explainErr = fmt.Errorf("look: %w", context.DeadlineExceeded)
	_, err = w.console().Explain(t.Context(), "shop")
	refused(t, err, wire.Timeout, 503)
}

func TestSwitchover(t *testing.T) {
	w := newWorld(t)
	var asked []string
	w.switched = func(cluster string, to topology.Key, by, reason string) (ledger.Recovery, error) {
		asked = append(asked, cluster, to.String(), by, reason)
		return w.state.Recoveries[w.promote()], nil
	}
	r, err := w.console().Switchover(t.Context(), wire.SwitchoverRequest{Cluster: "shop", To: key("a"), By: "kim", Reason: "a new rack"})
	if err != nil || r.ID != "shop-2" || r.Winner != key("a") || r.Outcome != ledger.Completed || r.DurationMS != 1000 {
		t.Errorf("%v %+v", err, r)
	}
	if _, err = w.console().Switchover(t.Context(), wire.SwitchoverRequest{Cluster: "shop"}); err != nil {
		t.Error(err)
	}
	if got := strings.Join(asked, "|"); got != "shop|a:3306|kim|a new rack|shop||an operator|" {
		t.Error(got)
	}
}

func TestSwitchoverErrors(t *testing.T) {
	w := newWorld(t)
	w.must(ledger.AdoptMaster{Cluster: "bar", Master: key("x"), At: noon})
	for _, r := range []wire.SwitchoverRequest{
		{Cluster: "other"}, {Cluster: "shop", To: key("nobody")}, {Cluster: "shop", To: key("x")},
	} {
		_, err := w.console().Switchover(t.Context(), r) // begins nothing, or the world complains
		refused(t, err, wire.NotFound, 404)
	}
	other := errors.New("disk full")
	for _, c := range []struct {
		err    error
		code   wire.Code
		status int
	}{
		{failover.ErrNoCluster, wire.NotFound, 404},
		{&failover.Refusal{Reason: "it lags"}, wire.Refused, 409},
		{fmt.Errorf("claim: %w", &ledger.Rejection{Command: "claim-recovery", Reason: "it is open"}), wire.Conflict, 409},
		{fmt.Errorf("it goes on: %w", context.DeadlineExceeded), wire.Timeout, 503},
		{fmt.Errorf("it goes on: %w", context.Canceled), wire.Timeout, 503},
		{fmt.Errorf("promote: %w", executor.ErrDeposed), wire.NotLeader, 503},
		{other, "", 0},
	} {
		w.switched = func(string, topology.Key, string, string) (ledger.Recovery, error) { return ledger.Recovery{}, c.err }
		_, err := w.console().Switchover(t.Context(), wire.SwitchoverRequest{Cluster: "shop", To: key("a")})
		if c.code == "" {
			if !errors.Is(err, other) || errors.As(err, new(*wire.Error)) {
				t.Errorf("%v: an unknown failure is for the log", err)
			}
			continue
		}
		refused(t, err, c.code, c.status)
	}
}
