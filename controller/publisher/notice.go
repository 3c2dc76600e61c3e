package publisher

import (
	"context"
	"time"

	"switchyard/router/routes"
)

// Notice is what somebody else than a controller did to a record, for the audit.
type Notice struct {
	Datacenter string
	Table      routes.Table
	// Was is what was found in place of it.
	Was string
	// Held is true where that is of a higher epoch, and was left; anything else was
	// put right.
	Held bool
	// Times counts how often, since the last notice of it.
	Times int
}

// noticeEvery is the least time between two notices of one record: who changes it
// again and again is not to fill the audit.
const noticeEvery = time.Minute

// found notes what is to be told; the caller holds t.mu.
func (e *entry) found(was string, held bool) {
	if e.notice.Held != held {
		e.notice.Times = 0
	}
	e.notice.Was, e.notice.Held = was, held
	e.notice.Times++
}

// due returns the notice that is to be given now, if there is one.
func (t *target) due(table routes.Table) (Notice, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(table.Cluster)
	if e.notice.Times == 0 || !e.noticed.IsZero() && t.now().Sub(e.noticed) < noticeEvery {
		return Notice{}, false
	}
	n := e.notice
	n.Datacenter, n.Table = t.directory.Datacenter(), table
	return n, true
}

// given takes a notice off the list.
func (t *target) given(n Notice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(n.Table.Cluster)
	e.noticed = t.now()
	if e.notice.Held == n.Held {
		e.notice.Times -= min(n.Times, e.notice.Times)
	}
}

// notify gives the notice that is due; one that is not taken is given again.
func (p *Publisher) notify(ctx context.Context, t *target, table routes.Table) {
	n, ok := t.due(table)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	if err := p.ledger.Notice(ctx, n); err != nil {
		p.log.Debug("What was found in a directory is not in the audit yet.", "datacenter", n.Datacenter,
			"cluster", table.Cluster, "error", err)
		return
	}
	t.given(n)
}
