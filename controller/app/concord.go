package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"switchyard/controller/concord"
	"switchyard/controller/config"
	"switchyard/controller/console"
	"switchyard/store"
)

const (
	// concordEvery is how often a controller holds its ledger against the others'.
	concordEvery = 5 * time.Second
	// concordTime bounds one comparison.
	concordTime = 3 * time.Second
)

// accord compares this controller's ledger with those of the others, and has it
// stand aside where it is the one that differs. Each controller judges itself: nobody
// has to reach it for that.
type accord struct {
	self    string
	store   *store.Store
	console *console.Console
	log     *slog.Logger
	latest  atomic.Pointer[concord.Verdict]
}

func newAccord(c *config.File, s *store.Store, svc *console.Console, log *slog.Logger) *accord {
	return &accord{self: c.ID, store: s, console: svc, log: log}
}

// Latest is what the last comparison has brought.
func (a *accord) Latest() concord.Verdict {
	if v := a.latest.Load(); v != nil {
		return *v
	}
	return concord.Verdict{}
}

// Run compares until ctx ends.
func (a *accord) Run(ctx context.Context) error {
	ticker := time.NewTicker(concordEvery)
	defer ticker.Stop()
	if aside := a.store.Aside(); aside != "" {
		a.log.Error("this controller stands aside", "reason", aside)
	}
	for {
		if err := a.once(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("the controllers' ledgers could not be compared", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (a *accord) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, concordTime)
	defer cancel()
	// What cannot be read of the own ledger, the console leaves out.
	if _, err := a.store.Marks(); err != nil {
		return err
	}
	verdict, err := a.console.Concord(ctx)
	if err != nil {
		return err
	}
	before := a.Latest()
	a.latest.Store(&verdict)
	a.tell(before, verdict)
	if stray, ok := verdict.Of(a.self); ok {
		a.store.StandAside(store.Divergence{
			Index: stray.Index, Own: stray.Own, Theirs: stray.Theirs, Holders: stray.Holders, At: time.Now().UTC(),
		})
	}
	return nil
}

// tell logs what was not so before.
func (a *accord) tell(before, now concord.Verdict) {
	if now.Split != "" && before.Split == "" {
		a.log.Error(now.Split)
	}
	for _, stray := range now.Strays {
		if _, known := before.Of(stray.ID); !known && stray.ID != a.self {
			a.log.Error(fmt.Sprintf("the ledger of controller %s differs from that of the majority: take it out (`switchyard controllers remove`), stop it, empty its data_dir, start it with join: true and add it again",
				stray.ID), "entry", stray.Index, "digest", stray.Own, "majority", stray.Theirs)
		}
	}
}
