package failover

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"switchyard/controller/analysis"
	"switchyard/controller/hooks"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// linger is how long a finding must be gone to count as ended: one that comes
// and goes is one detection.
const linger = 10 * time.Second

// ended is the outcome of the audit entry that ends a detection.
const ended = "ended"

// detection is one thing that is wrong with one server.
type detection struct {
	subject topology.Key
	kind    analysis.Kind
}

func (d detection) compare(o detection) int {
	return cmp.Or(d.subject.Compare(o.subject), cmp.Compare(d.kind, o.kind))
}

// found is what is remembered of a detection that has not ended.
type found struct {
	// last is when it was found last.
	last time.Time
	// repaired is true once a repair of it was audited.
	repaired bool
}

// pending is an audit that is under way, and what to do if it fails.
type pending struct {
	done   <-chan error
	failed func()
}

// detect audits the findings of a that begin, and those that ended. Each is
// told once, whoever leads: what a predecessor told is read from the ledger.
func (w *worker) detect(ctx context.Context, a Assessment) {
	now := w.cfg.Now()
	if w.detected == nil {
		w.detected = w.predecessor(w.ledger.State(), now)
	}
	w.settle()
	if len(w.audits) > 0 {
		return // in order, one after the other
	}
	var entries []ledger.AuditEntry
	var failed []func()
	for _, f := range a.findings() {
		d := detection{f.Subject, f.Kind}
		if known := w.detected[d]; known != nil {
			known.last = now
			continue
		}
		w.detected[d] = &found{last: now}
		entries = append(entries, w.detectionEntry(f.Subject, f.Kind, f.Sentence, "", f.Evidence))
		failed = append(failed, func() { delete(w.detected, d) })
	}
	for _, d := range slices.SortedFunc(maps.Keys(w.detected), detection.compare) {
		known := w.detected[d]
		if now.Sub(known.last) < linger {
			continue
		}
		delete(w.detected, d)
		w.forget(d)
		entries = append(entries, w.detectionEntry(d.subject, d.kind, "it was not found any more for "+linger.String(), ended, nil))
		failed = append(failed, func() { w.detected[d] = known })
	}
	if len(entries) == 0 {
		return
	}
	w.audits = append(w.audits, pending{w.ledger.ProposeAsync(ctx, ledger.AppendAudit{Entries: entries}), func() {
		for _, undo := range failed {
			undo()
		}
	}})
}

// settle takes the answers to audits that came meanwhile; what was not
// committed is audited again.
func (w *worker) settle() {
	for len(w.audits) > 0 {
		select {
		case err := <-w.audits[0].done:
			if w.say("audit", err); err != nil {
				w.audits[0].failed()
			}
			w.audits = w.audits[1:]
		default:
			return
		}
	}
}

// findings are all that a found, the master's first.
func (a Assessment) findings() []analysis.Finding {
	var out []analysis.Finding
	if a.Finding.Kind != analysis.NoProblem {
		out = append(out, a.Finding)
	}
	return append(out, a.Report.Others...)
}

func (w *worker) detectionEntry(
	subject topology.Key, kind analysis.Kind, sentence, outcome string, evidence []string,
) ledger.AuditEntry {
	return ledger.AuditEntry{
		At: w.cfg.Now(), Kind: ledger.AuditDetection, Cluster: w.name, Server: subject, Action: string(kind),
		By: w.cfg.Self, Reason: sentence, Outcome: outcome, Evidence: evidence,
	}
}

// predecessor reads from the audit which detections have not ended, and of which
// of them the operator's commands were told: the newest entry of each decides.
func (w *worker) predecessor(s ledger.State, now time.Time) map[detection]*found {
	newest := map[detection]ledger.AuditEntry{}
	for _, e := range s.Audit {
		d := detection{e.Server, analysis.Kind(e.Action)}
		if e.Kind == ledger.AuditDetection && e.Cluster == w.name && e.ID > newest[d].ID {
			newest[d] = e
		}
	}
	out := map[detection]*found{}
	for d, e := range newest {
		if e.Outcome != ended {
			out[d] = &found{last: now}
		}
	}
	for _, e := range s.Audit {
		if e.Kind != ledger.AuditHook || e.Action != string(hooks.OnFailureDetection) || e.Outcome != "" {
			continue
		}
		for d := range out {
			if d.subject == e.Server && e.ID > newest[d].ID {
				w.toldBefore(d)
			}
		}
	}
	return out
}

// tell audits entries, and waits until they are committed.
func (w *worker) tell(ctx context.Context, entries ...ledger.AuditEntry) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for i := range entries {
		e := &entries[i]
		e.At, e.Cluster = w.cfg.Now(), w.name
		if e.By == "" {
			e.By = w.cfg.Self
		}
	}
	if len(entries) > 0 {
		w.say("audit of what was done", w.ledger.Propose(ctx, ledger.AppendAudit{Entries: entries}))
	}
}
