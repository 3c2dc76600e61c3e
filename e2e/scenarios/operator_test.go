//go:build servers

package scenarios_test

import (
	"context"
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

// node is what the topology says of a server.
func node(ctx context.Context, s *site.Site, server *stack.Server) (wire.Node, error) {
	topology, err := s.Topology(ctx)
	if err != nil {
		return wire.Node{}, err
	}
	for _, n := range topology.Nodes {
		if n.Key.String() == server.Key() {
			return n, nil
		}
	}
	return wire.Node{}, fmt.Errorf("%s is not in the topology", server.Key())
}

// count is how many recoveries there were.
func (h hand) count() int {
	h.t.Helper()
	list, err := h.s.Recoveries(h.ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	return len(list)
}

// held waits until the leader holds a finding for a reason, and sees that no recovery begins for a second.
func (h hand) held(finding, reason string, before int) {
	h.t.Helper()
	until(h.t, h.ctx, 20*time.Second, "the leader holds with "+reason, func(ctx context.Context) error {
		e, err := h.s.Explain(ctx)
		if err == nil && (e.Finding != finding || e.Verdict != wire.Hold || e.Reason != reason) {
			err = fmt.Errorf("%s %s %s: %s", e.Finding, e.Verdict, e.Reason, e.ReasonSentence)
		}
		return err
	})
	begun := time.Now()
	until(h.t, h.ctx, 10*time.Second, "the leader has held for a second", func(context.Context) error {
		if now := h.count(); now != before {
			h.t.Fatalf("must hold with %s, and began a recovery: %d, before %d", reason, now, before)
		}
		if time.Since(begun) < time.Second {
			return errors.New("not yet")
		}
		return nil
	})
}

// promoted waits until the recovery after so many has completed, and returns the new master.
func (h hand) promoted(before int) (wire.Recovery, *stack.Server) {
	h.t.Helper()
	var rec wire.Recovery
	until(h.t, h.ctx, 30*time.Second, "a recovery has completed", func(ctx context.Context) error {
		list, err := h.s.Recoveries(ctx)
		if err != nil {
			return err
		}
		if len(list) <= before || list[0].Outcome != ledger.Completed {
			e, err := h.s.Explain(ctx)
			return fmt.Errorf("%d recoveries; the leader says: %s %s (%v)", len(list), e.Verdict, e.ReasonSentence, err)
		}
		rec = list[0]
		return nil
	})
	winner, err := h.s.Server(rec.Winner.String())
	if err != nil {
		h.t.Fatal(err)
	}
	return rec, winner
}

func (h hand) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// back starts a server that was killed, and waits until it follows the master again.
func (h hand) back(server, master *stack.Server) {
	h.t.Helper()
	h.must(server.Start(h.ctx))
	follows(h.t, h.ctx, server, master)
	until(h.t, h.ctx, 20*time.Second, server.Key()+" is a member again", func(ctx context.Context) error {
		return standing(ctx, h.s, server, string(wire.RoleReplica))
	})
}

// What a person says with the program is heeded: each word that holds a recovery back has another that lets it go. The
// audit has all of them, with who and why.
func TestWordsOfOperators(t *testing.T) {
	ctx, s := newSite(t, site.Options{})
	h := hand{t, ctx, s}
	first, unwanted := s.DB.Master, s.DB.Replicas[0]
	h.does("is must_not until", "promotion-rule", unwanted.Key(), "must_not", "--for", "1h", "--reason", "its disk is slow")
	h.does("", "begin-downtime", first.Key(), "--duration", "10m", "--owner", "bob", "--reason", "new memory")
	h.does("are paused", "pause", "--reason", "a migration")
	h.must(first.Kill())
	h.held("DeadMaster", "paused", 0)
	h.does("are no longer paused", "resume", "--reason", "migrated")
	h.held("DeadMaster", "downtimed", 0)
	h.node(first, "is shown in downtime", func(n wire.Node) bool {
		return n.Downtime != nil && n.Downtime.Owner == "bob" && n.Downtime.Reason == "new memory"
	})
	h.does("has ended", "end-downtime", first.Key(), "--reason", "it is in")
	_, second := h.promoted(0)
	if second == unwanted {
		t.Errorf("%s was promoted, which nobody wanted", second.Key())
	}

	// An automatic recovery of a master holds the next one back until somebody has looked.
	h.back(first, second)
	h.must(second.Kill())
	h.held("DeadMaster", "anti-flap", 1)
	h.does("acknowledged", "ack", "--cluster", site.ClusterName, "--comment", "a bad disk")
	_, third := h.promoted(1)
	h.back(second, third)

	// Who asks is not held back by it.
	h.must(third.Kill())
	h.held("DeadMaster", "anti-flap", 2)
	h.does("completed", "recover", third.Key(), "--reason", "it is urgent")
	rec, fourth := h.promoted(2)
	if rec.Automatic || rec.By != "kim" {
		t.Errorf("%+v", rec)
	}
	h.back(third, fourth)

	h.does("failover (forced)", "failover", site.ClusterName, "--force", "--to", third.Key(), "--reason", "smoke")
	if rec, fifth := h.promoted(3); !rec.Forced || fifth != third {
		t.Errorf("%+v", rec)
	}
	// It lived, and could have written: it is fenced, and compared.
	until(t, ctx, 60*time.Second, "the old master is rejoined or quarantined", func(ctx context.Context) error {
		return standing(ctx, s, fourth, string(wire.RoleReplica), string(wire.RoleQuarantined))
	})
	h.toldWhy(map[string]string{
		"pause-recoveries": "a migration", "resume-recoveries": "migrated", "begin-downtime": "new memory", "end-downtime": "it is in",
		"set-promotion-rule": "its disk is slow", "ack-recovery": "a bad disk", "claim-recovery": "it is urgent",
	})
}

// toldWhy checks that the audit has a reason for each action, and shows all of them.
func (h hand) toldWhy(want map[string]string) {
	h.t.Helper()
	why := map[string][]string{}
	for _, e := range h.audited() {
		if e.Kind == ledger.AuditOperator && e.By == "kim" {
			why[e.Action] = append(append(why[e.Action], e.Reason), e.Evidence...)
		}
	}
	program := exec.CommandContext(h.ctx, h.s.Binary(), "audit", "--kind", string(ledger.AuditOperator), "--limit", "0",
		"--api", h.s.Controllers[0].URL)
	table, err := program.Output()
	h.must(err)
	shown := string(table)
	for action, reason := range want {
		if !mentions(why[action], reason) || !strings.Contains(shown, reason) {
			h.t.Errorf("%s: %q is not the reason in the audit: %q\n%s", action, reason, why[action], shown)
		}
	}
}

// What crashes masters may follow the mastership: after two crashes in a row the third one waits for a person.
func TestCascade(t *testing.T) {
	ctx, s := newSite(t, site.Options{Recovery: "{clusters: ['*'], anti_flap: 1ms, cascade: {limit: 2, window: 1h}}"})
	h := hand{t, ctx, s}
	master := s.DB.Master
	for crashed := range 2 {
		h.must(master.Kill())
		_, winner := h.promoted(crashed)
		h.back(master, winner)
		master = winner
	}
	h.must(master.Kill())
	h.held("DeadMaster", "cascade", 2)
	h.does("acknowledged", "ack", "--cluster", site.ClusterName, "--comment", "a query of death, gone now")
	h.promoted(2)
}
