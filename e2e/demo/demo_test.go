package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/ctl"
	"switchyard/controller/topology"
	"switchyard/e2e/workload"
)

func TestOptionsAreChecked(t *testing.T) {
	for _, flavor := range Flavors() {
		for _, fault := range Faults() {
			if err := (Options{Flavor: flavor, Fault: fault}).Validate(); err != nil {
				t.Errorf("%s %s: %v", flavor, fault, err)
			}
		}
	}
	for _, test := range []struct {
		options Options
		names   string
	}{
		{Options{Flavor: "oracle", Fault: "crash"}, `--flavor "oracle": use mariadb or mysql`},
		{Options{Flavor: "mariadb", Fault: "fire"}, `--fault "fire": use crash, freeze, switchover`},
		{Options{Flavor: "mysql", Fault: "crash", Proxies: -1}, "--proxies -1"},
		{Options{Flavor: "mysql", Fault: "crash", Proxies: 51}, "use 1 to 50"},
		{Options{}, "--flavor"},
	} {
		var stdout, stderr bytes.Buffer
		err := Run(context.Background(), test.options, &stdout, &stderr)
		if err == nil || !strings.Contains(err.Error(), test.names) {
			t.Errorf("%+v ended with %v, want an error that says %s", test.options, err, test.names)
		}
		if stdout.Len()+stderr.Len() > 0 {
			t.Errorf("%+v: something was begun: %q %q", test.options, stdout.String(), stderr.String())
		}
	}
}

func TestResultIsOneLine(t *testing.T) {
	var out bytes.Buffer
	result := Result{Flavor: "mysql", PhasesMS: map[string]float64{"see": 1.5}, Violations: []string{}}
	if err := result.write(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), "\n") != 1 || !strings.HasSuffix(out.String(), "\n") {
		t.Errorf("%q is not one line", out.String())
	}
	var fields map[string]any
	if err := json.Unmarshal(out.Bytes(), &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"flavor", "fault", "outage_ms", "acked", "errors", "lost", "proxies", "confirmed_ms", "phases_ms", "epoch_before", "epoch_after",
		"old_master", "new_master"} {
		if _, ok := fields[name]; !ok {
			t.Errorf("the result has no %s: %s", name, out.String())
		}
	}
}

func TestViolationsFailTheDemo(t *testing.T) {
	if err := (Result{}).failure(); err != nil {
		t.Errorf("a clean result failed: %v", err)
	}
	err := Result{Violations: []string{"two masters"}}.failure()
	if err == nil || !strings.Contains(err.Error(), "two masters") {
		t.Errorf("a violation ended with %v", err)
	}
}

func TestPhasesComeInTheirOrder(t *testing.T) {
	var out bytes.Buffer
	told := teller{out: &out}
	told.phases(map[string]float64{"zeal": 1, "announce": 4, "notice": 1, "extra": 2, "claim": 3})
	if want := "  notice 1 ms  claim 3 ms  announce 4 ms  extra 2 ms  zeal 1 ms\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func at(ms int) time.Time {
	return time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
}

func TestNoticeCountsFromTheFault(t *testing.T) {
	a := act{at: at(0), recovery: wire.Recovery{
		Phases: map[string]float64{"notice": 1, "see": 5, "withdraw": 20},
		Steps: []wire.Step{
			{Name: "notice", StartedAt: at(30), EndedAt: at(31)}, {Name: "withdraw", StartedAt: at(36), EndedAt: at(56)},
			{Name: "see", StartedAt: at(31), EndedAt: at(36)},
		},
	}}
	if got := a.phases(); got["notice"] != 31 || got["see"] != 5 || got["withdraw"] != 20 || len(got) != 3 {
		t.Errorf("phases %v", got)
	}
	if a.recovery.Phases["notice"] != 1 {
		t.Error("the recovery's own phases were changed")
	}
}

func writes(ms ...int) (all []workload.Write) {
	for _, m := range ms {
		all = append(all, workload.Write{Ack: at(m)})
	}
	return all
}

func TestOutagesAreToldOnce(t *testing.T) {
	g := &gaps{since: at(0)}
	for i, look := range []struct {
		writes []workload.Write
		now    int
		want   string
	}{
		{nil, 100, ""},
		{writes(20, 40), 250, ""},
		{writes(40, 400, 420), 500, "nothing was acknowledged for 360.0 ms"},
		{writes(420), 5400, ""},
		{writes(420), 5500, "nothing has been acknowledged for 5s, and nothing is yet"},
		{writes(420), 9000, ""},
		{nil, 20_000, ""},
		{writes(420, 21_420), 21_500, "nothing was acknowledged for 21000.0 ms"},
		{writes(21_420), 26_500, "nothing has been acknowledged for 5s"},
	} {
		got := g.look(look.writes, at(look.now))
		if (look.want == "") != (got == "") || !strings.HasPrefix(got, look.want) {
			t.Errorf("look %d: %q, want %q", i, got, look.want)
		}
	}
}

func TestStandingsAreToldOnce(t *testing.T) {
	k := topology.Key{Host: "db1", Port: 3306}
	s := standings{}
	for i, look := range []struct {
		status wire.NodeStatus
		role   wire.Role
		want   string
	}{
		{wire.NodeOK, wire.RoleMaster, ""},
		{wire.NodeUnreachable, wire.RoleDeposed, ""},
		{wire.NodeNonReplicating, wire.RoleDeposed, "db1:3306 is a former master, and waits to be rejoined"},
		{wire.NodeNonReplicating, wire.RoleDeposed, ""},
		{wire.NodeOK, wire.RoleReplica, "db1:3306 is a replica again"},
		{wire.NodeNonReplicating, wire.RoleReplica, ""},
		{wire.NodeUnreachable, wire.RoleReplica, ""},
		{wire.NodeOK, wire.RoleReplica, ""},
		{wire.NodeUnreachable, wire.RoleDeposed, ""}, // and rejoined before anybody looked again
		{wire.NodeOK, wire.RoleReplica, "db1:3306 is a replica again"},
		{wire.NodeUnreachable, wire.RoleQuarantined, ""},
		{
			wire.NodeNonReplicating, wire.RoleQuarantined,
			"db1:3306 is quarantined and stays out: it has transactions that the master lacks (0-1-7)",
		},
		{wire.NodeUnreachable, wire.RoleQuarantined, ""},
		{wire.NodeNonReplicating, wire.RoleQuarantined, ""},
	} {
		got := strings.Join(s.look([]wire.Node{{Key: k, Status: look.status, Role: look.role, Errant: "0-1-7"}}), "|")
		if got != look.want {
			t.Errorf("look %d: %q, want %q", i, got, look.want)
		}
	}
	if news := s.look(nil); len(news) > 0 {
		t.Errorf("%q", news)
	}
}

func TestMistakesAreUsageErrors(t *testing.T) {
	for _, line := range []string{"extra", "--flavor oracle", "--fault fire"} {
		c := Command()
		c.SilenceErrors, c.SilenceUsage = true, true
		c.SetArgs(strings.Fields(line))
		var usage *ctl.UsageError
		if err := c.ExecuteContext(t.Context()); !errors.As(err, &usage) || usage.ExitCode() != 2 {
			t.Errorf("%s: %v, want a usage error", line, err)
		}
	}
}

type brokenPipe struct{ writes int }

func (b *brokenPipe) Write([]byte) (int, error) {
	b.writes++
	return 0, errors.New("broken pipe")
}

func TestFirstFailureToWriteIsKept(t *testing.T) {
	pipe := &brokenPipe{}
	told := teller{out: pipe}
	told.print("one\n")
	told.print("two\n")
	if told.err == nil || pipe.writes != 1 {
		t.Errorf("error %v after %d writes, want one write and its error", told.err, pipe.writes)
	}
}
