package ledger

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// The families of records that a Change can name.
const (
	FamilyHeader        = "header"
	FamilyClusters      = "clusters"
	FamilyServers       = "servers"
	FamilyRecoveries    = "recoveries"
	FamilyConfirmations = "confirmations"
	FamilyDowntimes     = "downtimes"
	FamilyRules         = "rules"
	FamilyPauses        = "pauses"
	FamilyDatacenters   = "datacenters"
	FamilyAudit         = "audit"
)

// Change is one record that a command made, replaced or removed, for whoever
// keeps the records elsewhere. Value is a Header, Cluster, Server, Recovery,
// Confirmation, Downtime, PromotionRule, Pause, DatacenterDown or AuditEntry; nil
// means that the record is gone. The key of an audit entry is its ID in decimal.
type Change struct {
	Family string
	Key    string
	Value  any
}

// Header is the record of the ledger itself; its key is empty.
type Header struct {
	ID         string `json:"id"`
	Generation uint64 `json:"generation"`
	// LastAudit is kept here since the newest entry itself may be forgotten.
	LastAudit uint64 `json:"last_audit,omitempty"`
	// Held is the state's: kept here, where a release that does not know it refuses
	// it, and would issue epochs that were issued already.
	Held map[string]Cluster `json:"held,omitempty"`
	// Controllers are the state's, for the same reason: a release that does not know
	// them would count others.
	Controllers Controllers `json:"controllers,omitzero"`
}

// Rejection is a command's refusal by the ledger. It is deterministic, leaves
// the state as it was, and harms nothing.
type Rejection struct {
	// Command is the kind of the command.
	Command string
	// Reason is a sentence without its full stop.
	Reason string
}

// Error implements error.
func (r *Rejection) Error() string { return r.Command + " rejected: " + r.Reason }

// Apply returns the state that follows s by cmd, and the records that differ.
// It changes neither s nor cmd. An error is always a *Rejection; then the
// state returned is s.
func Apply(s State, cmd Command) (State, []Change, error) {
	if cmd == nil {
		return s, nil, &Rejection{Command: "nothing", Reason: "there is no command"}
	}
	d := &draft{state: s}
	if reason := d.reduce(cmd); reason != "" {
		return s, nil, &Rejection{Command: cmd.Kind(), Reason: reason}
	}
	return d.state, d.changes, nil
}

// reduce sends cmd to the reducer of its family. A reducer returns why it
// refuses, or nothing.
func (d *draft) reduce(cmd Command) string {
	switch c := cmd.(type) {
	case Bootstrap:
		return d.bootstrap(c)
	case AdoptMaster:
		return d.adoptMaster(c)
	case RememberServers:
		return d.rememberServers(c)
	case SetStanding:
		return d.setStanding(c)
	case ClaimRecovery:
		return d.claimRecovery(c)
	case ResumeRecovery:
		return d.resumeRecovery(c)
	case ChooseWinner:
		return d.chooseWinner(c)
	case JudgeDurability:
		return d.judgeDurability(c)
	case Rewind:
		return d.rewind(c)
	case Announce:
		return d.announce(c)
	case RecordSteps:
		return d.recordSteps(c)
	case CloseRecovery:
		return d.closeRecovery(c)
	case Confirm:
		return d.confirm(c)
	case SetReaders:
		return d.setReaders(c)
	}
	return d.operate(cmd)
}

// operate is reduce for what operators ask for, relocations and the audit.
func (d *draft) operate(cmd Command) string {
	switch c := cmd.(type) {
	case BeginDowntime:
		return d.beginDowntime(c)
	case EndDowntime:
		return d.endDowntime(c)
	case SetPromotionRule:
		return d.setPromotionRule(c)
	case PauseRecoveries:
		return d.pauseRecoveries(c)
	case ResumeRecoveries:
		return d.resumeRecoveries(c)
	case MarkDatacenterDown:
		return d.markDatacenterDown(c)
	case MarkDatacenterUp:
		return d.markDatacenterUp(c)
	case AckRecovery:
		return d.ackRecovery(c)
	case OpenRelocation:
		return d.openRelocation(c)
	case CloseRelocation:
		return d.closeRelocation(c)
	case SetDetached:
		return d.setDetached(c)
	case AppendAudit:
		return d.appendAudit(c)
	case PruneAudit:
		return d.pruneAudit(c)
	case BeginControllerChange:
		return d.beginControllerChange(c)
	case AdvanceControllers:
		return d.advanceControllers(c)
	}
	return fmt.Sprintf("this ledger knows no command of type %T", cmd)
}

// draft is the state in the making: maps are copied before their first write,
// because the caller and its readers go on using the old ones.
type draft struct {
	state   State
	changes []Change
	// copied names the families whose map belongs to this draft.
	copied [8]bool
}

const (
	clustersMap = iota
	serversMap
	recoveriesMap
	confirmationsMap
	downtimesMap
	rulesMap
	pausesMap
	datacentersMap
)

// own returns m if this draft copied it before, or else a copy.
func own[K comparable, V any](d *draft, which int, m map[K]V) map[K]V {
	if m == nil {
		d.copied[which] = true
		return map[K]V{}
	}
	if d.copied[which] {
		return m
	}
	d.copied[which] = true
	return maps.Clone(m)
}

// without returns m, or a copy of it, without k. An empty map becomes nil, as it
// is where there never was a record: equal states are written as equal bytes.
func without[K comparable, V any](d *draft, which int, m map[K]V, k K) map[K]V {
	m = own(d, which, m)
	delete(m, k)
	if len(m) == 0 {
		return nil
	}
	return m
}

func (d *draft) note(family, key string, value any) {
	d.changes = append(d.changes, Change{Family: family, Key: key, Value: value})
}

func (d *draft) putCluster(c Cluster) {
	d.state.Clusters = own(d, clustersMap, d.state.Clusters)
	d.state.Clusters[c.Name] = c
	d.note(FamilyClusters, c.Name, c)
}

func (d *draft) putServer(s Server) {
	d.state.Servers = own(d, serversMap, d.state.Servers)
	d.state.Servers[s.Key] = s
	d.note(FamilyServers, s.Key.String(), s)
}

func (d *draft) putRecovery(r Recovery) {
	d.state.Recoveries = own(d, recoveriesMap, d.state.Recoveries)
	d.state.Recoveries[r.ID] = r
	d.note(FamilyRecoveries, r.ID, r)
}

func (d *draft) dropRecovery(id string) {
	d.state.Recoveries = own(d, recoveriesMap, d.state.Recoveries)
	delete(d.state.Recoveries, id)
	d.note(FamilyRecoveries, id, nil)
}

func (d *draft) putConfirmation(k ConfirmationKey, c Confirmation) {
	d.state.Confirmations = own(d, confirmationsMap, d.state.Confirmations)
	d.state.Confirmations[k] = c
	d.note(FamilyConfirmations, k.String(), c)
}

// instant strips what would make two nodes hold different values for the same
// moment: the zone, and the reading of a monotonic clock.
func instant(t time.Time) time.Time { return t.Round(0).UTC() }

// concat joins without ever writing into the spare capacity of old, which
// older states may share.
func concat[T any](old []T, more ...T) []T { return slices.Concat(old, more) }
