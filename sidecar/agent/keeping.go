package agent

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"switchyard/router/routes"
)

// keeping is what a proxy starts with, and whether that is in step.
type keeping struct {
	keeper Keeper
	log    *slog.Logger
	wake   chan struct{}

	mu sync.Mutex
	// tried is the newest table that was to be written, and problem why it is not;
	// empty where it is.
	tried   routes.Table
	problem string
	// changed is closed after every attempt.
	changed chan struct{}
}

func newKeeping(keeper Keeper, log *slog.Logger) *keeping {
	return &keeping{keeper: keeper, log: log, wake: make(chan struct{}, 1), changed: make(chan struct{})}
}

// keepTimeout bounds one attempt.
const keepTimeout = 2 * time.Second

// grace is how long the answer to a withdrawal waits for what the proxy starts
// with, beyond the proxy itself. Without that it is no confirmation: a reload
// would bring the old master back.
const grace = 200 * time.Millisecond

func (k *keeping) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// keep brings the newest table into what the proxy starts with, again and again:
// others write there, too.
func (a *Agent) keep(ctx context.Context, u *unit) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.keep.wake:
		case <-timer.C:
		}
		if h := a.held(u.proxy.Cluster()); !h.empty() {
			u.keep.once(ctx, h.Table)
		}
		timer.Reset(a.config.KeepInterval)
	}
}

func (k *keeping) once(ctx context.Context, table routes.Table) {
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	err := k.keeper.Keep(ctx, table)
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.problem
	k.tried, k.problem = table, ""
	if err != nil {
		k.problem = fmt.Sprintf("what it starts with is not in step: %v", err)
	}
	close(k.changed)
	k.changed = make(chan struct{})
	switch {
	case err != nil && before == "":
		k.log.Error("What the proxy starts with is not in step with the routes; it is tried again.", "table", place(table), "error", err)
	case err == nil && before != "":
		k.log.Info("What the proxy starts with is in step again.", "table", place(table))
	}
}

// await waits for an attempt with the table, for a bounded time.
func (k *keeping) await(ctx context.Context, table routes.Table) {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	for {
		k.mu.Lock()
		tried, changed := k.tried, k.changed
		k.mu.Unlock()
		if is(tried, table) {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// lacks says why what the proxy starts with does not say the table; empty where
// it does.
func (k *keeping) lacks(table routes.Table) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.problem == "" && !is(k.tried, table) {
		return "what it starts with is not in step yet"
	}
	return k.problem
}
