package failover

import (
	"context"
	"slices"
	"sync"
	"time"

	"switchyard/controller/analysis"
	"switchyard/controller/candidate"
	"switchyard/controller/executor"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Assessment is one judgement of one cluster, with all that it was made from.
type Assessment struct {
	Cluster  ledger.Cluster
	Snapshot topology.Snapshot
	Finding  analysis.Finding
	Ranking  candidate.Ranking
	Verdict  safety.Verdict
	// Silent says why other controllers gave no view.
	Silent []string
	// Begun, Seen and Agreed are when the look began, when this controller had
	// looked, and when the others had answered.
	Begun, Seen, Agreed time.Time
}

// remembered judges by what the periodic probes saw; it asks nobody.
func (l *Loop) remembered(c ledger.Cluster) Assessment {
	a := Assessment{Cluster: c, Begun: l.cfg.Now(), Snapshot: l.observer.Snapshot(c.Name, c.Master)}
	a.Seen, a.Agreed = a.Begun, a.Begun
	l.judge(&a)
	return a
}

// look judges by observations made now, by this controller and by the others.
func (l *Loop) look(ctx context.Context, c ledger.Cluster) Assessment {
	a := Assessment{Cluster: c, Begun: l.cfg.Now(), Snapshot: l.observer.Snapshot(c.Name, c.Master)}
	keys := append([]topology.Key{c.Master}, a.Snapshot.Replicas(c.Master)...)
	for _, k := range executor.Former(l.ledger.State(), c.Name) {
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	var (
		wg    sync.WaitGroup
		views []topology.View
		errs  []error
	)
	wg.Go(func() { views, errs = l.witnesses.Ask(ctx, c.Name, c.Master, keys) })
	own := l.observer.Look(ctx, keys, map[topology.Key]bool{c.Master: true})
	a.Seen = l.cfg.Now()
	wg.Wait()
	a.Agreed = l.cfg.Now()
	a.Snapshot.Taker = own.Observer
	a.Snapshot.Views = append([]topology.View{own}, views...)
	for _, err := range errs {
		a.Silent = append(a.Silent, err.Error())
	}
	l.judge(&a)
	return a
}

func (l *Loop) judge(a *Assessment) {
	p, state := l.cfg.Policy(a.Cluster.Name), l.ledger.State()
	a.Snapshot.Outcasts = executor.Outcasts(state, a.Cluster.Name)
	a.Finding = analysis.Analyze(a.Snapshot, p)
	a.Ranking = candidate.Rank(a.Snapshot, a.Cluster.Master, executor.Former(state, a.Cluster.Name), p)
	a.Verdict = safety.Judge(safety.Input{
		Finding: a.Finding, Snapshot: a.Snapshot, Ranking: a.Ranking, Policy: p,
		OpenRecovery: a.Cluster.Recovery, LastAutomatic: a.Cluster.LastAutomatic, Now: l.cfg.Now(),
	})
}

// insist looks again and again while the reason to hold may still pass within
// milliseconds: replicas and controllers notice one after the other.
func (l *Loop) insist(ctx context.Context, c ledger.Cluster) Assessment {
	const patience, pause = 700 * time.Millisecond, 5 * time.Millisecond
	first := l.cfg.Now()
	for {
		a := l.look(ctx, c)
		a.Begun = first
		if a.Verdict.Act || !a.Verdict.Code.Transient() || l.cfg.Now().Sub(first) > patience {
			return a
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return a
		}
	}
}
