package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"switchyard/router/routes"
)

// ProxyStatus is what is known of one proxy.
type ProxyStatus struct {
	Name    string
	Cluster string
	// Reachable is true while the proxy answers.
	Reachable bool
	// Down is true where it was last seen to be proven not to run.
	Down bool
	// Holds is true while it was last seen to follow Epoch and Revision, which
	// are of the newest table that it ever confirmed, at ConfirmedAt.
	Holds       bool
	Epoch       routes.Epoch
	Revision    uint64
	ConfirmedAt time.Time
	// Proof is what it was last read back to do.
	Proof routes.Proof
	// LastError is why it was not confirmed when last looked at.
	LastError string
	// Since is when Reachable, Down and Holds were last other than they are, and
	// BehindSince when it ceased to follow; zero while it does.
	Since, BehindSince time.Time
	// Retries counts the looks and pushes since it last followed, and NextLook is
	// when the keeper looks again; both zero of one that follows.
	Retries  int
	NextLook time.Time
	// Repairs counts how often it was put back since this process began.
	Repairs int
	// readersConfirmed is whether it has followed that table's readers too.
	readersConfirmed bool
}

// ErrOlder is wrapped by the refusal of a table that is older than one that was
// sent before.
var ErrOlder = errors.New("an older table is refused")

// errInterrupted ends the keeper's look at a proxy to which a push wants.
var errInterrupted = errors.New("a push is more urgent")

// member is one proxy with its order of tables.
type member struct {
	proxy Proxy
	now   func() time.Time
	// turn is held by whoever changes the proxy. It is a channel, as waiting for
	// it must end with a context.
	turn chan struct{}
	// newest is the newest table that was sent, whatever came of it: a proxy
	// that did not answer may have carried it out. The holder of turn owns it.
	newest routes.Table

	mu     sync.Mutex
	status ProxyStatus
	// recorded is the newest table whose confirmation is in the ledger.
	recorded routes.Table
	// drift says what the proxy did when it was last seen to have left its route, until
	// it follows again; then that is strayed, until the ledger knows.
	drift, strayed string
	// busy, failures and due are the keeper's; interrupt breaks off its look.
	busy      bool
	failures  int
	due       time.Time
	interrupt context.CancelCauseFunc
}

func newMember(proxy Proxy, now func() time.Time) *member {
	return &member{proxy: proxy, now: now, turn: make(chan struct{}, 1),
		status: ProxyStatus{Name: proxy.Name(), Cluster: proxy.Cluster(), Since: now(), BehindSince: now(), LastError: "not looked at yet"}}
}

// lock waits for the turn to send the table, and refuses it if it is too old.
func (m *member) lock(ctx context.Context, table routes.Table) error {
	if err := table.Validate(); err != nil {
		return err
	}
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("proxy %s: another change did not end: %w", m.proxy.Name(), context.Cause(ctx))
	}
	if m.newest.Newer(table) {
		err := fmt.Errorf("%w: proxy %s was sent epoch %s revision %d, and this is epoch %s revision %d", ErrOlder,
			m.proxy.Name(), m.newest.Epoch, m.newest.Revision, table.Epoch, table.Revision)
		m.unlock()
		return err
	}
	m.newest = table
	return nil
}

func (m *member) unlock() { <-m.turn }

// interruptKeeper makes the keeper give up its turn, if it has it. What it
// leaves half done, the push that follows does again from the top.
func (m *member) interruptKeeper() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.interrupt != nil {
		m.interrupt(errInterrupted)
	}
}

// note remembers what came of a look or a change.
func (m *member) note(table routes.Table, proof routes.Proof, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.become(err == nil, errors.Is(err, routes.ErrNotRunning), err == nil && proof.Holds)
	m.status.Retries++
	if m.status.Holds {
		m.status.Retries = 0
	}
	m.status.Proof, m.status.LastError = proof, ""
	if err != nil {
		m.status.LastError = err.Error()
	}
	if !m.status.Holds {
		return
	}
	follows := proof.ReadersHold()
	m.status.readersConfirmed = follows && proof.Readers != nil ||
		m.status.readersConfirmed && m.status.Epoch == table.Epoch && m.status.Revision == table.Revision
	m.status.Epoch, m.status.Revision, m.status.ConfirmedAt = table.Epoch, table.Revision, m.now()
	if follows && m.drift != "" {
		m.strayed, m.drift = m.drift, ""
		m.status.Repairs++
	}
}

// become says anew what is known of the proxy, and since when. The caller holds mu.
func (m *member) become(reachable, down, holds bool) {
	if m.status.Reachable != reachable || m.status.Down != down || m.status.Holds != holds {
		m.status.Since = m.now()
	}
	switch {
	case holds:
		m.status.BehindSince = time.Time{}
	case m.status.BehindSince.IsZero():
		m.status.BehindSince = m.now()
	}
	m.status.Reachable, m.status.Down, m.status.Holds = reachable, down, holds
}

// unrecorded reports whether the ledger does not know yet that the proxy
// confirmed the table.
func (m *member) unrecorded(table routes.Table) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	confirmed := m.status.Holds && m.status.Epoch == table.Epoch && m.status.Revision == table.Revision
	return confirmed && table.Newer(m.recorded)
}

func (m *member) record(table routes.Table) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recorded = table
}

// drifted remembers what a proxy does that has left its route, the first sight of it.
func (m *member) drifted(was string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.drift == "" {
		m.drift = was
	}
}

// told forgets what the ledger knows now.
func (m *member) told(was string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.strayed == was {
		m.strayed = ""
	}
}

func (m *member) hasStrayed() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.strayed
}

func (m *member) snapshot() ProxyStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	status := m.status
	if !status.Holds {
		status.NextLook = m.due
	}
	return status
}
