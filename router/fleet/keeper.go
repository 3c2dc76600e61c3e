package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"switchyard/router/routes"
)

// Run is the keeper: until ctx ends it looks at every proxy again and again,
// where this controller leads, brings back to the ledger's table what does not
// follow it, and records in the ledger what does.
func (f *Fleet) Run(ctx context.Context) error {
	var looks sync.WaitGroup
	defer looks.Wait()
	ticker := time.NewTicker(f.config.Interval)
	defer ticker.Stop()
	for {
		f.round(ctx, &looks)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-f.wake:
		}
	}
}

// round begins a look at every proxy that is due. A proxy that hangs holds up
// nobody but itself.
func (f *Fleet) round(ctx context.Context, looks *sync.WaitGroup) {
	known := f.tables()
	var due []*member
	for _, m := range f.members {
		if _, ok := known[m.proxy.Cluster()]; ok && m.begin() {
			due = append(due, m)
		}
	}
	if len(due) == 0 {
		return
	}
	// One verification for the round; a repair asks again.
	leads := f.leads(ctx)
	// What was read before that may be older than what another leader sent.
	tables := f.tables()
	for _, m := range due {
		if leads != nil {
			m.release()
			continue
		}
		table, ok := tables[m.proxy.Cluster()]
		if !ok {
			m.end(0)
			continue
		}
		looks.Go(func() {
			err := f.keep(ctx, m, table)
			m.end(f.pause(m, err))
			if err != nil && ctx.Err() == nil {
				f.log.Debug("A proxy does not follow yet.", "proxy", m.proxy.Name(), "error", err)
			}
		})
	}
}

func (f *Fleet) tables() map[string]routes.Table {
	tables := make(map[string]routes.Table)
	for _, table := range f.ledger.Tables() {
		tables[table.Cluster] = table
	}
	return tables
}

// keep is one look at one proxy, with its repair, and the record of it.
func (f *Fleet) keep(ctx context.Context, m *member, table routes.Table) error {
	ctx, cancel := context.WithTimeout(ctx, f.config.KeepTimeout)
	defer cancel()
	if err := f.look(ctx, m, table); err != nil {
		return err
	}
	// The turn was given back: a push must not wait for the ledger.
	if was := m.hasStrayed(); was != "" {
		if err := f.ledger.Repaired(ctx, m.proxy.Name(), table, was); err != nil {
			return fmt.Errorf("proxy %s: record its repair: %w", m.proxy.Name(), err)
		}
		m.told(was)
	}
	if !m.unrecorded(table) {
		return nil
	}
	if err := f.ledger.Confirm(ctx, m.proxy.Name(), table); err != nil {
		return fmt.Errorf("proxy %s: record its confirmation: %w", m.proxy.Name(), err)
	}
	m.record(table)
	return nil
}

func (f *Fleet) look(ctx context.Context, m *member, table routes.Table) error {
	ctx, interrupt := context.WithCancelCause(ctx)
	defer interrupt(nil)
	m.setInterrupt(interrupt)
	defer m.setInterrupt(nil)
	if err := m.lock(ctx, table); err != nil {
		if errors.Is(err, ErrOlder) || errors.Is(err, errInterrupted) {
			return nil // A push has overtaken this round's view of the ledger.
		}
		return err
	}
	defer m.unlock()
	before := m.snapshot()
	proof, err := m.proxy.Read(ctx, table)
	if err == nil && !(proof.Holds && proof.ReadersHold()) {
		was := proof
		// Before the repair, as it may need several looks, or leave half of it done.
		m.drifted(strayed(before, table, was))
		if proof, err = f.repair(ctx, m, table, before, was); err != nil && was.Holds {
			// The writer was read back, and only its readers are not repaired.
			proof, err = was, nil
		}
	}
	if err != nil && (errors.Is(context.Cause(ctx), errInterrupted) || errors.Is(err, ErrOlder)) {
		return nil
	}
	m.note(table, proof, err)
	f.tell(before, m.snapshot())
	return err
}

// strayed reports what a proxy was seen to do instead of following a table that it
// had confirmed; empty if it had not. It may have been down meanwhile, and have come
// back with an old file.
func strayed(before ProxyStatus, table routes.Table, was routes.Proof) string {
	switch confirmed := before.Epoch == table.Epoch && before.Revision == table.Revision; {
	case confirmed && !was.Holds:
		return was.String()
	case confirmed && before.readersConfirmed && !was.ReadersHold():
		return was.Readers.String()
	}
	return ""
}

func (f *Fleet) repair(ctx context.Context, m *member, table routes.Table, before ProxyStatus, was routes.Proof) (routes.Proof, error) {
	ctx, cancel, err := f.lead(ctx)
	defer cancel()
	if err != nil {
		return routes.Proof{}, err
	}
	// The leadership may have been lost and won again since the round began.
	if now, ok := f.tables()[table.Cluster]; !ok || now.Newer(table) {
		return routes.Proof{}, fmt.Errorf("%w: the ledger has moved on from epoch %s revision %d", ErrOlder, table.Epoch,
			table.Revision)
	}
	if !was.Holds && before.Holds && before.Epoch == table.Epoch && before.Revision == table.Revision {
		f.log.Warn("A proxy left its route without having been told; it is put back.", "proxy", m.proxy.Name(),
			"cluster", table.Cluster, "epoch", table.Epoch)
	}
	return m.proxy.Apply(ctx, table)
}

// tell logs when a proxy begins or ceases to follow, once.
func (f *Fleet) tell(before, after ProxyStatus) {
	switch {
	case before.Holds && !after.Holds:
		f.log.Warn("A proxy does not follow its route.", "proxy", after.Name, "cluster", after.Cluster, "error", after.LastError)
	case !before.Holds && after.Holds:
		f.log.Info("A proxy follows its route.", "proxy", after.Name, "cluster", after.Cluster,
			"epoch", after.Epoch, "revision", after.Revision)
	}
}

// begin claims a proxy for a look; end gives it back.
func (m *member) begin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy || m.now().Before(m.due) {
		return false
	}
	m.busy = true
	return true
}

func (m *member) end(pause time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy, m.due = false, m.now().Add(pause)
}

// release gives back a proxy that was not looked at. Who does not lead knows
// nothing of the proxies.
func (m *member) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy = false
	m.become(false, false, false)
	m.status.Retries = 0
	m.status.LastError = "this controller does not lead, and does not look"
}

func (m *member) setInterrupt(interrupt context.CancelCauseFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.interrupt = interrupt
}

// pause says how long a proxy is left alone after a look.
func (f *Fleet) pause(m *member, err error) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil || errors.Is(err, routes.ErrNotRunning) {
		m.failures = 0
		return 0
	}
	m.failures = min(m.failures+1, 16)
	return min(f.config.Interval<<m.failures, f.config.MaxBackoff) - f.config.Interval
}
