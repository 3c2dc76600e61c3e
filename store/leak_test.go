package store

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// stacks returns the goroutines of this package and of raft by their numbers.
func stacks() map[string]string {
	text := make([]byte, 4<<20)
	found := map[string]string{}
	for _, stack := range strings.Split(string(text[:runtime.Stack(text, true)]), "\n\n") {
		own := strings.Contains(stack, "switchyard/store.") && !strings.Contains(stack, "store.TestNothing")
		if own || strings.Contains(stack, "hashicorp/raft") {
			number, _, _ := strings.Cut(stack, " [")
			found[number] = stack
		}
	}
	return found
}

// TestNothingIsPipelined: raft's pipelines outlive a leader that steps down while
// they are full, and then raft never ends.
func TestNothingIsPipelined(t *testing.T) {
	all := openAll(t, configs(t, 3))
	to := all[1].cfg
	_, err := all[0].transport.AppendEntriesPipeline(raft.ServerID(to.ID), raft.ServerAddress(to.Advertise))
	if !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
		t.Errorf("raft pipelines: %v", err)
	}
}

// TestNothingIsLeftRunning looks for goroutines after an orderly end, of which
// one comes while a command has no majority. (Raft leaves what is in its queue
// unanswered when it ends abruptly; those before this test are not counted.)
func TestNothingIsLeftRunning(t *testing.T) {
	before := stacks()
	cfgs := configs(t, 3)
	all := openAll(t, cfgs)
	lead := leader(t, all...)
	propose(t, lead, adopt(1))
	for _, s := range others(all, lead) {
		closeNow(t, s)
	}
	pending := lead.ProposeAsync(bounded(t), adopt(2))
	closeNow(t, lead)
	if err := <-pending; err == nil {
		t.Error("a command without a majority succeeded")
	}
	var left map[string]string
	defer func() {
		for _, stack := range left {
			t.Logf("left: %s", stack)
		}
	}()
	eventually(t, "all goroutines end", func() bool {
		left = stacks()
		for number := range before {
			delete(left, number)
		}
		return len(left) == 0
	})
}
