package wire

import (
	"time"

	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// MaxAudit is how many entries one answer has at most.
const MaxAudit = 1000

// AuditQuery is what GET /api/v1/audit is asked for: entries that match all
// that is given, the newest first.
type AuditQuery struct {
	Cluster string
	Server  topology.Key
	Kind    ledger.AuditKind
	// Since is the earliest time; Ago says the same as a distance from now.
	Since time.Time
	Ago   Duration
	// Before is an entry's id; what is returned is older. 0 is from the newest.
	Before uint64
	// Limit is 1 to MaxAudit.
	Limit int
}

// Audit is the answer.
type Audit struct {
	Entries []ledger.AuditEntry `json:"entries"`
	// Next is the Before that asks for what follows; 0 where nothing does.
	Next uint64 `json:"next,omitempty"`
}

// AuditKinds returns the kinds of entry.
func AuditKinds() []ledger.AuditKind {
	return []ledger.AuditKind{
		ledger.AuditDetection, ledger.AuditRecovery, ledger.AuditOperator, ledger.AuditRepair, ledger.AuditHook,
	}
}
