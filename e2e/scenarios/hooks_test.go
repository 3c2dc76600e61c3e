//go:build servers

package scenarios_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchyard/e2e/site"
	"switchyard/store/ledger"
)

// Hooks are told what happens, in their environment and in their arguments, and
// what they print is in the recovery's record.
func TestHooksAreTold(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	note := func(moment string) string {
		return fmt.Sprintf(`echo "%s {failureType} {failedHost} {failureCluster} '{successorHost}' $ORC_IS_SUCCESSFUL" | tee -a %s`, moment, log)
	}
	w := newWorld(t, site.Options{Extra: hooks(map[string]string{
		"on_failure_detection": note("detected"), "pre_failover": note("before"), "post_master_failover": note("after"),
		"post_failover": note("last"),
	})})
	old := w.Site.DB.Master
	w.must(old.Kill())
	rec, winner := w.recovered(ledger.Completed)
	until(t, w.ctx, 20*time.Second, "all four hooks have run", func(context.Context) error {
		text, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		want := fmt.Sprintf("detected DeadMaster %[1]s shop '' false\nbefore DeadMaster %[1]s shop '' false\n"+
			"after DeadMaster %[1]s shop '%[2]s' true\nlast DeadMaster %[1]s shop '%[2]s' true\n", old.Host(), winner.Host())
		if string(text) != want {
			return fmt.Errorf("they wrote\n%s\nwant\n%s", text, want)
		}
		return nil
	})
	until(t, w.ctx, 20*time.Second, "what they printed is recorded", func(ctx context.Context) error {
		again, err := w.Site.Recovery(ctx, rec.ID)
		if err != nil {
			return err
		}
		for _, step := range again.Steps {
			if strings.Contains(step.Note, "last DeadMaster "+old.Host()) {
				return nil
			}
		}
		return fmt.Errorf("%+v", again.Steps)
	})
	w.end(false, winner)
}

func hooks(commands map[string]string) string {
	var b strings.Builder
	b.WriteString("hooks:\n  timeout: 1s\n")
	for key, command := range commands {
		fmt.Fprintf(&b, "  %s: [%q]\n", key, command)
	}
	return b.String()
}

// A command before the failover that fails, or hangs, stops it: nothing is
// moved, nothing is blocked, and it is said. When it does not fail any more the
// recovery goes on.
func TestHookStopsTheRecovery(t *testing.T) {
	for name, command := range map[string]string{"fails": "test -e %s", "hangs": "test -e %s || sleep 600"} {
		t.Run(name, func(t *testing.T) {
			permit := filepath.Join(t.TempDir(), "permit")
			ctx, s := newSite(t, site.Options{Extra: hooks(map[string]string{"pre_failover": fmt.Sprintf(command, permit)})})
			if err := s.DB.Master.Kill(); err != nil {
				t.Fatal(err)
			}
			holds(t, ctx, s, "DeadMaster", "hook-failed", 20*time.Second)
			cluster, err := s.Cluster(ctx)
			if err != nil || cluster.Master.String() != s.DB.Master.Key() {
				t.Errorf("%+v, %v", cluster, err)
			}
			for _, replica := range s.DB.Replicas {
				if status, err := replica.ReplicaStatus(ctx); err != nil || status.SourceHost != s.DB.Master.Host() || status.SQL != "Yes" ||
					status.IO == "No" {
					t.Errorf("%s was touched: %+v, %v", replica.Key(), status, err)
				}
			}
			if name == "hangs" {
				return // it is tried again as one that fails is, after a while
			}
			if err := os.WriteFile(permit, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			until(t, ctx, 60*time.Second, "the recovery goes on", func(ctx context.Context) error {
				list, err := s.Recoveries(ctx)
				if err != nil {
					return err
				}
				if len(list) == 0 || list[0].Outcome != ledger.Completed {
					return fmt.Errorf("%+v", list)
				}
				return nil
			})
		})
	}
}

// A cluster's alias, or a host's name, reaches a shell as a value and never as
// a command, whatever quotes the operator chose.
func TestHooksCannotBeInjected(t *testing.T) {
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	w := newWorld(t, site.Options{Extra: hooks(map[string]string{
		"pre_failover": fmt.Sprintf(`printf '%%s|' {failureDescription} "{failureDescription}" '{failureDescription}' $(echo {failedHost}) >> %s`, trace),
	})})
	w.must(w.Site.DB.Master.Kill())
	_, winner := w.recovered(ledger.Completed)
	w.end(false, winner)
	text, err := os.ReadFile(trace)
	w.must(err)
	parts := strings.Split(strings.TrimSuffix(string(text), "|"), "|")
	if len(parts) != 4 || parts[0] != parts[1] || parts[1] != parts[2] || parts[0] == "" || parts[3] != w.Site.DB.Master.Host() {
		t.Errorf("%q", parts)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, errors.Join(err))
	}
}
