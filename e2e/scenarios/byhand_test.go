//go:build servers

package scenarios_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/store/ledger"
)

// hand is an operator at a terminal.
type hand struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // it is the test's
	s   *site.Site
}

// command runs one command line of the program, and returns what it printed and the status it ended with.
func (h hand) command(args ...string) (stdout, stderr string, status int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.ctx, 3*time.Minute)
	defer cancel()
	var urls []string
	for _, c := range h.s.Controllers {
		urls = append(urls, c.URL)
	}
	c := exec.CommandContext(ctx, h.s.Binary(), append(args, "--api", strings.Join(urls, ","), "--by", "kim")...)
	var out, bad strings.Builder
	c.Stdout, c.Stderr = &out, &bad
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	return out.String(), bad.String(), c.ProcessState.ExitCode()
}

// does runs a command that must succeed, and say something.
func (h hand) does(says string, args ...string) {
	h.t.Helper()
	out, bad, status := h.command(args...)
	if status != 0 || !strings.Contains(out, says) {
		h.t.Fatalf("%q ended with %d, and not with %q\n%s%s", args, status, says, out, bad)
	}
}

// isRefused runs a command that must be refused, for a reason.
func (h hand) isRefused(says string, args ...string) {
	h.t.Helper()
	out, bad, status := h.command(args...)
	if status != 1 || out != "" || !strings.Contains(bad, says) {
		h.t.Fatalf("%q ended with %d, and was not refused with %q\n%s%s", args, status, says, out, bad)
	}
}

// node waits until a server's place in the topology is as it should be.
func (h hand) node(server *stack.Server, what string, check func(wire.Node) bool) {
	h.t.Helper()
	until(h.t, h.ctx, 20*time.Second, server.Key()+" "+what, func(ctx context.Context) error {
		topology, err := h.s.Topology(ctx)
		if err != nil {
			return err
		}
		for _, n := range topology.Nodes {
			if n.Key.String() == server.Key() {
				if check(n) {
					return nil
				}
				return fmt.Errorf("it is %+v", n)
			}
		}
		return errors.New("it is not there")
	})
}

// audited reads the audit as an export.
func (h hand) audited() []ledger.AuditEntry {
	h.t.Helper()
	out, err := exec.CommandContext(h.ctx, h.s.Binary(), "audit", "--format", "jsonl", "--limit", "0", "--api", h.s.Controllers[0].URL).Output()
	if err != nil {
		h.t.Fatal(err)
	}
	var entries []ledger.AuditEntry
	for line := range strings.Lines(string(out)) {
		var e ledger.AuditEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			h.t.Fatalf("%v: %s", err, line)
		}
		entries = append(entries, e)
	}
	return entries
}

// What operators say and do by hand, on real servers: nothing of it is undone by the loop, what would harm is refused,
// and all of it is in the audit.
func TestByHand(t *testing.T) {
	for _, flavor := range []stack.Flavor{stack.MariaDB, stack.MySQL} {
		t.Run(string(flavor), func(t *testing.T) {
			ctx, s := newSite(t, site.Options{Flavor: flavor})
			h := hand{t, ctx, s}
			master, first, second := s.DB.Master, s.DB.Replicas[0], s.DB.Replicas[1]
			h.node(first, "follows the master", func(n wire.Node) bool { return n.Status == wire.NodeOK && n.Parent.String() == master.Key() })
			h.node(second, "follows the master", func(n wire.Node) bool { return n.Status == wire.NodeOK && n.Parent.String() == master.Key() })

			h.does("is in downtime until", "begin-downtime", first.Key(), "--duration", "2h", "--reason", "a new disk", "--owner", "dba")
			h.node(first, "is in downtime", func(n wire.Node) bool { return n.Downtime != nil && n.Downtime.Owner == "dba" && !n.Lost })
			h.does("has ended", "end-downtime", first.Key())
			h.does("is prefer until", "promotion-rule", second.Key(), "prefer", "--for", "1d")
			h.node(second, "is preferred", func(n wire.Node) bool { return n.Rule == "prefer" && n.RuleBy == "kim" && !n.RuleUntil.IsZero() })

			h.detachAndReattach(master, first)
			h.moveAround(master, first, second)
			h.readOnly(master, first)
			h.pausedFailure(master, second)

			did := map[string]bool{}
			for _, e := range h.audited() {
				if e.Kind == ledger.AuditOperator && e.By == "kim" {
					did[e.Action] = true
				}
			}
			for _, action := range []string{
				"begin-downtime", "end-downtime", "set-promotion-rule", "set-detached", "move", "set-read-only on", "set-read-only off",
				"pause-recoveries", "resume-recoveries", "recover", "ack-recovery",
			} {
				if !did[action] {
					t.Errorf("%s is not in the audit: %v", action, did)
				}
			}
		})
	}
}

// detachAndReattach: who is detached on purpose stays so.
func (h hand) detachAndReattach(master, replica *stack.Server) {
	h.t.Helper()
	detached := func(n wire.Node) bool {
		return n.DetachedFrom.String() == master.Key() && n.DetachedReason == "a test of restoring" && n.Status == wire.NodeNonReplicating
	}
	h.does("stays so until", "detach", replica.Key(), "--reason", "a test of restoring")
	h.node(replica, "is detached", detached)
	begun := time.Now()
	h.node(replica, "has stayed detached for three seconds", func(n wire.Node) bool {
		if !detached(n) {
			h.t.Fatalf("it was attached by itself: %+v", n)
		}
		return time.Since(begun) > 3*time.Second
	})
	h.does("is attached again", "reattach", replica.Key())
	h.node(replica, "replicates again", func(n wire.Node) bool { return n.DetachedFrom.IsZero() && n.Status == wire.NodeOK })
	follows(h.t, h.ctx, replica, master)
}

func (h hand) moveAround(master, replica, below *stack.Server) {
	h.t.Helper()
	h.isRefused("cannot replicate from itself", "move", replica.Key(), "--below", replica.Key())
	h.does("replicates from "+below.Key(), "move", replica.Key(), "--below", below.Key())
	h.node(replica, "is below "+below.Key(), func(n wire.Node) bool { return n.Parent.String() == below.Key() && n.Status == wire.NodeOK })
	follows(h.t, h.ctx, replica, below)
	h.does("replicates from "+master.Key(), "move", replica.Key(), "--below", master.Key())
	follows(h.t, h.ctx, replica, master)
}

// readOnly: only the master may be writable, and who made it read-only says when that ends.
func (h hand) readOnly(master, replica *stack.Server) {
	h.t.Helper()
	h.isRefused("nobody else may be writable", "set-read-only", replica.Key(), "--off", "--reason", "a mistake")
	h.does("is read-only now", "set-read-only", master.Key(), "--reason", "a schema change")
	holds(h.t, h.ctx, h.s, "NoWriteableMasterStructureWarning", "master-read-only", 20*time.Second)
	h.does("accepts writes now", "set-read-only", master.Key(), "--off", "--reason", "it is done")
	h.node(master, "is writable", func(n wire.Node) bool { return !n.ReadOnly })
}

// pausedFailure: while recoveries are paused a dead master is held for, and explained; asked for by hand it is replaced,
// by whom the operator prefers.
func (h hand) pausedFailure(master, preferred *stack.Server) {
	h.t.Helper()
	h.does("are paused", "pause", site.ClusterName, "--reason", "moving racks")
	h.isRefused("it answers", "recover", master.Key())
	if err := master.Kill(); err != nil {
		h.t.Fatal(err)
	}
	e := holds(h.t, h.ctx, h.s, "DeadMaster", "paused", 30*time.Second)
	if !strings.Contains(e.Summary, "moving racks") || e.Durability == "" || len(e.Plan) == 0 || len(e.Candidates) != 2 {
		h.t.Errorf("%+v", e)
	}
	h.isRefused("must be forced", "failover", site.ClusterName)
	h.does("completed", "recover", master.Key(), "--reason", "the rack is lost")
	list, err := h.s.Recoveries(h.ctx)
	if err != nil || len(list) != 1 {
		h.t.Fatalf("%v %+v", err, list)
	}
	if r := list[0]; r.By != "kim" || r.Automatic || r.Winner.String() != preferred.Key() || r.Durability == "" || r.Ack != nil {
		h.t.Errorf("%+v", r)
	}
	h.does("acknowledged: "+list[0].ID, "ack", "--cluster", site.ClusterName, "--comment", "as expected")
	h.does("are no longer paused", "resume", site.ClusterName)
	r, err := h.s.Recovery(h.ctx, list[0].ID)
	if err != nil || r.Ack == nil || r.Ack.By != "kim" || r.Ack.Comment != "as expected" {
		h.t.Errorf("%v %+v", err, r.Ack)
	}
	if err := master.Start(h.ctx); err != nil {
		h.t.Fatal(err)
	}
	follows(h.t, h.ctx, master, preferred)
}

// Where every choice would lose something nothing is done, not even by hand, but by force; and then the record says so.
func TestForcedByHand(t *testing.T) {
	ctx, s := newSite(t, site.Options{})
	h := hand{t, ctx, s}
	master, first, second := s.DB.Master, s.DB.Replicas[0], s.DB.Replicas[1]
	errant(t, ctx, first)
	errant(t, ctx, second)
	if err := master.Kill(); err != nil {
		t.Fatal(err)
	}
	holds(t, ctx, s, "DeadMaster", "incomparable-gtid", 20*time.Second)
	h.isRefused("any choice would lose transactions", "recover", master.Key())
	h.isRefused("incomparable-gtid", "failover", site.ClusterName)
	out, bad, status := h.command("failover", site.ClusterName, "--force", "--to", second.Key())
	if status != 2 || out != "" || !strings.Contains(bad, "--reason is missing") {
		t.Errorf("forced without a reason: %d\n%s%s", status, out, bad)
	}
	h.does("failover (forced)", "failover", site.ClusterName, "--force", "--to", second.Key(), "--reason", "it must go on")
	list, err := s.Recoveries(ctx)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v %+v", err, list)
	}
	r := list[0]
	if !r.Forced || r.Automatic || r.Winner.String() != second.Key() || r.Outcome != ledger.Completed {
		t.Errorf("%+v", r)
	}
	if value, err := second.Value(ctx, "SELECT @@global.read_only"); err != nil || value != "0" {
		t.Errorf("read_only is %s: %v", value, err)
	}
	// Who holds what the winner lacks is lost: detached, in downtime, with the reason.
	if len(r.Lost) != 1 || r.Lost[0].String() != first.Key() || !strings.Contains(r.Message, "it holds what the winner lacks") {
		t.Errorf("lost %v: %s", r.Lost, r.Message)
	}
	if status, err := first.ReplicaStatus(ctx); err != nil || status.Configured {
		t.Errorf("the lost replica replicates: %+v %v", status, err)
	}
	topology, err := s.Topology(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range topology.Nodes {
		if n.Key.String() == first.Key() && (!n.Lost || n.DetachedFrom.IsZero()) {
			t.Errorf("the lost replica is shown as %+v", n)
		}
	}
}
