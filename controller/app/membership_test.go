package app

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/call"
	"switchyard/controller/adminapi/wire"
	"switchyard/controller/config"
	"switchyard/e2e/ports"
)

// joiner is the configuration of one more controller beside those of files.
func joiner(t *testing.T, files []*config.File, id string) *config.File {
	t.Helper()
	addresses := ports.Free(t, 2)
	c := *files[0]
	c.ID, c.Join, c.DataDir = id, true, filepath.Join(t.TempDir(), id)
	c.Controllers = append(slices.Clone(c.Controllers), config.Controller{
		ID: id, Raft: addresses[0], HTTP: "http://" + addresses[1], Datacenter: c.Datacenter,
	})
	c.Bind.Raft, c.Bind.HTTP = addresses[0], addresses[1]
	return &c
}

// A controller is added at any door, the leader is removed, and the one that came
// carries what the others ask for to whoever leads.
func TestControllerIsReplacedByCommand(t *testing.T) {
	t.Parallel()
	files := three(t)
	files = append(files, joiner(t, files, "c4"))
	all := map[string]*whole{}
	for _, c := range files {
		// Else a removal would wait for the longest lease.
		c.Sidecars.Lease, c.Sidecars.Fence = 200*time.Millisecond, 100*time.Millisecond
		all[c.ID] = startWhole(t, c)
		defer func() { all[c.ID].stop() }()
	}
	post := func(at, path string, request, answer any) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return all[at].door.Post(ctx, path, request, answer)
	}
	kim := wire.Asker{By: "kim", Reason: "a new rack"}
	change := func(at string, request wire.ControllersRequest) {
		t.Helper()
		request.Asker = kim
		var done wire.Done
		eventually(t, "the leader takes it", func() bool {
			err := post(at, wire.PathChangeControllers, request, &done)
			if err != nil {
				t.Log(err)
			}
			return err == nil && done.Changed
		})
	}
	// ready asks as a load balancer does.
	ready := func(id string) (bool, string) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		reply, err := call.Do(ctx, call.Request{Method: "GET", URL: all[id].file.Self().HTTP + wire.PathReady, MaxReply: 1 << 16})
		if err != nil {
			return false, err.Error()
		}
		return reply.Status == 200, string(reply.Body)
	}
	unready := func(id, why string) {
		t.Helper()
		eventually(t, id+" is not ready", func() bool {
			ok, text := ready(id)
			return !ok && strings.Contains(text, why)
		})
	}
	// voting waits until some controller's list has exactly these voters, that answer.
	voting := func(at string, voters ...string) (found wire.Controllers) {
		t.Helper()
		eventually(t, fmt.Sprintf("%v vote, by %s", voters, at), func() bool {
			found = all[at].list()
			var got []string
			for _, c := range found.Controllers {
				if c.Role == wire.Voter && c.Reachable {
					got = append(got, c.ID)
				}
			}
			return found.Leader != "" && found.Change == nil && slices.Equal(slices.Sorted(slices.Values(got)), voters) &&
				len(found.Controllers) == len(voters) && len(found.Problems) == 0
		})
		return found
	}
	voting("c1", "c1", "c2", "c3")
	unready("c4", "waits to be added")
	four := files[3].Self()
	change("c2", wire.ControllersRequest{Change: wire.AddController, ID: "c4", Raft: four.Raft, API: four.HTTP, DataCenter: "dc4"})
	leader := voting("c3", "c1", "c2", "c3", "c4").Leader
	eventually(t, "c4 is ready", func() bool { ok, _ := ready("c4"); return ok })

	change("c4", wire.ControllersRequest{Change: wire.RemoveController, ID: leader})
	rest := slices.DeleteFunc([]string{"c1", "c2", "c3", "c4"}, func(id string) bool { return id == leader })
	for _, id := range rest {
		if now := voting(id, rest...); now.Leader == leader || now.Set < 5 {
			t.Errorf("by %s: %+v", id, now)
		}
	}
	unready(leader, "was removed")

	// Whoever comes to c4's door is taken to the leader, by the ledger's addresses.
	var done wire.Done
	eventually(t, "c4 carries a command to the leader", func() bool {
		return post("c4", wire.PathPause, wire.PauseRequest{Asker: kim}, &done) == nil
	})
	var audit wire.Audit
	if err := all["c4"].get(wire.PathAudit+"?kind=operator", &audit); err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, e := range audit.Entries {
		if strings.HasSuffix(e.Action, "-controller") && e.By == "kim" {
			actions = append(actions, e.Action+" "+e.Outcome)
		}
	}
	slices.Sort(actions)
	if want := []string{"add-controller ", "add-controller done", "add-controller going on", "remove-controller ", "remove-controller done"}; !slices.Equal(actions, want) {
		t.Errorf("the audit has %q, want %q", actions, want)
	}
}
