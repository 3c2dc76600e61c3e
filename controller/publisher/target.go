package publisher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"switchyard/router/routes"
)

// TargetStatus is what is known of one cluster's record in one directory.
type TargetStatus struct {
	Datacenter string
	Cluster    string
	// Reachable is true while the directory answers.
	Reachable bool
	// Epoch is the one that the directory was last seen to hold.
	Epoch routes.Epoch
	// Held is true while that is higher than the ledger's: nothing is written,
	// and somebody has to find out why.
	Held bool
	// ConfirmedAt is when the directory was last known to hold the ledger's epoch.
	ConfirmedAt time.Time
	// Repairs counts how often the record was found changed by somebody else.
	Repairs int
	// LastError is why the record was not confirmed when last looked at.
	LastError string
}

// entry is one cluster in one directory.
type entry struct {
	status TargetStatus
	// confirmed is what the directory was last made or found to hold.
	confirmed routes.Record
	// disputes counts the repairs in one epoch, and alarms the audits in a row
	// that met a higher epoch.
	disputes, alarms int
	// recorded is the newest table whose confirmation is in the ledger.
	recorded routes.Table
	// notice is what the audit is to be told, if its Times are not 0, and noticed
	// when it was told something.
	notice  Notice
	noticed time.Time
}

// target is one datacenter's directory, and what is known of it.
type target struct {
	directory Directory
	now       func() time.Time
	// own is whether this controller keeps it; another one may, or, when nobody does,
	// the leader.
	own  bool
	wake chan struct{}

	mu       sync.Mutex
	clusters map[string]*entry
}

func (t *target) wakeUp() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// entry returns the cluster's entry; the caller holds t.mu.
func (t *target) entry(cluster string) *entry {
	if t.clusters[cluster] == nil {
		t.clusters[cluster] = &entry{status: TargetStatus{Datacenter: t.directory.Datacenter(), Cluster: cluster}}
	}
	return t.clusters[cluster]
}

// outcome is what one publication came to.
type outcome int

const (
	// unchanged: the directory held the record already.
	unchanged outcome = iota
	// brought: it holds the record now.
	brought
	// repaired: it had held the record before, and somebody changed it.
	repaired
)

// publish brings the record into the directory, and notes what came of it.
func (t *target) publish(ctx context.Context, record routes.Record) (outcome, error) {
	was, err := t.directory.Publish(ctx, record)
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(record.Cluster)
	if err != nil {
		e.fail(err)
		return unchanged, err
	}
	if e.confirmed.Epoch != record.Epoch {
		e.disputes = 0
	}
	result := unchanged
	switch {
	case was != nil && e.changed(*was, record):
		result = repaired
		e.status.Repairs++
		e.disputes++
		e.found(was.String(), false)
	case was != nil:
		result = brought
	}
	// A push may have brought a higher epoch while this one was under way.
	if record.Epoch.Compare(e.confirmed.Epoch) >= 0 {
		e.confirmed = record
		e.status.Epoch = record.Epoch
	}
	e.status.Reachable, e.status.Held, e.status.LastError, e.alarms = true, false, "", 0
	e.status.ConfirmedAt = t.now()
	return result, nil
}

// changed reports whether what was found in place of a record is the work of
// somebody else than a controller.
func (e *entry) changed(was routes.Holding, record routes.Record) bool {
	if e.confirmed.Epoch != record.Epoch {
		// An epoch has one master, also if this process has never looked before.
		return was.Epoch == record.Epoch && was.Master != record.Master
	}
	// A later revision of the epoch says nothing else here, and is not written.
	left := e.confirmed
	left.Revision, was.Revision = 0, 0
	return len(was.Faults) > 0 || was.Record != left
}

// fail notes why the directory does not hold the record.
func (e *entry) fail(err error) {
	e.status.LastError = err.Error()
	var higher *routes.HigherEpochError
	if errors.As(err, &higher) {
		e.status.Reachable, e.status.Held, e.status.Epoch = true, true, higher.Held
		e.alarms++
		return
	}
	e.status.Reachable = false
}

// watched notes what a directory was seen to hold that another controller keeps.
func (t *target) watched(table routes.Table, seen Sight) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(table.Cluster)
	held := seen.Holding
	switch order := held.Epoch.Compare(table.Epoch); {
	case e.confirmed.Epoch.Compare(table.Epoch) > 0:
		// A push has brought a higher epoch meanwhile.
	case seen.Err != nil:
		e.status.LastError, e.status.Reachable = seen.Err.Error(), false
	case order == 0 && held.Master == *table.Writer && len(held.Faults) == 0:
		e.confirmed = held.Record
		e.status.Reachable, e.status.Held, e.status.LastError = true, false, ""
		e.status.Epoch, e.status.ConfirmedAt = held.Epoch, t.now()
	default:
		e.status.Reachable, e.status.Held, e.status.Epoch = true, order > 0, held.Epoch
		e.status.LastError = fmt.Sprintf("it holds %s, and %s of epoch %s is right: the controllers of %s are to write that",
			held, table.Writer, table.Epoch, seen.Datacenter)
		if order > 0 {
			e.status.LastError = fmt.Sprintf("it holds %s, which is above the ledger's epoch %s; nothing is written", held, table.Epoch)
		}
	}
}

// alarm has the audit told of a higher epoch.
func (t *target) alarm(cluster string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(cluster)
	e.found("epoch "+e.status.Epoch.String(), true)
}

// excuse takes back an alarm: it was this controller's view of the ledger that
// lagged behind.
func (t *target) excuse(cluster string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(cluster)
	e.status.Held, e.status.LastError, e.alarms = false, "", 0
}

// maxDisputes is how often a record is repaired in one epoch before its
// addresses are left as they are found. Two controllers of one datacenter whose
// resolvers disagree would otherwise rewrite each other's for ever, and every
// consumer would reload each time.
const maxDisputes = 3

// disputed reports whether somebody else insists on another record.
func (t *target) disputed(record routes.Record) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(record.Cluster)
	return e.confirmed.Epoch == record.Epoch && e.disputes >= maxDisputes
}

// unrecorded reports whether the ledger does not know yet that the directory
// holds the table.
func (t *target) unrecorded(table routes.Table) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(table.Cluster)
	return e.confirmed.Epoch == table.Epoch && table.Newer(e.recorded)
}

func (t *target) record(table routes.Table) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entry(table.Cluster).recorded = table
}

// look returns a cluster's status, and for how many audits in a row it has been
// held.
func (t *target) look(cluster string) (status TargetStatus, alarms int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(cluster)
	return e.status, e.alarms
}

func (t *target) snapshot() []TargetStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	status := make([]TargetStatus, 0, len(t.clusters))
	for _, e := range t.clusters {
		status = append(status, e.status)
	}
	slices.SortFunc(status, func(a, b TargetStatus) int { return cmp.Compare(a.Cluster, b.Cluster) })
	return status
}
