//go:build servers

package consul

import (
	"context"
	"errors"
	"testing"
	"time"

	"switchyard/router/routes"
)

// TestWatchIsToldOfEachMaster follows a real Consul by blocking queries, and is
// told of each new record, of a repair, and of a restart.
func TestWatchIsToldOfEachMaster(t *testing.T) {
	real, c, ctx := newReal(t, 10*time.Second)
	got, index, err := c.Watch(ctx, "shop", 0, time.Minute)
	if err != nil || !got.Epoch.IsZero() || index == 0 {
		t.Fatalf("nothing yet: %+v, %d, %v", got, index, err)
	}
	type answer struct {
		record routes.Record
		index  uint64
		err    error
	}
	watch := func(index uint64) <-chan answer {
		told := make(chan answer, 1)
		go func() {
			record, next, err := c.Watch(ctx, "shop", index, time.Minute)
			told <- answer{record, next, err}
		}()
		return told
	}
	// until watches on until a record is told: an index moves for other keys, too.
	until := func(told <-chan answer, want routes.Record) {
		t.Helper()
		for {
			a := <-told
			if a.err != nil {
				t.Fatal(a.err)
			}
			if index = a.index; a.record == want {
				return
			}
			told = watch(index)
		}
	}
	for number := range uint64(3) {
		told := watch(index)
		began := time.Now()
		publish(t, ctx, c, record(number+1, "db1"), true)
		until(told, record(number+1, "db1"))
		t.Logf("told of epoch 1.%d after %s", number+1, time.Since(began))
	}
	// Nothing happens: the wait passes, and the same is told again.
	began := time.Now()
	got, next, err := c.Watch(ctx, "shop", index, time.Second)
	if err != nil || got != record(3, "db1") || time.Since(began) < time.Second {
		t.Errorf("after the wait: %+v, %d, %v", got, next, err)
	}
	must(t, real.Restart(ctx))
	for index = next; ; {
		if got, index, err = c.Watch(ctx, "shop", index, time.Second); err == nil {
			break
		}
		if index != 0 || errors.Is(err, context.Canceled) {
			t.Fatalf("%d, %v", index, err)
		}
	}
	told := watch(index)
	publish(t, ctx, c, record(4, "db2"), true)
	until(told, record(4, "db2"))
}
