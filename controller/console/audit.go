package console

import (
	"context"
	"slices"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/store/ledger"
)

// Audit implements adminapi.History.
func (c *Console) Audit(_ context.Context, q wire.AuditQuery) (wire.Audit, error) {
	if q.Ago > 0 {
		q.Since = c.cfg.Now().Add(-time.Duration(q.Ago))
	}
	out := wire.Audit{Entries: []ledger.AuditEntry{}}
	for _, e := range slices.Backward(c.ledger.State().Audit) {
		if !matches(e, q) {
			continue
		}
		if len(out.Entries) == q.Limit {
			out.Next = out.Entries[len(out.Entries)-1].ID
			break
		}
		out.Entries = append(out.Entries, e)
	}
	return out, nil
}

func matches(e ledger.AuditEntry, q wire.AuditQuery) bool {
	return (q.Cluster == "" || e.Cluster == q.Cluster) && (q.Server.IsZero() || e.Server == q.Server) &&
		(q.Kind == "" || e.Kind == q.Kind) && !e.At.Before(q.Since) && (q.Before == 0 || e.ID < q.Before)
}
