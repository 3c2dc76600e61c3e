package failover

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"switchyard/controller/analysis"
	"switchyard/controller/candidate"
	"switchyard/controller/executor"
	"switchyard/controller/gtid"
	"switchyard/controller/policy"
	"switchyard/controller/safety"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Assessment is one judgement of one cluster, with all that it was made from.
type Assessment struct {
	Cluster  ledger.Cluster
	Snapshot topology.Snapshot
	// Report is all that was found, and Finding what is wrong with the master.
	Report  analysis.Report
	Finding analysis.Finding
	Ranking candidate.Ranking
	Verdict safety.Verdict
	// Lease is what is known of the lease of a master that seems cut off; nil for
	// another one.
	Lease *safety.Lease
	// Unknown are the proxies that do not answer, where they are to be waited for.
	Unknown []string
	// Relocations are the judgements of dead intermediate masters, where they were
	// asked for.
	Relocations []Relocation
	// Silent says why other controllers gave no view.
	Silent []string
	// Begun, Seen and Agreed are when the look began, when this controller had
	// looked, and when the others had answered.
	Begun, Seen, Agreed time.Time
}

// remembered judges by what the periodic probes saw; it asks nobody.
func (w *worker) remembered(c ledger.Cluster) Assessment {
	a := Assessment{Cluster: c, Begun: w.cfg.Now(), Snapshot: w.observer.Snapshot(c.Name, c.Master)}
	a.Seen, a.Agreed = a.Begun, a.Begun
	w.judge(&a)
	return a
}

// look judges by observations of the master and of whoever may succeed it, made
// now by this controller and by the others.
func (w *worker) look(ctx context.Context, c ledger.Cluster) Assessment {
	a, found := w.lookOnce(ctx, c)
	if found {
		// From whom they replicate was not known before.
		begun := a.Begun
		a, _ = w.lookOnce(ctx, c)
		a.Begun = begun
	}
	w.askLease(ctx, &a)
	w.judge(&a)
	return a
}

// askLease asks for the lease of a master of which not even the host answers, and
// where proxies are to be waited for that do not answer.
func (w *worker) askLease(ctx context.Context, a *Assessment) {
	rules := w.rules()
	if rules.UnreachableProxies == policy.ProxiesStrict {
		a.Unknown = w.unknown()
	}
	dead, alive := analysis.Witnesses(a.Snapshot)
	cutOff := rules.Partition == policy.PartitionFailover && !slices.ContainsFunc(a.Snapshot.Views, func(v topology.View) bool {
		return v.Observations[a.Cluster.Master].Reach.HostAnswered()
	})
	if w.cfg.Leases == nil || len(dead) == 0 || len(alive) > 0 || !cutOff && len(a.Unknown) == 0 {
		return
	}
	a.Lease = w.cfg.Leases.Promise(ctx, w.name, a.Cluster.Master, a.Snapshot.Servers[a.Cluster.Master].LastSeen)
}

// lookOnce also looks at members of which this controller has no picture, as when
// it has just started, and reports whether one of them has answered.
func (w *worker) lookOnce(ctx context.Context, c ledger.Cluster) (a Assessment, found bool) {
	a = Assessment{Cluster: c, Begun: w.cfg.Now(), Snapshot: w.observer.Snapshot(c.Name, c.Master)}
	asked := append([]topology.Key{c.Master}, a.Snapshot.Replicas(c.Master)...)
	state := w.ledger.State()
	asked = append(append(asked, executor.Former(state, c.Name)...), executor.Left(state, c.Name)...)
	unseen := executor.Unseen(state, a.Snapshot)
	w.see(ctx, &a, c.Master, slices.Concat(asked, unseen), asked)
	return a, slices.ContainsFunc(unseen, func(k topology.Key) bool {
		o, _ := a.Snapshot.Sight(k)
		return o.Instance != nil
	})
}

// see has this controller look at keys and the others at asked; subject is whom
// it is about. What is not among keys stays as this controller last saw it.
func (w *worker) see(ctx context.Context, a *Assessment, subject topology.Key, keys, asked []topology.Key) {
	keys = distinct(keys)
	var (
		wg    sync.WaitGroup
		views []topology.View
		errs  []error
	)
	wg.Go(func() { views, errs = w.witnesses.Ask(ctx, w.name, subject, distinct(asked)) })
	own := w.observer.Look(ctx, keys, map[topology.Key]bool{subject: true})
	a.Seen = w.cfg.Now()
	wg.Wait()
	a.Agreed = w.cfg.Now()
	before := map[topology.Key]topology.Observation{}
	for _, v := range a.Snapshot.Views {
		if v.Observer == a.Snapshot.Taker {
			before = maps.Clone(v.Observations)
		}
	}
	for _, k := range keys {
		delete(before, k)
	}
	maps.Copy(before, own.Observations)
	own.Observations = before
	a.Snapshot.Taker = own.Observer
	a.Snapshot.Views = append([]topology.View{own}, views...)
	for _, err := range errs {
		a.Silent = append(a.Silent, err.Error())
	}
}

// distinct leaves the first of each key.
func distinct(keys []topology.Key) []topology.Key {
	out := make([]topology.Key, 0, len(keys))
	for _, k := range keys {
		if !k.IsZero() && !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

func (w *worker) judge(a *Assessment) {
	p, state := w.rules(), w.ledger.State()
	a.Snapshot.Outcasts = executor.Outcasts(state, a.Cluster.Name)
	a.Snapshot.Downtimed = downtimed(state, a.Cluster.Name, w.cfg.Now())
	a.Report = analysis.Analyze(a.Snapshot, p)
	a.Finding = a.Report.Master
	a.Ranking = candidate.Rank(a.Snapshot, a.Cluster.Master, executor.Runners(state, a.Snapshot), p)
	a.Verdict = w.ended(*a, w.settled(a.Cluster.Master, safety.Judge(w.input(*a))))
}

// endPatience is how long a sidecar that lives may take to say how its server's
// process ended: a MariaDB that shuts down closes its port long before that.
const endPatience = 2 * time.Second

// ended is v, unless the master is a MariaDB that is gone and whose sidecar can
// still say that it was shut down in order.
func (w *worker) ended(a Assessment, v safety.Verdict) safety.Verdict {
	last := a.Snapshot.Servers[a.Cluster.Master].Last
	if !v.Act || w.cfg.Leases == nil || w.rules().RestartGrace <= 0 || last == nil || last.Flavor != gtid.MariaDB ||
		!analysis.ProvenDead(a.Snapshot) {
		return v
	}
	seen, _ := a.Snapshot.Sight(a.Cluster.Master)
	since := seen.Tripwire.At
	if since.IsZero() || w.cfg.Now().Sub(since) >= endPatience || !w.cfg.Leases.Ending(a.Cluster.Master, since) {
		return v
	}
	return safety.Verdict{Code: safety.RestartGrace, Reason: fmt.Sprintf(
		"%s is gone, and its sidecar has not said yet whether it was shut down in order: that is given %s", a.Cluster.Master, endPatience)}
}

// input is what a verdict on a's master is made from.
func (w *worker) input(a Assessment) safety.Input {
	return safety.Input{
		Finding: a.Finding, Snapshot: a.Snapshot, Ranking: a.Ranking, Policy: w.rules(),
		Former: executor.Runners(w.ledger.State(), a.Snapshot), OpenRecovery: a.Cluster.Recovery, LastAutomatic: a.Cluster.LastAutomatic,
		Crashes: w.ledger.State().Crashes(w.name), HookFailed: w.vetoed(a.Finding), Lease: a.Lease, Unknown: a.Unknown,
		Now: w.cfg.Now(),
	}
}

// asked is the verdict where a person asked for a recovery: what keeps the
// loop from acting unasked does not count, and what protects the data does.
func (w *worker) asked(a Assessment) safety.Verdict {
	return w.settled(a.Cluster.Master, safety.Judge(unheld(w.input(a))))
}

// unheld is in without what keeps the loop from acting unasked.
func unheld(in safety.Input) safety.Input {
	in.Policy.Recover, in.Policy.RecoverIntermediate, in.Policy.Paused = true, true, ""
	in.Policy.AntiFlap, in.Policy.CascadeLimit = 0, 0
	in.Snapshot.Downtimed, in.LastAutomatic, in.Crashes, in.HookFailed = nil, time.Time{}, nil, ""
	return in
}

// insist looks again and again while the reason to hold may still pass within
// milliseconds: replicas and controllers notice one after the other.
func (w *worker) insist(ctx context.Context, c ledger.Cluster) Assessment {
	const patience, pause = 700 * time.Millisecond, 5 * time.Millisecond
	first := w.cfg.Now()
	for {
		a := w.look(ctx, c)
		a.Begun = first
		if a.Verdict.Act || !a.Verdict.Code.Transient() || w.cfg.Now().Sub(first) > patience {
			return a
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return a
		}
	}
}
