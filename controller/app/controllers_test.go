package app

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/config"
	"switchyard/controller/ctl"
	"switchyard/store/ledger"
)

// three are the configurations of three controllers without a database server.
func three(t *testing.T) []*config.File {
	first := file(t, 3, "clusters: [{name: shop, seeds: ['127.0.0.1:1']}]\nlog: {level: error}\n")
	var all []*config.File
	for n, peer := range first.Controllers {
		c := *first
		c.ID, c.Datacenter, c.DataDir = peer.ID, peer.Datacenter, filepath.Join(t.TempDir(), fmt.Sprint(n))
		c.Bind.HTTP, c.Bind.Raft = first.Controllers[n].HTTP[len("http://"):], peer.Raft
		all = append(all, &c)
	}
	return all
}

// Three whole controllers are listed by each of them, hand leadership over when
// asked, at any door, and by themselves when the leader is stopped.
func TestControllersAreListedAndHandOver(t *testing.T) {
	t.Parallel()
	files := three(t)
	doors := map[string]*ctl.Client{}
	stops := map[string]func(){}
	for _, c := range files {
		wait, stop := run(t, c)
		stopped := false
		stops[c.ID] = func() {
			if stopped {
				return
			}
			stopped = true
			stop()
			if err := wait(); err != nil {
				t.Errorf("%s ended with %v", c.ID, err)
			}
		}
		defer stops[c.ID]()
		client, err := ctl.NewClient([]string{c.Self().HTTP}, patience)
		if err != nil {
			t.Fatal(err)
		}
		doors[c.ID] = client
	}
	list := func(at string) (all wire.Controllers) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := doors[at].Get(ctx, wire.PathControllers, &all); err != nil {
			return wire.Controllers{}
		}
		return all
	}
	complete := func(all wire.Controllers) bool {
		for _, c := range all.Controllers {
			if !c.Reachable || c.Role != wire.Voter || c.AppliedIndex == 0 || c.Problem != "" || c.Lag > 100 ||
				(c.LastContactMS == nil) != (c.ID == all.Leader) || (c.State == "leader") != (c.ID == all.Leader) {
				return false
			}
		}
		return all.Leader != "" && len(all.Controllers) == 3 && all.Voters == 3 && all.Answering == 3 && all.Majority == 2 &&
			len(all.Problems) == 0
	}
	var first string
	for _, c := range files {
		eventually(t, c.ID+" lists all", func() bool {
			all := list(c.ID)
			first = all.Leader
			return complete(all) && all.Controller == c.ID
		})
	}

	transfer := func(at, to string) (done wire.Done, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		err = doors[at].Post(ctx, wire.PathTransferLeader, wire.TransferRequest{
			To: to, Asker: wire.Asker{By: "kim", Reason: "a new rack"},
		}, &done)
		return done, err
	}
	// It may be given away again, or not be taken, where the machine is busy.
	var heir, third string
	eventually(t, "leadership is handed over", func() bool {
		if first = list(files[0].ID).Leader; first == "" {
			return false
		}
		heir, third = "", ""
		for _, c := range files {
			switch {
			case c.ID == first:
			case heir == "":
				heir = c.ID
			default:
				third = c.ID
			}
		}
		done, err := transfer(third, heir)
		if err != nil {
			t.Log(err)
		}
		if err != nil || !done.Changed || done.Sentence != fmt.Sprintf("%s leads now, in the place of %s", heir, first) {
			return false
		}
		for begun := time.Now(); time.Since(begun) < patience/4; time.Sleep(10 * time.Millisecond) {
			if all := list(first); complete(all) && all.Leader == heir {
				return true // all know it
			}
		}
		return false
	})
	eventually(t, "it leads already", func() bool { done, err := transfer(third, heir); return err == nil && !done.Changed })
	var audit wire.Audit
	if err := doors[heir].Get(t.Context(), wire.PathAudit+"?kind="+string(ledger.AuditOperator), &audit); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(audit.Entries, func(e ledger.AuditEntry) bool {
		return e.Action == "transfer-leader" && e.By == "kim" && e.Evidence[0] == "from "+first+" to "+heir
	}) {
		t.Errorf("%+v", audit.Entries)
	}

	began := time.Now()
	stops[heir]()
	eventually(t, "another one leads", func() bool { all := list(third); return all.Leader != "" && all.Leader != heir && all.Answering == 2 })
	t.Logf("another one led %s after the leader was asked to end", time.Since(began))
}
