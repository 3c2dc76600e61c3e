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
	"switchyard/store/ledger"
)

// TestDatacenterMarkedDown: leadership leaves a datacenter that an operator marks down, and leaves it again where raft
// elects one there; a master that crashes meanwhile is replaced by a server elsewhere.
func TestDatacenterMarkedDown(t *testing.T) {
	ctx, s := startSiteFor(t, 8*time.Minute, site.Options{Datacenters: &site.Datacenters{}})
	watch(t, s)
	elsewhere := func(ctx context.Context) error {
		leader, err := s.Leader(ctx)
		if err == nil && leader.ID == "c2" {
			err = errors.New("c2 leads")
		}
		return err
	}
	leads(t, ctx, s, "c2")
	said := command(t, ctx, s, "datacenters", "down", dc2, "--for", "1h", "--reason", "power works")
	if !strings.Contains(said, "dc2 is marked down until ") {
		t.Errorf("%s", said)
	}
	until(t, ctx, 60*time.Second, "leadership has left dc2", elsewhere)
	audited(t, ctx, s, "transfer-leader", "its datacenter dc2 is marked down by ")
	if said := command(t, ctx, s, "datacenters", "list"); !strings.Contains(said, "power works") {
		t.Errorf("%s", said)
	}

	until(t, ctx, 60*time.Second, "a server there is no candidate, and it is said why", func(ctx context.Context) error {
		e, err := s.Explain(ctx)
		if err != nil {
			return err
		}
		for _, c := range e.Candidates {
			if c.Key.String() == s.DB.Replicas[0].Key() && c.Place == 0 && strings.Contains(c.Reason, `its data center "dc2" is marked down: `) {
				return nil
			}
		}
		return fmt.Errorf("%+v", e.Candidates)
	})

	// Only c2 and one other are left to be elected.
	first, err := s.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, 90*time.Second, "the other one leads, whomever raft elected", func(ctx context.Context) error {
		leader, err := s.Leader(ctx)
		if err == nil && (leader == first || leader.ID == "c2") {
			err = fmt.Errorf("%s leads", leader.ID)
		}
		return err
	})
	if err := first.Start(ctx); err != nil {
		t.Fatal(err)
	}

	old, spared, winner := s.DB.Master, s.DB.Replicas[0], s.DB.Replicas[1]
	if err := old.Kill(); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, 90*time.Second, "the crashed master is replaced", func(ctx context.Context) error {
		list, err := s.Recoveries(ctx)
		if err == nil && (len(list) == 0 || list[0].Outcome != ledger.Completed) {
			err = fmt.Errorf("%+v", list)
		}
		return err
	})
	list, err := s.Recoveries(ctx)
	if err != nil || list[0].Winner.String() != winner.Key() {
		t.Errorf("the winner is %s, want %s and not %s, which is in dc2: %v", list[0].Winner, winner.Key(), spared.Key(), err)
	}
	if said := command(t, ctx, s, "datacenters", "up", dc2); !strings.Contains(said, "dc2 is no longer marked down") {
		t.Errorf("%s", said)
	}
	leads(t, ctx, s, "c2") // and may stay
}

// leads has a controller lead.
func leads(t *testing.T, ctx context.Context, s *site.Site, id string) {
	t.Helper()
	client, err := s.Client(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	until(t, ctx, 60*time.Second, id+" leads", func(ctx context.Context) error {
		if leader, err := s.Leader(ctx); err != nil || leader.ID == id {
			return err
		}
		var done wire.Done
		if err := client.Post(ctx, wire.PathTransferLeader, wire.TransferRequest{To: id}, &done); err != nil {
			return err
		}
		return errors.New("it was just handed over")
	})
}

// command runs one of the program's commands against the site.
func command(t *testing.T, ctx context.Context, s *site.Site, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var urls []string
	for _, c := range s.Controllers {
		urls = append(urls, c.URL)
	}
	out, err := exec.CommandContext(ctx, s.Binary(), append(args, "--api", strings.Join(urls, ","))...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// audited looks for an entry of the audit by its action and the beginning of its reason.
func audited(t *testing.T, ctx context.Context, s *site.Site, action, reason string) {
	t.Helper()
	until(t, ctx, 30*time.Second, "the audit tells of "+action, func(ctx context.Context) error {
		var page wire.Audit
		if err := s.Get(ctx, wire.PathAudit, &page); err != nil {
			return err
		}
		for _, e := range page.Entries {
			if e.Action == action && strings.HasPrefix(e.Reason, reason) {
				return nil
			}
		}
		return fmt.Errorf("%+v", page.Entries)
	})
}
