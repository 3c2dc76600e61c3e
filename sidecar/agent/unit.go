package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"switchyard/router/routes"
)

// errOvertaken ends work on a proxy that something more urgent waits for.
var errOvertaken = errors.New("a newer table is more urgent")

// unit is one proxy, with who works on it.
type unit struct {
	proxy Proxy
	log   *slog.Logger
	// turn is held by whoever changes the proxy. It is a channel, as waiting for
	// it must end with a context.
	turn chan struct{}
	// wake makes the unit look at once.
	wake chan struct{}
	keep *keeping // nil where nothing is to be kept in step

	mu   sync.Mutex
	work *work
	seen sight
}

// work is what the holder of the turn does.
type work struct {
	table routes.Table
	// own is set for the unit's own look, which gives way to every call.
	own    bool
	cancel context.CancelCauseFunc
}

// sight is what a proxy was last seen to do.
type sight struct {
	// table is the newest that it was read back to follow, and holds says that it
	// still does.
	table routes.Table
	holds bool
	// down is set where it is proven not to run.
	down    bool
	proof   routes.Proof
	known   bool // the proof was read
	problem string
	// repairs counts how often it had left its table by itself, and strayed is what
	// it did the last time.
	repairs int
	strayed *routes.Proof
}

func newUnit(local Local, log *slog.Logger) *unit {
	u := &unit{proxy: local.Proxy, log: log.With("proxy", local.Proxy.Name()),
		turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), seen: sight{problem: "it was not looked at yet"}}
	if local.Keeper != nil {
		u.keep = newKeeping(local.Keeper, u.log)
	}
	return u
}

// look makes the unit look at its proxy soon.
func (u *unit) look() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// interrupt ends work that the table has overtaken. What is left half done, the
// next holder of the turn does again from the top.
func (u *unit) interrupt(table routes.Table) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.work != nil && (u.work.own || table.Newer(u.work.table)) {
		u.work.cancel(errOvertaken)
	}
}

// take waits for the turn to work on the proxy.
func (u *unit) take(ctx context.Context, table routes.Table, own bool) (context.Context, func(), error) {
	select {
	case u.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("proxy %s: another change did not end: %w", u.proxy.Name(), context.Cause(ctx))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	u.mu.Lock()
	u.work = &work{table: table, own: own, cancel: cancel}
	u.mu.Unlock()
	return ctx, func() {
		u.mu.Lock()
		u.work = nil
		u.mu.Unlock()
		cancel(nil)
		<-u.turn
	}, nil
}

// note remembers what came of a look or a change.
func (u *unit) note(table routes.Table, proof routes.Proof, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before := u.seen
	u.seen.proof, u.seen.known = proof, err == nil
	u.seen.holds, u.seen.down = err == nil && proof.Holds, errors.Is(err, routes.ErrNotRunning)
	u.seen.problem = problem(proof, err)
	if u.seen.holds {
		u.seen.table = table
	}
	switch {
	case u.seen.holds && (!before.holds || !is(before.table, table)):
		u.log.Info("The proxy follows.", "cluster", table.Cluster, "table", place(table), "proof", proof.String())
	case !u.seen.holds && before.holds:
		u.log.Warn("The proxy does not follow.", "cluster", table.Cluster, "table", place(table), "problem", u.seen.problem)
	}
}

func problem(proof routes.Proof, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case !proof.Holds:
		return "it was not read back to follow the table"
	case !proof.ReadersHold():
		return "readers: " + proof.Readers.Problem
	}
	return proof.Warning
}

// strayed counts that the proxy was put back to a table that it had followed.
func (u *unit) strayed(table routes.Table, was routes.Proof) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen.repairs++
	u.seen.strayed = &was
	u.log.Warn("The proxy left its route without having been told; it was put back.", "cluster", table.Cluster,
		"table", place(table), "was", was.String(), "repairs", u.seen.repairs)
}

func (u *unit) sight() sight {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seen
}

// digest is of what a proxy really has: the same where two have the same,
// however many sessions they carry.
func digest(proof routes.Proof) string {
	proof.Sessions, proof.Holds, proof.Warning = 0, false, ""
	if proof.Readers != nil {
		proof.Readers = &routes.ReadersProof{Serving: proof.Readers.Serving}
	}
	text, err := json.Marshal(proof)
	if err != nil {
		return "" // plain values
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// tend looks at one proxy again and again, and brings back what has strayed.
func (a *Agent) tend(ctx context.Context, u *unit) {
	ticker := time.NewTicker(a.config.Interval)
	defer ticker.Stop()
	for {
		if a.held(u.proxy.Cluster()).empty() {
			u.untold()
		} else {
			a.lookAt(ctx, u)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-u.wake:
		}
	}
}

// putBack reports whether a proxy that had followed is back now: its writer, or
// its readers alone, which follow in their own time.
func putBack(before, was, now routes.Proof) bool {
	if !was.Holds {
		return now.Holds
	}
	return before.Readers != nil && before.ReadersHold() && now.ReadersHold()
}

func (u *unit) untold() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen.problem = "nobody has said yet where it leads; it is left as it is"
}

// lookAt is one look, with its repair.
func (a *Agent) lookAt(ctx context.Context, u *unit) {
	ctx, cancel := context.WithTimeout(ctx, a.config.Timeout)
	defer cancel()
	inner, done, err := u.take(ctx, routes.Table{}, true)
	if err != nil {
		return // a call works on it
	}
	defer done()
	// Only now: what was held before the turn came may be older than what a call
	// has just brought.
	table := a.held(u.proxy.Cluster()).Table
	before := u.sight()
	proof, err := u.proxy.Read(inner, table)
	if err == nil && (!proof.Holds || !proof.ReadersHold()) {
		was := proof
		proof, err = u.proxy.Apply(inner, table)
		if err == nil && is(before.table, table) && putBack(before.proof, was, proof) {
			u.strayed(table, was)
		}
	}
	if context.Cause(inner) != nil && !errors.Is(context.Cause(inner), context.DeadlineExceeded) {
		return // it was overtaken, or this process ends: nothing was learned
	}
	u.note(table, proof, err)
}
