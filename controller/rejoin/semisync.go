package rejoin

import (
	"context"
	"fmt"
	"time"

	"switchyard/controller/executor"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// restoreTimeout bounds the change of the master's semi-sync.
const restoreTimeout = 5 * time.Second

// restoreSemiSync ends a makeshift: a master that was promoted with fewer
// acknowledging replicas than a commit is to wait for gets its wait count, and its
// source side, once enough of them follow it. That is done once for each
// recovery, so that what an operator sets later stays as he set it.
func (r *Rejoiner) restoreSemiSync(ctx context.Context, c ledger.Cluster, snap topology.Snapshot) error {
	recovery, owed := executor.Owed(r.ledger.State(), c.Name)
	o, _ := snap.Sight(c.Master)
	if owed == 0 || o.Instance == nil || o.Instance.ReadOnly || !o.Instance.SemiSync.Available {
		return nil
	}
	begun, master := r.cfg.Now(), o.Instance.SemiSync
	if master.SourceEnabled && master.WaitCount >= owed {
		return r.settled(ctx, recovery, c, begun, fmt.Sprintf("it waits for %d acknowledgements, as it should", master.WaitCount))
	}
	acknowledging := 0
	for _, k := range snap.Replicas(c.Master) {
		if s, _ := snap.Sight(k); s.Instance != nil && s.Instance.SemiSync.ReplicaEnabled && runs(s.Instance.Replication) {
			acknowledging++
		}
	}
	if acknowledging < owed {
		return nil
	}
	if err := r.setSource(ctx, c.Master, owed); err != nil {
		return r.note(c.Master, fmt.Errorf("restore semi-sync on %s: %w", c.Master, err))
	}
	_ = r.note(c.Master, nil)
	r.log.Info("the master waits for acknowledgements again", "cluster", c.Name, "instance", c.Master.String(), "acks", owed)
	return r.settled(ctx, recovery, c, begun,
		fmt.Sprintf("it waits for %d acknowledgements again, as %d replicas give them", owed, acknowledging))
}

func (r *Rejoiner) setSource(ctx context.Context, master topology.Key, acks int) error {
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	if err := r.ledger.VerifyLeader(ctx); err != nil {
		return err
	}
	session, err := r.hands.Open(ctx, r.cfg.Address(master))
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	if err := r.ledger.VerifyLeader(ctx); err != nil {
		return err
	}
	return session.SetSemiSync(ctx, executor.SemiSync{Source: true, WaitCount: acks})
}

// settled writes down that there is nothing left to restore.
func (r *Rejoiner) settled(ctx context.Context, recovery string, c ledger.Cluster, begun time.Time, note string) error {
	return r.ledger.Propose(ctx, ledger.RecordSteps{Recovery: recovery, Steps: []ledger.Step{{
		Name: executor.StepRestored, Subject: c.Master, Leader: r.ledger.State().Recoveries[recovery].Leader,
		StartedAt: begun, EndedAt: r.cfg.Now(), Outcome: ledger.StepDone, Note: note,
	}}})
}
