//go:build servers

package invariants_test

import (
	"context"
	"testing"
	"time"

	"switchyard/e2e/invariants"
	"switchyard/e2e/stack"
)

func TestFrozenServerDoesNotStallTheOthers(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	s, err := stack.New(ctx, stack.Options{Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	cluster, err := s.Topology(ctx, stack.MariaDB, 1, stack.TopologyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	frozen, other := cluster.Master, cluster.Replicas[0]
	observer, err := invariants.NewObserver(invariants.Config{User: stack.AppAccount().User, Password: stack.AppAccount().Password,
		Targets: []invariants.Target{{Name: "frozen", Address: frozen.Key()}, {Name: "other", Address: other.Key()}}})
	if err != nil {
		t.Fatal(err)
	}
	watching, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); observer.Run(watching) }()
	count := func(target string, since time.Time, good bool) (n int) {
		for _, sample := range observer.Samples() {
			if sample.Target == target && sample.Begin.After(since) && (sample.Err == nil) == good {
				n++
			}
		}
		return n
	}
	await := func(what string, condition func() bool) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not seen: %s", what)
			}
		}
	}
	start := time.Now()
	await("both servers", func() bool { return count("frozen", start, true) > 10 && count("other", start, true) > 10 })
	if err := frozen.Freeze(); err != nil {
		t.Fatal(err)
	}
	froze := time.Now()
	await("failures of the frozen server", func() bool { return count("frozen", froze, false) >= 3 })
	elapsed := time.Since(froze)
	if got, failed := count("other", froze, true), count("frozen", froze, false); got <= failed {
		t.Errorf("%d samples of the other server in %v, beside %d of the frozen one: it was held up", got, elapsed, failed)
	}
	if err := frozen.Thaw(); err != nil {
		t.Fatal(err)
	}
	thawed := time.Now()
	await("the thawed server", func() bool { return count("frozen", thawed, true) > 3 })
	stop()
	<-done
	for _, sample := range observer.Samples() {
		if sample.Err == nil && sample.Writable != (sample.Target == "frozen") {
			t.Fatalf("sample %+v: only the master is writable", sample)
		}
	}
}
