//go:build servers

package quorum_test

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A controller whose clock is set goes by that one, forth and back, and nothing else does; one that starts anew on the same
// machine finds it as it was set.
func TestAControllersOwnClock(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	s := newStory(ctx, t, build(ctx, t), 1, 1, 0)
	n := s.nodes[0]
	if !s.progresses(ctx, "begin", s.nodes) {
		t.Fatal(s.record.violations)
	}
	const far = time.Hour
	pid := n.process.Pid()
	off := func(when string, by time.Duration) {
		t.Helper()
		if !s.progresses(ctx, when, s.nodes) {
			t.Fatal(s.record.violations)
		}
		_, state, err := s.backup(ctx, n, true)
		must(t, err)
		last := state.Audit[len(state.Audit)-1]
		if got := time.Until(last.At).Round(far); got != by {
			t.Errorf("%s the controller's clock is off by %s; want %s", when, got, by)
		}
	}
	err := n.stepClock(2 * far)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Logf("clocks are not stepped here: %v", err)
		return
	}
	must(t, err)
	off("after a step", 2*far)
	must(t, n.stepClock(-5*far))
	off("after a step back", -3*far)
	if n.process.Pid() != pid {
		t.Errorf("process %d has become %d", pid, n.process.Pid())
	}
	must(t, errors.Join(n.end(ctx, false), n.start(ctx)))
	off("after a start", -3*far)
	must(t, n.stepClock(3*far))
	off("at the end", 0)
	s.close(ctx)
	if len(s.record.violations) > 0 {
		t.Error(s.record.violations)
	}
}
