package failover

import (
	"context"
	"fmt"
	"slices"
	"time"

	"switchyard/controller/analysis"
	"switchyard/controller/gtid"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// How often the smaller things are done that a finding asks for.
const (
	reprobePause = time.Second
	repairPause  = 10 * time.Second
	restartPause = 30 * time.Second
	// restartGrace is for how long after receivers were restarted their silence is
	// no evidence: the restart itself made them connect anew.
	restartGrace = 8 * time.Second
)

// doubtful are the findings that the next look at the servers confirms or
// drops: it is not waited for.
func doubtful(k analysis.Kind) bool {
	switch k {
	case analysis.UnreachableMaster, analysis.UnreachableMasterWithLaggingReplicas, analysis.AllMasterReplicasNotReplicating,
		analysis.AllMasterReplicasNotReplicatingOrDead, analysis.FirstTierReplicaFailingToConnectToMaster,
		analysis.LockedSemiSyncMasterHypothesis:
		return true
	}
	return false
}

// emergent does what a finding asks for besides, or before, a recovery.
func (w *worker) emergent(ctx context.Context, a Assessment) {
	for _, f := range a.findings() {
		if doubtful(f.Kind) && w.due("reprobe", reprobePause) {
			w.observer.Reprobe(w.name)
		}
		if w.cfg.Relocator == nil || a.Snapshot.Downtimed[f.Subject] != "" || w.rules().Paused != "" {
			continue
		}
		switch {
		case f.Kind == analysis.UnreachableMasterWithLaggingReplicas,
			f.Kind == analysis.UnreachableIntermediateMasterWithLaggingReplicas:
			w.errand(ctx, a, f, "restart-receivers", restartPause, func(ctx context.Context, c ledger.Cluster, s topology.Snapshot) error {
				if restartable(s, f.Subject) {
					w.grace(f.Subject)
				}
				c.Master = f.Subject // whose replicas it is about
				return w.cfg.Relocator.RestartReceivers(ctx, c, s)
			})
		case f.Answer == analysis.AnswerSemiSync:
			w.errand(ctx, a, f, "semi-sync", repairPause, w.cfg.Relocator.SemiSync)
		}
	}
}

// restartable reports whether a receiver of k's replicas may be restarted: on
// MariaDB with GTIDs that would drop what was received.
func restartable(s topology.Snapshot, k topology.Key) bool {
	return slices.ContainsFunc(s.Replicas(k), func(r topology.Key) bool {
		i := s.Servers[r].Last
		return i.Flavor != gtid.MariaDB || !i.Replication.UsesGTID
	})
}

// grace has what the replicas of k say not counted as evidence for a while.
func (w *worker) grace(k topology.Key) {
	w.lastMu.Lock()
	defer w.lastMu.Unlock()
	w.graces[k] = w.cfg.Now().Add(restartGrace)
}

// settled is v, unless it is made from what our own restart of receivers may
// have caused.
func (w *worker) settled(k topology.Key, v safety.Verdict) safety.Verdict {
	w.lastMu.Lock()
	defer w.lastMu.Unlock()
	if until := w.graces[k]; v.Act && w.cfg.Now().Before(until) {
		return safety.Verdict{Code: safety.RestartGrace, Reason: fmt.Sprintf(
			"the receivers of the replicas of %s were restarted to see whether they connect: they have until %s",
			k, until.UTC().Format(time.RFC3339))}
	}
	return v
}

// due reports whether something may be done again, and says that it is done.
func (w *worker) due(what string, pause time.Duration) bool {
	now := w.cfg.Now()
	if now.Before(w.errands[what]) {
		return false
	}
	w.errands[what] = now.Add(pause)
	return true
}

// errand does something smaller on the cluster's servers beside the worker,
// unless somebody else is at work there. A recovery cuts it short.
func (w *worker) errand(
	ctx context.Context, a Assessment, f analysis.Finding, what string, pause time.Duration,
	do func(context.Context, ledger.Cluster, topology.Snapshot) error,
) {
	if w.cfg.Now().Before(w.errands[what]) || !w.baton.try() {
		return
	}
	w.due(what, pause)
	tell := false
	if known := w.detected[detection{f.Subject, f.Kind}]; known != nil {
		tell, known.repaired = !known.repaired, true
	}
	w.aside.Go(func() {
		gaveWay, err := w.acting(ctx, func(ctx context.Context, c ledger.Cluster) error { return do(ctx, c, a.Snapshot) })
		if gaveWay {
			return
		}
		if w.say(what, err); tell {
			w.tell(ctx, repair(f, what, err))
		}
	})
}

// repair is the audit entry of an errand, once for each detection.
func repair(f analysis.Finding, what string, err error) ledger.AuditEntry {
	e := ledger.AuditEntry{Kind: ledger.AuditRepair, Server: f.Subject, Action: what, Reason: f.Sentence}
	if err != nil {
		e.Outcome = "failed: " + err.Error()
	}
	return e
}
