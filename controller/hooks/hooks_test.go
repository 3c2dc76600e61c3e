package hooks_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"switchyard/controller/hooks"
	"switchyard/controller/topology"
)

// patience bounds what comes sooner; it is only used up by failures.
const patience = 90 * time.Second

func facts() hooks.Facts {
	return hooks.Facts{
		FailureType: "DeadMaster", InstanceType: "master", FailureDescription: "nobody can; reach $(it) and \"all\" say so",
		Command: "force-master-failover", Failed: topology.Key{Host: "db1.example", Port: 3306}, Cluster: "shop", ClusterAlias: "shop-eu",
		Replicas: []topology.Key{{Host: "db2.example", Port: 3306}, {Host: "2001:db8::3", Port: 3307}},
		Lost:     []topology.Key{{Host: "db4.example", Port: 3306}}, AutoMaster: true, Controller: "c1", Recovery: "shop-7", Successful: true,
		Successor: topology.Key{Host: "db2.example", Port: 3306}, SuccessorAlias: "eu-2", SuccessorPosition: "mysql-bin.000042:1234",
	}
}

// run runs commands at a moment with a timeout.
func run(t *testing.T, m hooks.Moment, timeout time.Duration, f hooks.Facts, commands ...string) ([]hooks.Result, error) {
	t.Helper()
	h := hooks.New(hooks.Config{
		Commands: map[hooks.Moment][]string{m: commands}, Timeout: timeout, Environment: hooks.Inherit(os.LookupEnv),
	}, slog.New(slog.DiscardHandler))
	return h.Run(t.Context(), m, f)
}

// prints runs one command and returns its output.
func prints(t *testing.T, f hooks.Facts, command string) string {
	t.Helper()
	results, err := run(t, hooks.PostFailover, 0, f, command)
	if err != nil || len(results) != 1 || results[0].Err != nil {
		t.Fatalf("%s: %+v, %v", command, results, err)
	}
	return results[0].Output
}

func TestEveryPlaceholderAndVariable(t *testing.T) {
	lost := "db4.example:3306"
	all := "db2.example:3306,[2001:db8::3]:3307"
	spaced := "nobody can  reach   it  and  all  say so"
	for _, tc := range []struct{ placeholder, variable, want, successorless string }{
		{"failureType", "FAILURE_TYPE", "DeadMaster", "DeadMaster"},
		{"instanceType", "INSTANCE_TYPE", "master", "master"},
		{"isMaster", "IS_MASTER", "true", "true"},
		{"isCoMaster", "IS_CO_MASTER", "false", "false"},
		{"failureDescription", "", spaced, spaced},
		{"command", "COMMAND", "force-master-failover", "force-master-failover"},
		{"failedHost", "FAILED_HOST", "db1.example", "db1.example"},
		{"failedPort", "FAILED_PORT", "3306", "3306"},
		{"failureCluster", "FAILURE_CLUSTER", "shop", "shop"},
		{"failureClusterAlias", "FAILURE_CLUSTER_ALIAS", "shop-eu", "shop-eu"},
		{"failureClusterDomain", "FAILURE_CLUSTER_DOMAIN", "", ""},
		{"countSlaves", "COUNT_REPLICAS", "2", "2"},
		{"countReplicas", "COUNT_REPLICAS", "2", "2"},
		{"isDowntimed", "IS_DOWNTIMED", "false", "false"},
		{"autoMasterRecovery", "AUTO_MASTER_RECOVERY", "true", "true"},
		{"autoIntermediateMasterRecovery", "AUTO_INTERMEDIATE_MASTER_RECOVERY", "false", "false"},
		{"orchestratorHost", "ORCHESTRATOR_HOST", "c1", "c1"},
		{"recoveryUID", "RECOVERY_UID", "shop-7", "shop-7"},
		{"isSuccessful", "IS_SUCCESSFUL", "true", "true"},
		{"lostSlaves", "LOST_REPLICAS", lost, lost},
		{"lostReplicas", "LOST_REPLICAS", lost, lost},
		{"countLostReplicas", "COUNT_LOST_REPLICAS", "1", "1"},
		{"slaveHosts", "REPLICA_HOSTS", all, all},
		{"replicaHosts", "REPLICA_HOSTS", all, all},
		{"successorHost", "SUCCESSOR_HOST", "db2.example", ""},
		{"successorPort", "SUCCESSOR_PORT", "3306", ""},
		{"successorBinlogCoordinates", "SUCCESSOR_BINLOG_COORDINATES", "mysql-bin.000042:1234", ""},
		{"successorAlias", "SUCCESSOR_ALIAS", "eu-2", ""},
	} {
		without := facts()
		without.Successor = topology.Key{}
		for want, f := range map[string]hooks.Facts{tc.want: facts(), tc.successorless: without} {
			command := "printf '<%s>' {" + tc.placeholder + "}"
			if tc.variable != "" {
				command = fmt.Sprintf(`set -u; [ "$ORC_%s" = "$SWITCHYARD_%s" ]; printf '<%%s>' {%s}; [ "$ORC_%s" = {%s} ]`,
					tc.variable, tc.variable, tc.placeholder, tc.variable, tc.placeholder)
			}
			if got := prints(t, f, command); got != "<"+want+">" {
				t.Errorf("%s: printed %s, want <%s>", tc.placeholder, got, want)
			}
		}
	}
	if got := prints(t, facts(), `printf %s "$ORC_FAILURE_DESCRIPTION"`); got != facts().FailureDescription {
		t.Errorf("the description in the environment is %q", got)
	}
}

func TestTheEnvironmentIsCleanAndSmall(t *testing.T) {
	t.Setenv("SWITCHYARD_SECRET", "hush-4711")
	t.Setenv("SWITCHYARD_MYSQL_PASSWORD", "hush-4711")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hush-4711")
	t.Setenv("LANG", "C.UTF-8")
	got := prints(t, facts(), "env")
	if strings.Contains(got, "hush-4711") || !strings.Contains(got, "LANG=C.UTF-8") || !strings.Contains(got, "PATH=") ||
		!strings.Contains(got, "SWITCHYARD_MOMENT=PostFailover") {
		t.Errorf("the environment is\n%s", got)
	}
	for line := range strings.Lines(got) {
		name, _, _ := strings.Cut(line, "=")
		switch {
		case strings.HasPrefix(name, "ORC_"), strings.HasPrefix(name, "SWITCHYARD_"):
		case name == "PATH", name == "HOME", name == "LANG", name == "PWD", name == "_", name == "SHLVL", name == "OLDPWD":
		default:
			t.Errorf("a hook is given %s", line)
		}
	}
	if path := hooks.Inherit(func(string) (string, bool) { return "", false })["PATH"]; !strings.Contains(path, "/usr/bin") {
		t.Errorf("without a PATH of ours, theirs is %q", path)
	}
}

func TestVetoStopsTheListAndElsewhereItGoesOn(t *testing.T) {
	for _, m := range []hooks.Moment{
		hooks.OnFailureDetection, hooks.PreGracefulTakeover, hooks.PreFailover, hooks.PostTakeMaster, hooks.PostMasterFailover,
		hooks.PostIntermediateMasterFailover, hooks.PostFailover, hooks.PostUnsuccessfulFailover, hooks.PostGracefulTakeover,
	} {
		results, err := run(t, m, 0, facts(), "echo one", "echo two; echo three >&2; exit 3", "echo four")
		if m.Vetoes() {
			if err == nil || !strings.Contains(err.Error(), string(m)+" hook 2 of 3: it ended with exit code 3") || len(results) != 2 {
				t.Errorf("%s: %+v, %v", m, results, err)
			}
			continue
		}
		if err != nil || len(results) != 3 || results[2].Output != "four" || results[2].Err != nil || results[0].Err != nil {
			t.Errorf("%s: %+v, %v", m, results, err)
			continue
		}
		if r := results[1]; r.Err == nil || r.Output != "two\nthree" || !strings.HasPrefix(r.Command, "echo two") {
			t.Errorf("%s: %+v", m, r)
		}
	}
	if results, err := run(t, hooks.PreFailover, 0, facts()); err != nil || results != nil {
		t.Errorf("no hooks at all: %v, %v", results, err)
	}
}

func TestTimesAreTheClocks(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	h := hooks.New(hooks.Config{
		Commands: map[hooks.Moment][]string{hooks.PreFailover: {"true"}},
		Now:      func() time.Time { now = now.Add(time.Second); return now },
	}, slog.New(slog.DiscardHandler))
	results, err := h.Run(t.Context(), hooks.PreFailover, facts())
	if err != nil || results[0].Ended.Sub(results[0].Begun) != time.Second {
		t.Fatalf("%+v, %v", results, err)
	}
}

func TestHowACommandEnds(t *testing.T) {
	for _, tc := range []struct{ command, want string }{
		{"exit 7", "it ended with exit code 7"},
		{"kill -KILL $$", "it failed: signal: killed"},
		{"/no/such/program", "it ended with exit code 127"},
		{"echo {nobody}", "there is no placeholder {nobody}"},
		{"-x", "it ended with exit code 127"},
	} {
		results, err := run(t, hooks.PostFailover, 0, facts(), tc.command)
		if err != nil || len(results) != 1 || results[0].Err == nil || !strings.Contains(results[0].Err.Error(), tc.want) {
			t.Errorf("%s: %+v, %v", tc.command, results, err)
		}
	}
	h := hooks.New(hooks.Config{
		Commands: map[hooks.Moment][]string{hooks.PreFailover: {"true"}}, Shell: "/no/such/shell",
	}, slog.New(slog.DiscardHandler))
	if _, err := h.Run(t.Context(), hooks.PreFailover, facts()); err == nil || !strings.Contains(err.Error(), "cannot be started") {
		t.Errorf("no shell: %v", err)
	}
}

// processes tells the pids that a script wrote into a file, and whether they run.
func running(t *testing.T, path string) (alive, all int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		all++
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		// What nobody has reaped yet does not run either.
		if err == nil && !strings.Contains(string(stat), ") Z ") && syscall.Kill(pid, 0) == nil {
			alive++
		}
	}
	return alive, all
}

func gone(t *testing.T, path string, want int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		alive, all := running(t, path)
		if alive == 0 && all == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d processes still run, want %d, none of them", alive, all, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestAHookThatHangsIsKilledWithAllItStarted(t *testing.T) {
	for name, command := range map[string]string{
		"hangs":               `echo $$ >PIDS; echo begun; sleep 300`,
		"ignores SIGTERM":     `trap "" TERM; echo $$ >PIDS; echo begun; while true; do sleep 300; done`,
		"leaves a child":      `sleep 300 & echo $! >PIDS; echo begun`,
		"leaves a stubborn":   `sh -c 'trap "" TERM; while true; do sleep 300; done' & echo $! >PIDS; echo begun`,
		"waits for its child": `sleep 300 & echo $! >PIDS; echo begun; wait`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pids := filepath.Join(t.TempDir(), "pids")
			command := strings.ReplaceAll(command, "PIDS", pids)
			// The second command shows that the list goes on afterwards.
			results, err := run(t, hooks.PostFailover, 4*time.Second, facts(), command, "echo next")
			if err != nil || len(results) != 2 || results[1].Output != "next" {
				t.Fatalf("%+v, %v", results, err)
			}
			r := results[0]
			if r.Err == nil || !strings.Contains(r.Err.Error(), "did not end within 4s and was killed") || r.Output != "begun" {
				t.Fatalf("%+v", r)
			}
			if strings.HasPrefix(name, "leaves") != strings.Contains(r.Err.Error(), "left processes behind") {
				t.Fatalf("%v", r.Err)
			}
			gone(t, pids, 1)
		})
	}
}

// One that left the process group and holds the output is not reached by a
// signal, and must not hold us.
func TestAHookWhoseGrandchildHasLeft(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	command := `setsid sh -c 'echo $$ >` + pids + `.new; mv ` + pids + `.new ` + pids + `; exec sleep 300' &
		while ! [ -e ` + pids + ` ]; do sleep 0.01; done; echo begun`
	ended := make(chan hooks.Result, 1)
	go func() {
		results, _ := run(t, hooks.PostFailover, 4*time.Second, facts(), command)
		ended <- results[0]
	}()
	select {
	case r := <-ended:
		if r.Err == nil || r.Output != "begun" {
			t.Errorf("%+v", r)
		}
	case <-time.After(patience):
		t.Error("the hook holds us")
	}
	if alive, all := running(t, pids); alive != 1 || all != 1 {
		t.Fatalf("%d of %d run", alive, all)
	}
	text, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 2 {
		t.Fatal(pid, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

// A background process that does not hold the output is not waited for, and is
// left alone.
func TestADetachedProcessIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	done := filepath.Join(dir, "done")
	results, err := run(t, hooks.PreFailover, patience, facts(),
		`(while ! [ -e `+dir+`/go ]; do sleep 0.01; done; echo x >`+done+`) >/dev/null 2>&1 & echo begun`)
	if err != nil || results[0].Output != "begun" {
		t.Fatalf("%+v, %v", results, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for {
		if _, err := os.Stat(done); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it was killed")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestTheCallersEndKillsTheHook(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	ctx, cancel := context.WithCancel(t.Context())
	h := hooks.New(hooks.Config{Commands: map[hooks.Moment][]string{
		hooks.PreFailover: {`echo $$ >` + pids + `.new; mv ` + pids + `.new ` + pids + `; sleep 300`, "true"},
	}, Environment: hooks.Inherit(os.LookupEnv)}, slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() {
		_, err := h.Run(ctx, hooks.PreFailover, facts())
		ended <- err
	}()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(pids); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the hook did not begin")
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "it was killed") {
		t.Fatal(err)
	}
	gone(t, pids, 1)
	if results, err := h.Run(ctx, hooks.PreFailover, facts()); !errors.Is(err, context.Canceled) || len(results) != 1 {
		t.Fatalf("after the end: %+v, %v", results, err)
	}
}

func TestOutputIsCutAndIsText(t *testing.T) {
	results, err := run(t, hooks.PreFailover, 0, facts(),
		`echo first; i=0; while [ $i -lt 20000 ]; do echo "line $i of many"; i=$((i+1)); done; printf '\377last\n'`)
	if err != nil {
		t.Fatal(err)
	}
	got := results[0].Output
	if len(got) > 8<<10 || len(got) < 7<<10 || !strings.HasPrefix(got, "first\nline 0 of") || !strings.HasSuffix(got, "19999 of many\n?last") ||
		!strings.Contains(got, "[...]") {
		t.Fatalf("%d bytes, %.20q to %q", len(got), got, got[max(len(got)-30, 0):])
	}
	short := strings.Repeat("x", 8000)
	if got := prints(t, facts(), "printf %s "+short); got != short {
		t.Fatalf("%d bytes of 8000 are left", len(got))
	}
}

// Names that a server gives itself reach no shell, in whatever way the operator
// has quoted them, and not even through a shell on another host.
func TestHostileNamesAreRefused(t *testing.T) {
	dir := t.TempDir()
	mark := filepath.Join(dir, "x")
	set := map[string]func(*hooks.Facts, string){
		"the failed host":       func(f *hooks.Facts, name string) { f.Failed.Host = name },
		"the cluster":           func(f *hooks.Facts, name string) { f.Cluster = name },
		"the cluster's alias":   func(f *hooks.Facts, name string) { f.ClusterAlias = name },
		"the successor's host":  func(f *hooks.Facts, name string) { f.Successor.Host = name },
		"the successor's alias": func(f *hooks.Facts, name string) { f.SuccessorAlias = name },
		"a replica's host":      func(f *hooks.Facts, name string) { f.Replicas[1].Host = name },
	}
	commands := []string{
		"echo {failedHost} {successorHost} {failureCluster}", `echo "{failedHost}"`, "echo '{replicaHosts}'", "echo `echo {failedHost}`",
		`sh -c "echo {failedHost} {replicaHosts} {failureClusterAlias} {successorAlias}"`, `sh -c 'echo {failedHost} {successorHost}'`,
		`eval "echo $ORC_FAILED_HOST $ORC_REPLICA_HOSTS $ORC_FAILURE_CLUSTER"`, "echo nothing",
	}
	for _, name := range []string{
		"a;touch " + mark, "$(touch " + mark + ")", "`touch " + mark + "`", "a'; touch " + mark + "; '", `a"; touch ` + mark + `; "`,
		"a|touch " + mark, "a&touch " + mark, "a\ntouch " + mark, "a b", "*", "a\\", "$IFS", "-oProxyCommand", "é",
	} {
		for what, change := range set {
			f := facts()
			change(&f, name)
			results, err := run(t, hooks.PostFailover, 0, f, commands...)
			if err != nil || len(results) != len(commands) {
				t.Fatalf("%+v, %v", results, err)
			}
			for _, r := range results {
				if r.Err == nil || !strings.Contains(r.Err.Error(), what) || !strings.Contains(r.Err.Error(), "was not run") || r.Output != "" {
					t.Errorf("%s %q: %s: %q, %v", what, name, r.Command, r.Output, r.Err)
				}
			}
			if _, err := run(t, hooks.PreFailover, 0, f, "true"); err == nil {
				t.Errorf("%s %q: no veto", what, name)
			}
		}
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a name was run")
	}
}

// Text from servers' errors is no name: it is handed on, harmless as a
// placeholder, and whole in the environment.
func TestHostileTextIsHarmless(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "x")
	f := facts()
	f.FailureDescription = "-n ; touch " + mark + " `touch " + mark + "` $(touch " + mark + ") 'x' \"y\" \x00 end"
	f.SuccessorPosition = "bin.1;touch " + mark + ":7"
	for _, command := range []string{
		"echo {failureDescription}", `echo "{failureDescription}"`, "echo '{failureDescription}'", "sh -c 'echo {failureDescription}'",
		`sh -c "echo {failureDescription} {successorBinlogCoordinates}"`, `echo "$ORC_FAILURE_DESCRIPTION" end`,
	} {
		if got := prints(t, f, command); !strings.Contains(got, " end") || strings.HasPrefix(got, "-n") && strings.Contains(command, "{") {
			t.Errorf("%s: printed %q", command, got)
		}
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a text was run")
	}
}
