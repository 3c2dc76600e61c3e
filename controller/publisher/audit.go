package publisher

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"switchyard/router/routes"
)

// Run audits until ctx ends: again and again it makes each directory that this
// controller keeps hold what the ledger says. Compare-and-set on the epoch lets
// several controllers do so together.
func (p *Publisher) Run(ctx context.Context) error {
	var audits sync.WaitGroup
	defer audits.Wait()
	for _, t := range p.targets {
		audits.Go(func() { p.audits(ctx, t) })
	}
	<-ctx.Done()
	return nil
}

// audits looks after one directory; one that hangs holds up no other.
func (p *Publisher) audits(ctx context.Context, t *target) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-t.wake:
		}
		p.audit(ctx, t)
		timer.Reset(p.config.Interval)
	}
}

// auditWidth is how many clusters of one directory are looked at together.
const auditWidth = 8

// covered reports whether a controller of a directory's own datacenter keeps it.
func (p *Publisher) covered(t *target) bool {
	return p.config.Controllers != nil && slices.Contains(p.config.Controllers(), t.directory.Datacenter())
}

func (p *Publisher) audit(ctx context.Context, t *target) {
	leads := p.verified(ctx)
	keeps := t.own || leads && !p.covered(t)
	var group errgroup.Group
	group.SetLimit(auditWidth)
	for _, table := range p.ledger.Tables() {
		if table.Writer == nil || !keeps && !leads {
			continue
		}
		group.Go(func() error {
			if keeps {
				p.keep(ctx, t, table)
			} else {
				p.watch(ctx, t, table)
			}
			// The leader records what its pushes have brought, also where another
			// controller does the audits.
			p.confirm(ctx, t, table)
			p.notify(ctx, t, table)
			return nil
		})
	}
	// What went wrong is in the status of each cluster, and tried again.
	_ = group.Wait()
}

func (p *Publisher) verified(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	return p.leads(ctx) == nil
}

// keep makes the directory hold one cluster's record.
func (p *Publisher) keep(ctx context.Context, t *target, table routes.Table) {
	ctx, cancel := context.WithTimeout(ctx, p.config.AuditTimeout)
	defer cancel()
	before, _ := t.look(table.Cluster)
	found, err := p.hosts.find(ctx, table.Writer.Host)
	record := routes.Record{Cluster: table.Cluster, Epoch: table.Epoch, Revision: table.Revision, Master: *table.Writer,
		IPv4: found.v4, IPv6: found.v6}
	if err != nil && found == (addresses{}) || t.disputed(record) {
		record = adopt(ctx, t, record)
	}
	result, err := t.publish(ctx, record)
	var higher *routes.HigherEpochError
	if errors.As(err, &higher) && p.epoch(table.Cluster).Compare(higher.Held) >= 0 {
		t.excuse(table.Cluster)
		return
	}
	p.tell(t, before, record, result)
}

// watch has the leader see what a directory holds that another controller keeps:
// its own push may have failed, or have been made by the leader before.
func (p *Publisher) watch(ctx context.Context, t *target, table routes.Table) {
	seen := p.look(ctx, t, table.Cluster)
	if seen.Err == nil && seen.Holding.Epoch.Compare(table.Epoch) > 0 && p.epoch(table.Cluster).Compare(table.Epoch) > 0 {
		return // the ledger has gone on meanwhile
	}
	t.watched(table, seen)
}

// adopt takes over the addresses that the directory holds for the same master:
// better theirs than none, and better than a quarrel.
func adopt(ctx context.Context, t *target, record routes.Record) routes.Record {
	held, err := t.directory.Inspect(ctx, record.Cluster)
	if err != nil || held.Epoch != record.Epoch || held.Master != record.Master {
		return record // If the directory cannot be read, Publish says so.
	}
	if addr, err := netip.ParseAddr(held.IPv4); held.IPv4 == "" || err == nil && addr.Is4() {
		record.IPv4 = held.IPv4
	}
	if addr, err := netip.ParseAddr(held.IPv6); held.IPv6 == "" || err == nil && addr.Is6() {
		record.IPv6 = held.IPv6
	}
	return record
}

// epoch returns the cluster's epoch in the ledger as it is at this moment.
func (p *Publisher) epoch(cluster string) routes.Epoch {
	for _, table := range p.ledger.Tables() {
		if table.Cluster == cluster {
			return table.Epoch
		}
	}
	return routes.Epoch{}
}

func (p *Publisher) confirm(ctx context.Context, t *target, table routes.Table) {
	if !t.unrecorded(table) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	if err := p.ledger.Confirm(ctx, t.directory.Datacenter(), table); err != nil {
		p.log.Debug("A directory's confirmation is not in the ledger yet.", "datacenter", t.directory.Datacenter(),
			"cluster", table.Cluster, "error", err)
		return
	}
	t.record(table)
}

// alarmAfter is how many audits in a row must meet a higher epoch before it is
// logged: a follower may see the ledger a moment later than the directory.
const alarmAfter = 2

// tell logs what has changed, once.
func (p *Publisher) tell(t *target, before TargetStatus, record routes.Record, result outcome) {
	after, alarms := t.look(record.Cluster)
	log := p.log.With("datacenter", after.Datacenter, "cluster", after.Cluster, "epoch", record.Epoch)
	switch {
	case alarms == alarmAfter:
		log.Error("A directory holds a higher epoch than the ledger; nothing is written to it.", "held", after.Epoch)
		t.alarm(record.Cluster)
	case !after.Reachable && (before.Reachable || before.LastError == ""):
		log.Warn("A directory cannot be kept; it is tried again.", "error", after.LastError)
	case result == repaired:
		log.Warn("A master's record was changed by somebody else; it is put right.", "master", record.Master)
	case result == brought:
		log.Info("A master's record was published.", "master", record.Master)
	case after.Reachable && !before.Reachable && before.LastError != "":
		log.Info("A directory is kept again.")
	}
}
