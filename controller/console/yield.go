package console

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"switchyard/store/ledger"
)

const (
	// yieldTick is how often a leader looks whether it is in the right place.
	yieldTick = time.Second
	// yieldPause is the least time between two attempts; it doubles up to
	// yieldPauseMost, since raft may elect the same controller again.
	yieldPause, yieldPauseMost = time.Second, time.Minute
	// yieldPatience is how long a recovery that is under way may go on before
	// leadership is handed over in the midst of it.
	yieldPatience = 10 * time.Second
	// yieldTime bounds one attempt.
	yieldTime = 5 * time.Second
)

// Turns tells when there may be something to look at.
type Turns interface {
	// Watch returns a channel that is sent to after changes of the ledger, and its
	// end; LeaderChanges one that says when this controller begins and ceases to lead.
	Watch() (<-chan struct{}, func())
	LeaderChanges() (<-chan bool, func())
}

// Yielder hands leadership away from a controller whose datacenter is marked
// down, for as long as there is a voter elsewhere to hand it to.
type Yielder struct {
	console *Console
	turns   Turns
	log     *slog.Logger
	// since is when this controller was first found to lead where it should not;
	// next is when it may try again, and pause what comes after that.
	since, next time.Time
	pause       time.Duration
	said        string
}

// NewYielder returns one. Use Run.
func NewYielder(c *Console, turns Turns, log *slog.Logger) *Yielder {
	return &Yielder{console: c, turns: turns, log: log, pause: yieldPause}
}

// Run looks until ctx ends.
func (y *Yielder) Run(ctx context.Context) error {
	changed, stop := y.turns.Watch()
	defer stop()
	leads, unsubscribe := y.turns.LeaderChanges()
	defer unsubscribe()
	ticker := time.NewTicker(yieldTick)
	defer ticker.Stop()
	for {
		y.turn(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-leads:
		case <-ticker.C:
		}
	}
}

// turn hands leadership away if it is this controller's, and time.
func (y *Yielder) turn(ctx context.Context) {
	c := y.console
	now := c.cfg.Now()
	down, marked := c.ledger.State().Down(now)[c.place(c.cfg.Self)]
	switch {
	case !marked:
		y.since, y.next, y.pause, y.said = time.Time{}, time.Time{}, yieldPause, ""
		return
	case !c.ledger.IsLeader():
		y.since = time.Time{}
		return
	}
	if y.since.IsZero() {
		y.since = now
	}
	// A clock that is set back must not make this wait for it.
	wait := y.next.Sub(now)
	if wait > 0 && wait <= yieldPauseMost || len(c.underWay()) > 0 && now.Sub(y.since).Abs() < yieldPatience {
		return
	}
	work, cancel := context.WithTimeout(ctx, yieldTime)
	defer cancel()
	to, err := c.yield(work, down)
	y.next = c.cfg.Now().Add(y.pause)
	y.pause = min(2*y.pause, yieldPauseMost)
	if ctx.Err() != nil {
		return
	}
	y.say(down, to, err)
}

// say logs what came of an attempt, once for as long as it stays the same.
func (y *Yielder) say(down ledger.DatacenterDown, to string, err error) {
	if err == nil {
		y.said = ""
		y.log.Info("leadership was handed over: this datacenter is marked down", "datacenter", down.Datacenter, "by", down.By, "to", to)
		return
	}
	if y.said != err.Error() {
		y.said = err.Error()
		y.log.Warn("this datacenter is marked down, and this controller leads still; it will try again", "datacenter", down.Datacenter,
			"by", down.By, "error", err)
	}
}

// yield hands leadership to the voter elsewhere that is furthest, and says who
// that is.
func (c *Console) yield(ctx context.Context, down ledger.DatacenterDown) (string, error) {
	all, err := c.Controllers(ctx)
	if err != nil {
		return "", err
	}
	to, err := c.heir(all, "")
	if err != nil {
		return "", err
	}
	return to, c.hand(ctx, to, ledger.AuditEntry{
		Kind: ledger.AuditRepair, By: c.cfg.Self,
		Reason: fmt.Sprintf("its datacenter %s is marked down by %s until %s: %s", down.Datacenter, down.By, stamp(down.Until), down.Reason),
	})
}

// elsewhere says why a controller should not be handed leadership because of
// where it is, or "".
func (c *Console) elsewhere(id string) string {
	place := c.place(id)
	down, marked := c.ledger.State().Down(c.cfg.Now())[place]
	if place == "" || !marked {
		return ""
	}
	return fmt.Sprintf("its datacenter %s is marked down by %s until %s: %s", place, down.By, stamp(down.Until), down.Reason)
}
