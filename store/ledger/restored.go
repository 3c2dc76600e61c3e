package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"switchyard/router/routes"
)

// NextGeneration returns a generation above all that s has ever issued.
func (s State) NextGeneration() uint64 {
	highest := s.Generation
	for _, clusters := range []map[string]Cluster{s.Clusters, s.Held} {
		for _, c := range clusters {
			highest = max(highest, c.Epoch.Generation)
		}
	}
	for _, r := range s.Recoveries {
		highest = max(highest, r.Epoch.Generation)
	}
	return highest + 1
}

// Restored is the state in which a ledger begins that is restored from s, a backup.
// Its generation is a new one, so that no epoch is issued twice. What happened since
// the backup is not known, so that none of its clusters is in it: they are held aside
// (State.Held) until each is adopted anew, by what is seen. Recoveries that were
// open end as failed, and what receivers confirmed is forgotten.
func Restored(s State, generation uint64, by, from string, at time.Time) (State, error) {
	refuse := func(format string, args ...any) (State, error) {
		return State{}, &Rejection{Command: "restore", Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case s.Generation == 0 || s.ID == "":
		return refuse("the backup is of a ledger that had not begun")
	case generation < s.NextGeneration():
		return refuse("generation %d is not above all that the backup has: want %d or more", generation, s.NextGeneration())
	}
	if reason := firstOf(badName("by", by), badTime("at", at)); reason != "" {
		return refuse("%s", reason)
	}
	d := &draft{state: s}
	for _, id := range slices.Sorted(maps.Keys(s.Recoveries)) {
		r := s.Recoveries[id]
		if !r.Open() {
			continue
		}
		r.Outcome, r.EndedAt, r.Message = Failed, instant(at), "it was open in the backup from which the ledger was restored"
		d.putRecovery(r)
		d.auditEnd(r, "restore", by)
	}
	held := maps.Clone(s.Held)
	for name, c := range s.Clusters {
		c.Recovery, c.Relocation = "", ""
		held = putHeld(held, name, c)
	}
	d.state.Generation, d.state.Held = generation, held
	// Raft begins again with those of the configuration files.
	d.state.Controllers = Controllers{}
	d.state.Clusters, d.state.Confirmations = map[string]Cluster{}, map[ConfirmationKey]Confirmation{}
	d.audit(AuditEntry{At: at, Kind: AuditOperator, Action: "restore", By: by, Reason: from,
		Evidence: []string{fmt.Sprintf("generation %d follows %d; %d clusters are held until they are adopted anew",
			generation, s.Generation, len(held))}})
	return d.state, nil
}

// Aside says of a cluster in State.Held that it is held.
func (c Cluster) Aside() string {
	return fmt.Sprintf("cluster %s is held: the ledger was restored, and at epoch %s of the backup its master was %s",
		c.Name, c.Epoch, c.Master)
}

func putHeld(held map[string]Cluster, name string, c Cluster) map[string]Cluster {
	if held == nil {
		held = map[string]Cluster{}
	}
	held[name] = c
	return held
}

// readopt is adoptMaster for a cluster that a restored ledger holds aside. Unasked,
// only the master of the backup is adopted; a person may say that it is another.
func (d *draft) readopt(c AdoptMaster, held Cluster) string {
	server, known := d.state.Servers[c.Master]
	switch {
	case c.By == "" && c.Master != held.Master:
		return fmt.Sprintf("the ledger was restored, and at epoch %s of the backup the master of cluster %s was %s, not %s: "+
			"a person has to say who it is", held.Epoch, c.Cluster, held.Master, c.Master)
	case c.By == "" && held.Withdrawn:
		return fmt.Sprintf("the ledger was restored, and at epoch %s of the backup cluster %s was withdrawn: "+
			"a person has to say who is its master", held.Epoch, c.Cluster)
	case known && server.Cluster == c.Cluster && server.Standing == Quarantined:
		return fmt.Sprintf("%s is quarantined: it has transactions that cluster %s lacks", c.Master, c.Cluster)
	}
	if reason := d.remember(c.Cluster, ServerName{Key: c.Master, UUID: c.UUID}, c.At); reason != "" {
		return reason
	}
	d.standKey(c.Master, Member, c.At)
	if old := held.Master; old != c.Master && d.state.Servers[old].Standing == Member {
		// It may take writes, where it is: it is to be fenced, and compared, as it comes.
		d.standKey(old, Deposed, c.At)
	}
	left := maps.Clone(d.state.Held)
	delete(left, c.Cluster)
	if len(left) == 0 {
		left = nil
	}
	d.state.Held = left
	next := held
	next.Master, next.MasterUUID = c.Master, cmp.Or(c.UUID, d.state.Servers[c.Master].UUID)
	next.Epoch = routes.Epoch{Generation: d.state.Generation, Number: held.Epoch.Number + 1}
	next.Revision, next.WriterRevision, next.Withdrawn = 1, 0, false
	next.Readers, next.AdoptedAt = nil, instant(c.At)
	d.putCluster(next)
	entry := AuditEntry{At: c.At, Kind: AuditOperator, Cluster: c.Cluster, Server: c.Master, Action: c.Kind(), By: c.By,
		Reason: c.Reason, Evidence: []string{fmt.Sprintf("epoch %s follows %s of the backup, in which the master was %s",
			next.Epoch, held.Epoch, held.Master)}}
	if c.By == "" {
		entry.Kind, entry.By, entry.Reason = AuditRecovery, "the controllers", "the master is the one of the backup"
	}
	d.audit(entry) // Which writes the header, and with it what is still held.
	return ""
}
